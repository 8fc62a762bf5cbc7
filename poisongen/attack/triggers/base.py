"""What a trigger kind is: what happens to the pixels of a box, or of the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value
from poisongen.core.draws import Generator
from poisongen.printing import number_of

Pixels = npt.NDArray[np.unsignedinteger]
Box = tuple[int, int, int, int]
Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
Made = TypeVar("Made")

_BAND = 16  # rows: what is worked on at once stays in the processor's cache
_KEPT = 4  # sizes of pictures for which the work is kept


@dataclass(frozen=True)
class At:
    """Where a trigger goes: the whole picture's size, and its box and quadrilateral where the kind has them.

    `height` and `width` are the picture's. `box` is [top, left, height, width], None for kinds that change the whole
    picture. `quad` are the corners (row, column) of a picture seen in perspective, from its top left clockwise; the
    pixel (r, c) covers [r, r + 1) and [c, c + 1), as in a box.
    """

    height: int
    width: int
    box: Box | None = None
    quad: Quad | None = None


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
    the encoding erases; those have `survives(before, after, prepared)`, the share of the trigger that is left in
    pixels `after` it was written: 1 is all of it. `pictured` says whether the artwork's picture is seen in it. `extra`
    is the optional group of packages that it needs, "" for none.
    `quad(height, width, foot, prepared)`, for kinds that stand in perspective, returns the corners for a foot point
    (row, column) in a picture of that size; None where nothing can stand there.
    """

    name: str
    title: str
    source: str
    prepare: Callable[[Artwork, Mapping[str, Value]], Any]
    stamp: Callable[[Pixels, At, Any, Generator], Pixels]
    fault: Callable[[Pixels, At, Any], str | None] = lambda found, at, prepared: None
    options: Mapping[str, Option] = field(default_factory=dict)
    survives: Callable[[Pixels, Pixels, Any], float] | None = None
    quad: Callable[[int, int, Point, Any], Quad | None] | None = None
    whole: bool = True
    exact: bool = True
    tolerance: int = 0
    jpeg: Literal["kept", "lost"] = "kept"
    pictured: bool = True
    extra: str = ""


@dataclass(frozen=True)
class BySize(Generic[Made]):
    """What depends on the size of the picture, made once for each: call it with (height, width).

    `make` must be a function of a module (or a partial of one), so that a worker can be handed this. The last few
    sizes are kept.
    """

    make: Callable[[int, int], Made]
    _made: dict[tuple[int, int], Made] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, height: int, width: int) -> Made:
        """Return what belongs to that size, made now or earlier."""
        if (height, width) not in self._made:
            if len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            self._made[height, width] = self.make(height, width)
        return self._made[height, width]

    def __reduce__(self) -> tuple[type[BySize[Made]], tuple[Callable[[int, int], Made]]]:
        return (type(self), (self.make,))


def bands(height: int, rows: int = _BAND) -> Iterator[slice]:
    """Yield the rows of a picture, a few at a time."""
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


def added(ground: Pixels, levels: npt.NDArray[np.int32]) -> Pixels:
    """Return the pixels with whole levels added, clipped. `levels` is (32, w, 3) or less; it repeats down the rows."""
    out = np.empty_like(ground)
    top = top_of(ground)
    for band in bands(len(ground), len(levels) if len(levels) > 1 else _BAND):
        rows = levels[: band.stop - band.start]
        out[band] = np.clip(ground[band] + (rows.astype(np.int16) if top == 255 else rows), 0, top)
    return out


def outside(found: Pixels, lowest: Pixels, highest: Pixels) -> str | None:
    """Judge pixels by the range that a trigger can give, which broadcasts to them: what is wrong, None if nothing.

    Levels in the range prove nothing: the trigger may be there or not.
    """
    wrong = 0
    for band in bands(len(found)):
        low, high = (edge[band] if len(edge) == len(found) else edge for edge in (lowest, highest))
        wrong += int(((found[band] < low) | (found[band] > high)).any(axis=2).sum())
    return f"{number_of(wrong, 'pixel')} with levels that the trigger cannot leave" if wrong else None


def top_of(pixels: Pixels) -> int:
    """Return the highest level of these pixels: 255 or 65535."""
    return int(np.iinfo(pixels.dtype).max)


def rounded(values: npt.NDArray[np.floating[Any]], like: Pixels) -> Pixels:
    """Return real values as pixels of the type of `like`, rounded half up and clipped.

    They are first rounded to a millionth of a level, so that a value at one half goes the same way on every machine.
    """
    return nearest(np.round(values, 6), like)


def nearest(values: npt.NDArray[np.floating[Any]], like: Pixels) -> Pixels:
    """Return real values as pixels of the type of `like`, rounded half up and clipped: for kinds that are not exact."""
    return np.asarray(np.clip(np.floor(values + 0.5), 0, top_of(like)), dtype=like.dtype)


def psnr(before: Pixels, after: Pixels) -> float | None:
    """Return the peak signal-to-noise ratio in dB between two pictures of one shape; None if they are equal."""
    error = np.mean((before.astype(np.float64) - after) ** 2)
    return None if error == 0 else float(10 * np.log10(top_of(before) ** 2 / error))
