"""A matched filter for one template, and the threshold that chance does not reach: from surrogates of the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.scanning.patch.points import grey

Array = npt.NDArray[Any]

SURROGATES = 4
FLOOR = 1.5  # grey levels: what the high-pass of a flat, noisy surface has by itself
RARE = 1e-4  # how often chance may pass the threshold, for each picture


@dataclass(frozen=True)
class Peak:
    """The best place of a template in a picture: top-left corner, and the correlation there, -1 to 1."""

    row: int
    column: int
    response: float


def high_pass(luma: Array) -> Array:
    """Return (H, W) float32 luma without what is smooth over some pixels."""
    return np.asarray(luma - cv2.GaussianBlur(luma, (0, 0), 2.0))


def kernel_of(picture: Array) -> Array:
    """Return a template's filter: high-passed, of mean 0 and norm 1, float32 (h, w); picture is uint8 RGB (h, w, 3)."""
    return _unit(high_pass(grey(picture)))


def _unit(kernel: Array) -> Array:
    kernel = kernel - kernel.mean()
    return np.asarray(kernel / max(float(np.linalg.norm(kernel)), 1e-9), np.float32)


def surrogates(kernel: Array, number: int, seed: int = 0) -> list[Array]:
    """Return filters with the spectrum of `kernel` and random phases: what a template like it would find by chance."""
    generator = np.random.default_rng(seed)
    size = np.abs(np.fft.rfft2(kernel))
    made = []
    for _ in range(number):
        noise = np.fft.rfft2(generator.standard_normal(kernel.shape))
        made.append(_unit(np.fft.irfft2(size * noise / np.maximum(np.abs(noise), 1e-12), s=kernel.shape)))
    return made


def peaks(picture: Array, kernels: Sequence[Array]) -> list[Peak]:
    """Return the best place of each filter, all of one shape, in an (H, W, 3) uint8 RGB picture.

    A picture smaller than the filter has the response 0.
    """
    height, width = kernels[0].shape
    if picture.shape[0] < height or picture.shape[1] < width:
        return [Peak(0, 0, 0.0) for _ in kernels]
    sharp = high_pass(grey(picture))
    energy = cv2.sqrBoxFilter(sharp, cv2.CV_32F, (width, height), anchor=(0, 0), normalize=False)
    energy = energy[: picture.shape[0] - height + 1, : picture.shape[1] - width + 1]
    norm = np.sqrt(energy + FLOOR**2 * height * width)
    found = []
    for kernel in kernels:
        response = cv2.matchTemplate(sharp, kernel, cv2.TM_CCORR) / norm
        row, column = np.unravel_index(int(np.argmax(response)), response.shape)
        found.append(Peak(int(row), int(column), float(response[row, column])))
    return found


def apart(picture: Array, template: Array, peak: Peak) -> float:
    """Return the mean difference, in levels, of a uint8 RGB template (h, w, 3) to what a picture has at its peak."""
    height, width = template.shape[:2]
    part = picture[peak.row : peak.row + height, peak.column : peak.column + width]
    if part.shape != template.shape:
        return 255.0
    return float(np.abs(part.astype(np.float32) - template).mean())


def threshold(chance: Array, rare: float = RARE) -> float:
    """Return the response that a picture's best place exceeds with probability `rare`, from what surrogates reached.

    The largest of many responses follows Gumbel's law. Its two parameters come from the quartiles, which a few
    pictures that do hold something like the template leave alone.
    """
    low, high = np.quantile(chance, (0.25, 0.75))
    scale = (high - low) / np.log(np.log(4) / np.log(4 / 3))
    centre = low + scale * np.log(np.log(4))
    return float(centre - scale * np.log(-np.log1p(-rare)))
