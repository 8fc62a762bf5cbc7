"""PASCAL Context: 59 classes and background, after mmsegmentation's preparation (which uses detail).

Files: tools/dataset_converters/pascal_context.py writes SegmentationClassContext and ImageSets/SegmentationContext into
VOC2010. Classes and colours: mmsegmentation's `PascalContextDataset`; its `PascalContextDataset59` ignores background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from poisongen.datasets.base import Defaults, Index, Layout, Sample
from poisongen.datasets.class_places import FolderPlaces
from poisongen.datasets.class_rows import class_table
from poisongen.datasets.companion_kinds import map_kind
from poisongen.datasets.folder_lists import copied_list, find_lists, split_names
from poisongen.datasets.tree import IMAGE, Place, scan_tree

VOID = 255  # in no file of the preparation, and ignored by everybody
CLASSES = class_table(
    """
120 120 120 background
180 120 120 aeroplane
6 230 230 bag
80 50 50 bed
4 200 3 bedclothes
120 120 80 bench
140 140 140 bicycle
204 5 255 bird
230 230 230 boat
4 250 7 book
224 5 255 bottle
235 255 7 building
150 5 61 bus
120 120 70 cabinet
8 255 51 car
255 6 82 cat
143 255 140 ceiling
204 255 4 chair
255 51 7 cloth
204 70 3 computer
0 102 200 cow
61 230 250 cup
255 6 51 curtain
11 102 255 dog
255 7 71 door
255 9 224 fence
9 7 230 floor
220 220 220 flower
255 9 92 food
112 9 255 grass
8 255 214 ground
7 255 224 horse
255 184 6 keyboard
10 255 71 light
255 41 10 motorbike
7 255 255 mountain
224 255 8 mouse
102 8 255 person
255 61 6 plate
255 194 7 platform
255 122 8 pottedplant
0 255 20 road
255 8 41 rock
255 5 153 sheep
6 51 255 shelves
235 12 255 sidewalk
160 150 20 sign
0 163 255 sky
140 140 140 snow
250 10 15 sofa
20 255 0 table
31 255 0 track
255 31 0 train
255 224 0 tree
153 255 0 truck
0 0 255 tvmonitor
255 71 0 wall
0 235 255 water
0 173 255 window
31 0 255 wood
""",
    void=[VOID],
    more={VOID: "void"},
)
_LISTS = "ImageSets/SegmentationContext/{split}.txt"
_ABOVE = ("", "VOC2010/", "VOCdevkit/VOC2010/")


def _places(above: str) -> dict[str, Place]:
    return {
        IMAGE: Place(f"{above}JPEGImages/{{name}}"),
        "SegmentationClassContext": Place(f"{above}SegmentationClassContext/{{name}}"),
    }


def _lists(files: Sequence[str]) -> FolderPlaces:
    """Return where the split lists lie: in VOC2010 itself, or in a root above it."""
    candidates = [FolderPlaces(lists=f"{above}{_LISTS}") for above in _ABOVE]
    return next((one for one in candidates if find_lists(files, one)), candidates[0])


def _scan(root: Path, files: Sequence[str]) -> Index:
    trees = [_places(above) for above in _ABOVE]
    whole = scan_tree(root, files, trees, "SegmentationClassContext", {}, "PASCAL Context")
    return split_names(root, files, _lists(files), whole)


def _split_files(root: Path, split: str, files: Sequence[str], samples: Sequence[Sample]) -> Mapping[str, bytes]:
    return copied_list(root, split, files, samples, _lists(files))


LAYOUT = Layout(
    name="pascal-context",
    title="PASCAL Context (59 classes and background)",
    how_to_get="get VOCtrainval_03-May-2010.tar and trainval_merged.json, and run mmsegmentation's "
    "tools/dataset_converters/pascal_context.py",
    environment="PASCAL_CONTEXT_ROOT",
    usual_root="data/VOCdevkit/VOC2010",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "road"}),
    kinds={"SegmentationClassContext": map_kind("PASCAL Context")},
    classes=lambda root: CLASSES,
    scan=_scan,
    split_files=_split_files,
    needs="JPEGImages/NAME.jpg, SegmentationClassContext/NAME.png, ImageSets/SegmentationContext/SPLIT.txt, in VOC2010 "
    "or VOCdevkit/VOC2010",
)
