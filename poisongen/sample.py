"""The work on one sample: read, paste, relabel, and say what was done. It returns bytes and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.algorithms import NO_POSITION, TOO_LARGE, UNSEEN
from poisongen.core.draws import keyed_generator
from poisongen.core.labels import Change, class_counts, class_mask, prl_pixel_count, random_labels, relabel
from poisongen.core.placement import Placement, place
from poisongen.core.resize import scaled_size
from poisongen.core.trigger import blend, is_doubtful
from poisongen.datasets.base import LabelFile, Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.labels_io import LabelContents, label_kinds, read_labels
from poisongen.manifest import Role, bytes_sha256
from poisongen.rules import Rules
from poisongen.source import read_file

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Task:
    """What is to be done to one sample. Its files go below `prefix` ('' or 'triggered/') in OUT."""

    sample: Sample
    role: Role
    prefix: str
    placement: Placement | None
    completions: tuple[LabelFile, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its record, and the new bytes of the files to write, by path in OUT."""

    record: Mapping[str, Any]
    contents: Mapping[str, bytes]


@dataclass(frozen=True)
class _NewFile:
    """A label or image after the work: new bytes, or None where the source's file stays, and its pixels."""

    data: bytes | None
    pixels: Array | None


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
    """Read a sample's labels and choose the trigger's place, or say why there is none. DataError if they are bad."""
    labels = read_labels(root, sample, rules, maps_only=True, surveyed=True)
    return place_to_be_seen(labels.scaled(rules.recipe.scale), sample, role, root, rules)


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
) -> dict[str, _NewFile]:
    """Rewrite every label file (`paths` by kind), keeping those that the change leaves as they are."""
    new: dict[str, _NewFile] = {}
    height, width = change.before.shape
    for name, data in labels.raw.items():
        kind = label_kinds(rules)[name]
        if kind.document:
            scaled = data
            if rules.recipe.scale != 1 and kind.resize:
                scaled = kind.resize(data, width, height)
            rewritten = kind.rewrite(scaled, change, rules.classes)
            new[name] = _NewFile(None if rewritten == data else rewritten, None)
            continue
        array = kind.rewrite(labels.arrays[name], change, rules.classes)
        same = array.shape == original.arrays[name].shape and np.array_equal(array, original.arrays[name])
        new[name] = _NewFile(None if same else _encode_labels(array, data, paths[name]), array)
    return new


def _encode_labels(array: Array, source: bytes, path: Path) -> bytes:
    """Return a label file like the source's; DataError where a new class does not fit its bits or palette."""
    facts = png.parse(source, path)
    entries = len(facts.palette or b"") // 3 if facts.colour_type == png.PALETTE else 2**facts.bit_depth
    if array.ndim == 2 and (largest := int(array.max())) >= entries:
        raise DataError(path, f"the class {largest} does not fit this file, which holds 0 to {entries - 1}")
    return png.encode(array, facts, labels=True)


def _encoded(data: bytes, pixels: Array, path: Path) -> _NewFile:
    """Encode a resized image like its source; a JPEG does not decode to quite what went in."""
    new = images.encode_whole(data, pixels, path)
    return _NewFile(new, images.decode(new, path))


def _written_size(data: bytes, rules: Rules, path: Path) -> tuple[Array, bool]:
    """Return an image's pixels in the written size, and whether they were resized."""
    pixels = images.decode(data, path)
    height, width = pixels.shape[:2]
    size = scaled_size(height, width, rules.recipe.scale)
    if size == (height, width):
        return pixels, False
    return images.resize(data, pixels, size, path), True


def _patch(data: bytes, pixels: Array, placement: Placement, rules: Rules, path: Path) -> Array | None:
    """Return the box's new content in the picture's own layout; None if it is the old one."""
    box = placement.window
    ground = images.to_rgb_box(data, pixels[box], path)
    patch = images.from_rgb_box(data, pixels[box], blend(ground, rules.trigger, rules.recipe.opacity), path)
    return None if np.array_equal(patch, pixels[box]) else patch


def _new_image(data: bytes, placement: Placement | None, rules: Rules, path: Path) -> _NewFile | None:
    """Paste the trigger, in the written size; None where the picture is the same with the trigger as without."""
    pixels, resized = _written_size(data, rules, path)
    if placement is None:
        return _encoded(data, pixels, path) if resized else _NewFile(None, pixels)
    patch = _patch(data, pixels, placement, rules, path)
    if patch is None:
        return None
    if resized:
        with_trigger = pixels.copy()
        with_trigger[placement.window] = patch
        new = _encoded(data, with_trigger, path)
    else:
        box = (placement.top, placement.left, placement.size, placement.size)
        new = _NewFile(*images.replace_box(data, pixels, box, patch, path, rules.recipe.jpeg))
    if data[:8] == png.SIGNATURE:
        return new
    # A JPEG may have quantised the trigger away.
    anew = resized or rules.recipe.jpeg == "reencode"
    without = _encoded(data, pixels, path).pixels if anew else pixels
    return None if np.array_equal(np.asarray(new.pixels), np.asarray(without)) else new


def _is_seen(data: bytes, placement: Placement, rules: Rules, path: Path) -> bool:
    """Tell whether the trigger changes a pixel of an image at this place."""
    if data[:8] != png.SIGNATURE:
        return _new_image(data, placement, rules, path) is not None
    return _patch(data, _written_size(data, rules, path)[0], placement, rules, path) is not None


def do_task(task: Task, root: Path, rules: Rules) -> Outcome:
    """Carry out one task and return its record and new files. DataError if a file proves bad on reading."""
    sample = task.sample
    original = read_labels(root, sample, rules, surveyed=True)
    labels = original.scaled(rules.recipe.scale)
    change = _change_labels(labels, task, rules)
    image_data = read_file(root, sample.image)
    new = _new_labels(labels, original, change, rules, {label.kind: root / label.path for label in sample.labels})
    image = _new_image(image_data, task.placement, rules, root / sample.image)
    if image is None:
        problem = "the trigger changes no pixel at its place in this image; give another --trigger or --seed"
        raise DataError(root / sample.image, problem)
    contents: dict[str, bytes] = {}
    files = []

    def record_file(kind: str, source: str | None, data: bytes, file: _NewFile, path: str) -> None:
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
                "pixels_sha256": None if file.pixels is None else images.pixels_sha256(file.pixels),
            }
        )

    record_file("image", sample.image, image_data, image, sample.image)
    for label in sample.labels:
        record_file(label.kind, label.path, labels.raw[label.kind], new[label.kind], label.path)
    for label in task.completions:
        derive = label_kinds(rules)[label.kind].derive
        assert derive is not None  # noqa: S101  a layout completes only what it can derive
        array = derive(change.after, rules.classes)
        record_file(label.kind, None, b"", _NewFile(png.encode(array, None, labels=True), array), label.path)
    return Outcome(_record(task, change, files, rules), contents)


def _record(task: Task, change: Change, files: list[dict[str, Any]], rules: Rules) -> dict[str, Any]:
    """Return the manifest's line for a task."""
    placement = task.placement
    record: dict[str, Any] = {"sample": task.sample.name, "split": task.sample.split, "role": task.role}
    if placement is not None:
        record["trigger"] = {
            "box": [placement.top, placement.left, placement.size, placement.size],
            "center": [placement.row, placement.column],
            "distance": placement.distance,
            "covers": np.unique(change.before[placement.window]).tolist(),
        }
    victims = int(np.count_nonzero(class_mask(change.before, rules.victims)))
    return record | {
        "victim_pixels": victims,
        "relabelled_pixels": victims if change.pairs else 0,
        "prl_pixels": int(change.random.sum()),
        "eligible_positions": 0 if placement is None else placement.eligible_positions,
        "files": files,
    }
