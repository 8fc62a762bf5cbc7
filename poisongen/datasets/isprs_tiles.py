"""Tiles of the ISPRS benchmarks, as mmsegmentation cuts them: Potsdam and Vaihingen share classes and files."""

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


def isprs_layout(name: str) -> Layout:
    """Return the layout of a city's tiles: `name` is its converter's in mmsegmentation."""
    title = f"ISPRS {name.capitalize()}"

    def scan(root: Path, files: Sequence[str]) -> Index:
        return scan_tree(root, files, TREES, "ann_dir", {}, title)

    converter = f"tools/dataset_converters/{name}.py"
    return Layout(
        name=name,
        title=f"{title} (6 classes, cut into tiles by mmsegmentation)",
        how_to_get=f"get {name.capitalize()} from isprs.org, and run mmsegmentation's {converter}",
        environment=f"{name.upper()}_ROOT",
        usual_root=f"data/{name}",
        defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "impervious_surface"}),
        kinds={"ann_dir": map_kind(title)},
        classes=lambda root: CLASSES,
        scan=scan,
        needs="img_dir/SPLIT/NAME.png, ann_dir/SPLIT/NAME.png",
    )
