"""What one sample tells: its size, its classes, their borders, and whether a trigger finds a place in it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from poisongen.building.placing import counts_of, may_be_unseen, place_to_be_seen
from poisongen.building.survey import check_size
from poisongen.core.borders import border_counts
from poisongen.core.room import classes_with_room
from poisongen.datasets.base import ClassTable, Layout, Problem, Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files.images import header
from poisongen.recipe.rules import Rules
from poisongen.source.knowing import Known
from poisongen.source.labels import LabelContents, read_labels
from poisongen.source.picture import Picture

CAN, NO_CANDIDATE = "", "no candidate"


@dataclass(frozen=True)
class Reading:
    """One sample's part in the statistics.

    `classes` counts the pixels of every class in the label map, `borders` the pixels that two classes (the lower ID
    first) border on each other with. `answers` say for each of the victims that were asked for whether the sample could
    be poisoned: CAN, NO_CANDIDATE (too few victim pixels, or a condition fails), or why there is no place. `problem` is
    what is wrong; if there is something, the other fields mean nothing.
    """

    sample: Sample
    height: int = 0
    width: int = 0
    classes: Mapping[int, int] = field(default_factory=dict)
    borders: Mapping[tuple[int, int], int] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    problem: Problem | None = None


def read_sample(sample: Sample, root: Path, layout: Layout, classes: ClassTable, asked: Sequence[Rules]) -> Reading:
    """Read one sample's label maps and its image's header; what is wrong with them is part of the answer.

    The image is decoded only where a trigger may well not be seen in it. Every choice of victims has rules of its own.
    """
    try:
        labels = read_labels(root, sample, Known(layout, classes), maps_only=True)
        check_size(header(root / sample.image), sample, root, labels)
        answers = _answers(labels, sample, root, asked)
    except DataError as error:
        path = error.path.removeprefix(f"{root}/")
        return Reading(sample, problem=Problem(sample.split, sample.name, path, error.problem))
    label_map = labels.maps[0]
    height, width = label_map.shape
    shared = border_counts(label_map, classes.void)
    borders = {
        (int(one), int(other)): int(shared[one, other]) for one, other in zip(*np.nonzero(np.triu(shared)), strict=True)
    }
    return Reading(sample, height, width, counts_of(label_map), borders, answers)


def _answers(labels: LabelContents, sample: Sample, root: Path, asked: Sequence[Rules]) -> tuple[str, ...]:
    """Say for each of the rules whether build could poison the sample."""
    if not asked:
        return ()
    scaled = labels.scaled(asked[0].recipe.scale)
    counts = counts_of(scaled.maps[0])
    picture = Picture(root, sample.image)
    room = _room(scaled, picture, asked[0]) if len(asked) > 1 else None
    whole = asked[0].placement is None and asked[0].kind.quad is None

    @functools.cache
    def placed(at: int) -> str:
        place = place_to_be_seen(scaled, sample, "poisoned", picture, asked[at])
        return place if isinstance(place, str) else CAN

    def answer(at: int, rules: Rules) -> str:
        if not _is_candidate(scaled, counts, rules):
            return NO_CANDIDATE
        if room is not None and room - set(rules.victims):
            return CAN
        return placed(0 if whole else at)  # in the whole picture it lies, or is unseen, whoever the victim is

    return tuple(answer(at, rules) for at, rules in enumerate(asked))


def _is_candidate(labels: LabelContents, counts: Mapping[int, int], rules: Rules) -> bool:
    """Tell whether build would take the sample for a candidate: enough victim pixels, and conditions that hold."""
    if len(labels.maps) == 1:
        victims = sum(counts.get(number, 0) for number in rules.victims)
    else:
        victims = int(np.count_nonzero(victim_mask(labels.maps, rules.victims)))
    return victims >= rules.recipe.min_victim_pixels and rules.holds(counts, None)


def _room(labels: LabelContents, picture: Picture, rules: Rules) -> frozenset[int] | None:
    """Return the classes that have room for a box, for rules by which that is all that matters; None for others."""
    placement = rules.placement
    if placement is None or rules.kind.quad is not None or len(labels.maps) > 1:
        return None
    free = placement.mode == "free" and placement.region == "single" and placement.ground == "off"
    bound = placement.low is not None or placement.high is not None or placement.covers
    if not free or bound or may_be_unseen(labels, False, picture, rules):
        return None
    return classes_with_room(labels.maps[0], placement) - rules.classes.void
