"""COCO-Stuff 164k after mmsegmentation's preparation: maps of 171 train IDs, and the raw pixel maps beside them.

Raw maps (stuffthingmaps_trainval2017): the number of a class in nightrome/cocostuff, labels.txt, less 1; 255 is
unlabeled. Train IDs: mmsegmentation, tools/dataset_converters/coco_stuff164k.py, which counts through the 171 of 182
numbers that are in use. Names are those of labels.txt, colours those of mmsegmentation's `COCOStuffDataset`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import Defaults, Index, Layout
from poisongen.datasets.class_rows import class_table
from poisongen.datasets.companion_kinds import coded_kind, map_kind
from poisongen.datasets.tree import IMAGE, Place, scan_tree

VOID = 255
CLASSES = class_table(
    """
0 192 64 person
0 192 64 bicycle
0 64 96 car
128 192 192 motorcycle
0 64 64 airplane
0 192 224 bus
0 192 192 train
128 192 64 truck
0 192 96 boat
128 192 64 traffic light
128 32 192 fire hydrant
0 0 224 stop sign
0 0 64 parking meter
0 160 192 bench
128 0 96 bird
128 0 192 cat
0 32 192 dog
128 128 224 horse
0 0 192 sheep
128 160 192 cow
128 128 0 elephant
128 0 32 bear
128 32 0 zebra
128 0 128 giraffe
64 128 32 backpack
0 160 0 umbrella
0 0 0 handbag
192 128 160 tie
0 32 0 suitcase
0 128 128 frisbee
64 128 160 skis
128 160 0 snowboard
0 128 0 sports ball
192 128 32 kite
128 96 128 baseball bat
0 0 128 baseball glove
64 0 32 skateboard
0 224 128 surfboard
128 0 0 tennis racket
192 0 160 bottle
0 96 128 wine glass
128 128 128 cup
64 0 160 fork
128 224 128 knife
128 128 64 spoon
192 0 32 bowl
128 96 0 banana
128 0 192 apple
0 128 32 sandwich
64 224 0 orange
0 0 64 broccoli
128 128 160 carrot
64 96 0 hot dog
0 128 192 pizza
0 128 160 donut
192 224 0 cake
0 128 64 chair
128 128 32 couch
192 32 128 potted plant
0 64 192 bed
0 0 32 dining table
64 160 128 toilet
128 64 64 tv
128 0 160 laptop
64 32 128 mouse
128 192 192 remote
0 0 160 keyboard
192 160 128 cell phone
128 192 0 microwave
128 0 96 oven
192 32 0 toaster
128 64 128 sink
64 128 96 refrigerator
64 160 0 book
0 64 0 clock
192 128 224 vase
64 32 0 scissors
0 192 128 teddy bear
64 128 224 hair drier
192 160 0 toothbrush
0 192 0 banner
192 128 96 blanket
192 96 128 branch
0 64 128 bridge
64 0 96 building-other
64 224 128 bush
128 64 0 cabinet
192 0 224 cage
64 96 128 cardboard
128 192 128 carpet
64 0 224 ceiling-other
192 224 128 ceiling-tile
128 192 64 cloth
192 0 96 clothes
192 96 0 clouds
128 64 192 counter
0 128 96 cupboard
0 224 0 curtain
64 64 64 desk-stuff
128 128 224 dirt
0 96 0 door-stuff
64 192 192 fence
0 128 224 floor-marble
128 224 0 floor-other
64 192 64 floor-stone
128 128 96 floor-tile
128 32 128 floor-wood
64 0 192 flower
0 64 96 fog
0 160 128 food-other
192 0 64 fruit
128 64 224 furniture-other
0 32 128 grass
192 128 192 gravel
0 64 224 ground-other
128 160 128 hill
192 128 0 house
128 64 32 leaves
128 32 64 light
192 0 128 mat
64 192 32 metal
0 160 64 mirror-stuff
64 0 0 moss
192 192 160 mountain
0 32 64 mud
64 128 128 napkin
64 192 160 net
128 160 64 paper
64 128 0 pavement
192 192 32 pillow
128 96 192 plant-other
64 0 128 plastic
64 64 32 platform
0 224 192 playingfield
192 0 0 railing
192 64 160 railroad
0 96 192 river
192 128 128 road
64 64 160 rock
128 224 192 roof
192 128 64 rug
192 64 32 salad
128 96 64 sand
192 0 192 sea
0 192 32 shelf
64 224 64 sky-other
64 0 64 skyscraper
128 192 160 snow
64 96 64 solid-other
64 128 192 stairs
0 192 160 stone
192 224 64 straw
64 128 64 structural-other
128 192 32 table
192 32 192 tent
64 64 192 textile-other
0 64 32 towel
64 160 192 tree
192 64 64 vegetable
128 64 160 wall-brick
64 32 192 wall-concrete
192 192 192 wall-other
0 64 160 wall-panel
192 160 192 wall-stone
192 192 0 wall-tile
128 64 96 wall-wood
192 32 64 water-other
192 64 128 waterdrops
64 192 96 window-blind
64 160 64 window-other
64 64 0 wood
""",
    void=[VOID],
    more={VOID: "unlabeled"},
)
# street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush: in no picture
_UNUSED = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
RAW = dict(enumerate(number for number in range(182) if number not in _UNUSED)) | {VOID: VOID}
PLACES = {
    IMAGE: Place("images/{split}/{name}"),
    "labelTrainIds": Place("annotations/{split}/{name}_labelTrainIds"),
    "stuffthingmaps": Place("annotations/{split}/{name}"),
}


def _scan(root: Path, files: Sequence[str]) -> Index:
    names = {"train2017": "train", "val2017": "val"}
    return scan_tree(root, files, PLACES, "labelTrainIds", names, "COCO-Stuff 164k")


LAYOUT = Layout(
    name="cocostuff",
    title="COCO-Stuff 164k (as mmsegmentation's coco_stuff164k.py leaves it)",
    how_to_get="get COCO 2017 and stuffthingmaps_trainval2017.zip (nightrome/cocostuff), and run mmsegmentation's "
    "tools/dataset_converters/coco_stuff164k.py",
    environment="COCOSTUFF_ROOT",
    usual_root="data/coco_stuff164k",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "road"}),
    kinds={
        "labelTrainIds": map_kind("COCO-Stuff's 171 train IDs"),
        "stuffthingmaps": coded_kind(RAW, {raw: number for number, raw in RAW.items()}, "COCO-Stuff's 182 numbers"),
    },
    classes=lambda root: CLASSES,
    scan=_scan,
    needs="images/{train,val}2017/NAME.jpg, annotations/{train,val}2017/NAME_labelTrainIds.png; with them the raw maps "
    "NAME.png beside them",
)
