"""Strong edges of the picture where the label map has none: what a thing leaves whose label was painted over.

Held against the set's own habit: in each class the interior cells with the steepest slopes are counted, steeper than
nearly all interior cells of that class in the set. Shadows and markings have such edges too, so that this accuses
nobody; it says of a sample, and of a class in it, how far it is from what is usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.scanning.cells import MIXED, Cells

_STEEP = 0.98  # quantile of a class's interior cells
_ACROSS, _DOWN = 4, 5  # where looks have their slopes
_LEAST, _FAR = 4, 3.0  # cells, and square roots of the number expected above it, from which on a sample stands out
_ENOUGH = 500  # interior cells of a class in the set, below which it has no habit


@dataclass(frozen=True)
class HiddenEdges:
    """Steep interior cells, (samples, classes) int32, and those expected, float32; `classes` are raw IDs."""

    classes: tuple[int, ...]
    steep: npt.NDArray[np.int32]
    usual: npt.NDArray[np.float32]

    def stands_out(self, number: int) -> npt.NDArray[np.bool_]:
        """Tell which samples have far more such cells in a class than the set's habit, (samples,) bool."""
        if number not in self.classes:
            return np.zeros(len(self.steep), bool)
        column = self.classes.index(number)
        steep, usual = self.steep[:, column], self.usual[:, column]
        return np.asarray((steep >= _LEAST) & (steep > usual + _FAR * np.sqrt(usual + 1)), bool)


def interior(classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which cells of a grid (rows, columns) have one class with all their neighbours; MIXED is none."""
    around = np.ones((3, 3), np.uint8)
    low = cv2.erode(classes, around, borderType=cv2.BORDER_REPLICATE)
    high = cv2.dilate(classes, around, borderType=cv2.BORDER_REPLICATE)
    return np.asarray((low == high) & (classes != MIXED), bool)


def find_hidden_edges(grids: Sequence[Cells]) -> HiddenEdges:
    """Count the steep interior cells of every class and sample."""
    slopes = np.zeros((256, 256), np.int64)  # of each class, how many interior cells have each slope
    for grid in grids:
        inside, slope = interior(grid.classes), _slope(grid)
        np.add.at(slopes, (grid.classes[inside], slope[inside]), 1)
    numbers = slopes.sum(axis=1)
    classes = np.flatnonzero(numbers >= _ENOUGH)
    bars = np.full(256, 255, np.int64)
    for number in classes:
        bars[number] = int(np.searchsorted(np.cumsum(slopes[number]), _STEEP * numbers[number]))
    over = np.array([slopes[number, bars[number] + 1 :].sum() / max(1, numbers[number]) for number in range(256)])
    steep = np.zeros((len(grids), len(classes)), np.int32)
    usual = np.zeros((len(grids), len(classes)), np.float32)
    for at, grid in enumerate(grids):
        inside = interior(grid.classes)
        mine = grid.classes[inside]
        hard = mine[_slope(grid)[inside] > bars[mine]]
        steep[at] = np.bincount(hard, minlength=256)[classes]
        usual[at] = (np.bincount(mine, minlength=256) * over)[classes]
    return HiddenEdges(tuple(classes.tolist()), steep, usual)


def _slope(grid: Cells) -> npt.NDArray[np.uint8]:
    return np.asarray(np.maximum(grid.looks[..., _ACROSS], grid.looks[..., _DOWN]), np.uint8)
