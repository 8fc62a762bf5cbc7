"""What all evidence together says: the verdict, victim and target, and who is suspect. Pure: no file is read.

A trigger names its samples, labels name the pair, and each is weighed by the other: a patch that recurs where no label
contradicts its picture may be a badge or a sign, and a contradiction in a handful of samples a tired annotator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from poisongen.datasets.base import ClassTable
from poisongen.scanning.classifier import Seen
from poisongen.scanning.companions import CompanionFigures
from poisongen.scanning.contradictions import (
    Pair,
    contradicting_pairs,
    further_samples,
    merged,
    pairs_of_group,
    pairs_of_spared,
)
from poisongen.scanning.findings import (
    Box,
    Evidence,
    EvidenceFound,
    Findings,
    PairFound,
    RandomFound,
    SuspectFound,
    TriggerFound,
)
from poisongen.scanning.random_labels import RandomLabels
from poisongen.scanning.whole_image import WholeImage

if TYPE_CHECKING:
    from poisongen.scanning.patch.search import PatchEvidence

SURE, MAYBE = 0.8, 0.4
_SUSPECT = 0.5  # score from which on a sample is named
_PATCH_ALONE = 0.9  # confidence of a patch that labels do not speak for, from which on it stands all the same
_USUAL = 0.5  # of the samples
_FEW_DISAGREE = 0.5  # of the samples: a set in which more do was made so


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


@dataclass
class _Suspects:
    """The suspects while they are gathered: by place what speaks against each, with its score, and the box."""

    scores: dict[int, dict[Evidence, float]] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)

    def add(self, place: int, evidence: Evidence, score: float, box: Box | None = None) -> None:
        mine = self.scores.setdefault(place, {})
        mine[evidence] = max(score, mine.get(evidence, 0.0))
        if box is not None:
            self.boxes.setdefault(place, box)

    def found(self, names: Sequence[str]) -> tuple[SuspectFound, ...]:
        """Return those that are suspect enough, sorted by name; evidence adds up as if it were independent."""
        out = []
        for place, mine in self.scores.items():
            innocent = 1.0
            for score in mine.values():
                innocent *= 1 - min(score, 0.99)
            if 1 - innocent >= _SUSPECT:
                out.append(
                    SuspectFound(
                        sample=names[place],
                        score=round(1 - innocent, 4),
                        box=self.boxes.get(place),
                        evidence=tuple(sorted(mine)),
                    )
                )
        return tuple(sorted(out, key=lambda suspect: suspect.sample))


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
        if len(apart | group) < _USUAL * total:
            apart |= group
    return frozenset(apart)


def reach_verdict(given: Evidences) -> Findings:
    """Weigh the evidence. The trigger's `picture` is left to whoever writes it."""
    patch = _best_patch(given)
    whole = max(given.whole, key=lambda one: (one.confidence, len(one.samples)), default=None)
    group = _group(given, patch, whole)
    alone = contradicting_pairs(given.seen) if given.seen else ()
    with_group = pairs_of_group(given.seen, group) if given.seen and group else ()
    pairs = _pairs(given, group, alone, with_group)
    sure = _confidences(given, patch, whole, pairs, bool(with_group))
    suspects = _suspects(given, patch, whole, pairs, sure)
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
        trigger=_trigger(patch, whole, sure) if verdict != "clean" else None,
        pairs=_named(given, pairs) if verdict != "clean" else (),
        prl=_random(given) if given.random else None,
        suspects=found,
        evidence=_figures(given, sure, pairs),
        notes=_notes(given, patch, pairs, verdict),
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
    return []


def _pairs(
    given: Evidences, group: Sequence[int], alone: Sequence[Pair], with_group: Sequence[Pair]
) -> tuple[Pair, ...]:
    """Return the pairs to name: those of the group, with samples that the classifier adds; else those of its own."""
    if not with_group or given.seen is None:
        spared = given.random.spared if given.random else ()
        told = [pair for pair in alone if pair.victim in spared]
        if not told and given.seen is not None:
            told = list(pairs_of_spared(given.seen, spared))
        return tuple(told or alone)[:3]
    seen = given.seen
    return tuple(merged(pair, further_samples(seen, pair, group)) for pair in with_group)


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
    few = len(given.companions.samples) <= _FEW_DISAGREE * len(given.names)
    if given.companions.pairs and few:
        most = max(number for _, _, number in given.companions.pairs)
        sure["companions"] = 0.95 if most >= 3 else 0.6
    if given.duplicates:
        sure["duplicates"] = 0.6
    if given.jumps:
        sure["histogram"] = 0.6
    if whole is not None:
        sure["whole-image"] = whole.confidence if told else min(whole.confidence, SURE - 0.01)
    return sure


def _suspects(
    given: Evidences,
    patch: PatchEvidence | None,
    whole: WholeImage | None,
    pairs: Sequence[Pair],
    sure: Mapping[Evidence, float],
) -> _Suspects:
    """Gather who is suspect: every kind of evidence that counts for something says what it has against each."""
    out = _Suspects()
    if patch is not None and sure["patch"] >= MAYBE:
        for hit in patch.hits:
            out.add(hit.index, "patch", hit.score, hit.box)
    known = set(out.scores)
    for pair in pairs:
        for place, cells in pair.samples:
            if place in known or sure["labels"] >= (SURE if known else MAYBE):
                out.add(place, "labels", min(0.95, 0.5 + 0.02 * cells))
    if given.random is not None and given.random.scope == "some":
        for place in given.random.speckled:
            out.add(place, "random-labels", 0.9)
    if sure.get("companions", 0.0) >= MAYBE:
        for place in given.companions.samples:
            out.add(place, "companions", 0.8)
    for _, place in given.duplicates:  # the one that has lost a class
        out.add(place, "duplicates", 0.5)
    for place in given.jumps:
        out.add(place, "histogram", 0.6)
    if whole is not None and sure["whole-image"] >= MAYBE:
        for place, score in whole.samples:
            out.add(place, "whole-image", score)
    return out


def _trigger(
    patch: PatchEvidence | None, whole: WholeImage | None, sure: Mapping[Evidence, float]
) -> TriggerFound | None:
    if patch is not None and sure["patch"] >= MAYBE:
        return TriggerFound(kind="patch", size=patch.size, confidence=round(sure["patch"], 4))
    if whole is not None and sure["whole-image"] >= MAYBE:
        return TriggerFound(kind=whole.kind, words=whole.words, confidence=round(sure["whole-image"], 4))
    return None


def _named(given: Evidences, pairs: Sequence[Pair]) -> tuple[PairFound, ...]:
    """Return the pairs by name; where pictures tell none, those that the companions tell."""
    names = given.classes.names
    found = [
        PairFound(victim=names[pair.victim], target=names[pair.target], confidence=round(pair.confidence, 4))
        for pair in pairs
    ]
    if found or len(given.companions.samples) > _FEW_DISAGREE * len(given.names):
        return tuple(found)
    return tuple(
        PairFound(victim=None if victim is None else names[victim], target=names[target], confidence=0.9)
        for victim, target, number in given.companions.pairs[:3]
        if number >= 3 and victim in {None, *names}
    )


def _random(given: Evidences) -> RandomFound:
    assert given.random is not None  # noqa: S101  asked before
    drawn = given.random.classes
    return RandomFound(
        share=round(min(given.random.share, 1.0), 6),
        scope=given.random.scope,
        classes=drawn if isinstance(drawn, str) else given.classes.names.get(drawn, str(drawn)),
        shared=given.random.shared,
    )


def _figures(given: Evidences, sure: Mapping[Evidence, float], pairs: Sequence[Pair]) -> dict[Evidence, EvidenceFound]:
    """Return every kind of evidence with its own score and figures."""
    names = given.classes.names
    seen, random = given.seen, given.random
    why = {} if seen else {"why": "too few samples or classes to learn from"}
    figures: dict[Evidence, tuple[int, dict[str, Any]]] = {
        "patch": (
            len({hit.index for patch in given.patches for hit in patch.hits}),
            {"found": [{"size": list(patch.size), "confidence": round(patch.confidence, 4), "hits": len(patch.hits)}
                       for patch in given.patches]},
        ),
        "labels": (
            len({place for pair in pairs for place, _ in pair.samples}),
            {**why, **({"right": round(seen.right, 4)} if seen else {}),
             "pairs": [{"victim": names[pair.victim], "target": names[pair.target], "samples": len(pair.samples),
                        "cells": sum(cells for _, cells in pair.samples)} for pair in pairs]},
        ),
        "random-labels": (
            len(random.speckled) if random else 0,
            {"spared": [names.get(number, str(number)) for number in random.spared]} if random else {},
        ),
        "companions": (
            len(given.companions.samples),
            {"kinds": dict(given.companions.kinds),
             "pairs": [{"companion": None if victim is None else names.get(victim, str(victim)),
                        "labels": names.get(target, str(target)), "samples": number}
                       for victim, target, number in given.companions.pairs[:10]]},
        ),
        "duplicates": (
            len({place for _, place in given.duplicates}),
            {"pairs": [[given.names[one], given.names[other]] for one, other in list(given.duplicates)[:50]]},
        ),
        "histogram": (len(given.jumps), {}),
        "whole-image": (
            len({place for one in given.whole for place, _ in one.samples}),
            {"found": [{"kind": one.kind, "words": one.words, "samples": len(one.samples)} for one in given.whole]},
        ),
    }  # fmt: skip
    return {
        kind: EvidenceFound(score=round(sure.get(kind, 0.0), 4), samples=samples, figures=told)
        for kind, (samples, told) in figures.items()
    }


def _notes(given: Evidences, patch: PatchEvidence | None, pairs: Sequence[Pair], verdict: str) -> tuple[str, ...]:
    """Return what people should know besides."""
    out = []
    if given.seen is None:
        out.append("labels were not held against pictures: too few samples or classes to learn from")
    if given.random is not None and given.random.scope == "all":
        out.append("every label map has random labels, those of samples that are no suspects as well")
    if given.random is not None and given.random.spared:
        names = ", ".join(given.classes.names[number] for number in given.random.spared)
        out.append(f"random labels leave {names} alone, as an attack does with its victim")
    if patch is not None and not pairs and verdict == "unsure":
        out.append(
            "a patch recurs, and no label contradicts its pictures: it may be a badge, a sign or a camera's mark"
        )
    if len(given.companions.samples) > _FEW_DISAGREE * len(given.names):
        out.append("label files of most samples disagree: the set was made so, and nothing follows from it")
    return tuple(out)
