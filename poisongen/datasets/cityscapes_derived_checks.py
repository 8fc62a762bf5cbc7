"""How audit judges what is derived from Cityscapes' labels: instances of train IDs, panoptic maps and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from poisongen.datasets.label_checks import Array, LabelBefore, LabelCheck, LabelNow, Wrong, unlike
from poisongen.files.documents import parse_json

LARGEST_TABLE = 2**28  # bytes; that of the official training split has a tenth
_FIRST_INSTANCE, _VOID_TRAIN_ID = 1000, 255
_SEGMENT_KEYS = ("area", "bbox", "category_id", "id", "iscrowd")


def _train_ids(now: LabelNow) -> Array:
    table = np.full(256, _VOID_TRAIN_ID, dtype=np.int64)
    for train_id, number in enumerate(now.classes.trained):
        table[number] = train_id
    return np.asarray(table[now.ids])


def _instances_agree(now: LabelNow) -> Wrong | None:
    if now.pixels is None:
        return Wrong("a picture", "none", inherited=False)
    found = now.pixels.astype(np.int64)
    classes = np.where(found >= _FIRST_INSTANCE, found // _FIRST_INSTANCE, found)
    return unlike(_train_ids(now), classes, "instances of the label map's train IDs")


def _instances_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    if before.pixels is None or before.pixels.shape != now.ids.shape:
        return Wrong("instances of train IDs of the source's own", "none", inherited=False)
    wanted = np.where(before.changed, _train_ids(now), before.pixels.astype(np.int64))
    return unlike(wanted, now.pixels, "the source's instances, and plain train IDs where labels changed")


def _numbers(pixels: Array) -> Array:
    """Return a panoptic map's segment IDs: red, and green times 256, and blue times 65,536."""
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    return np.asarray(red + (green << 8) + (blue << 16))


def _plain_segments(now: LabelNow) -> Array:
    """Return the segments of the label map if it had no instances: a class's ID, and 0 for one without train ID."""
    return np.where(np.isin(now.ids, now.classes.trained), now.ids, 0).astype(np.int64)


def _panoptic_agrees(now: LabelNow) -> Wrong | None:
    if now.pixels is None or now.pixels.ndim != 3 or now.pixels.shape[2] != 3:
        return Wrong("a panoptic map", "another picture", inherited=False)
    found = _numbers(now.pixels)
    classes = np.where(found >= _FIRST_INSTANCE, found // _FIRST_INSTANCE, found)
    return unlike(_plain_segments(now), classes, "segments of the label map's classes")


def _panoptic_follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
    if before.pixels is None or before.pixels.shape != (*now.ids.shape, 3) or now.pixels is None:
        return Wrong("a panoptic map of the source's own", "none", inherited=False)
    if now.pixels.shape != before.pixels.shape:
        return Wrong(f"an array {before.pixels.shape}", f"an array {now.pixels.shape}", inherited=False)
    wanted = np.where(before.changed, _plain_segments(now), _numbers(before.pixels))
    return unlike(wanted, _numbers(now.pixels), "the source's segments, changed with the label map")


def read_panoptic(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Return the annotations of a panoptic JSON by the file that each tells of; None for anything else."""
    if len(data) > LARGEST_TABLE:
        return None
    try:
        document = parse_json(data.decode("ascii"))
        images = [image["id"] for image in document["images"]]
        found = {entry["file_name"]: entry for entry in document["annotations"]}
        sound = all(isinstance(text, str) for text in images) and len(found) == len(document["annotations"])
        sound &= all(isinstance(name, str) and isinstance(entry["image_id"], str) for name, entry in found.items())
        sound &= all(isinstance(entry["segments_info"], list) for entry in found.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return found if sound else None


def _segments(pixels: Array, categories: Mapping[int, int], things: frozenset[int]) -> list[tuple[Any, ...]]:
    """Return what a map's segments are, as (area, bbox, category, ID, crowd), by ascending ID."""
    numbers, wanted = _numbers(pixels), []
    for number in np.unique(numbers[numbers > 0]).tolist():
        rows, columns = (np.flatnonzero((numbers == number).any(axis=axis)) for axis in (1, 0))
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
        own = number // _FIRST_INSTANCE or number
        crowd = 1 if own in things and number < _FIRST_INSTANCE else 0
        wanted.append((int((numbers == number).sum()), box, categories.get(own), number, crowd))
    return wanted


def table_fault(
    data: bytes,
    source: bytes | None,
    now: Mapping[str, Array | None],
    categories: Mapping[int, int],
    things: frozenset[int],
) -> str | None:
    """Return what is wrong with a panoptic JSON of OUT (see LabelTable.fault), or None.

    `categories` maps IDs of classes to what the JSON calls them, `things` are the classes with instances.
    """
    found = read_panoptic(data)
    if found is None:
        return "no panoptic JSON"
    document = parse_json(data.decode("ascii"))
    if json.dumps(document, sort_keys=True, indent=4).encode("ascii") != data:
        return "other bytes than the official script writes"
    for name, pixels in now.items():
        if pixels is None:
            if name in found:
                return f"{name}, which has no panoptic map and other labels than the source"
            continue
        said = found[name]["segments_info"] if name in found else None
        if said is not None and [[segment.get(key) for key in _SEGMENT_KEYS] for segment in said] != [
            list(wanted) for wanted in _segments(pixels, categories, things)
        ]:
            return f"segments of {name} that are not those of its map"
    return None if source is None else _unlike_source(document, found, source, now)


def _unlike_source(
    document: dict[str, Any], found: Mapping[str, Any], source: bytes, now: Mapping[str, Array | None]
) -> str | None:
    """Tell what differs from the source's JSON beside the samples that were changed."""
    before = read_panoptic(source)
    if before is None:
        return "a panoptic JSON where the source has none"
    gone = {name for name, pixels in now.items() if pixels is None}
    if list(found) != [name for name in before if name not in gone]:
        return "other samples, or in another order, than the source's JSON"
    for name, entry in found.items():
        told: dict[str, Any] = {"segments_info": []} if name in now else {}  # which was judged by the map
        if entry | told != before[name] | told:
            return f"another entry of {name} than the source's JSON"
    old = parse_json(source.decode("ascii"))
    images = {before[name]["image_id"]: now.get(name) for name in before if name in now}
    wanted = []
    for image in old["images"]:
        pixels = images.get(image["id"])
        if pixels is not None:
            wanted.append(image | {"height": pixels.shape[0], "width": pixels.shape[1]})
        elif image["id"] not in images:
            wanted.append(image)
    old["images"] = wanted
    for key in old.keys() | document.keys():
        if key != "annotations" and old.get(key) != document.get(key):
            return f"other '{key}' than the source's JSON"
    return None


INSTANCE_TRAIN_ID_CHECK = LabelCheck(_instances_agree, _instances_follow)
PANOPTIC_CHECK = LabelCheck(_panoptic_agrees, _panoptic_follows)
