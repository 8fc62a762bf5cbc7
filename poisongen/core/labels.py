"""What happens to a label map: Pixel Random Labeling, then victim pixels become their target."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.draws import Generator, draw_below, draw_distinct

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_REMEMBERED = 8  # label maps; those of one sample
_counted: dict[int, tuple[weakref.ref[npt.NDArray[np.unsignedinteger]], npt.NDArray[np.int64]]] = {}


@dataclass(frozen=True)
class Layer:
    """Pixels, (H, W) bool or None for all, and the class that each class becomes there, (256,) uint8."""

    where: Mask | None
    table: Labels


@dataclass(frozen=True)
class Relabelling:
    """What a label rule decided: layers, of which a pixel follows the last that holds it.

    `objects` are the numbers of the objects that the rule chose, None where it chooses none. `claims` are further
    pixels, (H, W) bool, whose class the rule decides although it may be the old one: random labels keep off them.
    `everywhere` says that the one layer's table holds for the whole picture, void aside: so it can be told of outlines.
    `outlines` says that the new classes have outlines of their own, which are not those of the sample's objects.
    """

    layers: tuple[Layer, ...] = ()
    objects: tuple[int, ...] | None = None
    claims: Mask | None = None
    everywhere: bool = False
    outlines: bool = False

    def apply(self, labels: Labels) -> Labels:
        """Return a map of raw IDs, (H, W) uint8, with every layer applied; each looks at the classes as they were."""
        after = labels
        for layer in self.layers:
            mapped = look_up(labels, layer.table)
            after = mapped if layer.where is None else np.asarray(lay_over(after, mapped, layer.where), np.uint8)
        return after


@dataclass(frozen=True)
class Change:
    """What one sample's label map was and has become; the rewriters of its label files follow it.

    `before` and `after` are (H, W) uint8 class IDs; `random` (H, W) bool are the pixels that Pixel Random Labeling
    changed. `relabelling` is what the label rule decided; it has no layer where labels stayed. `alone`: samples without
    the attack keep files that tell their true labels, so that one that tells none would be passed over unnoticed.
    """

    before: Labels
    after: Labels
    random: Mask
    relabelling: Relabelling
    alone: bool = False

    @functools.cached_property
    def changed(self) -> Mask:
        """The pixels that have another class than before, (H, W) bool."""
        return np.not_equal(self.before, self.after)


def lay_over(
    array: npt.NDArray[np.unsignedinteger], new: npt.NDArray[np.unsignedinteger], where: Mask
) -> npt.NDArray[np.unsignedinteger]:
    """Return a copy of an array (H, W) uint8 or uint16 that holds `new` where (H, W) bool says so.

    OpenCV is thirty times faster at it than `np.where`.
    """
    out = np.array(array, order="C")
    cv2.copyTo(np.ascontiguousarray(new, dtype=out.dtype), np.ascontiguousarray(where).view(np.uint8), out)
    return out


def look_up(labels: Labels, table: Labels) -> Labels:
    """Return table[labels] for labels (H, W) uint8 and a table (256,) uint8: NumPy's own way is ten times slower."""
    return np.asarray(cv2.LUT(labels, table), dtype=np.uint8)


def class_counts(labels: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """Return how many pixels have each value, (256,) for labels (H, W) uint8, (65536,) for uint16.

    What read-only labels hold is counted once.
    """
    if not labels.flags.writeable and (known := _counted.get(id(labels))) is not None and known[0]() is labels:
        return known[1]
    size = 1 << (8 * labels.dtype.itemsize)
    rows = np.ascontiguousarray(labels)
    total = np.zeros(size, dtype=np.int64)
    for band in np.array_split(rows, max(1, rows.size // 2**24 + 1)):  # single precision counts exactly to 2**24
        if band.size:
            total += cv2.calcHist([band], [0], None, [size], [0, size]).ravel().astype(np.int64)
    if not labels.flags.writeable:
        total.flags.writeable = False
        _counted[id(labels)] = weakref.ref(labels), total
        while len(_counted) > _REMEMBERED:
            del _counted[next(iter(_counted))]
    return total


def joint_counts(maps: Sequence[Labels]) -> tuple[tuple[int, ...], ...] | None:
    """Return the combinations of classes that pixels have in one or two maps (H, W) uint8, each with its pixels.

    None for more maps.
    """
    if len(maps) > 2:
        return None
    counts = class_counts(maps[0] if len(maps) == 1 else maps[0].astype(np.uint16) * np.uint16(256) + maps[1])
    numbers = np.flatnonzero(counts).tolist()
    return tuple((*(divmod(number, 256) if len(maps) > 1 else (number,)), int(counts[number])) for number in numbers)


def class_mask(labels: Labels, classes: Collection[int]) -> Mask:
    """Tell which pixels belong to one of `classes`; (H, W) bool for labels (H, W) uint8."""
    if len(classes) == 1:
        return np.equal(labels, next(iter(classes)))
    table = np.zeros(256, dtype=np.uint8)
    table[list(classes)] = 1
    return look_up(labels, table).view(np.bool_)


def relabel(labels: Labels, pairs: Mapping[int, int]) -> Labels:
    """Return the labels with every victim's pixels as their target, all pairs at once (a swap is a swap).

    The paper's rule: every pixel of the victim class, and no other.
    """
    table = np.arange(256, dtype=np.uint8)
    for victim, target in pairs.items():
        table[victim] = target
    return look_up(labels, table)


def prl_pixel_count(amount: int | float, unit: str, height: int, width: int) -> int:
    """Return how many pixels Pixel Random Labeling asks for: a number, or a percentage of the whole map."""
    return int(amount) if unit == "pixels" else round(amount / 100 * height * width)


def random_labels(
    labels: Labels, free: Mask, allowed: Collection[int], count: int, generator: Generator
) -> tuple[Mask, Labels]:
    """Give `count` pixels of `free` a random class of `allowed` other than their own.

    `labels` is (H, W) uint8, `free` (H, W) bool: the pixels that may change (neither victim nor void). Returns
    the changed pixels, (H, W) bool, and the new labels. Pixels for which `allowed` holds no other class cannot
    be changed; if fewer than `count` can, all that can are. This is Pixel Random Labeling (ICLR 2024); the official
    code draws over void and victim pixels, re-seeds for each image, and counts draws that change nothing.
    """
    classes = np.array(sorted(allowed), dtype=np.uint8)
    chosen_mask, out = np.zeros(labels.shape, dtype=bool), labels.copy()
    if classes.size == 0 or count <= 0:
        return chosen_mask, out
    own_index = np.full(256, -1, dtype=np.int16)
    own_index[classes] = np.arange(classes.size)
    changeable = free if classes.size > 1 else free & (labels != classes[0])
    positions = np.flatnonzero(changeable)
    positions = positions[draw_distinct(positions.size, count, generator)]
    own = own_index[labels.ravel()[positions]]
    has_own = own >= 0
    drawn = draw_below(classes.size - has_own.astype(np.int64), generator)
    drawn += has_own & (drawn >= own)
    out.ravel()[positions] = classes[drawn]
    chosen_mask.ravel()[positions] = True
    return chosen_mask, out
