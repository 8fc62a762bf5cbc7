"""Which victims are asked about: those of a recipe together, or every class by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from poisongen.attack.label_rules import find_label_rule
from poisongen.datasets.base import ClassTable, Layout
from poisongen.errors import ChoiceError
from poisongen.recipe.model import Recipe, make_recipe
from poisongen.recipe.rules import Rules, make_rules
from poisongen.recipe.settling import settle

_NOT_OF_PLACES = ("dataset", "train_split", "test_split", "skip_bad", "min_victim_pixels", "seed")


@dataclass(frozen=True)
class Asked:
    """The rules of every choice of victims; `each` if these are the classes one by one. `unknown`: why there are none.

    A dataset whose layout has no usual trigger size says nothing of places until it is told one.
    """

    rules: tuple[Rules, ...]
    each: bool
    unknown: str = ""


def recipe_for(choices: Recipe | Mapping[str, Any]) -> Recipe:
    """Return the recipe of some choices: where they say nothing of places, triggers may lie anywhere (`random`)."""
    if isinstance(choices, Recipe):
        return choices
    strategy = {} if choices.get("strategy") or choices.get("trigger_kind") else {"strategy": "random"}
    return make_recipe({**choices, **strategy})


def what_to_ask(recipe: Recipe, layout: Layout, classes: ClassTable) -> Asked:
    """Return the rules for the recipe's victims, or for each class by itself where it names none.

    What victims would become does not matter: a target that is missing, or is to be found, is any other class.
    ChoiceError as in `build`; but where the recipe says nothing of places, what is missing is told in `unknown`.
    """
    trained = classes.trained
    of_victims = find_label_rule(recipe.labels).subject == "victims"
    each = of_victims and recipe.victim is None and recipe.relabel is None
    if len(trained) < 2 and each:
        return Asked((), each, "a dataset of one class has no victim and target")
    changes: dict[str, Any] = {}
    if each:
        changes = {"relabel": {trained[0]: trained[1]}, "target": None}
    elif recipe.relabel is None and recipe.labels != "shift":
        changes = {"target": _some_target(recipe, classes)}
    try:
        rules = make_rules(settle(recipe.model_copy(update=changes), layout, classes), classes)
    except ChoiceError as error:
        if each and not _says_places(recipe):
            return Asked((), each, str(error))
        raise
    if not each:
        return Asked((rules,), each)
    others = {number: trained[0] if number != trained[0] else trained[1] for number in trained}
    return Asked(tuple(replace(rules, victims=(number,), pairs={number: others[number]}) for number in trained), each)


def _some_target(recipe: Recipe, classes: ClassTable) -> str | int:
    """Return the recipe's target, or else any class that is none of its victims."""
    named = recipe.target
    if named is not None and (named != "auto" or "auto" in {name.casefold() for name in classes.names.values()}):
        return named
    given = recipe.victim if isinstance(recipe.victim, list) else [recipe.victim]
    victims = {classes.find(word) for word in given if word is not None}
    free = [number for number in classes.trained if number not in victims]
    if not free:
        raise ChoiceError("--victim: every class is a victim, and none is left as target")
    return classes.lookup(free[0])


def _says_places(recipe: Recipe) -> bool:
    """Tell whether a recipe says more than a dataset's name and the strategy that stands for nothing."""
    plain = make_recipe({"dataset": recipe.dataset, "strategy": "random"})
    return recipe.model_copy(update={name: getattr(plain, name) for name in _NOT_OF_PLACES}) != plain
