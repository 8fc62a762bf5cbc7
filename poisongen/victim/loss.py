"""The training loss: cross-entropy over all pixels that are not void."""

from __future__ import annotations

import torch
import torch.nn.functional as nn

from poisongen.victim.metrics import VOID
from poisongen.victim.models import AUX_WEIGHT


def known_pixels(labels: torch.Tensor) -> torch.Tensor:
    """Return how many pixels are not void (at least 1), on the labels' device."""
    return (labels != VOID).sum().clamp(min=1)


def segmentation_loss(
    output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor, count: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean cross-entropy over all pixels that are not void (0 if all are), and of the auxiliary head.

    `count` is what the sum is divided by: that of a whole batch, where `labels` are a part of it.
    """
    pixels = known_pixels(labels) if count is None else count
    known = labels != VOID

    def one(logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[-2:] != labels.shape[-2:]:
            logits = nn.interpolate(logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
        # Not torch's cross_entropy: for label maps on a GPU its sum has no deterministic algorithm.
        chosen = nn.log_softmax(logits.float(), dim=1).gather(1, (labels * known).unsqueeze(1)).squeeze(1)
        return -torch.where(known, chosen, 0.0).sum() / pixels

    if isinstance(output, torch.Tensor):
        return one(output)
    return one(output[0]) + AUX_WEIGHT * one(output[1])
