"""A recipe settled for a dataset on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.datasets import find_layout
from poisongen.errors import DataError
from poisongen.recipe.model import Recipe, make_recipe
from poisongen.recipe.rules import Rules, make_rules
from poisongen.recipe.settling import settle
from poisongen.source.listing import SourceFile, find_root, list_files


@dataclass(frozen=True)
class Prepared:
    """A recipe settled for a dataset on disk: its root, its files, and the rules."""

    root: Path
    files: tuple[SourceFile, ...]
    rules: Rules


def prepare(recipe: Recipe | Mapping[str, Any], root: Path | None) -> Prepared:
    """Check a recipe against the dataset at `root` (or where its layout is usually found)."""
    recipe = recipe if isinstance(recipe, Recipe) else make_recipe(recipe)
    layout = find_layout(recipe.dataset)
    found_root = find_root(layout, root).absolute()  # workers may live in another folder
    files = list_files(found_root)
    if not files:
        raise DataError(found_root, f"the folder is empty; {layout.how_to_get}")
    classes = layout.classes(found_root)
    return Prepared(found_root, tuple(files), make_rules(settle(recipe, layout, classes), classes))
