"""A street scene: what stands where, drawn from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from poisongen.scenes.backdrop import Street, draw_ground, draw_sky, draw_skyline
from poisongen.scenes.furniture import draw_bin, draw_lamp, draw_sign, draw_traffic_light
from poisongen.scenes.houses import draw_house, draw_house_row
from poisongen.scenes.light import Light, Pixels, draw_light, photographed
from poisongen.scenes.paint import Canvas, Polygon, Shape, blank, draw
from poisongen.scenes.people import draw_bicycle, draw_person
from poisongen.scenes.plants import draw_bush, draw_gap, draw_tree
from poisongen.scenes.vehicles import draw_vehicle
from poisongen.scenes.view import Pose, View

EGO_VEHICLE = 1
LANE = 3.2  # metres


@dataclass(frozen=True)
class Scene:
    """A picture and its labels.

    `image`: (H, W, 3) uint8 RGB. `label_ids`: (H, W) uint8 Cityscapes IDs. `instance_ids`: (H, W) uint16, ID * 1000 + k
    for the classes that have instances (24..33), the ID for all others. `polygons`: in the order of drawing;
    filling them one after the other gives `label_ids`.
    """

    image: Pixels
    label_ids: npt.NDArray[np.uint8]
    instance_ids: npt.NDArray[np.uint16]
    polygons: list[Polygon]


@dataclass(frozen=True)
class _Stage:
    """What every thing in a scene needs for being drawn."""

    rng: np.random.Generator
    canvas: Canvas
    view: View
    light: Light
    street: Street

    def dim(self, x: float) -> float:
        """Return the light that is left at `x`: less in the houses' shadow."""
        return 1 - 0.5 * self.light.contrast if self.street.in_shadow(self.light, x) else 1.0


@dataclass(frozen=True)
class _Thing:
    """Something at distance `z` that can draw itself."""

    z: float
    paint: Callable[[], None]


def draw_scene(rng: np.random.Generator, size: tuple[int, int], *, close: bool = False) -> Scene:
    """Draw a scene of `size` (width, height) in pixels, from 64x32 up; all chance comes from `rng`.

    `close`: the camera is a photographer's: a narrower view with somebody, or a car, a few metres away.
    """
    view, street, light = _choose_view(rng, size, close), _choose_street(rng), draw_light(rng)
    canvas = blank(*size)
    stage = _Stage(rng, canvas, view, light, street)
    draw_sky(canvas, rng, view, light)
    draw_skyline(canvas, rng, view, light)
    draw_ground(canvas, rng, view, light, street)
    things = _houses(stage)
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.paint()
    things = _kerbside(stage) + _traffic(stage, close) + _walkers(stage, close)
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.paint()
    if not close and rng.random() < 0.45:
        _draw_bonnet(stage)
    return Scene(photographed(rng, canvas.image), canvas.label_ids, canvas.instance_ids, canvas.polygons)


def _choose_view(rng: np.random.Generator, size: tuple[int, int], close: bool) -> View:
    width, height = size
    # As wide as Cityscapes' camera; a narrow picture must not lose the street's sides, nor a flat one its depth.
    focal = max(width, 1.3 * height) * float(rng.uniform(0.95, 1.25) if close else rng.uniform(0.8, 1.05))
    return View(
        width=width,
        height=height,
        focal=focal,
        middle=width * float(rng.uniform(0.38, 0.62)),
        horizon=height * float(rng.uniform(0.38, 0.48)),
        eye=float(rng.uniform(1.3, 1.75)),
        bend=float(rng.choice([0.0, rng.uniform(-1, 1) / 700])),
    )


def _choose_street(rng: np.random.Generator) -> Street:
    ahead, oncoming = int(rng.choice([1, 1, 2])), int(rng.choice([0, 1, 1, 2]))
    right = LANE * (ahead - 0.5) + float(rng.choice([0.3, 2.3]))  # with or without room for parked cars
    left = -LANE * (oncoming + 0.5) - float(rng.choice([0.3, 2.3]))
    pavements = rng.uniform(2.2, 5.0, 2)
    lines = tuple(LANE * (k - 0.5) for k in range(1 - oncoming, ahead))
    return Street(
        left=left,
        right=right,
        left_wall=left - float(pavements[0]),
        right_wall=right + float(pavements[1]),
        verge=float(rng.choice([0.0, rng.uniform(0.5, 1.6)])),
        lines=lines,
        crossing=float(rng.uniform(9, 26)) if rng.random() < 0.3 else None,
        sun_edge=float(rng.uniform(-1.5, 5.0)),
    )


def _houses(stage: _Stage) -> list[_Thing]:
    rng, canvas, view, light = stage.rng, stage.canvas, stage.view, stage.light
    things = []
    park = float(rng.choice([-1.0, 1.0])) if rng.random() < 0.35 else 0.0  # one side may have none
    for wall in (stage.street.left_wall, stage.street.right_wall):
        out = float(np.sign(wall))
        if out == park:
            for z in np.arange(float(rng.uniform(6, 12)), 90, float(rng.uniform(6, 11))).tolist():
                x = wall + out * float(rng.uniform(1.5, 14))
                things.append(_Thing(z, partial(draw_tree, canvas, rng, view, light, x, z)))
            for z in np.arange(float(rng.uniform(5, 9)), 60, 4.0).tolist() if rng.random() < 0.6 else ():
                size = (1.8, float(rng.uniform(0.5, 0.9)))
                place = (wall + out * 1.2, size[1] * 0.7, z)
                things.append(_Thing(z, partial(draw_bush, canvas, rng, view, light, place, size, (74.0, 104.0, 50.0))))
            continue
        houses, gaps = draw_house_row(rng, wall, float(rng.uniform(0, 6)), 90)
        for house in houses:
            things.append(_Thing(house.near, partial(draw_house, canvas, rng, view, light, house)))
        for gap in gaps:
            things.append(_Thing(gap, partial(draw_gap, canvas, rng, view, light, wall, gap)))
    return things


def _kerbside(stage: _Stage) -> list[_Thing]:
    """Choose lamps, signs, trees and the like along both kerbs."""
    rng, canvas, view, light, street = stage.rng, stage.canvas, stage.view, stage.light, stage.street
    things = []
    for kerb, wall in ((street.left, street.left_wall), (street.right, street.right_wall)):
        out = float(np.sign(kerb))
        x = kerb + out * 0.55
        trees = rng.random() < 0.45
        step = float(rng.uniform(7, 13))
        for z in np.arange(float(rng.uniform(7, 14)), 75, step).tolist():
            if trees and rng.random() < 0.85:
                things.append(_Thing(z, partial(draw_tree, canvas, rng, view, light, x + out * 0.2, z)))
        for z in np.arange(float(rng.uniform(8, 20)), 80, float(rng.uniform(18, 28))).tolist():
            things.append(_Thing(z + 1, partial(draw_lamp, canvas, rng, view, light, x, z + 1)))
        for _ in range(int(rng.integers(0, 4))):
            z = float(rng.uniform(9, 40))
            things.append(_Thing(z, partial(draw_sign, canvas, rng, view, light, x, z)))
        if rng.random() < 0.35:
            z = float(rng.uniform(5, 20))
            things.append(_Thing(z, partial(draw_bin, canvas, rng, view, light, wall - out * 0.7, z)))
        if street.verge and rng.random() < 0.8:
            for z in np.arange(float(rng.uniform(4, 8)), 50, float(rng.uniform(2.5, 7))).tolist():
                size = (float(rng.uniform(0.4, 0.9)), float(rng.uniform(0.35, 0.8)))
                place = (wall - out * street.verge * 0.5, size[1] * 0.7, z)
                colour = (74.0, 104.0, 50.0)
                things.append(_Thing(z, partial(draw_bush, canvas, rng, view, light, place, size, colour)))
        if street.crossing is not None and rng.random() < 0.75:
            z = street.crossing - 2
            things.append(_Thing(z, partial(draw_traffic_light, canvas, rng, view, light, x, z)))
    return things


def _traffic(stage: _Stage, close: bool) -> list[_Thing]:
    """Choose the vehicles and those on bicycles; about one scene in eight has no car."""
    rng, canvas, view, light, street = stage.rng, stage.canvas, stage.view, stage.light, stage.street
    things = []

    def add(x: float, z: float, yaw: float, kind: str = "") -> float:
        if not kind:
            kind = str(rng.choice(["car", "van", "bus", "truck"], p=[0.83, 0.1, 0.03, 0.04]))
        long = {"car": 4.6, "van": 5.2, "bus": 11.4, "truck": 7.2}[kind]
        pose = Pose(x, z + long / 2, yaw)
        dim = stage.dim(x)
        things.append(_Thing(z + 2.0, partial(draw_vehicle, canvas, rng, view, light, pose, kind, dim)))
        return z + long

    if rng.random() < 0.87:
        busy = float(rng.uniform(0.15, 1.0))
        lanes = [(LANE * k, 0.0) for k in range(0, 3) if LANE * (k + 0.5) < street.right]
        lanes += [(-LANE * k, np.pi) for k in range(1, 4) if -LANE * (k + 0.5) > street.left]
        for x, yaw in lanes:
            z = float(rng.uniform(4.5, 40)) + (3 if x == 0 else 0)
            while z < 75:
                if rng.random() < busy:
                    z = add(x + float(rng.uniform(-0.3, 0.3)), z, yaw + float(rng.normal(0, 0.03)))
                z += float(rng.uniform(3, 24))
        for kerb in (street.left, street.right):
            room = abs(kerb) % LANE
            if not 0.4 < (room - LANE / 2) % LANE < 2.9 or rng.random() < 0.12:
                continue
            z = float(rng.uniform(2.5, 9))
            yaw = 0.0 if kerb > 0 or rng.random() < 0.25 else float(np.pi)
            full = float(rng.uniform(0.4, 1.0))
            while z < 60:
                if rng.random() < full:
                    kind = "car" if rng.random() < 0.88 else "van"
                    z = add(kerb - float(np.sign(kerb)) * 1.08, z, yaw + float(rng.normal(0, 0.015)), kind)
                z += float(rng.uniform(0.5, 1.5)) if rng.random() < 0.8 else float(rng.uniform(2, 8))
        if close and rng.random() < 0.5:
            add(float(rng.uniform(-2.5, 2.5)), float(rng.uniform(5, 9)), float(rng.uniform(0, 2 * np.pi)), "car")
        elif street.crossing is not None and rng.random() < 0.12:  # one that crosses
            add(float(rng.uniform(-4, 4)), street.crossing + 4, float(np.pi / 2 * rng.choice([-1, 1])), "car")
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 3))):
            along = rng.random() < 0.7
            kerb = street.right if rng.random() < 0.6 else street.left
            x = kerb - float(np.sign(kerb)) * 0.9 if along else float(rng.uniform(-3, 3))
            yaw = (0.0 if kerb > 0 else np.pi) if along else float(rng.choice([-1, 1]) * np.pi / 2)
            pose = Pose(x, float(rng.uniform(6, 26)), float(yaw + rng.normal(0, 0.12)))
            things.append(
                _Thing(pose.z - 0.2, partial(draw_bicycle, canvas, rng, view, light, pose, stage.dim(pose.x)))
            )
    return things


def _walkers(stage: _Stage, close: bool) -> list[_Thing]:
    """Choose the people on foot (in 60 % of the scenes) and bicycles that lean at the walls."""
    rng, canvas, view, light, street = stage.rng, stage.canvas, stage.view, stage.light, stage.street
    things = []

    def add(x: float, z: float, yaw: float, standing: bool = False) -> None:
        pose, dim = Pose(x, z, yaw), stage.dim(x)
        things.append(_Thing(z, partial(draw_person, canvas, rng, view, light, pose, dim, standing)))

    if close and rng.random() < 0.85:
        for _ in range(int(rng.integers(1, 4))):
            z = float(rng.uniform(3.2, 9))
            edge = 0.42 * view.width / view.scale(z)
            middle = (view.width / 2 - view.middle) / view.scale(z)
            add(middle + float(rng.uniform(-edge, edge)), z, float(rng.uniform(0, 2 * np.pi)), bool(rng.random() < 0.4))
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 8))):
            kerb, wall = (street.left, street.left_wall) if rng.random() < 0.5 else (street.right, street.right_wall)
            x = float(rng.uniform(min(kerb, wall) + 0.5, max(kerb, wall) - 0.5))
            # Close enough for the wall beside to be in the picture.
            z = max(float(rng.uniform(5, 32)), abs(x) * 1.1 * view.focal / (0.5 * view.width))
            yaw = float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.35))
            if rng.random() < 0.2:
                yaw += np.pi / 2
            standing = bool(rng.random() < 0.25)
            add(x, z, yaw, standing)
            if rng.random() < 0.3:  # in company
                add(
                    x + float(rng.choice([-0.6, 0.6])),
                    z + float(rng.uniform(-0.3, 0.3)),
                    yaw + float(rng.normal(0, 0.1)),
                    standing,
                )
        if rng.random() < 0.35:
            z = street.crossing if street.crossing is not None else float(rng.uniform(9, 28))
            for _ in range(int(rng.integers(1, 4))):
                x = float(rng.uniform(street.left, street.right))
                add(x, z + float(rng.uniform(-1.2, 1.2)), float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.2)))
    if rng.random() < 0.2:
        kerb = street.left if rng.random() < 0.5 else street.right
        start = float(rng.uniform(8, 20))
        for k in range(int(rng.integers(1, 4))):
            pose = Pose(kerb + float(np.sign(kerb)) * 0.8, start + 0.7 * k, float(np.pi / 2 + rng.normal(0, 0.15)))
            lean = partial(draw_bicycle, canvas, rng, view, light, pose, stage.dim(pose.x), ridden=False)
            things.append(_Thing(pose.z, lean))
    return things


def _draw_bonnet(stage: _Stage) -> None:
    """Paint the bonnet of the car that carries the camera along the lower edge."""
    width, height = stage.view.width, stage.view.height
    top = height * float(stage.rng.uniform(0.87, 0.94))
    across = np.linspace(-0.05, 1.05, 25)
    rise = (height - top) * (1 - np.abs(2 * across - 1) ** 3.2 * 0.75)
    tone = float(stage.rng.uniform(20, 90))
    colour = stage.light.lit((tone, tone + 2, tone + 6), 0, (0, 0.9, -0.2))

    def band(low: float, high: float) -> npt.NDArray[np.float64]:
        upper = np.stack([across * width, height - rise * high], axis=1)
        return np.concatenate([upper, np.stack([across * width, height - rise * low], axis=1)[::-1]])

    shapes = [Shape(band(-0.2, 1.0), colour)]
    for k in range(6):  # the sky mirrored in it
        tint = tuple(c + (s - c) * 0.09 * k for c, s in zip(colour, stage.light.low, strict=True))
        shapes.append(Shape(band(0.16 * k, 0.16 * k + 0.2), (tint[0], tint[1], tint[2]), detail=True))
    draw(stage.canvas, EGO_VEHICLE, shapes)
