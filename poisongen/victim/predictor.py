"""A trained model at work: whole pictures in, confusion matrices out, counted on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nn

from poisongen.core.resize import resize_image
from poisongen.errors import PoisongenError
from poisongen.victim.augment import normalise
from poisongen.victim.checkpoint import Checkpoint, load_weights, require_finite
from poisongen.victim.device import autocast, is_out_of_memory
from poisongen.victim.items import Item, check_sizes, read_ahead
from poisongen.victim.metrics import VOID, Confusion
from poisongen.victim.models import build_model, logits_of, stride_of
from poisongen.victim.reading import Picture
from poisongen.victim.scoring import bar


def count_confusions(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the confusion matrices of a batch, (B, K, K + 1) int64 on the device, by one `bincount`.

    `labels` and `predictions` are (B, H, W) whole numbers on one device; label 255 is void.
    """
    count, cells = labels.shape[0], classes * (classes + 1)
    offsets = torch.arange(count, device=labels.device).view(-1, 1, 1) * cells
    places = offsets + labels.long() * (classes + 1) + predictions.long()
    counts = torch.bincount(places[labels != VOID], minlength=count * cells)
    return counts.view(count, classes, classes + 1)


@dataclass(frozen=True)
class Predictor:
    """A model ready to score: on its device, in evaluation mode, for pictures scaled to `size` (None: as they are)."""

    model: torch.nn.Module
    classes: int
    size: tuple[int, int] | None
    device: torch.device
    bf16: bool
    batch: int
    jobs: int
    progress: bool

    def predict(self, images: Sequence[Picture], shape: tuple[int, int]) -> torch.Tensor:
        """Return the train IDs predicted for pictures of one size, (B, height, width) int64 on the device.

        The logits are brought to `shape`, the label's own resolution, before the best class is taken.
        """
        scaled = [image if self.size is None else resize_image(image, self.size) for image in images]
        stacked = torch.from_numpy(np.stack(scaled)).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        pixels = normalise(stacked).contiguous(
            memory_format=torch.channels_last if self.device.type == "cuda" else torch.contiguous_format
        )
        height, width = pixels.shape[-2:]
        stride = stride_of(self.model)
        rim = (0, -width % stride, 0, -height % stride)
        with torch.inference_mode(), autocast(self.device, self.bf16):
            logits = logits_of(self.model(nn.pad(pixels, rim)))
        # A model may answer at a fraction of its input's size: bring it to the padded size, then cut the rim off.
        padded = (height + rim[3], width + rim[1])
        if tuple(logits.shape[-2:]) != padded:
            logits = nn.interpolate(logits.float(), padded, mode="bilinear", align_corners=False)
        logits = logits[..., :height, :width].float()
        if (height, width) != shape:
            logits = nn.interpolate(logits, shape, mode="bilinear", align_corners=False)
        require_finite(logits)
        return logits.argmax(dim=1)

    def score(self, items: Sequence[Item], which: str) -> Iterator[Confusion]:
        """Yield each item's confusion matrix, in order. PoisongenError if the device's memory is short."""

        def read(item: Item) -> tuple[Picture, Picture]:
            image, labels = item.image(), item.labels()
            check_sizes(item, image, labels)
            return image, labels

        def batches() -> Iterator[Confusion]:
            waiting: list[tuple[Picture, Picture]] = []
            for image, labels in read_ahead(read, items, self.jobs):
                if waiting and (len(waiting) == self.batch or waiting[0][1].shape != labels.shape):
                    yield from self._count(waiting)
                    waiting = []
                waiting.append((image, labels))
            if waiting:
                yield from self._count(waiting)

        yield from bar(batches(), len(items), which, self.progress)

    def _count(self, pairs: Sequence[tuple[Picture, Picture]]) -> Iterator[Confusion]:
        images, labels = zip(*pairs, strict=True)
        try:
            truth = torch.from_numpy(np.stack(labels)).to(self.device, non_blocking=True)
            guess = self.predict(images, labels[0].shape)
            counts = count_confusions(truth, guess, self.classes).cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            fewer = f"give --batch {len(pairs) // 2}" if len(pairs) > 1 else "choose another --device"
            raise PoisongenError(f"out of memory while predicting {len(pairs)} pictures at a time; {fewer}") from None
        yield from counts


def make_predictor(
    checkpoint: Checkpoint, path: Path, device: torch.device, bf16: bool, batch: int, jobs: int, progress: bool
) -> Predictor:
    """Put a checkpoint's model on the device. DataError if its weights are not those of the model that it names."""
    model = build_model(checkpoint.spec)
    load_weights(model, checkpoint, path)
    model.to(device, memory_format=torch.channels_last if device.type == "cuda" else torch.contiguous_format)  # type: ignore[call-overload]
    model.eval()
    return Predictor(model, len(checkpoint.classes), checkpoint.size, device, bf16, batch, jobs, progress)
