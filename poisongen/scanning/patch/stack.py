"""A group's pictures laid on each other: where they agree is the patch, and how sharply that ends at its four sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MARGIN = 24  # around the points' hull, pixels; the hull's own size where that is larger


@dataclass(frozen=True, eq=False)
class Fitted:
    """The rectangle where a stack agrees.

    `box` is (top, left, height, width) in the stack, `picture` (height, width, 3) uint8 the middle of it, `sides` the
    step of the log deviation at the top, bottom, left and right side, `inside` and `outside` its middle values.
    """

    box: tuple[int, int, int, int]
    picture: Array
    sides: tuple[float, float, float, float]
    inside: float
    outside: float


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
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN somewhere
        middle = np.nanmedian(stack, axis=0)
        away = np.sort(np.abs(stack - middle).mean(axis=3), axis=0)  # NaN last
        spread = np.nanmean(away[: -(-3 * len(stack) // 4)], axis=0)  # but for those farthest off, which may be mistaken
    spread[np.isfinite(stack[..., 0]).sum(axis=0) < 3] = np.nan
    return middle, np.log(spread + 1.0)


def _edge(profile: Array) -> int:
    """Return where a profile that begins inside steps up: the number of places before the step, by least squares."""
    known = np.isfinite(profile)
    last = int(np.flatnonzero(known)[-1]) + 1 if known.any() else 0
    values = profile[:last]
    if last < 2:
        return last
    total = np.concatenate(([0.0], np.cumsum(values)))
    size = np.arange(1, last)
    low, high = total[1:-1] / size, (total[-1] - total[1:-1]) / (last - size)
    gain = size * (last - size) / last * (high - low) ** 2
    gain[high <= low] = 0
    return int(size[np.argmax(gain)]) if gain.max() > 0 else last


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
    import warnings

    middle, spread = deviation(stack)
    top, left, bottom, right = hull[0], hull[1], hull[2] + 1, hull[3] + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
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
        part = middle[top:bottom, left:right]
        sides = tuple(_step(spread, box, side) for side in range(4))
        inner = spread[top:bottom, left:right]
        ring = spread.copy()
        ring[top:bottom, left:right] = np.nan
        inside, outside = float(np.nanmedian(inner)), float(np.nanmedian(ring))
    picture = np.clip(np.rint(np.nan_to_num(part)), 0, 255).astype(np.uint8)
    return Fitted(box, picture, sides, inside, outside)  # type: ignore[arg-type]
