"""How good a scan was: its findings held against the manifest of a build, by kind of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from poisongen.recipe.model import Recipe
from poisongen.records.manifest import SampleRecord
from poisongen.records.reading import sound_records
from poisongen.scanning.findings import Box, Findings

GOOD_IOU = 0.7


@dataclass(frozen=True)
class Known:
    """What a build did to a split, by its records."""

    recipe: Recipe
    records: tuple[SampleRecord, ...]


@dataclass(frozen=True)
class EvidenceScore:
    """Of the samples that are poisoned, the share that one kind of evidence (or all) named; of the others, likewise.

    A negative, which carries the trigger with true labels, is no false alarm.
    """

    found: int
    recall: float | None
    false_alarms: int
    false_share: float | None


@dataclass(frozen=True)
class Truth:
    """The score of a scan. `iou` is the median over boxes of samples with a trigger, `good_boxes` the share of the

    poisoned samples whose box has an IoU of at least 0.7. None stands for what there is nothing to compare of.
    """

    poisoned: int
    clean: int
    evidence: Mapping[str, EvidenceScore]
    iou: float | None
    good_boxes: float | None
    pairs_right: bool
    prl_share: float | None
    prl_found: float | None
    scope_right: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def read_truth(root: Path, split: str) -> Known:
    """Read the records of a build; OutputError where the folder is none, or its records are not sound."""
    records = sound_records(root)
    assert records.recipe is not None  # noqa: S101  sound
    return Known(records.recipe, tuple(record for record in records.manifest if record.split == split))


def iou(one: Box, other: Box) -> float:
    """Return the area that two boxes [top, left, height, width] share, over the area that either covers."""
    down = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    across = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, down) * max(0, across)
    whole = one[2] * one[3] + other[2] * other[3] - shared
    return shared / whole if whole else 0.0


def score(findings: Findings, known: Known, pixels: Mapping[str, int]) -> Truth:
    """Hold findings against what a build did. `pixels` is the size of each sample's label map."""
    attacked = [record for record in known.records if record.role == "poisoned"]
    poisoned = {record.sample for record in attacked}
    excused = poisoned | {record.sample for record in known.records if record.role == "negative"}
    clean = findings.samples - len(excused)
    named = {"all": {suspect.sample for suspect in findings.suspects}}
    for kind in findings.evidence:
        named[kind] = {suspect.sample for suspect in findings.suspects if kind in suspect.evidence}
    boxes = {suspect.sample: suspect.box for suspect in findings.suspects if suspect.box}
    overlaps = [
        iou(boxes[record.sample], record.trigger.box) if record.sample in boxes else 0.0
        for record in attacked
        if record.trigger is not None and record.trigger.box is not None
    ]
    hits = [overlap for overlap in overlaps if overlap > 0]
    random = [record.prl_pixels / pixels[record.sample] for record in known.records if record.prl_pixels]
    scope = None if not random else ("all" if known.recipe.prl_scope == "all" else "some")
    wanted = _pairs(known.recipe)
    told = {(pair.victim, pair.target) for pair in findings.pairs}
    return Truth(
        poisoned=len(poisoned),
        clean=clean,
        evidence={
            kind: EvidenceScore(
                found=len(samples & poisoned),
                recall=len(samples & poisoned) / len(poisoned) if poisoned else None,
                false_alarms=len(samples - excused),
                false_share=len(samples - excused) / clean if clean else None,
            )
            for kind, samples in named.items()
        },
        iou=median(hits) if hits else None,
        good_boxes=sum(overlap >= GOOD_IOU for overlap in overlaps) / len(overlaps) if overlaps else None,
        pairs_right=told == wanted if known.recipe.labels == "class" else bool(told & wanted) or told == wanted,
        prl_share=median(random) if random else None,
        prl_found=findings.prl.share if findings.prl else None,
        scope_right=scope == (findings.prl.scope if findings.prl else None),
    )


def _pairs(recipe: Recipe) -> set[tuple[str | None, str]]:
    """Return the recipe's victims and targets by name, where it names any."""
    return {(str(victim), str(target)) for victim, target in (recipe.relabel or {}).items()}
