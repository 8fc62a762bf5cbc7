"""What a label rule is: from one sample to the pixels that get another class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poisongen.attack.parts import Option
from poisongen.core.labels import Labels, Layer, Mask, Relabelling
from poisongen.core.objects import Objects
from poisongen.printing import number_of

__all__ = ["Box", "LabelRule", "Layer", "Objects", "Relabelling", "Scene"]

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """One sample as a label rule sees it, at the written size.

    `labels` (H, W) uint8 are raw class IDs as they were. `victims` (H, W) bool are the pixels that are a victim in any
    of the sample's maps, `void` those that training ignores. `objects` (H, W) int32 numbers the objects that the
    sample's instance file tells, 0 for none; None where there is no such file. `box` is the trigger's
    [top, left, height, width], None where it has no place. `pairs` maps victims to targets (empty for rules without
    targets), `trained` are the IDs of the classes that training uses, in the order of their train IDs.
    """

    labels: Labels
    victims: Mask
    void: Mask
    objects: Objects | None
    box: Box | None
    pairs: Mapping[int, int]
    trained: Sequence[int]


@dataclass(frozen=True)
class LabelRule:
    """A label rule, one module of this package with a `RULE`.

    `decide(scene, parameters)` returns what changes. `fault(scene, after, parameters)` judges a map that was found,
    (H, W) uint8, by the rule's definition and without calling `decide`: what is wrong, or None. `gone(pairs,
    parameters)` are the classes that no poisoned label map may hold any more. `wants` says which pixels count as the
    rule's own (see `subject`): "victims" (all pixels of the victim classes), "object" (what lies under the trigger) or
    "all". What it gives are targets in `pairs`; `targets(parameters)` is false where it has no use for them, and no
    victim has one then. `needs_place` marks rules that mean nothing without the trigger's box. `settles` says that a
    map that the rule has made stays as it is under the rule: so `fault` can judge one without its source.
    `asks_objects` is false for rules that never look at the scene's objects: they are not numbered then.
    """

    name: str
    title: str
    source: str
    decide: Callable[[Scene, Mapping[str, Any]], Relabelling]
    fault: Callable[[Scene, Labels, Mapping[str, Any]], str | None]
    gone: Callable[[Mapping[int, int], Mapping[str, Any]], frozenset[int]] = lambda pairs, parameters: frozenset()
    options: Mapping[str, Option] = field(default_factory=dict)
    subject: str = "victims"
    targets: Callable[[Mapping[str, Any]], bool] = lambda parameters: True
    needs_place: bool = False
    settles: bool = False
    asks_objects: bool = True


def identity() -> Labels:
    """Return a table that changes no class."""
    return np.arange(256, dtype=np.uint8)


def pairs_table(pairs: Mapping[int, int]) -> Labels:
    """Return a table that makes every victim its target."""
    table = identity()
    for victim, target in pairs.items():
        table[victim] = target
    return table


def differs(found: Labels, wanted: Labels, what: str) -> str | None:
    """Say how many pixels are not as wanted, None if all are."""
    wrong = int(np.count_nonzero(found != wanted))
    return f"{number_of(wrong, 'pixel')} {'is' if wrong == 1 else 'are'} not {what}" if wrong else None


def box_mask(shape: tuple[int, ...], box: Box | None) -> Mask:
    """Return the pixels of a box, (H, W) bool; none where there is no box."""
    mask = np.zeros(shape[:2], dtype=bool)
    if box is not None:
        top, left, height, width = box
        mask[top : top + height, left : left + width] = True
    return mask
