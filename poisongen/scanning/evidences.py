"""All that was found in a set, by kind of evidence: what the verdict is reached from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poisongen.datasets.base import ClassTable
from poisongen.scanning.absences import Absences
from poisongen.scanning.classifier import Seen
from poisongen.scanning.companions import CompanionFigures
from poisongen.scanning.hidden_edges import HiddenEdges
from poisongen.scanning.outlines import Islands
from poisongen.scanning.random_labels import RandomLabels
from poisongen.scanning.resized import Resized
from poisongen.scanning.whole_image import WholeImage

if TYPE_CHECKING:
    from poisongen.scanning.patch.search import PatchEvidence

SURE, MAYBE = 0.8, 0.4
USUAL = 0.5  # of the samples: what more have is no attack, the set was made so


@dataclass(frozen=True)
class Evidences:
    """All that was found in a set. `names` are the samples'; places of samples elsewhere are places in it."""

    dataset: str
    split: str
    names: Sequence[str]
    classes: ClassTable
    patches: tuple[PatchEvidence, ...] = ()
    random: RandomLabels | None = None
    seen: Seen | None = None
    companions: CompanionFigures = field(default_factory=CompanionFigures)
    duplicates: Sequence[tuple[int, int]] = ()
    jumps: Sequence[int] = ()
    whole: tuple[WholeImage, ...] = ()
    islands: tuple[Islands, ...] = ()
    resized: Resized | None = None
    absences: Absences | None = None
    edges: HiddenEdges | None = None


def set_apart(
    total: int, patches: Sequence[PatchEvidence], whole: Sequence[WholeImage], random: RandomLabels | None
) -> frozenset[int]:
    """Return the samples (places) that something sets apart: what they hold must not be learned as the usual thing.

    What is in half of a set or more is usual.
    """
    groups = [{hit.index for hit in patch.hits} for patch in patches]
    groups += [{place for place, _ in one.samples} for one in whole]
    if random is not None and random.scope == "some":
        groups.append(set(random.speckled))
    apart: set[int] = set()
    for group in sorted(groups, key=len):
        if len(apart | group) < USUAL * total:
            apart |= group
    return frozenset(apart)
