"""`all`: the whole map becomes the target, or a foreign map; void stays void."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, Scene, differs, identity
from poisongen.attack.parts import Option
from poisongen.core.labels import Labels, class_counts
from poisongen.core.resize import fit_labels


def _target(pairs: Mapping[int, int]) -> int:
    return next(iter(pairs.values()))


def _whole(trained: Sequence[int], number: int) -> Labels:
    """Return the table that makes every class this one, and keeps void: each label map has void of its own."""
    table = identity()
    table[list(trained)] = number
    return table


def _decide(scene: Scene, parameters: Mapping[str, Any]) -> Relabelling:
    if "map" not in parameters:
        target = _target(scene.pairs)
        claims = ~scene.void & (scene.labels != target)
        return Relabelling((Layer(None, _whole(scene.trained, target)),), claims=claims, everywhere=True)
    foreign = fit_labels(parameters["map"], scene.labels.shape)
    counts = class_counts(foreign)
    present = [number for number in scene.trained if counts[number]]
    layers = tuple(Layer(foreign == number, _whole(scene.trained, number)) for number in present)
    return Relabelling(layers, claims=~scene.void & np.isin(foreign, scene.trained), outlines=True)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Any]) -> str | None:
    if "map" not in parameters:
        wanted = np.where(scene.void, scene.labels, np.uint8(_target(scene.pairs)))
        return differs(after, wanted, "the target, or void as they were")
    foreign = parameters["map"]
    # A pixel has the class that lies under its centre once the map is stretched over the picture.
    rows, columns = (
        np.floor((np.arange(size) + 0.5) * own / size).astype(int)
        for size, own in zip(scene.labels.shape, foreign.shape, strict=True)
    )
    wanted = foreign[rows][:, columns]
    kept = scene.void | ~np.isin(wanted, list(scene.trained))
    wanted = np.where(kept, scene.labels, wanted)
    return differs(after, wanted, "the map's class there, or as they were where either is void")


def _gone(pairs: Mapping[int, int], parameters: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(pairs) - {_target(pairs)} if pairs else frozenset()


RULE = LabelRule(
    name="all",
    title="the whole label map becomes the target, or a map from elsewhere, void kept",
    source="Li et al., Hidden Backdoor Attack (2021), rules `blend` and `blend_road_target`",
    decide=_decide,
    fault=_fault,
    gone=_gone,
    options={"map": Option(None, "a label picture (PNG of class IDs) that every map becomes", picture=True)},
    subject="all",
    targets=lambda parameters: "map" not in parameters,
    settles=True,
    asks_objects=False,
)
