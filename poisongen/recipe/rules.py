"""From a settled recipe to rules: names turned into IDs, the trigger made ready."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from poisongen.attack.conditions import find_condition
from poisongen.attack.conditions.base import Counts, Covers
from poisongen.attack.label_rules import find_label_rule
from poisongen.attack.label_rules.base import LabelRule
from poisongen.attack.parts import Value
from poisongen.attack.triggers import find_trigger_kind
from poisongen.attack.triggers.base import Artwork, BySize, TriggerKind
from poisongen.core.placement import PlacementRules
from poisongen.core.trigger import can_show, resize_trigger
from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Layout
from poisongen.errors import ChoiceError
from poisongen.recipe.model import Recipe
from poisongen.recipe.trigger_files import TriggerPicture, trigger_pixels
from poisongen.records.algorithms import ALGORITHM, RECORDS


@dataclass(frozen=True)
class PrlRules:
    """Pixel Random Labeling: how many pixels, of which samples, and the classes they may get.

    `classes` None means the classes that are present in each label map.
    """

    amount: float
    unit: Literal["pixels", "percent"]
    scope: Literal["all", "poisoned"]
    classes: frozenset[int] | None


@dataclass(frozen=True)
class Rules:
    """Everything that the work on a sample follows: no names to look up, no None to fill in.

    `recipe` is settled; `pairs` maps victim IDs to target IDs. `label_parameters` are the label rule's; `conditions`
    are names with their numbers. `prepared(height, width)` is the trigger made ready for a picture of that size,
    `decoy` the same for the picture that negatives carry, if they carry one of their own. `placement` is None for kinds
    that change the whole picture. `algorithm` and `records` are the versions that an audit judges by; build knows only
    the newest. `above` is what OUT puts before every path of the source, '' or ending in '/'.
    """

    recipe: Recipe
    classes: ClassTable
    pairs: Mapping[int, int]
    label_parameters: Mapping[str, Value]
    conditions: tuple[tuple[str, tuple[int, ...]], ...]
    placement: PlacementRules | None
    prepared: BySize[Any]
    decoy: BySize[Any] | None
    prl: PrlRules | None
    algorithm: int = ALGORITHM
    records: int = RECORDS
    above: str = ""

    @property
    def layout(self) -> Layout:
        """The layout of the dataset, found by its name: so rules travel to workers without it."""
        return find_layout(self.recipe.dataset)

    @property
    def label_rule(self) -> LabelRule:
        """The label rule."""
        return find_label_rule(self.recipe.labels)

    @property
    def kind(self) -> TriggerKind:
        """The kind of trigger."""
        return find_trigger_kind(self.recipe.trigger_kind)

    @property
    def victims(self) -> tuple[int, ...]:
        """The victims' raw IDs."""
        return tuple(self.pairs)

    def holds(self, counts: Counts, covers: Covers) -> bool:
        """Tell whether every condition holds for a sample; those of the place only where `covers` is known."""
        found = ((find_condition(name), numbers) for name, numbers in self.conditions)
        return all(
            condition.holds(numbers, counts, covers)
            for condition, numbers in found
            if covers is not None or not condition.of_place
        )

    @property
    def of_place(self) -> tuple[int, ...]:
        """The classes that conditions want under the trigger."""
        return tuple(numbers[0] for name, numbers in self.conditions if find_condition(name).of_place)


def parse_condition(text: str, classes: ClassTable) -> tuple[str, tuple[int, ...]]:
    """Return a condition's name and numbers. ChoiceError where it is none, or its class is unknown or void."""
    name, *words = (word.strip() for word in text.split(":"))
    condition = find_condition(name)
    try:
        numbers = condition.parse(words, classes.find)
    except ValueError as error:
        raise ChoiceError(f"--only-if {text}: {error}") from None
    return name, numbers


def _prl_rules(recipe: Recipe, classes: ClassTable, victims: frozenset[int]) -> PrlRules | None:
    if recipe.prl is None:
        return None
    allowed: frozenset[int] | None
    if recipe.prl_classes == "image":
        allowed = None
    elif recipe.prl_classes == "dataset":
        allowed = frozenset(classes.trained) - victims
    elif recipe.prl_classes == "void":
        if classes.void_id is None:
            raise ChoiceError("--prl-classes void: this dataset has no void class")
        allowed = frozenset({classes.void_id})
    else:
        allowed = frozenset({classes.find(recipe.prl_classes)})
        if allowed & victims:
            raise ChoiceError(f"--prl-classes: '{recipe.prl_classes}' is a victim, which random labels never are")
    percent = isinstance(recipe.prl, str)
    amount = float(str(recipe.prl).rstrip("%"))
    return PrlRules(amount, "percent" if percent else "pixels", recipe.prl_scope, allowed)


def sides_of(size: int | str) -> tuple[int | None, int | None]:
    """Return height and width of a trigger size, None for the picture's own."""
    if isinstance(size, int):
        return size, size
    height, width = (None if side == "full" else int(side) for side in size.split("x"))
    return height, width


GROUNDS: dict[str, Literal["off", "on", "any"]] = {"victims": "off", "object": "on", "all": "any"}
"""What a trigger may lie on, by what a label rule takes for its own."""


def _prepare(
    height: int,
    width: int,
    kind: str,
    picture: npt.NDArray[np.uint8],
    sides: tuple[int | None, int | None],
    parameters: Mapping[str, Value],
) -> Any:
    """Make a trigger ready for a picture of this size."""
    tall, wide = (height if sides[0] is None else sides[0]), (width if sides[1] is None else sides[1])
    return find_trigger_kind(kind).prepare(Artwork(picture, tall, wide), parameters)


def _placement_rules(recipe: Recipe, rule: LabelRule, covers: tuple[int, ...]) -> PlacementRules | None:
    if recipe.trigger_size is None:
        return None
    height, width = sides_of(recipe.trigger_size)
    modes: dict[str, Literal["fixed", "on"]] = {"fixed": "fixed", "on": "on"}
    return PlacementRules(
        height=height,
        width=width,
        edge_margin=recipe.edge_margin,
        low=recipe.min_distance,
        high=recipe.max_distance,
        metric=recipe.metric,
        region=recipe.region,
        pick=recipe.pick or "uniform",
        mode=modes.get(recipe.strategy, "free"),
        at=recipe.at,
        ground=GROUNDS[rule.subject],
        covers=covers,
    )


def make_rules(recipe: Recipe, classes: ClassTable, algorithm: int = ALGORITHM) -> Rules:
    """Turn a settled recipe into rules. ChoiceError where the trigger's bytes are no picture, or it could not be seen.

    `algorithm` is the version by which an audit judges.
    """
    pairs = {classes.find(victim): classes.find(target) for victim, target in (recipe.relabel or {}).items()}
    if not isinstance(recipe.trigger, TriggerPicture) or recipe.relabel is None:
        raise ChoiceError("this recipe has not been settled")
    conditions = tuple(parse_condition(text, classes) for text in recipe.only_if)
    covers = tuple(numbers[0] for name, numbers in conditions if find_condition(name).of_place)
    rule = find_label_rule(recipe.labels)
    placement = _placement_rules(recipe, rule, covers)
    parameters = dict(recipe.trigger_options) | ({"opacity": recipe.opacity} if recipe.trigger_kind == "patch" else {})
    sides = (None, None) if recipe.trigger_size is None else sides_of(recipe.trigger_size)

    def made_of(picture: TriggerPicture) -> BySize[Any]:
        pixels = trigger_pixels(picture)
        shown = can_show(resize_trigger(pixels, (sides[0] or len(pixels), sides[1] or pixels.shape[1])), recipe.opacity)
        if recipe.trigger_kind == "patch" and not shown:
            raise ChoiceError(
                f"--trigger '{picture.name}': at opacity {recipe.opacity:g} it changes no pixel of any picture; "
                "raise --opacity or give a trigger that is not transparent all over"
            )
        make = functools.partial(_prepare, kind=recipe.trigger_kind, picture=pixels, sides=sides, parameters=parameters)
        return BySize(make)

    return Rules(
        recipe=recipe,
        classes=classes,
        pairs=pairs,
        label_parameters=dict(recipe.label_options),
        conditions=conditions,
        placement=placement,
        prepared=made_of(recipe.trigger),
        decoy=made_of(recipe.decoy) if isinstance(recipe.decoy, TriggerPicture) else None,
        prl=_prl_rules(recipe, classes, frozenset(pairs)),
        algorithm=algorithm,
    )
