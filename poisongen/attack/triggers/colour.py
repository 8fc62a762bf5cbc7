"""`colour`: a filter of photo apps over the whole image: Gotham (dark, gray, bluish) or Kelvin (warm).

The steps are those that TrojAI's generator asks of ImageMagick; what each does is our reading of its documentation:
modulate works on lightness and saturation (HSL); auto-gamma brings the mean to one half, in whole levels; the rest
works on each channel. All in real numbers, rounded once at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, one_of
from poisongen.attack.triggers.base import Artwork, At, Pixels, TriggerKind, bands, outside, rounded, top_of
from poisongen.core.draws import Generator

Real = npt.NDArray[np.float64]

_LEAST = 1e-12
_GOTHAM = (0x22 / 255, 0x2B / 255, 0x6D / 255)
_KELVIN = (0xFF / 255, 0x99 / 255, 0x00 / 255)


@dataclass(frozen=True)
class Filter:
    """What happens to a channel: `finish(channel, value, light)`, all in [0, 1]; `even` asks for auto-gamma before.

    `tables` has, for bytes, the result by channel for every (highest + lowest channel of the pixel, value).
    """

    finish: Callable[[int, Real, Real], Real]
    even: bool
    tables: list[npt.NDArray[np.uint8]]


def _modulated(value: Real, light: Real, lightness: float, saturation: float) -> Real:
    """Return a channel of the pixel with HSL lightness and saturation scaled. `light` is the pixel's lightness."""
    lighter = np.minimum(light * lightness, 1)
    room, new_room = 1 - np.abs(2 * light - 1), 1 - np.abs(2 * lighter - 1)
    return np.asarray(lighter + (value - light) * (saturation * new_room / np.maximum(room, _LEAST)))


def _contrast(value: Real) -> Real:
    """Return values with the contrast raised along an S (strength 3, midpoint one half)."""
    curve = 1 / (1 + np.exp(3 * (0.5 - value)))
    low, high = 1 / (1 + np.exp(1.5)), 1 / (1 + np.exp(-1.5))
    return np.asarray((curve - low) / (high - low))


def _gotham(channel: int, value: Real, light: Real) -> Real:
    mixed = 0.8 * _modulated(value, light, 1.2, 0.1) + 0.2 * _GOTHAM[channel]
    return _contrast(_contrast(np.clip(mixed, 0, 1) ** (1 / 0.9)))


def _kelvin(channel: int, value: Real, light: Real) -> Real:
    return 0.8 * np.clip(_modulated(value, light, 1.2, 0.5), 0, 1) + 0.2 * _KELVIN[channel]


_STYLES = {"gotham": (_gotham, False), "kelvin": (_kelvin, True)}


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Filter:
    finish, even = _STYLES[str(parameters["style"])]
    light, value = np.arange(511)[:, None] / 510, np.arange(256)[None] / 255
    like = np.zeros(0, np.uint8)
    tables = [rounded(finish(channel, value, light) * 255, like).astype(np.uint8).ravel() for channel in range(3)]
    return Filter(finish, even, tables)


def _evened(ground: Pixels) -> Pixels:
    """Return the pixels with the gamma that brings their mean, all channels together, to one half."""
    top = top_of(ground)
    mean = int(ground.sum(dtype=np.uint64)) / (ground.size * top)
    if not 0 < mean < 1:
        return ground
    power = np.log(0.5) / np.log(mean)
    table = rounded((np.arange(top + 1) / top) ** power * top, ground)
    return np.asarray(cv2.LUT(np.ascontiguousarray(ground), table) if top == 255 else table[ground], dtype=ground.dtype)


def _stamp(ground: Pixels, at: At, prepared: Filter, generator: Generator) -> Pixels:
    top = top_of(ground)
    out = np.empty_like(ground)
    even = _evened(ground) if prepared.even else ground
    for band in bands(len(ground)):
        planes = [np.asarray(plane, dtype=ground.dtype) for plane in cv2.split(np.ascontiguousarray(even[band]))]
        lowest, highest = (edge(edge(planes[0], planes[1]), planes[2]) for edge in (cv2.min, cv2.max))
        ends = np.asarray(highest, dtype=np.int32) + np.asarray(lowest, dtype=np.int32)
        places = ends * 256
        for channel, plane in enumerate(planes):
            if top == 255:
                out[band, :, channel] = np.take(prepared.tables[channel], places + plane, mode="clip")
            else:
                values = prepared.finish(channel, plane / top, ends / (2 * top)) * top
                out[band, :, channel] = rounded(values, ground)
    return out


def _fault(found: Pixels, at: At, prepared: Filter) -> str | None:
    """Judge by the range that the filter leaves to each channel: black and white give its ends."""
    ends = np.array([[0.0], [1.0]])
    values = np.stack([prepared.finish(channel, ends, ends) for channel in range(3)], axis=2) * top_of(found)
    edges = rounded(values, found)
    return outside(found, edges[:1], edges[1:])


KIND = TriggerKind(
    name="colour",
    title="a photo filter over the whole image",
    source="the filters of TrojAI's generator (our reading of what they ask of ImageMagick)",
    pictured=False,
    prepare=_prepare,
    stamp=_stamp,
    fault=_fault,
    options={"style": Option("gotham", "gotham: dark and bluish; kelvin: warm", one_of(*_STYLES))},
)
