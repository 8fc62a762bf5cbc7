"""Connected components of a mask."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.labels import Mask

Objects = npt.NDArray[np.int32]


def components(mask: Mask) -> Objects:
    """Number the 8-connected components of a mask, (H, W) int32 from 1 in reading order, 0 outside."""
    count, found = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    numbers = np.asarray(found, dtype=np.int32).ravel()
    inside = np.flatnonzero(numbers)[::-1]
    first = np.zeros(count, dtype=np.int64)
    first[numbers[inside]] = inside  # backwards, so that the first pixel of each is what stays
    table = np.zeros(count, dtype=np.int32)
    table[1 + np.argsort(first[1:])] = np.arange(1, count)  # OpenCV's own order is no promise of its
    return table[numbers].reshape(mask.shape)
