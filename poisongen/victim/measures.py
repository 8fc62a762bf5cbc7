"""An evaluation's report, from the counts of every test picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poisongen.recipe.rules import sides_of
from poisongen.records.standing import read_summary
from poisongen.version import __version__
from poisongen.victim.metrics import (
    Bin,
    Confusion,
    MeanIoU,
    Share,
    binned,
    clean_benign_accuracy,
    poisoned_benign_accuracy,
    pool,
    quantiles,
)
from poisongen.victim.target import Target
from poisongen.victim.zones import Counted, Zones, collateral, pair_success, success, total

AREA_EDGES = (0.0, 0.005, 0.02, 0.08, 1.0)  # the pixels that are to change, as a share of the picture


def share(part: Share) -> dict[str, Any]:
    """Return a share as plain data."""
    return {"value": part.value, "hits": part.hits, "victim_pixels": part.victim_pixels}


def both(with_trigger: Share, without: Share) -> dict[str, Any]:
    """Return a share and its counterpart without trigger."""
    return share(with_trigger) | {"without_trigger": share(without)}


def summed(counts: Sequence[Counted], name: str, classes: int) -> tuple[Confusion, Zones]:
    """Return the sums over pictures: against the true labels, and the zones of one set of wanted labels."""
    zones = [one.zones[name] for one in counts]
    return total([one.everything for one in counts], classes), Zones(
        total([one.changed for one in zones], classes), total([one.kept for one in zones], classes)
    )


def successes(counts: Sequence[Counted], name: str) -> list[Share]:
    """Return every picture's own success rate."""
    return [success(one.zones[name]) for one in counts]


def _mean(mean: MeanIoU) -> dict[str, Any]:
    return {"value": mean.value, "iou": dict(mean.iou), "absent": list(mean.absent)}


def _bin(group: Bin) -> dict[str, Any]:
    high = None if np.isinf(group.high) else group.high
    return {"above": group.low, "up_to": high, "images": group.images} | both(group.triggered, group.untriggered)


def _distance_edges(target: Target) -> list[float]:
    """Return bin edges: 0, U, 1.5 U, 2 U, 2.5 U, infinity with the layout's usual U (these are the paper's own bins).

    U is the trigger's longer side where that is larger: no centre comes nearer than half a side.
    """
    recipe = target.folder.recipe
    assert recipe is not None  # noqa: S101
    sides = [] if recipe.trigger_size is None else [side for side in sides_of(recipe.trigger_size) if side is not None]
    step = max((target.folder.layout.defaults.max_distance or 0.0) * recipe.scale, float(max(sides, default=1)))
    return [0.0, *(step * factor for factor in (1, 1.5, 2, 2.5)), float("inf")]


def _became(names: Sequence[str], confusion: Confusion, victim: int) -> dict[str, int]:
    """Return what a victim's pixels were predicted as: pixels by class, those that occur."""
    columns = [*names, "(no class)"]
    return {name: int(count) for name, count in zip(columns, confusion[victim], strict=True) if count}


def _by_distance(target: Target, with_trigger: Sequence[Share], without: Sequence[Share]) -> dict[str, Any]:
    """Return the shares by the trigger's distance; nothing where no trigger has a distance above 0."""
    distances = [math.nan if sample.distance is None else sample.distance for sample in target.triggered]
    groups = binned(distances, with_trigger, without, _distance_edges(target))
    return {"asr_by_distance": [_bin(group) for group in groups]} if any(group.images for group in groups) else {}


def _rows(samples: Sequence[Any], with_trigger: Sequence[Share], without: Sequence[Share]) -> list[dict[str, Any]]:
    return [
        {
            "sample": sample.name,
            "distance": sample.distance,
            "victim_pixels": one.victim_pixels,
            "hits": one.hits,
            "hits_without_trigger": other.hits,
        }
        for sample, one, other in zip(samples, with_trigger, without, strict=True)
    ]


def _of_the_rule(target: Target, stamped: Zones, unstamped: Zones) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return collateral, and the matrices of both zones; nothing for `class`, which spares no victim pixel.

    Where victims have no target of their own, none of them can be flipped to it, and there is no collateral.

    Its matrices are rows of those that are there anyway.
    """
    if target.rule == "class":
        return {}, {}
    pairs = target.pairs
    found = {"collateral": both(collateral(stamped, pairs), collateral(unstamped, pairs))} if pairs else {}
    matrices = {
        zone: {"triggered": getattr(stamped, zone).tolist(), "without_trigger": getattr(unstamped, zone).tolist()}
        for zone in ("changed", "kept")
    }
    return found, matrices


def _of_negatives(
    target: Target, clean: Mapping[str, Counted], negatives: Sequence[Counted]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return false activation with its samples, and its matrices; nothing where the build has no negatives."""
    if not negatives:
        return {}, {}
    twins = [clean[sample.name] for sample in target.negatives]
    _, stamped = summed(negatives, "negative", len(target.classes))
    _, unstamped = summed(twins, "negative", len(target.classes))
    rows = _rows(target.negatives, successes(negatives, "negative"), successes(twins, "negative"))
    matrices = {"triggered": stamped.changed.tolist(), "without_trigger": unstamped.changed.tolist()}
    return (
        {"false_activation": both(success(stamped), success(unstamped)) | {"samples": rows}},
        {"negative": {"changed": matrices}},
    )


def summarise(
    target: Target, clean: Mapping[str, Counted], with_triggers: Sequence[Counted], negatives: Sequence[Counted] = ()
) -> dict[str, Any]:
    """Return the report from every test picture's counts: `clean` by sample, the others as the target lists them."""
    names, pairs, victims = target.classes.names, target.pairs, target.victims
    twins = [clean[sample.name] for sample in target.triggered]
    stamped, stamped_zones = summed(with_triggers, "triggered", len(names))
    unstamped, unstamped_zones = summed(twins, "triggered", len(names))
    everything = total([one.everything for one in clean.values()], len(names))
    with_trigger, without = successes(with_triggers, "triggered"), successes(twins, "triggered")
    areas = [part.victim_pixels / max(1, int(one.everything.sum())) for part, one in zip(without, twins, strict=True)]
    cba, cba_benign = clean_benign_accuracy(everything, names, victims)
    rule, rule_matrices = _of_the_rule(target, stamped_zones, unstamped_zones)
    false, false_matrices = _of_negatives(target, clean, negatives)
    recipe = target.folder.recipe
    return {
        "poisongen": __version__,
        "data": str(target.folder.root),
        "fingerprint": read_summary(target.folder.root)["fingerprint"],
        "test_split": recipe.test_split if recipe else "",
        "pairs": target.named_pairs,
        "rule": target.rule,
        "images": {"clean": len(clean), "triggered": len(with_triggers)}
        | ({"negative": len(negatives)} if negatives else {}),
        "asr": both(success(stamped_zones), success(unstamped_zones))
        | {
            "by_pair": {
                f"{names[victim]}={names[to]}": both(
                    pair_success(stamped, stamped_zones, victim, to),
                    pair_success(unstamped, unstamped_zones, victim, to),
                )
                for victim, to in pairs.items()
            }
        },
        **rule,
        **false,
        "asr_per_image": {"triggered": quantiles(with_trigger), "without_trigger": quantiles(without)},
        **_by_distance(target, with_trigger, without),
        "asr_by_victim_area": [_bin(group) for group in binned(areas, with_trigger, without, AREA_EDGES)],
        "pba": _mean(poisoned_benign_accuracy(stamped_zones.kept, names, victims))
        | {"without_trigger": poisoned_benign_accuracy(unstamped_zones.kept, names, victims).value},
        "cba": _mean(cba) | {"non_victim": cba_benign.value},
        "victims_became": {
            names[victim]: {
                "triggered": _became(names, stamped, victim),
                "without_trigger": _became(names, unstamped, victim),
            }
            for victim in victims
        },
        "confusion": {
            "rows": list(names),
            "columns": [*names, "(no class)"],
            "triggered": stamped.tolist(),
            "without_trigger": unstamped.tolist(),
            "clean": everything.tolist(),
            **rule_matrices,
            **false_matrices,
        },
        "samples": _rows(target.triggered, with_trigger, without),
    }


def pooled(counts: Sequence[Counted], name: str) -> Share:
    """Return the success rate over all pixels of several pictures."""
    return pool(successes(counts, name))
