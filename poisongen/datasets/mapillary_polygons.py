"""Mapillary Vistas' polygons (2.0 only): a JSON for each image, with official class names; rewritten and checked."""

from __future__ import annotations

import json
from typing import Any

from poisongen.core.labels import Change
from poisongen.datasets.base import ClassTable, LabelKind
from poisongen.datasets.label_checks import LabelBefore, LabelCheck, LabelNow, Wrong
from poisongen.datasets.mapillary_classes import OFFICIAL_20
from poisongen.files.documents import LARGEST_JSON, parse_json


def _read(data: bytes) -> dict[str, Any] | None:
    """Return a polygon file's content; None if it is none."""
    if len(data) > LARGEST_JSON:
        return None
    try:
        document = parse_json(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    things = document.get("objects") if isinstance(document, dict) else None
    if not isinstance(things, list):
        return None
    sound = all(isinstance(thing, dict) and isinstance(thing.get("label"), str) for thing in things)
    return document if sound and all(_is_polygon(thing.get("polygon")) for thing in things) else None


def _is_polygon(points: object) -> bool:
    return isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(type(value) in (int, float) for value in point)
        for point in points
    )


def _write(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii")


def _fault(data: bytes, classes: ClassTable) -> str | None:
    return "a polygon file has a list of objects, each with label and polygon" if _read(data) is None else None


def _rewrite(data: bytes, change: Change, classes: ClassTable) -> bytes:
    """Name polygons as the label rule has it; where polygons cannot say what the labels are, leave none at all."""
    if not change.changed.any():
        return data
    document = _read(data)
    assert document is not None  # noqa: S101  checked before anything is built
    if change.random.any() or not change.relabelling.everywhere:
        document["objects"] = []
        return _write(document)
    table = change.relabelling.layers[0].table
    renamed = {OFFICIAL_20[number]: OFFICIAL_20[int(table[number])] for number in classes.trained}
    for thing in document["objects"]:
        thing["label"] = renamed.get(thing["label"], thing["label"])
    return _write(document)


def _resize(data: bytes, width: int, height: int) -> bytes:
    """Scale the points by the file's own width and height; without those, which nobody could scale, leave none."""
    document = _read(data)
    assert document is not None  # noqa: S101  checked before anything is built
    return _write(_scaled(document, width, height))


def _scaled(document: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    old = document.get("width"), document.get("height")
    if not all(type(side) is int and side > 0 for side in old):
        return document | {"objects": []}
    across, down = width / document["width"], height / document["height"]
    things = [
        thing | {"polygon": [[round(x * across), round(y * down)] for x, y in thing["polygon"]]}
        for thing in document["objects"]
    ]
    return document | {"width": width, "height": height, "objects": things}


def _agrees(now: LabelNow) -> Wrong | None:
    """No victim is left where victims were relabelled, and random labels leave no polygon."""
    document = _read(now.data)
    if document is None:
        return Wrong("a polygon file", "something else", inherited=False)
    labels = {thing["label"] for thing in document["objects"]}
    if now.random and labels:
        return Wrong("no polygons, as labels are random", f"{len(document['objects'])} polygons", inherited=False)
    left = sorted(labels & {OFFICIAL_20[number] for number in now.gone if number < len(OFFICIAL_20)})
    return Wrong("no polygon of a victim", f"{left}", inherited=False) if left else None


def _follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
    """The file is the source's, byte for byte, or what build writes of it: scaled, victims renamed, or emptied."""
    document = None if before.data is None else _read(before.data)
    if document is None or before.data is None:
        return Wrong("a polygon file in the source", "something else", inherited=False)
    changed = bool(before.changed.any())
    if before.scaled:
        document = _scaled(document, now.ids.shape[1], now.ids.shape[0])
    if changed and (before.random.any() or not before.relabelling.everywhere):
        document["objects"] = []
    elif changed:
        for thing in document["objects"]:
            if thing["label"] in OFFICIAL_20:
                number = OFFICIAL_20.index(thing["label"])
                target = int(before.relabelling.layers[0].table[number])
                if number not in now.classes.void and target < len(OFFICIAL_20):
                    thing["label"] = OFFICIAL_20[target]
    wanted = _write(document) if changed or before.scaled else before.data
    return None if wanted == now.data else Wrong("the source's polygons, changed", "other bytes", inherited=False)


POLYGONS = LabelKind(fault=_fault, rewrite=_rewrite, check=LabelCheck(_agrees, _follows), document=True, resize=_resize)
"""The kind of these files."""
