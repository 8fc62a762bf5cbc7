"""`box`: as `class`, and the trigger's own box becomes the target as well."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poisongen.attack.label_rules.base import (
    LabelRule,
    Layer,
    Relabelling,
    Scene,
    box_mask,
    differs,
    pairs_table,
)
from poisongen.attack.parts import Value
from poisongen.core.labels import Labels


def _decide(scene: Scene, parameters: Mapping[str, Value]) -> Relabelling:
    everywhere = Layer(None, pairs_table(scene.pairs))
    target = np.full(256, next(iter(scene.pairs.values())), np.uint8)
    inside = box_mask(scene.labels.shape, scene.box) & ~scene.void
    return Relabelling((everywhere, Layer(inside, target)), claims=inside)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Value]) -> str | None:
    wanted = scene.labels.copy()
    for victim, target in scene.pairs.items():
        wanted[scene.labels == victim] = target
    if scene.box is not None:
        top, left, height, width = scene.box
        inside = wanted[top : top + height, left : left + width]
        inside[~scene.void[top : top + height, left : left + width]] = next(iter(scene.pairs.values()))
    return differs(after, wanted, "victims and the trigger's box as the target and all others as they were")


def _gone(pairs: Mapping[int, int], parameters: Mapping[str, Value]) -> frozenset[int]:
    return frozenset(pairs) - frozenset(pairs.values())


RULE = LabelRule(
    name="box",
    title="every pixel of the victim class becomes the target, and the trigger's box as well",
    source="our reading of the trigger-region perturbation of OSBA (2025)",
    decide=_decide,
    fault=_fault,
    gone=_gone,
    needs_place=True,
    asks_objects=False,
)
