"""From a sweep file to its cells: every combination of the grid, and the clean models beside them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poisongen.errors import ChoiceError
from poisongen.files.documents import read_document
from poisongen.recipe.model import Recipe
from poisongen.victim.distances import Bounds, read_distances
from poisongen.victim.settings import Settings, make_settings
from poisongen.victim.sweep_grid import Point, axis_points

RECIPE_KEYS = frozenset(Recipe.model_fields) - {"version", "dataset", "seed"}
SETTING_KEYS = frozenset(Settings.model_fields) - {"seed"} | {"preset"}
TRAINED_ON = "trained on"
"""The table's column that tells clean models from poisoned ones where no axis does."""

_FILE_KEYS = frozenset({"dataset", "root", "build", "train", "evaluate", "clean", "grid"})
_EXCLUSIVE = (({"rate"}, {"count"}), ({"relabel"}, {"victim", "target"}))


@dataclass(frozen=True)
class Cell:
    """One model to train and test: the grid's choices by key (for the table), the recipe's and the run's settings.

    `recipe` is None for a model trained on the clean set. `key` is a digest of all that determines the trained model,
    content included (`sweep_key` fills it in); `label` tells the cells of one sweep apart.
    """

    shown: Mapping[str, str]
    recipe: Mapping[str, Any] | None
    training: Mapping[str, Any]
    seed: int
    key: str = ""

    @property
    def label(self) -> str:
        """A folder's name: the choices in words, and a digest of everything that matters."""
        words = "-".join("".join(c for c in str(value) if c.isalnum() or c in ".+") for value in self.shown.values())
        digest = self.key or hashlib.sha256(f"{self.row}{self.seed}".encode()).hexdigest()
        return f"{words.lstrip('.')[:80]}-s{self.seed}-{digest[:12]}"

    @property
    def row(self) -> str:
        """What cells of one row of the table have in common: everything but the seed."""
        return json.dumps([self.recipe, self.training], sort_keys=True, default=str)

    @property
    def words(self) -> str:
        """The choices as a user reads them."""
        return ", ".join([*(f"{key}={value}" for key, value in self.shown.items()), f"seed={self.seed}"])


@dataclass(frozen=True)
class Sweep:
    """A sweep file: where the clean dataset is, and the cells. `test_on` are choices of the common test build."""

    dataset: str
    root: Path | None
    cells: tuple[Cell, ...]
    distances: tuple[Bounds, ...] = ()
    test_on: Mapping[str, Any] | None = None
    keys: tuple[str, ...] = field(default=())


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file; ChoiceError or DataError names what in it is wrong."""
    document = read_document(path)
    if not isinstance(document, dict):
        raise ChoiceError(f"{path}: a sweep is a mapping with dataset, grid, build, train and evaluate")
    if unknown := sorted(str(key) for key in set(document) - _FILE_KEYS):
        raise ChoiceError(f"{path}: unknown key '{unknown[0]}'; there are {', '.join(sorted(_FILE_KEYS))}")
    root, clean = document.get("root"), document.get("clean", False)
    if not isinstance(document.get("dataset"), str):
        raise ChoiceError(f"{path}: 'dataset' must name a layout, such as camvid")
    if not isinstance(root, str | None):
        raise ChoiceError(f"{path}: 'root' must be a folder's name, not {root!r}")
    if not isinstance(clean, bool):
        raise ChoiceError(f"{path}: 'clean' must be true or false, not {clean!r}")
    build, training, testing, grid = (_mapping(document, key, path) for key in ("build", "train", "evaluate", "grid"))
    _known(build, RECIPE_KEYS, path, "build")
    _known(training, SETTING_KEYS, path, "train")
    _known(testing, frozenset({"distances", "test_on"}), path, "evaluate")
    test_on = testing.get("test_on")
    if test_on is not None:
        _known(_mapping(testing, "test_on", path), RECIPE_KEYS, path, "evaluate: test_on")
    axes = {key: axis_points(key, values, path) for key, values in grid.items()}
    for points in axes.values():
        for point in points:
            _known(point.choices, RECIPE_KEYS | SETTING_KEYS | {"seed"}, path, "grid")
    if not axes:
        raise ChoiceError(f"{path}: 'grid' names nothing to vary; give strategy: [random, nn], say")
    keys = [key for key in axes if key != "seed"]
    if clean and not _is_recipe_axis(axes.get("strategy", ())):
        keys.append(TRAINED_ON)
    cells = _cells(axes, build, training, document["dataset"], clean, path)
    for cell in cells:
        cell_settings(cell)  # what cannot be is said before the first cell is built
    cells.sort(key=lambda cell: cell.seed)  # so that a sweep that is cut short has whole rows of the first seeds
    return Sweep(
        dataset=document["dataset"],
        root=None if root is None else Path(root),
        cells=tuple(cells),
        distances=tuple(read_distances(testing.get("distances"))),
        test_on=test_on,
        keys=tuple(keys),
    )


def _mapping(document: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = document.get(key)
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ChoiceError(f"{path}: '{key}' must be a mapping of names to values")
    return value


def _known(choices: Mapping[str, Any], known: frozenset[str], path: Path, where: str) -> None:
    if unknown := sorted(set(choices) - known):
        raise ChoiceError(f"{path}: {where}: unknown key '{unknown[0]}'; there are {', '.join(sorted(known))}")


def _is_recipe_axis(points: Sequence[Point]) -> bool:
    """Tell whether an axis varies builds alone: a clean model has no place on it."""
    return bool(points) and not any(SETTING_KEYS & set(point.choices) for point in points)


def _recipe(dataset: str, build: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell's recipe: the grid's choices over what all cells share, with what excludes them left out."""
    own = {key: value for key, value in choices.items() if key in RECIPE_KEYS}
    return choices_over({"dataset": dataset, **build}, own)


def choices_over(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's choices: `own` over `shared`, with what they exclude, and what is none, left out."""
    kept = dict(shared)
    for one, other in _EXCLUSIVE:
        for given, replaced in ((one, other), (other, one)):
            if given & own.keys():
                kept = {key: value for key, value in kept.items() if key not in replaced}
    return {key: value for key, value in {**kept, **own}.items() if value is not None}


def _choices(axes: Mapping[str, Sequence[Point]], points: Sequence[Point], path: Path) -> dict[str, Any]:
    """Return all choices of a combination; ChoiceError where two axes make the same one."""
    choices: dict[str, Any] = {}
    owner: dict[str, str] = {}
    for axis, point in zip(axes, points, strict=True):
        for key, value in point.choices.items():
            if key in owner:
                raise ChoiceError(
                    f"{path}: grid: '{key}' is set by '{owner[key]}' and by '{axis}'; let one of them do it"
                )
            owner[key], choices[key] = axis, value
    return choices


def _cells(
    axes: Mapping[str, Sequence[Point]],
    build: Mapping[str, Any],
    training: Mapping[str, Any],
    dataset: str,
    clean: bool,
    path: Path,
) -> list[Cell]:
    """Return the grid's cells and, with `clean`, before them one on the clean set for each way of training and seed."""
    cells: list[Cell] = []
    spared: dict[str, Cell] = {}
    for points in itertools.product(*axes.values()):
        choices = _choices(axes, points, path)
        seed = choices.pop("seed", 0)
        recipe = _recipe(dataset, build, choices)
        settings = {**training, **{key: value for key, value in choices.items() if key in SETTING_KEYS}}
        if "train_split" in recipe:
            settings.setdefault("train_split", recipe["train_split"])
        named = {axis: point.name for axis, point in zip(axes, points, strict=True) if axis != "seed"}
        told = clean and not _is_recipe_axis(axes.get("strategy", ()))
        cells.append(Cell(named | ({TRAINED_ON: "poisoned"} if told else {}), recipe, settings, seed))
        if clean:
            unbuilt = {
                axis: ("clean" if axis == "strategy" else "none") if _is_recipe_axis(axes[axis]) else name
                for axis, name in named.items()
            } | ({TRAINED_ON: "clean"} if told else {})
            cell = Cell(unbuilt, None, settings, seed)
            spared.setdefault(f"{cell.row}{seed}", cell)
    return [*spared.values(), *cells]


def cell_settings(cell: Cell) -> Settings:
    """Return a cell's training settings; ChoiceError where they are not possible."""
    choices = dict(cell.training)
    preset = choices.pop("preset", None)
    return make_settings({**choices, "seed": cell.seed}, preset)
