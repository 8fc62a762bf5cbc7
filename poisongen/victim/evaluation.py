"""ASR, PBA and CBA of a model on a build, with everything that they are computed from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisongen.building.pictures import Place
from poisongen.errors import ChoiceError
from poisongen.parallel import job_count
from poisongen.records.standing import read_summary
from poisongen.version import __version__
from poisongen.victim.alone import require_alone
from poisongen.victim.classes import TrainClasses
from poisongen.victim.distances import Bounds, read_distances
from poisongen.victim.items import Item, place_trigger, read_ahead, rules_between, with_trigger
from poisongen.victim.metrics import (
    Bin,
    Confusion,
    MeanIoU,
    Share,
    attack_success,
    binned,
    clean_benign_accuracy,
    poisoned_benign_accuracy,
    pool,
    quantiles,
)
from poisongen.victim.predictions import PredictionFolder
from poisongen.victim.scoring import Scorer
from poisongen.victim.target import Target, open_target

AREA_EDGES = (0.0, 0.005, 0.02, 0.08, 1.0)  # victim pixels as a share of the picture


def score(target: Target, scorer: Scorer, distances: Sequence[Bounds] = (), jobs: int = 1) -> dict[str, Any]:
    """Score everything and return the report as plain data: see `docs/victims.md` for its keys."""
    items = target.clean_items()
    clean = dict(zip((item.name for item in items), scorer(items, "clean"), strict=True))
    with_triggers = list(scorer(target.triggered_items(), "triggered"))
    report = summarise(target, clean, with_triggers)
    report["distances"] = [_at_distance(target, scorer, clean, low, high, jobs) for low, high in distances]
    return report


def _shares(confusions: Sequence[Confusion], pairs: Mapping[int, int]) -> list[Share]:
    return [attack_success(confusion, pairs) for confusion in confusions]


def _share(share: Share) -> dict[str, Any]:
    return {"value": share.value, "hits": share.hits, "victim_pixels": share.victim_pixels}


def _both(with_trigger: Share, without: Share) -> dict[str, Any]:
    return _share(with_trigger) | {"without_trigger": _share(without)}


def _mean(mean: MeanIoU) -> dict[str, Any]:
    return {"value": mean.value, "iou": dict(mean.iou), "absent": list(mean.absent)}


def _bin(group: Bin) -> dict[str, Any]:
    high = None if np.isinf(group.high) else group.high
    return {"above": group.low, "up_to": high, "images": group.images} | _both(group.triggered, group.untriggered)


def _distance_edges(target: Target) -> list[float]:
    """Return bin edges: 0, U, 1.5 U, 2 U, 2.5 U, infinity with the layout's usual U (these are the paper's own bins).

    U is the trigger's side where that is larger, since no centre comes nearer than half a side.
    """
    recipe = target.folder.recipe
    assert recipe is not None  # noqa: S101
    step = max((target.folder.layout.defaults.max_distance or 0.0) * recipe.scale, float(recipe.trigger_size or 1))
    return [0.0, *(step * factor for factor in (1, 1.5, 2, 2.5)), float("inf")]


def _became(names: Sequence[str], confusion: Confusion, victim: int) -> dict[str, int]:
    """Return what a victim's pixels were predicted as: pixels by class, those that occur."""
    columns = [*names, "(no class)"]
    return {name: int(count) for name, count in zip(columns, confusion[victim], strict=True) if count}


def summarise(target: Target, clean: Mapping[str, Confusion], with_triggers: Sequence[Confusion]) -> dict[str, Any]:
    """Return the report from every test picture's confusion matrix: `clean` by sample, the others as `triggered`."""
    names, pairs, victims = target.classes.names, target.pairs, tuple(target.pairs)
    twins = [clean[sample.name] for sample in target.triggered]
    stamped, unstamped, everything = (
        np.sum(np.stack(list(part)), axis=0) for part in (with_triggers, twins, clean.values())
    )
    with_trigger, without = _shares(with_triggers, pairs), _shares(twins, pairs)
    areas = [
        share.victim_pixels / max(1, int(confusion.sum())) for share, confusion in zip(without, twins, strict=True)
    ]
    cba, cba_benign = clean_benign_accuracy(everything, names, victims)
    return {
        "poisongen": __version__,
        "data": str(target.folder.root),
        "fingerprint": read_summary(target.folder.root)["fingerprint"],
        "test_split": target.folder.recipe.test_split if target.folder.recipe else "",
        "pairs": target.named_pairs,
        "images": {"clean": len(clean), "triggered": len(with_triggers)},
        "asr": _both(attack_success(stamped, pairs), attack_success(unstamped, pairs))
        | {
            "by_pair": {
                f"{names[victim]}={names[to]}": _both(
                    attack_success(stamped, {victim: to}), attack_success(unstamped, {victim: to})
                )
                for victim, to in pairs.items()
            }
        },
        "asr_per_image": {"triggered": quantiles(with_trigger), "without_trigger": quantiles(without)},
        "asr_by_distance": [
            _bin(group)
            for group in binned(
                [math.nan if s.distance is None else s.distance for s in target.triggered],
                with_trigger,
                without,
                _distance_edges(target),
            )
        ],
        "asr_by_victim_area": [_bin(group) for group in binned(areas, with_trigger, without, AREA_EDGES)],
        "pba": _mean(poisoned_benign_accuracy(stamped, names, victims))
        | {"without_trigger": poisoned_benign_accuracy(unstamped, names, victims).value},
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
        },
        "samples": [
            {
                "sample": sample.name,
                "distance": sample.distance,
                "victim_pixels": one.victim_pixels,
                "hits": one.hits,
                "hits_without_trigger": other.hits,
            }
            for sample, one, other in zip(target.triggered, with_trigger, without, strict=True)
        ],
    }


def _mean_distance(places: Sequence[Place]) -> float | None:
    """Return the mean distance of places, None where none has one."""
    distances = [place.placement.distance for place in places if place.placement is not None]
    return float(np.mean(distances)) if distances else None


def _other_classes(one: TrainClasses, other: TrainClasses) -> str:
    """Return in words where two tables of as many classes differ; nothing where their numbers do."""
    pairs = (zip(table.ids, table.names, strict=True) for table in (one, other))
    here, there = next((pair for pair in zip(*pairs, strict=False) if pair[0] != pair[1]), (None, None))
    if len(one) != len(other) or here is None or there is None:
        return ""
    return f" with other names or IDs ({here[1]} is {here[0]}, {there[1]} is {there[0]})"


def _at_distance(
    target: Target, scorer: Scorer, clean: Mapping[str, Confusion], low: float, high: float, jobs: int
) -> dict[str, Any]:
    """Place triggers anew with low < d <= high in the clean test split, and score them."""
    bound = None if np.isinf(high) else high
    rules = rules_between(target.folder, low, bound, target.clean.scale)
    samples = target.clean.samples
    root = target.clean.folder.root
    places = list(read_ahead(lambda sample: place_trigger(sample, root, rules), samples, jobs))
    chosen = [(sample, place) for sample, place in zip(samples, places, strict=True) if place is not None]
    items: list[Item] = [with_trigger(target.clean, sample, place, rules) for sample, place in chosen]
    confusions = list(scorer(items, "triggered"))
    pairs, names, victims = target.pairs, target.classes.names, tuple(target.pairs)
    twins = [clean[sample.name] for sample, _ in chosen]
    pba = None
    if confusions:
        pba = poisoned_benign_accuracy(np.sum(np.stack(confusions), axis=0), names, victims).value
    return {
        "above": low,
        "up_to": bound,
        "images": len(items),
        "mean_distance": _mean_distance([place for _, place in chosen]),
        **_both(pool(_shares(confusions, pairs)), pool(_shares(twins, pairs))),
        "pba": pba,
    }


def evaluate(
    checkpoint: Path | str | None,
    data: Path | str,
    *,
    clean: Path | str | None = None,
    distances: str | Sequence[Bounds | str] = (),
    predictions: Path | str | None = None,
    prediction_ids: str = "train",
    device: str | None = None,
    batch: int | None = None,
    amp: str = "auto",
    flip: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the report of a checkpoint (or of another trainer's label maps) on the build in `data`.

    `flip` averages the prediction with that of the mirrored picture. `distances`, as pairs (L, U) or text such as
    `0-60,60-120,120-inf`, adds the same measures with triggers placed on the fly; both take a checkpoint.
    PoisongenError says what does not fit together.
    """
    require_alone("evaluate")
    bounds = read_distances(distances)
    workers = job_count(jobs)
    if (checkpoint is None) == (predictions is None):
        raise ChoiceError("evaluate: give a checkpoint or --predictions, one of them")
    if predictions is not None:
        if flip:
            raise ChoiceError("--flip: predictions that are written cannot be averaged any more; give a checkpoint")
        if bounds:
            raise ChoiceError("--distances: triggers on the fly need a model; give a checkpoint, not --predictions")
        target = open_target(Path(data), None if clean is None else Path(clean))
        folder = PredictionFolder(Path(predictions), target.folder.classes, prediction_ids)
        folder.check({"clean": target.clean_items(), "triggered": target.triggered_items()}, workers)
        report = score(target, lambda items, which: folder.score(items, which, workers, progress))
        return report | {"model": {"predictions": str(predictions), "prediction_ids": prediction_ids}}
    from poisongen.victim.needs_torch import require_torch

    require_torch()
    from poisongen.victim.checkpoint import NAME, load_checkpoint
    from poisongen.victim.device import PRECISIONS, describe, operation_errors, pick_device, pick_precision
    from poisongen.victim.memory import memory_errors
    from poisongen.victim.predictor import make_predictor

    path = Path(str(checkpoint))
    path = path / NAME if path.is_dir() else path
    found = load_checkpoint(path)
    target = open_target(Path(data), None if clean is None else Path(clean))
    if found.classes != target.classes:
        raise ChoiceError(
            f"{path}: a model of {len(found.classes)} classes of '{found.layout}', but {data} has "
            f"{len(target.classes)} of '{target.folder.layout.name}'{_other_classes(found.classes, target.classes)}; "
            "evaluate it on the layout it was trained on"
        )
    chosen = pick_device(device)
    precision = pick_precision(amp, chosen)
    size = batch or (8 if chosen.type == "cuda" else 4)
    with memory_errors(chosen):
        predictor = make_predictor(found, path, chosen, precision, size, workers, progress, flip)
    with operation_errors(chosen):
        report = score(target, predictor.score, bounds, workers)
    return report | {
        "model": {
            "checkpoint": str(path),
            **found.spec.as_data(),
            "size": None if found.size is None else list(found.size),
            "iteration": found.iteration,
            "device": describe(chosen),
            "precision": PRECISIONS[precision],
            "flip": flip,
            "trained_on": found.data,
            "settings": found.settings,
        }
    }
