"""Corner-like points of a picture, a small code of each, and hashes of pairs of neighbouring points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Array = npt.NDArray[Any]

TILE = 64  # the strongest points are chosen within tiles, so that every part of a picture is heard
POINTS_PER_TILE = 64
WINDOW = 7  # what a code is of, pixels
REACH = 12  # partners are at most so far apart, pixels
PARTNERS = 6
MOST_PAIRS = 32_768  # of one picture: a picture of some 0.7 megapixels has so many
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = WINDOW // 2
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of neighbouring points of one picture of `size` (H, W).

    `hashes` is (n,) uint64, `rows` and `columns` are (n, 2) int16, of both points of each pair.
    """

    size: tuple[int, int]
    hashes: Array
    rows: Array
    columns: Array


def grey(picture: Array) -> Array:
    """Return an (H, W, 3) uint8 RGB picture as (H, W) float32 luma."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).astype(np.float32)


def corners(luma: Array) -> Array:
    """Return the (n, 2) int rows and columns of local maxima of the smaller eigenvalue, the strongest of each tile."""
    height, width = luma.shape
    if min(height, width) <= 2 * WINDOW:
        return np.zeros((0, 2), np.int64)
    strength = cv2.cornerMinEigenVal(luma, 3, ksize=3)
    peak = (strength >= cv2.dilate(strength, np.ones((3, 3), np.uint8))) & (strength > 1e-4)
    border = _HALF + 1
    peak[:border] = peak[-border:] = False
    peak[:, :border] = peak[:, -border:] = False
    rows, columns = np.nonzero(peak)
    tile = rows // TILE * (width // TILE + 1) + columns // TILE
    order = np.lexsort((-strength[rows, columns], tile))
    first = np.searchsorted(tile[order], tile[order])  # where each one's tile begins
    kept = order[np.arange(len(order)) - first < POINTS_PER_TILE]
    return np.stack((rows[kept], columns[kept]), axis=1)


def _basis() -> Array:
    places = (2 * np.arange(WINDOW) + 1) * np.pi / (2 * WINDOW)
    waves = [np.cos(places * k) for k in range(4)]
    return np.stack([np.outer(waves[a], waves[b]).ravel() for a, b in _FREQUENCIES], axis=1).astype(np.float32)


_BASIS = _basis()


def codes(luma: Array, points: Array) -> Array:
    """Return an (n,) uint64 code for each point: the signs of low frequencies of the window around it."""
    steps = np.arange(-_HALF, _HALF + 1)
    rows = points[:, 0, None, None] + steps[:, None]
    columns = points[:, 1, None, None] + steps
    parts = luma[rows, columns].reshape(len(points), WINDOW * WINDOW) @ _BASIS
    bits = np.uint64(1) << np.arange(len(_FREQUENCIES), dtype=np.uint64)
    return ((parts > 0) * bits).sum(axis=1, dtype=np.uint64)


def pairs_of(picture: Array) -> Pairs:
    """Return the hashed pairs of neighbouring points of an (H, W, 3) uint8 RGB picture.

    A hash holds both codes and the exact offset between the points, so it is the same wherever the pair lies.
    """
    luma = cv2.GaussianBlur(grey(picture), (0, 0), 0.8)
    points = corners(luma)
    if len(points) < 2:
        return Pairs(luma.shape, np.zeros(0, np.uint64), np.zeros((0, 2), np.int16), np.zeros((0, 2), np.int16))
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    code = codes(luma, points)
    near = cKDTree(points).query(points, k=PARTNERS + 1, distance_upper_bound=REACH + 0.5)[1][:, 1:]
    one, other = np.repeat(np.arange(len(points)), near.shape[1]), near.ravel()
    real = other < len(points)
    one, other = one[real], other[real]
    once = (one < other) | (near[other] != one[:, None]).all(axis=1)  # two that have each other as partners: one pair
    low, high = np.minimum(one, other)[once], np.maximum(one, other)[once]
    offset = points[high] - points[low]
    place = (offset[:, 0] * (2 * REACH + 2) + offset[:, 1] + REACH).astype(np.uint64)
    size = np.uint64(len(_FREQUENCIES))
    hashes = (place << (size + size)) | (code[low] << size) | code[high]
    for bit in range(32):  # the same share of hashes in all pictures, as far as they need it: those with low bits 0
        if len(hashes) <= MOST_PAIRS:
            break
        kept = (hashes * _MIX >> np.uint64(32 + bit)) & np.uint64(1) == 0
        hashes, low, high = hashes[kept], low[kept], high[kept]
    ends = np.stack((points[low], points[high]), axis=1).astype(np.int16)
    return Pairs(luma.shape, hashes, ends[:, :, 0], ends[:, :, 1])
