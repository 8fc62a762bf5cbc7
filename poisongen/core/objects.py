"""Connected components of a mask."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.labels import Mask

Objects = npt.NDArray[np.int32]


def components(mask: Mask) -> Objects:
    """Number the 8-connected components of a mask, (H, W) int32 from 1 in reading order, 0 outside."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1], dtype=np.int32)
