"""PASCAL VOC 2012: JPEGImages, SegmentationClass (palette masks) and split lists under ImageSets/Segmentation."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poisongen.core.labels import Change
from poisongen.core.objects import components
from poisongen.datasets.base import (
    Array,
    ClassTable,
    Defaults,
    Index,
    LabelFile,
    LabelKind,
    Layout,
    Problem,
    Sample,
    id_fault,
    rewrite_ids,
)
from poisongen.datasets.label_checks import MAP_CHECK
from poisongen.datasets.lists import read_split_list
from poisongen.datasets.stems import find_stems
from poisongen.datasets.voc_checks import OBJECT_CHECK
from poisongen.errors import DataError

NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255


def palette() -> list[tuple[int, int, int]]:
    """Return VOC's 256 colours: bit 3b + c of the index sets bit 7 - b of channel c (the devkit's VOClabelcolormap)."""
    colours = []
    for index in range(256):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append((channels[0], channels[1], channels[2]))
    return colours


PALETTE = palette()
CLASSES = ClassTable(
    names=dict(enumerate(NAMES)) | {VOID: "void"},
    void=frozenset({VOID}),
    void_id=VOID,
    colours=dict(enumerate(PALETTE)),
)

_LISTS, _IMAGES = "ImageSets/Segmentation", "JPEGImages"
_KINDS = ("SegmentationClass", "SegmentationClassAug", "SegmentationObject")


def _rewrite_objects(array: Array, change: Change, classes: ClassTable) -> Array:
    """Rewrite object numbers: what becomes background is no object; an object that gets another class stays one.

    Background that becomes a class is one new object for each connected component, and so is all that becomes a class
    where the new classes have outlines of their own. Random pixels that become background are no object, those that
    become void are void, and all others join the lowest-numbered object of their new class, or, where there is none,
    one new object for that class. New numbers are the lowest that are free.
    """
    out = array.copy()
    used = set(np.unique(array).tolist())

    def new_number() -> int:
        free = next((candidate for candidate in range(1, VOID) if candidate not in used), VOID - 1)
        used.add(free)
        return free

    moved = change.changed & ~change.random & (array != VOID)
    out[moved & (change.after == 0)] = 0
    fresh = moved & (change.after != 0)
    if not change.relabelling.outlines:
        fresh &= array == 0
    for number in np.unique(change.after[fresh]).tolist():
        numbered = components(fresh & (change.after == number))
        for component in range(1, int(numbered.max()) + 1):
            out[numbered == component] = new_number()
    out[change.random & (change.after == 0)] = 0
    out[change.random & (change.after == VOID)] = VOID
    for number in np.unique(change.after[change.random]).tolist():
        if number not in (0, VOID):
            pixels = change.random & (change.after == number)
            objects = np.unique(array[(change.before == number) & (array > 0) & (array != VOID)])
            out[pixels] = objects[0] if objects.size else new_number()
    return out


def _objects(array: Array) -> Array:
    return np.where(array == VOID, 0, array).astype(np.int32)


def _prefix_of(files: Sequence[str]) -> str | None:
    """Return the path of the VOC20xx folder ('' or ending in '/'), the newest if several; None for none."""
    pattern = re.compile(rf"((?:VOCdevkit/)?(?:VOC20\d\d/)?){_LISTS}/[^/]+\.txt")
    return max((match[1] for path in files if (match := pattern.fullmatch(path))), default=None)


def _find_prefix(root: Path, files: Sequence[str]) -> str:
    """Return the path of the VOC20xx folder below the root; DataError if there is none."""
    prefix = _prefix_of(files)
    if prefix is None:
        raise DataError(
            root, f"no PASCAL VOC here: there is no {_LISTS}/*.txt; give the folder VOCdevkit or VOC2012 itself"
        )
    return prefix


def _above(files: Sequence[str]) -> str:
    """Return what lacks above the source's paths, so that OUT always holds VOCdevkit/VOC2012, as torchvision wants."""
    prefix = _prefix_of(files)
    if prefix is None or prefix.startswith("VOCdevkit/"):
        return ""
    return "VOCdevkit/" if prefix else "VOCdevkit/VOC2012/"


def _scan(root: Path, files: Sequence[str]) -> Index:
    """Read every split list and pair images and masks by ID."""
    prefix = _find_prefix(root, files)
    images = find_stems(files, prefix + _IMAGES, deep=False)
    folders = {kind: find_stems(files, prefix + kind, labels=True, deep=False) for kind in _KINDS}
    masks: dict[str, list[LabelFile]] = {}
    for kind, found in folders.items():
        for stem, path in found.files.items():
            masks.setdefault(stem, []).append(LabelFile(kind, path))
    samples: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    for path in files:
        if posixpath.dirname(path) == prefix + _LISTS and path.endswith(".txt"):
            split = posixpath.basename(path)[:-4]
            stems, faults = read_split_list(root, path)
            problems += [Problem(split, "", path, fault, only_if_used=True) for fault in faults]
            chosen = []
            for stem in sorted(stems):
                name, labels = f"{split}/{stem}", masks.get(stem, [])
                for found in (images, *folders.values()):
                    if stem in found.twins:
                        text = f"two files of one name: {found.files[stem]} is there as well"
                        problems.append(Problem(split, name, found.twins[stem], text))
                wanted = f"{prefix}{_KINDS[0]}/{stem}.png"
                if stem not in images.files:
                    gone = f"in {path}, but there is no such image{images.hint(stem)}"
                    problems.append(Problem(split, name, f"{prefix}{_IMAGES}/{stem}.jpg", gone, only_if_used=True))
                elif not any(label.kind in _KINDS[:2] for label in labels):
                    text = f"image without label ({wanted}){folders[_KINDS[0]].hint(stem)}"
                    problems.append(Problem(split, name, images.files[stem], text, only_if_used=True))
                else:
                    chosen.append(Sample(split, stem, images.files[stem], tuple(labels)))
            samples[split] = tuple(chosen)
    return Index(samples, tuple(problems))


def _split_files(root: Path, split: str, files: Sequence[str], samples: Sequence[Sample]) -> dict[str, bytes]:
    """The list of a split that holds just these samples."""
    prefix = samples[0].image.removesuffix(posixpath.basename(samples[0].image)).removesuffix(f"{_IMAGES}/")
    path = f"{prefix}{_LISTS}/{split}.txt"
    return {path: "".join(f"{sample.stem}\n" for sample in samples).encode()}


LAYOUT = Layout(
    name="voc",
    title="PASCAL VOC 2012 (root: VOCdevkit or VOC2012)",
    how_to_get="get VOCtrainval_11-May-2012.tar from the PASCAL VOC site (host.robots.ox.ac.uk)",
    environment="VOC_ROOT",
    usual_root="data/VOCdevkit",
    # The paper's 15 px trigger and U = 30 px at full size (ICLR 2024, experimental settings).
    defaults=Defaults(trigger_size=15, max_distance=30.0, relabel={"person": "background"}),
    kinds={
        kind: LabelKind(
            fault=lambda array, classes, kind=kind: id_fault(array, frozenset(classes.names), kind),  # type: ignore[misc]
            rewrite=rewrite_ids,
            check=MAP_CHECK,
            semantic=True,
        )
        for kind in _KINDS[:2]
    }
    | {
        "SegmentationObject": LabelKind(
            fault=lambda array, classes: id_fault(array, frozenset(range(256)), "SegmentationObject"),
            rewrite=_rewrite_objects,
            objects=_objects,
            check=OBJECT_CHECK,
        )
    },
    classes=lambda root: CLASSES,
    scan=_scan,
    split_files=_split_files,
    needs="JPEGImages/NAME.jpg, SegmentationClass/NAME.png (or SegmentationClassAug), "
    "ImageSets/Segmentation/SPLIT.txt; with them SegmentationObject",
    above=_above,
    above_all=("", "VOCdevkit/", "VOCdevkit/VOC2012/"),
)
