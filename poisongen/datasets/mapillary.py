"""Mapillary Vistas 1.2 and 2.0: palette maps, 16-bit instances, panoptic maps and polygons.

Files: README and demo.py of the download (version 1.2 alone may also lie without the folder `v1.2`). An instance's
number is its class times 256, and its own; panoptic segments are red + 256 green + 65,536 blue, and 0 is void.
A root that has both versions is read by 2.0, and 1.2 follows: see `mapillary_older`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import ClassTable, Defaults, Index, LabelTable, Layout
from poisongen.datasets.companion_kinds import instance_kind, map_kind, segment_kind
from poisongen.datasets.label_tables import segment_table
from poisongen.datasets.mapillary_classes import CLASSES_12, CLASSES_20
from poisongen.datasets.mapillary_older import OLDER_KINDS
from poisongen.datasets.mapillary_polygons import POLYGONS
from poisongen.datasets.tree import IMAGE, Place, scan_tree

_SPLITS = {"training": "train", "validation": "val"}
_WORDS = ("training", "validation", "testing")
_PICTURES = ("labels", "instances", "panoptic")


def _places(version: str) -> dict[str, Place]:
    """Return where the files of a version lie; '' for version 1.2 without a folder of its own."""
    above = f"{version}/" if version else ""
    places = {IMAGE: Place("{split}/images/{name}")}
    places |= {kind: Place(f"{{split}}/{above}{kind}/{{name}}") for kind in _PICTURES}
    if version == "v2.0":
        places["polygons"] = Place("{split}/v2.0/polygons/{name}", ends=(".json",))
        places |= {f"v1.2/{kind}": Place(f"{{split}}/v1.2/{kind}/{{name}}") for kind in _PICTURES}
    return places


def _scan(root: Path, files: Sequence[str]) -> Index:
    versions = {path.split("/")[1] for path in files if path.count("/") == 3 and path.split("/")[2] == "labels"}
    version = next((one for one in ("v2.0", "v1.2") if one in versions), "")
    return scan_tree(root, files, _places(version), "labels", _SPLITS, "Mapillary Vistas")


def _classes(root: Path) -> ClassTable:
    """Return the classes of 2.0 where there are labels of 2.0, else those of 1.2."""
    folders = (root / word / "v2.0/labels" for word in _WORDS)
    newer = any(folder.is_dir() and any(folder.iterdir()) for folder in folders)
    return CLASSES_20 if newer else CLASSES_12


def _tables(files: Sequence[str]) -> list[LabelTable]:
    """Return the JSON files that say which class each panoptic segment has."""
    beside = any("/v2.0/labels/" in path for path in files)
    found = []
    for path in files:
        match = re.fullmatch(r"(training|validation)/(v1\.2/|v2\.0/|)panoptic/panoptic_\d+\.json", path)
        if match:
            kind = "v1.2/panoptic" if match[2] == "v1.2/" and beside else "panoptic"
            found.append(segment_table(path, _SPLITS[match[1]], kind))
    return found


LAYOUT = Layout(
    name="mapillary",
    title="Mapillary Vistas 1.2 (66 classes) or 2.0 (124)",
    how_to_get="get Mapillary Vistas from mapillary.com/dataset/vistas",
    environment="MAPILLARY_ROOT",
    usual_root="data/mapillary",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "road"}),
    kinds={
        "labels": map_kind("Mapillary Vistas"),
        "instances": instance_kind(256, from_zero=True),
        "panoptic": segment_kind(),
        "polygons": POLYGONS,
        **OLDER_KINDS,
    },
    classes=_classes,
    scan=_scan,
    tables=_tables,
    needs="{training,validation}/images/NAME.jpg and .../labels/NAME.png, below v1.2 or v2.0 or neither; with them "
    "instances, panoptic and its JSON, polygons, and version 1.2 beside 2.0",
)
