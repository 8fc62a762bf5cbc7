"""ASR, PBA and CBA of a model on a build, with everything that they are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poisongen.errors import ChoiceError
from poisongen.parallel import job_count
from poisongen.victim.alone import require_alone
from poisongen.victim.classes import TrainClasses
from poisongen.victim.dataset import read_own_recipe
from poisongen.victim.distances import Bounds, read_distances, require_distances
from poisongen.victim.measures import summarise
from poisongen.victim.placed_anew import place_bin, score_bin
from poisongen.victim.predictions import PredictionFolder
from poisongen.victim.scoring import Scorer
from poisongen.victim.target import Target, open_target


def score(target: Target, scorer: Scorer, distances: Sequence[Bounds] = (), jobs: int = 1) -> dict[str, Any]:
    """Score everything and return the report as plain data: see `docs/victims.md` for its keys."""
    groups = [place_bin(target, bounds, jobs) for bounds in distances]
    items = target.clean_items({group.name: group.wanted for group in groups})
    clean = dict(zip((item.name for item in items), scorer(items, "clean"), strict=True))
    with_triggers = list(scorer(target.triggered_items(), "triggered"))
    negatives = list(scorer(target.negative_items(), "negative")) if target.negatives else []
    report = summarise(target, clean, with_triggers, negatives)
    report["distances"] = [score_bin(target, scorer, clean, group) for group in groups]
    return report


def _other_classes(one: TrainClasses, other: TrainClasses) -> str:
    """Return in words where two tables of as many classes differ; nothing where their numbers do."""
    pairs = (zip(table.ids, table.names, strict=True) for table in (one, other))
    here, there = next((pair for pair in zip(*pairs, strict=False) if pair[0] != pair[1]), (None, None))
    if len(one) != len(other) or here is None or there is None:
        return ""
    return f" with other names or IDs ({here[1]} is {here[0]}, {there[1]} is {there[0]})"


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
    `0-60,60-120,120-inf`, adds the same measures with triggers placed on the fly, for builds whose triggers have a
    distance to choose; both take a checkpoint. `predictions` is a folder with clean/, triggered/ and, for builds with
    negatives, negative/.
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
        sets = {"clean": target.clean_items(), "triggered": target.triggered_items()}
        folder.check(sets | ({"negative": target.negative_items()} if target.negatives else {}), workers)
        report = score(target, lambda items, which: folder.score(items, which, workers, progress))
        return report | {"model": {"predictions": str(predictions), "prediction_ids": prediction_ids}}
    if bounds and (recipe := read_own_recipe(Path(data))) is not None:
        require_distances(recipe)
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
