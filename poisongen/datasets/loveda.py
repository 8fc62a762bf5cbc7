"""LoveDA: 7 classes from 1 on, and 0 where there are no data.

Files: mmsegmentation, tools/dataset_converters/loveda.py (img_dir and ann_dir), or the zips as they unpack
(Train/Rural/images_png and masks_png). Classes and colours: mmsegmentation's `LoveDADataset`.
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
255 255 255 background
255 0 0 building
255 255 0 road
0 0 255 water
159 129 183 barren
0 255 0 forest
255 195 128 agricultural
""",
    first=1,
    void=[0],
    more={0: "no data"},
)
_SCENES = {"scene": "Rural|Urban"}
TREES = (
    {IMAGE: Place("img_dir/{split}/{name}"), "ann_dir": Place("ann_dir/{split}/{name}")},
    {
        IMAGE: Place("{split}/{scene}/images_png/{name}", _SCENES),
        "ann_dir": Place("{split}/{scene}/masks_png/{name}", _SCENES),
    },
)


def _scan(root: Path, files: Sequence[str]) -> Index:
    return scan_tree(root, files, TREES, "ann_dir", {"Train": "train", "Val": "val", "Test": "test"}, "LoveDA")


LAYOUT = Layout(
    name="loveda",
    title="LoveDA (land cover: 7 classes)",
    how_to_get="get Train.zip and Val.zip of LoveDA (zenodo.org/record/5706578)",
    environment="LOVEDA_ROOT",
    usual_root="data/loveDA",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel=None),
    kinds={"ann_dir": map_kind("LoveDA")},
    classes=lambda root: CLASSES,
    scan=_scan,
    needs="img_dir/SPLIT/NAME.png, ann_dir/SPLIT/NAME.png; or {Train,Val}/{Rural,Urban}/images_png and masks_png",
)
