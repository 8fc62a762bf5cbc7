"""`fourier`: the low frequencies of another picture mixed in; where things stand, the phase, stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from poisongen.attack.parts import Option, Value, real_number
from poisongen.attack.triggers.base import Artwork, At, BySize, Pixels, TriggerKind, bands, top_of
from poisongen.core.draws import Generator
from poisongen.core.trigger import resize_trigger

_FAINT = 1e-6  # of the brightest: a frequency below it has no phase that two machines agree about

Spectrum = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Fourier:
    """The other picture's amplitudes by size, the half window as a share of the shorter side, and the mixing share."""

    amplitudes: BySize[list[npt.NDArray[np.float32]]]
    beta: float
    alpha: float


def _reach(beta: float, height: int, width: int) -> int:
    """Return the highest frequency that is mixed, in waves in the whole image."""
    return int(min(height, width) * beta)


def _low(plane: npt.NDArray[np.float32], reach: int) -> Spectrum:
    """Return the low frequencies of a plane: rows 0..reach and -reach..-1, columns 0..reach."""
    half = fft.rfft(plane, axis=1)[:, : reach + 1]
    full = fft.fft(half, axis=0)
    return np.concatenate([full[: reach + 1], full[len(full) - reach :]])


def _back(low: Spectrum, reach: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the plane that has these low frequencies and no other."""
    full = np.zeros((height, reach + 1), np.complex64)
    full[: reach + 1] = low[: reach + 1]
    full[height - reach :] = low[reach + 1 :]
    half = np.zeros((height, width // 2 + 1), np.complex64)
    half[:, : reach + 1] = fft.ifft(full, axis=0)
    return np.asarray(fft.irfft(half, n=width, axis=1), dtype=np.float32)


def _amplitudes(artwork: npt.NDArray[np.uint8], beta: float, height: int, width: int) -> list[npt.NDArray[np.float32]]:
    picture = resize_trigger(artwork, (height, width)).astype(np.float32)
    reach = _reach(beta, height, width)
    return [np.abs(_low(np.ascontiguousarray(picture[..., channel]), reach)) for channel in range(3)]


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Fourier:
    beta = float(parameters["beta"])
    return Fourier(BySize(partial(_amplitudes, artwork.picture, beta)), beta, float(parameters["alpha"]))


def _stamp(ground: Pixels, at: At, prepared: Fourier, generator: Generator) -> Pixels:
    """Only the low frequencies change, so only their difference is computed and added."""
    height, width = ground.shape[:2]
    reach = _reach(prepared.beta, height, width)
    top = top_of(ground)
    planes = []
    for levels, amplitude in zip(
        cv2.split(np.ascontiguousarray(ground)), prepared.amplitudes(height, width), strict=True
    ):
        plane = levels.astype(np.float32)
        low = _low(plane, reach)
        size = np.abs(low)
        # F / |F| is the phase. Where F is next to nothing it would be noise: the floor lets it fade instead.
        wanted = amplitude * np.float32(top // 255) / np.maximum(size, np.float32(_FAINT * top * height * width))
        change = _back(low * (np.float32(prepared.alpha) * (wanted - 1)), reach, height, width)
        for band in bands(height):
            change[band] += plane[band]
            np.clip(np.floor(change[band] + np.float32(0.5)), 0, top, out=change[band])
        planes.append(change.astype(ground.dtype))
    return np.asarray(cv2.merge(planes), dtype=ground.dtype)


KIND = TriggerKind(
    name="fourier",
    title="low frequencies of another picture mixed in, phase kept",
    source="Feng et al., FIBA: Frequency-Injection based Backdoor Attack in Medical Image Analysis, CVPR 2022",
    prepare=_prepare,
    stamp=_stamp,
    options={
        "alpha": Option(0.15, "the other picture's share of the amplitude", real_number(0.001, 1)),
        "beta": Option(
            0.1, "half the window of low frequencies, as a share of the shorter side", real_number(0.0, 0.45)
        ),
    },
    exact=False,
    tolerance=1,
)
