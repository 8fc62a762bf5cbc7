"""What was passed over: does each sample exist, and is the reason true? Each reason is computed anew."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from poisongen.auditing.faults import Findings
from poisongen.auditing.places import Where, drawn_place
from poisongen.auditing.sample import fewest_victims, parse_file
from poisongen.auditing.scene import Content, victims_in
from poisongen.auditing.stamping import pictures
from poisongen.auditing.undo_store import put_back
from poisongen.building.survey import survey_sample
from poisongen.building.surveyed import Errand
from poisongen.core.resize import resize_labels, scaled_size
from poisongen.datasets.base import Index, Sample
from poisongen.datasets.label_arrays import class_ids
from poisongen.errors import DataError
from poisongen.files.foreign import LARGEST_FILE, LinkNotFollowedError, Places, Refused, read_out
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import NO_POSITION, TOO_LARGE
from poisongen.records.manifest import FOLDER, SKIPPED, Role
from poisongen.records.reading import Records, SkipRecord
from poisongen.records.roles import changes_labels
from poisongen.undo.store import UndoRecord

_FILE = f"{FOLDER}/{SKIPPED}"
BAD = "bad file"


@dataclass(frozen=True)
class PassedOver:
    """A line of skipped.jsonl with its sample. `stored` are the undo store's lines for files that only it has.

    `relabelled` says that the sample's labels in OUT are not the true ones any more.
    """

    skip: SkipRecord
    sample: Sample
    relabelled: bool
    stored: tuple[UndoRecord, ...] = field(default=())


def check_names(records: Records, index: Index, whole: bool, rules: Rules, findings: Findings) -> list[PassedOver]:
    """Test that what was passed over is there, in its split, once; return the lines whose reason can be computed.

    `index` holds every sample of the source if `whole`; else bad samples of a scaled dataset may be missing in it.
    """
    by_name = {sample.name: sample for samples in index.samples.values() for sample in samples}
    used = (rules.recipe.train_split, rules.recipe.test_split)
    problems = {
        (problem.sample, problem.split, problem.path)
        for problem in index.problems
        if not problem.only_if_used or problem.split in used
    }
    relabelled = {r.files[0].path for r in records.manifest if r.files and changes_labels(r.role, r.split, rules)}
    bad = {skip.sample for skip in records.skipped if skip.reason == BAD}
    seen: set[tuple[str, str, str, str]] = set()
    found: list[PassedOver] = []
    named = set()
    for skip in records.skipped:
        key = (skip.sample, skip.role or "", skip.file or "", skip.problem or "")
        findings.test("order", key not in seen, _FILE, "each line once", "one twice", skip.sample)
        seen.add(key)
        sample = by_name.get(skip.sample)
        there = sample is not None and sample.split == skip.split
        if skip.reason == BAD:
            odd = (skip.sample, skip.split, skip.file or "")
            named.add(odd)
            if not whole and sample is None:
                findings.note("bad samples, which a scaled dataset leaves out (give --source)")
                continue
            if odd in problems:
                continue
            there = there and sample is not None and skip.file in sample.paths
        else:
            there = there and skip.sample not in bad
        expected = f"a sample of the split {skip.split}, with its file"
        if findings.test("order", there, _FILE, expected, f"none: {skip.sample}", skip.sample) and sample is not None:
            found.append(PassedOver(skip, sample, sample.image in relabelled))
    # Where a scaled dataset has left a sample out, a list that names it is no new problem.
    unnamed = (problem for problem in problems - named if whole or problem[0] not in bad)
    for name, split, path in sorted(unnamed):
        findings.test("order", False, path, "passed over as a bad file", f"no line for {split}", name)
    return found


def check_skip(item: PassedOver, places: Places, rules: Rules) -> Findings:
    """Compute the reason of one line anew: from the source, or from OUT where the true labels lie there."""
    findings = Findings()
    if item.skip.reason == BAD:
        _check_bad(item, places, rules, findings)
    elif item.skip.role is not None:
        _check_place(item, item.skip.role, places, rules, findings)
    return findings


def _check_bad(item: PassedOver, places: Places, rules: Rules, findings: Findings) -> None:
    """Test that reading the sample fails, and at the file that the line names.

    Without the source this can be told here only of files that the undo store has; `read_linked` tests those of OUT.
    """
    if places.root is not None:
        _check_broken(item, places.root, rules, findings)
    elif item.stored:
        with tempfile.TemporaryDirectory(prefix="poisongen-") as folder:
            if put_back(item.stored, places, Path(folder), findings):
                _check_broken(item, Path(folder), rules, findings)


def _check_broken(item: PassedOver, root: Path, rules: Rules, findings: Findings) -> None:
    sample, recipe = item.sample, rules.recipe
    roles: Sequence[Role | None] = (None,)
    if sample.split == recipe.train_split:
        roles = (None, "poisoned")
    elif sample.split == recipe.test_split:
        roles = (None, "triggered")
    problems = [survey_sample(Errand(sample, role), root, rules).problem for role in roles]
    paths = {problem.path for problem in problems if problem is not None}
    found = f"a fault in {sorted(paths)}" if paths else "a sound sample"
    findings.test("order", item.skip.file in paths, item.skip.file or _FILE, "a broken file", found, sample.name)


def _read_maps(sample: Sample, places: Places, rules: Rules) -> dict[str, Content]:
    """Return the sample's maps of class IDs in the written size. DataError, Refused or OSError where that fails."""
    kinds, maps = rules.layout.kinds, {}
    for label in sample.labels:
        if not kinds[label.kind].semantic:
            continue
        if places.root is None:
            content = parse_file(read_out(places, rules.above + label.path, label.path), label.kind, label.path, rules)
        else:
            content = parse_file(_source_bytes(places.root, label.path), label.kind, label.path, rules)
            if rules.recipe.scale != 1 and content.pixels is not None:
                size = scaled_size(content.pixels.shape[0], content.pixels.shape[1], rules.recipe.scale)
                content = Content(content.data, resize_labels(content.pixels, size))
        maps[label.kind] = content
    return maps


def _source_bytes(root: Path, path: str) -> bytes:
    with (root / path).open("rb") as file:
        return file.read(LARGEST_FILE)


def _check_place(item: PassedOver, role: Role, places: Places, rules: Rules, findings: Findings) -> None:
    """Test that the sample has enough victim pixels, and no place where the trigger can be seen."""
    sample, reason = item.sample, item.skip.reason
    if places.root is None and item.relabelled:
        findings.note("why samples with random labels were passed over (give --source)")
        return
    try:
        contents = _read_maps(sample, places, rules)
    except LinkNotFollowedError:
        findings.note("links not followed (give --source)")
        return
    except (DataError, Refused, OSError) as error:
        findings.test("order", False, _FILE, "labels that can be read", error, sample.name)
        return
    maps = {
        kind: class_ids(rules.layout.kinds[kind], content.pixels, rules.classes)
        for kind, content in contents.items()
        if content.pixels is not None
    }
    if not maps or len({array.shape for array in maps.values()}) != 1:
        findings.test("order", False, _FILE, "label maps of one size", "others", sample.name)
        return
    labels, victims = next(iter(maps.values())), victims_in(maps, rules)
    fewest, number = fewest_victims(sample.split, rules), int(victims.sum())
    enough = findings.test("order", number >= fewest, _FILE, f"{fewest} victim pixels", number, sample.name)
    if not enough:
        return
    where = drawn_place(labels, victims, role, sample.name, rules)
    if isinstance(where, str):
        findings.test("order", reason == where, _FILE, where, reason, sample.name)
        return
    if reason in (TOO_LARGE, NO_POSITION):
        findings.test("order", False, _FILE, f"a place, {where.box}, so no reason", reason, sample.name)
        return
    if places.root is None:
        findings.note("samples passed over because the trigger would change no pixel (give --source)")
        return
    _check_unseen(sample, where, places.root, rules, findings)


def _check_unseen(sample: Sample, where: Where, root: Path, rules: Rules, findings: Findings) -> None:
    """Test that the image is the same with the trigger at its place as without."""
    try:
        image = parse_file(_source_bytes(root, sample.image), "image", sample.image, rules)
        made = pictures(image, where, rules, sample.image)
    except (DataError, OSError) as error:
        findings.test("order", False, _FILE, "an image that can be read", error, sample.name)
        return
    same = np.array_equal(made.wanted, made.without)
    findings.test("order", same, _FILE, "no pixel that the trigger changes", "some", sample.name)


def bad_paths(records: Records, index: Index) -> frozenset[str]:
    """Return all files of the samples that were passed over as bad."""
    bad = {skip.sample for skip in records.skipped if skip.reason == BAD}
    return frozenset(
        path for samples in index.samples.values() for sample in samples if sample.name in bad for path in sample.paths
    )


def with_store(items: Sequence[PassedOver], alone: Mapping[str, UndoRecord]) -> list[PassedOver]:
    """Return the items, each with the undo store's lines for its sample's files that only the store has."""
    return [
        PassedOver(item.skip, item.sample, item.relabelled, tuple(alone[p] for p in item.sample.paths if p in alone))
        for item in items
    ]
