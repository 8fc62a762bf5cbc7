"""From a sweep file to its cells: every combination of the grid, and the clean models beside them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poisongen.documents import read_document
from poisongen.errors import ChoiceError
from poisongen.recipe import Recipe
from poisongen.victim.settings import Settings, make_settings

RECIPE_KEYS = frozenset(Recipe.model_fields) - {"version", "dataset", "seed"}
SETTING_KEYS = frozenset(Settings.model_fields) - {"seed"} | {"preset"}
_FILE_KEYS = frozenset({"dataset", "root", "build", "train", "evaluate", "clean", "grid"})


@dataclass(frozen=True)
class Cell:
    """One model to train and test: the grid's choices by key (for the table), the recipe's and the run's settings.

    `recipe` is None for a model trained on the clean set. `label` tells the cells of one sweep apart.
    """

    shown: Mapping[str, str]
    recipe: Mapping[str, Any] | None
    training: Mapping[str, Any]
    seed: int

    @property
    def label(self) -> str:
        """A folder's name: the choices in words, and a digest of everything that matters."""
        words = "-".join("".join(c for c in str(value) if c.isalnum() or c in ".+") for value in self.shown.values())
        everything = json.dumps([self.recipe, self.training, self.seed], sort_keys=True, default=str)
        return f"{words[:80]}-s{self.seed}-{hashlib.sha256(everything.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Sweep:
    """A sweep file: where the clean dataset is, and the cells. `test_on` are choices of the common test build."""

    dataset: str
    root: Path | None
    cells: tuple[Cell, ...]
    distances: str = ""
    test_on: Mapping[str, Any] | None = None
    keys: tuple[str, ...] = field(default=())


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file; ChoiceError or DataError names what in it is wrong."""
    document = read_document(path)
    if not isinstance(document, dict):
        raise ChoiceError(f"{path}: a sweep is a mapping with dataset, grid, build, train and evaluate")
    if unknown := sorted(str(key) for key in set(document) - _FILE_KEYS):
        raise ChoiceError(f"{path}: unknown key '{unknown[0]}'; there are {', '.join(sorted(_FILE_KEYS))}")
    if not isinstance(document.get("dataset"), str):
        raise ChoiceError(f"{path}: 'dataset' must name a layout, such as camvid")
    build, training, testing, grid = (_mapping(document, key, path) for key in ("build", "train", "evaluate", "grid"))
    _known(build, RECIPE_KEYS, path, "build")
    _known(training, SETTING_KEYS, path, "train")
    _known(testing, frozenset({"distances", "test_on"}), path, "evaluate")
    axes = {key: _axis(key, values, path) for key, values in grid.items()}
    if not axes:
        raise ChoiceError(f"{path}: 'grid' names nothing to vary; give strategy: [random, nn], say")
    cells = _cells(axes, build, training, document["dataset"])
    if document.get("clean", False):
        cells = _clean_cells(cells) + cells
    for cell in cells:
        cell_settings(cell)  # what cannot be is said before the first cell is built
    cells.sort(key=lambda cell: cell.seed)  # so that a sweep that is cut short has whole rows of the first seeds
    root = document.get("root")
    test_on = testing.get("test_on")
    if test_on is not None:
        _known(_mapping(testing, "test_on", path), RECIPE_KEYS, path, "evaluate: test_on")
    return Sweep(
        dataset=document["dataset"],
        root=None if root is None else Path(str(root)),
        cells=tuple(cells),
        distances=str(testing.get("distances") or ""),
        test_on=test_on,
        keys=tuple(key for key in axes if key != "seed"),
    )


def _mapping(document: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ChoiceError(f"{path}: '{key}' must be a mapping of names to values")
    return value


def _known(choices: Mapping[str, Any], known: frozenset[str], path: Path, where: str) -> None:
    if unknown := sorted(set(choices) - known):
        raise ChoiceError(f"{path}: {where}: unknown key '{unknown[0]}'; there are {', '.join(sorted(known))}")


def _axis(key: str, values: Any, path: Path) -> list[dict[str, Any]]:
    """Return an axis's points, each a mapping of choices; a point may be a mapping itself (with `name` to show)."""
    if not isinstance(values, list) or not values:
        raise ChoiceError(f"{path}: grid: '{key}' must be a list of values")
    points = [dict(value) if isinstance(value, dict) else {key: value} for value in values]
    for point in points:
        point.setdefault("name", point.get(key))
        _known({k: v for k, v in point.items() if k != "name"}, RECIPE_KEYS | SETTING_KEYS | {"seed"}, path, "grid")
    return points


def _cells(
    axes: Mapping[str, Sequence[Mapping[str, Any]]], build: Mapping[str, Any], training: Mapping[str, Any], dataset: str
) -> list[Cell]:
    cells = []
    for points in itertools.product(*axes.values()):
        choices: dict[str, Any] = {}
        for point in points:
            choices |= {key: value for key, value in point.items() if key != "name"}
        seed = int(choices.pop("seed", 0))
        recipe = {"dataset": dataset, **build, **{k: v for k, v in choices.items() if k in RECIPE_KEYS}}
        recipe = {key: value for key, value in recipe.items() if value is not None}
        if "rate" in choices:
            recipe.pop("count", None)
        shown = {
            key: "none" if point["name"] is None else str(point["name"])
            for key, point in zip(axes, points, strict=True)
            if key != "seed"
        }
        cells.append(Cell(shown, recipe, {**training, **{k: v for k, v in choices.items() if k in SETTING_KEYS}}, seed))
    return cells


def _clean_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return a cell on the clean set for every different way of training among the cells, and every seed."""
    found: dict[str, Cell] = {}
    for cell in cells:
        shown = {
            key: value if key in SETTING_KEYS else ("clean" if key == "strategy" else "none")
            for key, value in cell.shown.items()
        }
        key = json.dumps([cell.training, cell.seed], sort_keys=True, default=str)
        found.setdefault(key, Cell(shown, None, cell.training, cell.seed))
    return list(found.values())


def cell_settings(cell: Cell) -> Settings:
    """Return a cell's training settings; ChoiceError where they are not possible."""
    choices = dict(cell.training)
    preset = choices.pop("preset", None)
    return make_settings({**choices, "seed": cell.seed}, preset)
