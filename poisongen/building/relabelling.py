"""A sample's label files: which pixels get which class, decided once, and every file rewritten by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.attack.label_rules.base import Box, Scene
from poisongen.core.draws import keyed_generator
from poisongen.core.labels import (
    Change,
    Labels,
    Relabelling,
    class_counts,
    class_mask,
    lay_over,
    prl_pixel_count,
    random_labels,
)
from poisongen.datasets.base import Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import Role
from poisongen.records.roles import has_random_labels, is_relabelled
from poisongen.source.labels import LabelContents, label_kinds

Array = npt.NDArray[Any]

_ROOMY = 256  # values; a label file for so many holds every class


@dataclass(frozen=True)
class NewFile:
    """A label or image after the work: new bytes, or None where the source's file stays, its pixels, their digest."""

    data: bytes | None
    pixels: Array | None
    digest: str | None = None

    def pixels_sha256(self) -> str | None:
        """Return the digest of the pixels; None for documents."""
        return self.digest if self.pixels is None else images.pixels_sha256(self.pixels)


def scene_of(labels: LabelContents, box: Box | None, rules: Rules) -> Scene:
    """Return a sample with these (scaled) labels as a label rule sees it."""
    kinds = label_kinds(rules)
    numbered = [
        finder(array)
        for name, array in labels.arrays.items()
        if rules.label_rule.asks_objects and (finder := kinds[name].objects) is not None and array.ndim == 2
    ]
    return Scene(
        labels=labels.maps[0],
        victims=victim_mask(labels.maps, rules.victims),
        void=class_mask(labels.maps[0], rules.classes.void),
        objects=numbered[0] if numbered else None,
        box=box,
        pairs=rules.pairs,
        trained=rules.classes.trained,
    )


def change_labels(labels: LabelContents, sample: Sample, role: Role, box: Box | None, rules: Rules) -> Change:
    """Decide, once for all label files, which pixels get which class: random labels first, then the label rule's."""
    scene = scene_of(labels, box, rules)
    before = scene.labels
    decided = rules.label_rule.decide(scene, rules.label_parameters) if is_relabelled(role) else Relabelling()
    random, after = np.zeros(before.shape, dtype=bool), before
    prl = rules.prl
    if prl is not None and has_random_labels(role, sample.split, rules):
        free = ~scene.victims
        for other in labels.maps:
            free &= ~class_mask(other, rules.classes.void)
            if other is not before:
                free &= other == before
        if decided.claims is not None:
            free &= ~decided.claims
        present = frozenset(np.flatnonzero(class_counts(before)).tolist())
        allowed = present - rules.classes.void - set(rules.victims) if prl.classes is None else prl.classes
        count = prl_pixel_count(prl.amount, prl.unit, *before.shape)
        generator = keyed_generator(rules.recipe.seed, "prl", sample.name)
        random, after = random_labels(before, free, allowed, count, generator)
    ruled = _with_rule(before, after, random, decided)
    return Change(before, ruled, random, decided, alone=prl is None or prl.scope != "all")


def _with_rule(before: Labels, after: Labels, random: Array, decided: Relabelling) -> Labels:
    """Return the labels with the rule's classes everywhere but on random pixels."""
    ruled = decided.apply(before)
    return np.asarray(lay_over(ruled, after, random), np.uint8) if random.any() else ruled


def new_labels(
    labels: LabelContents, original: LabelContents, change: Change, rules: Rules, paths: Mapping[str, Path]
) -> dict[str, NewFile]:
    """Rewrite every label file (`paths` by kind), keeping those that the change leaves as they are."""
    new: dict[str, NewFile] = {}
    height, width = change.before.shape
    for name, data in labels.raw.items():
        kind = label_kinds(rules)[name]
        if kind.document:
            scaled = data
            if rules.recipe.scale != 1 and kind.resize:
                scaled = kind.resize(data, width, height)
            rewritten = kind.rewrite(scaled, change, rules.classes)
            new[name] = NewFile(None if rewritten == data else rewritten, None)
            continue
        array = kind.rewrite(labels.arrays[name], change, rules.classes)
        same = array.shape == original.arrays[name].shape and np.array_equal(array, original.arrays[name])
        new[name] = NewFile(None if same else _encode_labels(array, original.arrays[name], data, paths[name]), array)
    return new


def capacity(source: bytes, path: Path) -> int:
    """Return how many values a label PNG can hold: the entries of its palette, else what its bits allow. DataError."""
    facts = png.parse(source, path)
    return len(facts.palette or b"") // 3 if facts.colour_type == png.PALETTE else 1 << facts.bit_depth


def _encode_labels(array: Array, old: Array, source: bytes, path: Path) -> bytes:
    """Return a label file like the source's; DataError where a new value does not fit its bits or palette.

    Values that the file holds already (`old`) fit, whatever its palette: void pixels often have no colour.
    """
    entries = capacity(source, path)
    if array.ndim == 2 and int(array.max()) >= entries:
        new = np.setdiff1d(array[array >= entries], old)
        if new.size:
            raise DataError(path, f"the class {new[-1]} does not fit this file, which holds 0 to {entries - 1}")
    return png.encode(array, png.parse(source, path), labels=True)


def check_new_labels(
    original: LabelContents, sample: Sample, role: Role, box: Box | None, root: Path, rules: Rules
) -> None:
    """Raise DataError if a label file of a sample cannot hold the classes that its role will give it."""
    documents = {name for name, kind in label_kinds(rules).items() if kind.document}
    paths = {label.kind: root / label.path for label in sample.labels}
    if all(capacity(data, paths[kind]) >= _ROOMY for kind, data in original.raw.items() if kind not in documents):
        return
    labels = original.scaled(rules.recipe.scale)
    new_labels(labels, original, change_labels(labels, sample, role, box, rules), rules, paths)
