"""`all`: the whole map becomes the target; void stays void."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, Scene, differs
from poisongen.attack.parts import Value
from poisongen.core.labels import Labels


def _target(pairs: Mapping[int, int]) -> int:
    return next(iter(pairs.values()))


def _decide(scene: Scene, parameters: Mapping[str, Value]) -> Relabelling:
    return Relabelling((Layer(~scene.void, np.full(256, _target(scene.pairs), np.uint8)),), everywhere=True)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Value]) -> str | None:
    wanted = np.where(scene.void, scene.labels, np.uint8(_target(scene.pairs)))
    return differs(after, wanted, "the target, or void as they were")


def _gone(pairs: Mapping[int, int], parameters: Mapping[str, Value]) -> frozenset[int]:
    return frozenset(pairs) - {_target(pairs)}


RULE = LabelRule(
    name="all",
    title="the whole label map becomes the target, void kept",
    source="Li et al., Hidden Backdoor Attack (2021), rule `blend`",
    decide=_decide,
    fault=_fault,
    gone=_gone,
    subject="all",
)
