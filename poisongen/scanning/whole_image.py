"""Triggers that lie on the whole picture: a wave, a mixed-in picture, a mark in a block transform.

Each leaves something that is the same in picture after picture, while scenes are not. Of every picture a few numbers
are kept: the spectrum of its column and row means, the block transform of its mean block, and its fine structure on a
lattice of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Kind = Literal["sinusoid", "dct", "blend"]

_WAVES = 40  # frequencies in periods for the picture's width or height
_BLOCK = 32  # px, FTrojan's block
_HIGH = 8  # the first coefficient that counts, in both directions
_LATTICE = 64  # places in each direction at which fine structure is kept
_PEAK = 12.0  # times the median of its neighbours
_MARK = 25.0  # times the median of the other high coefficients
_ALIKE = 0.12  # correlation of fine structure from which on two pictures have something in common
_FRIENDS = 4  # pictures that a picture has to be alike to
_MOST = 4000  # pictures that are compared with each other; of larger sets so many drawn ones
_LEAST = 4  # pictures with one finding, below which it is none
_LEAST_SHARE = 0.004


@dataclass(frozen=True)
class Spectrum:
    """What is kept of a picture: `waves` (2, 40) float16, peak over its neighbours for the means of columns and rows;

    `mark` is how far the highest coefficient of the mean block's transform stands out, `place` which one it is (colour
    channel, row, column); `fine` (64, 64) int8 is the fine structure, normalised, at lattice places.
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


def spectrum_of(picture: Picture) -> Spectrum:
    """Return what is kept of a picture (H, W, 3) RGB."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    waves = np.stack([_peaks(gray.mean(axis=0)), _peaks(gray.mean(axis=1))]).astype(np.float16)
    mark, place = _block_mark(picture)
    return Spectrum(waves, mark, place, _fine(gray))


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
    colours = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[: rows * _BLOCK, : columns * _BLOCK, 1:]
    mean = colours.reshape(rows, _BLOCK, columns, _BLOCK, 2).mean(axis=(0, 2)).astype(np.float32)
    best, place = 0.0, (0, 0, 0)
    for channel in range(2):
        # Upright and level structure is what scenes have: only what is high in both directions counts.
        high = np.abs(cv2.dct(np.ascontiguousarray(mean[..., channel])))[_HIGH:, _HIGH:]
        out = high / max(float(np.median(high)), 1e-3)
        row, column = (int(at) for at in np.unravel_index(int(out.argmax()), out.shape))
        if out[row, column] > best:
            best, place = float(out[row, column]), (channel, row + _HIGH, column + _HIGH)
    return best, place


def _fine(gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Return what is finer than some eight pixels, at lattice places, clipped so that no edge outweighs the rest."""
    height, width = gray.shape
    detail = cv2.GaussianBlur(gray, (0, 0), 1.2).astype(np.float32) - cv2.GaussianBlur(gray, (0, 0), 4.0)
    down = ((np.arange(_LATTICE) + 0.5) * height / _LATTICE).astype(np.intp)
    across = ((np.arange(_LATTICE) + 0.5) * width / _LATTICE).astype(np.intp)
    values = detail[np.ix_(down, across)]
    scale = max(float(np.median(np.abs(values))), 0.5)
    return np.clip(np.rint(values / scale * 20), -100, 100).astype(np.int8)


def judge(found: Sequence[Spectrum]) -> tuple[WholeImage, ...]:
    """Return the triggers on whole pictures that several pictures of a set share."""
    least = max(_LEAST, round(_LEAST_SHARE * len(found)))
    results = [_waves(found, least), _marks(found, least), _mixed(found, least)]
    return tuple(one for one in results if one is not None)


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
    samples = tuple((at, 1 - _MARK / (2 * found[at].mark)) for at in mine)
    return WholeImage("dct", words, _sure(len(mine)), samples)


def _mixed(found: Sequence[Spectrum], least: int) -> WholeImage | None:
    """Pictures whose fine structure correlates with that of several others: something is mixed into all of them."""
    chosen = np.arange(len(found))
    if len(found) > _MOST:
        chosen = np.sort(np.random.default_rng(0).permutation(len(found))[:_MOST])
    fine = np.stack([found[at].fine.ravel() for at in chosen]).astype(np.float32)
    fine -= fine.mean(axis=0)  # what all share, a bonnet or a camera's frame, is no trigger of some
    fine -= fine.mean(axis=1, keepdims=True)
    fine /= np.maximum(np.linalg.norm(fine, axis=1, keepdims=True), 1e-6)
    friends = np.zeros(len(chosen), np.int64)
    near = np.zeros(len(chosen), np.int64)
    for start in range(0, len(chosen), 512):
        alike = fine[start : start + 512] @ fine.T > _ALIKE
        friends[start : start + 512] = alike.sum(axis=1) - 1
        for row in range(alike.shape[0]):  # frames of one clip follow each other, a trigger does not
            at = start + row
            near[at] = int(alike[row, max(0, at - 5) : at + 6].sum()) - 1
    far = friends - near
    mine = np.flatnonzero(far >= max(_FRIENDS, 0.002 * len(chosen)))
    if mine.size < least:
        return None
    template = fine[mine].mean(axis=0)
    template /= max(float(np.linalg.norm(template)), 1e-6)
    scores = fine @ template
    inside = np.flatnonzero(scores > max(2 * _ALIKE, 6 * float(np.median(np.abs(scores)))))
    if inside.size < least or inside.size > 0.5 * len(chosen):
        return None
    samples = tuple((int(chosen[at]), float(min(1.0, 0.5 + scores[at]))) for at in inside)
    return WholeImage("blend", "one fine structure in many pictures", _sure(int(inside.size)), samples)


def _sure(number: int) -> float:
    return float(1 - np.exp(-number / 4))
