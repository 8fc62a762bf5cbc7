"""What one read of a sample told, and what it was read for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poisongen.building.early import Workplace
from poisongen.building.pictures import Place
from poisongen.datasets.base import Problem, Sample
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import Role


@dataclass(frozen=True)
class Surveyed:
    """What one read of a sample told: its size in pixels, how many of them are victims, its labels' digests.

    `victim_pixels` counts pixels of the written (scaled) label map, `classes` those of every class in it.
    `digests` maps label paths to the digest of their decoded pixels; None where they will most likely change, so that
    nobody asks. `place` is the trigger's, or why there
    is none, for samples that were surveyed with a role and have enough victim pixels. `image_sha256` is the digest of
    the image's pixels, if it was decoded. `problem` is what is wrong; if there is something, the other fields mean
    nothing. `odd` are files that are called derived labels of it and are none; `sample` is without them. `records` are
    those of the tasks that were done on the same occasion. `joint` are the classes that pixels have in all of the
    sample's maps, each with the number of such pixels; None where that was not counted.
    """

    sample: Sample
    height: int
    width: int
    victim_pixels: int
    role: Role | None = None
    place: Place | str | None = None
    image_sha256: str | None = None
    problem: Problem | None = None
    classes: Mapping[int, int] = field(default_factory=dict)
    records: tuple[Mapping[str, Any], ...] = ()
    odd: tuple[str, ...] = ()
    digests: Mapping[str, str] | None = None
    joint: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Errand:
    """What a worker is to survey: a sample, the role that it will have if it can, and where it may do its tasks."""

    sample: Sample
    role: Role | None = None
    place: Workplace | None = None


def is_read(sample: Sample, rules: Rules) -> bool:
    """Tell whether build will read a sample's image even if it is neither poisoned nor relabelled.

    Where bad samples are to be skipped every image counts: later it would be too late to take another sample.
    """
    completed = rules.recipe.train_ids == "auto" and bool(rules.layout.completions(sample))
    return completed or rules.recipe.scale != 1 or rules.recipe.skip_bad


def random_labels_for(sample: Sample, rules: Rules) -> bool:
    """Tell whether a sample gets random labels whether it is poisoned or not."""
    everywhere = rules.prl is not None and rules.prl.scope == "all"
    return everywhere and sample.split == rules.recipe.train_split
