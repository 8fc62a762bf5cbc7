"""The training loss: cross-entropy over all pixels that are not void."""

from __future__ import annotations

import torch
import torch.nn.functional as nn

from poisongen.victim.metrics import VOID
from poisongen.victim.models import AUX_WEIGHT


def segmentation_loss(output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy over all pixels that are not void (0 if all are), and of the auxiliary head."""
    count = (labels != VOID).sum().clamp(min=1)

    def one(logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[-2:] != labels.shape[-2:]:
            logits = nn.interpolate(logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
        return nn.cross_entropy(logits.float(), labels, ignore_index=VOID, reduction="sum") / count

    if isinstance(output, torch.Tensor):
        return one(output)
    return one(output[0]) + AUX_WEIGHT * one(output[1])
