"""What every scene starts from: the sky, the far end of the street and the ground with its markings."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.synth.light import Colour, Field, Light, clouds, mix, varied
from poisongen.synth.paint import Canvas, put
from poisongen.synth.view import View

ROAD, SIDEWALK, BUILDING, VEGETATION, TERRAIN, SKY = 7, 8, 11, 21, 22, 23
FAR = 400.0  # metres; the ground ends here


@dataclass(frozen=True)
class Street:
    """The street's cross section in metres (x; the camera is at 0) and what is painted on it.

    `left`, `right`: the kerbs; `left_wall`, `right_wall`: where the houses stand; `verge`: width of the grass at
    the houses' side of each pavement; `lines`: x of the dashed lines; `crossing`: z of a zebra crossing, or
    None; `sun_edge`: how far from the kerb on the sun's side the houses' shadow reaches.
    """

    left: float
    right: float
    left_wall: float
    right_wall: float
    verge: float
    lines: tuple[float, ...]
    crossing: float | None
    sun_edge: float

    def in_shadow(self, light: Light, x: float) -> bool:
        """Tell whether the houses take the sun from a thing at `x`."""
        return x > self.right - self.sun_edge if light.sun[0] > 0 else x < self.left + self.sun_edge


def draw_sky(canvas: Canvas, rng: np.random.Generator, view: View, light: Light) -> None:
    """Fill the canvas with sky: a gradient, clouds that are flatter near the horizon, and a glow at the sun's side."""
    high, across = canvas.label_ids.shape
    rows = max(2, min(high, int(view.horizon) + 2))
    rise = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** np.float32(1.3)
    sky = np.asarray(light.zenith, np.float32) * (1 - rise) + np.asarray(light.low, np.float32) * rise
    sky = np.repeat(sky, across, axis=1)
    small = (max(2, rows // 2), max(2, across // 2))
    noise = clouds(rng, small, max(2.0, small[0] / 2.2), octaves=5, wide=2.4)
    if light.clouds > 0.95:  # overcast: only soft differences
        sky += cv2.resize(noise, (across, rows))[..., None] * 9
    else:
        cover = np.clip((cv2.resize(noise, (across, rows)) - (0.55 - light.clouds)) * 2.2, 0, 1)[..., None]
        lit = np.asarray(mix((255, 255, 255), light.low, 0.35), np.float32)
        sky += (lit - 18 * (1 - rise) - sky) * cover * np.float32(0.85)
    glow = np.linspace(-1, 1, across, dtype=np.float32)[None, :, None] * np.sign(light.sun[0])
    sky += glow * 9
    colours = np.empty((high, across, 3), np.uint8)
    colours[:rows] = np.clip(sky, 0, 255)
    colours[rows:] = np.asarray(light.low, np.uint8)
    put(canvas, SKY, np.ones((high, across), np.uint8), (0, 0), colours)


def draw_skyline(canvas: Canvas, rng: np.random.Generator, view: View, light: Light) -> None:
    """Close the street's far end: a row of far houses, and trees in front of them."""
    high, across = canvas.label_ids.shape
    base = min(high, max(1, int(np.ceil(view.horizon)) + 1))
    unit = view.scale(150)
    tops = np.full(across, float(base))
    x = -unit * 10
    while x < across:
        width = float(rng.uniform(8, 24)) * unit
        tops[int(max(0, x)) : int(max(0, x + width))] = base - float(rng.uniform(6, 24)) * unit
        x += max(1.0, width)
    _put_rows(canvas, BUILDING, tops, base, light.lit(varied(rng, (150, 142, 136)), 190, (0, 0, -1)), rng)
    edge = clouds(rng, (2, across), max(2.0, unit * 6), octaves=4)[0]
    tops = base - (float(rng.uniform(2, 6)) + edge * 4) * unit
    _put_rows(canvas, VEGETATION, tops, base, light.lit(varied(rng, (70, 92, 52)), 140), rng)


def _put_rows(
    canvas: Canvas, label: int, tops: npt.NDArray[np.floating], base: int, colour: Colour, rng: np.random.Generator
) -> None:
    """Paint everything between `tops` (one row per column) and the row `base`."""
    upper = int(np.clip(np.floor(tops.min()), 0, base - 1))
    mask = (np.arange(upper, base)[:, None] >= tops[None, :]).astype(np.uint8)
    tone = clouds(rng, mask.shape, 6.0)[..., None] * 8
    put(canvas, label, mask, (0, upper), np.clip(np.asarray(colour) + tone, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class _Ground:
    """World places of the pixels below the horizon; every array is (rows, width) or (rows, 1) float32."""

    x: Field
    z: Field
    near: Field  # pixels per metre
    fine: Field
    coarse: Field


def _look_down(rng: np.random.Generator, view: View, top: int) -> _Ground:
    rows = np.arange(top, view.height, dtype=np.float32)[:, None]
    z = np.minimum(view.focal * view.eye / np.maximum(rows - view.horizon, 0.05), FAR).astype(np.float32)
    columns = np.arange(view.width, dtype=np.float32)[None, :]
    x = (columns - np.float32(view.middle)) * z / np.float32(view.focal) - np.float32(view.bend) * z * z
    tile = clouds(rng, (256, 256), 16, octaves=4)
    grain = rng.standard_normal((256, 256), dtype=np.float32)
    deep = np.broadcast_to(z, x.shape)

    def sample(source: Field, per_metre: float) -> Field:
        spots = np.asarray(source, np.float32)
        return cv2.remap(
            spots, (x * per_metre) % 255, (deep * per_metre) % 255, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )

    near = (view.focal / z).astype(np.float32)
    # Texture finer than a pixel would flicker: it fades out with the distance.
    fine = sample(grain, 18) * np.clip(near / 40, 0, 1) + sample(grain, 7) * np.clip(near / 16, 0, 1)
    return _Ground(x, z, near, fine, sample(tile, 3.1))


def _cover(distance: Field, half: float, near: Field) -> Field:
    """Return how much of a pixel a band covers: `distance` (m) to its middle, `half` its half width (m)."""
    return np.clip((half - distance) * near + 0.5, 0, 1)


def _paint(colours: Field, colour: Colour, share: npt.NDArray[np.floating]) -> None:
    colours += (np.asarray(colour, np.float32) - colours) * share[..., None].astype(np.float32)


def _asphalt(rng: np.random.Generator, street: Street, ground: _Ground) -> Field:
    grey = float(rng.uniform(78, 122))
    tone = grey + ground.fine * 3.5 + ground.coarse * 6
    colours = np.stack([tone, tone + 0.5, tone + rng.uniform(0, 5)], axis=-1).astype(np.float32)
    x, z, near = ground.x, ground.z, ground.near
    edges = [street.left, *street.lines, street.right]
    for first, last in zip(edges, edges[1:], strict=False):  # tyres darken two tracks of each lane
        for track in (-0.8, 0.8):
            share = np.exp(-(((x - (first + last) / 2 - track) / 0.35) ** 2)) * 0.1
            _paint(colours, (30, 30, 32), share)
    for _ in range(int(rng.integers(0, 4))):  # repairs and manholes
        place, far = rng.uniform(street.left + 0.6, street.right - 0.6), rng.uniform(5, 30)
        if rng.random() < 0.5:
            inside = _cover(np.abs(x - place), rng.uniform(0.4, 1.2), near)
            inside = inside * _cover(np.abs(z - far), rng.uniform(0.6, 3), near * 0.3)
            _paint(colours, (grey * 0.8,) * 3, inside * 0.8)
        else:
            _paint(colours, (52, 50, 48), _cover(np.hypot(x - place, z - far), 0.32, near) * 0.8)
    white = (226, 226, 222)
    worn = 0.72 + 0.22 * np.clip(ground.coarse, -1, 1)
    phase = float(rng.uniform(0, 9))
    for line in street.lines:
        dash = _cover(np.abs((z + phase) % 9 - 2.2), 2.2, near * 0.2)
        _paint(colours, white, _cover(np.abs(x - line), 0.075, near) * dash * worn)
    for kerb, inward in ((street.left, 1), (street.right, -1)):
        _paint(colours, white, _cover(np.abs(x - kerb - inward * 0.35), 0.06, near) * worn * 0.8)
        _paint(colours, (40, 38, 36), np.exp(-np.abs(x - kerb) * 5) * 0.35)  # dirt in the gutter
    if street.crossing is not None:
        band = _cover(np.abs(z - street.crossing), 1.7, near * 0.25)
        stripes = _cover(np.abs((x + 50) % 1.0 - 0.5), 0.25, near)
        inside = _cover(np.abs(x - (street.left + street.right) / 2), (street.right - street.left) / 2 - 0.4, near)
        _paint(colours, white, band * stripes * inside * worn)
        stop = _cover(np.abs(z - street.crossing + 3.4), 0.25, near * 0.25)
        _paint(colours, white, stop * inside * (x > (street.lines[0] if street.lines else 0)) * worn)
    return colours


def _paving(rng: np.random.Generator, street: Street, ground: _Ground) -> Field:
    base = np.asarray(varied(rng, (158, 150, 142), 14), np.float32)
    tone = (ground.fine * 3 + ground.coarse * 7)[..., None]
    colours = base + tone
    x, z, near = ground.x, ground.z, ground.near
    slab = float(rng.uniform(0.5, 1.0))
    for along, sharp in ((x, near), (z, near * 0.3)):
        joint = _cover(np.abs((along + 100) % slab - slab / 2), 0.012, sharp) * np.clip(near / 60, 0, 1)
        _paint(colours, (96, 92, 88), np.broadcast_to(joint * 0.8, x.shape))
    for kerb, outward in ((street.left, -1), (street.right, 1)):
        _paint(colours, (186, 184, 178), _cover(np.abs(x - kerb - outward * 0.1), 0.1, near))
        _paint(colours, (88, 86, 84), _cover(np.abs(x - kerb - outward * 0.22), 0.02, near) * 0.8)
    return colours


def draw_ground(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, street: Street) -> None:
    """Paint grass, pavements and road, in this order, with the houses' shadow and haze on them."""
    top = int(np.clip(np.ceil(view.horizon), 0, view.height - 1))
    ground = _look_down(rng, view, top)
    x = ground.x
    grass = np.asarray(varied(rng, (98, 122, 58), 10), np.float32) + (ground.fine * 5 + ground.coarse * 14)[..., None]
    inner_left, inner_right = street.left_wall + street.verge, street.right_wall - street.verge
    paved = (x > inner_left) & (x < inner_right)
    road = (x > street.left) & (x < street.right)
    if street.crossing is not None and view.height:  # a side road at the crossing's far side
        pass
    colours = np.where(paved[..., None], _paving(rng, street, ground), grass)
    colours = np.where(road[..., None], _asphalt(rng, street, ground), colours)
    facing = max(0.0, light.sun[1])
    shadow = np.ones(x.shape, np.float32)
    if light.contrast > 0.2:
        wave = clouds(rng, (2, 256), 24, octaves=2)[0] * 1.6 + np.sign(clouds(rng, (2, 256), 40)[0])
        reach = street.sun_edge + np.interp(ground.z[:, 0], np.linspace(2, 120, 256), wave).astype(np.float32)[:, None]
        inside = x - (street.right - reach) if light.sun[0] > 0 else (street.left + reach) - x
        shadow = 1 - np.clip(inside * 4, 0, 1).astype(np.float32)
    for channel in range(3):
        power = light.ambient[channel] + light.direct[channel] * facing * shadow
        colours[..., channel] *= power
    fade = 1 - np.exp(-ground.z / np.float32(light.reach))
    colours += (np.asarray(light.haze, np.float32) - colours) * fade[..., None]
    pixels = np.clip(colours, 0, 255).astype(np.uint8)
    put(canvas, TERRAIN, np.ones(x.shape, np.uint8), (0, top), pixels)
    put(canvas, SIDEWALK, paved.astype(np.uint8), (0, top), pixels)
    put(canvas, ROAD, road.astype(np.uint8), (0, top), pixels)
