"""Several GPUs by torchrun: one process for each, and PyTorch's own DistributedDataParallel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed, nn

from poisongen.errors import ChoiceError


@dataclass(frozen=True)
class Crew:
    """The processes at work: this one's number, its number on its machine, and how many there are."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0


def find_crew() -> Crew:
    """Return what torchrun's environment says; a crew of one without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Crew()
    return Crew(
        *(
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
        )
    )


@contextlib.contextmanager
def joined(crew: Crew, device: torch.device) -> Iterator[None]:
    """Join the other processes for the time of a run."""
    if crew.size == 1:
        yield
        return
    if device.type == "cuda" and crew.local_rank >= torch.cuda.device_count():
        raise ChoiceError(f"torchrun: {crew.local_rank + 1} processes or more on {torch.cuda.device_count()} GPUs")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share(model: nn.Module, crew: Crew, device: torch.device) -> nn.Module:
    """Wrap a model so that its gradients are averaged over the crew, with batch norms over the whole batch on GPUs.

    Every step runs the same graph (`static_graph`), in which parts of an encoder may have no part (smp-pspnet).
    """
    if crew.size == 1:
        return model
    if device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index], static_graph=True)
    return nn.parallel.DistributedDataParallel(model, static_graph=True)


def average(value: torch.Tensor, crew: Crew) -> torch.Tensor:
    """Return a value's mean over the crew."""
    if crew.size > 1:
        distributed.all_reduce(value)
        value = value / crew.size
    return value
