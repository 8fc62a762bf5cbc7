"""Counting a prediction apart: in the pixels that the attacker wants to be another class, and in all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poisongen.victim.metrics import VOID, Confusion, Share, attack_success

Maps = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Zones:
    """The counts of one prediction, or of many: `changed` where wanted and true labels differ, `kept` elsewhere.

    Both are (K, K + 1) int64. The rows of `changed` are the wanted classes, those of `kept` the true ones.
    """

    changed: Confusion
    kept: Confusion


@dataclass(frozen=True)
class Counted:
    """A prediction's counts against the true labels, and its zones for each set of wanted labels, by name."""

    everything: Confusion
    zones: Mapping[str, Zones]


def split_labels(labels: Maps, wanted: Maps) -> tuple[Maps, Maps]:
    """Return the wanted labels where they differ from the true ones, and the true ones where they do not; void else.

    All are (H, W) uint8 train IDs. A pixel that is void in truth, or that is to become void, is in neither.
    """
    differs = (labels != wanted) & (labels != VOID)
    return np.where(differs, wanted, np.uint8(VOID)), np.where(differs, np.uint8(VOID), labels)


def counted(names: Iterable[str], confusions: Sequence[Confusion]) -> Counted:
    """Put together what was counted against an item's views: the true labels, then two for each set of wanted ones."""
    zones = {name: Zones(*confusions[1 + 2 * at : 3 + 2 * at]) for at, name in enumerate(names)}
    return Counted(confusions[0], zones)


def total(confusions: Sequence[Confusion], classes: int) -> Confusion:
    """Return the sum of matrices, all 0 where there are none."""
    return sum(confusions, np.zeros((classes, classes + 1), np.int64))


def success(zones: Zones) -> Share:
    """Return the attack success rate: of all pixels where wanted and true labels differ, those predicted as wanted."""
    return Share(int(np.trace(zones.changed)), int(zones.changed.sum()))


def collateral(zones: Zones, pairs: Mapping[int, int]) -> Share:
    """Return the share of the victim pixels that are to stay, but are predicted as their target."""
    return attack_success(zones.kept, pairs)


def pair_success(everything: Confusion, zones: Zones, victim: int, target: int) -> Share:
    """Return the share of one victim's pixels that are to change, and are predicted as its target."""
    return attack_success(everything - zones.kept, {victim: target})
