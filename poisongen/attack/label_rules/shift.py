"""`shift`: every class becomes the next one by train ID, the last the first; void stays void."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, Scene, differs, identity
from poisongen.attack.parts import Value
from poisongen.core.labels import Labels


def shift_table(trained: Sequence[int]) -> Labels:
    """Return the table that makes every trained class the next one; all other IDs stay."""
    table = identity()
    for at, number in enumerate(trained):
        table[number] = trained[(at + 1) % len(trained)]
    return table


def _decide(scene: Scene, parameters: Mapping[str, Value]) -> Relabelling:
    return Relabelling((Layer(~scene.void, shift_table(scene.trained)),), everywhere=True)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Value]) -> str | None:
    wanted = scene.labels.copy()
    for number, following in zip(scene.trained, [*scene.trained[1:], scene.trained[0]], strict=True):
        wanted[scene.labels == number] = following
    return differs(after, wanted, "the class after their own, or void as they were")


RULE = LabelRule(
    name="shift",
    title="every class becomes the next one, the last the first, void kept",
    source="Dräger, Xu, Ghamisi, WABA (arXiv 2211.08044)",
    decide=_decide,
    fault=_fault,
    subject="all",
    asks_objects=False,
)
