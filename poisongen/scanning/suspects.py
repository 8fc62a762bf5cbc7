"""Who is suspect: every kind of evidence that counts for something says what it has against each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poisongen.scanning.contradictions import Pair, faint_samples
from poisongen.scanning.evidences import MAYBE, SURE, Evidences
from poisongen.scanning.findings import Box, Evidence, SuspectFound
from poisongen.scanning.whole_image import WholeImage

if TYPE_CHECKING:
    from poisongen.scanning.patch.search import PatchEvidence

_SUSPECT = 0.5  # score from which on a sample is named
_MISSED, _EDGES = 0.3, 0.2  # what lends weight to other evidence, and alone accuses nobody


@dataclass
class Suspects:
    """The suspects while they are gathered: by place what speaks against each, with its score, and the box."""

    scores: dict[int, dict[Evidence, float]] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)

    def add(self, place: int, evidence: Evidence, score: float, box: Box | None = None) -> None:
        """Note what a kind of evidence has against a sample (place); of several notes the highest score counts."""
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


def gather_suspects(
    given: Evidences,
    patch: PatchEvidence | None,
    whole: WholeImage | None,
    pairs: Sequence[Pair],
    sure: Mapping[Evidence, float],
) -> Suspects:
    """Gather who is suspect: every kind of evidence that counts for something says what it has against each."""
    out = Suspects()
    if patch is not None and sure["patch"] >= MAYBE:
        for hit in patch.hits:
            out.add(hit.index, "patch", hit.score, hit.box)
    known = set(out.scores)
    for pair in pairs:
        for place, cells in pair.samples:
            if place in known or sure["labels"] >= (SURE if known else MAYBE):
                out.add(place, "labels", min(0.95, 0.5 + 0.02 * cells))
        if pair.confidence >= SURE and given.absences is not None and given.seen is not None and not known:
            missed = given.absences.missed(pair.victim)
            for place, _ in faint_samples(given.seen, pair, missed):
                out.add(place, "labels", 0.5)
    if given.random is not None and given.random.scope == "some":
        for place in given.random.speckled:
            out.add(place, "random-labels", 0.9)
    if sure.get("companions", 0.0) >= MAYBE:
        for place in given.companions.samples:
            out.add(place, "companions", 0.8)
    for islands in given.islands:
        if sure["outlines"] >= MAYBE:
            for place, _ in islands.samples:
                out.add(place, "outlines", 0.7)
    if given.resized is not None and given.resized.scope == "some":
        for place in given.resized.samples:
            out.add(place, "resized", 0.6)
    for _, place in given.duplicates:  # the one that has lost a class
        out.add(place, "duplicates", 0.5)
    for place in given.jumps:
        out.add(place, "histogram", 0.6)
    if whole is not None and sure["whole-image"] >= MAYBE:
        for place, score in whole.samples:
            out.add(place, "whole-image", score)
    for pair in pairs:
        _lend_weight(out, given, pair)
    return out


def _lend_weight(out: Suspects, given: Evidences, pair: Pair) -> None:
    """Note of the suspects in which the pair's victim is missed, or the target has edges that the labels do not."""
    if given.absences is not None:
        missed = given.absences.missed(pair.victim)
        for place in [at for at in out.scores if missed[at]]:
            out.add(place, "absence", _MISSED)
    if given.edges is not None:
        stands_out = given.edges.stands_out(pair.target)
        for place in [at for at in out.scores if stands_out[at]]:
            out.add(place, "edges", _EDGES)
