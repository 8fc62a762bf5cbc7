"""Do the label files of one sample tell one story? Tables and rules are written down here once more."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.checks.faults import Findings
from poisongen.checks.positions import is_one_of
from poisongen.datasets.cityscapes import LABELS
from poisongen.documents import LARGEST_JSON
from poisongen.manifest import SampleRecord
from poisongen.rules import Rules

Array = npt.NDArray[Any]

TRAIN_IDS = np.full(256, 255, dtype=np.uint8)
COLOURS = np.zeros((256, 3), dtype=np.uint8)
for _label in LABELS:
    if _label.id >= 0:
        TRAIN_IDS[_label.id] = _label.train_id
        COLOURS[_label.id] = _label.colour
VOID_OBJECT = 255


@dataclass(frozen=True)
class Content:
    """A file's bytes, and its pixels if it is a picture."""

    data: bytes
    pixels: Array | None


def _train_ids_of(ids: Array, found: Array) -> int:
    return int((TRAIN_IDS[ids] != found).sum())


def _instances_of(ids: Array, found: Array) -> int:
    return int((np.where(found >= 1000, found // 1000, found) != ids).sum())


def _colours_of(ids: Array, found: Array) -> int:
    return int((COLOURS[ids] != found[..., :3]).any(axis=2).sum())


def _objects_of(classes: Array, found: Array) -> int:
    no_object, void = (classes == 0) != (found == 0), (classes == VOID_OBJECT) != (found == VOID_OBJECT)
    return int((no_object | void).sum())


# How many pixels of a file do not say what the label map says, by the kinds of both.
_AGREEMENTS: Mapping[tuple[str, str], Callable[[Array, Array], int]] = {
    ("labelIds", "labelTrainIds"): _train_ids_of,
    ("labelIds", "instanceIds"): _instances_of,
    ("labelIds", "color"): _colours_of,
    ("SegmentationClass", "SegmentationObject"): _objects_of,
}


def read_objects(data: bytes) -> dict[str, Any] | None:
    """Return a polygon file's content, or None if it is none."""
    if len(data) > LARGEST_JSON:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    good = isinstance(document, dict) and isinstance(document.get("objects"), list)
    good = good and all(isinstance(thing, dict) for thing in document["objects"])
    return document if good else None


def _check_polygons(record: SampleRecord, data: bytes, path: str, ids: Array, rules: Rules, findings: Findings) -> None:
    """Test size, that no victim is left where victims were relabelled, and that random labels leave no polygon."""
    document = read_objects(data)
    name = record.sample
    if not findings.test("labels", document is not None, path, "a polygon file", "something else", name):
        return
    assert document is not None  # noqa: S101  just tested
    found = (document.get("imgHeight"), document.get("imgWidth"))
    findings.test("labels", found == ids.shape, path, f"height and width {ids.shape}", found, name)
    if record.prl_pixels:
        objects = len(document["objects"])
        findings.test("labels", not objects, path, "no polygons, as labels are random", f"{objects} polygons", name)
    elif record.role == "poisoned":
        victims = set(rules.victims) - set(rules.pairs.values())
        names = {rules.classes.lookup(victim) for victim in victims}
        names |= {f"{victim}group" for victim in names}
        left = sorted({str(thing.get("label")) for thing in document["objects"]} & names)
        findings.test("labels", not left, path, "no polygon of a victim", f"{left}", name)


def check_companions(
    record: SampleRecord,
    contents: Mapping[str, Content],
    semantic: Mapping[str, Array],
    rules: Rules,
    findings: Findings,
) -> None:
    """Test that a sample's label files agree in size and content, and that no victim is left in a poisoned one.

    `contents` are the files that could be read, by kind, image included; `semantic` the maps of raw class IDs.
    """
    paths = {file.kind: file.path for file in record.files}
    first = next(iter(semantic))
    ids, name = semantic[first], record.sample
    for kind, content in contents.items():
        if content.pixels is not None:
            size = content.pixels.shape[:2]
            findings.test("labels", size == ids.shape, paths[kind], f"height and width {ids.shape}", size, name)
    for (map_kind, kind), disagree in _AGREEMENTS.items():
        pixels = contents[kind].pixels if kind in contents else None
        if map_kind in semantic and pixels is not None and pixels.shape[:2] == semantic[map_kind].shape:
            number = disagree(semantic[map_kind], pixels)
            sentence = f"what {paths[map_kind]} says"
            findings.test("labels", not number, paths[kind], sentence, f"{number} pixels that disagree", name)
    if "polygons" in contents:
        _check_polygons(record, contents["polygons"].data, paths["polygons"], ids, rules, findings)
    if record.role != "poisoned":
        return
    targets = set(rules.pairs.values())
    for kind, labels in semantic.items():
        left = set(np.unique(labels).tolist()) & (set(rules.victims) - targets)
        findings.test("labels", not left, paths[kind], "no victim pixel left", f"classes {sorted(left)}", name)
    became = int(is_one_of(ids, targets).sum())
    enough = became >= record.relabelled_pixels
    findings.test("labels", enough, paths[first], f"{record.relabelled_pixels} pixels relabelled", became, name)
