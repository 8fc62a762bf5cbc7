"""The one read of every label before anything is written: is the dataset whole, and where are the victims?"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poisongen.core.placement import Placement
from poisongen.datasets.base import Index, Problem, Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files.images import decode, header, pixels_sha256
from poisongen.labels_io import read_labels
from poisongen.manifest import Role
from poisongen.parallel import for_each
from poisongen.rules import Rules
from poisongen.sample import place_to_be_seen
from poisongen.source import read_file


@dataclass(frozen=True)
class Surveyed:
    """What one read of a sample told: its size in pixels, how many of them are victims, its labels' digests.

    `victim_pixels` counts pixels of the written (scaled) label map. `digests` maps label paths to the digest of their
    decoded pixels. `placement` is the trigger's place, or why there is none, for samples that were surveyed with a role
    and have enough victim pixels. `problem` is what is wrong; if there is something, the other fields mean nothing.
    """

    sample: Sample
    height: int
    width: int
    victim_pixels: int
    digests: Mapping[str, str]
    role: Role | None = None
    placement: Placement | str | None = None
    problem: Problem | None = None


def survey_sample(errand: tuple[Sample, Role | None], root: Path, rules: Rules) -> Surveyed:
    """Read one sample's labels and its image's header; what is wrong with them is part of the answer.

    With a role (it will be poisoned or triggered, if it can be) the trigger is placed on the same occasion. Where bad
    samples are to be skipped, the image is decoded as well: later it would be too late to take another sample.
    """
    sample, role = errand
    try:
        image = header(root / sample.image)
        if rules.recipe.skip_bad:
            decode(read_file(root, sample.image), root / sample.image)
        labels = read_labels(root, sample, rules)
        height, width = labels.arrays[labels.first].shape[:2]
        if (image.height, image.width) != (height, width):
            path = next(label.path for label in sample.labels if label.kind == labels.first)
            size, other = f"{width}x{height} px", f"{image.width}x{image.height} px"
            raise DataError(root / path, f"is {size}, but its image {sample.image} is {other}")
        scaled = labels.scaled(rules.recipe.scale)
        victims = int(np.count_nonzero(victim_mask(scaled.maps, rules.victims)))
        needed = rules.recipe.min_victim_pixels if role == "poisoned" else 1
        placement = place_to_be_seen(scaled, sample, role, root, rules) if role and victims >= needed else None
    except DataError as error:
        path = error.path.removeprefix(f"{root}/")
        return Surveyed(sample, 0, 0, 0, {}, problem=Problem(sample.split, sample.name, path, error.problem))
    paths = {label.kind: label.path for label in sample.labels}
    digests = {paths[kind]: pixels_sha256(array) for kind, array in labels.arrays.items()}
    return Surveyed(sample, height, width, victims, digests, role, placement)


def survey(
    index: Index,
    root: Path,
    rules: Rules,
    roles: Mapping[str, Mapping[str, Role]],
    jobs: int,
    progress: bool,
) -> tuple[dict[str, Surveyed], list[Problem]]:
    """Read every sample's labels once and every image's header.

    `roles` names the splits that are built from and, by sample, those whose trigger is to be placed. Returns what was
    found by image path (a sample that stands in several splits is read once), and the problems of the index and of the
    files, sorted; those that matter only in splits that are not used are left out.
    """
    by_image: dict[str, tuple[Sample, Role | None]] = {}
    for split in (*roles, *sorted(set(index.samples) - set(roles))):
        for sample in index.samples.get(split, ()):
            by_image.setdefault(sample.image, (sample, roles.get(split, {}).get(sample.name)))
    work = functools.partial(survey_sample, root=root, rules=rules)
    results = for_each(work, list(by_image.values()), jobs, "checking" if progress else None)
    found = {result.sample.image: result for result in results}
    problems = [result.problem for result in found.values() if result.problem]
    problems += [problem for problem in index.problems if not problem.only_if_used or problem.split in roles]
    return found, sorted(problems, key=lambda problem: (problem.path, problem.text))
