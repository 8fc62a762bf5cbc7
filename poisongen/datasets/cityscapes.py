"""Cityscapes: its classes and how each kind of its label files is rewritten."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from poisongen.core.labels import Change, Relabelling, class_counts, lay_over, look_up
from poisongen.datasets.base import (
    Array,
    ClassTable,
    Defaults,
    LabelKind,
    Layout,
    id_fault,
    rewrite_ids,
)
from poisongen.datasets.cityscapes_checks import (
    COLOUR_CHECK,
    INSTANCE_CHECK,
    POLYGON_CHECK,
    TRAIN_ID_CHECK,
    UNTOLD,
)
from poisongen.datasets.cityscapes_classes import CLASSES, DRAWN, INSTANCES, TRAIN_IDS
from poisongen.datasets.cityscapes_derived import KINDS, tables
from poisongen.datasets.cityscapes_files import completions, scan
from poisongen.datasets.label_checks import MAP_CHECK
from poisongen.files.documents import parse_json

_LEGAL_TRAIN_IDS = frozenset(label.train_id for label in DRAWN)
_COUNTABLE = frozenset(label.id for label in DRAWN if label.has_instances)
_COLOURS = np.zeros((256, 4), np.uint8)
for _label in DRAWN:
    _COLOURS[_label.id] = (*_label.colour, 255)


def _train_ids(ids: Array, classes: ClassTable) -> Array:
    return look_up(ids, TRAIN_IDS)


def _rewrite_train_ids(array: Array, change: Change, classes: ClassTable) -> Array:
    return lay_over(array, look_up(change.after, TRAIN_IDS), change.changed)


def _rewrite_instances(array: Array, change: Change, classes: ClassTable) -> Array:
    return lay_over(array, change.after, change.changed)


def _instance_fault(array: Array, classes: ClassTable) -> str | None:
    if array.ndim != 2:
        return "instance IDs must be a single-channel PNG"
    for value in np.flatnonzero(class_counts(array)).tolist():
        number = value // 1000 if value >= 1000 else value
        if number not in classes.names or (value >= 1000 and number not in _COUNTABLE):
            return f"instance ID {value} belongs to no class of the table of instanceIds"
    return None


def _colour_fault(array: Array, classes: ClassTable) -> str | None:
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        return "the colour picture must be an 8-bit RGB or RGBA PNG"
    return None


def _rewrite_colour(array: Array, change: Change, classes: ClassTable) -> Array:
    out = array.copy()
    out[change.changed] = _COLOURS[change.after[change.changed]][:, : array.shape[2]]
    return out


def _read_polygons(data: bytes) -> dict[str, Any] | str:
    """Return the parsed polygon file, or what is wrong with it."""
    try:
        document = parse_json(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return "not a JSON file"
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
        return "a polygon file needs imgHeight, imgWidth and a list of objects"
    if not all(type(document.get(key)) is int and document[key] > 0 for key in ("imgHeight", "imgWidth")):
        return "a polygon file needs imgHeight and imgWidth as whole numbers above 0"
    if not all(isinstance(thing, dict) and isinstance(thing.get("label"), str) for thing in document["objects"]):
        return "every object of a polygon file needs a label"
    if not all(_is_polygon(thing.get("polygon", [])) for thing in document["objects"]):
        return "a polygon is a list of points [x, y]"
    return document


def _is_polygon(points: object) -> bool:
    return isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(type(value) in (int, float) for value in point)
        for point in points
    )


def _write_polygons(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=4).encode("ascii")


def _polygon_fault(data: bytes, classes: ClassTable) -> str | None:
    document = _read_polygons(data)
    return document if isinstance(document, str) else None


def _rewrite_polygons(data: bytes, change: Change, classes: ClassTable) -> bytes:
    """Name polygons as the label rule has it; where polygons cannot say what the labels are, take all of them away.

    They cannot say what Pixel Random Labeling did, nor follow a rule that takes part of a class but no whole objects,
    or has outlines of its own. Several trainers rebuild labelTrainIds from them. Where all of training is changed so,
    an empty list gives them all-void maps, which is noticed. Where poisoned samples are `alone` in it, they would be
    left out of the loss, and training would run on without the attack: one object of a class that no table knows makes
    readers stop instead.
    """
    if not change.changed.any():
        return data
    document = _read_polygons(data)
    assert isinstance(document, dict)  # noqa: S101  checked before anything is built
    names = None if change.random.any() else _new_names(document["objects"], change.relabelling, classes)
    if names is None:
        document["objects"] = _untold(document) if change.alone else []
        return _write_polygons(document)
    for at, name in names.items():
        document["objects"][at]["label"] = name
    return _write_polygons(document) if names else data


def _untold(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the one object that stands for labels that polygons cannot tell: the whole picture, of no known class."""
    right, bottom = document["imgWidth"] - 1, document["imgHeight"] - 1
    return [{"label": UNTOLD, "polygon": [[0, 0], [right, 0], [right, bottom], [0, bottom]]}]


def _new_names(things: list[Any], relabelling: Relabelling, classes: ClassTable) -> dict[int, str] | None:
    """Return the polygons that get another class, by their place in the file; None if polygons cannot tell the rule."""
    table = relabelling.layers[0].table
    if relabelling.everywhere:
        renamed = {
            classes.names[number]: classes.names[int(table[number])]
            for number in classes.trained
            if int(table[number]) != number
        }
        known = set(classes.names.values())  # `polegroup` is a class, and no group of poles
        renamed |= {f"{old}group": new for old, new in renamed.items() if f"{old}group" not in known}
        return {at: renamed[thing["label"]] for at, thing in enumerate(things) if thing["label"] in renamed}
    if relabelling.objects is None or len(relabelling.layers) != 1:
        return None
    names: dict[int, str] = {}
    for number in relabelling.objects:
        own = classes.names.get(number // INSTANCES)
        drawn = [at for at, thing in enumerate(things) if thing["label"] == own and not thing.get("deleted")]
        if own is None or number % INSTANCES >= len(drawn):
            return None  # a component, which no polygon is
        names[drawn[number % INSTANCES]] = classes.names[int(table[number // INSTANCES])]
    return names


def _objects(array: Array) -> Array:
    """The instances' own numbers: class times 1,000, and the place of their polygon among those of the class."""
    return np.where(array >= INSTANCES, array, 0).astype(np.int32)


def _resize_polygons(data: bytes, width: int, height: int) -> bytes:
    document = _read_polygons(data)
    assert isinstance(document, dict)  # noqa: S101  checked before anything is built
    across, down = width / document["imgWidth"], height / document["imgHeight"]
    document |= {"imgWidth": width, "imgHeight": height}
    for thing in document["objects"]:
        if "polygon" in thing:
            thing["polygon"] = [[round(x * across), round(y * down)] for x, y in thing["polygon"]]
    return _write_polygons(document)


LAYOUT = Layout(
    name="cityscapes",
    title="Cityscapes (leftImg8bit and gtFine)",
    how_to_get="get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com",
    environment="CITYSCAPES_DATASET",
    usual_root="data/cityscapes",
    # The paper's 55 px trigger and U = 60 px at 1024x512, doubled (ICLR 2024, experimental settings).
    defaults=Defaults(trigger_size=110, max_distance=120.0, relabel={"car": "road"}),
    kinds={
        "labelIds": LabelKind(
            fault=lambda array, classes: id_fault(array, frozenset(classes.names), "labelIds"),
            rewrite=rewrite_ids,
            check=MAP_CHECK,
            semantic=True,
        ),
        "labelTrainIds": LabelKind(
            fault=lambda array, classes: id_fault(array, _LEGAL_TRAIN_IDS, "labelTrainIds"),
            rewrite=_rewrite_train_ids,
            check=TRAIN_ID_CHECK,
            derive=_train_ids,
        ),
        "instanceIds": LabelKind(
            fault=_instance_fault, rewrite=_rewrite_instances, check=INSTANCE_CHECK, objects=_objects
        ),
        "color": LabelKind(fault=_colour_fault, rewrite=_rewrite_colour, check=COLOUR_CHECK, flat=False),
        "polygons": LabelKind(
            fault=_polygon_fault,
            rewrite=_rewrite_polygons,
            check=POLYGON_CHECK,
            document=True,
            resize=_resize_polygons,
        ),
    }
    | KINDS,
    classes=lambda root: CLASSES,
    scan=scan,
    completions=completions,
    needs="leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, gtFine/SPLIT/CITY/*_gtFine_labelIds.png; with them labelTrainIds, "
    "instanceIds, color and polygons.json",
    tables=tables,
)
