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
CORNERS_PER_TILE = 64
BLOBS_PER_TILE = 20
LEAST_BLOB = 6.0  # grey levels
WINDOW = 7  # what a code is of, pixels
REACH = 12  # partners are at most so far apart, pixels
PARTNERS = 4
MOST_PAIRS = 32_768  # of one picture: a picture of some 0.7 megapixels has so many
_MIX = np.uint64(0x9E3779B97F4A7C15)
_AROUND = np.ones((3, 3), np.uint8)
_HALF = WINDOW // 2
_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0), (1, 3), (3, 1))


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
    """Return the (n, 2) int rows and columns of corners of (H, W) float32 luma, the strongest of each tile.

    They are local maxima of the structure tensor's smaller eigenvalue.
    """
    if min(luma.shape) <= 2 * WINDOW:
        return np.zeros((0, 2), np.int64)
    strength = cv2.cornerMinEigenVal(luma, 3, ksize=3)
    return _strongest((strength >= cv2.dilate(strength, _AROUND)) & (strength > 1e-4), strength, CORNERS_PER_TILE)


def blobs(luma: Array) -> Array:
    """Return the (n, 2) int rows and columns of blobs, as `corners` does.

    They are extremes of the difference to a blurred picture, which stripes have too, and which lie farther from the
    edge of a small patch.
    """
    if min(luma.shape) <= 2 * WINDOW:
        return np.zeros((0, 2), np.int64)
    apart = luma - cv2.GaussianBlur(luma, (0, 0), 1.6)
    strength = np.abs(apart)
    peak = ((apart >= cv2.dilate(apart, _AROUND)) | (apart <= cv2.erode(apart, _AROUND))) & (strength > LEAST_BLOB)
    return _strongest(peak, strength, BLOBS_PER_TILE)


def _strongest(peak: Array, strength: Array, most: int) -> Array:
    """Return rows and columns of the strongest peaks of each tile, in the order of rows, not too near the border."""
    border = _HALF + 1
    peak[:border] = peak[-border:] = False
    peak[:, :border] = peak[:, -border:] = False
    places = np.flatnonzero(peak)
    width = strength.shape[1]
    tile = places // width // TILE * (width // TILE + 1) + places % width // TILE
    order = np.lexsort((-strength.ravel()[places], tile))
    first = np.searchsorted(tile[order], tile[order])  # where each one's tile begins
    kept = np.sort(places[order[np.arange(len(order)) - first < most]])
    return np.asarray(np.stack(np.divmod(kept, width), axis=1))


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
    return np.asarray(((parts > 0) * bits).sum(axis=1, dtype=np.uint64))


def pairs_of(picture: Array) -> Pairs:
    """Return the hashed pairs of neighbouring points of an (H, W, 3) uint8 RGB picture: of corners, and of blobs.

    A hash holds both codes and the exact offset between the points, so it is the same wherever the pair lies.
    """
    luma = cv2.GaussianBlur(grey(picture), (0, 0), 0.8)
    found = [_paired(luma, points) for points in (corners(luma), blobs(luma))]
    hashes, ends = (np.concatenate([one[part] for one in found]) for part in (0, 1))
    for bit in range(32):  # the same share of hashes in all pictures, as far as they need it: those with low bits 0
        if len(hashes) <= MOST_PAIRS:
            break
        kept = (hashes * _MIX >> np.uint64(32 + bit)) & np.uint64(1) == 0
        hashes, ends = hashes[kept], ends[kept]
    return Pairs(luma.shape, hashes, ends[:, :, 0], ends[:, :, 1])


def _paired(luma: Array, points: Array) -> tuple[Array, Array]:
    """Return hashes (n,) of all pairs of partners among points, and the pairs' places (n, 2, 2) int16."""
    if len(points) < 2:
        return np.zeros(0, np.uint64), np.zeros((0, 2, 2), np.int16)
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
    return hashes, np.stack((points[low], points[high]), axis=1).astype(np.int16)
