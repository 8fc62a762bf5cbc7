"""Files that look like labels of changed samples: is every one of them left out, and nothing else?"""

from __future__ import annotations

from collections.abc import Sequence

from poisongen.auditing.faults import Findings
from poisongen.auditing.order import FullIndex
from poisongen.datasets.base import Index
from poisongen.files.foreign import Places, Refused, open_out
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, LEFT_OUT, SUMMARY
from poisongen.records.reading import Records
from poisongen.records.roles import changes_labels
from poisongen.source.label_like import label_like
from poisongen.source.listing import SourceFile


def check_label_like(
    records: Records,
    index: Index,
    full: FullIndex,
    paths: Sequence[str],
    files: Sequence[SourceFile],
    places: Places,
    rules: Rules,
    findings: Findings,
) -> tuple[str, ...]:
    """Return the label-like files of samples with changed labels: those that OUT has, and those that it goes without.

    `paths` are OUT's, as the source has them, `files` the source's, if it is given. The summary must count them. In
    builds of earlier versions all of them stayed.
    """
    changed = {record.sample for record in records.manifest if changes_labels(record.role, record.split, rules)}
    tables = [link.source for link in records.links if link.written and link.source is not None]

    def read(path: str, most: int) -> bytes | None:
        try:
            with open_out(places, rules.above + path, path) as file:
                return file.read(most)
        except (Refused, OSError):
            return None

    def read_source(path: str, most: int) -> bytes | None:
        try:
            with ((places.root or places.out) / path).open("rb") as file:
                return file.read(most)
        except OSError:
            return None

    found = label_like(paths, index, changed, read, tables)
    left = [record.path for record in records.left_out]
    file = f"{FOLDER}/{LEFT_OUT}"
    if rules.records >= 3:
        stay = [path for path in found if path not in rules.layout.shared]
        for path in stay:
            findings.test("labels", False, rules.above + path, "left out: it looks like labels", "a file")
    if files:
        named = label_like([item.path for item in files], full.index, changed, read_source, tables)
        due = sorted(set(named) - set(rules.layout.shared)) if rules.records >= 3 else []
        for path in sorted({*due, *left}):
            sentence = "left out: it looks like labels" if path in due else "in OUT: it is no label of a changed sample"
            findings.test("labels", (path in due) == (path in left), file, f"{path} {sentence}", "the contrary")
    elif left:
        findings.note("whether files that are left out looked like labels (give --source)")
    said = None if records.summary is None else records.summary.counts.get("label_like")
    number = len(found) + len(left)
    if said is not None:  # builds of older versions did not look for them
        findings.test("records", said == number, f"{FOLDER}/{SUMMARY}", f"{number} label_like", said)
    return tuple(sorted({*found, *left}))
