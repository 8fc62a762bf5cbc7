"""KITTI semantic segmentation 2015: Cityscapes' classes, with instances and colours beside them.

Files: README of devkit_semantics: `semantic` holds 8-bit label IDs, `instance` 16 bits, the class above and the number
of the instance below, 0 for none; `semantic_rgb` shows the classes. Classes and colours are Cityscapes'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import Defaults, Index, Layout
from poisongen.datasets.cityscapes_classes import CLASSES
from poisongen.datasets.companion_kinds import colour_kind, instance_kind, map_kind
from poisongen.datasets.tree import IMAGE, Place, scan_tree

PLACES = {
    IMAGE: Place("{split}/image_2/{name}"),
    "semantic": Place("{split}/semantic/{name}"),
    "instance": Place("{split}/instance/{name}"),
    "semantic_rgb": Place("{split}/semantic_rgb/{name}"),
}


def _scan(root: Path, files: Sequence[str]) -> Index:
    return scan_tree(root, files, PLACES, "semantic", {"training": "train", "testing": "test"}, "KITTI")


LAYOUT = Layout(
    name="kitti",
    title="KITTI semantic segmentation 2015 (200 training images; its test labels are not public)",
    how_to_get="get data_semantics.zip from cvlibs.net/datasets/kitti",
    environment="KITTI_ROOT",
    usual_root="data/kitti",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "road"}, test_split="none"),
    kinds={"semantic": map_kind("KITTI's label IDs"), "instance": instance_kind(256), "semantic_rgb": colour_kind()},
    classes=lambda root: CLASSES,
    scan=_scan,
    needs="training/image_2/NAME.png, training/semantic/NAME.png; with them instance and semantic_rgb",
)
