"""Houses along the street: facades with windows, shops and doors, drawn flat and then laid into perspective."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from poisongen.scenes.light import Colour, Light, Pixels, clouds, mix, varied
from poisongen.scenes.paint import Canvas, Shape, draw, fill, put, window_of
from poisongen.scenes.view import Points, View

BUILDING = 11

_WALLS: tuple[Colour, ...] = (
    (206, 190, 160), (222, 212, 194), (176, 108, 84), (150, 84, 66), (196, 170, 128), (170, 172, 172),
    (214, 200, 172), (228, 222, 212), (188, 146, 120), (140, 146, 150), (206, 176, 104), (166, 178, 168),
    (196, 150, 140), (120, 112, 108),
)  # fmt: skip
_ROOFS: tuple[Colour, ...] = ((128, 66, 50), (92, 60, 52), (70, 70, 76), (88, 84, 84))
_AWNINGS: tuple[Colour, ...] = (
    (176, 40, 40), (36, 96, 62), (40, 66, 140), (222, 176, 60), (60, 60, 66), (206, 206, 200),
)  # fmt: skip


@dataclass(frozen=True)
class House:
    """A house: its wall stands at `wall` (x), from `near` to `far` (z), `high` metres up to the eaves."""

    wall: float
    near: float
    far: float
    high: float
    roof: float  # metres that the roof rises above the eaves; 0: flat
    colour: Colour
    style: str  # "holes", "bands" or "brick"
    shop: bool
    beside: float = 0.0  # how high the next nearer house hides its end wall


def draw_house_row(rng: np.random.Generator, wall: float, start: float, end: float) -> tuple[list[House], list[float]]:
    """Choose the houses of one side, near to far, and the z of the gaps between them."""
    houses, gaps = [], []
    z = start
    tall, beside = float(rng.uniform(8, 17)), 0.0
    while z < end:
        length = float(rng.uniform(8, 20))
        style = str(rng.choice(["holes", "bands", "brick"], p=[0.55, 0.2, 0.25]))
        flat = style == "bands" or rng.random() < 0.3
        colour = varied(rng, _WALLS[int(rng.integers(len(_WALLS)))], 14)
        if style == "brick":
            colour = varied(rng, (158, 92, 74), 16)
        out = wall + np.sign(wall) * float(rng.choice([0.0, 0.0, rng.uniform(0, 1.5)]))
        high = max(5.0, tall + float(rng.normal(0, 2.6)))
        roof = 0.0 if flat else float(rng.uniform(1.5, 3.5))
        houses.append(House(float(out), z, z + length, high, roof, colour, style, bool(rng.random() < 0.4), beside))
        z += length
        beside = high if abs(out) <= abs(wall) + 0.2 else 0.0
        if rng.random() < 0.22:
            gap = float(rng.uniform(4, 12))
            gaps.append(z + gap / 2)
            z += gap
            beside = 0.0
    return houses, gaps


def _window(rng: np.random.Generator, tex: Pixels, box: tuple[int, int, int, int], frame: Colour, thin: int) -> None:
    """Draw one window into the facade: frame, glass with a reflected sky, sometimes a curtain, and a sill."""
    left, top, right, bottom = box
    if right - left < 8:  # far away: glass only
        bright = 0.8 + 0.4 * ((left * 7 + top * 13) % 5)
        corner = (max(left, right - 1), max(top, bottom - 1))
        cv2.rectangle(tex, (left, top), corner, (44 * bright, 50 * bright, 58 * bright), -1)
        return
    cv2.rectangle(tex, (left - thin, top - thin), (right - 1 + thin, bottom - 1 + thin), frame, -1)
    bright = float(rng.uniform(0.5, 1.25))
    dark: Colour = (44 * bright, 52 * bright, 64 * bright)
    cv2.rectangle(tex, (left, top), (right - 1, bottom - 1), dark, -1)
    middle = (top + bottom) // 2
    kind = rng.random()
    if kind < 0.25:  # a curtain or a blind
        cv2.rectangle(tex, (left, top), (right - 1, middle), (186, 178, 160), -1)
    elif kind < 0.6:  # the sky in the upper part of the glass
        cv2.rectangle(
            tex, (left, top), (right - 1, (top + middle) // 2), (104 * bright, 122 * bright, 144 * bright), -1
        )
    if right - left > 6:
        across = (left + right) // 2
        cv2.rectangle(tex, (across, top), (across + thin - 1, bottom - 1), frame, -1)
    if thin > 1 or bottom - top > 8:
        sill = mix(frame, (255, 255, 255), 0.2)
        cv2.rectangle(tex, (left - 2 * thin, bottom), (right - 1 + 2 * thin, bottom + thin), sill, -1)


def _ground_floor(rng: np.random.Generator, tex: Pixels, house: House, unit: float, low: int) -> None:
    """Draw the lowest floor into rows from `low` on: a shop with an awning, or windows and a door."""
    high, across = tex.shape[:2]
    thin = max(1, round(unit * 0.07))
    frame = varied(rng, (200, 198, 190), 30)
    if house.shop:
        sign = varied(rng, _AWNINGS[int(rng.integers(len(_AWNINGS)))], 10)
        cv2.rectangle(
            tex, (0, low + round(unit * 0.2)), (across - 1, high - 1), mix(house.colour, (50, 48, 46), 0.6), -1
        )
        pane = max(2, round(unit * float(rng.uniform(1.8, 3.2))))
        for left in range(round(unit * 0.4), across - pane // 2, pane + max(1, round(unit * 0.3))):
            box = (left, low + round(unit * 1.0), min(left + pane, across - 1), high - round(unit * 0.4))
            _window(rng, tex, box, frame, thin)
        cv2.rectangle(tex, (0, low + round(unit * 0.15)), (across - 1, low + round(unit * 0.85)), sign, -1)
        if unit > 6:  # lettering
            x = across * 0.3
            while x < across * 0.7:
                wide = unit * float(rng.uniform(0.15, 0.4))
                corner = (round(x), low + round(unit * 0.35))
                cv2.rectangle(
                    tex, corner, (round(x + wide), low + round(unit * 0.65)), mix(sign, (255, 255, 255), 0.75), -1
                )
                x += wide + unit * 0.12
        return
    door = float(rng.uniform(0.2, 0.8)) * across
    step = max(3, round(unit * 2.4))
    for left in range(round(unit * 0.8), across - round(unit * 1.2), step):
        right = left + round(unit * 1.1)
        if abs((left + right) / 2 - door) > unit * 1.4:
            _window(rng, tex, (left, low + round(unit * 1.0), right, high - round(unit * 1.1)), frame, thin)
    left, right = round(door - unit * 0.55), round(door + unit * 0.55)
    cv2.rectangle(tex, (left - thin, high - round(unit * 2.4)), (right + thin, high - 1), frame, -1)
    wood = varied(rng, (96, 66, 48), 26)
    cv2.rectangle(tex, (left, high - round(unit * 2.3)), (right, high - 1), wood, -1)


def facade(rng: np.random.Generator, house: House, length: float, unit: float, plain: bool = False) -> Pixels:
    """Return a facade of `length` metres as (h, w, 3) uint8, `unit` pixels per metre; `plain`: few windows."""
    high, across = max(4, round(house.high * unit)), max(4, round(length * unit))
    stain = clouds(rng, (max(2, high // 4), max(2, across // 4)), max(2.0, 0.6 * unit), octaves=3) * 8
    tone = np.asarray(house.colour, np.float32) + stain[..., None]
    tone *= np.linspace(1.05, 0.92, tone.shape[0], dtype=np.float32)[:, None, None]
    tex = cv2.resize(np.clip(tone, 0, 255).astype(np.uint8), (across, high))
    if house.style == "brick" and unit > 10:
        tex[:: max(3, round(unit * 0.22))] += np.uint8(14)
    thin = max(1, round(unit * 0.08))
    frame = varied(rng, (224, 220, 210), 20) if rng.random() < 0.75 else varied(rng, (110, 86, 66), 14)
    floor, ground = round(unit * float(rng.uniform(2.9, 3.5))), round(unit * 3.8)
    wide, tall = unit * float(rng.uniform(0.95, 1.5)), unit * float(rng.uniform(1.4, 1.9))
    step = wide + unit * float(rng.uniform(0.8, 1.7))
    if house.style == "bands":
        wide = step * 0.92
    if plain:
        step *= 2.6
    count = max(1, int((across - unit * 0.6) / step))
    margin = (across - count * step + step - wide) / 2
    row = high - ground - floor
    while row > -floor * 0.3 and floor > 2:
        top = row + round(unit * 0.75)
        if not plain or rng.random() < 0.5:
            for k in range(count):
                left = round(margin + k * step)
                _window(rng, tex, (left, top, left + round(wide), top + round(tall)), frame, thin)
        if house.style != "brick" and not plain:
            cv2.rectangle(tex, (0, row), (across - 1, row + thin - 1), mix(house.colour, (255, 255, 255), 0.25), -1)
        row -= floor
    if not plain:
        _ground_floor(rng, tex, house, unit, high - ground)
    cornice = mix(house.colour, (255, 255, 255), 0.3)
    cv2.rectangle(tex, (0, 0), (across - 1, max(1, round(unit * 0.45))), cornice, -1)
    cv2.rectangle(
        tex,
        (0, max(1, round(unit * 0.45))),
        (across - 1, max(1, round(unit * 0.6))),
        mix(cornice, (40, 40, 40), 0.5),
        -1,
    )
    cv2.rectangle(
        tex, (0, high - max(1, round(unit * 0.5))), (across - 1, high - 1), mix(house.colour, (70, 66, 62), 0.5), -1
    )
    return np.asarray(tex, np.uint8)


def _lay(canvas: Canvas, tex: Pixels, corners: Points) -> None:
    """Lay a facade on the quadrilateral upper left, upper right, lower right, lower left of `corners` (4, 2)."""
    window = window_of(canvas, corners)
    if window is None or min(np.ptp(corners[:, 0]), np.ptp(corners[:, 1])) < 0.5:
        return
    left, top, right, bottom = window
    high, across = tex.shape[:2]
    source = np.array([[0, 0], [across, 0], [across, high], [0, high]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (corners - np.array([left, top])).astype(np.float32))
    size = (right - left, bottom - top)
    patch = cv2.warpPerspective(tex, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fill(mask, corners, 1, (left, top))
    put(canvas, BUILDING, mask, (left, top), np.asarray(patch, np.uint8))


def _shaded(tex: Pixels, light: Light, z: float, normal: Colour, dim: float) -> Pixels:
    """Return a facade, at distance `z`, in the scene's light."""
    facing = max(0.0, sum(n * s for n, s in zip(normal, light.sun, strict=True)))
    power = np.asarray(light.ambient, np.float32) * 0.92 + np.asarray(light.direct, np.float32) * facing * dim
    fade = np.float32(light.fade(z))
    lit = np.minimum(np.arange(256, dtype=np.float32)[:, None] * power, 255)
    table = lit * (1 - fade) + np.asarray(light.haze, np.float32) * fade
    return np.asarray(cv2.LUT(tex, table.astype(np.uint8)[None]), np.uint8)


def draw_house(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, house: House) -> None:
    """Paint the side that looks at the street, the one that looks at the camera, and the roof."""
    out = float(np.sign(house.wall))
    back = house.wall + out * 10
    near, far = max(house.near, 1.6), house.far
    # As fine as the wall's nearer third, but not finer than at 20 metres: nearer walls are a little soft.
    unit = float(np.clip(view.focal / (near * 0.67 + far * 0.33), 1.5, view.focal / 20))
    roof = light.lit(varied(rng, _ROOFS[int(rng.integers(len(_ROOFS)))]), far, (-out * 0.6, 0.8, 0))
    ridge = house.high + house.roof
    if house.roof:
        slope = [(house.wall, house.high, near), (house.wall, house.high, far)]
        slope += [(house.wall + out * 4, ridge, far), (house.wall + out * 4, ridge, near)]
        gable = [(house.wall, house.high, near), (house.wall + out * 4, ridge, near), (back, house.high, near)]
        grey = light.lit(house.colour, near, (0, 0, -1))
        draw(canvas, BUILDING, [Shape(view.project(gable), grey), Shape(view.project(slope), roof)])
    low, high = 0.0, house.high
    # The end wall that looks at the camera is left of the street wall for houses on the left.
    end = [(back, high, near), (house.wall, high, near), (house.wall, low, near), (back, low, near)]
    street = [(house.wall, high, near), (house.wall, high, far), (house.wall, low, far), (house.wall, low, near)]
    if house.high > house.beside + 0.3 or near < 2:
        tex = facade(rng, house, 10, unit * 0.6, plain=True)
        _lay(canvas, _shaded(tex, light, near, (0, 0, -1), 0.8), view.project(end))
    tex = facade(rng, house, far - near, unit)
    _lay(canvas, _shaded(tex, light, (near * far) ** 0.5, (-out, 0, 0), 1.0), view.project(street))
