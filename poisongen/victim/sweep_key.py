"""What determines a cell's model and its figures, content included: the keys under which both are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from poisongen.datasets import find_layout
from poisongen.errors import ChoiceError, DataError, PoisongenError
from poisongen.printing import number_of
from poisongen.recipe.model import Recipe, make_recipe
from poisongen.recipe.rules import make_rules
from poisongen.recipe.settling import settle
from poisongen.records.algorithms import ALGORITHM
from poisongen.source.listing import SourceFile, find_root, list_files
from poisongen.victim.digests import file_sha256, files_sha256
from poisongen.victim.distances import require_distances
from poisongen.victim.settings import Settings
from poisongen.victim.sweep_plan import Cell, Sweep, cell_settings, choices_over

FIGURES = 1
"""Grows whenever the same cell would come out with other figures than before: training, placement or measures."""

_PICTURES = (".png", ".jpg", ".jpeg")
_PLACEMENT = ("strategy", "pick", "at", "min_distance", "max_distance", "prl", "negatives")
"""What the common test build does not take from a cell: where triggers lie, and what is done to training alone."""


@dataclass(frozen=True)
class Content:
    """The clean dataset when the sweep began: its files, a digest of what is read of it, the sizes of its splits."""

    root: Path
    files: tuple[SourceFile, ...]
    digest: str
    splits: Mapping[str, int]

    def check(self) -> None:
        """DataError if the dataset has changed since."""
        if tuple(list_files(self.root)) != self.files:
            raise DataError(self.root, "the dataset has changed since this sweep began; start the sweep again")


def read_content(dataset: str, root: Path | None, jobs: int, progress: bool) -> Content:
    """Digest every file of a dataset that can matter: samples, lists and class tables; of other pictures the name."""
    layout = find_layout(dataset)
    found = find_root(layout, root)
    files = list_files(found)
    if not files:
        raise DataError(found, f"the folder is empty; {layout.how_to_get}")
    index = layout.scan(found, [file.path for file in files])
    layout.classes(found)
    used = {path for samples in index.samples.values() for sample in samples for path in sample.paths}
    used |= {file.path for file in files if not file.path.lower().endswith(_PICTURES)}
    read = [file.path for file in files if file.path in used]
    digests = dict(zip(read, files_sha256(found, read, jobs, progress), strict=True))
    lines = "".join(f"{file.path}\0{file.size}\0{digests.get(file.path, '')}\n" for file in files)
    splits = {name: len(samples) for name, samples in index.samples.items()}
    return Content(found, tuple(files), hashlib.sha256(lines.encode()).hexdigest(), splits)


@dataclass(frozen=True)
class Job:
    """A cell with everything looked up: the builds that it takes, its settings, and the two keys.

    `own` is the build that it is trained on, None for the clean set; `common` the one that it is tested on (its own,
    where no other is asked for). `trained_by` and `figured_by` are what the keys of model and figures are digests of.
    """

    cell: Cell
    settings: Settings
    own: Recipe | None
    common: Recipe
    trained_by: Mapping[str, Any]
    figured_by: Mapping[str, Any]


def make_jobs(sweep: Sweep, content: Content) -> list[Job]:
    """Look up every cell's choices before the first one is begun; ChoiceError names the cell that is not possible."""
    jobs: list[Job] = []
    known: dict[str, Cell] = {}
    for cell in sweep.cells:
        try:
            job = _make_job(sweep, cell, content)
        except PoisongenError as error:
            raise ChoiceError(f"{cell.words}: {error}") from None
        if (twin := known.setdefault(job.cell.key, cell)) is not cell:
            raise ChoiceError(f"grid: {twin.words} and {cell.words} are one and the same")
        jobs.append(job)
    return jobs


def digest_of(facts: Mapping[str, Any]) -> str:
    """Return the key of facts: the SHA-256 of their canonical JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _make_job(sweep: Sweep, cell: Cell, content: Content) -> Job:
    settings = cell_settings(cell)
    own = None if cell.recipe is None else _settled(cell.recipe, cell.seed, content)
    base = cell.recipe or next(other.recipe for other in sweep.cells if other.recipe is not None)
    try:
        common = _settled(_tested_on(base, sweep.test_on), cell.seed, content)
    except PoisongenError as error:
        where = "" if sweep.test_on is None else "evaluate: test_on: "
        raise ChoiceError(f"{where}{error}") from None
    if sweep.distances:
        require_distances(common)
    _check_training(settings, content)
    training = json.loads(json.dumps(settings.as_data()))  # as it is read again
    if settings.weights not in ("none", "imagenet"):
        training["weights"] = _weights_sha256(settings.weights)
    trained_by = {
        "algorithm": [ALGORITHM, FIGURES],
        "data": content.digest,
        "recipe": None if own is None else own.fingerprint(),
        "training": training,
    }
    distances = [f"{low:g}-{high:g}" for low, high in sweep.distances]
    figured_by = {**trained_by, "tested_on": common.fingerprint(), "distances": distances}
    return Job(replace(cell, key=digest_of(trained_by)), settings, own, common, trained_by, figured_by)


def _tested_on(base: Mapping[str, Any], test_on: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the recipe of the build that a cell is tested on beside its own."""
    if test_on is None:
        return dict(base)
    kept = {key: value for key, value in base.items() if key not in _PLACEMENT}
    return choices_over(kept, test_on)


def _settled(choices: Mapping[str, Any], seed: int, content: Content) -> Recipe:
    """Return a recipe with defaults and the trigger's bytes filled in; ChoiceError if the dataset has no such thing."""
    recipe = make_recipe({**choices, "seed": seed})
    layout = find_layout(recipe.dataset)
    classes = layout.classes(content.root)
    settled = settle(recipe, layout, classes)
    make_rules(settled, classes)
    if settled.test_split == "none":
        raise ChoiceError("test_split: none leaves nothing to test on")
    for option, split in (("train_split", settled.train_split), ("test_split", settled.test_split)):
        _check_split(option, split, content)
    return settled


def _check_split(option: str, split: str, content: Content) -> int:
    """Return a split's number of samples; ChoiceError if it has none."""
    if not content.splits.get(split):
        known = ", ".join(sorted(name for name, count in content.splits.items() if count)) or "none with labels"
        raise ChoiceError(f"{option}: {content.root} has no split '{split}'; it has {known}")
    return content.splits[split]


def _check_training(settings: Settings, content: Content) -> None:
    """ChoiceError where a training run would be refused at once."""
    count = _check_split("train_split", settings.train_split, content)
    if settings.batch > count:
        raise ChoiceError(
            f"batch {settings.batch}: the split '{settings.train_split}' has {number_of(count, 'picture')}; "
            "give no more"
        )
    if settings.batch % settings.accumulate:
        raise ChoiceError(
            f"accumulate {settings.accumulate}: the {settings.batch} pictures of a batch do not divide into so many "
            "equal parts"
        )


def _weights_sha256(path: str) -> str:
    """Return the digest of a file of weights; ChoiceError if there is none."""
    if not Path(path).is_file():
        raise ChoiceError(f"weights: {path} is neither a file nor one of imagenet and none")
    return file_sha256(Path(path))


def check_weights(jobs: Sequence[Job]) -> None:
    """DataError if a file of weights is not what it was when the sweep began."""
    for path, digest in {job.settings.weights: job.trained_by["training"]["weights"] for job in jobs}.items():
        if path != digest and _weights_sha256(path) != digest:
            raise DataError(path, "the weights have changed since this sweep began; start the sweep again")
