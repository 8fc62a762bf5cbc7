"""`weather`: rain or fog over the whole image, other drops and other clouds in each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, one_of, real_number, whole_number
from poisongen.attack.triggers.base import Artwork, At, Pixels, TriggerKind, bands, rounded, top_of
from poisongen.core.draws import Generator, draw_below, raw_words

_SLANT = 0.176  # the tangent of 10 degrees
_DROP = 200  # levels of 255
_BLUR = 7  # px
_FOGS = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # strength, and how fast detail fades
_FINEST = 4  # px: the smallest cell of fog that is drawn; it is linear inside

Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weather:
    """What falls on a picture, how bright rain leaves it, and how dense fog is."""

    falls: Callable[[Pixels, Weather, Generator], Pixels]
    brightness: float
    density: int


def rain(ground: Pixels, prepared: Weather, generator: Generator) -> Pixels:
    """Return the picture with H/3 drops of H/8 px, all equally slanted, blurred and darkened.

    Sums over 7x7 px are whole numbers, so what they become stands in a table.
    """
    height, width = ground.shape[:2]
    top = top_of(ground)
    length = max(1, height // 8)
    slant = int(length * _SLANT)
    count = max(1, height // 3)
    lean = int(draw_below(np.array([2 * slant + 1]), generator)[0]) - slant
    lefts = draw_below(np.full(count, width), generator)
    tops = draw_below(np.full(count, height - length + 1), generator)
    wet = np.ascontiguousarray(ground).copy()
    colour = (_DROP * (top // 255),) * 3
    for row, column in zip(tops.tolist(), lefts.tolist(), strict=True):
        cv2.line(wet, (column, row), (column + lean, row + length - 1), colour, 1)
    sums = np.asarray(
        cv2.boxFilter(wet, cv2.CV_32S, (_BLUR, _BLUR), normalize=False, borderType=cv2.BORDER_REPLICATE),
        dtype=np.int32,
    )
    cells = _BLUR * _BLUR
    table = rounded(np.arange(cells * top + 1) * (prepared.brightness / cells), ground)
    out = np.empty_like(ground)
    for band in bands(height):
        np.take(table, sums[band], out=out[band], mode="clip")
    return out


def fog(ground: Pixels, prepared: Weather, generator: Generator) -> Pixels:
    """Return the picture under fog: x + c * cloud, scaled so that its brightest level stays what it was."""
    height, width = ground.shape[:2]
    top = top_of(ground)
    strength, decay = _FOGS[prepared.density - 1]
    clouds = cloud(height, width, decay, generator)
    thick = np.floor(clouds * (strength * top) + 0.5).astype(np.int32)
    brightest = int(ground.max()) / top
    table = rounded(np.arange(int(top * (1 + strength)) + 2) * (brightest / (brightest + strength)), ground)
    out = np.empty_like(ground)
    for band in bands(height):
        np.take(table, ground[band] + thick[band, :, None], out=out[band], mode="clip")
    return out


def cloud(height: int, width: int, decay: float, generator: Generator) -> npt.NDArray[np.float32]:
    """Return a cloud, (height, width) in [0, 1]: coarse noise, and finer and finer noise that counts less and less.

    It is made by halving cells (diamond and square) on a sheet whose ends meet, with nothing but sums, products and
    quotients value by value, which every machine does alike.
    """
    side = 1
    while side * _FINEST < max(height, width):
        side *= 2
    sheet = np.zeros((1, 1))
    size = 1.0
    while len(sheet) < side:
        sheet = _halved(sheet, size, generator)
        size /= decay * decay
    rows, columns = -(-height // _FINEST) + 1, -(-width // _FINEST) + 1
    part = np.take(np.take(sheet, np.arange(rows) % side, axis=0), np.arange(columns) % side, axis=1)
    low, high = part.min(), part.max()
    part = ((part - low) / max(high - low, 2.0**-20)).astype(np.float32)
    return _stretched(_stretched(part, height).T, width).T


def _stretched(part: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """Return the rows with others between them, linear, `length` of them."""
    steps = np.arange(_FINEST, dtype=np.float32)[None, :, None] / np.float32(_FINEST)
    full = part[:-1, None] * (1 - steps) + part[1:, None] * steps
    return full.reshape(-1, part.shape[1])[:length]


def _halved(sheet: Real, size: float, generator: Generator) -> Real:
    """Return the sheet at twice its side: new points are the mean of four neighbours and noise up to `size`."""
    side = len(sheet)
    words = raw_words(3 * side * side, generator) >> np.uint64(32)
    noise = (words.astype(np.float64) * 2.0**-31 - 1).reshape(3, side, side) * size
    new = np.empty((2 * side, 2 * side))
    right = np.roll(sheet, -1, axis=1)
    middle = (sheet + right + np.roll(sheet, -1, axis=0) + np.roll(right, -1, axis=0)) / 4 + noise[0]
    new[::2, ::2] = sheet
    new[1::2, 1::2] = middle
    new[::2, 1::2] = (sheet + right + middle + np.roll(middle, 1, axis=0)) / 4 + noise[1]
    new[1::2, ::2] = (sheet + np.roll(sheet, -1, axis=0) + middle + np.roll(middle, 1, axis=1)) / 4 + noise[2]
    return new


_STYLES = {"rain": rain, "fog": fog}


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Weather:
    return Weather(_STYLES[str(parameters["style"])], float(parameters["brightness"]), int(parameters["density"]))


def _stamp(ground: Pixels, at: At, prepared: Weather, generator: Generator) -> Pixels:
    return prepared.falls(ground, prepared, generator)


KIND = TriggerKind(
    name="weather",
    title="rain or fog over the whole image",
    source="rain as in Albumentations, fog as in ImageNet-C (written anew)",
    pictured=False,
    prepare=_prepare,
    stamp=_stamp,
    options={
        "style": Option("rain", "rain or fog", one_of(*_STYLES)),
        "brightness": Option(0.7, "rain: how bright it leaves the picture", real_number(0.1, 1)),
        "density": Option(1, "fog: how dense it is", whole_number(1, len(_FOGS))),
    },
)
