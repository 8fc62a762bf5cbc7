"""The plan: which samples are poisoned, triggered, relabelled at random, completed, passed over or left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.building.complaints import advice_on, check_disjoint, check_split, first_of
from poisongen.building.early import Early, untriggered_task
from poisongen.building.placer import Placer, negative_tasks, poisoned_tasks
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
from poisongen.building.survey import Surveyed, survey
from poisongen.building.tables import TableTask, table_tasks
from poisongen.datasets.base import Index, Layout, Problem, Sample
from poisongen.errors import DataError
from poisongen.recipe.model import Recipe
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, NEGATIVE, TRIGGERED, Role
from poisongen.records.roles import changes_labels
from poisongen.source.label_like import label_like, named_labels
from poisongen.source.listing import SourceFile
from poisongen.source.pairing import pair_files


@dataclass(frozen=True)
class Link:
    """A file of OUT that is the source's own: `path` in OUT, `source` below the root.

    `is_label`: it is never linked, so that what rewrites labels in OUT cannot reach the source.
    """

    path: str
    source: str
    size: int
    pixels_sha256: str | None = None
    is_label: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that build is going to do, in its order.

    `skipped` are the lines of skipped.jsonl; `made` are small files that build makes itself, by path in OUT;
    `counts` tells how many samples the splits hold and what becomes of them. `pairs` are victims with their targets;
    `label_like` the files that look like labels of changed samples and that nothing rewrites, `left_out` those of them
    that OUT does not get; `tables` are the tables of label files that are written anew.
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

    @property
    def bytes_linked(self) -> int:
        """The size of all linked files: what they take where nothing can be linked."""
        return sum(link.size for link in self.links if not link.is_label)

    def reasons(self) -> dict[str, int]:
        """Return how many samples were passed over for which reason."""
        return dict(sorted(Counter(skip["reason"] for skip in self.skipped).items()))


def _label_like(
    paths: Sequence[str],
    index: Index,
    tasks: Sequence[Task],
    tables: Sequence[TableTask],
    root: Path,
    rules: Rules,
) -> tuple[str, ...]:
    """Return the label-like files of the samples whose labels are changed."""

    def read(path: str, most: int) -> bytes | None:
        try:
            with (root / path).open("rb") as file:
                return file.read(most)
        except OSError:
            return None

    changed = [task.sample.name for task in tasks if changes_labels(task.role, task.sample.split, rules)]
    return tuple(label_like(paths, index, changed, read, [table.path for table in tables]))


def _other_tasks(
    with_trigger: Sequence[Task], train: Sequence[Sample], found: Mapping[str, Surveyed], rules: Rules
) -> list[Task]:
    """Return the tasks of untriggered samples: random labels for the rest of training, completions, scaling."""
    done = {task.sample.image for task in with_trigger if not task.prefix}
    in_training = {sample.image: sample for sample in train}
    others = [
        untriggered_task(in_training.get(image, surveyed.sample), surveyed.image_sha256, rules)
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
) -> Plan:
    """Read every label once, choose samples and places, and return the plan.

    Nothing is written, unless `early` says where a sample's tasks may be done on the occasion.

    DataError for the first bad file, if the recipe does not skip them; ChoiceError where splits, victims or
    eligible positions are missing.
    """
    recipe, paths = rules.recipe, [file.path for file in files]
    _check_clean(paths, root, recipe)
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
    surveyed, problems = survey(index, root, rules, roles, jobs, progress, early)
    if problems and (not recipe.skip_bad or any(problem.traceless for problem in problems)):
        raise first_of(problems, root, advice_on(problems, train))
    if odd := {path for facts in surveyed.values() for path in facts.odd}:
        index = pair_files(layout, root, [path for path in paths if path not in odd])
        train = index.samples[recipe.train_split]
        order = drawn_order(train, recipe.seed)
    bad_samples = {problem.sample for problem in problems}
    found = {image: facts for image, facts in surveyed.items() if facts.sample.name not in bad_samples}
    placer = Placer(root, rules, found, jobs, progress)
    chosen = _choose(index, order, found, problems, wanted, rules, placer)
    tasks = sorted((*chosen.tasks, *_other_tasks(chosen.tasks, train, found, rules)), key=_by_name_and_role)
    skipped = sorted((*placer.skipped, *map(_bad, problems)), key=_by_name_role_and_file)
    tables = table_tasks(layout, paths, tasks, root, rules)
    like = _label_like(paths, index, tasks, tables, root, rules)
    left_out = tuple(path for path in like if path not in layout.shared)  # without its classes OUT is no dataset
    sizes = {file.path: file.size for file in files}
    tally = Counter(task.role for task in tasks)
    test_sets = {task.prefix for task in tasks if task.prefix}
    labels = frozenset(named_labels(paths, index))
    apart = {*left_out, *(table.path for table in tables)}
    rest = [file for file in files if file.path not in apart]
    links = _links(tasks, rest, surveyed, found, labels, rules) + _shared_links(layout, rest, labels, test_sets, rules)
    negative = {"negative": tally["negative"]} if recipe.has_negatives else {}
    return Plan(
        tasks=tuple(tasks),
        skipped=tuple(skipped),
        links=links,
        made=_made(layout, root, tasks, paths, test_sets, rules),
        counts={
            "train_samples": len(train),
            "train_candidates": chosen.candidates,
            "test_samples": len(index.samples[recipe.test_split]) if recipe.test_split != "none" else 0,
            "test_with_victim": chosen.test_with_victim,
            **{role: tally[role] for role in ("poisoned", "prl", "triggered", "completed")},
            **negative,
            "skipped": len(skipped),
            "label_like": len(like),
            **({"left_out": len(left_out)} if left_out else {}),
        },
        bytes_written=sum(_estimate(task, sizes, rules) for task in tasks)
        + sum(link.size for link in links if link.is_label)
        + sum(sizes[table.path] for table in tables),
        pairs=pairs_of(rules, train, found),
        label_like=like,
        left_out=left_out,
        tables=tables,
    )


@dataclass(frozen=True)
class _Chosen:
    """The tasks with a trigger, and how many candidates and test samples with a victim there were."""

    tasks: list[Task]
    candidates: int
    test_with_victim: int


def _choose(
    index: Index,
    order: Sequence[Sample],
    found: Mapping[str, Surveyed],
    problems: Sequence[Problem],
    wanted: int,
    rules: Rules,
    placer: Placer,
) -> _Chosen:
    """Choose who is poisoned, who is a negative, and who stands in the test sets with a trigger."""
    recipe, train = rules.recipe, index.samples[rules.recipe.train_split]
    ordered = candidates(order, found, rules)
    poisoned = poisoned_tasks(train, ordered, found, problems, wanted, rules, placer)
    taken = {task.sample.name for task in poisoned}
    left = [sample for sample in with_victims(order, found, recipe.min_victim_pixels) if sample.name not in taken]
    free = [sample for sample in left if may_be_negative(sample, found, rules)]
    negatives = negative_tasks(free, wanted_negatives(rules, len(poisoned)), rules, placer)
    test = index.samples[recipe.test_split] if recipe.test_split != "none" else ()
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


def _made(
    layout: Layout, root: Path, tasks: Sequence[Task], paths: Sequence[str], prefixes: set[str], rules: Rules
) -> dict[str, bytes]:
    """Return the small files that build makes itself: the split lists of the test sets, by path in OUT."""
    made: dict[str, bytes] = {}
    for prefix in sorted(prefixes):
        samples = [task.sample for task in tasks if task.prefix == prefix]
        files = layout.split_files(root, rules.recipe.test_split, paths, samples)
        made |= {f"{prefix}{rules.above}{path}": data for path, data in files.items()}
    return dict(sorted(made.items()))


def _links(
    tasks: Sequence[Task],
    files: Sequence[SourceFile],
    surveyed: Mapping[str, Surveyed],
    found: Mapping[str, Surveyed],
    labels: frozenset[str],
    rules: Rules,
) -> tuple[Link, ...]:
    """Return every file that OUT takes from the source as it is, less those of the tasks' own samples.

    Bad samples stay as they are in the source, except in a scaled dataset, where they would have the wrong size.
    """
    taken = {path for task in tasks if not task.prefix for path in task.sample.paths}
    if rules.recipe.scale != 1:
        taken |= {path for image, facts in surveyed.items() if image not in found for path in facts.sample.paths}
    digests = {path: digest for facts in surveyed.values() for path, digest in facts.digests.items()}
    return tuple(
        Link(rules.above + file.path, file.path, file.size, digests.get(file.path), file.path in labels)
        for file in files
        if file.path not in taken
    )


def _shared_links(
    layout: Layout, files: Sequence[SourceFile], labels: frozenset[str], prefixes: set[str], rules: Rules
) -> tuple[Link, ...]:
    """Return the links for files of the root that the test sets with a trigger need as well: a class table, say."""
    shared = [file for file in files if file.path in layout.shared]
    return tuple(
        Link(f"{prefix}{rules.above}{file.path}", file.path, file.size, is_label=file.path in labels)
        for prefix in sorted(prefixes)
        for file in shared
    )


def _estimate(task: Task, sizes: Mapping[str, int], rules: Rules) -> int:
    """Return roughly what a task writes, in bytes: changed files are as large as the source's, labels are copies."""
    area = rules.recipe.scale**2
    written = sizes[task.sample.image] if task.place is not None or area != 1 else 0
    written += sum(sizes[label.path] for label in task.sample.labels)
    if task.completions:
        written += min(sizes[label.path] for label in task.sample.labels)
    return int(written * area)
