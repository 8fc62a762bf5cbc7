"""What cityscapesScripts derive from Cityscapes' labels: instances of train IDs, and the panoptic maps with their JSON.

Each is rewritten as the script's definition has it, so that the script run on OUT gives the very same file.
"""

from __future__ import annotations

import functools
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poisongen.core.labels import Change, lay_over, look_up
from poisongen.datasets.base import Array, ClassTable, LabelKind, LabelTable, Sample
from poisongen.datasets.cityscapes_classes import INSTANCES, LABELS, TRAIN_IDS
from poisongen.datasets.cityscapes_derived_checks import (
    INSTANCE_TRAIN_ID_CHECK,
    PANOPTIC_CHECK,
    read_panoptic,
    table_fault,
)

_FOLDER = re.compile(r"((?:.*/)?gtFine/)cityscapes_panoptic_([^/]+?)(_trainId)?(/[^/]+_gtFine_panoptic\.png|\.json)")
_BY_ID = {label.id: label for label in LABELS}
# createPanopticImgs.py leaves out what the evaluation ignores: just the classes without train ID.
_IN_PANOPTIC = np.zeros(256, np.uint8)
for _label in LABELS:
    if _label.train_id not in (255, -1):
        _IN_PANOPTIC[_label.id] = _label.id
_TRAIN_CATEGORIES = {label.id: label.train_id for label in LABELS if label.train_id not in (255, -1)}
_CATEGORIES = {number: number for number in _TRAIN_CATEGORIES}
_THINGS = frozenset(label.id for label in LABELS if label.has_instances)


def _instance_train_id_fault(array: Array, classes: ClassTable) -> str | None:
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
        return "instances of train IDs must be a single-channel PNG"
    return None


def _rewrite_instance_train_ids(array: Array, change: Change, classes: ClassTable) -> Array:
    """Changed pixels get their class's plain train ID, as in instanceIds they get its plain ID."""
    return lay_over(array, look_up(change.after, TRAIN_IDS), change.changed)


def _panoptic_fault(array: Array, classes: ClassTable) -> str | None:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        return "a panoptic map must be an 8-bit RGB PNG"
    return None


def _rewrite_panoptic(array: Array, change: Change, classes: ClassTable) -> Array:
    """Changed pixels get the segment of their class's plain ID: red holds it, and green and blue are 0."""
    out = array.copy()
    where = change.changed
    out[where] = 0
    out[..., 0][where] = look_up(change.after, _IN_PANOPTIC)[where]
    return out


def panoptic_files(files: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Return the panoptic maps, by kind, of every (split, image name without its mark)."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for path in files:
        match = _FOLDER.fullmatch(path)
        if match and match[4] != ".json":
            name = match[4][1:].removesuffix("_gtFine_panoptic.png")
            found.setdefault((match[2], name), {})[f"panoptic{match[3] or ''}"] = path
    return found


def _name_of(sample: Sample) -> str:
    return f"{posixpath.basename(sample.stem)}_gtFine_panoptic.png"


def _names(data: bytes) -> frozenset[str] | None:
    document = read_panoptic(data)
    return None if document is None else frozenset(document)


def _segments(array: Array) -> dict[int, dict[str, Any]]:
    """Return area and box [x, y, width, height] of each segment of a panoptic map, (H, W, 3) uint8, by its ID."""
    numbers = array.astype(np.int64) @ np.array([1, 256, 65536])
    found = {}
    for number in np.unique(numbers).tolist():
        if number:
            rows, columns = np.nonzero(numbers == number)
            top, left = int(rows.min()), int(columns.min())
            box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
            found[number] = {"id": number, "area": int(rows.size), "bbox": box}
    return found


def _tell(array: Array, train_ids: bool) -> dict[str, Any]:
    """Return a map's size, and its `segments_info` as createPanopticImgs.py writes it."""
    told = []
    for number, segment in _segments(array).items():
        label = _BY_ID.get(number if number < INSTANCES else number // INSTANCES)
        if label is None:
            continue
        crowd = int(number < INSTANCES and label.has_instances)
        told.append(segment | {"category_id": label.train_id if train_ids else label.id, "iscrowd": crowd})
    return {"size": {"height": array.shape[0], "width": array.shape[1]}, "segments_info": told}


def _tell_ids(array: Array) -> dict[str, Any]:
    return _tell(array, train_ids=False)


def _tell_train_ids(array: Array) -> dict[str, Any]:
    return _tell(array, train_ids=True)


def _rewrite_table(data: bytes, told: Mapping[str, Any]) -> bytes:
    """Return the JSON with new segments, as the script writes it; samples without a map leave it altogether."""
    document = json.loads(data)
    new = {
        entry["image_id"]: told[entry["file_name"]] for entry in document["annotations"] if entry["file_name"] in told
    }
    gone = {image for image, said in new.items() if said is None}
    document["images"] = [
        image | (new[image["id"]]["size"] if image["id"] in new else {})
        for image in document["images"]
        if image["id"] not in gone
    ]
    document["annotations"] = [
        entry | ({"segments_info": new[entry["image_id"]]["segments_info"]} if entry["image_id"] in new else {})
        for entry in document["annotations"]
        if entry["image_id"] not in gone
    ]
    return json.dumps(document, sort_keys=True, indent=4).encode("ascii")


def tables(files: Sequence[str]) -> tuple[LabelTable, ...]:
    """Return the JSON files beside the folders of panoptic maps."""
    judged = {
        suffix: functools.partial(table_fault, categories=categories, things=_THINGS)
        for suffix, categories in ((None, _CATEGORIES), ("_trainId", _TRAIN_CATEGORIES))
    }
    return tuple(
        LabelTable(
            path=path,
            split=match[2],
            kind=f"panoptic{match[3] or ''}",
            name_of=_name_of,
            names=_names,
            tell=_tell_train_ids if match[3] else _tell_ids,
            rewrite=_rewrite_table,
            fault=judged[match[3]],
        )
        for path in files
        if (match := _FOLDER.fullmatch(path)) and match[4] == ".json"
    )


KINDS = {
    "instanceTrainIds": LabelKind(
        fault=_instance_train_id_fault,
        rewrite=_rewrite_instance_train_ids,
        check=INSTANCE_TRAIN_ID_CHECK,
        derived=True,
    ),
    **{
        kind: LabelKind(
            fault=_panoptic_fault, rewrite=_rewrite_panoptic, check=PANOPTIC_CHECK, flat=False, derived=True
        )
        for kind in ("panoptic", "panoptic_trainId")
    },
}
