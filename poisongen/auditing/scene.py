"""What a label rule is shown, and what it decided: the audit's own view of a sample."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.attack.label_rules.base import Box, Scene
from poisongen.core.labels import Relabelling
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord
from poisongen.records.roles import is_relabelled

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Content:
    """A file's bytes, and its pixels if it is a picture. `reencoded`: its bytes are others than its record says."""

    data: bytes
    pixels: Array | None
    reencoded: bool = False


@dataclass(frozen=True)
class Story:
    """A sample's files in OUT and, where they are known, in the source, by kind, image included.

    `maps` and `old_maps` are the maps of raw class IDs, (H, W) uint8 of one size, the label map first.
    """

    record: SampleRecord
    contents: Mapping[str, Content]
    maps: Mapping[str, Array]
    before: Mapping[str, Content]
    old_maps: Mapping[str, Array]

    @property
    def comparable(self) -> bool:
        """Whether the source's label map is known, and of the size of OUT's."""
        if not self.maps or next(iter(self.maps)) not in self.old_maps:
            return False
        return next(iter(self.maps.values())).shape == next(iter(self.old_maps.values())).shape


def box_of(record: SampleRecord) -> Box | None:
    """Return the box of a record's trigger, None where it has none."""
    return None if record.trigger is None else record.trigger.box


def is_one_of(labels: Array, classes: Any) -> npt.NDArray[np.bool_]:
    """Tell which pixels have one of these classes; same shape as `labels`."""
    if labels.dtype != np.uint8:
        return np.asarray(np.isin(labels, list(classes)))
    table = np.isin(np.arange(256), list(classes))
    return np.asarray(cv2.LUT(np.ascontiguousarray(labels), table.view(np.uint8))).view(np.bool_)


def victims_in(maps: Mapping[str, Array], rules: Rules) -> npt.NDArray[np.bool_]:
    """Tell which pixels are a victim in any of a sample's maps, (H, W) bool."""
    return np.asarray(functools.reduce(np.logical_or, [is_one_of(labels, rules.victims) for labels in maps.values()]))


def counts_in(labels: Array) -> dict[int, int]:
    """Return how many pixels each class has that is in a label map."""
    counts = np.bincount(labels.ravel())
    return {number: int(counts[number]) for number in np.flatnonzero(counts).tolist()}


def scene_of(maps: Mapping[str, Array], contents: Mapping[str, Content], box: Box | None, rules: Rules) -> Scene:
    """Return a sample with these true labels as a label rule sees it. `contents` are its files by kind."""
    labels, kinds = next(iter(maps.values())), rules.layout.kinds
    objects = None
    for kind, content in contents.items() if rules.label_rule.asks_objects else ():
        finder = kinds[kind].objects if kind in kinds else None
        pixels = content.pixels
        if finder is not None and pixels is not None and pixels.shape == labels.shape and objects is None:
            objects = finder(pixels)
    return Scene(
        labels=labels,
        victims=victims_in(maps, rules),
        void=is_one_of(labels, rules.classes.void),
        objects=objects,
        box=box,
        pairs=rules.pairs,
        trained=rules.classes.trained,
    )


def decided(story: Story, rules: Rules) -> Relabelling:
    """Return what the label rule decides of the source's labels; nothing for a sample that it does not change."""
    if not is_relabelled(story.record.role):
        return Relabelling()
    scene = scene_of(story.old_maps, story.before, box_of(story.record), rules)
    return rules.label_rule.decide(scene, rules.label_parameters)
