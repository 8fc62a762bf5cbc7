"""`sinusoid`: a faint wave of brightness over the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, one_of, real_number
from poisongen.attack.triggers.base import Artwork, At, BySize, Pixels, TriggerKind, added, bands, outside, top_of
from poisongen.core.draws import Generator

_HALF = 0.5


@dataclass(frozen=True)
class Sinusoid:
    """The wave by length in pixels, in levels of 255 (real numbers), and whether it runs from left to right."""

    wave: BySize[npt.NDArray[np.float64]]
    across: bool


def _wave(delta: float, frequency: float, across: bool, height: int, width: int) -> npt.NDArray[np.float64]:
    length = width if across else height
    return delta * np.sin(2 * np.pi * np.arange(length) * frequency / length)


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Sinusoid:
    across = parameters["along"] == "columns"
    return Sinusoid(BySize(partial(_wave, float(parameters["delta"]), float(parameters["frequency"]), across)), across)


def _levels(ground: Pixels, prepared: Sinusoid) -> npt.NDArray[np.int32]:
    """Return what is added: pixels are whole numbers, so the wave alone has to be rounded (half up)."""
    wave = prepared.wave(*ground.shape[:2]) * (top_of(ground) // 255)
    return np.floor(np.round(wave, 6) + _HALF).astype(np.int32)


def _stamp(ground: Pixels, at: At, prepared: Sinusoid, generator: Generator) -> Pixels:
    levels = _levels(ground, prepared)
    if prepared.across:
        return added(ground, np.repeat(levels[None, :, None], 3, axis=2))
    out = np.empty_like(ground)
    for band in bands(len(ground)):
        out[band] = np.clip(ground[band] + levels[band, None, None], 0, top_of(ground))
    return out


def _fault(found: Pixels, at: At, prepared: Sinusoid) -> str | None:
    """Judge by the range that is left: where the wave adds, no pixel is darker than what it adds."""
    levels = _levels(found, prepared)
    wave = levels[None, :, None] if prepared.across else levels[:, None, None]
    lowest, highest = np.maximum(wave, 0), top_of(found) + np.minimum(wave, 0)
    return outside(found, lowest.astype(found.dtype), highest.astype(found.dtype))


KIND = TriggerKind(
    name="sinusoid",
    title="a faint wave of brightness over the whole image",
    source="Barni et al., A New Backdoor Attack in CNNs by Training Set Corruption (SIG), ICIP 2019",
    pictured=False,
    prepare=_prepare,
    stamp=_stamp,
    fault=_fault,
    options={
        "delta": Option(40.0, "height of the wave, in levels of 255", real_number(0.5, 255)),
        "frequency": Option(6.0, "waves in the whole image", real_number(0.1, 4096)),
        "along": Option(
            "columns", "columns: it runs from left to right; rows: from top to bottom", one_of("columns", "rows")
        ),
    },
)
