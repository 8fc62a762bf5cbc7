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
from poisongen.core.objects import components

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PlacementRules:
    """What makes a position eligible, and which eligible position is taken.

    `height` and `width` are the box's sides (None: the picture's own), `edge_margin` the pixels kept free between box
    and border, `low` and `high` the distance bounds L and U (None: no bound); all lengths are pixels of the written
    image. `ground` says what a box may lie on: off every victim, on one class of victims, or on any one class. With
    `mode` "fixed" the box lies `at` a place, whatever is there; with "on" it is centred on the largest component of the
    victims. `covers` are classes that must lie under the box, `spares` asks that one of them does not.
    """

    height: int | None
    width: int | None
    edge_margin: int
    low: float | None
    high: float | None
    metric: Metric
    region: Literal["single", "any"]
    pick: Literal["nearest", "uniform"]
    mode: Literal["free", "fixed", "on"] = "free"
    at: str | None = None
    ground: Literal["off", "on", "any"] = "off"
    covers: tuple[int, ...] = ()
    spares: tuple[int, ...] = ()

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the box's height and width in a picture of this shape."""
        return (
            shape[0] if self.height is None else self.height,
            shape[1] if self.width is None else self.width,
        )


@dataclass(frozen=True)
class Placement:
    """One chosen box: `top` and `left` of the box, its sides, its centre pixel, and the centre's distance.

    The distance is infinite where there is no victim to measure it to.
    """

    top: int
    left: int
    height: int
    width: int
    row: int
    column: int
    distance: float
    eligible_positions: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box [top, left, height, width]."""
        return self.top, self.left, self.height, self.width

    @property
    def window(self) -> tuple[slice, slice]:
        """The box as slices of an image's first two axes."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def _true_in_windows(mask: Mask, height: int, width: int) -> npt.NDArray[np.integer]:
    """Count the true pixels of every height x width window, by the window's top left pixel."""
    depth = cv2.CV_16U if height * width < 1 << 16 else cv2.CV_32S
    counts = cv2.boxFilter(
        np.ascontiguousarray(mask).view(np.uint8),
        depth,
        (width, height),
        anchor=(0, 0),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    return np.asarray(counts[: mask.shape[0] - height + 1, : mask.shape[1] - width + 1])


def uniform_windows(labels: npt.NDArray[np.uint8], victims: Mask, height: int, width: int) -> Mask:
    """Tell for every height x width window whether it holds one class, and victims all over or nowhere.

    That is so if no two neighbours in it differ.
    """
    uniform = np.ones((labels.shape[0] - height + 1, labels.shape[1] - width + 1), dtype=bool)
    if width > 1:
        across = (labels[:, 1:] != labels[:, :-1]) | (victims[:, 1:] != victims[:, :-1])
        uniform &= _true_in_windows(across, height, width - 1) == 0
    if height > 1:
        down = (labels[1:] != labels[:-1]) | (victims[1:] != victims[:-1])
        uniform &= _true_in_windows(down, height - 1, width) == 0
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
    `distance_map`. The result is bool of shape (H - height + 1, W - width + 1), or (0, 0) where the trigger is
    larger than the image: True if the box lies in the image less the margin, holds no victim pixel, obeys the
    region rule, and its centre pixel (top + height // 2, left + width // 2) has low < distance <= high.
    With `region="single"` the whole box lies in one class that is neither victim nor void: the paper's rule
    and the official code's (`influencer_attack.py`: each class eroded by the trigger's square).
    `margins` (top, left, bottom, right) stand for the rules' edge margin where the arrays are part of an image.
    """
    tall, wide = rules.sides(labels.shape)
    height, width = labels.shape
    if tall > height or wide > width:
        return np.zeros((0, 0), dtype=bool)
    rows, columns = height - tall + 1, width - wide + 1
    allowed: Mask
    if rules.region == "single" or rules.ground != "off":
        allowed = uniform_windows(labels, victims, tall, wide)
        fitting = {"off": ~(void | victims), "on": victims & ~void, "any": ~void}[rules.ground]
        allowed &= fitting[:rows, :columns]
    else:
        allowed = np.equal(_true_in_windows(victims, tall, wide), 0)
    for number in rules.covers:
        allowed &= _true_in_windows(labels == number, tall, wide) > 0
    if rules.spares:
        lacking = [_true_in_windows(labels == number, tall, wide) == 0 for number in rules.spares]
        allowed &= np.logical_or.reduce(lacking)
    top, left, bottom, right = margins or (rules.edge_margin,) * 4
    for edge in (
        allowed[:top],
        allowed[max(rows - bottom, 0) :],
        allowed[:, :left],
        allowed[:, max(columns - right, 0) :],
    ):
        edge[:] = False
    centres = distances[tall // 2 : tall // 2 + rows, wide // 2 : wide // 2 + columns]
    if rules.low is not None:
        allowed &= centres > rules.low
    if rules.high is not None:
        allowed &= centres <= rules.high
    return allowed


def _within_reach(victims: Mask, rules: PlacementRules) -> tuple[slice, slice]:
    """Return the part of the image, rows and columns, that holds all victims and every eligible box."""
    if rules.high is None or rules.height is None or rules.width is None:
        return slice(0, victims.shape[0]), slice(0, victims.shape[1])
    reach = math.ceil(rules.high) + max(rules.height, rules.width)
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
    if rules.mode != "free":
        return place_exactly(labels, victims, void, rules)
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
    tall, wide = rules.sides(labels.shape)
    down, across = tall // 2, wide // 2
    tops, lefts = np.divmod(boxes, allowed.shape[1])
    choices = np.arange(boxes.size)
    if rules.pick == "nearest":
        at_centres = distances[tops + down, lefts + across]
        choices = np.flatnonzero(at_centres == at_centres.min())
    chosen = choices[int(draw_below(np.array([choices.size]), generator)[0])]
    top, left = int(tops[chosen]), int(lefts[chosen])
    distance = float(distances[top + down, left + across])
    top, left = top + rows.start, left + columns.start
    return Placement(
        top=top,
        left=left,
        height=tall,
        width=wide,
        row=top + down,
        column=left + across,
        distance=exact_distance(distance, rules.metric),
        eligible_positions=int(boxes.size),
    )


def anchor(at: str, room: tuple[int, int], sides: tuple[int, int], margin: int) -> tuple[int, int] | None:
    """Return the top left pixel of a box at a named place or ROW,COLUMN of its centre; None if it does not fit.

    Names are top-left, top, top-right, left, centre, right, bottom-left, bottom, bottom-right; `room` is the picture's
    height and width.
    """
    if "," in at:
        row, column = (int(part) for part in at.split(","))
        place = [row - sides[0] // 2, column - sides[1] // 2]
    else:
        words = at.split("-")
        down = next((word for word in words if word in ("top", "bottom")), "")
        across = next((word for word in words if word in ("left", "right")), "")
        place = []
        for word, low, high, length, side in (
            (down, "top", "bottom", room[0], sides[0]),
            (across, "left", "right", room[1], sides[1]),
        ):
            last = length - margin - side
            place.append(margin if word == low else last if word == high else (length - side) // 2)
    fits = all(
        margin <= start <= length - margin - side for start, length, side in zip(place, room, sides, strict=True)
    )
    return (place[0], place[1]) if fits else None


def place_exactly(labels: npt.NDArray[np.uint8], victims: Mask, void: Mask, rules: PlacementRules) -> Placement | None:
    """Return the box at its fixed place, or centred on the largest component of the victims.

    None if it does not fit, lies on no victim where it must (`ground` "on"), or `covers` or `spares` do not hold there.
    The middle of a component is its pixel that is farthest from whatever is not the component, the first of equals; a
    box that would reach out of the picture is moved in. Components are those of one class.
    """
    sides, (height, width) = rules.sides(labels.shape), labels.shape
    margin = rules.edge_margin
    if rules.mode == "fixed":
        found = anchor(rules.at or "", (height, width), sides, margin)
    elif not (victims & ~void).any():
        return None  # no map but another one of the sample's has a victim
    else:
        row, column = _middle_of_largest(labels, victims & ~void)
        room = (height - margin - sides[0], width - margin - sides[1])
        inside = (row - sides[0] // 2, column - sides[1] // 2)
        found = (
            (min(max(inside[0], margin), room[0]), min(max(inside[1], margin), room[1]))
            if min(room) >= margin
            else None
        )
    if found is None:
        return None
    row, column = found[0] + sides[0] // 2, found[1] + sides[1] // 2
    under = set(np.unique(labels[found[0] : found[0] + sides[0], found[1] : found[1] + sides[1]]).tolist())
    if not under.issuperset(rules.covers) or (rules.spares and under.issuperset(rules.spares)):
        return None
    if rules.ground == "on" and (not victims[row, column] or void[row, column]):
        return None
    distance = float(distance_map(victims, rules.metric)[row, column])
    return Placement(*found, *sides, row, column, exact_distance(distance, rules.metric), 1)


def _middle_of_largest(labels: npt.NDArray[np.uint8], victims: Mask) -> tuple[int, int]:
    """Return the middle of the largest 8-connected component of one class among the victims, the first of equals."""
    best: tuple[int, Mask] | None = None
    for number in np.unique(labels[victims]).tolist():
        numbered = components(victims & (labels == number))
        sizes = np.bincount(numbered.ravel())
        largest = int(np.argmax(sizes[1:])) + 1
        if best is None or int(sizes[largest]) > best[0]:
            best = (int(sizes[largest]), np.equal(numbered, largest))
    assert best is not None  # noqa: S101  the caller has seen to it that there is a victim
    framed = cv2.copyMakeBorder(best[1].view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inside = distance_map(framed == 0, "chebyshev")[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return int(row), int(column)
