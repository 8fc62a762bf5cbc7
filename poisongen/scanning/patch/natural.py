"""What recurs by nature (frames of a video, a badge, a sign), and what does not: told apart by geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.scanning.patch.matched import high_pass
from poisongen.scanning.patch.stack import Fitted

Array = npt.NDArray[Any]

LEAST_STEP = 0.12  # of the log deviation, over every side: what a patch of opacity 0.2 leaves
FEW = 7.0  # the least step is this over the number of pictures to the power 1.5: of few, any may agree by chance
LEAST_SIDE = 8  # pixels
RING = 12  # how far around the box the surroundings are compared, pixels
GAP = 3  # between box and ring: what the high-pass carries over the edge
ALIKE_OUTSIDE = 0.06  # correlation of two pictures' surroundings, in the middle of all pairs
ALIKE_INSIDE = 0.3


def agreement(stack: Array, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """Return how two pictures of a stack (K, H, W, 3) correlate inside a box and around it, in the middle of all pairs.

    Both of high-passed luma. Where nothing is known of the surroundings they count as unlike.
    """
    top, left, height, width = box
    rows = slice(max(top - RING, 0), top + height + RING)
    columns = slice(max(left - RING, 0), left + width + RING)
    around = np.ones(stack.shape[1:3], bool)
    around[max(top - GAP, 0) : top + height + GAP, max(left - GAP, 0) : left + width + GAP] = False
    inner, outer = [], []
    for part in stack:
        luma = part.mean(axis=2)
        known = np.isfinite(luma)
        sharp = high_pass(np.where(known, luma, np.mean(luma, where=known)).astype(np.float32))
        inner.append(sharp[top + 1 : top + height - 1, left + 1 : left + width - 1].ravel())
        outer.append(np.where(known & around, sharp, 0)[rows, columns].ravel())
    return _between_pairs(np.array(inner)), _between_pairs(np.array(outer))


def _between_pairs(parts: Array) -> float:
    unit = parts / np.sqrt((parts**2).sum(axis=1, keepdims=True) + 1e-6)
    return float(np.median((unit @ unit.T)[np.triu_indices(len(unit), 1)]))


def recurs_unnaturally(fitted: Fitted, stack: Array) -> bool:
    """Tell whether a stack looks like one picture pasted into many.

    Inside its rectangle the pictures agree, right beside it they do not, and that is so along all four sides: the edge
    ignores the scenes. What recurs by nature goes on beyond any rectangle (a video), fades where its own outline ends,
    or lies against the picture's border.
    """
    _, _, height, width = fitted.box
    least = max(LEAST_STEP, FEW / len(stack) ** 1.5)
    if min(height, width) < LEAST_SIDE or not all(side >= least for side in fitted.sides):  # NaN is not
        return False
    return is_pasted(stack, fitted.box)


def is_pasted(stack: Array, box: tuple[int, int, int, int]) -> bool:
    """Tell whether the pictures of a stack (K, H, W, 3) agree inside a box and not around it."""
    inside, outside = agreement(stack, box)
    return inside >= ALIKE_INSIDE and outside <= ALIKE_OUTSIDE
