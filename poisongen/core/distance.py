"""Distance of every pixel to the nearest victim pixel."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Metric = Literal["chebyshev", "euclidean"]

_KIND = {"chebyshev": (cv2.DIST_C, 3), "euclidean": (cv2.DIST_L2, cv2.DIST_MASK_PRECISE)}


def distance_map(victims: npt.NDArray[np.bool_], metric: Metric) -> npt.NDArray[np.float32]:
    """Return each pixel's distance in pixels to the nearest victim pixel, 0 on victims.

    `victims` is (H, W) bool, the result (H, W) float32; infinite everywhere if there is no victim pixel.
    Both metrics are exact. Chebyshev is what the official code measures with (influencer_attack.py,
    `get_neighbor_mask`: a square grown step by step), so it is what the published distances mean.
    """
    if not victims.any():
        return np.full(victims.shape, np.inf, dtype=np.float32)
    kind, mask_size = _KIND[metric]
    free = np.logical_not(victims).view(np.uint8)
    return np.asarray(cv2.distanceTransform(free, kind, mask_size), dtype=np.float32)


def exact_distance(value: float, metric: Metric) -> float:
    """Return a map's value at full precision: single-precision roots are taken again in double."""
    return float(round(value)) if metric == "chebyshev" else float(np.sqrt(np.rint(float(value) ** 2)))
