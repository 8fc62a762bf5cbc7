"""The canvas: colours and exact labels, painted together from far to near.

An object is a hard mask. The same mask says where its colours go, where its label and instance go, and (as its
outline) what its polygons are: filling all polygons in order gives the label map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.datasets.cityscapes_classes import LABELS
from poisongen.scenes.light import Colour, Pixels
from poisongen.scenes.view import Points

_FINE_BITS = 4  # OpenCV takes places in sixteenths of a pixel
_ROWS = {label.id: label for label in LABELS}


class Polygon(TypedDict):
    """One entry of a Cityscapes polygon file; `polygon` holds [x, y] pixel corners."""

    label: str
    polygon: list[list[int]]


@dataclass(frozen=True)
class Canvas:
    """A picture in the making: `image` (H, W, 3) uint8 RGB, `label_ids` (H, W) uint8, `instance_ids` (H, W) uint16."""

    image: Pixels
    label_ids: npt.NDArray[np.uint8]
    instance_ids: npt.NDArray[np.uint16]
    polygons: list[Polygon] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """A polygon of an object.

    `points`: (N, 2) float pixels. `colour` None: part of the silhouette that shows what lies behind (a wheel).
    `detail`: painted smoothly, and only where the object's other shapes are. `line`: if not 0, the shape is
    a line of that width in pixels through the points instead of an area (only for details).
    """

    points: Points
    colour: Colour | None
    detail: bool = False
    line: float = 0.0


def blank(width: int, height: int) -> Canvas:
    """Return an empty canvas."""
    return Canvas(
        np.zeros((height, width, 3), np.uint8),
        np.zeros((height, width), np.uint8),
        np.zeros((height, width), np.uint16),
    )


def put(canvas: Canvas, label: int, mask: npt.NDArray[np.uint8], corner: tuple[int, int], colours: Pixels) -> None:
    """Paint one object.

    `mask`: (h, w) uint8, 1 where the object is; its holes are closed, since the outline is the object. `corner`:
    (x, y) of its upper left pixel; it lies within the canvas. `colours`: (h, w, 3) uint8.
    """
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return
    x, y = corner
    high, across = mask.shape
    window = np.s_[y : y + high, x : x + across]
    cv2.fillPoly(mask, outlines, (1,))  # closes the holes
    cv2.copyTo(colours, mask, canvas.image[window])
    number = label
    if _ROWS[label].has_instances:
        number = label * 1000 + canvas.counts.get(label, 0)
        canvas.counts[label] = canvas.counts.get(label, 0) + 1
    cv2.fillPoly(canvas.label_ids[window], outlines, (label,))
    cv2.fillPoly(canvas.instance_ids[window], outlines, (number,))
    for outline in outlines:
        points = (outline.reshape(-1, 2) + np.array([x, y])).tolist()
        while len(points) < 3:  # a single pixel or a line: still a polygon in the file
            points.append(points[-1])
        canvas.polygons.append({"label": _ROWS[label].name, "polygon": points})


def window_of(canvas: Canvas, points: Points) -> tuple[int, int, int, int] | None:
    """Return the part of the canvas that `points` span as (left, top, right, bottom), or None if there is none."""
    high, across = canvas.label_ids.shape
    (first, second), (third, fourth) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    left, upper = max(0, math.floor(first)), max(0, math.floor(second))
    right, lower = min(across, math.ceil(third) + 1), min(high, math.ceil(fourth) + 1)
    return (left, upper, right, lower) if left < right and upper < lower else None


def fixed(points: Points, left: int, top: int) -> npt.NDArray[np.int32]:
    """Return `points` relative to a corner in the numbers that OpenCV's drawing takes."""
    return np.rint((points - (left, top)) * (1 << _FINE_BITS)).astype(np.int32)


def fill(patch: Pixels, points: Points, colour: Colour | int, corner: tuple[int, int] = (0, 0)) -> None:
    """Fill a polygon with hard edges."""
    value = (colour,) if isinstance(colour, int) else colour
    cv2.fillPoly(patch, [fixed(points, *corner)], value, cv2.LINE_8, _FINE_BITS)


def draw(canvas: Canvas, label: int, shapes: Sequence[Shape]) -> None:
    """Paint an object given as shapes, the later ones over the earlier ones."""
    solid = [shape.points for shape in shapes if not shape.detail]
    window = window_of(canvas, np.concatenate(solid)) if solid else None
    if window is None:
        return
    left, top, right, bottom = window
    patch = canvas.image[top:bottom, left:right].copy()
    mask = np.zeros(patch.shape[:2], np.uint8)
    ends = np.cumsum([len(shape.points) for shape in shapes]).tolist()
    every = fixed(np.concatenate([shape.points for shape in shapes]), left, top)
    for shape, end in zip(shapes, ends, strict=True):
        points = every[end - len(shape.points) : end]
        if not shape.detail:
            cv2.fillPoly(mask, [points], (1,), cv2.LINE_8, _FINE_BITS)
        if shape.colour is None:
            continue
        if shape.line:
            _draw_line(patch, points, shape.colour, shape.line)
        else:
            cv2.fillPoly(patch, [points], shape.colour, cv2.LINE_AA if shape.detail else cv2.LINE_8, _FINE_BITS)
    put(canvas, label, mask, (left, top), patch)


def _draw_line(patch: Pixels, points: npt.NDArray[np.int32], colour: Colour, width: float) -> None:
    before = patch.copy() if width < 1 else patch
    cv2.polylines(patch, [points], False, colour, max(1, round(width)), cv2.LINE_AA, _FINE_BITS)
    if width < 1:  # it cannot be thinner than a pixel: it gets weaker instead
        cv2.addWeighted(patch, width, before, 1 - width, 0, dst=patch)


def darken(canvas: Canvas, points: Points, strength: float, soft: float) -> None:
    """Lay a shadow on what is painted so far: `strength` 0..1, `soft`: width of its edge in pixels. No label."""
    window = window_of(canvas, np.concatenate([points - 2 * soft, points + 2 * soft]))
    if window is None:
        return
    left, top, right, bottom = window
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fill(mask, points, round(255 * strength), (left, top))
    if soft > 0.4:
        cv2.blur(mask, (int(soft) * 2 + 1, int(soft) * 2 + 1), dst=mask, borderType=cv2.BORDER_REPLICATE)
    patch = canvas.image[top:bottom, left:right]
    left_over = np.subtract(255, mask, dtype=np.uint8)
    cv2.multiply(patch, cv2.merge([left_over] * 3), dst=patch, scale=1 / 255)


def bar(start: npt.ArrayLike, end: npt.ArrayLike, width: float) -> Points:
    """Return the four corners of a straight bar, at least one pixel wide."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along = last - first
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * max(width, 1.0) / 2
    return np.stack([first + across, last + across, last - across, first - across])
