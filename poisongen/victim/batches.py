"""How batches of whole pictures reach the device: from its own memory, from the host's, or from the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from poisongen.errors import ChoiceError
from poisongen.victim.canvas import Batch, Source
from poisongen.victim.device import send
from poisongen.victim.distributed import Crew, gathered
from poisongen.victim.memory import free_memory
from poisongen.victim.reading import Picture
from poisongen.victim.shared import shared_arrays

CacheMode = Literal["gpu", "ram", "none"]

SHARE_OF_MEMORY = 0.5  # of what is free: the rest is for the model, its activations and everybody else
WORKERS = 16  # loading processes of one training process, at most: each keeps batches of its own in shared memory

Order = Sequence[npt.NDArray[np.intp]]
"""Batches, each as the indices of its samples."""


class Batches(Protocol):
    """Gives the batches of the samples that each array of indices names, in that order; one iteration at a time."""

    def __call__(self, order: Order) -> Iterator[Batch]:
        """Yield the batches."""

    def release(self) -> bool:
        """Let go of what is held (it gives no batches from then on); tell whether that was on the device."""


def choose_cache(
    wanted: CacheMode | None, size: int, device: torch.device, crew: Crew | None = None
) -> tuple[CacheMode, str]:
    """Decide where the decoded set lives, and say so in a sentence. ChoiceError if it was asked for in vain.

    All processes of a crew decide alike: by the least that any of them has.
    """
    everybody = gathered(free_memory(device), crew or Crew())
    on_device, host = (min(figures) for figures in zip(*everybody, strict=True))
    gigabytes = f"{size / 2**30:.2f} GiB decoded"
    if wanted == "gpu" and device.type != "cuda":
        raise ChoiceError("--cache gpu: there is no GPU in use; choose ram or none")
    if wanted == "gpu" and size > on_device:
        raise ChoiceError(f"--cache gpu: the set takes {gigabytes}, free are {on_device / 2**30:.2f}; choose ram")
    if wanted == "ram" and size > host:
        raise ChoiceError(f"--cache ram: the set takes {gigabytes}, free are {host / 2**30:.2f}; choose none")
    # On its way to the GPU the set lies in host memory.
    by_size = device.type == "cuda" and size <= SHARE_OF_MEMORY * on_device and size <= host
    if wanted == "gpu" or (wanted is None and by_size):
        return "gpu", f"{gigabytes}, kept on the GPU"
    if wanted == "ram" or (wanted is None and size <= SHARE_OF_MEMORY * host):
        return "ram", f"{gigabytes}, kept in memory"
    return "none", f"{gigabytes}, read anew by workers in every epoch"


def worker_count(jobs: int, crew: Crew) -> int:
    """Return how many processes load for one that trains: its share of the machine's `jobs`, and no more than 16."""
    return max(1, min(jobs // crew.local_size, WORKERS))


def open_batches(
    source: Source, mode: CacheMode, device: torch.device, jobs: int, progress: bool, crew: Crew | None = None
) -> tuple[Batches, frozenset[int]]:
    """Read the set as `mode` says; return what gives its batches, and the train IDs that occur in it.

    A set that is streamed has not been read yet: no ID is known then.
    """
    crew = crew or Crew()
    if mode == "none":
        return Streamed(source, device, worker_count(jobs, crew)), frozenset()
    pixels, maps, present = decode(source, max(1, jobs // crew.local_size), progress, crew)
    held = HeldOnDevice if mode == "gpu" else HeldInMemory
    return held(pixels, maps, torch.tensor(source.sizes), device), present


def decode(
    source: Source, jobs: int, progress: bool, crew: Crew
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], frozenset[int]]:
    """Decode the whole set with threads (decoders release the lock); return images, labels, and the IDs in them.

    The processes of one machine decode a share each, into arrays that they all see. Threads, here and in
    `HeldInMemory`, copy with NumPy: a thread that copies with torch brings up a team of workers of its own, and from
    then on every step on the CPU is up to twice as slow.
    """
    count, (height, width) = len(source.samples), source.canvas_size
    pixels, maps = shared_arrays([(count, 3, height, width), (count, height, width)], crew)

    def fill(index: int) -> frozenset[int]:
        pixels[index], maps[index] = source.read_padded(index)
        return frozenset(np.flatnonzero(np.bincount(maps[index].ravel())).tolist())

    present: frozenset[int] = frozenset()
    quiet = None if progress else True
    own = range(crew.local_rank, count, crew.local_size)
    with ThreadPoolExecutor(jobs) as pool:
        for found in tqdm(pool.map(fill, own), total=len(own), desc="reading", disable=quiet, leave=False):
            present |= found
    return pixels, maps, frozenset().union(*gathered(present, crew))  # also waits for the others' shares


class HeldOnDevice:
    """The decoded set in the device's own memory."""

    def __init__(
        self, pixels: npt.NDArray[np.uint8], maps: npt.NDArray[np.uint8], sizes: torch.Tensor, device: torch.device
    ) -> None:
        self.images, self.labels = torch.from_numpy(pixels).to(device), torch.from_numpy(maps).to(device)
        self.sizes, self.device = sizes, device

    def __call__(self, order: Order) -> Iterator[Batch]:
        """Yield the batches."""
        for indices in order:
            host = torch.from_numpy(indices)
            chosen = send(host, self.device)
            yield Batch(self.images[chosen], self.labels[chosen], self.sizes[host])

    def release(self) -> bool:
        """Free the device's memory."""
        self.images = self.labels = torch.empty(0)
        return True


class HeldInMemory:
    """The decoded set in host memory: batches are gathered one ahead of the device, in a thread of its own.

    Only the batches on their way are pinned: pinned memory comes in powers of two, and is lost to everybody else.
    """

    def __init__(
        self, pixels: npt.NDArray[np.uint8], maps: npt.NDArray[np.uint8], sizes: torch.Tensor, device: torch.device
    ) -> None:
        self.pixels, self.maps, self.sizes, self.device = pixels, maps, sizes, device

    def _pick(self, whole: npt.NDArray[np.uint8], indices: npt.NDArray[np.intp]) -> torch.Tensor:
        pinned = self.device.type == "cuda"
        chosen = torch.empty((len(indices), *whole.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        np.take(whole, indices, axis=0, out=chosen.numpy(), mode="clip")  # another mode copies twice
        return chosen

    def _gather(self, indices: npt.NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._pick(self.pixels, indices), self._pick(self.maps, indices), self.sizes[torch.from_numpy(indices)]

    def __call__(self, order: Order) -> Iterator[Batch]:
        """Yield the batches."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._gather, indices) for indices in order[:2]]
            for position in range(len(order)):
                images, labels, shape = waiting.pop(0).result()
                if position + 2 < len(order):
                    waiting.append(pool.submit(self._gather, order[position + 2]))
                yield _moved(images, labels, shape, self.device)

    def release(self) -> bool:
        """Keep everything: the device holds none of it."""
        return False


def _moved(images: torch.Tensor, labels: torch.Tensor, sizes: torch.Tensor, device: torch.device) -> Batch:
    """Return a batch on the device; its tensors are pinned already where that matters."""
    return Batch(images.to(device, non_blocking=True), labels.to(device, non_blocking=True), sizes)


class _OnDisk(Dataset[tuple[Picture, Picture]]):
    """The source as torch's loader wants it."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.samples)

    def __getitem__(self, index: int) -> tuple[Picture, Picture]:
        return self.source.read_padded(index)


class Streamed:
    """Batches read by worker processes, which stay from epoch to epoch.

    Workers draw nothing at random, so their number changes no result.
    """

    def __init__(self, source: Source, device: torch.device, jobs: int) -> None:
        self.sizes, self.device = torch.tensor(source.sizes), device
        self.order: list[list[int]] = []  # what the loader reads next: it asks anew in every epoch
        workers = jobs if jobs > 1 else 0
        self.loader: DataLoader[Any] = DataLoader(
            _OnDisk(source),
            batch_sampler=self.order,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # the loader draws from it; from the model's own it would change dropout
        )

    def __call__(self, order: Order) -> Iterator[Batch]:
        """Yield the batches."""
        self.order[:] = [indices.tolist() for indices in order]
        for indices, (images, labels) in zip(order, self.loader, strict=True):
            yield _moved(images, labels, self.sizes[torch.from_numpy(indices)], self.device)

    def release(self) -> bool:
        """Keep everything: the device holds none of it."""
        return False
