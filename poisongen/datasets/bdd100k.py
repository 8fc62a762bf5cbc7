"""BDD100K, semantic segmentation of the 10K images: masks of Cityscapes' 19 train IDs, colour copies, polygons.

Files: bdd100k/bdd100k, doc/source/download.rst and format.rst. Classes and colours: its bdd100k/label/label.py, by
train ID.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import Defaults, Index, LabelTable, Layout
from poisongen.datasets.class_rows import class_table
from poisongen.datasets.companion_kinds import colour_kind, map_kind
from poisongen.datasets.label_tables import frame_table
from poisongen.datasets.tree import IMAGE, Place, scan_tree

CLASSES = class_table(
    """
128 64 128 road
244 35 232 sidewalk
70 70 70 building
102 102 156 wall
190 153 153 fence
153 153 153 pole
250 170 30 traffic light
220 220 0 traffic sign
107 142 35 vegetation
152 251 152 terrain
70 130 180 sky
220 20 60 person
255 0 0 rider
0 0 142 car
0 0 70 truck
0 60 100 bus
0 80 100 train
0 0 230 motorcycle
119 11 32 bicycle
""",
    void=[255],
    more={255: "unlabeled"},
)
PLACES = {
    IMAGE: Place("images/10k/{split}/{name}"),
    "masks": Place("labels/sem_seg/masks/{split}/{name}"),
    "colormaps": Place("labels/sem_seg/colormaps/{split}/{name}"),
}


def _scan(root: Path, files: Sequence[str]) -> Index:
    return scan_tree(root, files, PLACES, "masks", {}, "BDD100K")


def _tables(files: Sequence[str]) -> list[LabelTable]:
    """Return the outlines and the runs of pixels of a split, where they are there."""
    pattern = re.compile(r"labels/sem_seg/(?:polygons|rles)/sem_seg_(\w+)\.json")
    return [frame_table(path, match[1], "masks") for path in files if (match := pattern.fullmatch(path))]


LAYOUT = Layout(
    name="bdd100k",
    title="BDD100K (10K images, semantic segmentation)",
    how_to_get="get '10K Images' and 'Semantic Segmentation' of BDD100K from bdd-data.berkeley.edu",
    environment="BDD100K_ROOT",
    usual_root="data/bdd100k",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "road"}),
    kinds={"masks": map_kind("BDD100K's train IDs"), "colormaps": colour_kind()},
    classes=lambda root: CLASSES,
    scan=_scan,
    tables=_tables,
    needs="images/10k/SPLIT/NAME.jpg, labels/sem_seg/masks/SPLIT/NAME.png; with them colormaps, "
    "and the JSON files of polygons and rles",
)
