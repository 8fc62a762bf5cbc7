"""The audit: is a poisoned dataset what its records, its recipe and its source say it is?"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from poisongen.checks.faults import CHECKS, Fault, Findings
from poisongen.checks.folder import LinkNotFollowedError, Places, Refused, open_out, sha256_of
from poisongen.checks.obey import check_counts, check_record, check_skipped
from poisongen.checks.order import LinkedSample, check_coverage, check_made, check_order, linked_samples, read_linked
from poisongen.checks.records import Records, check_agreement, load_records, read_undo_index
from poisongen.checks.sample import check_sample
from poisongen.checks.structure import Listing, check_link, check_listing, check_source_listing, list_out
from poisongen.checks.undo_store import check_undo_index, check_undo_line
from poisongen.datasets import find_layout
from poisongen.datasets.base import Index
from poisongen.errors import ChoiceError, PoisongenError
from poisongen.label_like import label_like
from poisongen.manifest import FOLDER, MANIFEST, RECIPE, SUMMARY, TRIGGERED, LinkRecord, SampleRecord
from poisongen.parallel import for_each, job_count
from poisongen.rules import Rules, make_rules, settle
from poisongen.shadow import is_shadow
from poisongen.source import list_files
from poisongen.undo import UndoRecord, undo_paths

QUICK_FILES = 200
"""How many files a quick audit reads, drawn anew each time."""


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


@dataclass(frozen=True)
class _Job:
    """One piece of work for a worker: a line of the manifest, a link, or an untouched sample."""

    item: bytes | LinkRecord | LinkedSample | UndoRecord

    @property
    def name(self) -> str:
        """What the job is about, for a fault."""
        if isinstance(self.item, bytes):
            return SampleRecord.model_validate_json(self.item).sample
        return self.item.sample.name if isinstance(self.item, LinkedSample) else self.item.path


@dataclass(frozen=True)
class _Done:
    """What came of a job: findings, and the victim pixels of an image, if they could be counted."""

    findings: Findings
    image: str = ""
    victims: int | None = None


def _do(job: _Job, places: Places, rules: Rules) -> _Done:
    """Do one job in a worker. A check that breaks off on hostile data is a fault, and not the end of the audit."""
    item = job.item
    try:
        if isinstance(item, bytes):
            facts = check_sample(item, places, rules)
            image = SampleRecord.model_validate_json(item).files[0].path.removeprefix(f"{TRIGGERED}/")
            return _Done(facts.findings, image, facts.victims)
        if isinstance(item, LinkRecord):
            return _Done(check_link(item, places, rules))
        if isinstance(item, UndoRecord):
            return _Done(check_undo_line(item, places))
        linked = read_linked(item, places, rules)
        return _Done(linked.findings, linked.image, linked.victims)
    except Exception as error:
        logging.getLogger(__name__).debug("a check of %s broke off", job.name, exc_info=True)
        findings = Findings()
        findings.test("files", False, job.name, "files that can be checked", error, job.name)
        return _Done(findings)


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
    undo = _read_undo(records, folder, findings)
    check_listing(listing, records, frozenset(undo_paths(undo)) if undo else frozenset(), root is not None, findings)
    places = Places(folder, root)
    rules = _make_rules(records, listing, places, findings)
    if root is not None:
        scale = 1.0 if records.recipe is None else records.recipe.scale
        check_source_listing(source_files, records, scale, findings)
    if rules is not None:
        index = _make_index(listing, places, rules, findings)
        _check_rules(records, rules, findings)
        if index is not None:
            check_coverage(index, records, rules, findings)
            check_made(index, records, rules, list(listing.entries), findings)
            like = _label_like(index, records, listing, places, findings)
        if not quick:
            _check_contents(records, index, undo, places, rules, job_count(jobs), progress, findings)
    if quick:
        findings.note(f"contents of files, but for the digests of {QUICK_FILES} of them: this was a quick audit")
        _check_some(records, places, findings)
    return _report(folder, root, quick, listing, like, findings)


def _label_like(
    index: Index, records: Records, listing: Listing, places: Places, findings: Findings
) -> tuple[str, ...]:
    """Return the label-like files of samples with changed labels; test that the summary counts them."""

    def read(path: str, most: int) -> bytes | None:
        try:
            with open_out(places, path, path) as file:
                return file.read(most)
        except (Refused, OSError):
            return None

    paths = [path for path in listing.entries if path.split("/")[0] not in (FOLDER, TRIGGERED)]
    changed = {record.sample for record in records.samples() if record.role in ("poisoned", "prl")}
    found = tuple(label_like(sorted(paths), index, changed, read))
    said = None if records.summary is None else records.summary.counts.get("label_like")
    if said is not None:  # builds of older versions did not look for them
        findings.test("records", said == len(found), f"{FOLDER}/{SUMMARY}", f"{len(found)} label_like", said)
    return found


def _read_undo(records: Records, out: Path, findings: Findings) -> list[UndoRecord]:
    """Return the lines of the undo store's index, tested against the records; none if there is no store."""
    if records.summary is None or records.summary.undo is None:
        return []
    lines = read_undo_index(out, records.summary.undo, findings)
    check_undo_index(records, lines, findings)
    return lines


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


def _make_rules(records: Records, listing: Listing, places: Places, findings: Findings) -> Rules | None:
    """Return the rules of the recipe; None, with a fault or a note, if it cannot be used."""
    if records.recipe is None:
        findings.note("anything that needs the recipe: it is not valid")
        return None
    layout = find_layout(records.recipe.dataset)
    tables = [path for path in listing.entries if path.startswith("classes.")]
    if places.root is None and not all(listing.plain(path) for path in tables):
        findings.note("anything that needs the table of classes: it is a link (give --source)")
        return None
    try:
        classes = layout.classes(places.root or places.out)
        settled = settle(records.recipe, layout, classes)
        same = settled == records.recipe
        findings.test("records", same, f"{FOLDER}/{RECIPE}", "every default filled in", "a recipe with open choices")
        return make_rules(settled, classes)
    except PoisongenError as error:
        findings.test("records", False, f"{FOLDER}/{RECIPE}", "a recipe for this dataset", error)
        return None


def _make_index(listing: Listing, places: Places, rules: Rules, findings: Findings) -> Index | None:
    """Pair the files of OUT into samples, as the layout does; its split lists must be plain files, or the source's."""
    own = (FOLDER, TRIGGERED)
    paths = sorted(path for path in listing.entries if path.split("/")[0] not in own and not is_shadow(path))
    lists = [path for path in paths if path.endswith(".txt")]
    if places.root is None and not all(listing.plain(path) for path in lists):
        findings.note("samples that no record names: the split lists are links (give --source)")
        return None
    try:
        return find_layout(rules.recipe.dataset).scan(places.root or places.out, paths)
    except PoisongenError as error:
        findings.test("order", False, ".", f"a dataset in the layout '{rules.recipe.dataset}'", error)
        return None


def _check_rules(records: Records, rules: Rules, findings: Findings) -> None:
    for record in records.samples():
        if findings.test("rules", bool(record.files), f"{FOLDER}/{MANIFEST}", "files", "none", record.sample):
            check_record(record, rules, findings)
    if records.summary is not None:
        check_counts(records.summary.counts, rules, findings)
    check_skipped(records, rules, findings)


def _check_contents(
    records: Records,
    index: Index | None,
    undo: Sequence[UndoRecord],
    places: Places,
    rules: Rules,
    jobs: int,
    progress: bool,
    findings: Findings,
) -> None:
    """Read every file: samples with a record, untouched samples, and links."""
    untouched = [] if index is None else linked_samples(index, records)
    read = {path for item in untouched for path in item.digests} if places.root is None else set()
    work = [_Job(line) for line in records.manifest if SampleRecord.model_validate_json(line).files]
    work += [_Job(item) for item in untouched]
    work += [_Job(link) for link in records.links if link.path not in read]
    work += [_Job(line) for line in undo]
    victims: dict[str, int] = {}
    function = functools.partial(_do, places=places, rules=rules)
    for done in for_each(function, work, jobs, "auditing" if progress else None):
        findings.add(done.findings)
        if done.victims is not None:
            victims[done.image] = done.victims
    if index is not None:
        check_order(index, records, victims, rules, findings)


def _check_some(records: Records, places: Places, findings: Findings) -> None:
    """Test the digests of a few files, drawn anew each time, so that nobody can know which."""
    files: Sequence[tuple[str, str | None, str, str]] = [
        (file.path, None if file.written else file.source, file.sha256, record.sample)
        for record in records.samples()
        for file in record.files
    ]
    for path, source, digest, sample in random.SystemRandom().sample(files, min(QUICK_FILES, len(files))):
        try:
            with open_out(places, path, source) as stream:
                found = sha256_of(stream)
        except LinkNotFollowedError:
            continue
        except (Refused, OSError) as refused:
            findings.test("files", False, path, "a file", refused, sample)
            continue
        findings.test("files", found == digest, path, f"sha256 {digest}", found, sample)
