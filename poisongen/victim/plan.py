"""What follows from a run's settings and its data: sizes, epochs, and everything that a step needs."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from poisongen.errors import ChoiceError
from poisongen.parallel import job_count
from poisongen.printing import number_of
from poisongen.victim.canvas import Source, find_source
from poisongen.victim.classes import TrainClasses, train_classes
from poisongen.victim.dataset import Dataset
from poisongen.victim.device import pick_precision
from poisongen.victim.digests import content_sha256
from poisongen.victim.distributed import Crew
from poisongen.victim.models import ModelSpec, make_spec
from poisongen.victim.settings import Settings, Size


@dataclass(frozen=True)
class Plan:
    """What follows from settings and data: how long an epoch is, the sizes, and everything that a step needs."""

    settings: Settings
    spec: ModelSpec
    classes: TrainClasses
    folder: Dataset
    source: Source
    crop: Size
    epoch: int
    iterations: int
    crew: Crew
    device: torch.device
    precision: torch.dtype

    @property
    def local_batch(self) -> int:
        """The share of a batch that one process gets."""
        return self.settings.batch // self.crew.size

    @functools.cached_property
    def content(self) -> str:
        """A digest of the training set's names and files, images and label maps: what a run is resumed on."""
        paths = [path for sample in self.source.samples for path in (sample.image, self.folder.label_path(sample))]
        return content_sha256(self.source.root, paths, job_count(None), progress=False)


def make_plan(folder: Dataset, settings: Settings, crew: Crew, device: torch.device, jobs: int) -> Plan:
    """Return what follows from data and settings; ChoiceError where they do not fit together."""
    classes = train_classes(folder.classes)
    samples = folder.samples(settings.train_split, "--train-split")
    source = find_source(folder, samples, settings.size, classes.from_raw, jobs)
    spec = make_spec(settings.model, settings.encoder, len(classes))
    if settings.batch % crew.size:
        raise ChoiceError(f"--batch {settings.batch} does not divide among {crew.size} processes")
    if settings.batch // crew.size % settings.accumulate:
        on_each = " of each process" if crew.size > 1 else ""
        raise ChoiceError(
            f"--accumulate {settings.accumulate}: the {settings.batch // crew.size} pictures{on_each} do not divide "
            "into so many equal parts"
        )
    if settings.batch > len(samples):
        raise ChoiceError(
            f"--batch {settings.batch}: the split '{settings.train_split}' has {number_of(len(samples), 'picture')}; "
            "give no more"
        )
    epoch = len(samples) // settings.batch
    iterations = settings.iterations or settings.epochs * epoch
    crop = settings.crop or source.canvas_size
    precision = pick_precision(settings.amp, device)
    return Plan(settings, spec, classes, folder, source, crop, epoch, iterations, crew, device, precision)
