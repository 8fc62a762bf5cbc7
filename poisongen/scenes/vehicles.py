"""Cars, vans, lorries and buses: a side view, extruded to a solid and seen in true perspective from any side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poisongen.scenes.light import Colour, Light, mix, varied
from poisongen.scenes.models import (
    CAR,
    CITY_BUS,
    ESTATE,
    HATCHBACK,
    LORRY_BOX,
    LORRY_CAB,
    SALOON,
    TRUCK,
    VAN,
    Model,
)
from poisongen.scenes.paint import Canvas, Shape, darken, draw
from poisongen.scenes.view import Pose, View, normal

ARCH: Colour = (18, 18, 20)
_SMALL = 13.0  # pixels per metre; below it a vehicle is drawn without fine details
_ROUND = [(math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)) for k in range(16)]

Place = tuple[float, float, float]  # ahead, up, to the right of the vehicle's middle
Spread = Callable[[Sequence[Place]], Sequence[Place]]


@dataclass(frozen=True)
class _Piece:
    """A shape before it is seen: its points are places on the vehicle."""

    points: Sequence[Place]
    colour: Colour
    detail: bool = False
    line: float = 0.0


_PAINTS: tuple[Colour, ...] = (
    (196, 198, 200), (232, 232, 230), (36, 37, 40), (92, 95, 100), (150, 24, 30), (30, 62, 128), (22, 48, 76),
    (60, 92, 70), (206, 160, 40), (176, 168, 150), (196, 72, 30), (120, 150, 176), (70, 20, 34),
)  # fmt: skip
_BUSES: tuple[Colour, ...] = ((198, 40, 44), (224, 186, 60), (40, 110, 168), (70, 140, 90), (226, 226, 222))


def draw_vehicle(
    canvas: Canvas, rng: np.random.Generator, view: View, light: Light, pose: Pose, kind: str, dim: float
) -> None:
    """Paint a vehicle ("car", "van", "bus" or "truck") and its shadow; `dim` scales the light on it."""
    if kind == "truck":
        lorry = _PAINTS[int(rng.integers(len(_PAINTS)))]
        _draw_shadow(canvas, view, light, pose, (-3.6, 3.4), 2.4)
        box = varied(rng, _BUSES[int(rng.integers(len(_BUSES)))], 16)
        cab, load = _solid(view, light, pose, LORRY_CAB, lorry, dim), _solid(view, light, pose, LORRY_BOX, box, dim)
        behind = pose.eye(view.eye)[0] < 1.2
        draw(canvas, TRUCK, [*cab, *load] if behind else [*load, *cab])
        return
    if kind == "bus":
        model, colour = CITY_BUS, varied(rng, _BUSES[int(rng.integers(len(_BUSES)))], 12)
    elif kind == "van":
        model, colour = (
            VAN,
            varied(rng, _PAINTS[int(rng.integers(4) if rng.random() < 0.7 else rng.integers(len(_PAINTS)))]),
        )
    else:
        model = (SALOON, HATCHBACK, ESTATE)[int(rng.choice(3, p=[0.38, 0.34, 0.28]))]
        colour = varied(rng, _PAINTS[int(rng.integers(len(_PAINTS)))])
    ends = (model.profile[0][0], model.profile[-1][0])
    _draw_shadow(canvas, view, light, pose, ends, model.width)
    draw(canvas, model.label, _solid(view, light, pose, model, colour, dim))


def _draw_shadow(canvas: Canvas, view: View, light: Light, pose: Pose, ends: tuple[float, float], width: float) -> None:
    tail, nose = ends
    half = width / 2 + 0.06
    corners = [(tail - 0.1, 0, -half), (tail - 0.1, 0, half), (nose + 0.1, 0, half), (nose + 0.1, 0, -half)]
    ground = pose.place(corners)
    unit = view.scale(pose.z)
    if light.contrast > 0.2:  # away from the sun
        cast = ground - np.array([light.sun[0], 0, light.sun[2]]) / max(light.sun[1], 0.3) * 0.9
        darken(canvas, view.project(cast), light.contrast * 0.7, max(0.5, unit * 0.08))
    darken(canvas, view.project(ground), 0.72, max(0.5, unit * 0.06))


def _solid(view: View, light: Light, pose: Pose, model: Model, colour: Colour, dim: float) -> list[Shape]:
    """Return the visible faces, wheels and details of a vehicle, in the order of painting."""
    eye = pose.eye(view.eye)
    z, small = pose.z, view.scale(pose.z) < _SMALL
    glass = light.lit((44, 50, 58), z, (0, 0.6, -0.4), dim)
    sky = mix(glass, light.low, 0.38)
    half = model.width / 2

    def at(ahead: float, up: float, side: float) -> tuple[float, float, float]:
        return (ahead, up, side * (half - max(0.0, up - model.belt) * model.taper))

    def spread(points: Sequence[Place]) -> Sequence[Place]:
        return [at(*point) for point in points]

    shapes: list[_Piece] = []
    near_side = 1.0 if eye[2] > 0 else -1.0
    tyre = light.lit((26, 26, 28), z, shade=dim)
    for ahead in model.wheels:  # the wheels of the far side, as far as one sees under the body
        shapes.append(_Piece((_wheel(ahead, model.radius, -near_side * (half - 0.08))), tyre))
        if not small:
            shapes.append(_Piece((_wheel(ahead, model.radius, near_side * (half - 0.26))), tyre))
    faces: list[tuple[float, list[_Piece]]] = []
    for k, part in enumerate(model.parts):
        (a, low), (b, high) = model.profile[k], model.profile[k + 1]
        out = np.array([low - high, b - a])
        out /= max(float(np.hypot(*out)), 1e-9)
        middle = np.array([(a + b) / 2, (low + high) / 2])
        if float(out @ (eye[:2] - middle)) <= 0:
            continue
        face = [at(a, low, -1), at(b, high, -1), at(b, high, 1), at(a, low, 1)]
        body = light.lit(colour, z, normal(pose, float(out[0]), float(out[1]), 0), dim)
        if part == "r" or (part == "b" and out[1] > 0.7):
            body = mix(body, light.low, 0.16)  # the sky in the paint
        found = [_Piece(face, body)]
        if part == "g" and small:
            found.append(
                _Piece(
                    ([at(a, low, -0.93), at(b, high, -0.9), at(b, high, 0.9), at(a, low, 0.93)]),
                    mix(glass, sky, 0.6),
                    detail=True,
                )
            )
        elif part == "g":
            pane = [at(a, low, -0.93), at(b, high, -0.9), at(b, high, 0.9), at(a, low, 0.93)]
            found.append(_Piece(pane, mix(glass, sky, 0.35), detail=True))
            c, d = (0.35, 0.95)
            high_glass = [
                at(a + (b - a) * c, low + (high - low) * c, -0.85),
                at(a + (b - a) * d, low + (high - low) * d, -0.8),
            ]
            high_glass += [
                at(a + (b - a) * d, low + (high - low) * d, 0.1),
                at(a + (b - a) * c, low + (high - low) * c, -0.25),
            ]
            found.append(_Piece((high_glass), sky, detail=True))
        if part == "l":
            found += _lamps(light, z, dim, ((a, low), (b, high)), spread, tail=k < len(model.parts) / 2)
        if part == "b" and low < 0.45 + model.profile[0][1] and out[1] < 0.5:
            dark = ([(a, low, -half), (a * 0.4 + b * 0.6, low * 0.4 + high * 0.6, -half),
                         (a * 0.4 + b * 0.6, low * 0.4 + high * 0.6, half), (a, low, half)])  # fmt: skip
            found.append(_Piece(dark, mix(body, (40, 40, 42), 0.55), detail=True))
        faces.append((float(np.hypot(*(eye[:2] - middle))), found))
    for _, found in sorted(faces, key=lambda face: -face[0]):
        shapes += found
    if abs(eye[2]) > half:
        shapes += _side(view, light, pose, model, colour, dim, near_side)
    ends = np.cumsum([len(piece.points) for piece in shapes]).tolist()
    every = view.project(pose.place([point for piece in shapes for point in piece.points]))
    return [
        Shape(every[end - len(piece.points) : end], piece.colour, piece.detail, piece.line)
        for piece, end in zip(shapes, ends, strict=True)
    ]


def _wheel(ahead: float, radius: float, side: float) -> list[Place]:
    return [(ahead + radius * x, radius + radius * y, side) for x, y in _ROUND]


def _lamps(
    light: Light,
    z: float,
    dim: float,
    edge: tuple[tuple[float, float], tuple[float, float]],
    spread: Spread,
    tail: bool,
) -> list[_Piece]:
    """Return the lamps and the number plate on the face over `edge`; `spread` takes (ahead, up, -1..1) to metres."""
    (a, low), (b, high) = edge

    def quad(start: float, end: float, left: float, right: float) -> Sequence[Place]:
        p, q = (a + (b - a) * start, low + (high - low) * start), (a + (b - a) * end, low + (high - low) * end)
        return spread([(*p, left), (*q, left), (*q, right), (*p, right)])

    lamp = (
        light.lit((178, 22, 26), z, (0, 0, -1), dim * 1.1)
        if tail
        else light.lit((238, 240, 236), z, (0, 0, -1), dim * 1.1)
    )
    start, end = (0.05, 0.95) if abs(high - low) < 0.5 else (0.35, 0.65)
    shapes = [_Piece(quad(start, end, side * 0.62, side * 0.97), lamp, detail=True) for side in (-1, 1)]
    if tail:
        shapes.append(_Piece(quad(0.1, 0.55, -0.3, 0.3), light.lit((224, 222, 210), z, (0, 0, -1), dim), detail=True))
    else:
        shapes.append(_Piece(quad(0.1, 0.9, -0.52, 0.52), light.lit((34, 35, 38), z, shade=dim), detail=True))
    return shapes


def _side(view: View, light: Light, pose: Pose, model: Model, colour: Colour, dim: float, side: float) -> list[_Piece]:
    """Return the side that looks at the camera: body, panes, doors and wheels."""
    z, unit = pose.z, view.scale(pose.z)
    half = model.width / 2

    def seen(flat: Sequence[tuple[float, float]], out: float = 0.0) -> list[Place]:
        return [(a, up, side * (half + out - max(0.0, up - model.belt) * model.taper)) for a, up in flat]

    body = light.lit(colour, z, normal(pose, 0, 0.1, side), dim)
    glass = mix(light.lit((40, 46, 54), z, (0, 0.5, -0.5), dim), light.low, 0.14)
    tyre, rim = light.lit((26, 26, 28), z, shade=dim), light.lit((140, 142, 146), z, (0, 0.3, -0.6), dim)
    seam = mix(body, (20, 20, 22), 0.45)
    tail, nose = model.profile[0], model.profile[-1]
    sill = max(tail[1], nose[1]) + 0.12
    shapes = [_Piece(seen(model.profile), body)]
    shapes.append(
        _Piece(seen([tail, (tail[0], sill), (nose[0], sill), nose]), mix(body, (24, 24, 26), 0.5), detail=True)
    )
    crest = [
        (tail[0], model.belt - 0.2),
        (tail[0], model.belt - 0.1),
        (nose[0] - 0.3, model.belt - 0.2),
        (nose[0] - 0.3, model.belt - 0.26),
    ]
    shapes.append(_Piece(seen(crest), mix(body, (255, 255, 255), 0.16), detail=True))
    for pane in model.windows:
        shapes.append(_Piece(seen(pane), glass, detail=True))
        if unit < _SMALL:
            continue
        upper = [pane[1], pane[2], ((pane[2][0] + pane[3][0]) / 2, (pane[2][1] + pane[3][1]) / 2)]
        shapes.append(
            _Piece(
                seen([*upper, (pane[1][0], (pane[0][1] + pane[1][1]) / 2)]), mix(glass, light.low, 0.22), detail=True
            )
        )
    if model.label == CAR and unit >= _SMALL:
        for pane in model.windows:
            door = seen([(pane[3][0] + 0.04, pane[3][1]), (pane[3][0] + 0.02, sill)])
            shapes.append(_Piece(door, seam, detail=True, line=0.02 * unit))
            grip = seen([(pane[0][0] + 0.1, model.belt - 0.12), (pane[0][0] + 0.3, model.belt - 0.12)])
            shapes.append(_Piece(grip, seam, detail=True, line=0.03 * unit))
        low = model.belt - 0.3
        red: Colour = (178, 22, 26)
        white: Colour = (238, 240, 236)
        for a, b, tint in ((tail[0] - 0.1, tail[0] + 0.22, red), (nose[0] - 0.3, nose[0] + 0.1, white)):
            lamp = light.lit(tint, z, (0, 0, -1), dim)
            shapes.append(_Piece(seen([(a, low), (a, low + 0.17), (b, low + 0.17), (b, low)]), lamp, detail=True))
    for ahead in model.wheels:
        rings = ((1.16, ARCH, True), (1.0, tyre, False), (0.62, rim, True), (0.16, tyre, True))
        for radius, tone, detail in rings[1:3] if unit < _SMALL else rings:
            ring = [(x, up + model.radius * (1 - radius)) for x, up, _ in _wheel(ahead, model.radius * radius, 0)]
            shapes.append(_Piece(seen(ring, 0.01), tone, detail))
    return shapes
