"""The plan: which samples are poisoned, triggered, relabelled at random, completed, passed over or left alone."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from poisongen.building.complaints import advice_on, check_disjoint, check_split, first_of, too_few
from poisongen.building.sample import Task, place_sample
from poisongen.building.survey import Surveyed, survey
from poisongen.core.draws import draw_order, keyed_generator
from poisongen.datasets.base import Index, LabelFile, Layout, Problem, Sample
from poisongen.errors import ChoiceError, DataError
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, TRIGGERED, Role
from poisongen.source.label_like import label_like
from poisongen.source.listing import SourceFile
from poisongen.source.pairing import pair_files


@dataclass(frozen=True)
class Link:
    """A file of OUT that is the source's own: `path` in OUT, `source` below the root."""

    path: str
    source: str
    size: int
    pixels_sha256: str | None = None


@dataclass(frozen=True)
class ClassFacts:
    """A class of the training split: raw ID, name, and in how many pixels of how many samples it is."""

    id: int
    name: str
    pixels: int
    samples: int


@dataclass(frozen=True)
class Plan:
    """Everything that build is going to do, in its order.

    `skipped` are the lines of skipped.jsonl; `made` are small files that build makes itself, by path in OUT;
    `counts` tells how many samples the splits hold and what becomes of them. `pairs` are victims with their targets;
    `label_like` the files that look like labels of changed samples and stay as they are.
    """

    tasks: tuple[Task, ...]
    skipped: tuple[Mapping[str, Any], ...]
    links: tuple[Link, ...]
    made: Mapping[str, bytes]
    counts: Mapping[str, int]
    bytes_written: int
    pairs: tuple[tuple[ClassFacts, ClassFacts], ...]
    label_like: tuple[str, ...]

    @property
    def bytes_linked(self) -> int:
        """The size of all linked files: what they take where nothing can be linked."""
        return sum(link.size for link in self.links)

    def reasons(self) -> dict[str, int]:
        """Return how many samples were passed over for which reason."""
        return dict(sorted(Counter(skip["reason"] for skip in self.skipped).items()))


def _pairs(
    rules: Rules, train: Sequence[Sample], found: Mapping[str, Surveyed]
) -> tuple[tuple[ClassFacts, ClassFacts], ...]:
    """Return each victim and its target with what the training split holds of them."""
    pixels: Counter[int] = Counter()
    samples: Counter[int] = Counter()
    for sample in train:
        if sample.image in found:
            pixels.update(found[sample.image].classes)
            samples.update(found[sample.image].classes.keys())

    def facts(number: int) -> ClassFacts:
        return ClassFacts(number, rules.classes.lookup(number), pixels[number], samples[number])

    return tuple((facts(victim), facts(target)) for victim, target in rules.pairs.items())


def _label_like(paths: Sequence[str], index: Index, tasks: Sequence[Task], root: Path) -> tuple[str, ...]:
    """Return the label-like files of the samples whose labels are changed."""

    def read(path: str, most: int) -> bytes | None:
        try:
            with (root / path).open("rb") as file:
                return file.read(most)
        except OSError:
            return None

    changed = [task.sample.name for task in tasks if task.role in ("poisoned", "prl")]
    return tuple(label_like(paths, index, changed, read))


def wanted_count(rules: Rules, samples: int) -> int:
    """Return how many samples to poison: the count, or the rate of all samples, rounded half up.

    10 % of Cityscapes' 2,975 are 298, the official configuration's number.
    """
    if rules.recipe.count is not None:
        wanted = rules.recipe.count
        if wanted > samples and not rules.recipe.allow_fewer:
            raise ChoiceError(f"--count {wanted}: the split '{rules.recipe.train_split}' has {samples} samples")
        return wanted
    exact = Decimal(repr(rules.recipe.rate or 0.0)) * samples  # 0.29 of 50 are 14.5, not 14.499999
    wanted = int(exact.to_integral_value(ROUND_HALF_UP))
    if wanted == 0:
        raise ChoiceError(f"--rate {rules.recipe.rate:g} of {samples} samples is none; give a higher one, or --count")
    return wanted


def drawn_order(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return a split's samples, sorted by name and then put in an order drawn from the seed alone.

    Every poisoning rate takes candidates from the front, so that the sets are nested.
    """
    by_name = sorted(samples, key=lambda sample: sample.name)
    return [by_name[index] for index in draw_order(len(by_name), keyed_generator(seed, "candidates"))]


def candidates(ordered: Sequence[Sample], found: Mapping[str, Surveyed], rules: Rules) -> list[Sample]:
    """Return the sound samples with enough victim pixels, in their order."""
    needed = rules.recipe.min_victim_pixels
    return [sample for sample in ordered if sample.image in found and found[sample.image].victim_pixels >= needed]


def _skip(sample: Sample, role: str, reason: str) -> dict[str, Any]:
    return {"sample": sample.name, "split": sample.split, "role": role, "reason": reason}


class _Placer:
    """Places triggers in many samples at once, keeping note of those that have no place."""

    def __init__(
        self, root: Path, rules: Rules, layout: Layout, found: Mapping[str, Surveyed], jobs: int, progress: bool
    ) -> None:
        self._root, self._rules, self._layout, self._jobs, self._progress = root, rules, layout, jobs, progress
        self._known = {(facts.role, facts.sample.name): facts.placement for facts in found.values() if facts.placement}
        self.skipped: list[dict[str, Any]] = []

    def place(self, samples: Sequence[Sample], role: Role, prefix: str) -> list[Task]:
        """Return a task for every sample that has an eligible position; most were placed in the survey."""
        work = functools.partial(place_sample, role=role, root=self._root, rules=self._rules)
        places = {sample.name: place for sample in samples if (place := self._known.get((role, sample.name)))}
        rest = [sample for sample in samples if sample.name not in places]
        late = for_each(work, rest, self._jobs, f"placing ({role})" if self._progress else None)
        places |= {sample.name: place for sample, place in zip(rest, late, strict=True)}
        tasks = []
        for sample in samples:
            placement = places[sample.name]
            if isinstance(placement, str):
                self.skipped.append(_skip(sample, role, placement))
            else:
                tasks.append(Task(sample, role, prefix, placement, completions(sample, self._rules, self._layout)))
        return tasks

    def place_until(self, samples: Sequence[Sample], wanted: int) -> list[Task]:
        """Take samples from the front until `wanted` of them have a trigger or none is left."""
        tasks: list[Task] = []
        taken = 0
        while len(tasks) < wanted and taken < len(samples):
            batch = samples[taken : taken + wanted - len(tasks)]
            taken += len(batch)
            tasks += self.place(batch, "poisoned", "")
        return tasks


def completions(sample: Sample, rules: Rules, layout: Layout) -> tuple[LabelFile, ...]:
    """Return the label files that build writes for a sample because the source has none."""
    return layout.completions(sample) if rules.recipe.train_ids == "auto" else ()


def _poisoned_tasks(
    samples: Sequence[Sample],
    ordered: Sequence[Sample],
    found: Mapping[str, Surveyed],
    problems: Sequence[Problem],
    wanted: int,
    rules: Rules,
    placer: _Placer,
) -> list[Task]:
    """Place triggers in as many training samples as the recipe asks for; ChoiceError if so many there are not."""
    recipe = rules.recipe
    tasks = placer.place_until(ordered, wanted)
    if len(tasks) < wanted and not (recipe.allow_fewer and tasks):
        reasons = Counter(skip["reason"] for skip in placer.skipped)
        raise too_few(samples, len(ordered), wanted, len(tasks), reasons, found, problems, rules)
    return tasks


def _other_tasks(
    poisoned: Sequence[Task], train: Sequence[Sample], found: Mapping[str, Surveyed], rules: Rules, layout: Layout
) -> list[Task]:
    """Return the tasks of untriggered samples: random labels for the rest of training, completions, scaling."""
    done = {task.sample.image for task in poisoned}
    in_training = {sample.image: sample for sample in train}
    everywhere = rules.prl is not None and rules.prl.scope == "all"
    tasks = []
    for image, surveyed in found.items():
        if image in done:
            continue
        sample = in_training.get(image, surveyed.sample)
        missing = completions(sample, rules, layout)
        if everywhere and image in in_training:
            tasks.append(Task(sample, "prl", "", None, missing, surveyed.image_sha256))
        elif missing or rules.recipe.scale != 1:
            tasks.append(Task(sample, "completed", "", None, missing, surveyed.image_sha256))
    return tasks


def make_plan(layout: Layout, root: Path, files: Sequence[SourceFile], rules: Rules, jobs: int, progress: bool) -> Plan:
    """Read every label once, choose samples and places, and return the plan. Nothing is written.

    DataError for the first bad file, if the recipe does not skip them; ChoiceError where splits, victims or
    eligible positions are missing.
    """
    recipe = rules.recipe
    paths = [file.path for file in files]
    for path in paths:
        if path.split("/")[0] in (FOLDER, TRIGGERED):
            raise DataError(root / path, "the source is itself something that poisongen wrote; give the clean dataset")
    index = pair_files(layout, root, paths)
    check_split(index, recipe.train_split, "--train-split", root)
    train = index.samples[recipe.train_split]
    order, wanted = drawn_order(train, recipe.seed), wanted_count(rules, len(train))
    # Whoever stands among the first `wanted` of all samples, stands there among the candidates, if it is one.
    roles: dict[str, dict[str, Role]] = {recipe.train_split: {sample.name: "poisoned" for sample in order[:wanted]}}
    if recipe.test_split != "none":
        check_split(index, recipe.test_split, "--test-split", root)
        check_disjoint(index, recipe)
        roles.setdefault(recipe.test_split, {sample.name: "triggered" for sample in index.samples[recipe.test_split]})
    surveyed, problems = survey(index, root, rules, roles, jobs, progress)
    if problems and (not recipe.skip_bad or any(problem.traceless for problem in problems)):
        raise first_of(problems, root, advice_on(problems, train))
    bad_samples = {problem.sample for problem in problems}
    found = {image: facts for image, facts in surveyed.items() if facts.sample.name not in bad_samples}
    ordered = candidates(order, found, rules)
    placer = _Placer(root, rules, layout, found, jobs, progress)
    poisoned = _poisoned_tasks(train, ordered, found, problems, wanted, rules, placer)
    test = index.samples[recipe.test_split] if recipe.test_split != "none" else ()
    with_victim = [sample for sample in test if sample.image in found and found[sample.image].victim_pixels]
    triggered = placer.place(with_victim, "triggered", f"{TRIGGERED}/")
    others = _other_tasks(poisoned, train, found, rules, layout)
    tasks = sorted((*poisoned, *triggered, *others), key=lambda task: (task.sample.name, task.role))
    made = layout.split_files(recipe.test_split, paths, [task.sample for task in triggered]) if triggered else {}
    bad = [
        {"sample": problem.sample, "split": problem.split, "reason": "bad file", "file": problem.path}
        | {"problem": problem.text}
        for problem in problems
    ]
    skipped = sorted(
        (*placer.skipped, *bad), key=lambda skip: (skip["sample"], skip.get("role", ""), skip.get("file", ""))
    )
    tally = Counter(task.role for task in tasks)
    like = _label_like(paths, index, tasks, root)
    sizes = {file.path: file.size for file in files}
    return Plan(
        tasks=tuple(tasks),
        skipped=tuple(skipped),
        links=_links(tasks, files, surveyed, found, recipe.scale) + _shared_links(layout, files, bool(triggered)),
        made={f"{TRIGGERED}/{path}": data for path, data in sorted(made.items())},
        counts={
            "train_samples": len(train),
            "train_candidates": len(ordered),
            "test_samples": len(test),
            "test_with_victim": len(with_victim),
            **{role: tally[role] for role in ("poisoned", "prl", "triggered", "completed")},
            "skipped": len(skipped),
            "label_like": len(like),
        },
        bytes_written=sum(_estimate(task, sizes, rules) for task in tasks),
        pairs=_pairs(rules, train, found),
        label_like=like,
    )


def _links(
    tasks: Sequence[Task],
    files: Sequence[SourceFile],
    surveyed: Mapping[str, Surveyed],
    found: Mapping[str, Surveyed],
    scale: float,
) -> tuple[Link, ...]:
    """Return every file that OUT takes from the source as it is, less those of the tasks' own samples.

    Bad samples stay as they are in the source, except in a scaled dataset, where they would have the wrong size.
    """
    taken = {path for task in tasks if not task.prefix for path in task.sample.paths}
    if scale != 1:
        taken |= {path for image, facts in surveyed.items() if image not in found for path in facts.sample.paths}
    digests = {path: digest for facts in surveyed.values() for path, digest in facts.digests.items()}
    return tuple(
        Link(file.path, file.path, file.size, digests.get(file.path)) for file in files if file.path not in taken
    )


def _shared_links(layout: Layout, files: Sequence[SourceFile], triggered: bool) -> tuple[Link, ...]:
    """Return the links for files of the root that the triggered set needs as well: a class table, say."""
    shared = [file for file in files if file.path in layout.shared] if triggered else []
    return tuple(Link(f"{TRIGGERED}/{file.path}", file.path, file.size) for file in shared)


def _estimate(task: Task, sizes: Mapping[str, int], rules: Rules) -> int:
    """Return about how many bytes a task writes: changed files are about as large as the source's."""
    area = rules.recipe.scale**2
    labels = sum(sizes[label.path] for label in task.sample.labels)
    written = sizes[task.sample.image] if task.placement is not None or area != 1 else 0
    if task.role in ("poisoned", "prl") or area != 1:
        written += labels
    if task.completions:
        written += min(sizes[label.path] for label in task.sample.labels)
    return int(written * area)
