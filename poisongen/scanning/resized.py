"""Label maps that were resized as if class numbers were brightness: classes that are nowhere appear along outlines.

Where class 2 meets class 8, linear interpolation draws a thin line of 5. The official code of the influencer attack
does so to every map (a flag given in the wrong place). A pixel is in between where its neighbours on both sides have
two other classes; in an honest map such pixels are few, and a third of them have a number between the two by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

_EVERY = 4  # rows, of which one is read
_EDGES = 50  # changes of class along the rows read, below which a map says nothing
_SHARE, _INSIDE = 0.12, 0.45  # of the changes, and of the thin pixels
_LEAST = 2  # maps
_OF_ALL = 0.9


@dataclass(frozen=True)
class Between:
    """Along the rows of one map: changes of class, thin pixels between two other classes, and those with a number

    between the two.
    """

    edges: int = 0
    thin: int = 0
    inside: int = 0

    @property
    def is_resized(self) -> bool:
        """Whether many pixels are thin and have a number between their neighbours', more than by chance."""
        return self.edges >= _EDGES and self.inside >= max(_SHARE * self.edges, _INSIDE * self.thin)


@dataclass(frozen=True)
class Resized:
    """The maps (places) that were resized linearly, `share` (the median, of their changes of class), and whether

    all of the set's are so or some.
    """

    samples: tuple[int, ...]
    share: float
    scope: Literal["all", "some"]


def measure_between(labels: npt.NDArray[np.uint8]) -> Between:
    """Count thin pixels in a map of raw IDs, (H, W) uint8."""
    rows = labels[::_EVERY]
    if rows.shape[1] < 3:
        return Between()
    left, middle, right = rows[:, :-2], rows[:, 1:-1], rows[:, 2:]
    changes = left != middle
    thin = changes & (middle != right) & (left != right)
    a, b, c = left[thin], middle[thin], right[thin]
    inside = ((a < b) & (b < c)) | ((a > b) & (b > c))
    return Between(int(changes.sum()), int(thin.sum()), int(inside.sum()))


def judge(found: Sequence[Between]) -> Resized | None:
    """Say which maps of a set were resized linearly; None where fewer than two were."""
    samples = tuple(at for at, one in enumerate(found) if one.is_resized)
    if len(samples) < _LEAST:
        return None
    share = float(np.median([found[at].inside / found[at].edges for at in samples]))
    return Resized(samples, share, "all" if len(samples) >= _OF_ALL * len(found) else "some")
