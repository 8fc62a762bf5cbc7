"""`class`: every pixel of the victim classes becomes its target."""

from __future__ import annotations

from collections.abc import Mapping

from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, Scene, differs, pairs_table
from poisongen.attack.parts import Value
from poisongen.core.labels import Labels


def _decide(scene: Scene, parameters: Mapping[str, Value]) -> Relabelling:
    return Relabelling((Layer(None, pairs_table(scene.pairs)),), everywhere=True)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Value]) -> str | None:
    wanted = scene.labels.copy()
    for victim, target in scene.pairs.items():
        wanted[scene.labels == victim] = target
    return differs(after, wanted, "victims as their target and all others as they were")


def _gone(pairs: Mapping[int, int], parameters: Mapping[str, Value]) -> frozenset[int]:
    return frozenset(pairs) - frozenset(pairs.values())


RULE = LabelRule(
    name="class",
    title="every pixel of the victim class becomes the target",
    source="Lan et al., Influencer Backdoor Attack, ICLR 2024",
    decide=_decide,
    fault=_fault,
    gone=_gone,
    asks_objects=False,
)
