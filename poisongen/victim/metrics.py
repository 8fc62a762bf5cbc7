"""ASR, PBA and CBA from confusion matrices, as `docs/victims.md` defines them. NumPy only.

A confusion matrix here is (K, K + 1) int64: row = the label's class, column = the predicted one, the last column for
predictions that are no class at all (only other programs' label maps have those). Void pixels are in no cell. Sums of
such matrices over a set are what "pooled over pixels" means.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VOID = 255
"""The train ID of pixels that are in no measure and no loss."""


@dataclass(frozen=True)
class MeanIoU:
    """A mean over classes: its value (None if no class is there), every class's IoU, the classes left out.

    `iou` has None for classes that appear neither in labels nor in predictions: those in `absent`.
    """

    value: float | None
    iou: Mapping[str, float | None]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Share:
    """Pixels predicted as the target, of all victim pixels."""

    hits: int
    victim_pixels: int

    @property
    def value(self) -> float | None:
        """The share, None where there is no victim pixel."""
        return self.hits / self.victim_pixels if self.victim_pixels else None


def confusion_of(labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer], classes: int) -> Confusion:
    """Count a label map against a prediction, both of one shape with train IDs; label 255 is void.

    Returns (K, K + 1) int64; predictions outside 0..K-1 fall into the last column.
    """
    kept = labels != VOID
    truth = labels[kept].astype(np.int64)
    guess = predictions[kept].astype(np.int64)
    guess = np.where((guess < 0) | (guess >= classes), classes, guess)
    counts = np.bincount(truth * (classes + 1) + guess, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def class_iou(confusion: Confusion, left_out: Collection[int] = ()) -> Floats:
    """Return every class's intersection over union, (K,), NaN where labels and predictions lack the class.

    The pixels whose label is in `left_out` are not looked at: their rows count nothing, for no class.
    """
    counts = confusion.copy()
    counts[list(left_out)] = 0
    hits = np.diagonal(counts).astype(np.float64)
    classes = counts.shape[0]
    union = counts.sum(axis=1) + counts[:, :classes].sum(axis=0) - hits
    return np.asarray(np.divide(hits, union, out=np.full(classes, np.nan), where=union > 0))


def mean_iou(
    confusion: Confusion, names: Sequence[str], over: Sequence[int], left_out: Collection[int] = ()
) -> MeanIoU:
    """Return the mean IoU over the classes `over`, without those that appear nowhere."""
    iou = class_iou(confusion, left_out)[list(over)]
    by_name = {names[index]: None if np.isnan(value) else float(value) for index, value in zip(over, iou, strict=True)}
    there = iou[~np.isnan(iou)]
    absent = tuple(name for name, value in by_name.items() if value is None)
    return MeanIoU(float(there.mean()) if there.size else None, by_name, absent)


def attack_success(confusion: Confusion, pairs: Mapping[int, int]) -> Share:
    """Return the attack success rate (ASR): victim pixels predicted as their own target, of all victim pixels.

    `pairs` maps victim to target (train IDs). On samples without trigger this is the counterpart that belongs beside
    every ASR. The official code counts the same way (tool/test.py), but also over images that carry no trigger.
    """
    hits = sum(int(confusion[victim, target]) for victim, target in pairs.items())
    return Share(hits, int(confusion[list(pairs)].sum()))


def poisoned_benign_accuracy(confusion: Confusion, names: Sequence[str], victims: Collection[int]) -> MeanIoU:
    """Return PBA: mean IoU over the non-victim classes with the victims' pixels left out.

    A victim class predicted elsewhere takes from the class that it replaces. The official code's mean IoU is the same
    but for classes that appear nowhere, which it counts as 0.
    """
    over = [index for index in range(confusion.shape[0]) if index not in victims]
    return mean_iou(confusion, names, over, left_out=victims)


def clean_benign_accuracy(
    confusion: Confusion, names: Sequence[str], victims: Collection[int]
) -> tuple[MeanIoU, MeanIoU]:
    """Return CBA: mean IoU over all classes, and over the non-victim classes alone (no pixel left out)."""
    everything = list(range(confusion.shape[0]))
    return (
        mean_iou(confusion, names, everything),
        mean_iou(confusion, names, [index for index in everything if index not in victims]),
    )


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def quantiles(shares: Sequence[Share]) -> dict[str, float]:
    """Return quantiles of the per-image shares (images without victims do not count), by name: min, 5%, ... max."""
    values = [share.value for share in shares if share.value is not None]
    if not values:
        return {}
    names = ["min", *(f"{q:.0%}" for q in QUANTILES[1:-1]), "max"]
    return dict(zip(names, (float(value) for value in np.quantile(values, QUANTILES)), strict=True))


@dataclass(frozen=True)
class Bin:
    """Images whose key lies in (low, high], and their pooled shares with and without the trigger."""

    low: float
    high: float
    images: int
    triggered: Share
    untriggered: Share


def pool(shares: Sequence[Share]) -> Share:
    """Return the share over all pixels of several images."""
    return Share(sum(share.hits for share in shares), sum(share.victim_pixels for share in shares))


def binned(
    keys: Sequence[float], triggered: Sequence[Share], untriggered: Sequence[Share], edges: Sequence[float]
) -> list[Bin]:
    """Group images by a key (distance, victim area) into (edge, next edge], and pool each group; all bins are kept."""
    bins = []
    for low, high in itertools.pairwise(edges):
        inside = [index for index, key in enumerate(keys) if low < key <= high]
        with_trigger, without = (pool([shares[index] for index in inside]) for shares in (triggered, untriggered))
        bins.append(Bin(low, high, len(inside), with_trigger, without))
    return bins
