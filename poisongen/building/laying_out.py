"""What OUT takes from the source as it is, what build makes itself, and what is left out: everything but the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.building.sample import Task
from poisongen.building.surveyed import Surveyed
from poisongen.building.tables import TableTask, table_tasks
from poisongen.datasets.base import Index, Layout, Sample
from poisongen.recipe.rules import Rules
from poisongen.records.roles import changes_labels
from poisongen.source.label_like import label_like, named_labels
from poisongen.source.listing import SourceFile


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
class LaidOut:
    """The files of OUT that are no task's, as `Plan` has them, and roughly how many bytes build is going to write."""

    links: tuple[Link, ...]
    undigested: tuple[Sample, ...]
    made: Mapping[str, bytes]
    tables: tuple[TableTask, ...]
    label_like: tuple[str, ...]
    left_out: tuple[str, ...]
    bytes_written: int


def lay_out(
    layout: Layout,
    root: Path,
    files: Sequence[SourceFile],
    index: Index,
    tasks: Sequence[Task],
    surveyed: Mapping[str, Surveyed],
    found: Mapping[str, Surveyed],
    rules: Rules,
) -> LaidOut:
    """Say what becomes of every file that no task has. `found` are the sound samples of those `surveyed`, by image."""
    paths, sizes = [file.path for file in files], {file.path: file.size for file in files}
    tables = table_tasks(layout, paths, tasks, root, rules)
    like = _label_like(paths, index, tasks, tables, root, rules)
    left_out = tuple(path for path in like if path not in layout.shared)  # without its classes OUT is no dataset
    test_sets = {task.prefix for task in tasks if task.prefix}
    labels = frozenset(named_labels(paths, index))
    apart = {*left_out, *(table.path for table in tables)}
    rest = [file for file in files if file.path not in apart]
    taken = _taken(tasks, surveyed, found, rules)
    links = _links(rest, surveyed, taken, labels, rules) + _shared_links(layout, rest, labels, test_sets, rules)
    undigested = tuple(
        facts.sample for facts in found.values() if facts.digests is None and not taken.issuperset(facts.sample.paths)
    )
    written = sum(_estimate(task, sizes, rules) for task in tasks)
    written += sum(link.size for link in links if link.is_label) + sum(sizes[table.path] for table in tables)
    made = _made(layout, root, tasks, paths, test_sets, rules)
    return LaidOut(links, undigested, made, tables, like, left_out, written)


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


def _taken(
    tasks: Sequence[Task], surveyed: Mapping[str, Surveyed], found: Mapping[str, Surveyed], rules: Rules
) -> set[str]:
    """Return the paths of the source that OUT does not take as they are: those of the tasks' own samples.

    Bad samples stay as they are in the source, except in a scaled dataset, where they would have the wrong size.
    """
    taken = {path for task in tasks if not task.prefix for path in task.sample.paths}
    if rules.recipe.scale != 1:
        taken |= {path for image, facts in surveyed.items() if image not in found for path in facts.sample.paths}
    return taken


def _links(
    files: Sequence[SourceFile],
    surveyed: Mapping[str, Surveyed],
    taken: set[str],
    labels: frozenset[str],
    rules: Rules,
) -> tuple[Link, ...]:
    """Return every file that OUT takes from the source as it is."""
    digests = {path: digest for facts in surveyed.values() for path, digest in (facts.digests or {}).items()}
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
