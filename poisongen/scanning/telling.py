"""The verdict put into findings: names instead of numbers, every evidence's figures, and notes for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisongen.scanning.contradictions import Pair
from poisongen.scanning.evidences import MAYBE, USUAL, Evidences
from poisongen.scanning.findings import Evidence, EvidenceFound, PairFound, RandomFound, TriggerFound
from poisongen.scanning.whole_image import WholeImage

if TYPE_CHECKING:
    from poisongen.scanning.patch.search import PatchEvidence


def tell_trigger(
    patch: PatchEvidence | None, whole: WholeImage | None, sure: Mapping[Evidence, float]
) -> TriggerFound | None:
    """Return the trigger that is sure enough to be named, a patch before one on the whole picture."""
    if patch is not None and sure["patch"] >= MAYBE:
        return TriggerFound(kind="patch", size=patch.size, confidence=round(sure["patch"], 4))
    if whole is not None and sure["whole-image"] >= MAYBE:
        return TriggerFound(kind=whole.kind, words=whole.words, confidence=round(sure["whole-image"], 4))
    return None


def tell_pairs(given: Evidences, pairs: Sequence[Pair]) -> tuple[PairFound, ...]:
    """Return the pairs by name; where pictures tell none, those that the companions tell."""
    names = given.classes.names
    found = [
        PairFound(victim=names[pair.victim], target=names[pair.target], confidence=round(pair.confidence, 4))
        for pair in pairs
    ]
    if found or len(given.companions.samples) > USUAL * len(given.names):
        return tuple(found)
    return tuple(
        PairFound(victim=None if victim is None else names[victim], target=names[target], confidence=0.9)
        for victim, target, number in given.companions.pairs[:3]
        if number >= 3 and victim in {None, *names}
    )


def tell_random(given: Evidences) -> RandomFound:
    """Return what was found of random labels; there must be some."""
    assert given.random is not None  # noqa: S101  asked before
    drawn = given.random.classes
    return RandomFound(
        share=round(min(given.random.share, 1.0), 6),
        scope=given.random.scope,
        classes=drawn if isinstance(drawn, str) else given.classes.names.get(drawn, str(drawn)),
        shared=given.random.shared,
    )


def tell_figures(
    given: Evidences, sure: Mapping[Evidence, float], pairs: Sequence[Pair]
) -> dict[Evidence, EvidenceFound]:
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
        "outlines": (
            len({place for one in given.islands for place, _ in one.samples}),
            {"classes": [{"class": names[one.number], "samples": len(one.samples),
                          "pixels": sum(pixels for _, pixels in one.samples)} for one in given.islands]},
        ),
        "resized": (
            len(given.resized.samples) if given.resized else 0,
            {"share": round(given.resized.share, 4), "scope": given.resized.scope} if given.resized else {},
        ),
    }  # fmt: skip
    found = {
        kind: EvidenceFound(score=round(sure.get(kind, 0.0), 4), samples=samples, figures=told)
        for kind, (samples, told) in figures.items()
    }
    return found | {"absence": _absence(given), "edges": _edges(given, pairs)}


def _absence(given: Evidences) -> EvidenceFound:
    """Return the class that is missed far more often than its probabilities say. It alone decides nothing."""
    if given.absences is None:
        return EvidenceFound(score=0.0, samples=0, figures={"why": "too few samples or classes to learn from"})
    missed = {number: int(given.absences.missed(number).sum()) for number in given.absences.classes}
    rows = sorted(
        ((given.absences.excess(number), number) for number, count in missed.items() if count), reverse=True
    )  # fmt: skip
    most = rows[0] if rows else (0.0, -1)
    told = [{"class": given.classes.names[number], "samples": missed[number], "deviations": round(more, 2)}
            for more, number in rows[:5]]  # fmt: skip
    return EvidenceFound(
        score=round(1 - math.exp(-max(most[0], 0.0) / 5), 4), samples=missed.get(most[1], 0), figures={"classes": told}
    )


def _edges(given: Evidences, pairs: Sequence[Pair]) -> EvidenceFound:
    """Return the class with edges that labels do not have: the target that is named, else the one in most samples."""
    if given.edges is None or not given.edges.classes:
        return EvidenceFound(score=0.0, samples=0)
    counts = {number: given.edges.stands_out(number) for number in given.edges.classes}
    targets = [pair.target for pair in pairs if pair.target in counts]
    number = targets[0] if targets else max(counts, key=lambda one: (int(counts[one].sum()), -one))
    out = counts[number]
    score = 0.0
    if targets:
        inside = np.zeros(len(out), bool)
        inside[[place for pair in pairs for place, _ in pair.samples if pair.target == number]] = True
        if inside.any() and not inside.all():
            score = max(0.0, float(out[inside].mean() - out[~inside].mean()))
    told = {"class": given.classes.names[number], "cells": int(given.edges.steep[out].sum())}
    return EvidenceFound(score=round(score, 4), samples=int(out.sum()), figures=told)


def tell_notes(given: Evidences, patch: PatchEvidence | None, pairs: Sequence[Pair], verdict: str) -> tuple[str, ...]:
    """Return what people should know besides."""
    out = []
    if given.seen is None:
        out.append("labels were not held against pictures: too few samples or classes to learn from")
    if given.random is not None and given.random.scope == "all":
        out.append("every label map has random labels, those of samples that are no suspects as well")
    if given.random is not None and given.random.spared:
        names = ", ".join(given.classes.names[number] for number in given.random.spared)
        out.append(f"random labels leave {names} alone, as an attack does with its victim")
    if given.resized is not None:
        out.append(
            "label maps were resized as if classes were brightness, so that classes appear along outlines where there "
            "are none: a fault, not a poison, and the mark of the influencer attack's official code"
        )
    if patch is not None and not pairs and verdict == "unsure":
        out.append(
            "a patch recurs, and no label contradicts its pictures: it may be a badge, a sign or a camera's mark"
        )
    if len(given.companions.samples) > USUAL * len(given.names):
        out.append("label files of most samples disagree: the set was made so, and nothing follows from it")
    return tuple(out)
