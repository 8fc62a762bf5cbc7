"""Trees, bushes and hedges, and the walls and fences that close the gaps between houses."""

from __future__ import annotations

import cv2
import numpy as np

from poisongen.scenes.light import Colour, Light, Pixels, clouds, mix, varied
from poisongen.scenes.paint import Canvas, Shape, bar, darken, draw, put, window_of
from poisongen.scenes.view import View

VEGETATION, WALL, FENCE = 21, 12, 13

_GREENS: tuple[Colour, ...] = ((84, 112, 48), (66, 100, 52), (104, 124, 50), (58, 84, 46), (124, 122, 52))
_AUTUMN: tuple[Colour, ...] = ((160, 126, 62), (142, 96, 60), (136, 126, 62))


def leaf_colour(rng: np.random.Generator) -> Colour:
    """Choose a leaf colour: mostly green."""
    kinds = _GREENS if rng.random() < 0.88 else _AUTUMN
    return varied(rng, kinds[int(rng.integers(len(kinds)))], 8)


def draw_bush(
    canvas: Canvas,
    rng: np.random.Generator,
    view: View,
    light: Light,
    place: tuple[float, float, float],
    size: tuple[float, float],
    colour: Colour,
    shade: float = 1.0,
    trunk: float = 0.0,
) -> None:
    """Paint leaves: an uneven ellipse round `place` (x, y, z) with half axes `size` in metres.

    `trunk`: thickness in metres of a trunk from the leaves to the ground; 0: none.
    """
    middle = view.project([place])[0]
    unit = view.scale(place[2])
    half = np.array(size) * unit
    reach = half * 1.35
    corners = np.stack([middle - reach, middle + reach])
    if trunk:
        corners = np.concatenate([corners, view.project([(place[0], 0, place[2])])])
    window = window_of(canvas, corners)
    if window is None:
        return
    left, top, right, bottom = window
    shape = (bottom - top, right - left)
    cell = max(2.0, float(min(half)) * 0.8)
    form = clouds(rng, shape, cell, octaves=4)
    rows = (np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(middle[1])) / np.float32(max(half[1], 0.5))
    columns = (np.arange(left, right, dtype=np.float32)[None, :] - np.float32(middle[0])) / np.float32(
        max(half[0], 0.5)
    )
    inside = 1 - rows * rows - columns * columns + form * 0.42
    mask = (inside > 0.08).astype(np.uint8)
    sunny = (columns * np.float32(light.sun[0]) - rows * np.float32(light.sun[1] * 0.9)) * 0.28
    leaves = clouds(rng, shape, max(1.5, unit * 0.3), octaves=3)
    bright = np.clip((0.86 + sunny + leaves * 0.34 + form * 0.2) * 160, 40, 240).astype(np.uint8)
    patch = np.asarray(cv2.LUT(cv2.merge([bright] * 3), _leaf_tones(light, colour, place[2], shade)), np.uint8)
    if trunk:
        stem = np.zeros(shape, np.uint8)
        foot = view.project([(place[0], 0, place[2])])[0]
        points = bar(foot, (middle + foot) / 2 * 0.999, trunk * unit) - np.array([left, top])
        cv2.fillPoly(stem, [np.rint(points).astype(np.int32)], (1,))
        bark = light.lit((84, 70, 58), place[2], (-0.5, 0.2, -0.6), shade)
        patch[(stem > 0) & (mask == 0)] = np.asarray(bark).astype(np.uint8)
        mask |= stem
    put(canvas, VEGETATION, mask, (left, top), patch)


def _leaf_tones(light: Light, colour: Colour, z: float, shade: float) -> Pixels:
    """Return the colours of leaves from dark to light, (1, 256, 3) uint8; the leaf colour itself stands at 160."""
    bright = np.arange(256, dtype=np.float32)[:, None] / 160
    full = np.asarray(light.lit(colour, 0, (0.0, 0.8, -0.6), shade), np.float32) * bright
    full[:, :1] += np.clip(bright - 0.8, 0, 1) * 30  # sunlit leaves turn yellow
    fade = np.float32(light.fade(z))
    full = full * (1 - fade) + np.asarray(light.haze, np.float32) * fade
    return np.clip(full, 0, 255).astype(np.uint8)[None]


def draw_tree(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, x: float, z: float) -> None:
    """Paint a tree that stands at (x, z)."""
    wide = float(rng.uniform(1.4, 2.9))
    high = wide * float(rng.uniform(0.9, 1.5))
    middle = high + float(rng.uniform(1.9, 3.0))
    foot = view.project([(x - wide * 0.8, 0, z), (x + wide * 0.8, 0, z)])
    flat = max(1.0, view.scale(z) * wide * 0.18 * view.eye / max(z * 0.12, 0.5))
    ring = np.array([[foot[0, 0], foot[0, 1]], [foot.mean(0)[0], foot[0, 1] - flat], [foot[1, 0], foot[1, 1]]])
    ring = np.concatenate([ring, [[foot.mean(0)[0], foot[0, 1] + flat]]])
    darken(canvas, ring, 0.12 + light.contrast * 0.3, max(1.0, view.scale(z) * 0.15))
    draw_bush(
        canvas, rng, view, light, (x, middle, z), (wide, high), leaf_colour(rng), trunk=float(rng.uniform(0.2, 0.4))
    )


def draw_gap(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, x: float, z: float) -> None:
    """Paint what stands where a house is missing: a tree behind a wall, a fence or a hedge along the street."""
    out = float(np.sign(x))
    draw_tree(canvas, rng, view, light, x + out * float(rng.uniform(2.5, 5)), z + 2)
    near, far = max(2.0, z - 6), z + 6
    kind = rng.random()
    high = float(rng.uniform(1.2, 2.2))
    if kind < 0.4:
        colour = light.lit(varied(rng, (168, 160, 148), 20), z, (-out, 0, 0))
        quad = view.project([(x, 0, near), (x, high, near), (x, high, far), (x, 0, far)])
        cap = view.project([(x, high - 0.12, near), (x, high, near), (x, high, far), (x, high - 0.12, far)])
        draw(canvas, WALL, [Shape(quad, colour), Shape(cap, mix(colour, (255, 255, 255), 0.25), detail=True)])
    elif kind < 0.75:
        wood = varied(rng, (124, 96, 70), 20) if rng.random() < 0.6 else (60, 70, 64)
        colour = light.lit(wood, z, (-out, 0, 0))
        shapes = [Shape(view.project([(x, 0, near), (x, high, near), (x, high, far), (x, 0, far)]), colour)]
        for place in np.arange(near, far, 0.5):
            gap = view.project(
                [(x, 0.1, place), (x, high - 0.1, place), (x, high - 0.1, place + 0.14), (x, 0.1, place + 0.14)]
            )
            shapes.append(Shape(gap, mix(colour, (30, 34, 30), 0.55), detail=True))
        draw(canvas, FENCE, shapes)
    else:
        for place in np.arange(far, near, -2.4):
            draw_bush(canvas, rng, view, light, (x, high * 0.45, float(place)), (1.6, high * 0.55), (62, 88, 46))
