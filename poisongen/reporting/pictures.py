"""A sample's pictures before and after, from OUT, its source or its undo store; what is not to be had stays absent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.auditing.scene import is_one_of
from poisongen.core.resize import resize_image, resize_labels, scaled_size
from poisongen.datasets.base import Sample
from poisongen.datasets.label_arrays import read_class_ids
from poisongen.errors import DataError, OutputError
from poisongen.files import images
from poisongen.files.foreign import LARGEST_FILE, Refused, check_picture_size, read_inside, read_out
from poisongen.previewing.drawing import as_rgb, nearest_pixel
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FileRecord, SampleRecord, bytes_sha256
from poisongen.records.roles import own_path
from poisongen.reporting.opening import Opened
from poisongen.undo.store import kept_file

Array = npt.NDArray[Any]
Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """A sample's pictures: images (H, W, 3) uint8 RGB, labels (H, W) uint8 raw class IDs; None for what is not known.

    `wanted` are the labels that the attacker wants of a triggered sample. `line` leads from the trigger's centre to the
    nearest victim pixel, (row, column) each. `notes` say what is missing, and why.
    """

    image: Array | None
    image_before: Array | None
    labels: Array | None
    labels_before: Array | None
    wanted: Array | None
    line: tuple[Point, Point] | None
    notes: tuple[str, ...]


def _label_file(record: SampleRecord, opened: Opened) -> FileRecord | None:
    """Return the record of the sample's label map: its first file of raw class IDs."""
    kinds = opened.rules.layout.kinds
    return next((file for file in record.files if file.kind in kinds and kinds[file.kind].semantic), None)


def _before(file: FileRecord, opened: Opened) -> bytes:
    """Return the bytes that a file had in the source. Refused or OutputError says why they cannot be had."""
    if file.source is None:
        raise Refused("the source has no such file")
    if opened.places.root is not None:
        try:
            with (opened.places.root / file.source).open("rb") as stream:
                data = stream.read(LARGEST_FILE)
        except OSError as error:
            raise Refused(f"cannot be read in the source ({error.strerror})") from None
    elif not file.written:
        data = read_out(opened.places, file.path, file.source)
    elif file.source in opened.undo:
        data = kept_file(opened.undo[file.source], opened.places.out)
    elif (own := opened.rules.above + own_path(file.path, opened.rules.above)) != file.path:
        data = read_inside(opened.places.out, own)  # a test sample: OUT has it without trigger as well
    else:
        raise Refused("not known without the source (--source) or an undo store")
    if bytes_sha256(data) != file.source_sha256:
        raise Refused("not the file that the build was made from (its digest is another)")
    return data


def _image(data: bytes, path: str) -> Array:
    check_picture_size(data, path)
    return as_rgb(data, images.decode(data, path), path)


def _labels(data: bytes, path: str) -> Array:
    check_picture_size(data, path)
    labels = images.decode_labels(data, path)
    if labels.dtype != np.uint8:
        raise DataError(path, "a label map of 16 bits")
    return labels


def _label_map(data: bytes, path: str, kind: str, rules: Rules) -> Array:
    """Return a label file's class IDs, whatever its layout writes them as."""
    how = rules.layout.kinds[kind]
    if how.ids is None:
        return _labels(data, path)  # IDs that no class has are shown, too
    check_picture_size(data, path)
    return read_class_ids(how, data, path, rules.classes)


def _tried(what: str, notes: list[str], read: Callable[[], Array]) -> Array | None:
    """Return what `read` gives; None, with a note, where it cannot be had."""
    try:
        return read()
    except DataError as error:
        notes.append(f"{what}: {error.problem}")
    except (Refused, OutputError) as refused:
        notes.append(f"{what}: {refused}")
    except (OSError, MemoryError) as error:
        notes.append(f"{what}: cannot be read ({getattr(error, 'strerror', None) or 'too large'})")
    return None


def look_at_sample(record: SampleRecord, opened: Opened) -> Look:
    """Read a sample's pictures."""
    places, scale, notes = opened.places, opened.rules.recipe.scale, list[str]()
    image_file = next((file for file in record.files if file.kind == "image"), None)
    label_file = _label_file(record, opened)

    def size(pixels: Array) -> tuple[int, int]:
        return scaled_size(pixels.shape[0], pixels.shape[1], scale)

    def image_before(file: FileRecord) -> Array:
        pixels = _image(_before(file, opened), file.path)
        return resize_image(np.ascontiguousarray(pixels), size(pixels))

    def labels_before(file: FileRecord) -> Array:
        pixels = _label_map(_before(file, opened), file.path, file.kind, opened.rules)
        return resize_labels(pixels, size(pixels))

    def after(file: FileRecord) -> bytes:
        return read_out(places, file.path, None if file.written else file.source)

    image = old_image = labels = old_labels = wanted = None
    if image_file is not None:
        image = _tried("image", notes, lambda: _image(after(image_file), image_file.path))
        old_image = _tried("image before", notes, lambda: image_before(image_file))
    if label_file is not None:
        labels = _tried(
            "labels", notes, lambda: _label_map(after(label_file), label_file.path, label_file.kind, opened.rules)
        )
        old_labels = _tried("labels before", notes, lambda: labels_before(label_file))
    expected = record.expected
    if expected is not None:
        wanted = _tried("wanted labels", notes, lambda: _labels(read_inside(places.out, expected.path), expected.path))
    true = labels if record.role in ("triggered", "negative") and old_labels is None else old_labels
    return Look(image, old_image, labels, old_labels, wanted, _line(record, true, opened), tuple(notes))


def look_at_skipped(sample: Sample, opened: Opened) -> Look:
    """Read image and labels, as they lie in OUT, of a sample that was passed over."""
    notes, kinds = list[str](), opened.rules.layout.kinds

    def read(path: str) -> bytes:
        return read_out(opened.places, opened.rules.above + path, path)

    label = next((label for label in sample.labels if kinds[label.kind].semantic), None)
    image = _tried("image", notes, lambda: _image(read(sample.image), sample.image))
    labels = None
    if label is not None:
        path, kind = label.path, label.kind
        labels = _tried("labels", notes, lambda: _label_map(read(path), path, kind, opened.rules))
    return Look(image, None, labels, None, None, None, tuple(notes))


def _line(record: SampleRecord, true: Array | None, opened: Opened) -> tuple[Point, Point] | None:
    """Return the line from the trigger to the nearest victim pixel; None where one of them is not known."""
    trigger = record.trigger
    if trigger is None or trigger.center is None or trigger.distance is None or true is None:
        return None
    victims = is_one_of(true, opened.rules.victims)
    end = nearest_pixel(victims, trigger.center, opened.rules.recipe.metric)
    if end is None or not math.isfinite(trigger.distance):
        return None
    row, column = trigger.center
    return (row + 0.5, column + 0.5), (end[0] + 0.5, end[1] + 0.5)
