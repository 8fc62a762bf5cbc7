"""What a model is tested on: a build, its clean test split, its triggered samples, classes and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from poisongen.errors import ChoiceError
from poisongen.parallel import job_count
from poisongen.records.inventory import records
from poisongen.records.manifest import FOLDER, MANIFEST, RECIPE, SampleRecord
from poisongen.victim.classes import TrainClasses, train_classes
from poisongen.victim.dataset import (
    Dataset,
    TriggeredSample,
    open_dataset,
    read_own_recipe,
    read_triggered,
    victim_pairs,
    without,
)
from poisongen.victim.digests import files_sha256
from poisongen.victim.items import CleanSet, Item, triggered_item


@dataclass(frozen=True)
class Target:
    """What a model is tested on: a build, its clean test split, its classes and victim-target pairs (train IDs)."""

    folder: Dataset
    clean: CleanSet
    triggered: tuple[TriggeredSample, ...]
    classes: TrainClasses
    pairs: Mapping[int, int]

    @property
    def named_pairs(self) -> dict[str, str]:
        """The pairs by name."""
        return {self.classes.names[victim]: self.classes.names[target] for victim, target in self.pairs.items()}

    def clean_items(self) -> list[Item]:
        """The clean test split as something to score."""
        return [self.clean.item(sample) for sample in self.clean.samples]

    def triggered_items(self) -> list[Item]:
        """The triggered samples as something to score."""
        return [triggered_item(self.folder, sample, self.classes.from_raw) for sample in self.triggered]


def open_target(data: Path, clean_root: Path | None = None) -> Target:
    """Open a build and its clean test split (its own, or that of `clean_root`, scaled as the build was).

    ChoiceError if there is no manifest, no triggered sample, no such split, or a triggered sample lacks its clean twin.
    """
    if read_own_recipe(data) is None:
        raise ChoiceError(
            f"--data: {data} has no {FOLDER}/{RECIPE}, so nothing says where triggers are; give the folder that "
            "poisongen build wrote"
        )
    folder = open_dataset(data)
    triggered = tuple(read_triggered(folder))
    recipe = folder.recipe
    assert recipe is not None  # noqa: S101  read_triggered has seen to it
    source = folder if clean_root is None else open_dataset(clean_root, recipe.dataset)
    classes = train_classes(folder.classes)
    if train_classes(source.classes) != classes:
        raise ChoiceError(f"--clean: {source.root} has other classes than {data}")
    samples = source.samples(recipe.test_split, "--clean" if clean_root else "--data")
    samples = without(samples, folder.broken, source.splits)  # what build left alone in the source, too
    clean = CleanSet(source, samples, recipe.scale if clean_root else 1.0, classes.from_raw)
    twins = {sample.name for sample in samples}
    for sample in triggered:
        if sample.name not in twins:
            raise ChoiceError(f"{source.root}: the triggered sample {sample.name} has no clean twin there")
    if clean_root is not None:
        _check_source(folder, source.root)
    pairs = {classes.index(victim): classes.index(target) for victim, target in victim_pairs(recipe).items()}
    return Target(folder, clean, triggered, classes, pairs)


def _check_source(folder: Dataset, root: Path) -> None:
    """ChoiceError unless a clean dataset has the very files that the triggered samples were made from."""
    wanted = {
        file.source: (record.sample, file.source_sha256)
        for record in records(folder.root / FOLDER / MANIFEST, SampleRecord)
        if record.role == "triggered"
        for file in record.files
        if file.source and file.source_sha256
    }
    digests = files_sha256(root, list(wanted), job_count(None), progress=False)
    for (source, (sample, known)), digest in zip(wanted.items(), digests, strict=True):
        if digest != known:
            raise ChoiceError(
                f"--clean: {root / source} is not the file that the build's {sample} was made from; give the dataset "
                "that it was built from, or leave --clean out"
            )
