"""Opening a poisoned dataset to be shown: its records, its rules, its source and undo store, all of them doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poisongen.auditing.faults import Fault, Findings
from poisongen.auditing.setting import audit_rules, index_of_out
from poisongen.auditing.structure import Listing, list_out
from poisongen.datasets.base import Sample
from poisongen.errors import ChoiceError, OutputError
from poisongen.files.foreign import Places
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, MANIFEST, RECIPE, SampleRecord
from poisongen.records.reading import Records, SkipRecord, Summary, load_records, read_undo_index
from poisongen.records.standing import read_summary
from poisongen.undo.store import UndoRecord


@dataclass(frozen=True)
class Opened:
    """What a report is made from. `undo` are the lines of the undo store by the source's path, none without a store.

    `pairs` are victims and targets with pixels and samples of the training split, none in builds of older versions.
    `faults` were found while reading the records. `samples` are those of OUT that skipped.jsonl names, by name, as far
    as the layout finds them there.
    """

    places: Places
    rules: Rules
    summary: Summary
    manifest: Sequence[SampleRecord]
    skipped: Sequence[SkipRecord]
    undo: Mapping[str, UndoRecord] = field(default_factory=dict)
    pairs: Sequence[Mapping[str, Any]] = ()
    faults: tuple[Fault, ...] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict)


def open_build(out: Path, root: Path | None) -> Opened:
    """Read the records of the build in `out`; `root` is its source, if that is given.

    OutputError if `out` is no finished build, or its records cannot be read; ChoiceError if the source is no folder.
    Records that can be read but are wrong are shown, with the audit's verdict beside them.
    """
    out, root = out.absolute(), None if root is None else root.absolute()
    if root is not None and not root.is_dir():
        raise ChoiceError(f"--source: {root} is not a folder; give the clean dataset")
    findings = Findings()
    records, places = load_records(out, findings), Places(out, root)
    if records.summary is None or not records.complete:
        raise _unreadable(out, findings)
    listing = list_out(out)
    rules = audit_rules(records, listing, places, findings)
    if rules is None:
        raise _unreadable(out, findings)
    for record in records.manifest:
        if not record.files:
            raise OutputError(f"{out / FOLDER / MANIFEST}: {record.sample} has no files; run poisongen audit on it")
    undo = _undo(records, out, findings)
    pairs = read_summary(out).get("pairs", [])
    samples = _passed_over(records, listing, places, rules)
    faults = tuple(findings.faults)
    return Opened(places, rules, records.summary, records.manifest, records.skipped, undo, pairs, faults, samples)


def _passed_over(records: Records, listing: Listing, places: Places, rules: Rules) -> dict[str, Sample]:
    """Return the samples that were passed over and lie in OUT, by name."""
    names = {skip.sample for skip in records.skipped}
    index = index_of_out(listing, records, places, rules, Findings()) if names else None
    there = () if index is None else (sample for split in index.samples.values() for sample in split)
    return {sample.name: sample for sample in there if sample.name in names}


def _unreadable(out: Path, findings: Findings) -> OutputError:
    if not findings.faults:
        note = next(iter(findings.notes), f"{FOLDER}/{RECIPE} cannot be used")
        return OutputError(f"{out}: cannot be shown: {note}")
    fault = findings.faults[0]
    return OutputError(f"{out / fault.file}: expected {fault.expected}, found {fault.found}; run poisongen audit on it")


def _undo(records: Records, out: Path, findings: Findings) -> dict[str, UndoRecord]:
    if records.summary is None or records.summary.undo is None:
        return {}
    return {line.path: line for line in read_undo_index(out, records.summary.undo, findings)}
