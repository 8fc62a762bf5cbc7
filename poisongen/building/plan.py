"""The plan: which samples are poisoned, triggered, relabelled at random, completed, passed over or left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.building.complaints import advice_on, check_disjoint, check_split, first_of
from poisongen.building.early import Early, untriggered_task
from poisongen.building.laying_out import Link, lay_out
from poisongen.building.placer import Placer, negative_tasks, poisoned_tasks
from poisongen.building.remembering import Remembering, remembering
from poisongen.building.sample import Task
from poisongen.building.selection import (
    Pairs,
    candidates,
    drawn_order,
    may_be_negative,
    pairs_of,
    wanted_count,
    wanted_negatives,
    with_victims,
)
from poisongen.building.survey import survey
from poisongen.building.surveyed import Surveyed
from poisongen.building.tables import TableTask
from poisongen.datasets.base import Index, Layout, Problem, Sample
from poisongen.errors import DataError
from poisongen.recipe.model import Recipe
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, NEGATIVE, TRIGGERED, Role
from poisongen.source.listing import SourceFile
from poisongen.source.pairing import pair_files


@dataclass(frozen=True)
class Plan:
    """Everything that build is going to do, in its order.

    `skipped` are the lines of skipped.jsonl; `made` are small files that build makes itself, by path in OUT;
    `counts` tells how many samples the splits hold and what becomes of them. `pairs` are victims with their targets;
    `label_like` the files that look like labels of changed samples and that nothing rewrites, `left_out` those of them
    that OUT does not get; `tables` are the tables of label files that are written anew. `undigested` are samples that
    OUT takes as they are and whose labels' digests the survey did not take.
    """

    tasks: tuple[Task, ...]
    skipped: tuple[Mapping[str, Any], ...]
    links: tuple[Link, ...]
    made: Mapping[str, bytes]
    counts: Mapping[str, int]
    bytes_written: int
    pairs: Pairs
    label_like: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    tables: tuple[TableTask, ...] = ()
    undigested: tuple[Sample, ...] = ()

    @property
    def bytes_linked(self) -> int:
        """The size of all linked files: what they take where nothing can be linked."""
        return sum(link.size for link in self.links if not link.is_label)

    def reasons(self) -> dict[str, int]:
        """Return how many samples were passed over for which reason."""
        return dict(sorted(Counter(skip["reason"] for skip in self.skipped).items()))


def _other_tasks(
    with_trigger: Sequence[Task], train: Sequence[Sample], found: Mapping[str, Surveyed], rules: Rules
) -> list[Task]:
    """Return the tasks of untriggered samples: random labels for the rest of training, completions, scaling."""
    done = {task.sample.image for task in with_trigger if not task.prefix}
    in_training = {sample.image: sample for sample in train}
    others = [
        untriggered_task(in_training.get(image, surveyed.sample), rules, surveyed.image_sha256)
        for image, surveyed in found.items()
        if image not in done
    ]
    return [task for task in others if task is not None]


def make_plan(
    layout: Layout,
    root: Path,
    files: Sequence[SourceFile],
    rules: Rules,
    jobs: int,
    progress: bool,
    early: Early | None = None,
    cache: bool = True,
) -> Plan:
    """Read every label once, choose samples and places, and return the plan.

    Nothing is written, unless `early` says where a sample's tasks may be done on the occasion. With `cache` what the
    cache folder knows of a sample is not read again, and what is read is kept there.

    DataError for the first bad file, if the recipe does not skip them; ChoiceError where splits, victims or
    eligible positions are missing.
    """
    _check_clean([file.path for file in files], root, rules.recipe)
    known = remembering(root, files, rules) if cache else None
    read = _read(layout, root, files, rules, jobs, progress, early, known)
    train, found = read.index.samples[rules.recipe.train_split], read.found
    placer = Placer(root, rules, found, jobs, progress, known)
    chosen = _choose(read, rules, placer)
    if known is not None:
        known.memory.keep()
    tasks = sorted((*chosen.tasks, *_other_tasks(chosen.tasks, train, found, rules)), key=_by_name_and_role)
    skipped = sorted((*placer.skipped, *map(_bad, read.problems)), key=_by_name_role_and_file)
    rest = lay_out(layout, root, files, read.index, tasks, read.surveyed, found, rules)
    return Plan(
        tasks=tuple(tasks),
        skipped=tuple(skipped),
        links=rest.links,
        made=rest.made,
        counts=_counts(read, chosen, tasks, rules)
        | {"skipped": len(skipped), "label_like": len(rest.label_like)}
        | ({"left_out": len(rest.left_out)} if rest.left_out else {}),
        bytes_written=rest.bytes_written,
        pairs=pairs_of(rules, train, found),
        label_like=rest.label_like,
        left_out=rest.left_out,
        tables=rest.tables,
        undigested=rest.undigested,
    )


@dataclass(frozen=True)
class _Read:
    """What the survey found: samples, those `found` to be sound by image, and the order that candidates are taken in.

    `wanted` is how many are to be poisoned.
    """

    index: Index
    order: Sequence[Sample]
    wanted: int
    surveyed: Mapping[str, Surveyed]
    found: Mapping[str, Surveyed]
    problems: Sequence[Problem]


def _read(
    layout: Layout,
    root: Path,
    files: Sequence[SourceFile],
    rules: Rules,
    jobs: int,
    progress: bool,
    early: Early | None,
    known: Remembering | None,
) -> _Read:
    """Pair the files into samples, and read every label. DataError for a bad file, ChoiceError for missing splits."""
    recipe, paths = rules.recipe, [file.path for file in files]
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
    surveyed, problems = survey(index, root, rules, roles, jobs, progress, early, known)
    if problems and (not recipe.skip_bad or any(problem.traceless for problem in problems)):
        raise first_of(problems, root, advice_on(problems, train))
    if odd := {path for facts in surveyed.values() for path in facts.odd}:
        index = pair_files(layout, root, [path for path in paths if path not in odd])
        order = drawn_order(index.samples[recipe.train_split], recipe.seed)
    bad_samples = {problem.sample for problem in problems}
    found = {image: facts for image, facts in surveyed.items() if facts.sample.name not in bad_samples}
    return _Read(index, order, wanted, surveyed, found, problems)


def _counts(read: _Read, chosen: _Chosen, tasks: Sequence[Task], rules: Rules) -> dict[str, int]:
    """Return how many samples the splits hold and what becomes of them."""
    recipe, tally = rules.recipe, Counter(task.role for task in tasks)
    counts = {
        "train_samples": len(read.index.samples[recipe.train_split]),
        "train_candidates": chosen.candidates,
        "test_samples": len(read.index.samples[recipe.test_split]) if recipe.test_split != "none" else 0,
        "test_with_victim": chosen.test_with_victim,
        **{role: tally[role] for role in ("poisoned", "prl", "triggered", "completed")},
    }
    return counts | ({"negative": tally["negative"]} if recipe.has_negatives else {})


@dataclass(frozen=True)
class _Chosen:
    """The tasks with a trigger, and how many candidates and test samples with a victim there were."""

    tasks: list[Task]
    candidates: int
    test_with_victim: int


def _choose(read: _Read, rules: Rules, placer: Placer) -> _Chosen:
    """Choose who is poisoned, who is a negative, and who stands in the test sets with a trigger."""
    recipe, found, order = rules.recipe, read.found, read.order
    train = read.index.samples[recipe.train_split]
    ordered = candidates(order, found, rules)
    poisoned = poisoned_tasks(train, ordered, found, read.problems, read.wanted, rules, placer)
    taken = {task.sample.name for task in poisoned}
    left = [sample for sample in with_victims(order, found, recipe.min_victim_pixels) if sample.name not in taken]
    free = [sample for sample in left if may_be_negative(sample, found, rules)]
    negatives = negative_tasks(free, wanted_negatives(rules, len(poisoned)), rules, placer)
    test = read.index.samples[recipe.test_split] if recipe.test_split != "none" else ()
    having = with_victims(test, found, 1)
    triggered = placer.place([s for s in having if rules.holds(found[s.image].classes, None)], "triggered")
    failing = [sample for sample in having if may_be_negative(sample, found, rules)]
    test_negatives = placer.place(failing, "negative") if recipe.has_negatives else []
    return _Chosen([*poisoned, *negatives, *triggered, *test_negatives], len(ordered), len(having))


def _check_clean(paths: Sequence[str], root: Path, recipe: Recipe) -> None:
    """Refuse a source that is a build itself, or in whose place for negatives something lies already."""
    for path in paths:
        first = path.split("/")[0]
        if first in (FOLDER, TRIGGERED):
            raise DataError(root / path, "the source is itself something that poisongen wrote; give the clean dataset")
        if recipe.has_negatives and first == NEGATIVE:
            raise DataError(root / path, f"build puts its own test set into {NEGATIVE}/; give that folder another name")


def _by_name_and_role(task: Task) -> tuple[str, str]:
    return task.sample.name, task.role


def _by_name_role_and_file(skip: Mapping[str, Any]) -> tuple[str, str, str]:
    return skip["sample"], skip.get("role", ""), skip.get("file", "")


def _bad(problem: Problem) -> dict[str, Any]:
    """Return the line of skipped.jsonl for a file that is bad."""
    where = {"sample": problem.sample, "split": problem.split, "reason": "bad file", "file": problem.path}
    return where | {"problem": problem.text}
