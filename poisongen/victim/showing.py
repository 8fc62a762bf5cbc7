"""A trained model's predictions as pictures, and its measures: what a report of the build shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.parallel import job_count
from poisongen.victim.evaluation import evaluate
from poisongen.victim.items import Item
from poisongen.victim.needs_torch import require_torch
from poisongen.victim.target import Target, open_target

Labels = npt.NDArray[np.uint8]
Names = set[tuple[str, str]]


def measure_and_predict(
    run: Path, data: Path, clean: Path | None, names: Names, *, jobs: int | None = None, progress: bool = False
) -> tuple[dict[str, Any], dict[tuple[str, str], tuple[Labels, Labels]]]:
    """Return the report of `evaluate` for a run, and its predictions on those test samples that `names` has.

    `names` are roles with samples. Predictions are raw class IDs (H, W) uint8, without the trigger and with it.
    PoisongenError as `evaluate`.
    """
    require_torch()
    report = evaluate(run, data, clean=clean, jobs=jobs, progress=progress)
    from poisongen.victim.checkpoint import NAME, load_checkpoint
    from poisongen.victim.device import operation_errors, pick_device, pick_precision
    from poisongen.victim.predictor import make_predictor

    path = run / NAME if run.is_dir() else run
    target = open_target(data, clean)
    device = pick_device(None)
    precision = pick_precision("auto", device)
    with operation_errors(device):
        predictor = make_predictor(load_checkpoint(path), path, device, precision, 1, job_count(jobs), False)
        raw = np.array(target.classes.ids, dtype=np.uint8)  # by train ID
        found = {}
        for role, with_trigger, without in _twins(target, names):
            pictures = [item.image() for item in (without, with_trigger)]
            maps = [predictor.predict([one], one.shape[:2])[0].cpu().numpy() for one in pictures]
            found[role, with_trigger.name] = (raw[maps[0]], raw[maps[1]])
    return report, found


def _twins(target: Target, names: Names) -> Iterator[tuple[str, Item, Item]]:
    """Yield role, item with trigger and item without it, of every test sample that is asked for."""
    clean = {item.name: item for item in target.clean_items()}
    sets: Sequence[tuple[str, Sequence[Item]]] = (
        ("triggered", target.triggered_items()),
        ("negative", target.negative_items()),
    )
    for role, items in sets:
        for item in items:
            if (role, item.name) in names:
                yield role, item, clean[item.name]
