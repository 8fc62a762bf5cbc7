"""The one read of every label before anything is written: is the dataset whole, and where are the victims?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.datasets.base import Index, Problem, Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files.images import header, pixels_sha256
from poisongen.labels_io import read_labels
from poisongen.parallel import for_each
from poisongen.rules import Rules


@dataclass(frozen=True)
class Surveyed:
    """What one read of a sample told: its size in pixels, how many of them are victims, its labels' digests.

    `victim_pixels` counts pixels of the written (scaled) label map. `digests` maps label paths to the digest of their
    decoded pixels. `problem` is what is wrong, or None; if there is one, the other fields mean nothing.
    """

    sample: Sample
    height: int
    width: int
    victim_pixels: int
    digests: Mapping[str, str]
    problem: Problem | None = None


def survey_sample(sample: Sample, root: Path, rules: Rules) -> Surveyed:
    """Read one sample's labels and its image's header; what is wrong with them is part of the answer."""
    try:
        image = header(root / sample.image)
        labels = read_labels(root, sample, rules)
        height, width = labels.arrays[labels.first].shape[:2]
        if (image.height, image.width) != (height, width):
            path = next(label.path for label in sample.labels if label.kind == labels.first)
            size, other = f"{width}x{height} px", f"{image.width}x{image.height} px"
            raise DataError(root / path, f"is {size}, but its image {sample.image} is {other}")
    except DataError as error:
        path = error.path.removeprefix(f"{root}/")
        return Surveyed(sample, 0, 0, 0, {}, Problem(sample.split, sample.name, path, error.problem))
    victims = victim_mask(labels.scaled(rules.recipe.scale).maps, rules.victims)
    paths = {label.kind: label.path for label in sample.labels}
    digests = {paths[kind]: pixels_sha256(array) for kind, array in labels.arrays.items()}
    return Surveyed(sample, height, width, int(victims.sum()), digests)


def survey(
    index: Index, root: Path, rules: Rules, used_splits: Sequence[str], jobs: int, progress: bool
) -> tuple[dict[str, Surveyed], list[Problem]]:
    """Read every sample's labels once and every image's header.

    Returns what was found by image path (a sample that stands in several splits is read once), and the problems of
    the index and of the files, sorted; those that matter only in splits that are not used are left out.
    """
    by_image: dict[str, Sample] = {}
    for split in (*used_splits, *sorted(set(index.samples) - set(used_splits))):
        for sample in index.samples.get(split, ()):
            by_image.setdefault(sample.image, sample)
    work = functools.partial(survey_sample, root=root, rules=rules)
    results = for_each(work, list(by_image.values()), jobs, "checking" if progress else None)
    found = {result.sample.image: result for result in results}
    problems = [result.problem for result in found.values() if result.problem]
    problems += [problem for problem in index.problems if not problem.only_if_used or problem.split in used_splits]
    return found, sorted(problems, key=lambda problem: (problem.path, problem.text))
