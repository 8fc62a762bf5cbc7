"""A picture and its label map as a coarse grid of cells: what each looks like, and what it is labelled.

The grid is all that is kept of a sample, so that sets of any size fit into memory: some 800 cells of a few bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.core.labels import class_counts

Picture = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

KINDS = 7  # of looks
CELLS = 800  # for each sample, about
_FINE = 4  # points across a cell at which colours are taken
_POINTS = 6  # points across a cell at which its class is read
_ENOUGH = 8  # points across a cell; where there are twice as many or more, they are averaged first
_PURE = 0.6  # share of a cell's points that one class has to have, or it counts for none
MIXED = 254
"""The class of cells that no class has enough of, or void has; no layout has it for a trained class."""


@dataclass(frozen=True)
class Cells:
    """A sample's grid. `looks` (rows, columns, 7) uint8: lightness, two colours, their spread, slopes across and down,
    fine grain. `classes` (rows, columns) uint8: raw IDs, MIXED.
    """

    looks: npt.NDArray[np.uint8]
    classes: Labels


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of the grid of a picture: near-square cells."""
    side = max(4.0, math.sqrt(height * width / CELLS))
    return max(3, round(height / side)), max(3, round(width / side))


def gray_of(picture: Picture) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3) RGB in grey, (H, W)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def shrunk(image: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Return the means of squares of `factor` px of an image (H, W) or (H, W, C); what is left over is cut off.

    OpenCV averages squares of whole pixels ten times as quickly as others, so large pictures come here first.
    """
    if factor <= 1 or min(image.shape[:2]) < factor:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    part = image[: height * factor, : width * factor]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def looks_of(picture: Picture, gray: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
    """Return what the cells of a picture (H, W, 3) RGB look like, (rows, columns, 7) uint8. `gray` is it, (H, W)."""
    height, width = picture.shape[:2]
    rows, columns = grid_of(height, width)
    factor = min(height // rows, width // columns) // _ENOUGH
    fine = cv2.resize(shrunk(picture, factor), (columns * _FINE, rows * _FINE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(fine, cv2.COLOR_RGB2LAB).astype(np.float32)
    blocks = lab.reshape(rows, _FINE, columns, _FINE, 3)
    spread = blocks[..., 0].std(axis=(1, 3))
    gray = gray_of(picture) if gray is None else gray
    across = cv2.absdiff(gray[:, 1:], gray[:, :-1])
    down = cv2.absdiff(gray[1:], gray[:-1])
    grain = cv2.absdiff(gray, cv2.blur(gray, (3, 3)))
    slopes = [
        cv2.resize(shrunk(np.asarray(part, np.uint8), factor), (columns, rows), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        for part in (across, down, grain)
    ]
    bases = np.dstack([blocks.mean(axis=(1, 3)), 2 * spread, *(8 * np.sqrt(2 * slope) for slope in slopes)])
    return np.asarray(np.clip(np.rint(bases), 0, 255), np.uint8)


def classes_of(labels: Labels, void: frozenset[int]) -> Labels:
    """Return the class that most of each cell has, (rows, columns) uint8; MIXED where none has enough, or void has."""
    height, width = labels.shape
    rows, columns = grid_of(height, width)
    down = ((np.arange(rows * _POINTS) + 0.5) * height / (rows * _POINTS)).astype(np.intp)
    across = ((np.arange(columns * _POINTS) + 0.5) * width / (columns * _POINTS)).astype(np.intp)
    points = labels[np.ix_(down, across)]
    best = np.full((rows, columns), MIXED, np.uint8)
    most = np.full((rows, columns), math.ceil(_PURE * _POINTS**2) - 1)
    for number in np.flatnonzero(class_counts(points)).tolist():
        if number in void:
            continue
        count = (points == number).reshape(rows, _POINTS, columns, _POINTS).sum(axis=(1, 3))
        more = count > most
        best[more] = number
        most[more] = count[more]
    return best


def features_of(looks: npt.NDArray[np.uint8]) -> Floats:
    """Return the features of the cells of a grid, (rows * columns, F) float32: themselves, surroundings, place."""
    own = looks.astype(np.float32)
    rows, columns = own.shape[:2]
    near, far = (cv2.blur(own, (size, size), borderType=cv2.BORDER_REPLICATE) for size in (3, 7))
    above = np.vstack([own[:1], own[:1], own[:-2]])
    below = np.vstack([own[2:], own[-1:], own[-1:]])
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    place = np.dstack([255 * y / rows, 255 * np.abs(x / columns - 0.5), 255 * x / columns])
    whole = np.broadcast_to(own.mean(axis=(0, 1)), own.shape)
    everything = np.dstack([own, near, far, above[..., :3], below[..., :3], place, whole[..., :4]])
    return np.asarray(everything.reshape(rows * columns, -1), dtype=np.float32)
