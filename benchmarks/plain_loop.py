"""What `gpu.py` compares with: noisy pictures on the disk, and a plain dataset that makes crops of them in workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from poisongen.victim.metrics import VOID
from poisongen.victim.settings import Settings

MEAN = (124, 116, 104)  # of ImageNet, what pictures are filled up with


def write_pictures(root: Path, count: int, size: tuple[int, int]) -> None:
    """Write a training set of noise over flat shapes: decoders and crops do not care what they see."""
    generator = np.random.default_rng(0)
    height, width = size
    (root / "images/train").mkdir(parents=True)
    (root / "masks/train").mkdir(parents=True)
    names = ", ".join(f"{number}: class{number}" for number in range(19))
    (root / "classes.yaml").write_text(f"classes: {{{names}}}\nvoid: [255]\n")
    for number in range(count):
        blocks = generator.integers(0, 19, (height // 16, width // 16)).astype(np.uint8)
        labels = np.repeat(np.repeat(blocks, 16, 0), 16, 1)
        image = labels[..., None] * np.array([12, 9, 7]) + generator.integers(0, 20, (height, width, 3))
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(
            root / f"images/train/{number}.png", compress_level=1
        )
        Image.fromarray(labels).save(root / f"masks/train/{number}.png", compress_level=1)


class PlainDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What a training script usually has: read, scale, rotate, blur, mirror and crop one picture in a worker."""

    def __init__(self, source: Any, settings: Settings, crop: tuple[int, int]) -> None:
        self.source, self.settings, self.crop = source, settings, crop

    def __len__(self) -> int:
        return len(self.source.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = self.source.read(index)
        plan, generator = self.settings, np.random.default_rng()
        factor = generator.uniform(*plan.scale_range)
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(labels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        if plan.rotate and generator.random() < 0.5:
            height, width = labels.shape
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), generator.uniform(-plan.rotate, plan.rotate), 1)
            image = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderValue=MEAN)
            labels = cv2.warpAffine(labels, turn, (width, height), flags=cv2.INTER_NEAREST, borderValue=VOID)
        if generator.random() < plan.blur:
            image = cv2.GaussianBlur(image, (5, 5), 0)
        if generator.random() < plan.flip:
            image, labels = image[:, ::-1], labels[:, ::-1]
        low, right = (max(side - own, 0) for side, own in zip(self.crop, labels.shape, strict=True))
        image = cv2.copyMakeBorder(image, low // 2, low - low // 2, right // 2, right - right // 2,
                                   cv2.BORDER_CONSTANT, value=MEAN)  # fmt: skip
        labels = cv2.copyMakeBorder(labels, low // 2, low - low // 2, right // 2, right - right // 2,
                                    cv2.BORDER_CONSTANT, value=VOID)  # fmt: skip
        top, left = (
            int(generator.integers(0, own - side + 1)) for side, own in zip(self.crop, labels.shape, strict=True)
        )
        image, labels = (part[top : top + self.crop[0], left : left + self.crop[1]] for part in (image, labels))
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(labels.copy())
