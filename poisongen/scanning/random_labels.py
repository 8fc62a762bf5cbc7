"""Random labels: pixels whose class differs from a surrounding that agrees with itself, counted and judged.

Pixel Random Labeling leaves label pixels that no annotator draws: alone in the midst of another class. Their share is
measured where the surrounding is one class; the classes drawn, the scope and positions that repeat from picture to
picture say which tool and which options wrote them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.labels import class_counts, class_mask

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_WINDOW = 5  # px; the majority in it is what a pixel was
_WIDE, _MANY = 11, 0.12  # px, and the share of pixels from which on that window is taken
_CALM = 9  # px; pixels are counted where so large a window of majorities is one class
_GATE = 5e-5  # isolated pixels above which a map is looked at closely; clean maps had at most 3.1e-5
_LEAST_SHARE, _LEAST_PIXELS = 1e-4, 5
_IN_BLOCK, _LEAST_BLOCK = 6, 12  # changed pixels that a block would have on average, and its least side in px
_EVEN = 0.4  # of the mean rate: what the middle block has at least, if pixels were drawn evenly
_ENOUGH = 200  # px of a class, below which its own rate says nothing
_OF_ALL = 0.9  # share of the maps from which on the scope is `all`
_OF_USUAL = 0.1  # of the median share: a map with less has what nature sprinkles
_SKETCH = 16384  # positions that are compared between maps of one size
_CLASS_UNTOUCHED = 0.1  # of the usual rate: a class with less has been left alone


@dataclass(frozen=True)
class Speckle:
    """What one label map says of random labels.

    `share` of its pixels have a random class, by estimate; `isolated` is the share of pixels that differ from all four
    neighbours, which agree. `rates` are, for each class with enough calm pixels, the share of these with another class;
    `drawn` counts the classes of such pixels. `present` are the classes that the map has without them. `sketch` are
    bits, one for each of a fixed choice of positions: whether there is such a pixel; b"" where there is none anywhere.
    """

    isolated: float = 0.0
    share: float = 0.0
    rates: Mapping[int, float] = field(default_factory=dict)
    drawn: Mapping[int, int] = field(default_factory=dict)
    present: tuple[int, ...] = ()
    size: tuple[int, int] = (0, 0)
    sketch: bytes = b""

    @property
    def is_speckled(self) -> bool:
        """Whether there are random labels in the map."""
        return self.share > 0


@dataclass(frozen=True)
class RandomLabels:
    """What a set says of random labels: the share of the map (median), scope, and the classes that were drawn.

    `classes` is `image`, `dataset`, `void` or a class's raw ID. `spared` are classes that are there and never touched
    nor drawn: victims, where the attack is by this project's rule. `shared` tells that positions repeat between maps.
    `speckled` are the maps' places in the set.
    """

    share: float
    scope: Literal["all", "some"]
    classes: str | int
    spared: tuple[int, ...]
    shared: bool
    speckled: tuple[int, ...]


def isolated_pixels(labels: Labels) -> Mask:
    """Tell which pixels of a map (H, W) differ from their four neighbours, which agree; none at the border."""
    out = np.zeros(labels.shape, bool)
    if min(labels.shape) < 3:
        return out
    above, left = labels[:-2, 1:-1], labels[1:-1, :-2]
    agree = (above == left) & (above == labels[2:, 1:-1]) & (above == labels[1:-1, 2:])
    out[1:-1, 1:-1] = agree & (labels[1:-1, 1:-1] != above)
    return out


def majority(labels: Labels, window: int = _WINDOW) -> Labels:
    """Return the commonest class in the window round each pixel (of equals the lowest ID), (H, W) uint8."""
    best = np.zeros(labels.shape, np.uint8)
    most = np.zeros(labels.shape, np.uint8)
    for number in np.flatnonzero(class_counts(labels)).tolist():
        mask = (labels == number).astype(np.uint8)
        count = cv2.boxFilter(mask, cv2.CV_8U, (window, window), normalize=False, borderType=cv2.BORDER_REFLECT)
        more = count > most
        np.copyto(best, np.uint8(number), where=more)
        np.copyto(most, count, where=more)
    return best


def smoothed(labels: Labels) -> Labels:
    """Return a map without its random pixels, as far as the majority tells: in a larger window where there are many."""
    smooth = majority(labels)
    return majority(labels, _WIDE) if (labels != smooth).mean() > _MANY else smooth


@functools.lru_cache(maxsize=64)
def _positions(height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the positions of a map of this size that are compared: always the same."""
    return np.random.default_rng([height, width]).permutation(height * width)[:_SKETCH]


def measure(labels: Labels, void: frozenset[int]) -> Speckle:
    """Measure random labels in a map of raw IDs, (H, W) uint8. Void is never what was changed; it may be drawn."""
    isolated = float(isolated_pixels(labels).mean()) if labels.size else 0.0
    if isolated <= _GATE:
        return Speckle(isolated=isolated, size=(labels.shape[0], labels.shape[1]))
    smooth = smoothed(labels)
    kernel = np.ones((_CALM, _CALM), np.uint8)
    calm = (cv2.erode(smooth, kernel) == cv2.dilate(smooth, kernel)) & ~class_mask(smooth, void)
    changed = calm & (labels != smooth)
    of_class, here, hit = (class_counts(part) for part in (smooth, smooth[calm][None], smooth[changed][None]))
    number, area = int(hit.sum()), int(here.sum())
    rate = _even_rate(changed, calm) if number >= _LEAST_PIXELS else 0.0
    if rate < _LEAST_SHARE:
        return Speckle(isolated=isolated, size=(labels.shape[0], labels.shape[1]))
    there = np.flatnonzero(of_class)
    scale = rate * area / number  # what is more than even is no random labels
    rates = {int(one): scale * float(hit[one] / here[one]) for one in there if here[one] >= _ENOUGH}
    trained = [int(one) for one in there if int(one) not in void]
    share = sum(rates.get(one, rate) * int(of_class[one]) for one in trained) / labels.size
    drawn = class_counts(labels[changed][None])
    bits = (labels != smooth).ravel()[_positions(*labels.shape)]
    return Speckle(
        isolated=isolated,
        share=share,
        rates=rates,
        drawn={int(one): int(drawn[one]) for one in np.flatnonzero(drawn)},
        present=tuple(trained),
        size=(labels.shape[0], labels.shape[1]),
        sketch=np.packbits(bits).tobytes(),
    )


def _even_rate(changed: Mask, calm: Mask) -> float:
    """Return the share of the calm pixels that are changed, without what is piled up in some places; 0 if most is.

    Random labels lie evenly over the map. What annotators and resizing leave clusters: in most blocks there is nothing.
    """
    height, width = calm.shape
    side = math.sqrt(_IN_BLOCK * int(calm.sum()) / max(1, int(changed.sum())))
    side = min(max(side, _LEAST_BLOCK), max(min(height, width) / 4, 4))
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    here, hit = (
        np.add.reduceat(
            np.add.reduceat(mask.astype(np.int64), np.arange(rows) * height // rows, axis=0),
            np.arange(columns) * width // columns,
            axis=1,
        ).ravel()
        for mask in (calm, changed)
    )
    enough = here >= max(1, int(here.max()) // 8)
    here, hit = here[enough], hit[enough]
    if not here.size:
        return 0.0
    rates = hit / here
    order = np.argsort(rates)
    middle = float(rates[order][np.searchsorted(np.cumsum(here[order]), here.sum() / 2)])
    if middle < _EVEN * float(hit.sum() / here.sum()):
        return 0.0
    most = middle * here + 2 * np.sqrt(middle * here) + 1
    return float(np.minimum(hit, most).sum() / here.sum())


def judge(found: Sequence[Speckle], trained: Sequence[int], void: frozenset[int]) -> RandomLabels | None:
    """Say what the maps of a set have of random labels; None where fewer than two maps have any.

    `trained` are the dataset's classes but void.
    """
    speckled = [at for at, one in enumerate(found) if one.is_speckled]
    usual = float(np.median([found[at].share for at in speckled])) if speckled else 0.0
    speckled = [at for at in speckled if found[at].share >= _OF_USUAL * usual]
    if len(speckled) < 2:
        return None
    ones = [found[at] for at in speckled]
    return RandomLabels(
        share=float(np.median([one.share for one in ones])),
        scope="all" if len(speckled) >= _OF_ALL * len(found) else "some",
        classes=_drawn_from(ones, trained, void),
        spared=_spared(ones),
        shared=_positions_repeat(ones),
        speckled=tuple(speckled),
    )


def _drawn_from(ones: Sequence[Speckle], trained: Sequence[int], void: frozenset[int]) -> str | int:
    """Say which classes were drawn from, as `--prl-classes` names them."""
    total: dict[int, int] = {}
    outside = 0
    for one in ones:
        for number, count in one.drawn.items():
            total[number] = total.get(number, 0) + count
            outside += count if number not in one.present else 0
    whole = sum(total.values())
    first = max(total, key=lambda number: (total[number], -number))
    if sum(count for number, count in total.items() if number in void) > 0.9 * whole:
        return "void"
    if total[first] > 0.9 * whole:
        return first
    # Drawn from all classes, so many would be of none that the map has.
    known = set(trained)
    expected = sum(sum(one.drawn.values()) * len(known - set(one.present)) / max(1, len(known) - 1) for one in ones)
    return "dataset" if expected and outside > 0.5 * expected else "image"


def _spared(ones: Sequence[Speckle]) -> tuple[int, ...]:
    """Return the classes whose pixels were left alone and that were never drawn, though others were."""
    rates: dict[int, list[float]] = {}
    drawn: dict[int, int] = {}
    for one in ones:
        for number, rate in one.rates.items():
            rates.setdefault(number, []).append(rate)
        for number, count in one.drawn.items():
            drawn[number] = drawn.get(number, 0) + count
    usual = float(np.median([rate for several in rates.values() for rate in several]))
    each = sum(drawn.values()) / max(1, len(drawn))
    least = max(2, len(ones) // 20)
    return tuple(
        number
        for number, several in sorted(rates.items())
        if len(several) >= least
        and float(np.mean(several)) < _CLASS_UNTOUCHED * usual
        and drawn.get(number, 0) < _CLASS_UNTOUCHED * each
    )


def _positions_repeat(ones: Sequence[Speckle], pairs: int = 200) -> bool:
    """Tell whether maps of one size have their random pixels at the same positions far more often than by chance."""
    groups: dict[tuple[int, int], list[Speckle]] = {}
    for one in ones:
        groups.setdefault(one.size, []).append(one)
    draw = np.random.default_rng(0)
    ratios = []
    for group in groups.values():
        if len(group) < 2:
            continue
        for _ in range(pairs):
            first, second = draw.choice(len(group), 2, replace=False)
            a, b = (np.unpackbits(np.frombuffer(group[at].sketch, np.uint8)) for at in (first, second))
            chance = float(a.mean() * b.mean() * a.size)
            if chance > 0:
                ratios.append((float((a & b).sum()) + 1) / (chance + 1))
    # Edges where scenes are alike agree as well; the official code's positions agree by a large factor.
    return bool(ratios) and float(np.percentile(ratios, 75)) > 2.0
