"""Which objects a sample has: those that its instance file numbers, else connected components of a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poisongen.attack.label_rules.base import Box, Objects, Scene
from poisongen.core.objects import components

LEAST_SHARE = 400 / (2048 * 1024)  # of the picture: smaller components are specks, not objects (our choice)


def least_pixels(shape: tuple[int, ...], least: object) -> int:
    """Return how many pixels a component needs: the number given, else a share of the picture."""
    return int(str(least)) if least is not None else max(1, round(shape[0] * shape[1] * LEAST_SHARE))


def victim_objects(scene: Scene, least: object = None) -> Objects:
    """Number the victims' objects, (H, W) int32, 0 elsewhere.

    The instance file's own numbers where the sample has one. Victim pixels that it gives no number (groups, say), and
    all of them without such a file, are objects by connection, from 1 above the highest number; those smaller than
    `least` pixels are none. Void of the label map, where another of the sample's maps has a victim, is none either:
    VOC's void line round an object would be nearer to every trigger than the object.
    """
    numbered = np.zeros(scene.labels.shape, np.int32)
    if scene.objects is not None:
        np.copyto(numbered, scene.objects, where=scene.victims)
    rest = components(scene.victims & ~scene.void & (numbered == 0))
    sizes = np.bincount(rest.ravel())
    large = np.flatnonzero(sizes >= least_pixels(scene.labels.shape, least))
    base = int(numbered.max())
    table = np.zeros(len(sizes), np.int32)
    kept = large[large > 0]
    table[kept] = base + 1 + np.arange(len(kept))
    return np.where(numbered > 0, numbered, table[rest])


def nearest_objects(objects: Objects, box: Box, count: int) -> tuple[int, ...]:
    """Return the numbers of the `count` objects nearest to a box, nearest first, equals by number.

    The distance is Chebyshev's, from the box's edge to the object's nearest pixel.
    """
    distances: dict[int, int] = {}
    top, left, height, width = box
    rows, columns = np.nonzero(objects)
    if rows.size == 0:
        return ()
    down = np.maximum(np.maximum(top - rows, rows - (top + height - 1)), 0)
    across = np.maximum(np.maximum(left - columns, columns - (left + width - 1)), 0)
    far = np.maximum(down, across)
    numbers = objects[rows, columns]
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(numbers[order]) > 0])
    least: Sequence[int] = np.minimum.reduceat(far[order], starts).tolist()
    for number, distance in zip(numbers[order][starts].tolist(), least, strict=True):
        distances[number] = distance
    return tuple(sorted(distances, key=lambda number: (distances[number], number))[:count])
