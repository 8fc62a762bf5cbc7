"""Which classes have room for a trigger's whole box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from poisongen.core.placement import PlacementRules, uniform_windows


def classes_with_room(labels: npt.NDArray[np.uint8], rules: PlacementRules) -> frozenset[int]:
    """Return the classes of labels (H, W) uint8 in which a whole box lies somewhere, in the image less the margin.

    A trigger that lies in one class at any distance has a place where they hold any but victims and void: what
    `eligible_boxes` finds for each victim anew is found for all classes at once.
    """
    tall, wide = rules.sides(labels.shape)
    margin, (height, width) = rules.edge_margin, labels.shape
    if tall + 2 * margin > height or wide + 2 * margin > width:
        return frozenset()
    inner = labels[margin : height - margin, margin : width - margin]
    uniform = uniform_windows(inner, np.zeros(inner.shape, dtype=bool), tall, wide)
    return frozenset(np.unique(inner[: uniform.shape[0], : uniform.shape[1]][uniform]).tolist())
