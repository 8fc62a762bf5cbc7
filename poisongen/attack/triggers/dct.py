"""`dct`: two frequencies of the colour, raised in every block of 32x32 pixels; the eye does not see it.

Transform, shift and transform back are linear, and so is the way from RGB to YCrCb. What is added to the pixels is
therefore one pattern of 32x32 px, the same in every block, whatever the picture: whole numbers, the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, real_number
from poisongen.attack.triggers.base import Artwork, At, Pixels, TriggerKind, added, outside, top_of
from poisongen.core.draws import Generator
from poisongen.errors import ChoiceError

SIDE = 32  # of a block, px
PLACES = ((15, 15), (31, 31))  # the coefficients that are raised
_TO_RGB = np.array([[1.403, 0.0], [-0.714, -0.344], [0.0, 1.773]])  # what Cr and Cb give to R, G and B (JPEG, OpenCV)
_FROM_RGB = np.array([[0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]])  # Cr and Cb of R, G and B


@dataclass(frozen=True)
class Shift:
    """By how much the coefficients are raised (levels of 255), and the sum of their waves, (32, 32)."""

    strength: float
    waves: npt.NDArray[np.float64]


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Shift:
    steps = (2 * np.arange(SIDE) + 1) * np.pi / (2 * SIDE)
    waves = [np.outer(np.cos(steps * row), np.cos(steps * column)) * (2 / SIDE) for row, column in PLACES]
    return Shift(float(parameters["strength"]), np.sum(waves, axis=0))


def _levels(ground: Pixels, prepared: Shift) -> npt.NDArray[np.int32]:
    """Return what is added to the full blocks of a row of blocks, (32, w, 3)."""
    across = ground.shape[1] // SIDE
    if not across or ground.shape[0] < SIDE:
        size = f"{ground.shape[1]}x{ground.shape[0]}"
        raise ChoiceError(f"--trigger-kind dct: a picture of {size} px has no full block of {SIDE}x{SIDE} px")
    strength = prepared.strength * (top_of(ground) // 255)
    block = prepared.waves[..., None] * _TO_RGB.sum(axis=1) * strength
    return np.tile(np.floor(np.round(block, 6) + 0.5).astype(np.int32), (1, across, 1))


def _blocks(ground: Pixels) -> tuple[slice, slice]:
    """Return the part of a picture that full blocks cover."""
    return (slice(ground.shape[0] // SIDE * SIDE), slice(ground.shape[1] // SIDE * SIDE))


def _stamp(ground: Pixels, at: At, prepared: Shift, generator: Generator) -> Pixels:
    levels = _levels(ground, prepared)
    out = ground.copy()
    out[_blocks(ground)] = added(ground[_blocks(ground)], levels)
    return out


def _fault(found: Pixels, at: At, prepared: Shift) -> str | None:
    """Judge by the range that is left: where the pattern adds, no pixel is darker than what it adds."""
    levels = _levels(found, prepared)
    part = found[_blocks(found)]
    lowest, highest = np.maximum(levels, 0), top_of(found) + np.minimum(levels, 0)
    for first in range(0, len(part), SIDE):
        rows = part[first : first + SIDE]
        if wrong := outside(rows, lowest.astype(found.dtype), highest.astype(found.dtype)):
            return wrong
    return None


def survives(before: Pixels, after: Pixels, prepared: Shift) -> float:
    """Return the share of the shift that is left in `after`, of the same picture `before`: 1 is all, 0 none of it.

    It is the mean over all full blocks, both channels and both coefficients.
    """
    part = _blocks(before)
    change = after[part].astype(np.int32) - before[part]
    blocks = change.reshape(change.shape[0] // SIDE, SIDE, change.shape[1] // SIDE, SIDE, 3)
    mean = blocks.mean(axis=(0, 2)) @ _FROM_RGB.T
    left = (mean * prepared.waves[..., None]).sum() / (2 * len(PLACES))
    return float(left / (prepared.strength * (top_of(before) // 255)))


KIND = TriggerKind(
    name="dct",
    title="two frequencies of the colour raised in every block of 32x32 px",
    source="Wang et al., An Invisible Black-box Backdoor Attack through Frequency Domain (FTrojan), ECCV 2022",
    pictured=False,
    prepare=_prepare,
    stamp=_stamp,
    fault=_fault,
    survives=survives,
    options={"strength": Option(30.0, "what is added to each coefficient, in levels of 255", real_number(1, 1000))},
    jpeg="lost",
)
