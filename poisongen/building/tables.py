"""Tables of label files, such as a panoptic JSON: which of them are written anew, and with what."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.building.sample import Task
from poisongen.building.staging import Staging
from poisongen.datasets.base import LabelTable, Layout
from poisongen.files.images import decode
from poisongen.files.inside import read_inside
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import bytes_sha256
from poisongen.records.roles import changes_labels
from poisongen.source.listing import read_file


@dataclass(frozen=True)
class TableTask:
    """A table to write anew. `maps` are, by the names that it has for them, the paths of the label files that it
    follows and that may have changed; None where a sample has no such file, so that the table tells what it was.
    """

    path: str
    maps: Mapping[str, str | None]


def find_table(layout: Layout, path: str) -> LabelTable:
    """Return the table at a path."""
    return next(table for table in layout.tables([path]) if table.path == path)


def table_tasks(
    layout: Layout, paths: Sequence[str], tasks: Sequence[Task], root: Path, rules: Rules
) -> tuple[TableTask, ...]:
    """Return the tables that tell of a sample whose label files may have changed."""
    found = []
    for table in layout.tables(paths):
        maps: dict[str, str | None] = {}
        for task in tasks:
            changes = changes_labels(task.role, task.sample.split, rules) or rules.recipe.scale != 1
            if changes and not task.prefix and task.sample.split == table.split:
                own = {label.kind: label.path for label in task.sample.labels}
                maps[table.name_of(task.sample)] = own.get(table.kind)
        names = table.names(read_file(root, table.path)) if maps else None
        if names is not None and (there := {name: path for name, path in maps.items() if name in names}):
            found.append(TableTask(table.path, there))
    return tuple(found)


def _tell(path: str, table_path: str, tree: Path, rules: Rules) -> Any:
    """Return what a table says of one label file of the finished tree."""
    table = find_table(rules.layout, table_path)
    return table.tell(decode(read_inside(tree, rules.above + path), path))


def write_table(
    staging: Staging, task: TableTask, root: Path, rules: Rules, jobs: int, progress: bool
) -> dict[str, Any]:
    """Write a table by the label files in the tree, and return its line of links.jsonl."""
    source = read_file(root, task.path)
    todo = {name: path for name, path in task.maps.items() if path is not None}
    work = functools.partial(_tell, table_path=task.path, tree=staging.tree, rules=rules)
    results = for_each(work, list(todo.values()), jobs, posixpath.basename(task.path) if progress else None)
    told: dict[str, Any] = dict.fromkeys(task.maps, None) | dict(zip(todo, results, strict=True))
    data = find_table(rules.layout, task.path).rewrite(source, told)
    staging.write(rules.above + task.path, data)
    line = {"path": rules.above + task.path, "source": task.path, "size": len(data), "sha256": bytes_sha256(data)}
    return line | {"written": True, "source_sha256": bytes_sha256(source)}
