"""Is a trigger where the seed puts it? Boxes among the eligible ones, and what stands on the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poisongen.attack.triggers.base import Box, Quad
from poisongen.attack.triggers.road import quad_box
from poisongen.auditing.faults import Findings
from poisongen.auditing.positions import (
    Array,
    Mask,
    distances_to,
    drawn_centre,
    find_positions,
    placement_for,
)
from poisongen.auditing.scene import counts_in
from poisongen.core.draws import draw_below
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS, NO_POSITION, TOO_LARGE
from poisongen.records.manifest import Role, SampleRecord

_ROAD, _TRIES = "road", 256


@dataclass(frozen=True)
class Where:
    """Whose a trigger is and where it lies in the upright picture; neither box nor quadrilateral where all changes."""

    role: Role
    sample: str
    box: Box | None = None
    quad: Quad | None = None


def where_of(record: SampleRecord) -> Where | None:
    """Return where a record says that its trigger is; None for a sample without."""
    trigger = record.trigger
    return None if trigger is None else Where(record.role, record.sample, trigger.box, trigger.quad)


def drawn_place(labels: Array, victims: Mask, role: Role, sample: str, rules: Rules) -> Where | str:
    """Return where the seed puts a sample's trigger by its true labels, or the reason why it has no place."""
    if rules.kind.quad is not None:
        found = stands_at(labels, victims, role, sample, rules)[1]
        return NO_POSITION if found is None else Where(role, sample, quad_box(found), found)
    if rules.placement is None:
        return Where(role, sample)
    placement = placement_for(labels, role, rules)
    tall, wide = placement.sides(labels.shape)
    positions = find_positions(labels, victims, rules.classes.void, placement)
    if not positions.eligible.any():
        margins = 2 * placement.edge_margin
        return TOO_LARGE if tall + margins > labels.shape[0] or wide + margins > labels.shape[1] else NO_POSITION
    row, column = drawn_centre(positions, placement, role, sample, rules)
    return Where(role, sample, (row - tall // 2, column - wide // 2, tall, wide))


def stands_at(labels: Array, victims: Mask, role: Role, sample: str, rules: Rules) -> tuple[int, Quad | None]:
    """Return how many pixels of road there are, and the corners of what the seed puts on it: the first that will do.

    All of it lies in the picture and off every victim, and the conditions of the place hold, or fail, as its role asks.
    """
    road = [number for number, name in rules.classes.names.items() if name.casefold() == _ROAD]
    rows, columns = np.nonzero(labels == road[0]) if road else (np.zeros(0, int), np.zeros(0, int))
    kind, (height, width) = rules.kind, labels.shape
    if not rows.size or not victims.any() or kind.quad is None:
        return int(rows.size), None
    must_fail = role == "negative" and rules.decoy is None and rules.holds(counts_in(labels), None)
    generator = KNOWN_ALGORITHMS[rules.algorithm].place(rules.recipe.seed, role, sample)
    prepared = rules.prepared(height, width)
    for drawn in draw_below(np.full(_TRIES, rows.size), generator).tolist():
        quad = kind.quad(height, width, (int(rows[drawn]) + 0.5, int(columns[drawn]) + 0.5), prepared)
        if quad is None:
            continue
        top, left, tall, wide = quad_box(quad)
        if top < 0 or left < 0 or top + tall > height or left + wide > width:
            continue
        if victims[top : top + tall, left : left + wide].any():
            continue
        under = np.unique(labels[top : top + tall, left : left + wide]).tolist()
        if rules.of_place:
            holds = all(number in under for number in rules.of_place)
            if (role != "negative" and not holds) or (must_fail and holds):
                continue
        return int(rows.size), quad
    return int(rows.size), None


def check_placement(record: SampleRecord, labels: Array, victims: Mask, rules: Rules, findings: Findings) -> None:
    """Test a record's trigger against the labels as they were before relabelling. The box must lie in the image.

    Tested are distance, number of eligible positions, that the position is one of them (the nearest, if the recipe
    picks it), the classes under the box, that conditions hold or fail, and that it is the place that the seed draws.
    """
    trigger, name, path = record.trigger, record.sample, record.files[0].path
    if trigger is None:
        return
    if not findings.test("placement", bool(victims.any()), path, "a victim in the labels", "none", name):
        return
    _check_conditions(record, labels, rules, findings)
    if trigger.box is None or trigger.center is None:
        return
    top, left, height, width = trigger.box
    under = np.unique(labels[top : top + height, left : left + width]).tolist()
    findings.test("placement", under == trigger.covers, path, f"covers {under}", trigger.covers, name)
    if rules.placement is None:
        _check_on_road(record, labels, victims, rules, findings)
        return
    placement = placement_for(labels, record.role, rules)
    positions = find_positions(labels, victims, rules.classes.void, placement)
    at_centre = float(positions.distances[trigger.center])
    findings.test("placement", at_centre == trigger.distance, path, f"distance {at_centre}", trigger.distance, name)
    _check_count(record, int(positions.eligible.sum()), findings)
    eligible = bool(positions.eligible[trigger.center])
    if not findings.test("placement", eligible, path, "an eligible position", f"centre {trigger.center}", name):
        return
    if placement.mode == "free" and placement.pick == "nearest":
        nearest = float(positions.distances[positions.eligible].min())
        sentence = f"the nearest position, at {nearest}"
        if not findings.test("placement", at_centre == nearest, path, sentence, at_centre, name):
            return
    centre = drawn_centre(positions, placement, record.role, name, rules)
    findings.test("placement", trigger.center == centre, path, f"centre {centre}, by the seed", trigger.center, name)


def _check_count(record: SampleRecord, count: int, findings: Findings) -> None:
    path, said = record.files[0].path, record.eligible_positions
    findings.test("placement", count == said, path, f"{count} eligible positions", said, record.sample)


def _check_conditions(record: SampleRecord, labels: Array, rules: Rules, findings: Findings) -> None:
    """Test that every condition holds for a sample with the attack, and one fails for a negative without decoy."""
    if not rules.conditions:
        return
    trigger, path = record.trigger, record.files[0].path
    holds = rules.holds(counts_in(labels), None if trigger is None else trigger.covers)
    wanted = record.role != "negative"
    sentence = f"{' and '.join(rules.recipe.only_if)}: {'it holds' if wanted else 'it fails'}"
    findings.test("placement", holds == wanted, path, sentence, "the contrary", record.sample)


def _check_on_road(record: SampleRecord, labels: Array, victims: Mask, rules: Rules, findings: Findings) -> None:
    """Test the place of what stands on the road: its distance, and the corners that the seed draws."""
    trigger, path, name = record.trigger, record.files[0].path, record.sample
    assert trigger is not None and trigger.center is not None  # noqa: S101, PT018  the caller has seen to it
    distance = float(distances_to(victims, rules.recipe.metric)[trigger.center])
    findings.test("placement", distance == trigger.distance, path, f"distance {distance}", trigger.distance, name)
    count, quad = stands_at(labels, victims, record.role, name, rules)
    _check_count(record, count, findings)
    findings.test("placement", trigger.quad == quad, path, f"corners {quad}, by the seed", trigger.quad, name)
