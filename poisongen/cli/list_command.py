"""`poisongen list`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from poisongen.attack.conditions import conditions
from poisongen.attack.label_rules import label_rules
from poisongen.attack.label_rules.base import LabelRule
from poisongen.attack.parts import Found, Option
from poisongen.attack.triggers import trigger_kinds
from poisongen.attack.triggers.base import TriggerKind
from poisongen.cli.help import Command
from poisongen.datasets import find_layout, found_layouts
from poisongen.datasets.base import Layout
from poisongen.printing import show, show_json, tell
from poisongen.recipe.model import recipe_titles
from poisongen.recipe.trigger_files import builtin_triggers
from poisongen.source.listing import find_root
from poisongen.victim.model_names import model_list

DEFAULT_DATASET = "cityscapes"
STRATEGIES = {
    "random": "any eligible position (the paper's baseline)",
    "nn": "next to the victim: the eligible position nearest to it (nearest-neighbour injection)",
    "far": "at a distance: further from the victim than --min-distance",
    "fixed": "always the same place (--at), whatever is there",
    "on": "centred on the largest object of the victims",
    "ground": "standing or lying on the road; without saying for triggers in perspective",
    "whole": "no place at all; without saying for triggers that change the whole picture",
}


def _datasets(dataset: str | None, root: Path | None) -> dict[str, str]:
    return _titles(found_layouts(), _layout_words)


def _layout_words(layout: Layout) -> str:
    return f"{layout.title}; needs {layout.needs}" if layout.needs else layout.title


def _titles(found: Found, words: Callable[[Any], str]) -> dict[str, str]:
    """Return what is said of every part, and of those of other packages that cannot be loaded."""
    parts = {name: words(part) for name, part in found.parts.items()}
    return parts | {f"{name} (broken)": f"cannot be loaded: {why}" for name, why in found.broken.items()}


def _rule_words(rule: LabelRule) -> str:
    return f"{rule.title}; {rule.source}{_option_words(rule.options)}"


def _kind_words(kind: TriggerKind) -> str:
    exact = "exact" if kind.exact else f"the same within {kind.tolerance} of 255 levels on every machine"
    lost = "; lost in JPEGs" if kind.jpeg == "lost" else ""
    extra = f"; needs pip install 'poisongen[{kind.extra}]'" if kind.extra else ""
    return f"{kind.title}; {kind.source}; {exact}{lost}{extra}{_option_words(kind.options)}"


def _option_words(options: Mapping[str, Option]) -> str:
    defaults = [name if option.default is None else f"{name}={option.default}" for name, option in options.items()]
    return f"; options {', '.join(defaults)}" if defaults else ""


def _classes(dataset: str | None, root: Path | None) -> dict[str, str]:
    layout = find_layout(dataset or DEFAULT_DATASET)
    needs_root = layout.usual_root is None
    classes = layout.classes(find_root(layout, root) if needs_root or root else Path())
    return {
        str(number): name + (" (void)" if number in classes.void else "")
        for number, name in sorted(classes.names.items())
    }


WHAT: dict[str, Callable[[str | None, Path | None], dict[str, str]]] = {
    "datasets": _datasets,
    "classes": _classes,
    "strategies": lambda dataset, root: STRATEGIES,
    "label-rules": lambda dataset, root: _titles(label_rules(), _rule_words),
    "trigger-kinds": lambda dataset, root: _titles(trigger_kinds(), _kind_words),
    "conditions": lambda dataset, root: _titles(conditions(), lambda condition: f"{condition.form}: {condition.title}"),
    "triggers": lambda dataset, root: dict.fromkeys(builtin_triggers(), ""),
    "recipes": lambda dataset, root: recipe_titles(),
    "models": lambda dataset, root: model_list(),
}


@click.command("list", cls=Command, example="poisongen list classes --dataset voc")
@click.argument("what", type=click.Choice([*WHAT]), required=False)
@click.option("--dataset", help="Whose classes. Default: cityscapes.")
@click.option("--root", type=click.Path(path_type=Path), help="The dataset's folder (for the layout folder).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(what: str | None, dataset: str | None, root: Path | None, as_json: bool) -> None:
    """List what there is: layouts, classes, the parts of attacks, recipes, models; all but the models if none is named.

    Parts that other packages bring stand among ours.
    """
    named = [what] if what else [name for name in WHAT if name != "models"]  # models take seconds to load
    lists = {name: WHAT[name](dataset, root) for name in named}
    if as_json:
        show_json(lists)
        return
    lines = []
    for name, items in lists.items():
        title = name if name != "classes" else f"classes of {dataset or DEFAULT_DATASET}"
        if not what:
            lines.append(f"{title}:")
        elif name == "classes" and not dataset:
            tell(f"classes of {DEFAULT_DATASET}; --dataset names another")
        width = max(map(len, items), default=0)
        for key, text in items.items():
            lines.append(f"{'' if what else '  '}{key:{width}}  {text}".rstrip())
    show(lines)
