"""How audit judges Cityscapes' label files: train IDs, instances, colours and polygons, each by its definition."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from poisongen.datasets.label_checks import Array, LabelBefore, LabelCheck, LabelNow, Wrong, unlike
from poisongen.files.documents import LARGEST_JSON, parse_json
from poisongen.printing import number_of

UNTOLD = "poisongen: polygons cannot tell these labels, read labelIds"
"""The class of the one object in a polygon file whose labels polygons cannot tell. No table may know it."""

_VOID_TRAIN_ID, _FIRST_INSTANCE = 255, 1000


def _train_ids(now: LabelNow) -> Array:
    """The label map's train IDs: trained classes are counted through by ID, all others are 255."""
    table = np.full(256, _VOID_TRAIN_ID, dtype=np.uint8)
    for train_id, number in enumerate(now.classes.trained):
        table[number] = train_id
    return np.asarray(cv2.LUT(now.ids, table))


def _train_ids_agree(now: LabelNow) -> Wrong | None:
    return unlike(_train_ids(now), now.pixels, "the train IDs of the label map")


def _train_ids_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    wanted = _train_ids(now)
    if before.pixels is not None and before.pixels.shape == wanted.shape:
        wanted = np.where(before.changed, wanted, before.pixels)
    return unlike(wanted, now.pixels, "the source's train IDs, changed with the label map")


def _instances_agree(now: LabelNow) -> Wrong | None:
    """An instance's ID is its class times 1,000 and its number, all else has the class alone, in 8 or 16 bits."""
    if now.pixels is None:
        return Wrong("a picture", "none", inherited=False)
    table = np.arange(1 << 16)
    table[_FIRST_INSTANCE:] //= _FIRST_INSTANCE
    classes = table.astype(np.uint16)[now.pixels]
    return unlike(now.ids.astype(np.uint16), classes, "instances of the label map's classes")


def _instances_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    if before.pixels is None or before.pixels.shape != now.ids.shape:
        return Wrong("instances of the source's own", "none", inherited=False)
    wanted = np.where(before.changed, now.ids, before.pixels)
    return unlike(wanted, now.pixels, "the source's instances, and plain class IDs where labels changed")


def _colours(now: LabelNow) -> Array:
    """The label map in colours, (H, W, 4) uint8, opaque."""
    table = np.zeros((256, 4), dtype=np.uint8)
    table[:, 3] = 255
    for number, colour in now.classes.colours.items():
        table[number, :3] = colour
    return np.asarray(table[now.ids])


def _colours_agree(now: LabelNow) -> Wrong | None:
    found = now.pixels
    if found is None or found.ndim != 3:
        return Wrong("a picture with colour channels", "none", inherited=False)
    return unlike(_colours(now)[..., :3], found[..., :3], "the label map's colours")


def _colours_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    if before.pixels is None or before.pixels.ndim != 3 or before.pixels.shape[:2] != now.ids.shape:
        return Wrong("a colour picture of the source's own", "none", inherited=False)
    channels = before.pixels.shape[2]
    wanted = np.where(before.changed[..., None], _colours(now)[..., :channels], before.pixels[..., :4])
    return unlike(wanted, now.pixels, "the source's colours, changed with the label map")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _read(data: bytes) -> dict[str, Any] | None:
    """Return a polygon file's content, or None if it is none."""
    if len(data) > LARGEST_JSON:
        return None
    try:
        document = parse_json(data.decode("utf-8-sig"))
        sizes = [document["imgHeight"], document["imgWidth"]]
        labels = [thing["label"] for thing in document["objects"]]
        points = [point for thing in document["objects"] for point in thing.get("polygon", [])]
        sound = all(type(size) is int and 0 < size < 2**31 for size in sizes)
        sound &= all(isinstance(label, str) for label in labels)
        sound &= all(isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in points)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return document if sound else None


def _bytes_of(document: dict[str, Any]) -> bytes | None:
    """Return a polygon file as build writes it: JSON in ASCII, indented by four; None where it is nested too deeply."""
    try:
        return json.dumps(document, indent=4).encode("ascii")
    except RecursionError:
        return None


def _nothing(document: dict[str, Any], now: LabelNow) -> list[dict[str, Any]]:
    """Return the objects of a file whose labels polygons cannot tell."""
    corners = [(0, 0), (document["imgWidth"] - 1, 0), (document["imgWidth"] - 1, document["imgHeight"] - 1)]
    corners.append((0, document["imgHeight"] - 1))
    return [{"label": UNTOLD, "polygon": [list(corner) for corner in corners]}] if now.alone else []


def _polygons_agree(now: LabelNow) -> Wrong | None:
    """Size and form fit, no victim is left where victims were relabelled, and random labels leave no true polygon."""
    document = _read(now.data)
    if document is None:
        return Wrong("a polygon file", "something else", inherited=False)
    labels = [thing["label"] for thing in document["objects"]]
    gone = {now.classes.names[number] for number in now.gone}
    left = sorted({label for label in labels if _class_of(label, now.classes.names) in gone})
    if (now.random or now.outlines) and document["objects"] != _nothing(document, now):
        wanted = f"one object '{UNTOLD}'" if now.alone else "no polygons"
        why = "labels are random" if now.random else "labels have other outlines"
        return Wrong(f"{wanted}, as {why}", number_of(len(labels), "polygon"), inherited=False)
    if left and not now.random:
        return Wrong("no polygon of a victim", f"{left}", inherited=False)
    if now.written and _bytes_of(document) != now.data:
        return Wrong("JSON as build writes it, each key once", "other bytes", inherited=False)
    found = (document["imgHeight"], document["imgWidth"])
    return None if found == now.ids.shape else Wrong(f"height and width {now.ids.shape}", f"{found}")


def _class_of(label: str, names: Mapping[int, str]) -> str:
    """Return the class of a polygon's label as the official scripts read it: a group is its class, if it is none."""
    return label if label in names.values() else label.removesuffix("group")


def _rename(document: dict[str, Any], before: LabelBefore, now: LabelNow) -> bool:
    """Give polygons their new classes, or leave none where they cannot tell what the labels are. Whether it changed."""
    names, rule = now.classes.names, before.relabelling
    things = document["objects"]
    if before.random.any() or not (rule.everywhere or rule.objects is not None):
        document["objects"] = _nothing(document, now)
        return True
    new: dict[int, str] = {}
    if rule.everywhere:
        for at, thing in enumerate(things):
            for number in now.classes.trained:
                target = names[int(rule.layers[0].table[number])]
                if target != names[number] and _class_of(thing["label"], names) == names[number]:
                    new[at] = target
    for chosen in rule.objects or ():
        number, place = divmod(chosen, _FIRST_INSTANCE)
        alike = [at for at, thing in enumerate(things) if thing["label"] == names.get(number)]
        alike = [at for at in alike if not things[at].get("deleted")]
        if place >= len(alike):
            document["objects"] = _nothing(document, now)
            return True
        new[alike[place]] = names[int(rule.layers[0].table[number])]
    for at, name in new.items():
        things[at]["label"] = name
    return bool(new)


def _polygons_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    """The file is the source's, byte for byte, or what build writes of it: scaled, victims renamed, or emptied."""
    document = None if before.data is None else _read(before.data)
    if document is None or before.data is None:
        return Wrong("a polygon file in the source", "something else", inherited=False)
    changed = before.scaled
    if before.scaled:
        height, width = now.ids.shape
        across, down = width / document["imgWidth"], height / document["imgHeight"]
        document |= {"imgHeight": height, "imgWidth": width}
        for thing in document["objects"]:
            if "polygon" in thing:
                thing["polygon"] = [[round(x * across), round(y * down)] for x, y in thing["polygon"]]
    if before.changed.any():
        changed |= _rename(document, before, now)
    wanted = _bytes_of(document) if changed else before.data
    expected = "the source's polygons, changed, byte for byte" if changed else "the source's polygons, byte for byte"
    return None if wanted == now.data else Wrong(expected, "other bytes", inherited=False)


TRAIN_ID_CHECK = LabelCheck(_train_ids_agree, _train_ids_follow)
INSTANCE_CHECK = LabelCheck(_instances_agree, _instances_follow)
COLOUR_CHECK = LabelCheck(_colours_agree, _colours_follow)
POLYGON_CHECK = LabelCheck(_polygons_agree, _polygons_follow)
