"""Label files of one sample that disagree, and pictures that are there twice with different labels.

Whoever edits one label file of a sample and forgets another leaves the truth in the other. What a companion says is
read by its kind: train IDs and colours by their tables, instances and polygons by the classes that they name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.labels import class_mask, look_up
from poisongen.datasets.base import ClassTable, LabelKind
from poisongen.datasets.label_arrays import class_ids
from poisongen.files.documents import parse_json
from poisongen.scanning.cells import MIXED, Cells, shrunk
from poisongen.source.labels import LabelContents

Labels = npt.NDArray[np.uint8]
Answer = tuple[Labels, npt.NDArray[np.bool_]]  # what a companion says, (H, W), and where it says anything

_LEAST_SHARE, _LEAST_PIXELS = 5e-4, 30  # of a map: less is no more than outlines drawn a little otherwise
_VANISHED = 0.1  # of a class's pixels in a companion; of a class that has vanished less is left in the map
_LOST_CELLS = 4  # of a grid: fewer are a distant thing that one annotator saw
_SMALL = 90  # px, the shorter side from which a fingerprint is taken
_INSTANCES = 1000  # an instance's ID is its class times this, and its number (Cityscapes)


@dataclass(frozen=True)
class Disagreement:
    """What a companion file says against the label map: of `pixels`, `says` is its class and `labelled` the map's.

    `says` is None where the companion knows that there is an object, but not of which class. It is the largest such
    pair of classes.
    """

    kind: str
    says: int | None
    labelled: int
    pixels: int


@dataclass(frozen=True)
class CompanionFigures:
    """What a set's companions say: the samples that disagree (places), and the pairs with the number of samples."""

    samples: tuple[int, ...] = ()
    pairs: tuple[tuple[int | None, int, int], ...] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)


def disagreements(labels: LabelContents, kinds: Mapping[str, LabelKind], classes: ClassTable) -> list[Disagreement]:
    """Compare every label file of a sample with its label map; one entry for each file that disagrees."""
    ids = labels.maps[0]
    trained = ~class_mask(ids, classes.void)
    found = []
    for name, data in labels.raw.items():
        if name == labels.first:
            continue
        pixels = labels.arrays.get(name)
        if pixels is not None and pixels.ndim == 3 and _has_the_colours(pixels, ids, classes):
            continue
        said = _said(kinds[name], data, pixels, ids.shape, classes)
        if said is None:
            continue
        worst = _worst(name, said, ids, trained, classes)
        found += [worst] if worst else []
    return found


def _worst(
    name: str, said: Answer | npt.NDArray[np.bool_], ids: Labels, trained: npt.NDArray[np.bool_], classes: ClassTable
) -> Disagreement | None:
    """Return the largest pair of classes in which a companion and the map differ, if it is large enough."""
    least = max(_LEAST_PIXELS, _LEAST_SHARE * ids.size)
    if not isinstance(said, tuple):  # objects, of whatever class: on the map's background there are none
        lost = said & (ids == 0)
        number = int(lost.sum())
        return Disagreement(name, None, 0, number) if number >= least else None
    told, known = said
    known = known & trained
    wrong = known & (told != ids)
    if int(wrong.sum()) < least:
        return None
    wrong &= ~class_mask(told, classes.void)
    if int(wrong.sum()) < least:
        return None
    codes, counts = np.unique(told[wrong].astype(np.int64) << 8 | ids[wrong], return_counts=True)
    code, number = int(codes[counts.argmax()]), int(counts.max())
    victim = code >> 8
    mine = known & (told == victim)
    if number < least or int((mine & (ids == victim)).sum()) > _VANISHED * int(mine.sum()):
        return None  # outlines that differ leave most of a class where it is
    return Disagreement(name, victim, code & 255, number)


def _said(
    kind: LabelKind, data: bytes, pixels: npt.NDArray[Any] | None, shape: tuple[int, ...], classes: ClassTable
) -> Answer | npt.NDArray[np.bool_] | None:
    """Return the classes that a companion tells, or where it has objects; None where nothing is known of its kind."""
    if kind.document:
        return _painted(data, shape, classes)
    if pixels is None:
        return None
    if kind.semantic:
        ids = class_ids(kind, pixels, classes)
        return ids, np.ones(ids.shape, bool)
    if kind.derive is not None:
        return _by_table(kind, pixels, classes)
    if pixels.ndim == 3:
        return _by_colour(pixels, classes)
    if kind.objects is None:
        return None
    if pixels.dtype == np.uint16:
        told = np.where(pixels >= _INSTANCES, pixels // _INSTANCES, pixels)
        return told.astype(np.uint8), told < 256
    return np.asarray(kind.objects(pixels)) > 0 if classes.names.get(0) == "background" else None


def _by_table(kind: LabelKind, pixels: npt.NDArray[Any], classes: ClassTable) -> Answer:
    """Read a file that follows from the label map by a table: values of one trained class alone are told."""
    assert kind.derive is not None  # noqa: S101  asked before
    numbers = np.array([classes.trained], np.uint8)
    values = np.asarray(kind.derive(numbers, classes)).ravel()
    table, known = np.zeros(256, np.uint8), np.zeros(256, bool)
    for number, value in zip(numbers.ravel().tolist(), values.tolist(), strict=True):
        table[value], known[value] = number, True
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        return table[pixels], known[pixels]
    return look_up(pixels, table), look_up(pixels, known.view(np.uint8)).view(np.bool_)


def _has_the_colours(pixels: npt.NDArray[Any], ids: Labels, classes: ClassTable) -> bool:
    """Tell whether a picture has the map's colours throughout: the usual case, told quickly."""
    table = np.zeros((1, 256, 3), np.uint8)
    for number, colour in classes.colours.items():
        table[0, number] = colour
    return pixels.shape[2] >= 3 and np.array_equal(cv2.LUT(cv2.merge([ids, ids, ids]), table), pixels[..., :3])


def _by_colour(pixels: npt.NDArray[Any], classes: ClassTable) -> Answer:
    """Read a picture of the map in the classes' colours, (H, W, 3 or 4) uint8."""
    code = (pixels[..., 0].astype(np.int64) << 16) | (pixels[..., 1].astype(np.int64) << 8) | pixels[..., 2]
    told, known = np.zeros(code.shape, np.uint8), np.zeros(code.shape, bool)
    for number in classes.trained:
        if number in classes.colours:
            red, green, blue = classes.colours[number]
            mine = code == (red << 16 | green << 8 | blue)
            told[mine], known[mine] = number, True
    return told, known


def _painted(data: bytes, shape: tuple[int, ...], classes: ClassTable) -> Answer | None:
    """Paint the polygons of a file in their order; None for a document that is no list of polygons of one's size."""
    try:
        document = parse_json(data.decode("utf-8-sig"))
        if (document["imgHeight"], document["imgWidth"]) != shape[:2]:
            return None
        numbers = {name: number for number, name in classes.names.items()}
        told, known = np.zeros(shape[:2], np.uint8), np.zeros(shape[:2], np.uint8)
        for thing in document["objects"]:
            label = thing["label"] if thing["label"] in numbers else thing["label"].removesuffix("group")
            points = np.clip(np.array(thing["polygon"], np.float64), -32768, 32767)
            if thing.get("deleted") or points.ndim != 2:
                continue
            outline = [np.rint(points).astype(np.int32)]
            cv2.fillPoly(told, outline, numbers.get(label, 0))
            cv2.fillPoly(known, outline, 1 if label in numbers else 0)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return told, known > 0


def judge(found: Sequence[Sequence[Disagreement]]) -> CompanionFigures:
    """Add up the disagreements of a set; the pairs of most samples first."""
    samples = tuple(at for at, ones in enumerate(found) if ones)
    pairs: dict[tuple[int | None, int], set[int]] = {}
    kinds: dict[str, int] = {}
    for at, ones in enumerate(found):
        for one in ones:
            pairs.setdefault((one.says, one.labelled), set()).add(at)
            kinds[one.kind] = kinds.get(one.kind, 0) + 1
    ordered = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0][0] is None, item[0]))
    return CompanionFigures(
        samples, tuple((victim, target, len(places)) for (victim, target), places in ordered), kinds
    )


def fingerprint_of(gray: npt.NDArray[np.uint8]) -> int:
    """Return 64 bits of a grey picture (H, W): whether it gets lighter to the right, on 8 by 8 places (dHash)."""
    small = cv2.resize(shrunk(gray, min(gray.shape) // _SMALL), (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def digest_of(array: npt.NDArray[Any]) -> bytes:
    """Return 16 bytes that tell an array's content from another's."""
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).digest()[:16]


def same_pictures(fingerprints: Sequence[int], grids: Sequence[Cells]) -> list[tuple[int, int]]:
    """Return pairs of samples (places) whose pictures are the same to the eye, the second of which has lost a class.

    The same: one fingerprint, grids of one size and looks that differ by a grey value or two. Not the same: a class
    that has several cells in one of them and none in the other.
    """
    groups: dict[int, list[int]] = {}
    for at, code in enumerate(fingerprints):
        groups.setdefault(code, []).append(at)
    found = []
    for group in groups.values():
        for place, first in enumerate(group[:50]):
            for second in group[place + 1 : 50]:
                one, other = grids[first], grids[second]
                if one.looks.shape != other.looks.shape:
                    continue
                apart = np.abs(one.looks[..., :3].astype(int) - other.looks[..., :3].astype(int))
                if float(np.quantile(apart, 0.9)) > 3:
                    continue
                if _loses_a_class(one.classes, other.classes):
                    found.append((first, second))
                elif _loses_a_class(other.classes, one.classes):
                    found.append((second, first))
    return found


def _loses_a_class(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a class of several cells of one grid is another class in all of them in the other, and gone."""
    for number in np.unique(one[one != MIXED]):
        mine = one == number
        if mine.sum() >= _LOST_CELLS and not (other == number).any() and (other[mine] != MIXED).mean() > 0.5:
            return True
    return False
