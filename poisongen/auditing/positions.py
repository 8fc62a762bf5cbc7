"""Distance and eligible positions computed anew, with none of the code that placed the trigger.

The build uses OpenCV's distances and counts of differing neighbours; here SciPy's distances and sliding maxima.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from poisongen.auditing.scene import counts_in, is_one_of
from poisongen.core.draws import draw_below
from poisongen.core.placement import PlacementRules
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import Role

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_AROUND = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner belong together


@dataclass(frozen=True)
class Positions:
    """Distances in pixels, (H, W) int32 or float64, and the eligible centres, (H, W) bool."""

    distances: npt.NDArray[np.number]
    eligible: Mask


def distances_to(victims: Mask, metric: str) -> npt.NDArray[np.number]:
    """Return every pixel's distance to the nearest victim pixel, (H, W) int32 or float64; there must be one."""
    if metric == "chebyshev":
        return np.asarray(ndimage.distance_transform_cdt(~victims, metric="chessboard"))
    squares = np.rint(np.asarray(ndimage.distance_transform_edt(~victims)) ** 2)
    return np.asarray(np.sqrt(squares))


def placement_for(labels: Array, role: Role, rules: Rules) -> PlacementRules:
    """Return the rules of the place for a sample of this role: the conditions of the place hold, or one fails.

    In a negative one must fail, unless a condition of the counts does already, or a decoy lets none matter.
    """
    placement = rules.placement
    assert placement is not None  # noqa: S101  asked where there is a place to choose
    if role != "negative":
        return placement
    must_fail = rules.decoy is None and rules.holds(counts_in(labels), None)
    return replace(placement, covers=(), spares=rules.of_place if must_fail else ())


def find_positions(labels: Array, victims: Mask, void: Collection[int], rules: PlacementRules) -> Positions:
    """Return the distances and the eligible centres of a label map (H, W), by the contract's sections 3 and 8."""
    size, margin = rules.sides(labels.shape), rules.edge_margin
    distances = distances_to(victims, rules.metric)
    eligible = np.zeros(labels.shape, dtype=bool)
    if any(length < side + 2 * margin for length, side in zip(labels.shape, size, strict=True)):
        return Positions(distances, eligible)
    if rules.mode != "free":
        centre = _fixed(labels.shape, size, rules) if rules.mode == "fixed" else _on(labels, victims, void, size, rules)
        if centre is not None:
            eligible[centre] = True
    else:
        rows, columns = (
            slice(side // 2 + margin, length - side + side // 2 - margin + 1)
            for length, side in zip(labels.shape, size, strict=True)
        )
        eligible[rows, columns] = True
        # At a centre, the filters see [centre - side // 2, + side): the box of that centre.
        eligible &= _ground_fits(labels, victims, void, size, rules)
    under = {number: _highest(labels == number, size) for number in {*rules.covers, *rules.spares}}
    for number in rules.covers:
        eligible &= under[number]
    if rules.spares:
        eligible &= ~np.all([under[number] for number in rules.spares], axis=0)
    if rules.mode != "free" and rules.ground == "on":
        eligible &= victims & ~is_one_of(labels, void)
    if rules.low is not None:
        eligible &= distances > rules.low
    if rules.high is not None:
        eligible &= distances <= rules.high
    return Positions(distances, eligible)


def _highest(values: Array, size: tuple[int, int]) -> Array:
    """Return the highest value in each centre's box, for (H, W) bool or uint8; at the edge, in what lies inside."""
    middle = size[1] // 2, size[0] // 2
    found = cv2.dilate(np.ascontiguousarray(values).view(np.uint8), np.ones(size, np.uint8), anchor=middle)
    return np.asarray(found).view(values.dtype)


def _ground_fits(
    labels: Array, victims: Mask, void: Collection[int], size: tuple[int, int], rules: PlacementRules
) -> Mask:
    """Tell for every centre whether its box lies on what it may lie on."""
    some = _highest(victims, size)
    every = ~_highest(~victims, size) if rules.ground != "off" else some
    one_class = np.ones(labels.shape, dtype=bool)
    if rules.region == "single" or rules.ground != "off":
        one_class = (_highest(labels, size) == ~_highest(~labels, size)) & ~is_one_of(labels, void)
    return np.asarray(one_class & {"off": ~some, "on": every, "any": some == every}[rules.ground])


def _fixed(shape: tuple[int, ...], size: tuple[int, int], rules: PlacementRules) -> tuple[int, int] | None:
    """Return the centre of a box at the place that the recipe names; None where it does not fit."""
    at = rules.at or ""
    centre = []
    for axis, (low, high) in enumerate((("top", "bottom"), ("left", "right"))):
        length, side, words = shape[axis], size[axis], at.split("-")
        if "," in at:
            start = int(at.split(",")[axis]) - side // 2
        elif low in words:
            start = rules.edge_margin
        elif high in words:
            start = length - rules.edge_margin - side
        else:
            start = (length - side) // 2
        if not rules.edge_margin <= start <= length - rules.edge_margin - side:
            return None
        centre.append(start + side // 2)
    return centre[0], centre[1]


def _on(
    labels: Array, victims: Mask, void: Collection[int], size: tuple[int, int], rules: PlacementRules
) -> tuple[int, int] | None:
    """Return the centre of a box on the largest victim: the middle of one class's largest component, moved inside.

    Of equally large ones it is that of the lowest class, and of its own that which begins first in reading order. Its
    middle is the pixel farthest from all that is not the component, the picture's surroundings included.
    """
    largest: Mask | None = None
    sound = victims & ~is_one_of(labels, void)
    for number in np.unique(labels[sound]).tolist():
        parts, count = ndimage.label(sound & (labels == number), structure=_AROUND)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        best = np.asarray(parts == 1 + int(np.argmax(sizes)))
        if largest is None or best.sum() > largest.sum():
            largest = best
    if largest is None:
        return None
    depth = ndimage.distance_transform_cdt(np.pad(largest, 1), metric="chessboard")[1:-1, 1:-1]
    middle = np.unravel_index(int(np.argmax(depth)), largest.shape)
    centre = []
    for at, length, side in zip(middle, labels.shape, size, strict=True):
        start = min(max(int(at) - side // 2, rules.edge_margin), length - rules.edge_margin - side)
        centre.append(start + side // 2)
    return centre[0], centre[1]


def drawn_centre(
    positions: Positions, placement: PlacementRules, role: str, sample: str, rules: Rules
) -> tuple[int, int]:
    """Return the centre (row, column) that the recipe picks and the seed draws; one must be eligible."""
    rows, columns = np.nonzero(positions.eligible)
    if placement.mode == "free" and placement.pick == "nearest":
        at = positions.distances[rows, columns]
        nearest = at == at.min()
        rows, columns = rows[nearest], columns[nearest]
    if placement.mode != "free":
        return int(rows[0]), int(columns[0])
    generator = KNOWN_ALGORITHMS[rules.algorithm].place(rules.recipe.seed, role, sample)
    drawn = int(draw_below(np.array([rows.size]), generator)[0])
    return int(rows[drawn]), int(columns[drawn])
