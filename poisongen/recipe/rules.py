"""From a recipe to rules: defaults filled in by the layout, names turned into IDs, the trigger made ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from poisongen.core.placement import PlacementRules
from poisongen.core.trigger import can_show, resize_trigger
from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Layout
from poisongen.errors import ChoiceError
from poisongen.recipe.model import Recipe
from poisongen.recipe.trigger_files import DEFAULT_TRIGGER, TriggerPicture, load_trigger, trigger_pixels
from poisongen.records.algorithms import ALGORITHM

DEFAULT_RATE = 0.1  # the paper's 10 % (298 of 2,975 Cityscapes images in the official configuration)


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

    `recipe` is settled; `pairs` maps victim IDs to target IDs; `trigger` is (s, s, 4) uint8 RGBA.
    `algorithm` is the version that an audit judges by; build knows only the newest.
    """

    recipe: Recipe
    classes: ClassTable
    pairs: Mapping[int, int]
    placement: PlacementRules
    trigger: npt.NDArray[np.uint8]
    prl: PrlRules | None
    algorithm: int = ALGORITHM

    @property
    def layout(self) -> Layout:
        """The layout of the dataset, found by its name: so rules travel to workers without it."""
        return find_layout(self.recipe.dataset)

    @property
    def victims(self) -> tuple[int, ...]:
        """The victims' raw IDs."""
        return tuple(self.pairs)


def settle(recipe: Recipe, layout: Layout, classes: ClassTable) -> Recipe:
    """Return the recipe with every default filled in and every class under its full name.

    ChoiceError where a choice is missing that the layout has no default for, a class is unknown or void, a victim
    is its own target, or the distances leave no room.
    """
    low, high = _distances(recipe, layout)
    size = recipe.trigger_size or layout.defaults.trigger_size
    if size is None:
        raise ChoiceError(f"--trigger-size is missing: the layout '{layout.name}' has no default for it")
    trigger = recipe.trigger if recipe.trigger is not None else DEFAULT_TRIGGER
    fixed = recipe.prl_classes in ("image", "dataset", "void")
    changes: dict[str, Any] = {
        "pick": recipe.pick or ("nearest" if recipe.strategy == "nn" else "uniform"),
        "min_distance": low,
        "max_distance": high,
        "relabel": _pairs_by_name(recipe, layout, classes),
        "victim": None,
        "target": None,
        "rate": DEFAULT_RATE if recipe.rate is None and recipe.count is None else recipe.rate,
        "trigger": trigger if isinstance(trigger, TriggerPicture) else load_trigger(trigger),
        "trigger_size": size,
        "prl_classes": recipe.prl_classes if fixed else classes.lookup(classes.find(recipe.prl_classes)),
    }
    return recipe.model_copy(update=changes)


def _distances(recipe: Recipe, layout: Layout) -> tuple[float | None, float | None]:
    """Return L and U. `nn` has 0 and the layout's U, `far` the layout's U and none, unless given."""
    low, high = recipe.min_distance, recipe.max_distance
    usual = layout.defaults.max_distance
    if recipe.strategy == "nn":
        low, high = 0.0 if low is None else low, usual if high is None else high
        missing = "--max-distance" if high is None else None
    else:
        low = usual if recipe.strategy == "far" and low is None else low
        missing = "--min-distance" if recipe.strategy == "far" and low is None else None
    if missing:
        raise ChoiceError(f"{missing} is missing: the layout '{layout.name}' has no default for '{recipe.strategy}'")
    if low is not None and high is not None and low >= high:
        raise ChoiceError(f"--min-distance {low:g} must be below --max-distance {high:g}")
    return low, high


def _pairs_by_name(recipe: Recipe, layout: Layout, classes: ClassTable) -> dict[str, str]:
    """Return the victim-target pairs under the classes' full names."""
    usual = layout.defaults.relabel
    if recipe.relabel is not None:
        wanted = list(recipe.relabel.items())
    elif recipe.victim is None and recipe.target is None and usual is not None:
        wanted = list(usual.items())
    else:
        given = recipe.victim if isinstance(recipe.victim, list) else [recipe.victim]
        victims = [*(usual or ())] if recipe.victim is None else [name for name in given if name is not None]
        target = next(iter((usual or {}).values()), None) if recipe.target is None else recipe.target
        if not victims or target is None:
            option = "--target" if victims else "--victim"
            raise ChoiceError(f"{option} is missing: the layout '{layout.name}' has no default for it")
        wanted = [(victim, target) for victim in victims]
    pairs: dict[str, str] = {}
    for victim_word, target_word in wanted:
        victim, target = classes.find(victim_word), classes.find(target_word)
        for word, number in (("victim", victim), ("target", target)):
            if number in classes.void:
                raise ChoiceError(f"the {word} '{classes.lookup(number)}' is void: training ignores its pixels")
        if victim == target:
            raise ChoiceError(f"victim and target are the same class, '{classes.lookup(victim)}'")
        if classes.lookup(victim) in pairs:
            raise ChoiceError(f"the victim '{classes.lookup(victim)}' is named twice")
        pairs[classes.lookup(victim)] = classes.lookup(target)
    return pairs


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


def make_rules(recipe: Recipe, classes: ClassTable, algorithm: int = ALGORITHM) -> Rules:
    """Turn a settled recipe into rules. ChoiceError where the trigger's bytes are no picture, or it could not be seen.

    `algorithm` is the version by which an audit judges.
    """
    pairs = {classes.find(victim): classes.find(target) for victim, target in (recipe.relabel or {}).items()}
    if not isinstance(recipe.trigger, TriggerPicture) or recipe.trigger_size is None or recipe.pick is None:
        raise ChoiceError("this recipe has not been settled")
    placement = PlacementRules(
        size=recipe.trigger_size,
        edge_margin=recipe.edge_margin,
        low=recipe.min_distance,
        high=recipe.max_distance,
        metric=recipe.metric,
        region=recipe.region,
        pick=recipe.pick,
    )
    trigger = resize_trigger(trigger_pixels(recipe.trigger), recipe.trigger_size)
    if not can_show(trigger, recipe.opacity):
        raise ChoiceError(
            f"--trigger '{recipe.trigger.name}': at opacity {recipe.opacity:g} it changes no pixel of any picture; "
            "raise --opacity or give a trigger that is not transparent all over"
        )
    return Rules(recipe, classes, pairs, placement, trigger, _prl_rules(recipe, classes, frozenset(pairs)), algorithm)
