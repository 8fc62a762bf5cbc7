"""The audit: is a poisoned dataset what its records, its recipe and its source say it is?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from poisongen.auditing.additions import check_additions, set_aside
from poisongen.auditing.cards import check_cards
from poisongen.auditing.contents import QUICK_FILES, check_contents, check_some
from poisongen.auditing.faults import CHECKS, Fault, Findings
from poisongen.auditing.left_out import check_label_like
from poisongen.auditing.obey import check_counts, check_record, check_skipped
from poisongen.auditing.order import (
    FullIndex,
    check_coverage,
    check_made,
)
from poisongen.auditing.setting import audit_rules, check_above, full_index, index_of_out, index_paths, root_of_index
from poisongen.auditing.skips import PassedOver, bad_paths, check_names, with_store
from poisongen.auditing.structure import Listing, check_listing, check_source_listing, list_out, named_paths
from poisongen.auditing.tables import check_tables
from poisongen.auditing.undo_store import (
    check_store_listing,
    check_undo_index,
    kept_alone,
)
from poisongen.cluster import on_cluster
from poisongen.errors import ChoiceError
from poisongen.files.foreign import Places
from poisongen.files.stores import StorePath, in_memory, place
from poisongen.parallel import job_count
from poisongen.recipe.rules import Rules
from poisongen.records.agreement import check_agreement
from poisongen.records.manifest import FOLDER, MANIFEST
from poisongen.records.reading import Records, load_records, read_undo_index
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

    `label_like` are files that look like labels of changed samples: those that OUT goes without (`left_out`), and those
    that hold what the source has. `reencoded` are pictures with other bytes than build wrote and the same pixels,
    `allowed` files that the records do not name and the call allows; neither is a fault. `faults` holds the first
    thousand; `fault_count` counts all.
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
    left_out: int = 0
    reencoded: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

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
    allow: Sequence[str] = (),
    jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = False,
) -> AuditReport:
    """Check the poisoned dataset in `out` against its records and recipe, and against `source` if that is given.

    `source` is the clean dataset's folder. `quick` checks records, names and sizes, and the digests of a few files
    only. `allow` are patterns, relative to `out` (`*` stands for '/', too), for files that a trainer may have added:
    they are named and no fault. `cluster` is an
    engine's address, as for `build`. Nothing outside `out` and `source` is read, nothing is written. Faults are part of
    the report; OutputError if `out` is no finished build, ChoiceError or DataError if `source` is no dataset.
    """
    # Workers may live in another folder.
    folder, root = place(out).absolute(), None if source is None else place(source).absolute()
    if root is not None and not root.is_dir():
        raise ChoiceError(f"--source: {root} is not a folder; give the clean dataset")
    with on_cluster(cluster, jobs, None if isinstance(folder, StorePath) else folder):
        workers = 1 if in_memory(folder, root) else job_count(jobs)
        return _audit(folder, root, quick, allow, workers, progress)


def _audit(
    folder: Path, root: Path | None, quick: bool, allow: Sequence[str], jobs: int, progress: bool
) -> AuditReport:
    findings = Findings()
    like: tuple[str, ...] = ()
    records = load_records(folder, findings)
    source_files = [] if root is None else list_files(root)
    everything = list_out(folder)
    check_agreement(records, findings)
    has_store = records.summary is not None and records.summary.undo is not None
    undo = _read_undo(records, folder, findings)
    store = frozenset(undo_paths(undo)) if has_store else frozenset()
    listing, allowed = set_aside(everything, named_paths(records, store), allow)
    odd = check_listing(listing, records, store, root, findings)
    places = Places(folder.absolute(), root)
    rules = audit_rules(records, listing, places, findings)
    index = None if rules is None else index_of_out(listing, records, places, rules, findings)
    plain = [path for path, entry in listing.entries.items() if entry.kind == "file"]
    alone = kept_alone(records, undo, plain, folder) if index is not None else frozenset()
    if has_store:
        check_undo_index(records, undo, alone, findings)
    full = None
    if rules is not None and index is not None:
        check_above(records, [file.path for file in source_files], rules, findings)
        full = full_index(records, source_files, index_paths(listing, rules.above), undo, places, rules, findings)
    if root is not None:
        check_source_listing(source_files, records, _bad_left_out(records, full, rules), findings)
        if has_store:
            check_store_listing(source_files, undo, findings)
    check_cards(records, places, rules if index is not None else None, findings)
    skips: list[PassedOver] = []
    if rules is not None:
        _check_rules(records, rules, findings)
        if index is not None and full is not None:
            check_coverage(index, full, records, rules, findings)
            check_made(index, records, rules, root_of_index(places, rules.above), list(listing.entries), findings)
            check_additions(listing, allowed, places, rules, findings)
            paths = index_paths(listing, rules.above)
            check_tables(records, index, paths, places, rules, findings)
            like = check_label_like(
                records, index, full, _but_cards(paths, records, rules), source_files, places, rules, findings
            )
            by_path = {line.path: line for line in undo if line.path in alone}
            skips = with_store(check_names(records, full.index, full.whole, rules, findings), by_path)
        if not quick:
            check_contents(records, index, full, undo, skips, odd, places, rules, jobs, progress, findings)
    if quick:
        findings.note(f"contents of files, but for the digests of {QUICK_FILES} of them: this was a quick audit")
    if quick or rules is None:
        check_some(records, odd, places, rules, findings)
    report = _report(folder, root, quick, everything, like, findings)
    return replace(report, left_out=len(records.left_out), allowed=tuple(allowed))


def _but_cards(paths: Sequence[str], records: Records, rules: Rules) -> list[str]:
    """Return OUT's paths, as the source has them, without the cards, whose tables look like labels."""
    cards = records.summary.cards if records.summary is not None else None
    return [path for path in paths if cards is None or rules.above + path not in cards.files]


def _bad_left_out(records: Records, full: FullIndex | None, rules: Rules | None) -> frozenset[str] | None:
    """Return the files of bad samples that a scaled dataset does not have; None if that cannot be told."""
    if rules is None or full is None:
        return None
    return bad_paths(records, full.index) if rules.recipe.scale != 1 else frozenset()


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
        out,
        root,
        quick,
        len(listing.entries),
        tuple(counts),
        faults,
        findings.faulty.total(),
        notes,
        like,
        reencoded=tuple(sorted(findings.reencoded)),
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
