"""A recipe settled for a dataset on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from poisongen.building.bordering import Bordering, find_target
from poisongen.datasets import find_layout
from poisongen.errors import DataError
from poisongen.recipe.model import Recipe, make_recipe
from poisongen.recipe.rules import Rules, make_rules
from poisongen.recipe.settling import settle, with_splits
from poisongen.source.listing import SourceFile, find_root, list_files


@dataclass(frozen=True)
class Prepared:
    """A recipe settled for a dataset on disk: its root, its files, the rules, and how `--target auto` was found.

    `cache`: what reads of it tell may be remembered in the cache folder.
    """

    root: Path
    files: tuple[SourceFile, ...]
    rules: Rules
    bordering: Bordering | None = None
    cache: bool = True


def prepare(
    recipe: Recipe | Mapping[str, Any],
    root: Path | None,
    jobs: int = 1,
    progress: bool = False,
    cache: bool = True,
) -> Prepared:
    """Check a recipe against the dataset at `root` (or where its layout is usually found).

    Labels are read only for `--target auto`, by `jobs` processes.
    """
    recipe = recipe if isinstance(recipe, Recipe) else make_recipe(recipe)
    layout = find_layout(recipe.dataset)
    recipe = with_splits(recipe, layout)
    found_root = find_root(layout, root).absolute()  # workers may live in another folder
    files = list_files(found_root)
    if not files:
        raise DataError(found_root, f"the folder is empty; {layout.how_to_get}")
    classes = layout.classes(found_root)
    bordering = find_target(recipe, layout, found_root, files, classes, jobs, progress)
    if bordering is not None:
        recipe = recipe.model_copy(update={"target": bordering.target})
    rules = make_rules(settle(recipe, layout, classes), classes)
    rules = replace(rules, above=layout.above([file.path for file in files]))
    return Prepared(found_root, tuple(files), rules, bordering, cache)
