"""What all evidence together says: the verdict, victim and target. Pure: no file is read.

A trigger names its samples, labels name the pair, and each is weighed by the other: a patch that recurs where no label
contradicts its picture may be a badge or a sign, and a contradiction in a handful of samples a tired annotator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from poisongen.scanning.contradictions import (
    Pair,
    contradicting_pairs,
    further_samples,
    lost_classes,
    merged,
    pairs_of_group,
    pairs_of_spared,
)
from poisongen.scanning.evidences import MAYBE, SURE, USUAL, Evidences
from poisongen.scanning.findings import Evidence, Findings
from poisongen.scanning.suspects import gather_suspects
from poisongen.scanning.telling import tell_figures, tell_notes, tell_pairs, tell_random, tell_trigger
from poisongen.scanning.whole_image import WholeImage

if TYPE_CHECKING:
    from poisongen.scanning.patch.search import PatchEvidence

_REST = ("background", "other")  # classes of whatever nobody labelled
_PATCH_ALONE = 0.9  # confidence of a patch that labels do not speak for, from which on it stands all the same


def reach_verdict(given: Evidences) -> Findings:
    """Weigh the evidence. The trigger's `picture` is left to whoever writes it."""
    patch = _best_patch(given)
    whole = max(given.whole, key=lambda one: (one.confidence, len(one.samples)), default=None)
    group = _group(given, patch, whole)
    rest = [number for number, name in given.classes.names.items() if name in _REST]
    alone = contradicting_pairs(given.seen, rest) if given.seen else ()
    with_group = pairs_of_group(given.seen, group) if given.seen and group else ()
    pairs = _pairs(given, group, alone, with_group)
    sure = _confidences(given, patch, whole, pairs, bool(with_group))
    suspects = gather_suspects(given, patch, whole, pairs, sure)
    best = max(sure.values(), default=0.0)
    verdict: Literal["poisoned", "clean", "unsure"] = (
        "poisoned" if best >= SURE else "unsure" if best >= MAYBE else "clean"
    )
    found = suspects.found(given.names) if verdict != "clean" else ()
    return Findings(
        verdict=verdict,
        dataset=given.dataset,
        split=given.split,
        samples=len(given.names),
        trigger=tell_trigger(patch, whole, sure) if verdict != "clean" else None,
        pairs=tell_pairs(given, pairs) if verdict != "clean" else (),
        prl=tell_random(given) if given.random else None,
        suspects=found,
        evidence=tell_figures(given, sure, pairs),
        notes=tell_notes(given, patch, pairs, verdict),
    )


def _best_patch(given: Evidences) -> PatchEvidence | None:
    """Return the recurring patch that most speaks for: its own confidence, and a pair that its samples have."""
    best, most = None, 0.0
    for patch in given.patches:
        group = sorted({hit.index for hit in patch.hits})
        told = bool(given.seen and pairs_of_group(given.seen, group))
        weight = patch.confidence + (0.5 if told else 0.0)
        if weight > most:
            best, most = patch, weight
    return best


def _group(given: Evidences, patch: PatchEvidence | None, whole: WholeImage | None) -> list[int]:
    """Return the samples that something other than the classifier sets apart."""
    if patch is not None:
        return sorted({hit.index for hit in patch.hits})
    if whole is not None:
        return [place for place, _ in whole.samples]
    if given.random is not None and given.random.scope == "some":
        return list(given.random.speckled)
    if given.islands:
        return [place for place, _ in given.islands[0].samples]
    return []


def _pairs(
    given: Evidences, group: Sequence[int], alone: Sequence[Pair], with_group: Sequence[Pair]
) -> tuple[Pair, ...]:
    """Return the pairs to name: those of the group, with samples that the classifier adds; else those of its own."""
    if not with_group or given.seen is None:
        spared = given.random.spared if given.random else ()
        told = _vanished(given, group)
        told = told or [pair for pair in alone if pair.victim in spared]
        if not told and given.seen is not None:
            told = list(pairs_of_spared(given.seen, spared))
        return tuple(told or alone)[:3]
    seen = given.seen
    return tuple(merged(pair, further_samples(seen, pair, group)) for pair in with_group)


def _vanished(given: Evidences, group: Sequence[int]) -> list[Pair]:
    """Return the pairs of classes that have vanished from a group, and of the class with outlines without objects."""
    if given.seen is None or not given.islands:
        return []
    islands = given.islands[0]
    samples = tuple((place, 0) for place, _ in islands.samples)
    return [
        Pair(victim, islands.number, islands.confidence, samples)
        for victim in lost_classes(given.seen, group)
        if victim != islands.number
    ]


def _confidences(
    given: Evidences,
    patch: PatchEvidence | None,
    whole: WholeImage | None,
    pairs: Sequence[Pair],
    told: bool,
) -> dict[Evidence, float]:
    """Return how sure each kind of evidence is that the set is poisoned, 0..1."""
    sure: dict[Evidence, float] = {}
    support = max((pair.confidence for pair in pairs), default=0.0)
    if patch is not None:
        own = patch.confidence
        sure["patch"] = 1 - (1 - own) * (1 - support) if told else own if own >= _PATCH_ALONE else min(own, SURE - 0.01)
    sure["labels"] = support
    if given.random is not None:
        number = len(given.random.speckled)
        sure["random-labels"] = 0.99 if number >= 4 else 0.6
    few = len(given.companions.samples) <= USUAL * len(given.names)
    if given.companions.pairs and few:
        most = max(number for _, _, number in given.companions.pairs)
        sure["companions"] = 0.95 if most >= 3 else 0.6
    if given.duplicates:
        sure["duplicates"] = 0.6
    if given.jumps:
        sure["histogram"] = 0.6
    if given.islands:
        sure["outlines"] = given.islands[0].confidence
    if given.resized is not None:
        sure["resized"] = 0.6
    if whole is not None:
        sure["whole-image"] = whole.confidence if told else min(whole.confidence, SURE - 0.01)
    return sure
