"""Giving many samples their triggers' places: most were placed in the survey, the rest are read again."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poisongen.building.complaints import too_few
from poisongen.building.early import completions
from poisongen.building.placing import place_sample
from poisongen.building.remembering import Remembering
from poisongen.building.sample import Task
from poisongen.building.surveyed import Surveyed
from poisongen.datasets.base import Problem, Sample
from poisongen.errors import ChoiceError
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import Role
from poisongen.records.roles import prefix_of


def _skip(sample: Sample, role: str, reason: str) -> dict[str, Any]:
    return {"sample": sample.name, "split": sample.split, "role": role, "reason": reason}


class Placer:
    """Places triggers in many samples at once, keeping note of those that have no place."""

    def __init__(
        self,
        root: Path,
        rules: Rules,
        found: Mapping[str, Surveyed],
        jobs: int,
        progress: bool,
        remembering: Remembering | None = None,
    ) -> None:
        self._root, self._rules, self._jobs, self._progress = root, rules, jobs, progress
        self._remembering = remembering
        self._known = {
            (facts.role, facts.sample.name): facts.place for facts in found.values() if facts.place is not None
        }
        self.skipped: list[dict[str, Any]] = []

    def place(self, samples: Sequence[Sample], role: Role) -> list[Task]:
        """Return a task for every sample that has an eligible position; most were placed in the survey."""
        work = functools.partial(place_sample, role=role, root=self._root, rules=self._rules)
        known = ((sample.name, self._known.get((role, sample.name))) for sample in samples)
        places = {name: place for name, place in known if place is not None}
        memory = self._remembering
        if memory is not None:
            recalled = ((sample.name, memory.place_of(sample, role)) for sample in samples if sample.name not in places)
            places |= {name: place for name, place in recalled if place is not None}
        rest = [sample for sample in samples if sample.name not in places]
        late = for_each(work, rest, self._jobs, f"placing ({role})" if self._progress else None)
        for sample, found in zip(rest, late, strict=True):
            places[sample.name] = found
            if memory is not None:
                memory.learn_place(sample, role, found)
        tasks = []
        for sample in samples:
            place, prefix = places[sample.name], prefix_of(role, sample.split, self._rules)
            if isinstance(place, str):
                self.skipped.append(_skip(sample, role, place))
            else:
                tasks.append(Task(sample, role, prefix, place, completions(sample, self._rules)))
        return tasks

    def place_until(self, samples: Sequence[Sample], role: Role, wanted: int) -> list[Task]:
        """Take samples from the front until `wanted` of them have a trigger or none is left."""
        tasks: list[Task] = []
        taken = 0
        while len(tasks) < wanted and taken < len(samples):
            batch = samples[taken : taken + wanted - len(tasks)]
            taken += len(batch)
            tasks += self.place(batch, role)
        return tasks


def poisoned_tasks(
    samples: Sequence[Sample],
    ordered: Sequence[Sample],
    found: Mapping[str, Surveyed],
    problems: Sequence[Problem],
    wanted: int,
    rules: Rules,
    placer: Placer,
) -> list[Task]:
    """Place triggers in as many training samples as the recipe asks for; ChoiceError if so many there are not."""
    recipe = rules.recipe
    tasks = placer.place_until(ordered, "poisoned", wanted)
    if len(tasks) < wanted and not (recipe.allow_fewer and tasks):
        reasons = Counter(skip["reason"] for skip in placer.skipped)
        raise too_few(samples, len(ordered), wanted, len(tasks), reasons, found, problems, rules)
    return tasks


def negative_tasks(samples: Sequence[Sample], wanted: int, rules: Rules, placer: Placer) -> list[Task]:
    """Give as many training samples a trigger with true labels; ChoiceError if so many there are not."""
    tasks = placer.place_until(samples, "negative", wanted)
    if len(tasks) < wanted and not rules.recipe.allow_fewer:
        raise ChoiceError(
            f"--negatives: {wanted} samples of '{rules.recipe.train_split}' are to carry a trigger with true labels, "
            f"{len(tasks)} can ({len(samples)} have a victim, are not poisoned, and a condition fails for them); lower "
            "--negatives or --rate, or give --allow-fewer"
        )
    return tasks
