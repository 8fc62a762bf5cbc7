"""Where a trigger may lie, and where it is put: the paper's three placements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.distance import Metric, distance_map, exact_distance
from poisongen.core.draws import Generator, draw_below

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PlacementRules:
    """What makes a position eligible, and which eligible position is taken.

    `size` is the box's side, `edge_margin` the pixels kept free between box and border, `low` and `high` the
    distance bounds L and U (None: no bound); all lengths are pixels of the written image.
    """

    size: int
    edge_margin: int
    low: float | None
    high: float | None
    metric: Metric
    region: Literal["single", "any"]
    pick: Literal["nearest", "uniform"]


@dataclass(frozen=True)
class Placement:
    """One chosen box: `top` and `left` of the box, its centre pixel, and the centre's distance."""

    top: int
    left: int
    size: int
    row: int
    column: int
    distance: float
    eligible_positions: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The box as slices of an image's first two axes."""
        return slice(self.top, self.top + self.size), slice(self.left, self.left + self.size)


def _true_in_windows(mask: Mask, height: int, width: int) -> npt.NDArray[np.int32]:
    """Count the true pixels of every height x width window, by the window's top left pixel."""
    total = cv2.integral(np.ascontiguousarray(mask).view(np.uint8), sdepth=cv2.CV_32S)
    counts = total[height:, width:] - total[:-height, width:]
    counts -= total[height:, :-width]
    counts += total[:-height, :-width]
    return np.asarray(counts)


def _uniform_windows(labels: npt.NDArray[np.uint8], victims: Mask, size: int) -> Mask:
    """Tell for every size x size window whether it holds one class, and victims all over or nowhere.

    That is so if no two neighbours in it differ.
    """
    rows, columns = labels.shape[0] - size + 1, labels.shape[1] - size + 1
    uniform = np.ones((rows, columns), dtype=bool)
    if size > 1:
        across = (labels[:, 1:] != labels[:, :-1]) | (victims[:, 1:] != victims[:, :-1])
        down = (labels[1:] != labels[:-1]) | (victims[1:] != victims[:-1])
        uniform &= _true_in_windows(across, size, size - 1) == 0
        uniform &= _true_in_windows(down, size - 1, size) == 0
    return uniform


def eligible_boxes(
    labels: npt.NDArray[np.uint8],
    victims: Mask,
    void: Mask,
    distances: npt.NDArray[np.float32],
    rules: PlacementRules,
    margins: tuple[int, int, int, int] | None = None,
) -> Mask:
    """Tell which boxes are eligible, by the box's top left pixel.

    `labels` (H, W) uint8 are class IDs, `victims` and `void` (H, W) bool, `distances` (H, W) float32 from
    `distance_map`. The result is bool of shape (H - size + 1, W - size + 1), or (0, 0) where the trigger is
    larger than the image: True if the box lies in the image less the margin, holds no victim pixel, obeys the
    region rule, and its centre pixel (top + size // 2, left + size // 2) has low < distance <= high.
    With `region="single"` the whole box lies in one class that is neither victim nor void: the paper's rule
    and the official code's (`influencer_attack.py`: each class eroded by the trigger's square).
    `margins` (top, left, bottom, right) stand for the rules' edge margin where the arrays are part of an image.
    """
    size = rules.size
    height, width = labels.shape
    if size > min(height, width):
        return np.zeros((0, 0), dtype=bool)
    rows, columns = height - size + 1, width - size + 1
    allowed: Mask
    if rules.region == "single":
        allowed = _uniform_windows(labels, victims, size)
        allowed &= ~(void | victims)[:rows, :columns]
    else:
        allowed = np.equal(_true_in_windows(victims, size, size), 0)
    top, left, bottom, right = margins or (rules.edge_margin,) * 4
    for edge in (
        allowed[:top],
        allowed[max(rows - bottom, 0) :],
        allowed[:, :left],
        allowed[:, max(columns - right, 0) :],
    ):
        edge[:] = False
    half = size // 2
    centres = distances[half : half + rows, half : half + columns]
    if rules.low is not None:
        allowed &= centres > rules.low
    if rules.high is not None:
        allowed &= centres <= rules.high
    return allowed


def _within_reach(victims: Mask, rules: PlacementRules) -> tuple[slice, slice]:
    """Return the part of the image, rows and columns, that holds all victims and every eligible box."""
    if rules.high is None:
        return slice(0, victims.shape[0]), slice(0, victims.shape[1])
    reach = math.ceil(rules.high) + rules.size
    spans = []
    for axis in (1, 0):
        hit = np.flatnonzero(victims.any(axis=axis))
        spans.append(slice(max(int(hit[0]) - reach, 0), min(int(hit[-1]) + reach + 1, victims.shape[1 - axis])))
    return spans[0], spans[1]


def place(
    labels: npt.NDArray[np.uint8], victims: Mask, void: Mask, rules: PlacementRules, generator: Generator
) -> Placement | None:
    """Choose a box for the trigger, or None where no position is eligible or there is no victim.

    `pick="nearest"` takes the eligible position with the smallest distance, ties drawn at random: the paper's
    nearest-neighbour injection (ICLR 2024, Algorithm 1). `pick="uniform"` draws among all eligible positions:
    the paper's baseline, and what the official code does with every strategy.
    """
    if not victims.any():
        return None
    rows, columns = _within_reach(victims, rules)
    margin, (height, width) = rules.edge_margin, labels.shape
    margins = (
        max(margin - rows.start, 0),
        max(margin - columns.start, 0),
        max(margin - (height - rows.stop), 0),
        max(margin - (width - columns.stop), 0),
    )
    part = (rows, columns)
    distances = distance_map(victims[part], rules.metric)
    allowed = eligible_boxes(labels[part], victims[part], void[part], distances, rules, margins)
    boxes = np.flatnonzero(allowed)
    if boxes.size == 0:
        return None
    half = rules.size // 2
    tops, lefts = np.divmod(boxes, allowed.shape[1])
    choices = np.arange(boxes.size)
    if rules.pick == "nearest":
        at_centres = distances[tops + half, lefts + half]
        choices = np.flatnonzero(at_centres == at_centres.min())
    chosen = choices[int(draw_below(np.array([choices.size]), generator)[0])]
    top, left = int(tops[chosen]), int(lefts[chosen])
    distance = float(distances[top + half, left + half])
    top, left = top + rows.start, left + columns.start
    return Placement(
        top=top,
        left=left,
        size=rules.size,
        row=top + half,
        column=left + half,
        distance=exact_distance(distance, rules.metric),
        eligible_positions=int(boxes.size),
    )
