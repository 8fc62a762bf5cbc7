"""Triggers placed anew in the clean test split, at distances that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poisongen.building.pictures import Place
from poisongen.victim.distances import Bounds
from poisongen.victim.expected import Wanted, by_pairs
from poisongen.victim.items import Item, place_trigger, read_ahead, rules_between, wanted_at, with_trigger
from poisongen.victim.measures import both, pooled, summed
from poisongen.victim.metrics import poisoned_benign_accuracy
from poisongen.victim.scoring import Scorer
from poisongen.victim.target import Target
from poisongen.victim.zones import Counted


@dataclass(frozen=True)
class DistanceBin:
    """One bin of `--distances`, L < d <= U: its pictures, made on reading, and what is wanted of each, by sample."""

    name: str
    low: float
    up_to: float | None
    items: Sequence[Item]
    wanted: Mapping[str, Wanted]
    mean_distance: float | None


def _mean_distance(places: Sequence[Place]) -> float | None:
    """Return the mean distance of places, None where none has one."""
    distances = [place.placement.distance for place in places if place.placement is not None]
    return float(np.mean(distances)) if distances else None


def place_bin(target: Target, bounds: Bounds, jobs: int) -> DistanceBin:
    """Place triggers anew with low < d <= high in the clean test split."""
    low, high = bounds
    bound, name = None if np.isinf(high) else high, f"distance {low:g}-{high:g}"
    rules = rules_between(target.folder, low, bound, target.clean.scale)
    samples, root = target.clean.samples, target.clean.folder.root
    places = list(read_ahead(lambda sample: place_trigger(sample, root, rules), samples, jobs))
    chosen = [(sample, place) for sample, place in zip(samples, places, strict=True) if place is not None]
    plain = by_pairs(target.pairs) if target.rule == "class" else None
    wanted = {sample.name: plain or wanted_at(target.clean, sample, place, rules) for sample, place in chosen}
    items = [
        replace(with_trigger(target.clean, sample, place, rules), wanted={name: wanted[sample.name]})
        for sample, place in chosen
    ]
    return DistanceBin(name, low, bound, items, wanted, _mean_distance([place for _, place in chosen]))


def score_bin(target: Target, scorer: Scorer, clean: Mapping[str, Counted], group: DistanceBin) -> dict[str, Any]:
    """Score the pictures of one bin and return its part of the report."""
    counts = list(scorer(group.items, "triggered"))
    twins = [clean[item.name] for item in group.items]
    names, victims = target.classes.names, target.victims
    pba = None
    if counts:
        _, zones = summed(counts, group.name, len(names))
        pba = poisoned_benign_accuracy(zones.kept, names, victims).value
    return {
        "above": group.low,
        "up_to": group.up_to,
        "images": len(group.items),
        "mean_distance": group.mean_distance,
        **both(pooled(counts, group.name), pooled(twins, group.name)),
        "pba": pba,
    }
