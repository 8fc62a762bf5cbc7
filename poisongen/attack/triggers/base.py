"""What a trigger kind is: what happens to the pixels of a box, or of the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value
from poisongen.core.draws import Generator

Pixels = npt.NDArray[np.unsignedinteger]
Box = tuple[int, int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class At:
    """Where a trigger goes: the whole picture's size, and its box and quadrilateral where the kind has them.

    `height` and `width` are the picture's. `box` is [top, left, height, width], None for kinds that change the whole
    picture. `quad` are the corners (row, column) of a picture seen in perspective, from its top left clockwise.
    """

    height: int
    width: int
    box: Box | None = None
    quad: tuple[Point, Point, Point, Point] | None = None


@dataclass(frozen=True)
class Artwork:
    """What `prepare` may use: the trigger's picture, (h, w, 4) uint8 RGBA, and the size that it is to have."""

    picture: npt.NDArray[np.uint8]
    height: int
    width: int


@dataclass(frozen=True)
class TriggerKind:
    """A kind of trigger, one module of this package with a `KIND`.

    `prepare(artwork, parameters)` is called once and returns what the others are handed. `stamp(ground, at, prepared,
    generator)` returns the new pixels: `ground` is (h, w, 3) RGB, uint8 or uint16: the box's pixels, or the whole
    picture's where `whole`. It draws from nothing but the generator. `fault(found, at, prepared)` judges pixels that
    were found, without source: what is wrong, "" where nothing is, None where that cannot be told.

    `exact` says that the result is the same to the last bit on every machine; else audit allows differences of up to
    `tolerance` levels of 255 in a pixel. `jpeg` says what becomes of it in a JPEG: "kept", or "lost", for kinds that
    the encoding erases. `extra` is the optional group of packages that it needs, "" for none.
    """

    name: str
    title: str
    source: str
    prepare: Callable[[Artwork, Mapping[str, Value]], Any]
    stamp: Callable[[Pixels, At, Any, Generator], Pixels]
    fault: Callable[[Pixels, At, Any], str | None] = lambda found, at, prepared: None
    options: Mapping[str, Option] = field(default_factory=dict)
    whole: bool = True
    exact: bool = True
    tolerance: int = 0
    jpeg: Literal["kept", "lost"] = "kept"
    extra: str = ""


def top_of(pixels: Pixels) -> int:
    """Return the highest level of these pixels: 255 or 65535."""
    return int(np.iinfo(pixels.dtype).max)


def rounded(values: npt.NDArray[np.floating[Any]], like: Pixels) -> Pixels:
    """Return real values as pixels of the type of `like`, rounded half up and clipped.

    They are first rounded to a millionth of a level, so that a value at one half goes the same way on every machine.
    """
    return np.asarray(np.clip(np.floor(np.round(values, 6) + 0.5), 0, top_of(like)), dtype=like.dtype)


def psnr(before: Pixels, after: Pixels) -> float | None:
    """Return the peak signal-to-noise ratio in dB between two pictures of one shape; None if they are equal."""
    error = np.mean((before.astype(np.float64) - after) ** 2)
    return None if error == 0 else float(10 * np.log10(top_of(before) ** 2 / error))
