"""Where a sample's trigger goes, and whether the sample can be changed as its role demands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.attack.triggers.road import quad_box
from poisongen.building.pictures import Place, Stamped, is_seen, stamped_image
from poisongen.building.relabelling import check_new_labels
from poisongen.core.distance import distance_map, exact_distance
from poisongen.core.draws import Generator, draw_below, keyed_generator
from poisongen.core.labels import class_counts, class_mask
from poisongen.core.placement import Placement, PlacementRules, place
from poisongen.core.trigger import is_doubtful
from poisongen.datasets.base import Sample, victim_mask
from poisongen.errors import ChoiceError, DataError
from poisongen.files import images
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import NO_POSITION, TOO_LARGE, UNSEEN
from poisongen.records.manifest import Role
from poisongen.source.labels import LabelContents, check_fit, read_labels
from poisongen.source.picture import Picture

Array = npt.NDArray[Any]

_ROAD = "road"
_TRIES = 256  # feet on the road that are drawn for something that stands there


def stamp_generator(sample: Sample, role: Role, rules: Rules) -> Generator:
    """Return the generator that a sample's trigger is drawn with."""
    return keyed_generator(rules.recipe.seed, "stamp", role, sample.name)


def place_on(labels: LabelContents, sample: Sample, role: Role, rules: Rules) -> Place | str:
    """Choose the trigger's place in a sample with these (scaled) labels, or say why there is none."""
    decoy = role == "negative" and rules.decoy is not None
    if rules.kind.quad is not None:
        return _on_the_road(labels, sample, role, rules, decoy)
    if rules.placement is None:
        return Place(decoy=decoy)
    victims = victim_mask(labels.maps, rules.victims)
    label_map = labels.maps[0]
    generator = keyed_generator(rules.recipe.seed, "place", role, sample.name)
    void = class_mask(label_map, rules.classes.void)
    found = place(label_map, victims, void, placing_rules(label_map, role, rules), generator)
    if found is not None:
        return Place(found, decoy=decoy)
    tall, wide = (side + 2 * rules.placement.edge_margin for side in rules.placement.sides(label_map.shape))
    return TOO_LARGE if tall > label_map.shape[0] or wide > label_map.shape[1] else NO_POSITION


def placing_rules(labels: Array, role: Role, rules: Rules) -> PlacementRules:
    """Return the rules by which a sample of this role is given its place: conditions of the place hold, or fail."""
    assert rules.placement is not None  # noqa: S101  asked where there is a place
    if role != "negative" or not rules.of_place:
        return rules.placement if role != "negative" else replace(rules.placement, covers=())
    if rules.decoy is None and rules.holds(counts_of(labels), None):
        return replace(rules.placement, covers=(), spares=rules.of_place)
    return replace(rules.placement, covers=())


def conditions_of_place_fit(labels: Array, under: list[int], role: Role, rules: Rules) -> bool:
    """Tell whether a place over these classes is one for this role: conditions of the place hold, or fail."""
    if role != "negative":
        return set(under).issuperset(rules.of_place)
    fails = rules.decoy is not None or not rules.holds(counts_of(labels), None)
    return fails or not set(under).issuperset(rules.of_place)


def counts_of(labels: Array) -> dict[int, int]:
    """Return how many pixels of a label map each class has that is in it."""
    counts = class_counts(labels)
    return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}


def _on_the_road(labels: LabelContents, sample: Sample, role: Role, rules: Rules, decoy: bool) -> Place | str:
    """Choose where something stands: on a pixel of the road, all of it in the picture and off every victim.

    Feet are drawn among the road's pixels until one will do; after `_TRIES` of them there is no place.
    """
    road = next((number for number, name in rules.classes.names.items() if name.casefold() == _ROAD), None)
    if road is None:
        raise ChoiceError(f"--trigger-kind {rules.kind.name}: this dataset has no class '{_ROAD}' to stand on")
    label_map, victims = labels.maps[0], victim_mask(labels.maps, rules.victims)
    height, width = label_map.shape
    feet = np.flatnonzero(label_map == road)
    if not feet.size or not victims.any():
        return NO_POSITION
    generator = keyed_generator(rules.recipe.seed, "place", role, sample.name)
    prepared = rules.prepared(height, width)
    assert rules.kind.quad is not None  # noqa: S101  the caller has seen to it
    for drawn in draw_below(np.full(_TRIES, feet.size), generator).tolist():
        row, column = divmod(int(feet[drawn]), width)
        quad = rules.kind.quad(height, width, (row + 0.5, column + 0.5), prepared)
        if quad is None:
            continue
        top, left, tall, wide = quad_box(quad)
        inside = top >= 0 and left >= 0 and top + tall <= height and left + wide <= width
        if not inside or victims[top : top + tall, left : left + wide].any():
            continue
        under = np.unique(label_map[top : top + tall, left : left + wide]).tolist()
        if not conditions_of_place_fit(label_map, under, role, rules):
            continue
        centre = (top + tall // 2, left + wide // 2)
        distance = exact_distance(float(distance_map(victims, rules.recipe.metric)[centre]), rules.recipe.metric)
        return Place(Placement(top, left, tall, wide, *centre, distance, int(feet.size)), quad, decoy)
    return NO_POSITION


def may_be_unseen(labels: LabelContents, decoy: bool, picture: Picture, rules: Rules) -> bool:
    """Tell whether a trigger may well change no pixel there: a faint one or of one colour, or a picture of few colours.

    Everywhere else `do_task` finds out, and refuses.
    """
    if rules.kind.name != "patch" or images.has_few_colours(picture.path):
        return True
    prepared = (rules.decoy if decoy and rules.decoy is not None else rules.prepared)(*labels.maps[0].shape)
    return bool(is_doubtful(prepared.pixels, rules.recipe.opacity))


def place_to_be_seen(labels: LabelContents, sample: Sample, role: Role, picture: Picture, rules: Rules) -> Place | str:
    """Choose a place as `place_on` does, and see that the trigger changes the image there.

    The image is read for it only where that may well not be so. DataError if the image is bad.
    """
    place = place_on(labels, sample, role, rules)
    if isinstance(place, str) or not may_be_unseen(labels, place.decoy, picture, rules):
        return place
    generator = stamp_generator(sample, role, rules)
    return place if is_seen(picture.data, place, rules, generator, picture.path, picture.decoded) else UNSEEN


def place_and_stamp(
    labels: LabelContents, sample: Sample, role: Role, picture: Picture, rules: Rules
) -> tuple[Place | str, Stamped | None]:
    """Choose a place as `place_on` does and put the trigger there: the place and the image with it, or why not.

    DataError if the image is bad, or if it is the same with the trigger where that could not be foreseen.
    """
    place = place_on(labels, sample, role, rules)
    if isinstance(place, str):
        return place, None
    stamped = stamped_image(
        picture.data, place, rules, stamp_generator(sample, role, rules), picture.path, picture.decoded
    )
    if stamped is None and may_be_unseen(labels, place.decoy, picture, rules):
        return UNSEEN, None
    return place, stamped


def place_sample(sample: Sample, role: Role, root: Path, rules: Rules) -> Place | str:
    """Read a sample's labels and choose the trigger's place, or say why there is none.

    DataError, with the advice to skip it, if the sample cannot be changed as its role demands: the survey left that
    open because it did not know that the sample's turn would come.
    """
    labels, picture = read_labels(root, sample, rules, surveyed=True), Picture(root, sample.image)
    try:
        place = place_to_be_seen(labels.scaled(rules.recipe.scale), sample, role, picture, rules)
        if not isinstance(place, str):
            check_image(labels, sample, role, picture, rules)
            check_new_labels(labels, sample, role, box_of(place), root, rules)
    except DataError as error:
        raise DataError(error.path, f"{error.problem}; mend it, or go on without with --skip-bad") from None
    return place


def box_of(place: Place | None) -> tuple[int, int, int, int] | None:
    """Return the box of a place, None where there is none."""
    return None if place is None or place.placement is None else place.placement.box


def check_image(labels: LabelContents, sample: Sample, role: Role | None, picture: Picture, rules: Rules) -> None:
    """Decode a sample's image.

    DataError if it cannot be decoded, if its label map does not fit what EXIF makes of it, or if it cannot be changed.

    With a role the image will get a trigger. So what only decoding finds is found before any file gets its final name.
    """
    pixels = picture.pixels
    mask = next(label.path for label in sample.labels if label.kind == labels.first)
    stored = (pixels.shape[0], pixels.shape[1])
    check_fit(picture.root, sample.image, stored, picture.turn, mask, labels.maps[0].shape)
    in_blocks = rules.recipe.scale == 1 and rules.recipe.jpeg == "blocks" and (not rules.kind.whole or rules.kind.quad)
    if role is not None and in_blocks:
        images.check_rewritable(picture.data, picture.path)
