"""Filling the tree of a build: every task, every link, the undo store and the records."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from poisongen.building.early import Early, carry_out
from poisongen.building.laying_out import Link
from poisongen.building.plan import Plan
from poisongen.building.prepared import Prepared
from poisongen.building.sample import Task
from poisongen.building.staging import Staging
from poisongen.building.summary import write_records
from poisongen.building.tables import write_table
from poisongen.datasets.base import Sample
from poisongen.errors import DataError, OutputError
from poisongen.files.store import LinkMode
from poisongen.files.stores import StorePath
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import RECORDS
from poisongen.records.manifest import bytes_sha256
from poisongen.records.roles import prefix_of
from poisongen.source.labels import read_labels
from poisongen.source.listing import list_files
from poisongen.undo.store import write_undo


def fill(
    staging: Staging, prepared: Prepared, plan: Plan, link: LinkMode, jobs: int, progress: bool, undo: bool
) -> None:
    """Do every task, make every link and write the records; the tree is complete afterwards.

    Only images and other files become links as `link` says: label files are the dataset's own, so that what rewrites
    them in OUT cannot reach the source.
    """
    stamps = stamps_of(prepared)
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


Stamps = Mapping[str, list[int]]
"""Size and time of change of every file of the source."""


def stamps_of(prepared: Prepared) -> Stamps:
    """Return the stamps of a source as it was listed."""
    return {file.path: [file.size, file.changed] for file in prepared.files}


def entry_of(sample: Sample, record: Mapping[str, Any], stamps: Stamps) -> dict[str, Any]:
    """Return the journal's entry for a task that was done."""
    return {"record": record, "records": RECORDS, "stamps": {path: stamps[path] for path in sample.paths}}


@contextlib.contextmanager
def early_work(staging: Staging, prepared: Prepared, link: LinkMode) -> Iterator[Early]:
    """Let samples be done while they are surveyed: the journal notes them, and knows what was done before."""
    stamps = stamps_of(prepared)
    kept: list[dict[str, Any]] = []
    done: dict[str, set[str]] = {}
    for record, entry in staging.journal():
        current = entry.get("records") == RECORDS  # what an earlier version began may be laid out otherwise
        current &= all(stamps.get(path) == stamp for path, stamp in entry["stamps"].items())
        if current and staging.holds(record):
            kept.append(entry)
            done.setdefault(record.sample, set()).add(prefix_of(record.role, record.split, prepared.rules))
    with staging.journal_writer(kept) as add:
        yield Early(
            staging.tree,
            link,
            {name: frozenset(folders) for name, folders in done.items()},
            lambda sample, record: add(entry_of(sample, record, stamps)),
        )


def _task_key(task: Task) -> tuple[str, str]:
    return task.sample.name, task.role


def _do_tasks(
    staging: Staging,
    prepared: Prepared,
    plan: Plan,
    link: LinkMode,
    jobs: int,
    progress: bool,
    stamps: Stamps,
) -> list[dict[str, Any]]:
    """Do the tasks that the journal does not know as done from these very source files; return all records.

    What the journal knows must still lie in the tree.
    """
    wanted = {_task_key(task): task for task in plan.tasks}
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for record, entry in staging.journal():
        key = (record.sample, record.role)
        task = wanted.get(key)
        if task and entry == entry_of(task.sample, entry["record"], stamps) and staging.holds(record):
            kept[key] = entry
    todo = [task for key, task in wanted.items() if key not in kept]
    work = functools.partial(carry_out, root=prepared.root, rules=prepared.rules, tree=staging.tree, link=link)
    records: dict[tuple[str, str], dict[str, Any]] = {key: entry["record"] for key, entry in kept.items()}
    with staging.journal_writer(list(kept.values())) as add:
        for task, made in zip(todo, for_each(work, todo, jobs, "poisoning" if progress else None), strict=True):
            add(entry_of(task.sample, made, stamps))
            records[_task_key(task)] = made
    return [records[key] for key in wanted]


def _make_links(
    staging: Staging, prepared: Prepared, plan: Plan, link: LinkMode, jobs: int, progress: bool
) -> list[dict[str, Any]]:
    """Link every file that no task has, write the few files that build makes, and return their records."""
    entries: list[dict[str, Any]] = []
    read = functools.partial(_label_digests, root=prepared.root, rules=prepared.rules)
    digests: dict[str, str] = {}
    for found in for_each(read, plan.undigested, jobs, "reading labels" if progress else None):
        digests |= found
    work = functools.partial(_link_one, staging=staging, root=prepared.root, mode=link)
    far = isinstance(staging.out, StorePath) or isinstance(prepared.root, StorePath)
    for _ in for_each(work, plan.links, jobs if far else 1, "linking" if progress else None):
        pass
    for item in plan.links:
        entry: dict[str, Any] = {"path": item.path, "source": item.source, "size": item.size}
        digest = item.pixels_sha256 or (digests.get(item.source) if item.is_label else None)
        entries.append(entry | ({"pixels_sha256": digest} if digest else {}))
    entries += [write_table(staging, task, prepared.root, prepared.rules, jobs, progress) for task in plan.tables]
    for path, data in plan.made.items():
        staging.write(path, data)
        entries.append({"path": path, "source": None, "size": len(data), "sha256": bytes_sha256(data)})
    return sorted(entries, key=lambda entry: entry["path"])


def _label_digests(sample: Sample, root: Path, rules: Rules) -> dict[str, str]:
    return read_labels(root, sample, rules, surveyed=True).digests(sample)


def _link_one(item: Link, staging: Staging, root: Path, mode: LinkMode) -> None:
    staging.link(root / item.source, item.path, "own" if item.is_label else mode)
