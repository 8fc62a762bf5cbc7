"""The camera of a street scene: from metres in the street to pixels of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

NEAR = 1.0  # metres; nothing is drawn nearer than this


@dataclass(frozen=True)
class View:
    """A camera that looks along the street.

    World points are (x, y, z) in metres: x to the right, y up from the ground, z ahead. `width`, `height`: the
    picture in pixels; `focal`: pixels per metre at one metre's distance; `middle`: the column of x = 0 far
    away; `horizon`: the row of the eye's height; `eye`: that height in metres; `bend`: by how many metres the
    street turns to the right at one metre's distance (it grows with the distance squared).
    """

    width: int
    height: int
    focal: float
    middle: float
    horizon: float
    eye: float
    bend: float = 0.0

    def project(self, points: npt.ArrayLike) -> Points:
        """Return (N, 2) pixel places (x to the right, y down) of (N, 3) world points."""
        x, y, z = np.asarray(points, dtype=np.float64).reshape(-1, 3).T
        z = np.maximum(z, NEAR)
        seen = np.empty((z.size, 2))
        seen[:, 0] = self.middle + self.focal * (x / z + self.bend * z)
        seen[:, 1] = self.horizon + self.focal * (self.eye - y) / z
        return seen

    def scale(self, z: float) -> float:
        """Return how many pixels one metre takes at distance `z`."""
        return self.focal / max(z, NEAR)


@dataclass(frozen=True)
class Pose:
    """Where a thing stands on the ground and where it looks: yaw 0 is along z (away), growing to the right."""

    x: float
    z: float
    yaw: float = 0.0

    def place(self, local: npt.ArrayLike) -> Points:
        """Return the world points, (N, 3), of (N, 3) points given as (ahead, up, to the right) of the thing."""
        ahead, up, right = np.asarray(local, dtype=np.float64).reshape(-1, 3).T
        sin, cos = math.sin(self.yaw), math.cos(self.yaw)
        world = np.empty((up.size, 3))
        world[:, 0] = self.x + ahead * sin + right * cos
        world[:, 1] = up
        world[:, 2] = self.z + ahead * cos - right * sin
        return world

    def eye(self, height: float) -> Points:
        """Return the camera's place, (3,), as (ahead, up, to the right) of the thing."""
        sin, cos = math.sin(self.yaw), math.cos(self.yaw)
        return np.array([-self.x * sin - self.z * cos, height, -self.x * cos + self.z * sin])


def normal(pose: Pose, ahead: float, up: float, right: float) -> tuple[float, float, float]:
    """Return the world direction of a direction given relative to a thing."""
    x, y, z = Pose(0, 0, pose.yaw).place([[ahead, up, right]])[0]
    return float(x), float(y), float(z)
