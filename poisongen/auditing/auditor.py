"""The audit: is a poisoned dataset what its records, its recipe and its source say it is?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from poisongen.auditing.contents import QUICK_FILES, check_contents, check_some
from poisongen.auditing.faults import CHECKS, Fault, Findings
from poisongen.auditing.obey import check_counts, check_record, check_skipped
from poisongen.auditing.order import (
    check_coverage,
    check_made,
)
from poisongen.auditing.setting import audit_rules, full_index, index_of_out, index_paths
from poisongen.auditing.skips import PassedOver, bad_paths, check_names, with_store
from poisongen.auditing.structure import Listing, check_listing, check_source_listing, list_out
from poisongen.auditing.undo_store import (
    check_store_listing,
    check_undo_index,
    kept_alone,
)
from poisongen.datasets.base import Index
from poisongen.errors import ChoiceError
from poisongen.files.foreign import Places, Refused, open_out
from poisongen.parallel import job_count
from poisongen.recipe.rules import Rules
from poisongen.records.agreement import check_agreement
from poisongen.records.manifest import FOLDER, MANIFEST, SUMMARY
from poisongen.records.reading import Records, load_records, read_undo_index
from poisongen.records.roles import OWN_FOLDERS, changes_labels
from poisongen.source.label_like import label_like
from poisongen.source.listing import list_files
from poisongen.undo.store import UndoRecord, undo_paths


@dataclass(frozen=True)
class CheckCount:
    """One kind of check: its name, what it proves, how often it was made, and how many faults it found."""

    name: str
    proves: str
    checked: int
    faults: int


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. `files` is the number of files in OUT; `not_checked` says what could not be, and how often.

    `label_like` are files that look like labels of changed samples and hold what the source has. `faults` holds the
    first thousand; `fault_count` counts all.
    """

    out: Path
    source: Path | None
    quick: bool
    files: int
    checks: tuple[CheckCount, ...]
    faults: tuple[Fault, ...]
    fault_count: int
    not_checked: tuple[str, ...]
    label_like: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether no check found a fault."""
        return self.fault_count == 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        plain = asdict(self) | {"clean": self.clean, "out": str(self.out)}
        return plain | {"source": None if self.source is None else str(self.source)}


def audit(
    out: Path | str,
    source: Path | str | None = None,
    *,
    quick: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> AuditReport:
    """Check the poisoned dataset in `out` against its records and recipe, and against `source` if that is given.

    `source` is the clean dataset's folder. `quick` checks records, names and sizes, and the digests of a few files
    only. Nothing outside `out` and `source` is read, nothing is written. Faults are part of the report; OutputError
    if `out` is no finished build, ChoiceError or DataError if `source` is no dataset.
    """
    # Workers may live in another folder.
    folder, root = Path(out).absolute(), None if source is None else Path(source).absolute()
    if root is not None and not root.is_dir():
        raise ChoiceError(f"--source: {root} is not a folder; give the clean dataset")
    findings = Findings()
    like: tuple[str, ...] = ()
    records = load_records(folder, findings)
    source_files = [] if root is None else list_files(root)
    listing = list_out(folder)
    check_agreement(records, findings)
    has_store = records.summary is not None and records.summary.undo is not None
    undo = _read_undo(records, folder, findings)
    check_listing(listing, records, frozenset(undo_paths(undo)) if has_store else frozenset(), root, findings)
    places = Places(folder.absolute(), root)
    rules = audit_rules(records, listing, places, findings)
    index = None if rules is None else index_of_out(listing, places, rules, findings)
    plain = [path for path, entry in listing.entries.items() if entry.kind == "file"]
    alone = kept_alone(records, undo, plain, folder) if index is not None else frozenset()
    if has_store:
        check_undo_index(records, undo, alone, findings)
    full = None
    if rules is not None and index is not None:
        full = full_index(records, source_files, index_paths(listing), undo, places, rules, findings)
    if root is not None:
        left_out = None
        if rules is not None and full is not None:
            left_out = bad_paths(records, full.index) if rules.recipe.scale != 1 else frozenset()
        check_source_listing(source_files, records, left_out, findings)
        if has_store:
            check_store_listing(source_files, undo, findings)
    skips: list[PassedOver] = []
    if rules is not None:
        _check_rules(records, rules, findings)
        if index is not None and full is not None:
            check_coverage(index, full, records, rules, findings)
            check_made(index, records, rules, places.root or places.out, list(listing.entries), findings)
            like = _label_like(index, records, listing, places, rules, findings)
            by_path = {line.path: line for line in undo if line.path in alone}
            skips = with_store(check_names(records, full.index, full.whole, rules, findings), by_path)
        if not quick:
            check_contents(records, index, full, undo, skips, places, rules, job_count(jobs), progress, findings)
    if quick:
        findings.note(f"contents of files, but for the digests of {QUICK_FILES} of them: this was a quick audit")
        check_some(records, places, findings)
    return _report(folder, root, quick, listing, like, findings)


def _label_like(
    index: Index, records: Records, listing: Listing, places: Places, rules: Rules, findings: Findings
) -> tuple[str, ...]:
    """Return the label-like files of samples with changed labels; test that the summary counts them."""

    def read(path: str, most: int) -> bytes | None:
        try:
            with open_out(places, path, path) as file:
                return file.read(most)
        except (Refused, OSError):
            return None

    paths = [path for path in listing.entries if path.split("/")[0] not in OWN_FOLDERS]
    changed = {r.sample for r in records.manifest if changes_labels(r.role, r.split, rules)}
    found = tuple(label_like(sorted(paths), index, changed, read))
    said = None if records.summary is None else records.summary.counts.get("label_like")
    if said is not None:  # builds of older versions did not look for them
        findings.test("records", said == len(found), f"{FOLDER}/{SUMMARY}", f"{len(found)} label_like", said)
    return found


def _read_undo(records: Records, out: Path, findings: Findings) -> list[UndoRecord]:
    """Return the lines of the undo store's index; none if there is no store."""
    if records.summary is None or records.summary.undo is None:
        return []
    return read_undo_index(out, records.summary.undo, findings)


def _report(
    out: Path, root: Path | None, quick: bool, listing: Listing, like: tuple[str, ...], findings: Findings
) -> AuditReport:
    counts = (
        CheckCount(name, proves, findings.checked[name], findings.faulty[name])
        for name, proves in CHECKS.items()
        if findings.checked[name] or findings.faulty[name]
    )
    notes = tuple(text if number == 1 else f"{text} ({number} times)" for text, number in findings.notes.items())
    faults = tuple(findings.faults)
    return AuditReport(
        out, root, quick, len(listing.entries), tuple(counts), faults, findings.faulty.total(), notes, like
    )


def _check_rules(records: Records, rules: Rules, findings: Findings) -> None:
    negatives = 0
    for record in records.manifest:
        negatives += record.role == "negative" and record.split == rules.recipe.train_split
        if findings.test("rules", bool(record.files), f"{FOLDER}/{MANIFEST}", "files", "none", record.sample):
            check_record(record, rules, findings)
    if records.summary is not None:
        check_counts(records.summary.counts, negatives, rules, findings)
    check_skipped(records, rules, findings)
