"""How much border classes share in a label map."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from poisongen.core.labels import Labels, class_mask

GAP = 8  # px of void that two classes may have between them: VOC draws a line of about five round every object


def border_counts(labels: Labels, void: Collection[int], gap: int = GAP) -> npt.NDArray[np.int64]:
    """Return how many pixels two classes border on each other with, (256, 256) int64, for labels (H, W) uint8.

    Counted are pairs of pixels of different classes that are next to each other in a row or a column, or have nothing
    but up to `gap` pixels of `void` between them; void borders on nothing. The matrix is symmetric, 0 on its diagonal.
    """
    counts = np.zeros(256 * 256, dtype=np.int64)
    for lines in (labels, labels.T):
        flat = np.ascontiguousarray(lines).ravel()
        length = lines.shape[1]
        there = np.flatnonzero(~class_mask(flat.reshape(1, -1), void).ravel()) if void else np.arange(flat.size)
        values = flat[there]
        changes = np.flatnonzero(values[1:] != values[:-1])
        before, after = there[changes], there[changes + 1]
        close = (after - before <= gap + 1) & (after // length == before // length)
        pairs = values[changes[close]].astype(np.int64) * 256 + values[changes[close] + 1]
        counts += np.bincount(pairs, minlength=counts.size)
    matrix = counts.reshape(256, 256)
    return matrix + matrix.T
