"""A decoded training set as two uint8 tensors, read once, and how its batches reach the device.

Pictures of several sizes share one canvas: each lies in the top left corner, the rest is void. A batch always
arrives as whole pictures in uint8; `augment` makes crops of it on the device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Sample
from poisongen.errors import ChoiceError, DataError
from poisongen.victim.dataset import Dataset as Folder
from poisongen.victim.metrics import VOID
from poisongen.victim.reading import Picture, fit_labels, read_image, read_raw_labels, read_size
from poisongen.victim.settings import Size

CacheMode = Literal["gpu", "ram", "none"]

BYTES_PER_PIXEL = 4  # three of the image, one of the label
PADDING = 127  # gray; its labels are void, so it only meets the models at the border of odd-sized pictures
SHARE_OF_MEMORY = 0.5  # of what is free: the rest is for the model, its activations and everybody else


@dataclass(frozen=True)
class Source:
    """The training set on disk: paths and sizes, (height, width) each, and how labels become train IDs.

    Plain data throughout, so that worker processes can be given it.
    """

    root: Path
    layout: str
    classes: ClassTable
    samples: tuple[Sample, ...]
    sizes: tuple[Size, ...]
    resize: Size | None
    table: npt.NDArray[np.uint8]

    @property
    def canvas_size(self) -> Size:
        """Height and width that hold every picture."""
        return max(height for height, _ in self.sizes), max(width for _, width in self.sizes)

    @property
    def bytes(self) -> int:
        """What the decoded set takes."""
        height, width = self.canvas_size
        return len(self.samples) * height * width * BYTES_PER_PIXEL

    def read(self, index: int) -> tuple[Picture, Picture]:
        """Return one sample: image (H, W, 3) and train IDs (H, W), uint8. DataError if a file is bad."""
        sample, kinds = self.samples[index], find_layout(self.layout).kinds
        image = read_image(self.root / sample.image, self.resize)
        label = next(label for label in sample.labels if kinds[label.kind].semantic)
        raw = read_raw_labels(self.root / label.path, kinds[label.kind], self.classes)
        labels = self.table[fit_labels(raw, self.resize)]
        if labels.shape != image.shape[:2]:
            raise DataError(self.root / label.path, f"its size is not that of its image {sample.image}")
        return image, labels

    def read_padded(self, index: int) -> tuple[Picture, Picture]:
        """Return one sample on the canvas: (3, H, W) and (H, W) uint8."""
        image, labels = self.read(index)
        height, width = self.canvas_size
        pixels = np.full((3, height, width), PADDING, np.uint8)
        ids = np.full((height, width), VOID, np.uint8)
        pixels[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
        ids[: labels.shape[0], : labels.shape[1]] = labels
        return pixels, ids


def find_source(folder: Folder, samples: Sequence[Sample], resize: Size | None, table: Any, jobs: int) -> Source:
    """Look up the size of every picture (of its header only)."""
    if resize is not None:
        sizes: tuple[Size, ...] = (resize,) * len(samples)
    else:
        with ThreadPoolExecutor(jobs) as pool:
            sizes = tuple(pool.map(lambda sample: read_size(folder.root / sample.image), samples))
    return Source(folder.root, folder.layout.name, folder.classes, tuple(samples), sizes, resize, table)


def free_memory(device: torch.device) -> tuple[int, int]:
    """Return the free bytes of the device (0 on the CPU) and of the host."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123
            host = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return on_device, host


def choose_cache(wanted: CacheMode | None, size: int, device: torch.device) -> tuple[CacheMode, str]:
    """Decide where the decoded set lives, and say so in a sentence. ChoiceError if it was asked for in vain."""
    on_device, host = free_memory(device)
    gigabytes = f"{size / 2**30:.2f} GiB decoded"
    if wanted == "gpu" and device.type != "cuda":
        raise ChoiceError("--cache gpu: there is no GPU in use; choose ram or none")
    if wanted == "gpu" and size > on_device:
        raise ChoiceError(f"--cache gpu: the set takes {gigabytes}, free are {on_device / 2**30:.2f}; choose ram")
    if wanted == "ram" and size > host:
        raise ChoiceError(f"--cache ram: the set takes {gigabytes}, free are {host / 2**30:.2f}; choose none")
    if wanted == "gpu" or (wanted is None and device.type == "cuda" and size <= SHARE_OF_MEMORY * on_device):
        return "gpu", f"{gigabytes}, kept on the GPU"
    if wanted == "ram" or (wanted is None and size <= SHARE_OF_MEMORY * host):
        return "ram", f"{gigabytes}, kept in {'pinned host ' if device.type == 'cuda' else ''}memory"
    return "none", f"{gigabytes}, read anew by workers in every epoch"


@dataclass(frozen=True)
class Batch:
    """Whole pictures on the device: images (B, 3, H, W) and labels (B, H, W), uint8; `sizes` (B, 2) on the CPU."""

    images: torch.Tensor
    labels: torch.Tensor
    sizes: torch.Tensor


Batches = Callable[[Sequence[npt.NDArray[np.intp]]], Iterator[Batch]]
"""Gives the batches of the samples that each array of indices names, in that order."""


def open_batches(
    source: Source, mode: CacheMode, device: torch.device, jobs: int, progress: bool
) -> tuple[Batches, frozenset[int]]:
    """Read the set as `mode` says; return what gives its batches, and the train IDs that occur in it.

    A set that is streamed has not been read yet: no ID is known then.
    """
    sizes = torch.tensor(source.sizes)
    if mode == "none":
        return lambda order: _streamed(source, sizes, order, device, jobs), frozenset()
    pinned = mode == "ram" and device.type == "cuda"
    images, labels, present = _decode(source, pinned=pinned, jobs=jobs, progress=progress)
    if mode == "gpu":
        images, labels = images.to(device), labels.to(device)
        return lambda order: _resident(images, labels, sizes, order, device), present
    return lambda order: _from_memory(images, labels, sizes, order, device), present


def _decode(
    source: Source, pinned: bool, jobs: int, progress: bool
) -> tuple[torch.Tensor, torch.Tensor, frozenset[int]]:
    """Decode the whole set with threads (decoders release the lock); return images, labels, and the IDs in them.

    The threads, here and in `_from_memory`, copy with NumPy: a thread that copies with torch brings up a team of
    workers of its own, and from then on every step on the CPU is up to twice as slow.
    """
    count, (height, width) = len(source.samples), source.canvas_size
    images = torch.empty((count, 3, height, width), dtype=torch.uint8, pin_memory=pinned)
    labels = torch.empty((count, height, width), dtype=torch.uint8, pin_memory=pinned)

    pixels, maps = images.numpy(), labels.numpy()  # views

    def fill(index: int) -> frozenset[int]:
        pixels[index], maps[index] = source.read_padded(index)
        return frozenset(np.flatnonzero(np.bincount(maps[index].ravel())).tolist())

    present: frozenset[int] = frozenset()
    quiet = None if progress else True
    with ThreadPoolExecutor(jobs) as pool:
        for found in tqdm(pool.map(fill, range(count)), total=count, desc="reading", disable=quiet, leave=False):
            present |= found
    return images, labels, present


def _resident(
    images: torch.Tensor,
    labels: torch.Tensor,
    sizes: torch.Tensor,
    order: Sequence[npt.NDArray[np.intp]],
    device: torch.device,
) -> Iterator[Batch]:
    for indices in order:
        host = torch.from_numpy(indices)
        chosen = host.to(device, non_blocking=True)
        yield Batch(images[chosen], labels[chosen], sizes[host])


def _from_memory(
    images: torch.Tensor,
    labels: torch.Tensor,
    sizes: torch.Tensor,
    order: Sequence[npt.NDArray[np.intp]],
    device: torch.device,
) -> Iterator[Batch]:
    """Gather batches in host memory, one ahead of the device in a thread of its own."""
    pinned = device.type == "cuda"

    def pick(whole: torch.Tensor, indices: npt.NDArray[np.intp]) -> torch.Tensor:
        chosen = torch.empty((len(indices), *whole.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        np.take(whole.numpy(), indices, axis=0, out=chosen.numpy(), mode="clip")  # another mode copies twice
        return chosen

    def gather(indices: npt.NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return pick(images, indices), pick(labels, indices), sizes[torch.from_numpy(indices)]

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(gather, indices) for indices in order[:2]]
        for position in range(len(order)):
            pictures, ids, shape = waiting.pop(0).result()
            if position + 2 < len(order):
                waiting.append(pool.submit(gather, order[position + 2]))
            yield Batch(pictures.to(device, non_blocking=True), ids.to(device, non_blocking=True), shape)


class _OnDisk(Dataset[tuple[Picture, Picture]]):
    """The source as torch's loader wants it."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.samples)

    def __getitem__(self, index: int) -> tuple[Picture, Picture]:
        return self.source.read_padded(index)


def _streamed(
    source: Source,
    sizes: torch.Tensor,
    order: Sequence[npt.NDArray[np.intp]],
    device: torch.device,
    jobs: int,
) -> Iterator[Batch]:
    """Read batches with worker processes. Workers draw nothing at random, so their number changes no result."""
    loader = DataLoader(
        _OnDisk(source),
        batch_sampler=[indices.tolist() for indices in order],
        num_workers=jobs if jobs > 1 else 0,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # the loader draws from it; from the model's own it would change dropout
    )
    for indices, (images, labels) in zip(order, loader, strict=True):
        shape = sizes[torch.from_numpy(indices)]
        yield Batch(images.to(device, non_blocking=True), labels.to(device, non_blocking=True), shape)
