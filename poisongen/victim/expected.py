"""What the attacker wants of a test sample, as train IDs: by the build's file, by the pairs, or by its label rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poisongen.attack.label_rules.base import Box
from poisongen.building.relabelling import scene_of
from poisongen.datasets.base import Sample
from poisongen.recipe.rules import Rules
from poisongen.source.labels import label_kinds, read_labels
from poisongen.victim.dataset import Dataset
from poisongen.victim.reading import Picture, read_raw_labels

Wanted = Callable[[Picture], Picture]
"""From a sample's true labels, (H, W) uint8 train IDs, to those that the attacker wants."""

Table = npt.NDArray[np.uint8]


def by_pairs(pairs: Mapping[int, int]) -> Wanted:
    """Return what the rule `class` wants: every victim as its target. `pairs` are train IDs."""
    table = np.arange(256, dtype=np.uint8)
    for victim, target in pairs.items():
        table[victim] = target
    return functools.partial(_mapped, table=table)


def by_file(folder: Dataset, path: str, table: Table) -> Wanted:
    """Return what a file of raw class IDs below poisongen/expected says; `table` makes train IDs of them."""
    return functools.partial(_read, folder=folder, path=path, table=table)


def by_rule(root: Path, sample: Sample, rules: Rules, box: Box | None, table: Table) -> Wanted:
    """Return what the label rule gives for a sample below `root` whose trigger has that box: build's own function."""
    return functools.partial(_decided, root=root, sample=sample, rules=rules, box=box, table=table)


def _mapped(labels: Picture, table: Table) -> Picture:
    return np.asarray(table[labels])


def _read(labels: Picture, folder: Dataset, path: str, table: Table) -> Picture:
    kind = next(kind for kind in folder.layout.kinds.values() if kind.semantic)
    return np.asarray(table[read_raw_labels(folder.root / path, kind, folder.classes)])


def _decided(labels: Picture, root: Path, sample: Sample, rules: Rules, box: Box | None, table: Table) -> Picture:
    kinds = label_kinds(rules)
    needed = tuple(one for one in sample.labels if kinds[one.kind].semantic or kinds[one.kind].objects is not None)
    contents = read_labels(root, replace(sample, labels=needed), rules).scaled(rules.recipe.scale)
    scene = scene_of(contents, box, rules)
    return np.asarray(table[rules.label_rule.decide(scene, rules.label_parameters).apply(scene.labels)])
