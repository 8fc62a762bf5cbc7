"""What pictures of samples have in common: any image as RGB, label maps in colours, the nearest victim pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.core.distance import Metric
from poisongen.datasets.base import ClassTable
from poisongen.files import images
from poisongen.files.orientation import orientation, upright

Array = npt.NDArray[Any]


def as_rgb(data: bytes, pixels: Array, path: object) -> Array:
    """Return a decoded picture as (H, W, 3) uint8 RGB, upright; of 16 bits the high byte."""
    rgb = upright(images.to_rgb_box(data, pixels, path), orientation(data))
    return (rgb >> 8).astype(np.uint8) if rgb.dtype == np.uint16 else rgb


def palette(classes: ClassTable) -> npt.NDArray[np.uint8]:
    """Return the dataset's colours by raw ID, (256, 3) uint8; classes without one get a colour of their own."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for number in classes.names:
        own = (number * 67 % 200 + 40, number * 131 % 200 + 40, number * 29 % 200 + 40)
        table[number] = classes.colours.get(number, own)
    return table


def nearest_pixel(mask: npt.NDArray[np.bool_], center: tuple[int, int], metric: Metric) -> tuple[int, int] | None:
    """Return the true pixel (row, column) that is nearest to `center`, the first of equals; None if there is none."""
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return None
    down, across = np.abs(rows - center[0]), np.abs(columns - center[1])
    far = np.maximum(down, across) if metric == "chebyshev" else np.hypot(down, across)
    nearest = int(np.argmin(far))
    return int(rows[nearest]), int(columns[nearest])
