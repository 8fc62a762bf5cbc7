"""What a model is tested on: a build, its clean test split, its triggered and negative samples, classes and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from poisongen.datasets.base import Sample
from poisongen.errors import ChoiceError
from poisongen.parallel import job_count
from poisongen.recipe.rules import make_rules
from poisongen.records.inventory import records
from poisongen.records.manifest import FOLDER, MANIFEST, RECIPE, SampleRecord
from poisongen.victim.classes import TrainClasses, train_classes
from poisongen.victim.dataset import (
    Dataset,
    TriggeredSample,
    open_dataset,
    read_own_recipe,
    read_tested,
    victim_pairs,
    without,
)
from poisongen.victim.digests import files_sha256
from poisongen.victim.expected import Wanted, by_file, by_pairs, by_rule
from poisongen.victim.items import CleanSet, Item, triggered_item


@dataclass(frozen=True)
class Target:
    """What a model is tested on: a build, its clean test split, its classes and victim-target pairs (train IDs).

    `victims` are train IDs, too; none of them is in `pairs` where the label rule has no use for targets. `rule` is the
    label rule's name. `wanted` are the labels that the attacker wants, by set (`triggered`, `negative`) and sample.
    """

    folder: Dataset
    clean: CleanSet
    triggered: tuple[TriggeredSample, ...]
    classes: TrainClasses
    victims: tuple[int, ...]
    pairs: Mapping[int, int]
    rule: str = "class"
    negatives: tuple[TriggeredSample, ...] = ()
    wanted: Mapping[str, Mapping[str, Wanted]] = field(default_factory=dict)

    @property
    def named_pairs(self) -> dict[str, str | None]:
        """The victims by name, with their targets where they have one."""
        names, pairs = self.classes.names, self.pairs
        return {names[victim]: names[pairs[victim]] if victim in pairs else None for victim in self.victims}

    def clean_items(self, more: Mapping[str, Mapping[str, Wanted]] | None = None) -> list[Item]:
        """The clean test split as something to score; `more` are wanted labels of further sets."""
        sets = {**self.wanted, **(more or {})}
        return [
            replace(
                self.clean.item(sample),
                wanted={name: wanted[sample.name] for name, wanted in sets.items() if sample.name in wanted},
            )
            for sample in self.clean.samples
        ]

    def triggered_items(self) -> list[Item]:
        """The triggered samples as something to score."""
        return self._items("triggered", self.triggered)

    def negative_items(self) -> list[Item]:
        """The negative samples as something to score."""
        return self._items("negative", self.negatives)

    def _items(self, name: str, samples: tuple[TriggeredSample, ...]) -> list[Item]:
        return [
            replace(
                triggered_item(self.folder, sample, self.classes.from_raw),
                wanted={name: self.wanted[name][sample.name]},
            )
            for sample in samples
        ]


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
    triggered, negatives = map(tuple, read_tested(folder))
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
    for word, those in (("triggered", triggered), ("negative", negatives)):
        for one in those:
            if one.name not in twins:
                raise ChoiceError(f"{source.root}: the {word} sample {one.name} has no clean twin there")
    if clean_root is not None:
        _check_source(folder, source.root)
    named = victim_pairs(recipe)
    victims = tuple(map(classes.index, named))
    pairs = {classes.index(victim): classes.index(target) for victim, target in named.items() if target is not None}
    wanted = {
        "triggered": {
            one.name: by_pairs(pairs) if one.expected is None else by_file(folder, one.expected, classes.from_raw)
            for one in triggered
        },
        "negative": _wanted_of_negatives(folder, negatives, classes, pairs),
    }
    return Target(folder, clean, triggered, classes, victims, pairs, recipe.labels, negatives, wanted)


def _wanted_of_negatives(
    folder: Dataset, negatives: tuple[TriggeredSample, ...], classes: TrainClasses, pairs: Mapping[int, int]
) -> dict[str, Wanted]:
    """Return what the label rule would give for samples that keep their true labels."""
    recipe = folder.recipe
    if not negatives or recipe is None:
        return {}
    if recipe.labels == "class":
        return {one.name: by_pairs(pairs) for one in negatives}
    rules = make_rules(recipe.model_copy(update={"scale": 1.0}), folder.classes)  # they lie in OUT in the written size
    return {
        one.name: by_rule(
            folder.root,
            Sample(recipe.test_split, one.name.removeprefix(f"{recipe.test_split}/"), one.image, one.labels),
            rules,
            one.box,
            classes.from_raw,
        )
        for one in negatives
    }


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
