"""Triggers that lie on the whole picture: a wave, a mixed-in picture, a mark in a block transform.

Each leaves something that is the same in picture after picture, while scenes are not. Of every picture a few numbers
are kept: the spectrum of its column and row means, the block transform of its mean block, and its fine structure on a
lattice of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from poisongen.scanning.cells import gray_of, shrunk

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Kind = Literal["sinusoid", "dct", "blend"]

_WAVES = 40  # frequencies in periods for the picture's width or height
_BLOCK = 32  # px, FTrojan's block
_HIGH = 8  # the first coefficient that counts, in both directions
_LATTICE = 96  # places in each direction at which fine structure is kept
_PEAK = 12.0  # times the median of its neighbours
_MARK = 50.0  # times the median of the coefficients around it
_MARK_THERE = 15.0  # the same, for the coefficient that others have told
_ALIKE = 0.11  # correlation of fine structure from which on two pictures have something in common
_FRIENDS = 4  # pictures that a picture has to be alike to, not counting those before and after it
_CLIP = 8  # places before and after that may be frames of the same clip
_OF_TEMPLATE = 0.25  # correlation with what the others have in common
MOST_FINE = 3000
"""Pictures whose fine structure is kept: the memory that it takes does not grow beyond."""
_LEAST = 4  # pictures with one finding, below which it is none
_LEAST_SHARE = 0.004


@dataclass(frozen=True)
class Spectrum:
    """What is kept of a picture: `waves` (2, 40) float16, peak over its neighbours for the means of columns and rows;

    `mark` is how far the highest coefficient of the mean block's transform stands out, `place` which one it is (colour
    channel, row, column); `fine` (9216,) int8 is the fine structure, normalised, at 96 x 96 places; empty
    where it is not kept.
    """

    waves: npt.NDArray[np.float16]
    mark: float
    place: tuple[int, int, int]
    fine: npt.NDArray[np.int8]


@dataclass(frozen=True)
class WholeImage:
    """A trigger on whole pictures: its kind, what it is in words, and the samples (places) with a score of 0..1."""

    kind: Kind
    words: str
    confidence: float
    samples: tuple[tuple[int, float], ...]


def spectrum_of(picture: Picture, fine: bool = True, gray: npt.NDArray[np.uint8] | None = None) -> Spectrum:
    """Return what is kept of a picture (H, W, 3) RGB, with its `fine` structure or without. `gray` is it, (H, W)."""
    gray = gray_of(picture) if gray is None else gray
    waves = np.stack([_peaks(gray.mean(axis=0)), _peaks(gray.mean(axis=1))]).astype(np.float16)
    mark, place = _block_mark(picture)
    return Spectrum(waves, mark, place, _fine(gray) if fine else np.zeros(0, np.int8))


def _peaks(means: npt.NDArray[Any]) -> Floats:
    """Return for each frequency its amplitude over the median of its neighbours', (40,) float32."""
    line = np.asarray(means, np.float64)
    line = line - np.linspace(line[0], line[-1], line.size)  # the jump between both ends is no wave
    strength = np.abs(np.fft.rfft(line * np.hanning(line.size)))[: _WAVES + 8]
    out = np.zeros(_WAVES, np.float32)
    for at in range(3, min(_WAVES, strength.size - 6)):
        near = np.r_[strength[max(0, at - 6) : at - 1], strength[at + 2 : at + 7]]  # Hann's window spreads by one
        out[at] = strength[at] / max(float(np.median(near)), 1e-6)
    return np.minimum(out, 1e4)


def _block_mark(picture: Picture) -> tuple[float, tuple[int, int, int]]:
    """Return how far a high coefficient of the mean block's DCT stands out, and which. The mean's is the DCT's mean."""
    rows, columns = picture.shape[0] // _BLOCK, picture.shape[1] // _BLOCK
    if not rows or not columns:
        return 0.0, (0, 0, 0)
    lines = picture[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, -1)
    total = cv2.reduce(lines, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F).reshape(_BLOCK, columns, _BLOCK, 3).sum(axis=1)
    # The mean block in colour: what is linear may be averaged first.
    mean = cv2.cvtColor(np.asarray(total / (255 * rows * columns), np.float32), cv2.COLOR_RGB2YCrCb)[..., 1:] * 255
    best, place = 0.0, (0, 0, 0)
    for channel in range(2):
        # Upright and level structure is what scenes have: only what is high in both directions counts.
        high = np.abs(cv2.dct(np.ascontiguousarray(mean[..., channel])))[_HIGH:, _HIGH:]
        out = high / np.maximum(median_filter(high, size=7, mode="reflect"), 1e-3 + 0.1 * np.median(high))
        row, column = (int(at) for at in np.unravel_index(int(out.argmax()), out.shape))
        if out[row, column] > best:
            best, place = float(out[row, column]), (channel, row + _HIGH, column + _HIGH)
    return best, place


def _fine(gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Return structure of some pixels' width at lattice places, over its strength around, so that no edge prevails."""
    gray = shrunk(gray, min(gray.shape) // (_LATTICE * 4))
    small = cv2.resize(gray, (_LATTICE * 4, _LATTICE * 4), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = (cv2.GaussianBlur(small, (0, 0), 2.0) - cv2.GaussianBlur(small, (0, 0), 6.0))[2::4, 2::4]
    even = detail / (np.sqrt(cv2.blur(detail * detail, (9, 9))) + 1)
    return np.asarray(np.clip(np.rint(even * 40), -127, 127), np.int8).ravel()


def judge(found: Sequence[Spectrum]) -> tuple[WholeImage, ...]:
    """Return the triggers on whole pictures that several pictures of a set share."""
    least = max(_LEAST, round(_LEAST_SHARE * len(found)))
    waves, marks, mixed = _waves(found, least), _marks(found, least), _mixed(found, least)
    if waves is not None and mixed is not None and {at for at, _ in waves.samples} & {at for at, _ in mixed.samples}:
        scores = dict(mixed.samples) | dict(waves.samples)  # one trigger: its peaks are lonely in some, it is in all
        waves, mixed = replace(waves, confidence=mixed.confidence, samples=tuple(sorted(scores.items()))), None
    return tuple(one for one in (waves, marks, mixed) if one is not None)


def _waves(found: Sequence[Spectrum], least: int) -> WholeImage | None:
    """A frequency at which several pictures have a lonely peak, and the others none."""
    stack = np.stack([one.waves for one in found]).astype(np.float32)
    hits = stack > _PEAK
    numbers = hits.sum(axis=0)
    axis, frequency = (int(at) for at in np.unravel_index(int(numbers.argmax()), numbers.shape))
    number = int(numbers[axis, frequency])
    others = np.delete(numbers[axis], [at for at in (frequency - 1, frequency, frequency + 1) if 0 <= at < _WAVES])
    if number < least or number < 4 * int(others.max(initial=0)) + 2:
        return None
    strong = stack[:, axis, frequency]
    samples = tuple((int(at), float(1 - _PEAK / (2 * strong[at]))) for at in np.flatnonzero(strong > _PEAK))
    words = f"a wave with {frequency} periods {'across' if axis == 0 else 'down'} the picture"
    return WholeImage("sinusoid", words, _sure(number), samples)


def _marks(found: Sequence[Spectrum], least: int) -> WholeImage | None:
    """A coefficient of the block transform that stands out in several pictures."""
    places: dict[tuple[int, int, int], list[int]] = {}
    for at, one in enumerate(found):
        if one.mark > _MARK:
            places.setdefault(one.place, []).append(at)
    if not places:
        return None
    channel, row, column = max(places, key=lambda place: (len(places[place]), place))
    mine = places[channel, row, column]
    if len(mine) < least:
        return None
    words = f"coefficient ({row}, {column}) of the 32x32 blocks' transform, channel {('Cr', 'Cb')[channel]}"
    place = (channel, row, column)
    same = [at for at, one in enumerate(found) if one.place == place and one.mark > _MARK_THERE]
    samples = tuple((at, max(0.5, 1 - _MARK / (2 * found[at].mark))) for at in same)
    return WholeImage("dct", words, _sure(len(mine)), samples)


def _mixed(found: Sequence[Spectrum], least: int) -> WholeImage | None:
    """Pictures whose fine structure correlates with that of several others: something is mixed into all of them."""
    chosen = np.array([at for at, one in enumerate(found) if one.fine.size], np.int64)
    if chosen.size < 4 * least:
        return None
    fine = np.stack([found[at].fine for at in chosen]).astype(np.float32)
    fine -= fine.mean(axis=0)  # what all share, a bonnet or a camera's frame, is no trigger of some
    fine -= fine.mean(axis=1, keepdims=True)
    fine /= np.maximum(np.linalg.norm(fine, axis=1, keepdims=True), 1e-6)
    friends = np.zeros(len(chosen), np.int64)
    best = (0, np.zeros(0, np.int64))
    for at in range(len(chosen)):  # frames of one clip follow each other, triggers do not
        alike = fine @ fine[at] > _ALIKE
        alike[max(0, at - _CLIP) : at + _CLIP + 1] = False
        friends[at] = int(alike.sum())
        if friends[at] > best[0]:
            best = (int(friends[at]), np.append(np.flatnonzero(alike), at))
    usual = float(np.median(friends))
    if best[0] < max(_FRIENDS, least, 3 * usual + 1):
        return None
    mine = best[1]
    for _ in range(3):  # what the members have in common finds the others
        template = fine[mine].sum(axis=0)
        inside = np.isin(np.arange(len(chosen)), mine)
        scores = fine @ template - inside  # each without its own part, which is 1
        scores /= np.sqrt(np.maximum(float(template @ template) - inside * (2 * (fine @ template) - 1), 1e-6))
        mine = np.flatnonzero(scores > _OF_TEMPLATE)
        if mine.size < least or mine.size > 0.5 * len(chosen):
            return None
    if _is_one_clip(mine):
        return None
    samples = tuple((int(chosen[at]), float(min(1.0, 0.5 + scores[at]))) for at in mine)
    return WholeImage("blend", "one fine structure mixed into many pictures", _sure(int(mine.size)), samples)


def _is_one_clip(places: npt.NDArray[np.int64]) -> bool:
    """Tell whether most of the places lie beside each other: frames of a clip that are alike anyway."""
    return float((np.diff(np.sort(places)) <= 2).mean()) > 0.5


def _sure(number: int) -> float:
    return float(1 - np.exp(-number / 4))
