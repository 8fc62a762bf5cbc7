"""Filling the tree of a build: every task, every link, the undo store and the records."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poisongen.building.plan import Link, Plan
from poisongen.building.prepared import Prepared
from poisongen.building.sample import Task, do_task
from poisongen.building.staging import Staging
from poisongen.building.summary import write_records
from poisongen.building.tables import write_table
from poisongen.errors import DataError, OutputError
from poisongen.files.store import LinkMode
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import RECORDS
from poisongen.records.manifest import bytes_sha256
from poisongen.source.listing import list_files
from poisongen.undo.store import write_undo


def fill(
    staging: Staging, prepared: Prepared, plan: Plan, link: LinkMode, jobs: int, progress: bool, undo: bool
) -> None:
    """Do every task, make every link and write the records; the tree is complete afterwards.

    Only images and other files become links as `link` says: label files are the dataset's own, so that what rewrites
    them in OUT cannot reach the source.
    """
    stamps = {file.path: [file.size, file.changed] for file in prepared.files}
    try:
        records = _do_tasks(staging, prepared, plan, link, jobs, progress, stamps)
        links = _make_links(staging, prepared, plan, link, jobs, progress)
        if list_files(prepared.root) != list(prepared.files):
            raise OutputError(
                f"{prepared.root}: the source has changed while it was read; give the same command again, it goes on"
            )
    except DataError:
        staging.discard()
        raise
    written = {file["path"] for record in records for file in record["files"]} | {entry["path"] for entry in links}
    written |= {record["expected"]["path"] for record in records if "expected" in record}
    staging.drop_unknown(written)
    kept = None
    if undo:
        above = prepared.rules.above
        kept = write_undo(staging.tree, prepared.root, records, links, prepared.files, above, jobs, progress)
    write_records(staging, prepared, plan, records, links, kept)


def _work(task: Task, root: Path, rules: Rules, tree: Path, link: LinkMode) -> dict[str, Any]:
    """Do one task in a worker: its new files are written, its unchanged ones linked. Return its record."""
    staging = Staging.at_tree(tree)
    outcome = do_task(task, root, rules)
    for path, data in outcome.contents.items():
        staging.write(path, data)
    for file in outcome.record.files:
        if not file.written and file.source is not None:
            staging.link(root / file.source, file.path, link if file.kind == "image" else "own")
    return outcome.record.as_json()


def _task_key(task: Task) -> tuple[str, str]:
    return task.sample.name, task.role


def _do_tasks(
    staging: Staging,
    prepared: Prepared,
    plan: Plan,
    link: LinkMode,
    jobs: int,
    progress: bool,
    stamps: Mapping[str, list[int]],
) -> list[dict[str, Any]]:
    """Do the tasks that the journal does not know as done from these very source files; return all records.

    What the journal knows must still lie in the tree.
    """
    wanted = {_task_key(task): task for task in plan.tasks}
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for record, entry in staging.journal():
        key = (record.sample, record.role)
        task = wanted.get(key)
        same = entry.get("records") == RECORDS  # what an earlier version began may be laid out otherwise
        if (
            same
            and task
            and entry["stamps"] == {path: stamps[path] for path in task.sample.paths}
            and staging.holds(record)
        ):
            kept[key] = entry
    todo = [task for key, task in wanted.items() if key not in kept]
    work = functools.partial(_work, root=prepared.root, rules=prepared.rules, tree=staging.tree, link=link)
    records: dict[tuple[str, str], dict[str, Any]] = {key: entry["record"] for key, entry in kept.items()}
    with staging.journal_writer(list(kept.values())) as add:
        for task, made in zip(todo, for_each(work, todo, jobs, "poisoning" if progress else None), strict=True):
            add(
                {
                    "record": made,
                    "records": RECORDS,
                    "stamps": {path: stamps[path] for path in task.sample.paths},
                }
            )
            records[_task_key(task)] = made
    return [records[key] for key in wanted]


def _make_links(
    staging: Staging, prepared: Prepared, plan: Plan, link: LinkMode, jobs: int, progress: bool
) -> list[dict[str, Any]]:
    """Link every file that no task has, write the few files that build makes, and return their records."""
    entries: list[dict[str, Any]] = []
    work = functools.partial(_link_one, staging=staging, root=prepared.root, mode=link)
    for _ in for_each(work, plan.links, 1, "linking" if progress else None):
        pass
    for item in plan.links:
        entry: dict[str, Any] = {"path": item.path, "source": item.source, "size": item.size}
        entries.append(entry | ({"pixels_sha256": item.pixels_sha256} if item.pixels_sha256 else {}))
    entries += [write_table(staging, task, prepared.root, prepared.rules, jobs, progress) for task in plan.tables]
    for path, data in plan.made.items():
        staging.write(path, data)
        entries.append({"path": path, "source": None, "size": len(data), "sha256": bytes_sha256(data)})
    return sorted(entries, key=lambda entry: entry["path"])


def _link_one(item: Link, staging: Staging, root: Path, mode: LinkMode) -> None:
    staging.link(root / item.source, item.path, "own" if item.is_label else mode)
