"""The work on one sample: read, paste, relabel, and say what was done. It returns bytes and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.core.draws import keyed_generator
from poisongen.core.labels import Change, class_counts, class_mask, prl_pixel_count, random_labels, relabel
from poisongen.core.placement import Placement, place
from poisongen.core.resize import scaled_size
from poisongen.core.trigger import blend, is_doubtful
from poisongen.datasets.base import LabelFile, Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.files.orientation import AS_STORED, as_stored, orientation, stored_box, upright
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import NO_POSITION, TOO_LARGE, UNSEEN
from poisongen.records.manifest import Role, bytes_sha256
from poisongen.source.labels import LabelContents, check_fit, label_kinds, read_labels
from poisongen.source.listing import read_file

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

_ROOMY = 256  # values; a label file for so many holds every class


@dataclass(frozen=True)
class Task:
    """What is to be done to one sample. Its files go below `prefix` ('' or 'triggered/') in OUT.

    `image_sha256` is the digest of the image's pixels where the survey has decoded it.
    """

    sample: Sample
    role: Role
    prefix: str
    placement: Placement | None
    completions: tuple[LabelFile, ...]
    image_sha256: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its record, and the new bytes of the files to write, by path in OUT."""

    record: Mapping[str, Any]
    contents: Mapping[str, bytes]


@dataclass(frozen=True)
class NewFile:
    """A label or image after the work: new bytes, or None where the source's file stays, its pixels, their digest."""

    data: bytes | None
    pixels: Array | None
    digest: str | None = None

    def pixels_sha256(self) -> str | None:
        """Return the digest of the pixels; None for documents."""
        return self.digest if self.pixels is None else images.pixels_sha256(self.pixels)


def place_on(labels: LabelContents, sample: Sample, role: Role, rules: Rules) -> Placement | str:
    """Choose the trigger's place in a sample with these (scaled) labels, or say why there is none."""
    victims = victim_mask(labels.maps, rules.victims)
    label_map = labels.maps[0]
    generator = keyed_generator(rules.recipe.seed, "place", role, sample.name)
    placement = place(label_map, victims, class_mask(label_map, rules.classes.void), rules.placement, generator)
    if placement is not None:
        return placement
    needed = rules.placement.size + 2 * rules.placement.edge_margin
    return TOO_LARGE if needed > min(label_map.shape) else NO_POSITION


def place_to_be_seen(labels: LabelContents, sample: Sample, role: Role, root: Path, rules: Rules) -> Placement | str:
    """Choose a place as `place_on` does, and see that the trigger changes the image there.

    The image is read for it only where that may well not be so: if the trigger is faint or of one colour, or the
    picture has few colours of its own. Everywhere else `do_task` finds out, and refuses. DataError if the image is bad.
    """
    placement = place_on(labels, sample, role, rules)
    doubtful = is_doubtful(rules.trigger, rules.recipe.opacity)
    if isinstance(placement, str) or not (doubtful or images.has_few_colours(root / sample.image)):
        return placement
    seen = _is_seen(read_file(root, sample.image), placement, rules, root / sample.image)
    return placement if seen else UNSEEN


def place_sample(sample: Sample, role: Role, root: Path, rules: Rules) -> Placement | str:
    """Read a sample's labels and choose the trigger's place, or say why there is none.

    DataError, with the advice to skip it, if the sample cannot be changed as its role demands: the survey left that
    open because it did not know that the sample's turn would come.
    """
    labels = read_labels(root, sample, rules, surveyed=True)
    placement = place_to_be_seen(labels.scaled(rules.recipe.scale), sample, role, root, rules)
    try:
        if not isinstance(placement, str):
            check_image(labels, sample, role, root, rules)
            check_new_labels(labels, sample, role, root, rules)
    except DataError as error:
        raise DataError(error.path, f"{error.problem}; mend it, or go on without with --skip-bad") from None
    return placement


def check_image(labels: LabelContents, sample: Sample, role: Role | None, root: Path, rules: Rules) -> str:
    """Decode a sample's image and return its pixels' digest.

    DataError if it cannot be decoded, if its label map does not fit what EXIF makes of it, or if it cannot be changed.

    With a role the image will get a trigger. So what only decoding finds is found before anything is written.
    """
    path, data = root / sample.image, read_file(root, sample.image)
    pixels = images.decode(data, path)
    mask = next(label.path for label in sample.labels if label.kind == labels.first)
    stored = (pixels.shape[0], pixels.shape[1])
    check_fit(root, sample.image, stored, orientation(data), mask, labels.maps[0].shape)
    if role is not None and rules.recipe.scale == 1 and rules.recipe.jpeg == "blocks":
        images.check_rewritable(data, path)
    return images.pixels_sha256(pixels)


def check_new_labels(original: LabelContents, sample: Sample, role: Role, root: Path, rules: Rules) -> None:
    """Raise DataError if a label file of a sample cannot hold the classes that its role will give it."""
    documents = {name for name, kind in label_kinds(rules).items() if kind.document}
    paths = {label.kind: root / label.path for label in sample.labels}
    if all(capacity(data, paths[kind]) >= _ROOMY for kind, data in original.raw.items() if kind not in documents):
        return
    labels = original.scaled(rules.recipe.scale)
    change = _change_labels(labels, Task(sample, role, "", None, ()), rules)
    _new_labels(labels, original, change, rules, paths)


def _change_labels(labels: LabelContents, task: Task, rules: Rules) -> Change:
    """Decide, once for all label files, which pixels get which class."""
    before = labels.maps[0]
    victims = victim_mask(labels.maps, rules.victims)
    random, after = np.zeros(before.shape, dtype=bool), before
    prl = rules.prl
    if prl is not None and (task.role == "poisoned" or (task.role == "prl" and prl.scope == "all")):
        free = ~victims
        for other in labels.maps:
            free &= (other == before) & ~class_mask(other, rules.classes.void)
        present = frozenset(np.flatnonzero(class_counts(before)).tolist())
        allowed = present - rules.classes.void - set(rules.victims) if prl.classes is None else prl.classes
        count = prl_pixel_count(prl.amount, prl.unit, *before.shape)
        generator = keyed_generator(rules.recipe.seed, "prl", task.sample.name)
        random, after = random_labels(before, free, allowed, count, generator)
    pairs = rules.pairs if task.role == "poisoned" else {}
    return Change(before, relabel(after, pairs), victims, random, pairs)


def _new_labels(
    labels: LabelContents, original: LabelContents, change: Change, rules: Rules, paths: Mapping[str, Path]
) -> dict[str, NewFile]:
    """Rewrite every label file (`paths` by kind), keeping those that the change leaves as they are."""
    new: dict[str, NewFile] = {}
    height, width = change.before.shape
    for name, data in labels.raw.items():
        kind = label_kinds(rules)[name]
        if kind.document:
            scaled = data
            if rules.recipe.scale != 1 and kind.resize:
                scaled = kind.resize(data, width, height)
            rewritten = kind.rewrite(scaled, change, rules.classes)
            new[name] = NewFile(None if rewritten == data else rewritten, None)
            continue
        array = kind.rewrite(labels.arrays[name], change, rules.classes)
        same = array.shape == original.arrays[name].shape and np.array_equal(array, original.arrays[name])
        new[name] = NewFile(None if same else _encode_labels(array, original.arrays[name], data, paths[name]), array)
    return new


def capacity(source: bytes, path: Path) -> int:
    """Return how many values a label PNG can hold: the entries of its palette, else what its bits allow. DataError."""
    facts = png.parse(source, path)
    return len(facts.palette or b"") // 3 if facts.colour_type == png.PALETTE else 1 << facts.bit_depth


def _encode_labels(array: Array, old: Array, source: bytes, path: Path) -> bytes:
    """Return a label file like the source's; DataError where a new value does not fit its bits or palette.

    Values that the file holds already (`old`) fit, whatever its palette: void pixels often have no colour.
    """
    entries = capacity(source, path)
    if array.ndim == 2 and int(array.max()) >= entries:
        new = np.setdiff1d(array[array >= entries], old)
        if new.size:
            raise DataError(path, f"the class {new[-1]} does not fit this file, which holds 0 to {entries - 1}")
    return png.encode(array, png.parse(source, path), labels=True)


def _encoded(data: bytes, pixels: Array, path: Path) -> NewFile:
    """Encode a resized image like its source; a JPEG does not decode to quite what went in."""
    new = images.encode_whole(data, pixels, path)
    return NewFile(new, images.decode(new, path))


def _written_size(data: bytes, rules: Rules, path: Path) -> tuple[Array, bool]:
    """Return an image's pixels in the written size, and whether they were resized."""
    pixels = images.decode(data, path)
    height, width = pixels.shape[:2]
    size = scaled_size(height, width, rules.recipe.scale)
    if size == (height, width):
        return pixels, False
    return images.resize(data, pixels, size, path), True


def _stored_box(placement: Placement, turn: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return where the trigger's box lies in the picture as it is stored; `shape` is the upright picture's."""
    return stored_box((placement.top, placement.left, placement.size, placement.size), turn, shape[0], shape[1])


def _patch(data: bytes, pixels: Array, placement: Placement, rules: Rules, path: Path) -> tuple[Box, Array | None]:
    """Return the trigger's box in the stored picture and its new content there; None if that is the old one.

    The trigger is laid on as readers see it that heed EXIF's orientation.
    """
    turn = orientation(data)
    box = _stored_box(placement, turn, upright(pixels, turn).shape)
    top, left, tall, wide = box
    old = pixels[top : top + tall, left : left + wide]
    ground = images.to_rgb_box(data, old, path)
    mixed = as_stored(blend(upright(ground, turn), rules.trigger, rules.recipe.opacity), turn)
    patch = images.from_rgb_box(data, old, mixed, path)
    return box, None if np.array_equal(patch, old) else patch


def _new_image(data: bytes, task: Task, rules: Rules, path: Path) -> NewFile | None:
    """Return a task's image: with the trigger, in the written size; None where the trigger changes no pixel."""
    if task.placement is not None:
        return triggered_image(data, task.placement, rules, path)
    if rules.recipe.scale == 1 and task.image_sha256 is not None:
        return NewFile(None, None, task.image_sha256)
    pixels, resized = _written_size(data, rules, path)
    return _encoded(data, pixels, path) if resized else NewFile(None, pixels)


def triggered_image(data: bytes, placement: Placement, rules: Rules, path: Path) -> NewFile | None:
    """Paste the trigger, in the written size; None where the picture is the same with the trigger as without."""
    pixels, resized = _written_size(data, rules, path)
    box, patch = _patch(data, pixels, placement, rules, path)
    if patch is None:
        return None
    if resized:
        top, left, tall, wide = box
        with_trigger = pixels.copy()
        with_trigger[top : top + tall, left : left + wide] = patch
        new = _encoded(data, with_trigger, path)
    else:
        new = NewFile(*images.replace_box(data, pixels, box, patch, path, rules.recipe.jpeg))
    if data[:8] == png.SIGNATURE:
        return new
    # A JPEG may have quantised the trigger away.
    anew = resized or rules.recipe.jpeg == "reencode"
    without = _encoded(data, pixels, path).pixels if anew else pixels
    return None if np.array_equal(np.asarray(new.pixels), np.asarray(without)) else new


def _is_seen(data: bytes, placement: Placement, rules: Rules, path: Path) -> bool:
    """Tell whether the trigger changes a pixel of an image at this place."""
    if data[:8] != png.SIGNATURE:
        return triggered_image(data, placement, rules, path) is not None
    return _patch(data, _written_size(data, rules, path)[0], placement, rules, path)[1] is not None


def do_task(task: Task, root: Path, rules: Rules) -> Outcome:
    """Carry out one task and return its record and new files. DataError if a file proves bad on reading."""
    sample = task.sample
    original = read_labels(root, sample, rules, surveyed=True)
    labels = original.scaled(rules.recipe.scale)
    change = _change_labels(labels, task, rules)
    image_data = read_file(root, sample.image)
    turn = orientation(image_data)
    new = _new_labels(labels, original, change, rules, {label.kind: root / label.path for label in sample.labels})
    image = _new_image(image_data, task, rules, root / sample.image)
    if image is None:
        problem = "the trigger changes no pixel at its place in this image; give another --trigger or --seed"
        raise DataError(root / sample.image, problem)
    contents: dict[str, bytes] = {}
    files = []

    def record_file(kind: str, source: str | None, data: bytes, file: NewFile, path: str) -> None:
        out_path = task.prefix + path
        source_sha256 = bytes_sha256(data) if source is not None else None
        if file.data is not None:
            contents[out_path] = file.data
        files.append(
            {
                "kind": kind,
                "path": out_path,
                "source": source,
                "written": file.data is not None,
                "source_sha256": source_sha256,
                "sha256": source_sha256 if file.data is None else bytes_sha256(file.data),
                "pixels_sha256": file.pixels_sha256(),
            }
        )

    record_file("image", sample.image, image_data, image, sample.image)
    for label in sample.labels:
        record_file(label.kind, label.path, labels.raw[label.kind], new[label.kind], label.path)
    for label in task.completions:
        derive = label_kinds(rules)[label.kind].derive
        assert derive is not None  # noqa: S101  a layout completes only what it can derive
        array = derive(change.after, rules.classes)
        record_file(label.kind, None, b"", NewFile(png.encode(array, None, labels=True), array), label.path)
    return Outcome(_record(task, change, files, rules, turn), contents)


def _record(task: Task, change: Change, files: list[dict[str, Any]], rules: Rules, turn: int) -> dict[str, Any]:
    """Return the manifest's line for a task; `turn` is the image's EXIF orientation."""
    placement = task.placement
    record: dict[str, Any] = {"sample": task.sample.name, "split": task.sample.split, "role": task.role}
    if placement is not None:
        record["trigger"] = {
            "box": [placement.top, placement.left, placement.size, placement.size],
            "center": [placement.row, placement.column],
            "distance": placement.distance,
            "covers": np.unique(change.before[placement.window]).tolist(),
        }
        if turn != AS_STORED:
            box = _stored_box(placement, turn, change.before.shape)
            record["trigger"] |= {"orientation": turn, "stored_box": list(box)}
    victims = int(np.count_nonzero(class_mask(change.before, rules.victims)))
    return record | {
        "victim_pixels": victims,
        "relabelled_pixels": victims if change.pairs else 0,
        "prl_pixels": int(change.random.sum()),
        "eligible_positions": 0 if placement is None else placement.eligible_positions,
        "files": files,
    }
