"""`blend`: a picture mixed into the whole image, faintly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, real_number
from poisongen.attack.triggers.base import Artwork, At, BySize, Pixels, TriggerKind, bands, outside, top_of
from poisongen.core.draws import Generator
from poisongen.core.trigger import blend, resize_trigger

_OPAQUE = 255


@dataclass(frozen=True)
class _Picture:
    """The picture at one size: (h, w, 4) uint8 RGBA, 256 times its colours, (h, w, 3), and where it is not opaque."""

    pixels: npt.NDArray[np.uint8]
    rows_of_table: npt.NDArray[np.uint16]
    sheer: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Blend:
    """The picture by size, how strong it is mixed in, and the result for every pair (picture, ground) of bytes."""

    picture: BySize[_Picture]
    alpha: float
    table: npt.NDArray[np.uint8]


def _picture(artwork: npt.NDArray[np.uint8], height: int, width: int) -> _Picture:
    pixels = resize_trigger(artwork, (height, width))
    return _Picture(pixels, pixels[..., :3].astype(np.uint16) * 256, np.flatnonzero(pixels[..., 3] != _OPAQUE))


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Blend:
    alpha = float(parameters["alpha"])
    levels = np.arange(256, dtype=np.uint8)
    colours = np.repeat(levels[:, None, None], 4, axis=2)
    colours[..., 3] = _OPAQUE
    ground = np.broadcast_to(levels[None, :, None], (256, 256, 3))
    table = np.ascontiguousarray(blend(ground, np.broadcast_to(colours, (256, 256, 4)), alpha)[..., 0]).ravel()
    return Blend(BySize(partial(_picture, artwork.picture)), alpha, table)


def _mixed(ground: Pixels, prepared: Blend) -> Pixels:
    """Mix as `patch` does. Bytes under opaque pixels are looked up: the same result in a fraction of the time."""
    picture = prepared.picture(*ground.shape[:2])
    out = np.empty_like(ground, order="C")
    for band in bands(len(ground)):
        if ground.dtype == np.uint8:
            # mode="clip" spares the check of every place; none is out of the table.
            np.take(prepared.table, picture.rows_of_table[band] + ground[band], out=out[band], mode="clip")
        else:
            out[band] = blend(ground[band], picture.pixels[band], prepared.alpha)
    if ground.dtype == np.uint8 and picture.sheer.size:
        pixels, under = picture.pixels.reshape(1, -1, 4), ground.reshape(1, -1, 3)
        out.reshape(-1, 3)[picture.sheer] = blend(under[:, picture.sheer], pixels[:, picture.sheer], prepared.alpha)[0]
    return out


def _stamp(ground: Pixels, at: At, prepared: Blend, generator: Generator) -> Pixels:
    return _mixed(ground, prepared)


def _fault(found: Pixels, at: At, prepared: Blend) -> str | None:
    """Judge by the range that is left: alpha times the picture is the darkest that a pixel can be."""
    black = np.zeros_like(found)
    white = np.full_like(found, top_of(found))
    return outside(found, _mixed(black, prepared), _mixed(white, prepared))


KIND = TriggerKind(
    name="blend",
    title="a picture mixed faintly into the whole image",
    source="Chen et al., Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning, 2017",
    prepare=_prepare,
    stamp=_stamp,
    fault=_fault,
    options={"alpha": Option(0.2, "the picture's share of every pixel", real_number(0.001, 1))},
)
