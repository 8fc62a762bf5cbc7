"""What every scene starts from: the sky, the far end of the street and the ground with its markings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.scenes.light import Colour, Field, Light, clouds, grain, mix, varied
from poisongen.scenes.paint import Canvas, put
from poisongen.scenes.view import View

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
    lower = max(2, min(high, int(view.horizon) + 2))
    rows, columns = max(2, lower // 2), max(2, across // 2)  # it is smooth: half the size will do
    rise = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** np.float32(1.3)
    sky = np.asarray(light.zenith, np.float32) * (1 - rise) + np.asarray(light.low, np.float32) * rise
    sky = np.repeat(sky, columns, axis=1)
    noise = clouds(rng, (rows, columns), max(2.0, rows / 2.2), octaves=5, wide=2.4)
    if light.clouds > 0.95:  # overcast: only soft differences
        sky += noise[..., None] * 9
    else:
        cover = np.clip((noise - (0.55 - light.clouds)) * 2.2, 0, 1)[..., None]
        lit = np.asarray(mix((255, 255, 255), light.low, 0.35), np.float32)
        sky += (lit - 18 * (1 - rise) - sky) * cover * np.float32(0.85)
    glow = np.linspace(-1, 1, columns, dtype=np.float32)[None, :, None] * np.sign(light.sun[0])
    sky += glow * 9
    colours = np.empty((high, across, 3), np.uint8)
    colours[:lower] = cv2.resize(np.clip(sky, 0, 255).astype(np.uint8), (across, lower))
    colours[lower:] = np.asarray(light.low, np.uint8)
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
    tone = clouds(rng, (max(2, mask.shape[0] // 2), max(2, mask.shape[1] // 2)), 3.0)[..., None] * 8
    small = np.clip(np.asarray(colour, np.float32) + tone, 0, 255).astype(np.uint8)
    put(canvas, label, mask, (0, upper), cv2.resize(small, mask.shape[::-1]))


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
    grains = grain(rng, (256, 256), 1)

    # The tile repeats, with a seam: 40 metres put that far from the street.
    def sample(source: Field, per_metre: float) -> Field:
        deep = np.broadcast_to(_rest(z * np.float32(per_metre), 255), x.shape)
        return np.asarray(
            cv2.remap(
                source,
                _rest((x + 40) * np.float32(per_metre), 255),
                deep,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )
        )

    near = (view.focal / z).astype(np.float32)
    # Texture finer than a pixel would flicker: it fades out with the distance.
    fine = sample(grains, 12) * np.clip(near / 26, 0, 1.4)
    return _Ground(x, z, near, fine, sample(tile, 3.1))


def _rest(values: Field, period: float) -> Field:
    """Return `values` modulo `period`, faster than NumPy's remainder."""
    return np.asarray(values - np.floor(values * np.float32(1 / period)) * np.float32(period), np.float32)


def _cover(distance: Field, half: float, near: Field) -> Field:
    """Return how much of a pixel a band covers: `distance` (m) to its middle, `half` its half width (m)."""
    share = (np.float32(half) - distance) * near
    share += np.float32(0.5)
    return np.asarray(np.minimum(np.maximum(share, 0), 1), np.float32)


def _paint(tone: Field, brightness: float, share: npt.NDArray[np.floating]) -> None:
    """Mix a brightness (0..255) into the ground by a share (0..1) per pixel."""
    tone += (np.float32(brightness) - tone) * share


def _asphalt(rng: np.random.Generator, street: Street, ground: _Ground) -> Field:
    """Return the road's brightness, as if it went on to both sides."""
    grey = float(rng.uniform(84, 124))
    tone = grey + ground.fine * 3.5 + ground.coarse * 6
    x, z, near = ground.x, ground.z, ground.near
    edges = [street.left, *street.lines, street.right]
    for first, last in pairwise(edges):  # tyres darken two tracks of each lane
        for track in (-0.8, 0.8):
            _paint(tone, 30, np.clip(1 - (x - ((first + last) / 2 + track)) ** 2 * 5, 0, 1) * 0.1)
    for _ in range(int(rng.integers(0, 4))):  # repairs and manholes
        place, far = rng.uniform(street.left + 0.6, street.right - 0.6), rng.uniform(5, 30)
        if rng.random() < 0.5:
            inside = _cover(np.abs(x - place), rng.uniform(0.4, 1.2), near)
            _paint(tone, grey * 0.8, inside * _cover(np.abs(z - far), rng.uniform(0.6, 3), near * 0.3) * 0.8)
        else:
            _paint(tone, 52, _cover(np.hypot(x - place, z - far), 0.32, near) * 0.8)
    worn = 0.72 + 0.22 * np.clip(ground.coarse, -1, 1)
    phase = float(rng.uniform(0, 9))
    dash = _cover(np.abs((z + phase) % 9 - 2.2), 2.2, near * 0.2)
    for line in street.lines:
        _paint(tone, 225, _cover(np.abs(x - line), 0.075, near) * dash * worn)
    for kerb, inward in ((street.left, 1), (street.right, -1)):
        beside = np.abs(x - kerb)
        _paint(tone, 225, _cover(np.abs(x - kerb - inward * 0.35), 0.06, near) * worn * 0.8)
        _paint(tone, 38, np.clip(1 - beside * 2, 0, 1) * 0.35)  # dirt in the gutter
    if street.crossing is not None:
        inside = _cover(np.abs(x - (street.left + street.right) / 2), (street.right - street.left) / 2 - 0.4, near)
        stripes = _cover(np.abs(_rest(x, 1.0) - 0.5), 0.25, near)
        _paint(tone, 225, _cover(np.abs(z - street.crossing), 1.7, near * 0.25) * stripes * inside * worn)
        stop = _cover(np.abs(z - street.crossing + 3.4), 0.25, near * 0.25)
        _paint(tone, 225, stop * inside * (x > (street.lines[0] if street.lines else 0)) * worn)
    return tone


def _paving(rng: np.random.Generator, street: Street, ground: _Ground) -> Field:
    """Return the pavements' brightness, kerbs included."""
    x, z, near = ground.x, ground.z, ground.near
    tone = float(rng.uniform(136, 172)) + ground.fine * 3 + ground.coarse * 7
    slab = float(rng.uniform(0.5, 1.0))
    for along, sharp in ((x, near), (z, near * 0.3)):
        joint = _cover(np.abs(_rest(along, slab) - slab / 2), 0.012, sharp) * np.clip(near / 60, 0, 1)
        _paint(tone, 92, joint * 0.8)
    for kerb, outward in ((street.left, -1), (street.right, 1)):
        _paint(tone, 184, _cover(np.abs(x - kerb - outward * 0.1), 0.1, near))
        _paint(tone, 86, _cover(np.abs(x - kerb - outward * 0.22), 0.02, near) * 0.8)
    return tone


def draw_ground(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, street: Street) -> None:
    """Paint grass, pavements and road, in this order, with the houses' shadow and haze on them."""
    top = int(np.clip(np.ceil(view.horizon), 0, view.height - 1))
    ground = _look_down(rng, view, top)
    x = ground.x
    inner_left, inner_right = street.left_wall + street.verge, street.right_wall - street.verge
    paved = ((x > inner_left) & (x < inner_right)).astype(np.uint8)
    road = ((x > street.left) & (x < street.right)).astype(np.uint8)
    tones = (1 + ground.fine * 0.06 + ground.coarse * 0.15, _paving(rng, street, ground), _asphalt(rng, street, ground))
    tints = (
        varied(rng, (98, 122, 58), 10),
        varied(rng, (1.02, 0.98, 0.93), 0.03),
        varied(rng, (0.99, 1.0, 1.02), 0.02),
    )
    shadow = _house_shadow(rng, light, street, ground) if light.contrast > 0.2 else np.float32(1)
    facing = max(0.0, light.sun[1])
    # One brightness per pixel and one tint per kind of ground: the haze is then mixed in per channel.
    fade = 1 - np.exp(-ground.z / np.float32(light.reach))
    kind = paved + road
    colours = np.empty((*x.shape, 3), np.float32)
    tone = np.where(kind == 2, tones[2], np.where(kind == 1, tones[1], tones[0]))
    for channel in range(3):
        tint = np.array([tint[channel] for tint in tints], np.float32)[kind]
        power = np.float32(light.ambient[channel]) + np.float32(light.direct[channel] * facing) * shadow
        colours[..., channel] = tone * tint * power * (1 - fade) + np.float32(light.haze[channel]) * fade
    pixels = np.clip(colours, 0, 255).astype(np.uint8)
    put(canvas, TERRAIN, np.ones(x.shape, np.uint8), (0, top), pixels)
    put(canvas, SIDEWALK, paved, (0, top), pixels)
    put(canvas, ROAD, road, (0, top), pixels)


def _house_shadow(rng: np.random.Generator, light: Light, street: Street, ground: _Ground) -> Field:
    """Return how much of the sun each pixel of the ground gets: 0 in the shadow of the houses on the sun's side."""
    wave = clouds(rng, (2, 256), 24, octaves=2)[0] * 1.6 + np.sign(clouds(rng, (2, 256), 40)[0])
    reach = street.sun_edge + np.interp(ground.z[:, 0], np.linspace(2, 120, 256), wave).astype(np.float32)[:, None]
    inside = ground.x - (street.right - reach) if light.sun[0] > 0 else (street.left + reach) - ground.x
    return np.asarray(1 - np.clip(inside * 4, 0, 1), np.float32)
