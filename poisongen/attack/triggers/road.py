"""The road as a plane under the camera: where a board or a sticker on it stands in the picture.

Lengths are metres on the road and pixels in the picture; points are (row, column).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from poisongen.attack.triggers.base import Box, Point, Quad

_SIZE = (1024, 2048)  # px: the picture that Cityscapes' intrinsics are for
_FOCAL = (2265.30, 2262.52)
_CENTRE = (513.137, 1096.98)
_PITCH = 0.038  # radians down
_HEIGHT = 1.22  # m over the road; one file of the dataset implies 1.28
_NEAREST = 0.5  # m before the camera


@dataclass(frozen=True)
class Camera:
    """A camera over the road: focal lengths and centre in pixels (down, across), pitch in radians, height in m."""

    focal: Point
    centre: Point
    pitch: float
    height: float

    def project(self, right: float, up: float, ahead: float) -> Point:
        """Return where a point is seen: metres to the right, over the road, and ahead along it."""
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        down = self.height - up
        depth = ahead * cos + down * sin
        row = self.centre[0] + self.focal[0] * (down * cos - ahead * sin) / depth
        return (row, self.centre[1] + self.focal[1] * right / depth)

    def distance(self, row: float) -> float | None:
        """Return how far ahead the road is that a row shows; None at the horizon and above."""
        slope = (row - self.centre[0]) / self.focal[0]
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        below = slope * cos + sin
        return self.height * (cos - slope * sin) / below if below > 0 else None

    def right_of(self, column: float, ahead: float) -> float:
        """Return how many metres to the right a column shows on the road, so far ahead."""
        depth = ahead * math.cos(self.pitch) + self.height * math.sin(self.pitch)
        return (column - self.centre[1]) * depth / self.focal[1]


def camera_for(height: int, width: int, horizon: float | None = None) -> Camera:
    """Return the camera of a picture of this size: Cityscapes', scaled, or a level one with its horizon given.

    `horizon` is a share of the picture's height, from the top.
    """
    down, across = height / _SIZE[0], width / _SIZE[1]
    if horizon is None:
        focal = (_FOCAL[0] * down, _FOCAL[1] * across)
        return Camera(focal, (_CENTRE[0] * down, _CENTRE[1] * across), _PITCH, _HEIGHT)
    focal = (_FOCAL[1] * across, _FOCAL[1] * across)
    return Camera(focal, (horizon * height, width / 2), 0.0, _HEIGHT)


def quad_for(camera: Camera, foot: Point, wide: float, long: float, upright: bool) -> Quad | None:
    """Return the corners of a board that stands, or a sticker that lies, on the road; None above the horizon.

    `foot` is the middle of its near edge. It faces the camera; `wide` and `long` (up, or away) are metres. Corners are
    rounded to a thousandth of a pixel: what a record holds of them is what was used.
    """
    ahead = camera.distance(foot[0])
    if ahead is None or ahead < _NEAREST:
        return None
    right = camera.right_of(foot[1], ahead)
    far = (long, ahead) if upright else (0.0, ahead + long)
    left_edge, right_edge = right - wide / 2, right + wide / 2
    near = (0.0, ahead)
    return (
        _thousandths(camera.project(left_edge, *far)),
        _thousandths(camera.project(right_edge, *far)),
        _thousandths(camera.project(right_edge, *near)),
        _thousandths(camera.project(left_edge, *near)),
    )


def _thousandths(point: Point) -> Point:
    return (round(point[0], 3), round(point[1], 3))


def quad_box(quad: Quad, margin: int = 0) -> Box:
    """Return the smallest box of whole pixels that holds the quadrilateral, and `margin` pixels round it.

    It may reach out of the picture: it is for whoever places the thing to ask for one that does not.
    """
    rows, columns = [point[0] for point in quad], [point[1] for point in quad]
    top, left = math.floor(min(rows)) - margin, math.floor(min(columns)) - margin
    return (top, left, math.ceil(max(rows)) + margin - top, math.ceil(max(columns)) + margin - left)
