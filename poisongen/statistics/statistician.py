"""Statistics of a dataset: pixels, samples and neighbours of its classes, and how many samples could be poisoned."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from poisongen.building.complaints import advice_on, check_split, first_of
from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Index, Problem
from poisongen.errors import ChoiceError, DataError
from poisongen.parallel import for_each, job_count
from poisongen.recipe.model import Recipe, read_recipe_file
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, NEGATIVE, RECIPE, TRIGGERED
from poisongen.source.listing import find_root, list_files
from poisongen.source.pairing import pair_files
from poisongen.statistics.asking import Asked, recipe_for, what_to_ask
from poisongen.statistics.reading import CAN, NO_CANDIDATE, Reading, read_sample


@dataclass(frozen=True)
class ClassStats:
    """A class in a split: `pixels` in the label maps of `samples` samples, and the `share` of all that are not void.

    `borders` are the pixels that other classes border on it with, most first (of equals the lowest ID): the first is
    what `--target auto` takes for it. Of the samples, `candidates` can be asked to be poisoned with this class as the
    only victim, and `possible` of them have a place for the trigger; None where that was not asked.
    """

    id: int
    name: str
    void: bool
    pixels: int
    samples: int
    share: float | None
    borders: Mapping[str, int] = field(default_factory=dict)
    candidates: int | None = None
    possible: int | None = None


@dataclass(frozen=True)
class PairStats:
    """Two classes that meet in a split: in how many `samples` both are, and with how many pixels they border."""

    first: str
    second: str
    samples: int
    border: int


@dataclass(frozen=True)
class Possible:
    """How many samples could be poisoned with these victims together: `possible` of `candidates`, and why no more."""

    victims: tuple[str, ...]
    candidates: int
    possible: int
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class SplitStats:
    """The statistics of a split. `sizes` counts its pictures by size ("2048x1024": width and height, upright).

    `left_out` are bad samples, as (sample, file, problem). `together` is None where no victims were named.
    """

    split: str
    samples: int
    pixels: int
    sizes: Mapping[str, int]
    classes: tuple[ClassStats, ...]
    pairs: tuple[PairStats, ...]
    together: Possible | None
    left_out: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class DatasetStats:
    """The statistics of a dataset by split; `strategy` and `trigger_size` say what triggers are to be put where.

    `unknown` tells why nothing is known of samples that could be poisoned; "" if it is. `colours` are the classes' own,
    as RGB, for pictures.
    """

    root: Path
    dataset: str
    strategy: str | None
    trigger_size: int | str | None
    unknown: str
    splits: Mapping[str, SplitStats]
    colours: Mapping[int, tuple[int, int, int]]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        document = asdict(self) | {"root": str(self.root)}
        del document["colours"]
        return document


def stats(
    root: Path | str | None = None,
    recipe: Recipe | Mapping[str, Any] | None = None,
    *,
    splits: Sequence[str] | str = (),
    jobs: int | None = None,
    progress: bool = False,
) -> DatasetStats:
    """Count what a dataset holds, and how many of its samples could be poisoned.

    `recipe` is a Recipe or its choices as a mapping, of which `dataset` alone is needed (and not for a folder that
    build wrote). With victims it says how many samples have a place for the trigger; without, this is told for every
    class as the only victim. A build by the same recipe, with `allow_fewer` and a count that is never reached, poisons
    as many. `splits` are all that have samples unless some are named. Every label map is read once, by
    `jobs` processes (default: all cores), and images where a trigger may be invisible in them; nothing is written.
    PoisongenError says what is wrong; with the recipe's `skip_bad` bad samples are left out, and named.
    """
    given = None if root is None else Path(root)
    own = given is not None and (given / FOLDER / RECIPE).is_file()
    choices = recipe_for(recipe if isinstance(recipe, Recipe) else _with_dataset(recipe or {}, given if own else None))
    layout = find_layout(choices.dataset)
    folder = find_root(layout, given, "ROOT").absolute()  # workers may live in another folder
    left = (FOLDER, TRIGGERED, NEGATIVE) if own else ()
    paths = [file.path for file in list_files(folder) if file.path.split("/")[0] not in left]
    if not paths:
        raise DataError(folder, f"the folder is empty; {layout.how_to_get}")
    classes = layout.classes(folder)
    asked = what_to_ask(choices, layout, classes)
    index = pair_files(layout, folder, paths)
    names = _chosen(index, (splits,) if isinstance(splits, str) else splits, folder)
    samples = {sample.image: sample for name in reversed(names) for sample in index.samples[name]}
    work = functools.partial(read_sample, root=folder, layout=layout, classes=classes, asked=asked.rules)
    read = for_each(work, list(samples.values()), job_count(jobs), "counting" if progress else None)
    found = {reading.sample.image: reading for reading in read}
    problems = [problem for problem in index.problems if problem.split in ("", *names)]
    problems += [one.problem for one in found.values() if one.problem]
    if problems and (not choices.skip_bad or any(problem.traceless for problem in problems)):
        ordered = sorted(problems, key=lambda problem: (problem.path, problem.text))
        raise first_of(ordered, folder, advice_on(ordered, list(samples.values())))
    first = asked.rules[0].recipe if asked.rules else None
    return DatasetStats(
        root=folder if given is None else given,
        dataset=layout.name,
        strategy=None if first is None else first.strategy,
        trigger_size=None if first is None else first.trigger_size,
        unknown=asked.unknown,
        splits={name: _of_split(name, index, found, problems, classes, asked) for name in names},
        colours=classes.colours,
    )


def _with_dataset(choices: Mapping[str, Any], build: Path | None) -> Mapping[str, Any]:
    """Return the choices with the layout that a build knows of itself, if they name none."""
    if choices.get("dataset") is not None:
        return choices
    if build is not None:
        return {**choices, "dataset": read_recipe_file(str(build / FOLDER / RECIPE)).get("dataset")}
    return choices


def _chosen(index: Index, splits: Sequence[str], root: Path) -> list[str]:
    """Return the splits to count: those named, each once, or all that have samples. ChoiceError if there are none."""
    for split in splits:
        check_split(index, split, "--split", root)
    names = list(dict.fromkeys(splits)) or [name for name, samples in sorted(index.samples.items()) if samples]
    if not names:
        if index.problems:
            raise first_of(index.problems, root, "mend it")
        raise ChoiceError(f"ROOT: {root} has no sample with labels")
    return names


def _of_split(
    name: str,
    index: Index,
    found: Mapping[str, Reading],
    problems: Iterable[Problem],
    classes: ClassTable,
    asked: Asked,
) -> SplitStats:
    """Add up what the sound samples of a split told."""
    images = [sample.image for sample in index.samples[name]]
    broken = {problem.sample for problem in problems}
    read = [found[image] for image in images if not found[image].problem and found[image].sample.name not in broken]
    mine = {found[image].sample.name for image in images}
    left_out = [
        (problem.sample, problem.path, problem.text)
        for problem in problems
        if problem.sample in mine or problem.split == name
    ]
    pixels, samples, borders, together = (Counter[Any]() for _ in range(4))
    for one in read:
        pixels.update(one.classes)
        samples.update(one.classes.keys())
        borders.update(one.borders)
        there = sorted(one.classes)
        together.update((first, second) for at, first in enumerate(there) for second in there[at + 1 :])
    answers = [_possible(rules, [one.answers[at] for one in read]) for at, rules in enumerate(asked.rules)]
    by_class = {rules.victims[0]: answer for rules, answer in zip(asked.rules, answers, strict=True) if asked.each}
    trained = sum(number for key, number in pixels.items() if key not in classes.void)
    return SplitStats(
        split=name,
        samples=len(read),
        pixels=sum(pixels.values()),
        sizes=dict(Counter(f"{one.width}x{one.height}" for one in read).most_common()),
        classes=tuple(
            ClassStats(
                id=number,
                name=classes.lookup(number),
                void=number in classes.void,
                pixels=pixels[number],
                samples=samples[number],
                share=None if number in classes.void or not trained else pixels[number] / trained,
                borders=_neighbours(number, borders, classes),
                candidates=by_class[number].candidates if number in by_class else None,
                possible=by_class[number].possible if number in by_class else None,
            )
            for number in sorted(classes.names)
        ),
        pairs=tuple(
            PairStats(classes.lookup(one), classes.lookup(other), together[one, other], borders[one, other])
            for one, other in sorted(together)
        ),
        together=None if asked.each or not answers else answers[0],
        left_out=tuple(left_out),
    )


def _neighbours(number: int, borders: Mapping[tuple[int, int], int], classes: ClassTable) -> dict[str, int]:
    """Return the pixels that other classes border on one with, most first, of equals the lowest ID."""
    beside = {sum(pair) - number: pixels for pair, pixels in borders.items() if number in pair}
    ranked = sorted(beside, key=lambda other: (-beside[other], other))
    return {classes.lookup(other): beside[other] for other in ranked}


def _possible(rules: Rules, answers: Sequence[str]) -> Possible:
    """Count the answers of all samples for one choice of victims."""
    tally = Counter(answers)
    reasons = {reason: tally[reason] for reason in sorted(tally) if reason not in (CAN, NO_CANDIDATE)}
    victims = tuple(rules.classes.lookup(number) for number in rules.victims)
    return Possible(victims, len(answers) - tally[NO_CANDIDATE], tally[CAN], reasons)
