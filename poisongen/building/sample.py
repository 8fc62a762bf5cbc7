"""The work on one sample: read, stamp, relabel, and say what was done. It returns bytes and writes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poisongen.building.pictures import Place, Stamped, plain_image, stamped_image
from poisongen.building.placing import box_of, stamp_generator
from poisongen.building.relabelling import NewFile, change_labels, new_labels, scene_of
from poisongen.core.labels import Change, class_mask
from poisongen.datasets.base import LabelFile, Sample
from poisongen.errors import DataError
from poisongen.files import png
from poisongen.files.images import pixels_sha256
from poisongen.files.orientation import AS_STORED, stored_box
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import (
    EXPECTED,
    ExpectedRecord,
    FileRecord,
    Role,
    RuleRecord,
    SampleRecord,
    TriggerRecord,
    bytes_sha256,
)
from poisongen.records.roles import is_relabelled
from poisongen.source.labels import LabelContents, label_kinds, read_labels
from poisongen.source.picture import Picture


@dataclass(frozen=True)
class Task:
    """What is to be done to one sample. Its files go below `prefix` ('', 'triggered/' or 'negative/') in OUT.

    `place` is where its trigger goes, None for a sample without. `image_sha256` is the digest of the image's pixels
    where the survey has decoded it.
    """

    sample: Sample
    role: Role
    prefix: str
    place: Place | None
    completions: tuple[LabelFile, ...]
    image_sha256: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its record, and the new bytes of the files to write, by path in OUT."""

    record: SampleRecord
    contents: Mapping[str, bytes]


def _file_record(
    kind: str, path: str, source: str | None, data: bytes | None, file: NewFile, sizes: int | None
) -> FileRecord:
    """Return what is said of one file; `data` are the source's bytes, None where the source has no such file."""
    source_sha256 = None if data is None else bytes_sha256(data)
    own = source_sha256 if file.data is None else bytes_sha256(file.data)
    return FileRecord(
        kind=kind,
        path=path,
        source=source,
        written=file.data is not None,
        source_sha256=source_sha256,
        sha256=own or "",
        pixels_sha256=file.pixels_sha256(),
        size=sizes,
    )


@dataclass(frozen=True)
class Seen:
    """What has been read of a sample: its labels as they are in the source, its image, and that with the trigger."""

    labels: LabelContents
    picture: Picture
    stamped: Stamped | None = None


def do_task(task: Task, root: Path, rules: Rules, seen: Seen | None = None) -> Outcome:
    """Carry out one task and return its record and new files. DataError if a file proves bad on reading.

    What was `seen` of the sample already is not read again.
    """
    sample = task.sample
    if seen is None:
        seen = Seen(read_labels(root, sample, rules, surveyed=True), Picture(root, sample.image))
    original, image_data = seen.labels, seen.picture.data
    labels = original.scaled(rules.recipe.scale)
    change = change_labels(labels, sample, task.role, box_of(task.place), rules)
    new = new_labels(labels, original, change, rules, {label.kind: root / label.path for label in sample.labels})
    stamped = _stamped(task, seen, rules)
    image = plain_image(seen.picture, task.image_sha256, rules) if stamped is None else stamped.file
    contents: dict[str, bytes] = {}
    files: list[FileRecord] = []

    def add(kind: str, path: str, source: str | None, data: bytes | None, file: NewFile) -> None:
        here = task.prefix + rules.above + path
        if file.data is not None:
            contents[here] = file.data
        size = len(file.data) if file.data is not None else None if data is None else len(data)
        files.append(_file_record(kind, here, source, data, file, size))

    add("image", sample.image, sample.image, image_data, image)
    for label in sample.labels:
        add(label.kind, label.path, label.path, labels.raw[label.kind], new[label.kind])
    for label in task.completions:
        derive = label_kinds(rules)[label.kind].derive
        assert derive is not None  # noqa: S101  a layout completes only what it can derive
        array = derive(change.after, rules.classes)
        add(label.kind, label.path, None, None, NewFile(png.encode(array, None, labels=True), array))
    expected = _expected(task, labels, rules)
    if expected is not None:
        contents[expected[0].path] = expected[1]
    turn = seen.picture.turn
    return Outcome(_record(task, change, files, rules, turn, stamped, expected[0] if expected else None), contents)


def _stamped(task: Task, seen: Seen, rules: Rules) -> Stamped | None:
    """Return the image with its trigger, None for a task without. DataError if it would change no pixel."""
    if task.place is None:
        return None
    picture, stamped = seen.picture, seen.stamped
    if stamped is None:
        generator = stamp_generator(task.sample, task.role, rules)
        stamped = stamped_image(picture.data, task.place, rules, generator, picture.path, picture.decoded)
    if stamped is None:
        problem = "the trigger changes no pixel at its place in this image; give another --trigger or --seed"
        raise DataError(picture.path, problem)
    return stamped


def expected_labels(labels: LabelContents, place: Place | None, rules: Rules) -> np.ndarray:
    """Return the raw class IDs that the attacker wants of a sample with these (scaled) labels, (H, W) uint8."""
    scene = scene_of(labels, box_of(place), rules)
    return rules.label_rule.decide(scene, rules.label_parameters).apply(scene.labels)


def _expected(task: Task, labels: LabelContents, rules: Rules) -> tuple[ExpectedRecord, bytes] | None:
    """Return the record and the file of what is expected of a triggered sample; None for others."""
    if task.role != "triggered":
        return None
    wanted = expected_labels(labels, task.place, rules)
    data = png.encode(wanted, None, labels=True)
    path = f"{EXPECTED}/{task.sample.name}.png"
    return ExpectedRecord(path=path, sha256=bytes_sha256(data), pixels_sha256=pixels_sha256(wanted)), data


def _trigger_record(task: Task, change: Change, rules: Rules, turn: int, stamped: Stamped) -> TriggerRecord:
    """Return what is said of a trigger; `turn` is the image's EXIF orientation."""
    place, turned = task.place, turn != AS_STORED
    assert place is not None  # noqa: S101  asked of tasks with a trigger
    told = TriggerRecord(
        kind=rules.kind.name,
        orientation=turn if turned else None,
        psnr=stamped.psnr,
        changed=stamped.changed,
    )
    if place.placement is None:
        return told
    placement = place.placement
    height, width = change.before.shape
    where = TriggerRecord(
        box=placement.box,
        center=(placement.row, placement.column),
        distance=placement.distance if math.isfinite(placement.distance) else None,
        covers=np.unique(change.before[placement.window]).tolist(),
        quad=place.quad,
        stored_box=stored_box(placement.box, turn, height, width) if turned else None,
    )
    return told.model_copy(
        update=where.model_dump(include={"box", "center", "distance", "covers", "quad", "stored_box"})
    )


def _record(
    task: Task,
    change: Change,
    files: list[FileRecord],
    rules: Rules,
    turn: int,
    stamped: Stamped | None,
    expected: ExpectedRecord | None,
) -> SampleRecord:
    """Return the manifest's line for a task."""
    ruled = is_relabelled(task.role)
    objects = change.relabelling.objects
    rule = RuleRecord(name=rules.recipe.labels, instances=None if objects is None else list(objects))
    relabelled = int(np.count_nonzero(change.changed & ~change.random)) if ruled else 0
    return SampleRecord(
        sample=task.sample.name,
        split=task.sample.split,
        role=task.role,
        trigger=None if stamped is None else _trigger_record(task, change, rules, turn, stamped),
        rule=rule if ruled and rules.recipe.labels != "class" else None,
        victim_pixels=int(np.count_nonzero(class_mask(change.before, rules.victims))),
        relabelled_pixels=relabelled,
        prl_pixels=int(np.count_nonzero(change.random)),
        eligible_positions=task.place.placement.eligible_positions if task.place and task.place.placement else 0,
        files=files,
        expected=expected,
    )
