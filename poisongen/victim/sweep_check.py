"""What only torch can tell of a sweep's cells, said before the first one is begun."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch

from poisongen.errors import ChoiceError, PoisongenError
from poisongen.victim.batches import CacheMode, choose_cache
from poisongen.victim.device import pick_precision
from poisongen.victim.models import ModelSpec, build_model, make_spec
from poisongen.victim.sweep_key import Job
from poisongen.victim.sweep_plan import Cell


def check_jobs(jobs: Sequence[Job], device: torch.device, cache: CacheMode | None) -> None:
    """Refuse cells whose models, weights or precision cannot be, and two that are one. ChoiceError names the cell.

    Every pair of a model and a file of weights is made once to see that they fit; what `imagenet` stands for is
    fetched when its turn comes.
    """
    choose_cache(cache, 0, device)
    made: set[tuple[ModelSpec, str]] = set()
    known: dict[str, Cell] = {}
    for job in jobs:
        try:
            spec = make_spec(job.settings.model, job.settings.encoder, 2)
            pick_precision(job.settings.amp, device)
            weights = "none" if job.settings.weights == "imagenet" else job.settings.weights
            if (spec, weights) not in made:
                build_model(spec, weights)
                made.add((spec, weights))
        except PoisongenError as error:
            raise ChoiceError(f"{job.cell.words}: {error}") from None
        if (twin := known.setdefault(_model_of(job, spec), job.cell)) is not job.cell:
            raise ChoiceError(f"grid: {twin.words} and {job.cell.words} are one and the same")


def _model_of(job: Job, spec: ModelSpec) -> str:
    """Return what a cell's model is, however its name is spelled (`Unet`, `unet`)."""
    training = {**job.trained_by["training"], "model": spec.name, "encoder": spec.encoder}
    return json.dumps({**job.trained_by, "training": training}, sort_keys=True)
