"""The optimiser and its rate: encoder and heads in separate groups, poly decay after a warm-up."""

from __future__ import annotations

import torch
from torch import nn

from poisongen.victim.settings import Settings


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return SGD or AdamW over the encoder (first) and, at `head_factor` times the rate, everything else.

    AdamW leaves norms and biases without decay (as SegFormer's configuration does), SGD decays all (as the official
    IBA code does).
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        plain = settings.optimizer == "adamw" and parameter.ndim <= 1
        groups.setdefault((name.startswith("encoder."), plain), []).append(parameter)
    lr, decay = settings.lr or 0.0, settings.weight_decay or 0.0
    described = [
        {
            "params": parameters,
            "lr": lr * (1 if is_encoder else settings.head_factor),
            "base": lr * (1 if is_encoder else settings.head_factor),
            "weight_decay": 0.0 if plain else decay,
        }
        for (is_encoder, plain), parameters in sorted(groups.items(), reverse=True)
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(described)
    return torch.optim.SGD(described, momentum=settings.momentum)


def rate_factor(iteration: int, iterations: int, settings: Settings) -> float:
    """Return what the base rates are multiplied with at an iteration (from 0)."""
    rising = min(1.0, (iteration + 1) / settings.warmup) if settings.warmup else 1.0
    return float(rising * (1 - iteration / iterations) ** (settings.power or 0.0))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate and return the first one's."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
    return float(optimizer.param_groups[0]["lr"])
