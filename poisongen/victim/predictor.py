"""A trained model at work: whole pictures in, counts out, made on the device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nn

from poisongen.core.resize import resize_image
from poisongen.errors import PoisongenError
from poisongen.printing import number_of
from poisongen.victim.augment import normalise
from poisongen.victim.checkpoint import Checkpoint, load_weights, require_finite
from poisongen.victim.device import autocast, send
from poisongen.victim.items import Item, check_sizes, read_ahead
from poisongen.victim.memory import is_out_of_memory
from poisongen.victim.metrics import VOID
from poisongen.victim.models import build_model, input_size, logit_places, logits_of
from poisongen.victim.reading import Picture
from poisongen.victim.scoring import bar
from poisongen.victim.zones import Counted, counted


def count_confusions(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the confusion matrices of a batch, (B, K, K + 1) int64 on the device, by one `bincount`.

    `labels` and `predictions` are (B, H, W) whole numbers on one device; label 255 is void.
    """
    count, cells = labels.shape[0], classes * (classes + 1)
    offsets = torch.arange(count, device=labels.device).view(-1, 1, 1) * cells
    places = offsets + labels.long() * (classes + 1) + predictions.long()
    counts = torch.bincount(places[labels != VOID], minlength=count * cells)
    return counts.view(count, classes, classes + 1)


def interpolate(values: torch.Tensor, places: torch.Tensor, axis: int) -> torch.Tensor:
    """Return values at places (float, from 0) along an axis, linearly between neighbours and constant outside."""
    places = places.clamp(0, values.shape[axis] - 1)
    below = places.floor().long()
    above = (below + 1).clamp(max=values.shape[axis] - 1)
    share = (places - below).view([-1 if one == axis else 1 for one in range(values.ndim)])
    return torch.lerp(values.index_select(axis, below), values.index_select(axis, above), share)


@dataclass(frozen=True)
class Predictor:
    """A model ready to score: on its device, in evaluation mode, for pictures scaled to `size` (None: as they are).

    With `flip` a prediction is the mean of the class probabilities for the picture and for its mirror image.
    """

    model: torch.nn.Module
    classes: int
    size: tuple[int, int] | None
    device: torch.device
    precision: torch.dtype
    batch: int
    jobs: int
    progress: bool
    flip: bool = False

    def predict(self, images: Sequence[Picture], shape: tuple[int, int]) -> torch.Tensor:
        """Return the train IDs predicted for pictures of one size, (B, height, width) int64 on the device.

        The logits are brought to `shape`, the label's own resolution, before the best class is taken: by one bilinear
        interpolation in fp32, from wherever the model answers.
        """
        scaled = [image if self.size is None else resize_image(image, self.size) for image in images]
        stacked = send(torch.from_numpy(np.stack(scaled)), self.device).permute(0, 3, 1, 2)
        pixels = normalise(stacked)
        with torch.inference_mode():
            straight = self._logits(pixels)
            mirrored = self._logits(pixels.flip(-1)) if self.flip else None
            best = []
            for number in range(len(images)):  # one at a time: logits of a label's size are large
                answer = self._at(straight[number], pixels.shape[-2:], shape)
                if mirrored is not None:
                    other = self._at(mirrored[number], pixels.shape[-2:], shape).flip(-1)
                    answer = answer.softmax(dim=0) + other.softmax(dim=0)
                best.append(answer.argmax(dim=0))
        return torch.stack(best)

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return a model's logits for pictures, float32, of whatever size it answers in; their rim is padding."""
        height, width = input_size(self.model, (pixels.shape[-2], pixels.shape[-1]))
        padded = nn.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2])).contiguous(
            memory_format=torch.channels_last if self.device.type == "cuda" else torch.contiguous_format
        )
        with autocast(self.device, self.precision):
            logits = logits_of(self.model(padded)).float()
        require_finite(logits)
        return logits

    def _at(self, logits: torch.Tensor, size: torch.Size, shape: tuple[int, int]) -> torch.Tensor:
        """Return one picture's logits (K, h, w) at `shape`; the picture, without its rim, has `size`."""
        full = input_size(self.model, (size[0], size[1]))
        for axis, (side, padded, wanted) in enumerate(zip(size, full, shape, strict=True), start=1):
            if logits.shape[axis] == padded and side == wanted:
                logits = logits.narrow(axis, 0, side)  # every pixel has its own logits already
                continue
            # Pixels are areas when a picture is scaled; beyond the centres of its outermost ones nothing changes.
            pixels = (torch.arange(wanted, device=logits.device) + 0.5) * (side / wanted) - 0.5
            places = logit_places(self.model, pixels.clamp(0, side - 1), padded, logits.shape[axis])
            logits = interpolate(logits, places, axis)
        return logits

    def score(self, items: Sequence[Item], which: str) -> Iterator[Counted]:
        """Yield each item's counts, in order. PoisongenError if the device's memory is short."""

        def read(item: Item) -> tuple[Item, Picture, list[Picture]]:
            image, views = item.image(), item.views()
            check_sizes(item, image, views[0])
            return item, image, views

        def batches() -> Iterator[Counted]:
            waiting: list[tuple[Item, Picture, list[Picture]]] = []
            for item, image, views in read_ahead(read, items, self.jobs):
                if waiting and (len(waiting) == self.batch or waiting[0][2][0].shape != views[0].shape):
                    yield from self._count(waiting)
                    waiting = []
                waiting.append((item, image, views))
            if waiting:
                yield from self._count(waiting)

        yield from bar(batches(), len(items), which, self.progress)

    def _count(self, batch: Sequence[tuple[Item, Picture, list[Picture]]]) -> Iterator[Counted]:
        pictures = [image for _, image, _ in batch]
        try:
            guess = self.predict(pictures, batch[0][2][0].shape)
            found = [self._against(views, guess[at]) for at, (_, _, views) in enumerate(batch)]
            counts = torch.cat(found).cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            fewer = f"give --batch {len(pictures) // 2}" if len(pictures) > 1 else "choose another --device"
            many = f"{number_of(len(pictures), 'picture')} at a time"
            raise PoisongenError(f"out of memory while predicting {many}; {fewer}") from None
        ends = list(itertools.accumulate(len(views) for _, _, views in batch))
        for (item, _, views), end in zip(batch, ends, strict=True):
            yield counted(item.wanted, list(counts[end - len(views) : end]))

    def _against(self, views: Sequence[Picture], guess: torch.Tensor) -> torch.Tensor:
        """Return one prediction's confusion matrix with each of its item's label maps, (V, K, K + 1) int64."""
        maps = send(torch.from_numpy(np.stack(views)), self.device)
        return count_confusions(maps, guess.expand(len(views), -1, -1), self.classes)


def make_predictor(
    checkpoint: Checkpoint,
    path: Path,
    device: torch.device,
    precision: torch.dtype,
    batch: int,
    jobs: int,
    progress: bool,
    flip: bool = False,
) -> Predictor:
    """Put a checkpoint's model on the device. DataError if its weights are not those of the model that it names."""
    model = build_model(checkpoint.spec)
    load_weights(model, checkpoint, path)
    model.to(device, memory_format=torch.channels_last if device.type == "cuda" else torch.contiguous_format)  # type: ignore[call-overload]
    model.eval()
    return Predictor(model, len(checkpoint.classes), checkpoint.size, device, precision, batch, jobs, progress, flip)
