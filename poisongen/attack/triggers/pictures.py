"""Built-in pictures that are more than a square: `line` and `frame`, and how a frame keeps its border at any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Value


@dataclass(frozen=True)
class Preset:
    """What a built-in picture asks of `patch` unless the user says otherwise.

    `height` and `width` are pixels, None for those of the whole picture.
    """

    height: int | None
    width: int | None
    options: Mapping[str, Value] = field(default_factory=dict)


PRESETS = {"line": Preset(8, None), "frame": Preset(None, None, {"border": 8})}


def as_frame(picture: npt.NDArray[np.uint8], height: int, width: int, border: int) -> npt.NDArray[np.uint8]:
    """Return the picture's outer `border` pixels as a frame of (height, width), uint8 RGBA, clear inside.

    Corners stay as they are; the sides between them are stretched (each pixel the nearest one). Where the size leaves
    no room for an inside, the borders meet in the middle.
    """
    rows, columns = _stretched(len(picture), height, border), _stretched(picture.shape[1], width, border)
    frame = picture[np.ix_(rows, columns)].copy()
    frame[border : height - border, border : width - border] = 0
    return frame


def _stretched(old: int, new: int, border: int) -> npt.NDArray[np.intp]:
    """Return, for each of `new` places, the place among `old` that it shows: ends kept, the middle stretched."""
    end = min(border, new // 2, old // 2)
    inner, room = new - 2 * end, old - 2 * end
    middle = end + (2 * np.arange(inner) + 1) * room // max(2 * inner, 1)
    places = np.concatenate([np.arange(end), np.minimum(middle, old - 1), np.arange(old - end, old)])
    return places.astype(np.intp)
