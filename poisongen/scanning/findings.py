"""What scan says of a dataset, as typed models: `findings.json` is these, and docs/scan.md documents them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1
"""The version of findings.json; later ones may add keys."""

Evidence = Literal[
    "patch", "labels", "random-labels", "companions", "duplicates", "histogram", "whole-image", "outlines", "resized",
    "absence", "edges",
]  # fmt: skip
Score = Annotated[float, Field(ge=0, le=1)]
Box = tuple[int, int, int, int]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TriggerFound(_Model):
    """The trigger: a patch with its `size` (height, width) and `picture` (a PNG beside findings.json, null where none

    was written), or one on the whole picture, with what it is in `words`.
    """

    kind: Literal["patch", "sinusoid", "dct", "blend"]
    size: tuple[int, int] | None = None
    picture: str | None = None
    words: str | None = None
    confidence: Score


class PairFound(_Model):
    """A victim and its target, by name; victim null where only a companion knows of an object."""

    victim: str | None
    target: str
    confidence: Score


class RandomFound(_Model):
    """Random labels: the `share` of a label map (median), in `all` or `some` samples, and what was drawn from:

    `image`, `dataset`, `void` or the name of one class. `shared` tells that positions repeat from map to map.
    """

    share: Score
    scope: Literal["all", "some"]
    classes: str
    shared: bool = False


class SuspectFound(_Model):
    """A sample that should not be trained on: how sure (0..1), the trigger's box, what speaks against it."""

    sample: str
    score: Score
    box: Box | None = None
    evidence: tuple[Evidence, ...]


class EvidenceFound(_Model):
    """What one kind of evidence has: its own score (0 none, 1 sure), how many samples, and its figures."""

    score: Score
    samples: int
    figures: dict[str, Any] = Field(default_factory=dict)


class Findings(_Model):
    """The whole of what was found in a split.

    `suspects` are sorted by sample. `evidence` has an entry for every kind that was looked for; one that could not be
    looked for says so in its figures (`why`). `notes` are sentences for people.
    """

    format: int = FORMAT
    verdict: Literal["poisoned", "clean", "unsure"]
    dataset: str
    split: str
    samples: int
    trigger: TriggerFound | None = None
    pairs: tuple[PairFound, ...] = ()
    prl: RandomFound | None = None
    suspects: tuple[SuspectFound, ...] = ()
    evidence: dict[Evidence, EvidenceFound] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data; what is not known is null."""
        return self.model_dump(mode="json")
