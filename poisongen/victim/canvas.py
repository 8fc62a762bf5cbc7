"""The training set on disk, and the canvas that its pictures share.

Pictures of several sizes share one canvas: each lies in the top left corner, the rest is void. A batch always
arrives as whole pictures in uint8 (see `batches`); `augment` makes crops of it on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Sample
from poisongen.errors import DataError
from poisongen.victim.dataset import Dataset as Folder
from poisongen.victim.metrics import VOID
from poisongen.victim.reading import Picture, fit_labels, read_image, read_raw_labels, read_size
from poisongen.victim.settings import Size

BYTES_PER_PIXEL = 4  # three of the image, one of the label
PADDING = 127  # gray; its labels are void, so it only meets the models at the border of odd-sized pictures


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


@dataclass(frozen=True)
class Batch:
    """Whole pictures on the device: images (B, 3, H, W) and labels (B, H, W), uint8; `sizes` (B, 2) on the CPU."""

    images: torch.Tensor
    labels: torch.Tensor
    sizes: torch.Tensor
