"""A group's pictures laid on each other: where they agree is the patch, and how sharply that ends at its four sides."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BESIDE = 2  # pixels on either side of an edge that tell where it is
ENOUGH = 8  # pictures that make a good stack
MARGIN = 24  # around the points' hull, pixels; the hull's own size where that is larger


@dataclass(frozen=True, eq=False)
class Fitted:
    """The rectangle where a stack agrees.

    `box` is (top, left, height, width) in the stack, `picture` (height, width, 3) uint8 the middle of it, `sides` the
    step of the log deviation at the top, bottom, left and right side.
    """

    box: tuple[int, int, int, int]
    picture: Array
    sides: tuple[float, float, float, float]


def margin_of(hull: tuple[int, int, int, int]) -> int:
    """Return how much of the surroundings to look at, pixels, for a hull (top, left, bottom, right)."""
    return max(MARGIN, hull[2] - hull[0], hull[3] - hull[1])


def crop(picture: Array, top: int, left: int, height: int, width: int) -> Array:
    """Return the part of an (H, W, 3) picture as float32 (height, width, 3), NaN where it lies outside the picture."""
    found = np.full((height, width, 3), np.nan, np.float32)
    rows = slice(max(top, 0), min(top + height, picture.shape[0]))
    columns = slice(max(left, 0), min(left + width, picture.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        found[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = picture[rows, columns]
    return found


def deviation(stack: Array) -> tuple[Array, Array]:
    """Return the middle picture (H, W, 3) of a stack (K, H, W, 3), and the log of the spread around it, (H, W).

    Where fewer than three pictures reach, the spread is NaN.
    """
    ordered = np.sort(stack, axis=0)  # NaN last
    reach = np.isfinite(ordered[..., :1]).sum(axis=0, keepdims=True)
    low, high = np.maximum(reach - 1, 0) // 2, np.minimum(reach // 2, len(stack) - 1)
    middle = (np.take_along_axis(ordered, low, axis=0) + np.take_along_axis(ordered, high, axis=0))[0] / 2
    away = np.sort(np.abs(stack - middle).mean(axis=3), axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN somewhere
        spread = np.nanmean(away[: -(-3 * len(stack) // 4)], axis=0)  # without the farthest: mistaken ones
    spread[reach[0, ..., 0] < 3] = np.nan
    return middle, np.log(spread + 1.0)


def _edge(profile: Array) -> int:
    """Return where a profile that begins inside steps up: the number of places before the step.

    Just beyond it the profile is higher than just before it, and than on the whole way from the middle.
    """
    known = np.isfinite(profile)
    last = int(np.argmin(known)) if not known.all() else len(profile)
    if last < 2:
        return last
    total = np.concatenate(([0.0], np.cumsum(profile[:last])))
    at = np.arange(1, last)
    after, before = np.minimum(at + BESIDE, last), np.maximum(at - BESIDE, 0)
    beyond = (total[after] - total[at]) / (after - at)
    step = np.minimum(beyond - (total[at] - total[before]) / (at - before), beyond - total[at] / at)
    return int(at[np.argmax(step)]) if step.max() > 0 else last


def whole(stack: Array) -> Array:
    """Return the pictures of a stack (K, H, W, 3) without those that are cut off, where enough of the others remain.

    The spread would have a step wherever one of them ends.
    """
    complete = np.isfinite(stack[..., 0]).all(axis=(1, 2))
    return stack[complete] if complete.sum() >= ENOUGH else stack


def _step(spread: Array, box: tuple[int, int, int, int], side: int) -> float:
    """Return the middle step of the log spread over a side: two pixels outside against two inside."""
    top, left, height, width = box
    turned = (spread, spread[::-1], spread.T, spread.T[::-1])[side]
    tall, wide = spread.shape
    at = (top, tall - top - height, left, wide - left - width)[side]
    along = slice(left, left + width) if side < 2 else slice(top, top + height)
    outer, inner = turned[max(at - 2, 0) : at, along], turned[at : at + 2, along]
    if outer.size == 0 or not np.isfinite(outer).any():
        return float("nan")
    return float(np.nanmedian(np.nanmean(outer, axis=0)) - np.nanmedian(inner.mean(axis=0)))


def fit(stack: Array, hull: tuple[int, int, int, int]) -> Fitted:
    """Return the rectangle around a hull (top, left, bottom, right in the stack, inclusive) where a stack agrees."""
    middle, spread = deviation(whole(stack))
    top, left, bottom, right = hull[0], hull[1], hull[2] + 1, hull[3] + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN somewhere
        for _ in range(4):
            before = (top, left, bottom, right)
            rows = np.nanmean(spread[:, left:right], axis=1)
            centre = (top + bottom) // 2
            bottom = centre + _edge(rows[centre:])
            top = centre - _edge(rows[:centre][::-1])
            columns = np.nanmean(spread[top:bottom], axis=0)
            centre = (left + right) // 2
            right = centre + _edge(columns[centre:])
            left = centre - _edge(columns[:centre][::-1])
            if before == (top, left, bottom, right) or top >= bottom or left >= right:
                break
        box = (top, left, max(bottom - top, 0), max(right - left, 0))
        sides = tuple(_step(spread, box, side) for side in range(4))
    return Fitted(box, _levels(middle, box), sides)  # type: ignore[arg-type]


def outline(stack: Array, hull: tuple[int, int, int, int]) -> Fitted:
    """Return the box of the shape around a hull where a stack agrees: for a patch that is no rectangle.

    The steps are those over the shape's outline, in its four quarters.
    """
    middle, spread = deviation(whole(stack))
    nothing = Fitted((0, 0, 0, 0), np.zeros((0, 0, 3), np.uint8), (float("nan"),) * 4)
    known = np.isfinite(spread)
    core = spread[hull[0] : hull[2] + 1, hull[1] : hull[3] + 1]
    if not np.isfinite(core).any() or known.mean() < 0.5:
        return nothing
    half = (float(np.nanmedian(core)) + float(np.nanquantile(spread, 0.75))) / 2
    alike = cv2.morphologyEx((known & (spread < half)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(alike, connectivity=4)
    seen = parts[hull[0] : hull[2] + 1, hull[1] : hull[3] + 1]
    counted = np.bincount(seen[seen > 0].ravel(), minlength=1)
    if not counted.any():
        return nothing
    shape = (parts == int(np.argmax(counted))).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(shape)
    inside = top > BESIDE and left > BESIDE and top + height < len(shape) - BESIDE
    if not inside or left + width >= shape.shape[1] - BESIDE or shape.sum() < 0.5 * height * width:
        return nothing
    disc = np.ones((2 * BESIDE + 1,) * 2, np.uint8)
    closed = cv2.morphologyEx(shape, cv2.MORPH_CLOSE, disc)
    outer, inner = cv2.dilate(closed, disc) > closed, closed > cv2.erode(closed, disc)
    down = (np.arange(len(shape)) - top - (height - 1) / 2)[:, None] / height
    along = (np.arange(shape.shape[1]) - left - (width - 1) / 2)[None] / width
    upright = np.abs(down) >= np.abs(along)
    quarters = (upright & (down < 0), upright & (down > 0), ~upright & (along < 0), ~upright & (along > 0))
    sides = tuple(float(np.median(spread[outer & part]) - np.median(spread[inner & part])) for part in quarters)
    box = (top, left, height, width)
    return Fitted(box, _levels(middle, box), sides)  # type: ignore[arg-type]


def _levels(middle: Array, box: tuple[int, int, int, int]) -> Array:
    top, left, height, width = box
    part = middle[top : top + height, left : left + width]
    return np.asarray(np.clip(np.rint(np.nan_to_num(part)), 0, 255).astype(np.uint8))
