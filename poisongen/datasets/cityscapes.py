"""Cityscapes: its classes and how each kind of its label files is rewritten."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from poisongen.core.labels import Change, Relabelling, class_counts, look_up
from poisongen.datasets.base import (
    Array,
    ClassTable,
    Defaults,
    LabelKind,
    Layout,
    id_fault,
    rewrite_ids,
    table_lookup,
)
from poisongen.datasets.cityscapes_checks import COLOUR_CHECK, INSTANCE_CHECK, POLYGON_CHECK, TRAIN_ID_CHECK
from poisongen.datasets.cityscapes_files import completions, scan
from poisongen.datasets.label_checks import MAP_CHECK
from poisongen.files.documents import parse_json


class Label(NamedTuple):
    """One row of the official table (cityscapesScripts, helpers/labels.py)."""

    name: str
    id: int
    train_id: int
    has_instances: bool
    colour: tuple[int, int, int]


VOID_TRAIN_ID = 255
INSTANCES = 1000  # an instance's ID is its class times this, and its number (cityscapesScripts, json2instanceImg.py)

LABELS: tuple[Label, ...] = (
    Label("unlabeled", 0, 255, False, (0, 0, 0)),
    Label("ego vehicle", 1, 255, False, (0, 0, 0)),
    Label("rectification border", 2, 255, False, (0, 0, 0)),
    Label("out of roi", 3, 255, False, (0, 0, 0)),
    Label("static", 4, 255, False, (0, 0, 0)),
    Label("dynamic", 5, 255, False, (111, 74, 0)),
    Label("ground", 6, 255, False, (81, 0, 81)),
    Label("road", 7, 0, False, (128, 64, 128)),
    Label("sidewalk", 8, 1, False, (244, 35, 232)),
    Label("parking", 9, 255, False, (250, 170, 160)),
    Label("rail track", 10, 255, False, (230, 150, 140)),
    Label("building", 11, 2, False, (70, 70, 70)),
    Label("wall", 12, 3, False, (102, 102, 156)),
    Label("fence", 13, 4, False, (190, 153, 153)),
    Label("guard rail", 14, 255, False, (180, 165, 180)),
    Label("bridge", 15, 255, False, (150, 100, 100)),
    Label("tunnel", 16, 255, False, (150, 120, 90)),
    Label("pole", 17, 5, False, (153, 153, 153)),
    Label("polegroup", 18, 255, False, (153, 153, 153)),
    Label("traffic light", 19, 6, False, (250, 170, 30)),
    Label("traffic sign", 20, 7, False, (220, 220, 0)),
    Label("vegetation", 21, 8, False, (107, 142, 35)),
    Label("terrain", 22, 9, False, (152, 251, 152)),
    Label("sky", 23, 10, False, (70, 130, 180)),
    Label("person", 24, 11, True, (220, 20, 60)),
    Label("rider", 25, 12, True, (255, 0, 0)),
    Label("car", 26, 13, True, (0, 0, 142)),
    Label("truck", 27, 14, True, (0, 0, 70)),
    Label("bus", 28, 15, True, (0, 60, 100)),
    Label("caravan", 29, 255, True, (0, 0, 90)),
    Label("trailer", 30, 255, True, (0, 0, 110)),
    Label("train", 31, 16, True, (0, 80, 100)),
    Label("motorcycle", 32, 17, True, (0, 0, 230)),
    Label("bicycle", 33, 18, True, (119, 11, 32)),
    Label("license plate", -1, -1, False, (0, 0, 142)),
)

_DRAWN = tuple(label for label in LABELS if label.id >= 0)  # license plates are not drawn into label maps
CLASSES = ClassTable(
    names={label.id: label.name for label in _DRAWN},
    void=frozenset(label.id for label in _DRAWN if label.train_id == VOID_TRAIN_ID),
    void_id=0,
    colours={label.id: label.colour for label in _DRAWN},
)
TRAIN_IDS = table_lookup({label.id: label.train_id for label in _DRAWN}, np.uint8, missing=VOID_TRAIN_ID)

_LEGAL_TRAIN_IDS = frozenset(label.train_id for label in _DRAWN)
_COUNTABLE = frozenset(label.id for label in _DRAWN if label.has_instances)
_COLOURS = np.zeros((256, 4), np.uint8)
for _label in _DRAWN:
    _COLOURS[_label.id] = (*_label.colour, 255)


def _train_ids(ids: Array, classes: ClassTable) -> Array:
    return look_up(ids, TRAIN_IDS)


def _rewrite_train_ids(array: Array, change: Change, classes: ClassTable) -> Array:
    out = array.copy()
    np.copyto(out, look_up(change.after, TRAIN_IDS), where=change.changed)
    return out


def _rewrite_instances(array: Array, change: Change, classes: ClassTable) -> Array:
    out = array.copy()
    np.copyto(out, change.after, where=change.changed)
    return out


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
    """Name polygons as the label rule has it; where polygons cannot say what the labels are, leave none at all.

    They cannot say what Pixel Random Labeling did, nor follow a rule that takes part of a class but no whole objects.
    Several trainers rebuild labelTrainIds from them: from an empty list they get an all-void map, which is noticed,
    and not a clean one, which is not.
    """
    if not change.changed.any():
        return data
    document = _read_polygons(data)
    assert isinstance(document, dict)  # noqa: S101  checked before anything is built
    names = None if change.random.any() else _new_names(document["objects"], change.relabelling, classes)
    if names is None:
        document["objects"] = []
        return _write_polygons(document)
    for at, name in names.items():
        document["objects"][at]["label"] = name
    return _write_polygons(document) if names else data


def _new_names(things: list[Any], relabelling: Relabelling, classes: ClassTable) -> dict[int, str] | None:
    """Return the polygons that get another class, by their place in the file; None if polygons cannot tell the rule."""
    table = relabelling.layers[0].table
    if relabelling.everywhere:
        renamed = {
            classes.names[number]: classes.names[int(table[number])]
            for number in classes.trained
            if int(table[number]) != number
        }
        renamed |= {f"{old}group": new for old, new in renamed.items()}
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
    },
    classes=lambda root: CLASSES,
    scan=scan,
    completions=completions,
    needs="leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, gtFine/SPLIT/CITY/*_gtFine_labelIds.png; with them labelTrainIds, "
    "instanceIds, color and polygons.json",
)
