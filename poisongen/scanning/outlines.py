"""Outlines without an object: a line of void that has the same class on both sides and goes all the way round.

VOC draws every object with a border of void. Whoever turns an object into background leaves the border: an island of
background in a ring of void in the background. A hole in an object has a ring too, but beyond it lies the object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.labels import class_counts, class_mask

_SIDE = 512  # px, about: larger maps are read at every second pixel, third and so on
_RING = 13  # px, twice the border's width at most, and one
_LEAST_SHARE, _LEAST_PIXELS = 2e-4, 25  # of a map: an island has at least so much
_MOST_SHARE = 0.4
_BARE = 0.1  # of the places along the rows where classes meet: where more have no void between, it is no outlines
_LEAST, _LEAST_OF_SET, _HABIT = 4, 0.004, 0.25  # samples with islands of a class; beyond the last it is usual


@dataclass(frozen=True)
class Islands:
    """A class of which samples (places) have islands in rings of void, with their pixels, and how sure it is."""

    number: int
    confidence: float
    samples: tuple[tuple[int, int], ...]


def islands_of(labels: npt.NDArray[np.uint8], void: frozenset[int]) -> dict[int, int]:
    """Return the classes of which a map of raw IDs (H, W) uint8 has islands in void, with their pixels."""
    step = max(1, max(labels.shape) // _SIDE)
    small = np.ascontiguousarray(labels[::step, ::step])
    counts = class_counts(small)
    empty = class_mask(small, void)
    borders = int((empty[:, 1:] & ~empty[:, :-1]).sum())
    bare = int(((small[:, 1:] != small[:, :-1]) & ~empty[:, 1:] & ~empty[:, :-1]).sum())
    if not borders or bare > _BARE * (borders + bare):
        return {}
    found: dict[int, int] = {}
    for number in np.flatnonzero(counts).tolist():
        if number in void or counts[number] < _LEAST_PIXELS:
            continue
        total, parts, boxes, _ = cv2.connectedComponentsWithStats(np.equal(small, number).view(np.uint8))
        for part in range(1, total if total <= 200 else 1):
            pixels = int(boxes[part, cv2.CC_STAT_AREA])
            if not max(_LEAST_PIXELS, _LEAST_SHARE * small.size) <= pixels <= _MOST_SHARE * small.size:
                continue
            if _is_island(np.asarray(parts, np.int32), part, boxes[part], empty, small, number):
                found[number] = found.get(number, 0) + pixels * step * step
    return found


def _is_island(
    parts: npt.NDArray[np.int32],
    part: int,
    box: npt.NDArray[np.int32],
    empty: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.uint8],
    number: int,
) -> bool:
    """Tell whether a component borders on void alone, with its own class beyond, and nearly nothing else."""
    left, top, width, height = (int(value) for value in box[:4])
    rows = slice(max(0, top - _RING), top + height + _RING)
    columns = slice(max(0, left - _RING), left + width + _RING)
    mine = (parts[rows, columns] == part).view(np.uint8)
    touching = (cv2.dilate(mine, np.ones((3, 3), np.uint8)) > 0) & (mine == 0)
    if not touching.any() or empty[rows, columns][touching].mean() < 0.98:
        return False
    beyond = (cv2.dilate(mine, np.ones((_RING, _RING), np.uint8)) > 0) & (mine == 0) & ~empty[rows, columns]
    return bool(beyond.any()) and bool((labels[rows, columns][beyond] == number).mean() > 0.95)


def judge(found: Sequence[dict[int, int]]) -> tuple[Islands, ...]:
    """Return the classes that have islands in several samples of a set, the surest first, but not in most."""
    samples: dict[int, list[tuple[int, int]]] = {}
    for at, islands in enumerate(found):
        for number, pixels in islands.items():
            samples.setdefault(number, []).append((at, pixels))
    least = max(_LEAST, _LEAST_OF_SET * len(found))
    out = [
        Islands(number, 1 - math.exp(-len(ones) / 4), tuple(ones))
        for number, ones in samples.items()
        if least <= len(ones) <= max(least, _HABIT * len(found))
    ]
    return tuple(sorted(out, key=lambda one: (-one.confidence, one.number)))
