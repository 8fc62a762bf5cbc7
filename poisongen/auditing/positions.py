"""Distance and eligible positions computed anew, with none of the code that placed the trigger.

The build uses OpenCV's transforms and integral images; here SciPy's transforms and its sliding minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from poisongen.auditing.faults import Findings
from poisongen.core.draws import draw_below
from poisongen.core.placement import PlacementRules
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import SampleRecord

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Positions:
    """Distances in pixels, (H, W) float64, and the eligible centres, (H, W) bool."""

    distances: npt.NDArray[np.float64]
    eligible: npt.NDArray[np.bool_]


def is_one_of(labels: Array, classes: Collection[int]) -> npt.NDArray[np.bool_]:
    """Tell which pixels have one of these classes; same shape as `labels`."""
    return np.asarray(np.isin(labels, list(classes)))


def distances_to(victims: npt.NDArray[np.bool_], metric: str) -> npt.NDArray[np.float64]:
    """Return every pixel's distance to the nearest victim pixel, (H, W) float64; there must be one."""
    if metric == "chebyshev":
        return np.asarray(ndimage.distance_transform_cdt(~victims, metric="chessboard"), dtype=np.float64)
    squares = np.rint(np.asarray(ndimage.distance_transform_edt(~victims)) ** 2)
    return np.asarray(np.sqrt(squares))


def find_positions(
    labels: Array, victims: npt.NDArray[np.bool_], void: Collection[int], rules: PlacementRules
) -> Positions:
    """Return the distances and the eligible centres of a label map (H, W), by the contract's section 3."""
    height, width = labels.shape
    size, half, margin = rules.size, rules.size // 2, rules.edge_margin
    distances = distances_to(victims, rules.metric)
    eligible = np.zeros(labels.shape, dtype=bool)
    rows = slice(half + margin, height - size + half - margin + 1)
    columns = slice(half + margin, width - size + half - margin + 1)
    if height < size + 2 * margin or width < size + 2 * margin:
        return Positions(distances, eligible)
    eligible[rows, columns] = True
    # At a centre, the filters see [centre - size // 2, + size): the box of that centre.
    eligible &= ~ndimage.maximum_filter(victims, size=size, mode="nearest")
    if rules.region == "single":
        lowest = ndimage.minimum_filter(labels, size=size, mode="nearest")
        highest = ndimage.maximum_filter(labels, size=size, mode="nearest")
        eligible &= (lowest == highest) & ~is_one_of(labels, void)
    if rules.low is not None:
        eligible &= distances > rules.low
    if rules.high is not None:
        eligible &= distances <= rules.high
    return Positions(distances, eligible)


def drawn_centre(positions: Positions, role: str, sample: str, rules: Rules) -> tuple[int, int]:
    """Return the centre (row, column) that the recipe picks and the seed draws; one must be eligible."""
    rows, columns = np.nonzero(positions.eligible)
    if rules.placement.pick == "nearest":
        at = positions.distances[rows, columns]
        nearest = at == at.min()
        rows, columns = rows[nearest], columns[nearest]
    generator = KNOWN_ALGORITHMS[rules.algorithm].place(rules.recipe.seed, role, sample)
    drawn = int(draw_below(np.array([rows.size]), generator)[0])
    return int(rows[drawn]), int(columns[drawn])


def check_placement(
    record: SampleRecord, labels: Array, victims: npt.NDArray[np.bool_], rules: Rules, findings: Findings
) -> None:
    """Test a record's trigger against the labels as they were before relabelling. The box must lie in the image.

    Tested are distance, number of eligible positions, that the position is one of them (the nearest, if the recipe
    picks it), the classes under the box, and that it is the one that the seed draws.
    """
    trigger, name, path = record.trigger, record.sample, record.files[0].path
    if trigger is None:
        return
    if not findings.test("placement", bool(victims.any()), path, "a victim in the labels", "none", name):
        return
    positions = find_positions(labels, victims, rules.classes.void, rules.placement)
    at_centre = float(positions.distances[trigger.center])
    findings.test("placement", at_centre == trigger.distance, path, f"distance {at_centre}", trigger.distance, name)
    count = int(positions.eligible.sum())
    findings.test(
        "placement",
        count == record.eligible_positions,
        path,
        f"{count} eligible positions",
        record.eligible_positions,
        name,
    )
    top, left, height, width = trigger.box
    under = np.unique(labels[top : top + height, left : left + width]).tolist()
    findings.test("placement", under == trigger.covers, path, f"covers {under}", trigger.covers, name)
    eligible = bool(positions.eligible[trigger.center])
    if not findings.test("placement", eligible, path, "an eligible position", f"centre {trigger.center}", name):
        return
    if rules.placement.pick == "nearest":
        nearest = float(positions.distances[positions.eligible].min())
        sentence = f"the nearest position, at {nearest}"
        if not findings.test("placement", at_centre == nearest, path, sentence, at_centre, name):
            return
    centre = drawn_centre(positions, record.role, name, rules)
    findings.test("placement", trigger.center == centre, path, f"centre {centre}, by the seed", trigger.center, name)
