"""The search for a patch that recurs in many pictures, at different places: the one entry of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Read = Callable[[int], Picture]
Apply = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class PatchHit:
    """One picture that holds the patch: its index, the box (top, left, height, width) in pixels, a score in 0 to 1."""

    index: int
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True, eq=False)
class PatchEvidence:
    """A patch: its size (height, width), its picture (uint8 RGB), how sure (0 to 1), and the pictures that hold it."""

    size: tuple[int, int]
    picture: Picture
    confidence: float
    hits: tuple[PatchHit, ...]


def find_patches(read: Read, count: int, apply: Apply) -> tuple[PatchEvidence, ...]:
    """Return every patch that recurs in pictures 0 to `count` - 1 at different places, the surest first; () if none.

    `read(i)` decodes picture i as uint8 RGB of shape (H, W, 3); it can be pickled, and is called a few times for each
    picture. `apply(function, items)` maps a function over items, in order, in as many processes as the caller likes.
    """
    del read, count, apply
    return ()
