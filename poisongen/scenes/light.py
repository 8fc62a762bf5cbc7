"""Light, haze and texture: what turns plain colours into something a camera might have seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
Pixels = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """The light of a scene.

    `sun`: unit vector towards it (x right, y up, z ahead); `direct`, `ambient`: its strength and that of the
    sky, per colour; `haze`: the colour of far things; `reach`: metres after which 63 % of a colour is haze;
    `zenith`, `low`: the sky's colours; `clouds` 0..1; `contrast`: depth of cast shadows, 0..1.
    """

    sun: Colour
    direct: Colour
    ambient: Colour
    haze: Colour
    reach: float
    zenith: Colour
    low: Colour
    clouds: float
    contrast: float

    def fade(self, z: float) -> float:
        """Return how much of a colour at distance `z` has become haze, 0..1."""
        return 1.0 - math.exp(-max(z, 0.0) / self.reach)

    def lit(self, colour: Colour, z: float, normal: Colour = (0, 1, 0), shade: float = 1.0) -> Colour:
        """Return the colour that a surface shows: 0..255 per channel; `shade` scales the light on it."""
        facing = max(0.0, sum(n * s for n, s in zip(normal, self.sun, strict=True)))
        fade = self.fade(z)
        red, green, blue = (
            min(255.0, c * (a + d * facing) * shade) * (1 - fade) + h * fade
            for c, a, d, h in zip(colour, self.ambient, self.direct, self.haze, strict=True)
        )
        return red, green, blue


# name: chance, sun's height, direct, ambient, haze, reach, zenith, low sky, clouds, contrast
_TIMES: dict[str, tuple[float, float, Colour, Colour, Colour, float, Colour, Colour, float, float]] = {
    "clear": (0.34, 0.8, (0.66, 0.62, 0.54), (0.62, 0.65, 0.72), (196, 208, 222), 190,
              (74, 130, 204), (196, 216, 234), 0.35, 0.5),
    "overcast": (0.34, 0.9, (0.16, 0.16, 0.16), (0.82, 0.84, 0.87), (204, 208, 212), 120,
                 (176, 184, 194), (222, 224, 226), 1.0, 0.12),
    "golden": (0.18, 0.35, (0.86, 0.62, 0.34), (0.56, 0.53, 0.58), (236, 206, 170), 130,
               (104, 138, 190), (250, 214, 166), 0.5, 0.5),
    "dusk": (0.14, 0.4, (0.12, 0.12, 0.18), (0.52, 0.56, 0.70), (132, 140, 164), 110,
             (72, 88, 132), (206, 172, 164), 0.6, 0.1),
}  # fmt: skip


def draw_light(rng: np.random.Generator) -> Light:
    """Choose a time of day and a weather."""
    names = list(_TIMES)
    name = names[int(rng.choice(len(names), p=[row[0] for row in _TIMES.values()]))]
    _, high, direct, ambient, haze, reach, zenith, low, clouds, contrast = _TIMES[name]
    side = float(rng.choice([-1.0, 1.0]))
    ahead = float(rng.uniform(-0.9, 0.1))  # seldom against the sun
    sun = np.array([side * rng.uniform(0.45, 1.0), high * rng.uniform(0.8, 1.3), ahead])
    sun /= np.linalg.norm(sun)
    power, tint = rng.uniform(1.0, 1.24), rng.uniform(0.97, 1.03, 3)

    def tinted(colour: Colour) -> Colour:
        red, green, blue = (float(c * power * t) for c, t in zip(colour, tint, strict=True))
        return red, green, blue

    return Light(
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        direct=tinted(direct),
        ambient=tinted(ambient),
        haze=haze,
        reach=reach * float(rng.uniform(0.7, 1.5)),
        zenith=zenith,
        low=low,
        clouds=clouds * float(rng.uniform(0.4, 1.0)) if name != "overcast" else 1.0,
        contrast=contrast,
    )


def varied(rng: np.random.Generator, colour: Colour, amount: float = 12) -> Colour:
    """Return a colour near `colour`: each channel moves by up to `amount`, all together by as much again."""
    shift = rng.uniform(-amount, amount) + rng.uniform(-amount, amount, 3)
    red, green, blue = (min(255.0, max(0.0, c + s)) for c, s in zip(colour, shift.tolist(), strict=True))
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` with a share (0..1) of `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def clouds(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3, wide: float = 1) -> Field:
    """Return smooth noise of `shape`, float32 about -1..1; `cell`: its largest spots in pixels, `wide` times wider."""
    high, across = shape
    total = np.zeros((1, 1), np.float32)
    weight = np.float32(1 / 1.4)
    for _ in range(octaves):  # from coarse to fine, each step on a grid as small as its spots allow
        rows, columns = max(2, round(high / cell) + 2), max(2, round(across / (cell * wide)) + 2)
        spots = rng.random((rows, columns), dtype=np.float32) * (2 * weight) - weight
        if total.size > 1:
            cv2.add(spots, cv2.resize(total, (columns, rows), interpolation=cv2.INTER_CUBIC), dst=spots)
        total = spots
        weight /= 2
        cell = max(1.0, cell / 2)
    return np.asarray(cv2.resize(total, (across, high), interpolation=cv2.INTER_CUBIC), np.float32)


def grain(rng: np.random.Generator, shape: tuple[int, ...], strength: float) -> Field:
    """Return noise without any structure, float32; `strength`: its standard deviation."""
    count = math.prod(shape)
    dice = np.frombuffer(rng.bytes(2 * count), np.uint8).reshape(2, count)
    # The difference of two even draws falls off to both sides, and costs a tenth of a normal draw.
    both = cv2.subtract(dice[0], dice[1], dtype=cv2.CV_32F).reshape(shape)
    both *= np.float32(strength / 104.5)
    return np.asarray(both, np.float32)


def photographed(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Return the picture as a camera gives it: slightly soft, darker in the corners, with a little noise."""
    high, across = image.shape[:2]
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.45, 0.7)) * max(1.0, across / 1600))
    row = ((np.arange(high, dtype=np.float32) + 0.5) / high - 0.5) ** 2
    column = ((np.arange(across, dtype=np.float32) + 0.5) / across - 0.5) ** 2
    dark = 1 - np.float32(rng.uniform(0.1, 0.5)) * (row[:, None] + column[None, :])
    strength = float(rng.uniform(1.2, 3.5))
    grey = grain(rng, (high, across), strength)
    # Colour noise is coarser than a pixel, as after a camera's demosaicing.
    half = grain(rng, ((high + 1) // 2, (across + 1) // 2, 3), strength * 0.7)
    noise = cv2.add(cv2.resize(half, (across, high), interpolation=cv2.INTER_LINEAR), cv2.merge([grey, grey, grey]))
    lit = cv2.multiply(soft, cv2.merge([dark, dark, dark]), dtype=cv2.CV_32F)
    return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)
