"""`warp`: the whole image bent smoothly, by a few pixels, as if seen through uneven glass.

The displacement is made of a small grid of random vectors, made smooth by cubic interpolation, and rounded to 1/32 of
a pixel. Interpolation between pixels is then in whole numbers, which every machine does alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, real_number, whole_number
from poisongen.attack.triggers.base import Artwork, At, BySize, Pixels, TriggerKind, bands
from poisongen.core.draws import Generator, keyed_generator, raw_words

_PARTS = 32  # of a pixel
_CUBIC = -0.75
_LARGEST = 32767  # px: the longest side for OpenCV's whole-number maps

Field = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Warp:
    """The displacement by size, (2, h, w) in 1/32 px (down, right), and how far single pixels stray besides, px."""

    field: BySize[Field]
    noise: float


def _weights(count: int, knots: int) -> npt.NDArray[np.float64]:
    """Return (count, knots): how much each knot of a line of knots counts at each of `count` places, end to end."""
    at = np.arange(count) * ((knots - 1) / max(count - 1, 1))
    base = np.minimum(np.floor(at), knots - 1)
    weights = np.zeros((count, knots))
    for tap in (-1, 0, 1, 2):
        far = np.abs(at - base - tap)
        near = ((_CUBIC + 2) * far - (_CUBIC + 3)) * far**2 + 1
        outer = ((far - 5) * far + 8) * far * _CUBIC - 4 * _CUBIC
        knot = np.clip(base + tap, 0, knots - 1).astype(np.intp)
        np.add.at(weights, (np.arange(count), knot), np.where(far <= 1, near, outer))
    return weights


def _field(pixels: float, grid: int, key: int, height: int, width: int) -> Field:
    words = raw_words(2 * grid * grid, keyed_generator("warp", key, grid)) >> np.uint64(11)
    knots = words.astype(np.float64).reshape(2, grid, grid) * 2.0**-52 - 1
    field = _weights(height, grid) @ knots @ _weights(width, grid).T
    mean = float(np.sqrt((field**2).sum(axis=0)).mean())
    return _parts(field * (pixels / max(mean, 1e-9)))


def _parts(pixels: npt.NDArray[np.float64]) -> Field:
    return np.floor(np.round(pixels * _PARTS, 6) + 0.5).astype(np.int32)


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Warp:
    pixels, grid, key = float(parameters["pixels"]), int(parameters["grid"]), int(parameters["key"])
    return Warp(BySize(partial(_field, pixels, grid, key)), float(parameters["noise"]))


def _strayed(field: Field, noise: float, generator: Generator) -> Field:
    """Return the field with every pixel's displacement changed by up to `noise` px at random, both ways."""
    words = raw_words(-(-field.size // 4), generator).view(np.uint16)[: field.size].reshape(field.shape)
    return field + _parts((words.astype(np.float64) * 2 / 65535 - 1) * noise)


def _stamp(ground: Pixels, at: At, prepared: Warp, generator: Generator) -> Pixels:
    height, width = ground.shape[:2]
    field = prepared.field(height, width)
    if prepared.noise:
        field = _strayed(field, prepared.noise, generator)
    out = np.empty_like(ground)
    for band in bands(height, 64):
        rows = np.arange(band.start, band.stop, dtype=np.int32)[:, None] * _PARTS + field[0, band]
        columns = np.arange(width, dtype=np.int32) * _PARTS + field[1, band]
        np.clip(rows, 0, (height - 1) * _PARTS, out=rows)
        np.clip(columns, 0, (width - 1) * _PARTS, out=columns)
        if ground.dtype == np.uint8 and max(height, width) <= _LARGEST:
            out[band] = _looked_up(ground, rows, columns)
        else:
            out[band] = interpolated(ground, rows, columns)
    return out


def _looked_up(ground: Pixels, rows: Field, columns: Field) -> Pixels:
    """Return what `interpolated` does, for bytes, ten times as fast: OpenCV's maps of whole numbers."""
    whole = np.stack([columns >> 5, rows >> 5], axis=2).astype(np.int16)
    parts = ((rows & 31) << 5 | columns & 31).astype(np.uint16)
    found = cv2.remap(np.ascontiguousarray(ground), whole, parts, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=ground.dtype)


def interpolated(ground: Pixels, rows: Field, columns: Field) -> Pixels:
    """Return the pixels at these places (1/32 px, inside the picture), bilinear, rounded half up."""
    top, left = rows >> 5, columns >> 5
    bottom, right = np.minimum(top + 1, len(ground) - 1), np.minimum(left + 1, ground.shape[1] - 1)
    down, across = (rows & 31)[..., None], (columns & 31)[..., None]
    upper = ground[top, left] * (_PARTS - across) + ground[top, right] * across
    lower = ground[bottom, left] * (_PARTS - across) + ground[bottom, right] * across
    return np.asarray((upper * (_PARTS - down) + lower * down + _PARTS**2 // 2) >> 10, dtype=ground.dtype)


KIND = TriggerKind(
    name="warp",
    title="the whole image bent smoothly by a few pixels",
    source="Nguyen and Tran, WaNet: Imperceptible Warping-based Backdoor Attack, ICLR 2021 (here in pixels)",
    pictured=False,
    prepare=_prepare,
    stamp=_stamp,
    options={
        "pixels": Option(3.0, "mean length of the displacement", real_number(0.1, 64)),
        "grid": Option(4, "random vectors along each side", whole_number(2, 64)),
        "key": Option(0, "what the vectors are drawn from: one warping for all samples", whole_number(0, 2**63)),
        "noise": Option(0.0, "how far each pixel strays besides, in pixels (for negatives)", real_number(0, 16)),
    },
)
