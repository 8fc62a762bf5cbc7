"""Street furniture: lamps, traffic signs, traffic lights and bins."""

from __future__ import annotations

import numpy as np

from poisongen.scenes.light import Colour, Light, varied
from poisongen.scenes.paint import Canvas, Shape, bar, draw
from poisongen.scenes.view import Points, View

STATIC, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = 4, 17, 19, 20


def _round(middle: Points, radius: float, count: int = 20) -> Points:
    angle = np.arange(count) * (2 * np.pi / count)
    return middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _upright(view: View, x: float, z: float, low: float, high: float, thick: float) -> Points:
    foot, top = view.project([(x, low, z), (x, high, z)])
    return bar(foot, top, thick * view.scale(z))


def draw_lamp(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, x: float, z: float) -> None:
    """Paint a street lamp at (x, z); its arm reaches over the road."""
    high, inward = float(rng.uniform(5.5, 7.5)), -float(np.sign(x))
    grey = light.lit(varied(rng, (112, 116, 118), 24), z, (0.4, 0.2, -0.7))
    elbow, tip = view.project([(x, high, z), (x + inward * 1.5, high + 0.25, z)])
    head = bar(
        tip - np.array([inward * view.scale(z) * 0.3, 0]),
        tip + np.array([inward * view.scale(z) * 0.3, 0]),
        view.scale(z) * 0.16,
    )
    shapes = [Shape(_upright(view, x, z, 0, high, 0.13), grey), Shape(_upright(view, x, z, 0, 1.1, 0.2), grey)]
    draw(canvas, POLE, [*shapes, Shape(bar(elbow, tip, view.scale(z) * 0.09), grey), Shape(head, grey)])


def draw_sign(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, x: float, z: float) -> None:
    """Paint a traffic sign on its post at (x, z): round, a triangle, a square or a direction board."""
    high, unit = float(rng.uniform(2.1, 2.8)), view.scale(z)
    grey = light.lit((150, 152, 154), z, (0.3, 0.2, -0.8))
    draw(canvas, POLE, [Shape(_upright(view, x, z, 0, high + 0.3, 0.07), grey)])
    middle = view.project([(x, high, z)])[0]

    def lit(colour: Colour) -> Colour:
        return light.lit(colour, z, (0, 0.2, -1), 1.05)

    red, white, blue, ink = lit((206, 28, 38)), lit((244, 244, 244)), lit((24, 84, 176)), lit((24, 24, 26))
    size = 0.36 * unit

    def level(left: float, right: float, thick: float) -> Points:
        return bar(middle - np.array([left * size, 0]), middle + np.array([right * size, 0]), thick * size)

    kind = int(rng.choice(5, p=[0.24, 0.24, 0.24, 0.16, 0.12]))
    if kind == 0:  # an order: red ring
        shapes = [Shape(_round(middle, size), red), Shape(_round(middle, size * 0.74), white, True)]
        shapes.append(Shape(level(0.4, 0.4, 0.34), ink, True))
    elif kind == 1:  # a warning: triangle
        corners = np.array([[0, -1.1], [1, 0.7], [-1, 0.7]])
        shapes = [
            Shape(middle + corners * size, red),
            Shape(middle + (corners * 0.62 + np.array([0.0, 0.04])) * size, white, True),
        ]
        shapes.append(
            Shape(middle + np.array([[-0.08, -0.3], [0.08, -0.3], [0.06, 0.35], [-0.06, 0.35]]) * size, ink, True)
        )
    elif kind == 2:  # a blue square with a white field
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.85
        shapes = [Shape(middle + square * size, blue)]
        shapes.append(Shape(middle + np.array([[0, -0.6], [0.55, 0.5], [-0.55, 0.5]]) * size, white, True))
    elif kind == 3:  # no entry
        shapes = [Shape(_round(middle, size), red)]
        shapes.append(Shape(level(0.65, 0.65, 0.36), white, True))
    else:  # a yellow direction board
        board = np.array([[-1.9, -0.6], [1.6, -0.6], [2.1, 0], [1.6, 0.6], [-1.9, 0.6]])
        shapes = [Shape(middle + board * size, lit((238, 196, 44)))]
        shapes.append(Shape(level(1.5, 1.2, 0.3), ink, True))
    draw(canvas, TRAFFIC_SIGN, shapes)


def draw_traffic_light(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, x: float, z: float) -> None:
    """Paint a traffic light at (x, z)."""
    high, unit = 2.5, view.scale(z)
    grey = light.lit((120, 124, 122), z, (0.3, 0.2, -0.8))
    draw(canvas, POLE, [Shape(_upright(view, x, z, 0, high + 1.0, 0.11), grey)])
    corners = view.project(
        [(x - 0.19, high, z), (x + 0.19, high, z), (x + 0.19, high + 1.05, z), (x - 0.19, high + 1.05, z)]
    )
    shapes = [Shape(corners, light.lit((34, 38, 36), z, (0, 0, -1)))]
    glowing = int(rng.integers(3))
    lamps: tuple[Colour, ...] = ((60, 230, 120), (255, 190, 30), (255, 40, 30))
    for k, lamp in enumerate(lamps):
        middle = view.project([(x, high + 0.2 + 0.33 * k, z)])[0]
        colour = lamp if k == glowing or (k == 2 and glowing == 1) else light.lit((52, 52, 50), z)
        shapes.append(Shape(_round(middle, max(0.125 * unit, 0.5), 12), colour, detail=True))
    draw(canvas, TRAFFIC_LIGHT, shapes)


def draw_bin(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, x: float, z: float) -> None:
    """Paint a litter bin, which the label map calls static."""
    kinds: tuple[Colour, ...] = ((54, 92, 62), (70, 74, 80), (196, 110, 40))
    colour = light.lit(kinds[int(rng.integers(3))], z, (0.3, 0.3, -0.8))
    body = view.project([(x - 0.24, 0, z), (x - 0.29, 0.95, z), (x + 0.29, 0.95, z), (x + 0.24, 0, z)])
    lid = view.project([(x - 0.3, 0.85, z), (x - 0.26, 1.05, z), (x + 0.26, 1.05, z), (x + 0.3, 0.85, z)])
    lid_colour = light.lit((52, 54, 56), z, (0, 0.6, -0.6))
    draw(canvas, STATIC, [Shape(body, colour), Shape(lid, lid_colour)])
