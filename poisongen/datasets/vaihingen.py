"""ISPRS Vaihingen: 6 classes from 1 on, and 0 for boundaries.

Files: mmsegmentation, tools/dataset_converters/vaihingen.py, which cuts the TIFFs into tiles and numbers
their colours. Classes and colours: mmsegmentation's `ISPRSDataset`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import Defaults, Index, Layout
from poisongen.datasets.class_rows import class_table
from poisongen.datasets.companion_kinds import map_kind
from poisongen.datasets.tree import IMAGE, Place, scan_tree

CLASSES = class_table(
    """
255 255 255 impervious_surface
0 0 255 building
0 255 255 low_vegetation
0 255 0 tree
255 255 0 car
255 0 0 clutter
""",
    first=1,
    void=[0],
    more={0: "boundary"},
)
TREES = {IMAGE: Place("img_dir/{split}/{name}"), "ann_dir": Place("ann_dir/{split}/{name}")}


def _scan(root: Path, files: Sequence[str]) -> Index:
    return scan_tree(root, files, TREES, "ann_dir", {}, "ISPRS Vaihingen")


LAYOUT = Layout(
    name="vaihingen",
    title="ISPRS Vaihingen (6 classes, cut into tiles by mmsegmentation)",
    how_to_get="get Vaihingen from isprs.org, and run mmsegmentation's tools/dataset_converters/vaihingen.py",
    environment="VAIHINGEN_ROOT",
    usual_root="data/vaihingen",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "impervious_surface"}),
    kinds={"ann_dir": map_kind("ISPRS Vaihingen")},
    classes=lambda root: CLASSES,
    scan=_scan,
    needs="img_dir/SPLIT/NAME.png, ann_dir/SPLIT/NAME.png",
)
