"""`poisongen list`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from poisongen.cli.help import Command
from poisongen.datasets import find_layout, layouts
from poisongen.printing import show, show_json, tell
from poisongen.recipe.model import shipped_recipes
from poisongen.recipe.trigger_files import builtin_triggers
from poisongen.source.listing import find_root
from poisongen.victim.model_names import model_list

DEFAULT_DATASET = "cityscapes"
STRATEGIES = {
    "random": "any eligible position (the paper's baseline)",
    "nn": "next to the victim: the eligible position nearest to it (nearest-neighbour injection)",
    "far": "at a distance: further from the victim than --min-distance",
}


def _datasets(dataset: str | None, root: Path | None) -> dict[str, str]:
    return {layout.name: layout.title for layout in layouts().values()}


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
    "triggers": lambda dataset, root: dict.fromkeys(builtin_triggers(), ""),
    "recipes": lambda dataset, root: dict.fromkeys(shipped_recipes(), ""),
    "models": lambda dataset, root: model_list(),
}


@click.command("list", cls=Command, example="poisongen list classes --dataset voc")
@click.argument("what", type=click.Choice([*WHAT]), required=False)
@click.option("--dataset", help="Whose classes. Default: cityscapes.")
@click.option("--root", type=click.Path(path_type=Path), help="The dataset's folder (for the layout folder).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(what: str | None, dataset: str | None, root: Path | None, as_json: bool) -> None:
    """List datasets, classes, strategies, triggers, recipes or models; all but the models if none is named."""
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
