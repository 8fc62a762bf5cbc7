"""One training run: its state, its steps and epochs, its checkpoints."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from poisongen.errors import ChoiceError, DataError, PoisongenError
from poisongen.files.inside import check_file, check_folder
from poisongen.victim.augment import Augmentation, augment
from poisongen.victim.batches import Batches
from poisongen.victim.canvas import Batch
from poisongen.victim.checkpoint import NAME, Checkpoint, load_checkpoint, load_weights, save_checkpoint
from poisongen.victim.device import autocast
from poisongen.victim.distributed import average, share, unshared
from poisongen.victim.loss import known_pixels, segmentation_loss
from poisongen.victim.memory import is_out_of_memory, memory_advice
from poisongen.victim.models import build_model, input_size
from poisongen.victim.optimise import make_optimizer, rate_factor, set_rate
from poisongen.victim.order import batch_order, keyed_number
from poisongen.victim.plan import Plan
from poisongen.victim.resuming import check_same_run, trained_on
from poisongen.victim.run_log import LOG, RunLog, Say, cut_log
from poisongen.victim.settings import Size
from poisongen.victim.weights import not_finite

CHECK_EVERY = 25  # iterations between looks at the loss: each one waits for the device
SAVE_EVERY = 60.0  # seconds at least between checkpoints, which are written at the end of epochs


class DivergedError(PoisongenError):
    """The loss is not a number any more."""


@dataclass(frozen=True)
class TrainResult:
    """What a run came to: its checkpoint, the iterations done of those planned, and the last epoch's log line.

    `leads` is false in all but one of torchrun's processes.
    """

    checkpoint: Path
    iterations: int
    planned: int
    last: Mapping[str, Any]
    leads: bool = True


class Run:
    """One run's state: model, optimiser, how far it is, and its files."""

    def __init__(self, plan: Plan, out: Path, say: Say, progress: bool, resume: bool) -> None:
        self.plan, self.out, self.say, self.progress = plan, out, say, progress
        torch.manual_seed(keyed_number(plan.settings.seed, "model") % 2**63)
        goes_on = resume and self.checkpoint.exists()
        self.model = build_model(plan.spec, "none" if goes_on else plan.settings.weights)
        self.crop = input_size(self.model, plan.crop)
        layout: Any = torch.channels_last if plan.device.type == "cuda" else torch.contiguous_format
        self.model.to(plan.device)
        self.model.to(memory_format=layout)
        self.layout = layout
        self.optimizer = make_optimizer(self.model, plan.settings)
        # Gradients of fp16 are scaled, or small ones would be 0: each such step waits to learn whether they are finite.
        # In other precisions this does nothing.
        self.scaler = torch.amp.GradScaler(plan.device.type, enabled=plan.precision == torch.float16)
        self.parts = plan.settings.accumulate
        self.iteration = 0
        self.stopping: Callable[[], bool] = lambda: False  # asked after each step: whether it was the last one for now
        settings = plan.settings
        self.augmentation = Augmentation(
            scale=settings.scale_range,
            rotate=settings.rotate,
            blur=settings.blur,
            flip=settings.flip,
            colour=settings.colour,
        )
        self.wrapped: torch.nn.Module = share(self.model, plan.crew, plan.device, settings.accumulate)
        if plan.settings.compile:
            self.wrapped = torch.compile(self.wrapped)  # type: ignore[assignment]

    @property
    def checkpoint(self) -> Path:
        """Where the run's checkpoint is, or will be."""
        return self.out / NAME

    def start(self, resume: bool) -> None:
        """Make the run's folder, or take up what stands there. ChoiceError if that is another run's."""
        if self.out.is_dir():  # said now rather than after an epoch
            for name in (NAME, LOG):
                check_file(self.out, name)
            check_folder(self.out, "tensorboard")
        if not resume:
            if self.checkpoint.exists():
                raise ChoiceError(f"--out: {self.out} holds a run; go on with --resume, or choose another folder")
            if self.plan.crew.leads:
                self.out.mkdir(parents=True, exist_ok=True)
                (self.out / LOG).unlink(missing_ok=True)
            return
        if not self.checkpoint.exists():
            self.say(f"nothing to resume in {self.out}; starting")
            self.out.mkdir(parents=True, exist_ok=True)
            return
        found = load_checkpoint(self.checkpoint)
        check_same_run(found, self.plan, self.out, self.checkpoint)
        load_weights(self.model, found, self.checkpoint)
        try:
            self.optimizer.load_state_dict(found.optimizer)
            if found.scaler:
                self.scaler.load_state_dict(found.scaler)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise DataError(self.checkpoint, f"its optimiser's state is not this run's ({error})") from None
        self.iteration = found.iteration
        if self.plan.crew.leads:
            cut_log(self.out, self.iteration)

    def save(self) -> None:
        """Write the checkpoint; DivergedError, and the last one stays, where the weights are not finite any more."""
        if not self.plan.crew.leads:
            return
        plan = self.plan
        if not_finite(self.model.state_dict()):  # the last step's loss was a number still, its update is none
            raise self._diverged("its weights are not finite")
        save_checkpoint(
            self.checkpoint,
            Checkpoint(
                layout=plan.folder.layout.name,
                classes=plan.classes,
                spec=plan.spec,
                size=plan.settings.size,
                settings=plan.settings.as_data(),
                data=trained_on(plan),
                iteration=self.iteration,
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                scaler=self.scaler.state_dict(),
            ),
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Do one training step, in as many parts as the settings say, and return its loss, still on the device.

        The loss is the mean over the pixels of all parts, so that parts change nothing but what batch norms see.
        """
        self.wrapped.train()
        images = images.contiguous(memory_format=self.layout)
        self.optimizer.zero_grad(set_to_none=True)
        count, total = known_pixels(labels), torch.zeros((), device=self.plan.device)
        parts = list(zip(images.chunk(self.parts), labels.chunk(self.parts), strict=True))
        for number, (pixels, ids) in enumerate(parts, start=1):
            self._seed_dropout(number)
            with unshared(self.wrapped, last=number == len(parts)):
                with autocast(self.plan.device, self.plan.precision):
                    output = self.wrapped(pixels)
                loss = segmentation_loss(output, ids, count)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if self.plan.settings.clip:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total

    def _seed_dropout(self, part: int) -> None:
        """Make dropout a matter of seed, iteration, process and part alone: other masks in each, no state to keep."""
        torch.manual_seed(keyed_number(self.plan.settings.seed, "dropout", self.iteration, self.plan.crew.rank, part))

    def _probe(self, size: int, crop: Size) -> None:
        """Do a step on `size` empty pictures, augmentation of the whole batch included, to see whether it fits."""
        device, count, canvas = self.plan.device, max(size, self.plan.local_batch), self.plan.source.canvas_size
        if crop != self.plan.crop:
            count = size  # a smaller crop is advised with the batch that was tried
        empty = Batch(
            torch.zeros((count, 3, *canvas), dtype=torch.uint8, device=device),
            torch.zeros((count, *canvas), dtype=torch.uint8, device=device),
            torch.tensor([canvas] * count),
        )
        all_blurred = replace(self.augmentation, blur=1.0 if self.augmentation.blur else 0.0)
        images, labels = augment(empty, input_size(self.model, crop), all_blurred, self._generator())
        self.parts = 1
        self.step(images[:size], labels[:size])

    def _generator(self) -> torch.Generator:
        """Return what this iteration's crops are drawn from: a matter of seed, iteration and process alone."""
        key = keyed_number(self.plan.settings.seed, "crops", self.iteration, self.plan.crew.rank)
        return torch.Generator().manual_seed(key)

    def _order(self, epoch: int) -> list[npt.NDArray[np.intp]]:
        """Return this process's share of an epoch's batches that are still to be done."""
        plan = self.plan
        order = batch_order(len(plan.source.samples), plan.settings.batch, epoch, plan.settings.seed)
        first = plan.crew.rank * plan.local_batch
        done = self.iteration - epoch * plan.epoch
        last = min(plan.epoch, plan.iterations - epoch * plan.epoch)
        return list(order[done:last, first : first + plan.local_batch])

    def go(self, batches: Batches, stop_after: int | None, tensorboard: bool) -> TrainResult:
        """Train to the end, or for `stop_after` iterations."""
        plan = self.plan
        end = plan.iterations if stop_after is None else min(plan.iterations, self.iteration + stop_after)
        last: dict[str, Any] = {}
        saved = time.monotonic()
        bar: Any = tqdm(
            total=plan.iterations,
            initial=self.iteration,
            desc="training",
            unit="it",
            file=sys.stderr,
            leave=False,
            disable=None if self.progress else True,
        )
        with bar, RunLog(self.out, tensorboard, plan.crew.leads) as log:
            while self.iteration < end and not self.stopping():
                epoch = self.iteration // plan.epoch
                last = self._epoch(batches, epoch, end, bar)
                log.write(last)
                if time.monotonic() - saved > SAVE_EVERY and self.iteration < end:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return TrainResult(self.checkpoint, self.iteration, plan.iterations, last, plan.crew.leads)

    def _epoch(self, batches: Batches, epoch: int, end: int, bar: Any) -> dict[str, Any]:
        """Train on the rest of an epoch and return its log line."""
        plan = self.plan
        total = torch.zeros((), device=plan.device)
        first, started, rate = self.iteration, time.monotonic(), 0.0
        order = self._order(epoch)[: end - self.iteration]
        for batch in batches(order):
            rate = set_rate(self.optimizer, rate_factor(self.iteration, plan.iterations, plan.settings))
            short_of_memory = False
            try:
                total += self.step(*augment(batch, self.crop, self.augmentation, self._generator()))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                short_of_memory = True
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                parts = f" --accumulate {self.parts}" if self.parts > 1 else ""
                raise ChoiceError(
                    f"--batch {plan.settings.batch}{parts}: the batch norms of {plan.spec} need at least 2 pictures in "
                    f"a {'part' if parts else 'step'}"
                ) from None
            if short_of_memory:
                del batch
                released = batches.release()
                probe = self._probe if plan.crew.size == 1 else None
                raise memory_advice(
                    probe, plan.local_batch, plan.crop, plan.device, parts=self.parts, released=released
                )
            self.iteration += 1
            bar.update()
            if self.stopping():
                break
            if self.iteration % CHECK_EVERY == 0:
                done = self.iteration - first
                speed = done * plan.settings.batch / (time.monotonic() - started)
                bar.set_postfix(loss=f"{self._checked(total, done):.3f}", images_per_s=f"{speed:.1f}")
        done = self.iteration - first
        # A run that is stopped by a signal asks nothing of the other processes: they are not at this place.
        loss = self._checked(total if self.stopping() else average(total, plan.crew), done)
        seconds = time.monotonic() - started
        return {
            "epoch": epoch + 1,
            "iteration": self.iteration,
            "loss": round(loss, 6),
            "lr": rate,
            "seconds": round(seconds, 3),
            "images_per_second": round(done * plan.settings.batch / seconds, 2),
        }

    def _checked(self, total: torch.Tensor, count: int) -> float:
        """Return the mean loss; DivergedError if it is no number."""
        loss = float(total) / max(count, 1)
        if not math.isfinite(loss):
            raise self._diverged("the loss is not a number")
        return loss

    def _diverged(self, what: str) -> DivergedError:
        """Return the error of a run that makes no sense any more."""
        kept = f"; the last good checkpoint is {self.checkpoint}" if self.checkpoint.exists() else ""
        return DivergedError(
            f"training diverged before iteration {self.iteration}: {what}; lower --lr "
            f"({self.plan.settings.lr:g}), or clip gradients with --clip{kept}"
        )
