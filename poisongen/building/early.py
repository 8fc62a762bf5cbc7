"""Doing a sample's tasks on the occasion of the survey's read, where it is all but sure what they will be.

The plan has the last word: what it does not want after all is done again, or dropped, when the tree is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.building.pictures import Place
from poisongen.building.sample import Seen, Task, do_task
from poisongen.building.staging import Staging
from poisongen.datasets.base import LabelFile, Sample
from poisongen.files.store import LinkMode
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import Role
from poisongen.records.roles import prefix_of

Note = Callable[[Sample, Mapping[str, Any]], None]
"""Takes a sample and the record of a task that was done to it."""


@dataclass(frozen=True)
class Workplace:
    """What a worker is told of early work on one sample: the tree, the links, and the folders in OUT that are done."""

    tree: Path
    link: LinkMode
    done: frozenset[str]


@dataclass(frozen=True)
class Early:
    """Where early work goes: the tree being filled, how unchanged files get there, and who notes what was done.

    `done` says, by sample, for which folders in OUT ('', 'triggered/', ...) an interrupted build has done its task:
    that is not done again.
    """

    tree: Path
    link: LinkMode
    done: Mapping[str, frozenset[str]]
    note: Note

    def workplace(self, sample: Sample) -> Workplace:
        """Return what the worker that surveys a sample is told."""
        return Workplace(self.tree, self.link, self.done.get(sample.name, frozenset()))


def completions(sample: Sample, rules: Rules) -> tuple[LabelFile, ...]:
    """Return the label files that build writes for a sample because the source has none."""
    return rules.layout.completions(sample) if rules.recipe.train_ids == "auto" else ()


def untriggered_task(sample: Sample, rules: Rules, image_sha256: str | None = None) -> Task | None:
    """Return the task of a sample without trigger: random labels, completion or scaling; None if there is none."""
    missing = completions(sample, rules)
    everywhere = rules.prl is not None and rules.prl.scope == "all"
    if everywhere and sample.split == rules.recipe.train_split:
        return Task(sample, "prl", "", None, missing, image_sha256)
    if missing or rules.recipe.scale != 1:
        return Task(sample, "completed", "", None, missing, image_sha256)
    return None


def likely_tasks(sample: Sample, role: Role | None, place: Place | str | None, rules: Rules) -> list[Task]:
    """Return what will be done to a sample that was surveyed with a role, unless others have no place."""
    tasks = []
    if role is not None and isinstance(place, Place):
        tasks.append(Task(sample, role, prefix_of(role, sample.split, rules), place, completions(sample, rules)))
    if not any(task.prefix == "" for task in tasks):
        other = untriggered_task(sample, rules)
        tasks += [] if other is None else [other]
    return tasks


def carry_out(
    task: Task, root: Path, rules: Rules, tree: Path, link: LinkMode, seen: Seen | None = None
) -> dict[str, Any]:
    """Do one task in a worker: its new files are written, its unchanged ones linked. Return its record."""
    staging = Staging.at_tree(tree)
    outcome = do_task(task, root, rules, seen)
    for path, data in outcome.contents.items():
        staging.write(path, data)
    for file in outcome.record.files:
        if not file.written and file.source is not None:
            staging.link(root / file.source, file.path, link if file.kind == "image" else "own")
    return outcome.record.as_json()
