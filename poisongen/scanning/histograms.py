"""Label histograms that jump: samples whose shares of classes are like no other's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ONE = 0.995  # share of a map that is of one class
_NEARLY = 0.97
_USUAL = 0.05  # share of a set from which on maps of one class are nothing to wonder at
_FAR, _DEVIATIONS = 0.6, 8.0  # of 1, the largest distance; and in median absolute deviations
_MOST = 0.3  # of a set: where more stand out, nothing does


def odd_histograms(counts: npt.NDArray[np.integer]) -> tuple[int, ...]:
    """Return the samples (places) of one class alone where others are of several, or far from all in their shares.

    `counts` (samples, classes) are the pixels of each class but void. Distance is the total variation from the median
    histogram.
    """
    pixels = counts.astype(np.float64)
    whole = pixels.sum(axis=1)
    there = whole > 0
    if there.sum() < 8:
        return ()
    shares = pixels / np.maximum(whole, 1)[:, None]
    most = shares.max(axis=1)
    alone = there & (most >= _ONE)
    if alone.sum() <= (there & (most >= _NEARLY) & ~alone).sum():
        alone &= False  # small things on a background: to have none is the end of what is usual
    odd = alone if alone.mean() <= max(_USUAL, _MOST * (np.median((shares > 0).sum(axis=1)) >= 4)) else ~there & there
    middle = np.median(shares[there], axis=0)
    distance = np.abs(shares - middle).sum(axis=1) / 2
    usual = float(np.median(distance[there]))
    deviation = max(float(np.median(np.abs(distance[there] - usual))), 0.01)
    far = there & (distance > _FAR) & (distance > usual + _DEVIATIONS * deviation)
    found = np.flatnonzero(odd | far)
    return tuple(int(at) for at in found) if found.size <= _MOST * len(counts) else ()
