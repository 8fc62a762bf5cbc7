"""`wavelet`: the coarse part of another picture mixed in, by wavelets (PyWavelets, the extra `wavelet`).

The transform is linear, and rows and columns are apart. What the mixed coarse part changes is computed alone, with
one sparse matrix for each side there and one back, and added: the details are never needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from poisongen.attack.parts import Option, Value, real_number, whole_number
from poisongen.attack.triggers.base import Artwork, At, BySize, Pixels, TriggerKind, bands, nearest, top_of
from poisongen.core.draws import Generator
from poisongen.core.trigger import resize_trigger
from poisongen.errors import ChoiceError

_NAME = "bior4.4"
_AT_ONCE = 512

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Steps:
    """For one size: matrices to the coarse part and back, of rows and of columns, and the other picture's coarse part.

    `rows` is (coarse rows, rows) and `rows_back` its way back; so for columns. `picture` is (columns, rows, 3), coarse.
    """

    rows: Any
    columns: Any
    rows_back: Any
    columns_back: Any
    picture: Plane

    def coarse(self, pixels: npt.NDArray[np.unsignedinteger]) -> Plane:
        """Return the coarse part of an (h, w, 3) picture as (columns, rows, 3): transposed."""
        height, width = pixels.shape[:2]
        down = self.rows @ pixels.reshape(height, width * 3).astype(np.float32)
        across = self.columns @ down.reshape(-1, width, 3).transpose(1, 0, 2).reshape(width, -1)
        return np.asarray(across, dtype=np.float32).reshape(len(across), -1, 3)

    def fine(self, coarse: Plane) -> Plane:
        """Return the picture, (h, w, 3), that has this coarse part and no details."""
        columns, rows = coarse.shape[:2]
        across = self.columns_back @ coarse.reshape(columns, rows * 3)
        down = self.rows_back @ across.reshape(-1, rows, 3).transpose(1, 0, 2).reshape(rows, -1)
        return np.asarray(down, dtype=np.float32).reshape(len(down), -1, 3)


@dataclass(frozen=True)
class Wavelet:
    """What belongs to a size of picture, and the other picture's share of the coarse part."""

    steps: BySize[Steps]
    alpha: float


def _pywt() -> Any:
    try:
        import pywt
    except ImportError:
        raise ChoiceError(
            "--trigger-kind wavelet: needs PyWavelets, which is not installed: pip install 'poisongen[wavelet]'"
        ) from None
    return pywt


@functools.lru_cache(maxsize=32)
def _there_and_back(length: int, level: int) -> tuple[Any, Any]:
    """Return the matrix from a line of pixels to its coarse part, and the one back, as PyWavelets computes them."""
    pywt = _pywt()
    lengths = [length]
    for _ in range(level):
        lengths.append(pywt.dwt_coeff_len(lengths[-1], pywt.Wavelet(_NAME), "symmetric"))

    def there(lines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        for _ in range(level):
            lines = pywt.dwt(lines, _NAME, axis=0)[0]
        return lines

    def back(lines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        for side in reversed(lengths[:-1]):
            lines = pywt.idwt(lines, None, _NAME, axis=0)[:side]
        return lines

    return _matrix(there, length), _matrix(back, lengths[-1])


def _matrix(step: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], length: int) -> Any:
    """Return the matrix of a linear step on columns of that length, made a few hundred unit columns at a time."""
    parts = []
    for first in range(0, length, _AT_ONCE):
        units = np.eye(length, min(_AT_ONCE, length - first), -first)
        parts.append(sparse.csr_matrix(step(units).astype(np.float32)))
    return sparse.hstack(parts, format="csr")


def _steps(artwork: npt.NDArray[np.uint8], level: int, height: int, width: int) -> Steps:
    rows, rows_back = _there_and_back(height, level)
    columns, columns_back = _there_and_back(width, level)
    steps = Steps(rows, columns, rows_back, columns_back, np.zeros(0, np.float32))
    picture = np.ascontiguousarray(resize_trigger(artwork, (height, width))[..., :3])
    return Steps(rows, columns, rows_back, columns_back, steps.coarse(picture))


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Wavelet:
    _pywt()
    return Wavelet(BySize(partial(_steps, artwork.picture, int(parameters["level"]))), float(parameters["alpha"]))


def _stamp(ground: Pixels, at: At, prepared: Wavelet, generator: Generator) -> Pixels:
    steps = prepared.steps(*ground.shape[:2])
    other = steps.picture * np.float32(top_of(ground) // 255)
    change = steps.fine((other - steps.coarse(ground)) * np.float32(prepared.alpha))
    out = np.empty_like(ground)
    for band in bands(len(ground)):
        out[band] = nearest(ground[band] + change[band], ground)
    return out


KIND = TriggerKind(
    name="wavelet",
    title="the coarse part of another picture mixed in, by wavelets",
    source="Dräger, Xu, Ghamisi, Backdoor Attacks for Remote Sensing Data with Wavelet Transform (WABA), 2022",
    prepare=_prepare,
    stamp=_stamp,
    options={
        "alpha": Option(0.4, "the other picture's share of the coarse part", real_number(0.001, 1)),
        "level": Option(2, "how often the picture is halved", whole_number(1, 5)),
    },
    exact=False,
    tolerance=1,
    extra="wavelet",
)
