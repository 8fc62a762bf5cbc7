"""Several GPUs by torchrun: one process for each, and PyTorch's own DistributedDataParallel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from poisongen.errors import ChoiceError


@dataclass(frozen=True)
class Crew:
    """The processes at work: this one's number, its number on its machine, how many there are, and how many there."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0


def find_crew() -> Crew:
    """Return what torchrun's environment says; a crew of one without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Crew()
    names = (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_WORLD_SIZE", "1"))
    return Crew(*(int(os.environ.get(name, default)) for name, default in names))


@contextlib.contextmanager
def joined(crew: Crew, device: torch.device) -> Iterator[None]:
    """Join the other processes for the time of a run."""
    if crew.size == 1:
        yield
        return
    if device.type == "mps":
        raise ChoiceError("torchrun: several processes work on CUDA GPUs or the CPU only; leave out --device mps")
    if device.type == "cuda" and crew.local_rank >= torch.cuda.device_count():
        raise ChoiceError(f"torchrun: {crew.local_rank + 1} processes or more on {torch.cuda.device_count()} GPUs")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def synchronised(model: nn.Module) -> nn.Module:
    """Return the model with batch norms that see the batches of all processes; everything else stays.

    By timm's conversion: torch's own turns timm's norms with an activation into norms without one.
    """
    from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

    converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def share(model: nn.Module, crew: Crew, device: torch.device, accumulate: int = 1) -> nn.Module:
    """Wrap a model so that its gradients are averaged over the crew, with batch norms over the whole batch on GPUs.

    Parts of an encoder may have no part in the result (smp-pspnet). Where every step is one backward pass, its graph
    is declared to be always the same; torch cannot combine that with passes that are not shared (`accumulate`).
    """
    if crew.size == 1:
        return model
    cuda = device.type == "cuda"
    return nn.parallel.DistributedDataParallel(
        synchronised(model) if cuda else model,
        device_ids=[device.index] if cuda else None,
        static_graph=accumulate == 1,
        find_unused_parameters=accumulate > 1,
    )


def unshared(model: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Return the context of one backward pass of several: gradients are averaged over the crew in the last alone."""
    # torch.compile wraps what `share` returned.
    inner = getattr(model, "_orig_mod", model)
    if last or not isinstance(inner, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    alone: contextlib.AbstractContextManager[Any] = inner.no_sync()
    return alone


def average(value: torch.Tensor, crew: Crew) -> torch.Tensor:
    """Return a value's mean over the crew."""
    if crew.size > 1:
        distributed.all_reduce(value)
        value = value / crew.size
    return value


def gathered(value: Any, crew: Crew) -> list[Any]:
    """Return every process's value, by rank: plain data, the same list in all of them."""
    if crew.size == 1:
        return [value]
    found: list[Any] = [None] * crew.size
    distributed.all_gather_object(found, value)
    return found
