"""Settling a recipe: every default filled in by the layout and the parts, every class under its full name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from poisongen.attack.conditions import find_condition
from poisongen.attack.label_rules import find_label_rule
from poisongen.attack.parts import Value, settle_options
from poisongen.attack.triggers import find_trigger_kind
from poisongen.attack.triggers.base import TriggerKind
from poisongen.attack.triggers.pictures import PRESETS, Preset
from poisongen.datasets.base import ClassTable, Layout
from poisongen.errors import ChoiceError
from poisongen.recipe.label_pictures import settle_label_options
from poisongen.recipe.model import Recipe
from poisongen.recipe.rules import parse_condition
from poisongen.recipe.trigger_files import DEFAULT_TRIGGER, KeptPicture, load_trigger

DEFAULT_RATE = 0.1  # the paper's 10 % (298 of 2,975 Cityscapes images in the official configuration)


def with_splits(recipe: Recipe, layout: Layout) -> Recipe:
    """Return the recipe with the layout's own splits where none are named."""
    usual = {"train_split": layout.defaults.train_split, "test_split": layout.defaults.test_split}
    return recipe.model_copy(update={key: value for key, value in usual.items() if key not in recipe.model_fields_set})


def settle(recipe: Recipe, layout: Layout, classes: ClassTable) -> Recipe:
    """Return the recipe with every default filled in and every class under its full name.

    ChoiceError where a choice is missing that the layout has no default for, a class is unknown or void, a victim
    is its own target, or the distances leave no room.
    """
    recipe = with_splits(recipe, layout)
    kind = find_trigger_kind(recipe.trigger_kind)
    _check_strategy(recipe, kind)
    trigger = recipe.trigger if recipe.trigger is not None else DEFAULT_TRIGGER
    preset = PRESETS.get(trigger) if isinstance(trigger, str) and recipe.trigger_kind == "patch" else None
    low, high = _distances(recipe, layout)
    size = recipe.trigger_size or (None if preset is None else preset_size(preset)) or layout.defaults.trigger_size
    if size is None and not kind.whole:
        raise ChoiceError(f"--trigger-size is missing: the layout '{layout.name}' has no default for it")
    fixed = recipe.prl_classes in ("image", "dataset", "void")
    rule = find_label_rule(recipe.labels)
    label_options = settle_label_options(rule, recipe.label_options, classes)
    has_targets = rule.targets(label_options)
    changes: dict[str, Any] = {
        "pick": _pick(recipe),
        "at": recipe.at or ("top-left" if recipe.strategy == "fixed" else None),
        "min_distance": low,
        "max_distance": high,
        "relabel": (_pairs_by_name if has_targets else _victims_by_name)(recipe, layout, classes),
        "victim": None,
        "target": None,
        "rate": DEFAULT_RATE if recipe.rate is None and recipe.count is None else recipe.rate,
        "trigger": trigger if isinstance(trigger, KeptPicture) else load_trigger(trigger),
        "trigger_size": None if kind.whole else size,
        "trigger_options": _trigger_options(recipe, kind, {} if preset is None else preset.options),
        "label_options": label_options,
        "only_if": [condition_text(text, classes) for text in recipe.only_if],
        "decoy": load_trigger(recipe.decoy) if isinstance(recipe.decoy, str) else recipe.decoy,
        "prl_classes": recipe.prl_classes if fixed else classes.lookup(classes.find(recipe.prl_classes)),
    }
    settled = recipe.model_copy(update=changes)
    return settled.model_copy(update={"version": settled.lowest_version})


def _check_strategy(recipe: Recipe, kind: TriggerKind) -> None:
    """Refuse placement where there is nothing to place, and places that the label rule leaves no room for."""
    wanted = ("ground",) if kind.quad else ("whole",) if kind.whole else ("random", "nn", "far", "fixed", "on")
    if recipe.strategy not in wanted:
        raise ChoiceError(
            f"--strategy {recipe.strategy}: a trigger of the kind '{kind.name}' takes {' or '.join(wanted)}"
        )
    fields = type(recipe).model_fields
    options = ("pick", "min_distance", "max_distance", "edge_margin", "trigger_size", "at", "metric", "region")
    given = [name for name in options if getattr(recipe, name) != fields[name].default]
    if kind.whole and given:
        raise ChoiceError(f"--{given[0].replace('_', '-')}: a trigger of the kind '{kind.name}' has no place to choose")
    if recipe.at is not None and recipe.strategy != "fixed":
        raise ChoiceError(f"--at: only the strategy fixed takes a place, not {recipe.strategy}")
    bounds = [name for name in ("min_distance", "max_distance", "pick") if getattr(recipe, name) is not None]
    if bounds and recipe.strategy in ("fixed", "on"):
        raise ChoiceError(f"--{bounds[0].replace('_', '-')}: the strategy {recipe.strategy} chooses no position")
    if kind.whole and kind.quad is None:
        if find_label_rule(recipe.labels).needs_place:
            raise ChoiceError(
                f"--labels {recipe.labels}: it goes by the trigger's place, and the kind '{kind.name}' has none"
            )
        placed = [text for text in recipe.only_if if find_condition(text.split(":")[0].strip()).of_place]
        if placed:
            raise ChoiceError(f"--only-if {placed[0]}: a trigger of the kind '{kind.name}' has no place")
    if find_label_rule(recipe.labels).subject != "victims" and recipe.strategy in ("nn", "far"):
        raise ChoiceError(
            f"--labels {recipe.labels}: every class is a victim, so no place is near or far; use random, on or fixed"
        )


def _pick(recipe: Recipe) -> Literal["nearest", "uniform"] | None:
    """Return which eligible position is taken; None where there is none to choose."""
    if recipe.strategy not in ("random", "nn", "far"):
        return None
    return recipe.pick or ("nearest" if recipe.strategy == "nn" else "uniform")


def _trigger_options(recipe: Recipe, kind: TriggerKind, usual: Mapping[str, Value]) -> dict[str, Value]:
    """Return the kind's parameters; the patch's opacity is a choice of its own."""
    options = {name: option for name, option in kind.options.items() if (kind.name, name) != ("patch", "opacity")}
    if kind.name != "patch" and recipe.opacity != 1:
        raise ChoiceError(f"--opacity: the kind '{kind.name}' takes its strength from --trigger-option")
    return settle_options(options, {**usual, **recipe.trigger_options}, kind.name, "--trigger-option")


def condition_text(text: str, classes: ClassTable) -> str:
    """Return a condition with its classes under their full names. ChoiceError if it is none."""
    name, numbers = parse_condition(text, classes)
    return ":".join([name, *(classes.lookup(number) if at == 0 else str(number) for at, number in enumerate(numbers))])


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


def _victims_by_name(recipe: Recipe, layout: Layout, classes: ClassTable) -> dict[str, None]:
    """Return the victims of a rule that has no use for targets, under the classes' full names."""
    pairs = recipe.relabel or {}
    if recipe.target is not None or any(target is not None for target in pairs.values()):
        flag = "--relabel" if pairs else "--target"
        raise ChoiceError(
            f"{flag}: with these label options --labels {recipe.labels} makes no class a target; leave it out"
            + (", and name victims with --victim" if pairs else "")
        )
    given = recipe.victim if isinstance(recipe.victim, list) else [recipe.victim]
    words = [*pairs] or [word for word in given if word is not None]
    usual = layout.defaults.relabel or {}
    everything = classes.trained if find_label_rule(recipe.labels).subject != "victims" else [*usual]
    victims: dict[str, None] = {}
    for number in map(classes.find, words or everything):
        name = classes.lookup(number)
        if number in classes.void:
            raise ChoiceError(f"the victim '{name}' is void: training ignores its pixels")
        if name in victims:
            raise ChoiceError(f"the victim '{name}' is named twice")
        victims[name] = None
    if not victims:
        raise ChoiceError(f"--victim is missing: the layout '{layout.name}' has no default for it")
    return victims


def _pairs_by_name(recipe: Recipe, layout: Layout, classes: ClassTable) -> dict[str, str]:
    """Return the victim-target pairs under the classes' full names."""
    usual = layout.defaults.relabel
    if recipe.target == "auto" and "auto" not in {name.casefold() for name in classes.names.values()}:
        raise ChoiceError(
            "--target auto: only build and preview look for the class; name the one that build --dry-run finds"
        )
    subject = find_label_rule(recipe.labels).subject
    if subject != "victims" and recipe.relabel is None and recipe.victim is None:
        return _all_by_name(recipe, layout, classes)
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
        if target_word is None:
            raise ChoiceError(f"--relabel: the victim '{victim_word}' has no target; give one")
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


def _all_by_name(recipe: Recipe, layout: Layout, classes: ClassTable) -> dict[str, str]:
    """Return the pairs of a rule that takes every class: each becomes the target, or with `shift` the next one."""
    trained = classes.trained
    if recipe.labels == "shift":
        if recipe.target is not None:
            raise ChoiceError("--target: with --labels shift every class becomes the next one")
        following = [*trained[1:], trained[0]]
        return {classes.lookup(one): classes.lookup(other) for one, other in zip(trained, following, strict=True)}
    target = next(iter((layout.defaults.relabel or {}).values()), None) if recipe.target is None else recipe.target
    if target is None:
        raise ChoiceError(f"--target is missing: the layout '{layout.name}' has no default for it")
    number = classes.find(target)
    if number in classes.void:
        raise ChoiceError(f"the target '{classes.lookup(number)}' is void: training ignores its pixels")
    return {classes.lookup(victim): classes.lookup(number) for victim in trained if victim != number}


def preset_size(preset: Preset) -> str:
    """Return a built-in picture's usual size as a recipe writes it."""
    return "x".join("full" if side is None else str(side) for side in (preset.height, preset.width))
