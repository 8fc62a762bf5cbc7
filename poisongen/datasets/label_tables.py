"""JSON files of a whole split that several layouts have: panoptic segments, and Scalabel's frames with polygons."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from poisongen.datasets.base import Array, LabelTable, Sample
from poisongen.files.documents import parse_json

_LARGEST = 2**30  # bytes; Mapillary's is some hundred megabytes


def _document(data: bytes) -> Any:
    """Return what a JSON file says, None where it is none."""
    if len(data) > _LARGEST:
        return None
    try:
        return parse_json(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _bytes_of(document: Any) -> bytes:
    return json.dumps(document).encode("ascii")


# ---------------------------------------------------------------------------------------------------------------------
# Panoptic segments, in COCO's form: `images`, and `annotations` with `file_name`, `image_id` and `segments_info`


def _entries(document: Any) -> dict[str, dict[str, Any]] | None:
    """Return the annotations by the panoptic map that each tells of; None where a file has no such form."""
    try:
        found = {entry["file_name"]: entry for entry in document["annotations"]}
        sound = len(found) == len(document["annotations"]) and all(isinstance(one, dict) for one in document["images"])
        sound &= all(type(segment["id"]) is int for entry in found.values() for segment in entry["segments_info"])
        sound &= all(isinstance(name, str) and "image_id" in entry for name, entry in found.items())
    except (TypeError, KeyError, AttributeError):
        return None
    return found if sound else None


def _segment_names(data: bytes) -> frozenset[str] | None:
    entries = _entries(_document(data))
    return None if entries is None else frozenset(entries)


def _tell_segments(array: Array) -> dict[str, Any]:
    """Return size, and area and box [x, y, width, height] of each segment of a panoptic map, (H, W, 3) uint8."""
    numbers = array.astype(np.int64) @ np.array([1, 256, 65536])
    segments: dict[str, Any] = {}
    for number in np.unique(numbers[numbers > 0]).tolist():
        rows, columns = np.nonzero(numbers == number)
        top, left = int(rows.min()), int(columns.min())
        box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
        segments[str(number)] = {"area": int(rows.size), "bbox": box}
    return {"size": {"height": array.shape[0], "width": array.shape[1]}, "segments": segments}


def _rewrite_segments(data: bytes, told: Mapping[str, Any]) -> bytes:
    """Leave out segments that are gone from their map, and tell area and box of the others; samples without map go."""
    document = _document(data)
    kept, sizes, gone = [], {}, set()
    for entry in document["annotations"]:
        if entry["file_name"] in told:
            said = told[entry["file_name"]]
            if said is None:
                gone.add(entry["image_id"])
                continue
            sizes[entry["image_id"]] = said["size"]
            new = said["segments"]
            there = [segment for segment in entry["segments_info"] if str(segment["id"]) in new]
            entry = entry | {"segments_info": [segment | new[str(segment["id"])] for segment in there]}  # noqa: PLW2901
        kept.append(entry)
    images = [one for one in document["images"] if one.get("id") not in gone]
    images = [one | sizes[one["id"]] if one.get("id") in sizes else one for one in images]
    return _bytes_of(document | {"images": images, "annotations": kept})


def _segment_fault(data: bytes, source: bytes | None, now: Mapping[str, Array | None]) -> str | None:
    """Return what is wrong with a panoptic JSON of OUT (see LabelTable.fault), or None."""
    document = _document(data)
    found = _entries(document)
    if found is None or _bytes_of(document) != data:
        return "no panoptic JSON as build writes it"
    for name, pixels in now.items():
        if pixels is None and name in found:
            return f"{name}, which has no panoptic map and other labels than the source"
        if pixels is None or name not in found:
            continue
        parts = pixels.astype(np.int64)
        numbers = parts[..., 0] + 256 * parts[..., 1] + 65536 * parts[..., 2]
        for segment in found[name]["segments_info"]:
            where = numbers == segment["id"]
            rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
            if not rows.size or segment.get("area") != int(where.sum()):
                return f"segment {segment['id']} of {name}, of which its map has {int(where.sum())} pixels"
            ends = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            if segment.get("bbox") != ends:
                return f"segment {segment['id']} of {name} with another box than in its map"
    return None if source is None else _unlike_source(document, source, now)


def _unlike_source(document: dict[str, Any], source: bytes, now: Mapping[str, Array | None]) -> str | None:
    """Tell what differs from the source's JSON beside area and box of the segments that are left."""
    before = _document(source)
    old = _entries(before)
    if old is None:
        return "a panoptic JSON where the source has none"
    maps = {old[name]["image_id"]: pixels for name, pixels in now.items() if name in old}
    wanted = []
    for name, entry in old.items():
        pixels = now.get(name)
        if name in now and pixels is None:
            continue
        if pixels is not None:
            left = {segment["id"]: segment for segment in _entries(document)[name]["segments_info"]}  # type: ignore[index]
            parts = pixels.astype(np.int64)
            numbers = set(np.unique(parts[..., 0] + 256 * parts[..., 1] + 65536 * parts[..., 2]).tolist())
            segments = [one | {key: left.get(one["id"], {}).get(key) for key in ("area", "bbox")}
                        for one in entry["segments_info"] if one["id"] in numbers]  # fmt: skip
            entry = entry | {"segments_info": segments}  # noqa: PLW2901
        wanted.append(entry)
    images = []
    for image in before["images"]:
        pixels = maps.get(image.get("id"))
        if pixels is not None:
            images.append(image | {"height": pixels.shape[0], "width": pixels.shape[1]})
        elif image.get("id") not in maps:
            images.append(image)
    expected = before | {"images": images, "annotations": wanted}
    return None if expected == document else "something else than the source's JSON, less what its maps have lost"


def segment_table(path: str, split: str, kind: str) -> LabelTable:
    """Return the panoptic JSON at `path`, which tells of the maps of `kind`."""
    return LabelTable(
        path=path,
        split=split,
        kind=kind,
        name_of=lambda sample: f"{posixpath.basename(sample.stem)}.png",
        names=_segment_names,
        tell=_tell_segments,
        rewrite=_rewrite_segments,
        fault=_segment_fault,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Scalabel: a list of frames, or `frames` of an object, each with `name` and `labels`


def _frames(document: Any) -> list[Any] | None:
    frames = document.get("frames") if isinstance(document, dict) else document
    if not isinstance(frames, list):
        return None
    return frames if all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in frames) else None


def _frame_names(data: bytes) -> frozenset[str] | None:
    frames = _frames(_document(data))
    return None if frames is None else frozenset(frame["name"] for frame in frames)


def _without(document: Any, keep: Callable[[str], bool]) -> Any:
    kept = [frame for frame in _frames(document) or [] if keep(frame["name"])]
    return document | {"frames": kept} if isinstance(document, dict) else kept


def _rewrite_frames(data: bytes, told: Mapping[str, Any]) -> bytes:
    """Leave out the frames whose labels have changed: outlines and runs of pixels would tell the true ones."""
    return _bytes_of(_without(_document(data), lambda name: name not in told))


def _frame_fault(data: bytes, source: bytes | None, now: Mapping[str, Array | None]) -> str | None:
    document = _document(data)
    named = _frame_names(data)
    if named is None or _bytes_of(document) != data:
        return "no frames of Scalabel as build writes them"
    if left := sorted(named & now.keys()):
        return f"{left[0]}, whose labels are others than the source's"
    wanted = None if source is None else _without(_document(source), lambda name: name not in now)
    return None if wanted is None or wanted == document else "other frames than the source's, less what was changed"


def frame_table(path: str, split: str, kind: str) -> LabelTable:
    """Return the file of Scalabel at `path`; its frames are called as the images are."""
    return LabelTable(
        path=path,
        split=split,
        kind=kind,
        name_of=_image_name,
        names=_frame_names,
        tell=lambda array: None,
        rewrite=_rewrite_frames,
        fault=_frame_fault,
    )


def _image_name(sample: Sample) -> str:
    return posixpath.basename(sample.image)
