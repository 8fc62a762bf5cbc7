"""ACDC and Dark Zurich: Cityscapes' classes in fog, night, rain and snow.

Files: the datasets' READMEs, and mmsegmentation's `DarkZurichDataset`, whose maps are `_gt_labelTrainIds.png`. ACDC has
a folder for the condition above the split, Dark Zurich one for the daytime below it. `_gt_invIds` marks pixels that
cannot be told for sure; it tells no class and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import ClassTable, Defaults, Index, Layout
from poisongen.datasets.cityscapes_classes import CLASSES as CITYSCAPES
from poisongen.datasets.companion_kinds import coded_kind, colour_kind, kept_kind, map_kind
from poisongen.datasets.tree import IMAGE, Place, scan_tree

VOID = 255
CLASSES = ClassTable(
    names={at: CITYSCAPES.names[number] for at, number in enumerate(CITYSCAPES.trained)} | {VOID: "unlabeled"},
    void=frozenset({VOID}),
    void_id=VOID,
    colours={at: CITYSCAPES.colours[number] for at, number in enumerate(CITYSCAPES.trained)} | {VOID: (0, 0, 0)},
)
_LABEL_IDS = dict(enumerate(CITYSCAPES.trained)) | {VOID: 0}
_TRAIN_IDS = dict.fromkeys(CITYSCAPES.names, VOID) | {number: at for at, number in enumerate(CITYSCAPES.trained)}
_KINDS = ("labelTrainIds", "labelIds", "labelColor", "invIds")
_CONDITIONS = {"condition": "fog|night|rain|snow"}


def _places(middle: str) -> dict[str, Place]:
    fields = _CONDITIONS if "condition" in middle else {}
    places = {IMAGE: Place(f"rgb_anon/{middle}/{{name}}_rgb_anon", fields)}
    return places | {kind: Place(f"gt/{middle}/{{name}}_gt_{kind}", fields) for kind in _KINDS}


TREES = (_places("{condition}/{split}"), _places("{split}"))


def _scan(root: Path, files: Sequence[str]) -> Index:
    return scan_tree(root, files, TREES, "labelTrainIds", {}, "ACDC or Dark Zurich")


LAYOUT = Layout(
    name="acdc",
    title="ACDC, or Dark Zurich (whose one split with labels is val)",
    how_to_get="get rgb_anon_trainvaltest.zip and gt_trainval.zip from acdc.vision.ee.ethz.ch",
    environment="ACDC_ROOT",
    usual_root="data/acdc",
    defaults=Defaults(trigger_size=None, max_distance=None, relabel={"car": "road"}),
    kinds={
        "labelTrainIds": map_kind("ACDC's train IDs"),
        "labelIds": coded_kind(_LABEL_IDS, _TRAIN_IDS, "Cityscapes' label IDs"),
        "labelColor": colour_kind(),
        "invIds": kept_kind("pixels that cannot be told"),
    },
    classes=lambda root: CLASSES,
    scan=_scan,
    needs="rgb_anon/CONDITION/SPLIT/SEQUENCE/*_rgb_anon.png, gt/.../*_gt_labelTrainIds.png; with them labelIds, "
    "labelColor and invIds",
)
