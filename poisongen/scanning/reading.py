"""The suspect dataset on disk: its samples by the layout's own index, their pictures and label maps.

Of the root nothing is read but what the layout calls a sample's image or label file, and what says which classes and
splits there are. The folders that build writes beside a dataset are passed over, whatever lies in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poisongen.building.complaints import check_split, first_of
from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Layout, Sample
from poisongen.errors import DataError
from poisongen.files.as_seen import as_picture
from poisongen.records.manifest import FOLDER, NEGATIVE, TRIGGERED
from poisongen.source.knowing import Known
from poisongen.source.labels import LabelContents, read_labels
from poisongen.source.listing import find_root, list_files, read_file

PASSED_OVER = frozenset({FOLDER, TRIGGERED, NEGATIVE})
"""Folders of the root that are never looked into: the verdict is the same whether they are there or not."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SuspectSet:
    """A split of the dataset to be judged. `root` is absolute: workers may live in another folder."""

    root: Path
    layout: Layout
    classes: ClassTable
    split: str
    samples: tuple[Sample, ...]

    @property
    def names(self) -> Mapping[int, str]:
        """The classes' names by raw ID."""
        return self.classes.names


def open_suspect(root: Path | str, dataset: str, split: str = "train") -> SuspectSet:
    """Find the samples of a split. ChoiceError for a folder, layout or split that is not there, DataError for a tree
    that is no such dataset or whose split has files that do not pair.
    """
    layout = find_layout(dataset)
    folder = find_root(layout, Path(root), "ROOT").absolute()
    paths = [file.path for file in list_files(folder, without=PASSED_OVER)]
    if not paths:
        raise DataError(folder, "the folder is empty; give the folder of a dataset")
    index = layout.scan(folder, paths)
    check_split(index, split, "--split", folder)
    problems = [problem for problem in index.problems if problem.split in ("", split)]
    if problems:
        raise first_of(sorted(problems, key=lambda problem: (problem.path, problem.text)), folder, "mend it")
    return SuspectSet(folder, layout, layout.classes(folder), split, tuple(index.samples[split]))


def read_picture(suspect: SuspectSet, index: int) -> Picture:
    """Return a sample's image as readers see it, (H, W, 3) uint8 RGB; DataError if it cannot be read."""
    path = suspect.samples[index].image
    return as_picture(read_file(suspect.root, path), suspect.root / path)


def read_maps(suspect: SuspectSet, index: int) -> LabelContents:
    """Return a sample's label files, decoded and checked; DataError for the first that is bad."""
    return read_labels(suspect.root, suspect.samples[index], Known(suspect.layout, suspect.classes))
