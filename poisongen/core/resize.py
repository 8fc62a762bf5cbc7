"""Scaling a sample: pictures by area or linearly, labels by nearest neighbour and never otherwise."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return (height, width) times `scale`, rounded, at least 1."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_labels(labels: Array, size: tuple[int, int]) -> Array:
    """Return a label map, (H, W) or (H, W, C), at size (height, width): nearest neighbour, so no class is invented.

    (The official code passes OpenCV's flag in the wrong place and gets linear interpolation.)
    """
    if labels.shape[:2] == size:
        return labels
    return np.asarray(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST))


def fit_labels(labels: Array, size: tuple[int, ...]) -> Array:
    """Return a label map, (H, W), stretched to size (height, width): a pixel gets what lies under its centre.

    In whole numbers, so that every machine and every version of a library takes the same pixels.
    """
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, labels.shape, strict=True))
    return np.asarray(labels[np.ix_(rows, columns)])


def resize_image(pixels: Array, size: tuple[int, int]) -> Array:
    """Return an image, (H, W) or (H, W, C), at size (height, width): by area if it shrinks, linearly if it grows."""
    if pixels.shape[:2] == size:
        return pixels
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
