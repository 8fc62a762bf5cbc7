"""From whole pictures to training crops, on the device and for a whole batch at once.

Scale, rotation, flip and crop are one affine sampling: images bilinearly, labels by nearest neighbour. What is drawn
is drawn on the CPU from a generator of its own, so that every device sees the same crops.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nn
from torchvision.transforms.functional import gaussian_blur

from poisongen.victim.canvas import Batch
from poisongen.victim.device import send
from poisongen.victim.metrics import VOID

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, which every pretrained encoder of the library expects."""
LUMA = (0.299, 0.587, 0.114)
"""How much of each channel is in a pixel's brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied.

    `scale` is the range of factors (drawn evenly on the linear scale, as the official code does), `rotate` the
    largest angle in degrees and `blur`, `flip` the shares of pictures that get a rotation, a 5x5 blur, a mirror
    image. `colour` c draws brightness, contrast and saturation from [1 - c, 1 + c].
    """

    scale: tuple[float, float] = (0.5, 2.0)
    rotate: float = 0.0
    rotate_share: float = 0.5
    blur: float = 0.0
    flip: float = 0.5
    colour: float = 0.0


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _matrices(rows: list[list[torch.Tensor]]) -> torch.Tensor:
    """Stack 3x3 entries of shape (B,) into (B, 3, 3), float64: products of float32 may be done in less."""
    return torch.stack([torch.stack([entry.double() for entry in row], dim=-1) for row in rows], dim=-2)


def crop_matrices(
    sizes: torch.Tensor, canvas: tuple[int, int], crop: tuple[int, int], plan: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Draw one crop for each picture, as `sampling_grid` wants it: (B, 2, 3) float32.

    `sizes` is (B, 2): height and width of each picture on its canvas. A picture larger than the crop after scaling is
    cut at a whole pixel drawn evenly; a smaller one is centred, with void around it.
    """
    count = sizes.shape[0]
    height, width = sizes[:, 0].double(), sizes[:, 1].double()
    scale = _uniform(count, *plan.scale, generator)
    turn = (torch.rand(count, generator=generator) < plan.rotate_share) * _uniform(
        count, -plan.rotate, plan.rotate, generator
    )
    angle = turn * (math.pi / 180)
    mirrored = torch.rand(count, generator=generator) < plan.flip
    places = torch.rand((2, count), generator=generator)
    room = torch.stack([height * scale - crop[0], width * scale - crop[1]])
    top, left = torch.where(room > 0, (places * (room.clamp(min=0).floor() + 1)).floor(), room / 2)
    zero, one = torch.zeros(count), torch.ones(count)
    middle_y, middle_x = height * scale / 2, width * scale / 2
    # All in continuous pixel coordinates (x, y), from the crop back to the canvas.
    from_unit = _matrices(
        [
            [one * crop[1] / 2, zero, one * crop[1] / 2 + left - middle_x],
            [zero, one * crop[0] / 2, one * crop[0] / 2 + top - middle_y],
            [zero, zero, one],
        ]
    )
    turned = _matrices([[angle.cos(), angle.sin(), zero], [-angle.sin(), angle.cos(), zero], [zero, zero, one]])
    mirror = torch.where(mirrored, -one, one)
    to_picture = _matrices([[mirror / scale, zero, width / 2], [zero, one / scale, height / 2], [zero, zero, one]])
    to_unit = _matrices([[2 * one / canvas[1], zero, -one], [zero, 2 * one / canvas[0], -one], [zero, zero, one]])
    return (to_unit @ to_picture @ turned @ from_unit)[:, :2].float()


def sampling_grid(matrices: torch.Tensor, crop: tuple[int, int]) -> torch.Tensor:
    """Return where each pixel of a crop is sampled, (B, height, width, 2) as (x, y) in -1..1 of the canvas.

    What `affine_grid` is with pixels as areas. That is a matrix product, which GPUs do in TF32: 0.2 pixels off in a
    picture of 1024. Sums and products of single numbers are exact everywhere.
    """
    y, x = ((torch.arange(side, device=matrices.device, dtype=torch.float32) * 2 + 1) / side - 1 for side in crop)
    x, y = x.view(1, 1, -1, 1), y.view(1, -1, 1, 1)
    across, down, shift = (matrices[:, None, None, :, place] for place in range(3))
    return x * across + y * down + shift


@functools.cache
def _channels(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """Return one number for each channel, (1, 3, 1, 1): made once, since each copy to a GPU waits for its work."""
    return torch.tensor(values).view(1, 3, 1, 1).to(device)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 or 0..255 float images, (B, 3, H, W), in the encoders' scale, float32."""
    return (images.float() / 255 - _channels(MEAN, images.device)) / _channels(STD, images.device)


def augment(
    batch: Batch, crop: tuple[int, int], plan: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised crops (B, 3, h, w) float32 and their labels (B, h, w) int64, 255 where there is no picture."""
    device = batch.images.device
    count, _, height, width = batch.images.shape
    matrices = crop_matrices(batch.sizes, (height, width), crop, plan, generator)
    colours = _uniform(3 * count, 1 - plan.colour, 1 + plan.colour, generator)
    blurred = torch.rand(count, generator=generator) < plan.blur
    # All that was drawn goes to the device in one copy.
    drawn = send(torch.cat([matrices.flatten(), colours, blurred.float()]), device)
    grid = sampling_grid(drawn[: 6 * count].view(count, 2, 3), crop)
    mean = 255 * _channels(MEAN, device)
    # Sampling fills up with 0: the mean for images, and for labels (shifted by one) what becomes void.
    pixels = nn.grid_sample(batch.images.float() - mean, grid, "bilinear", "zeros", align_corners=False) + mean
    shifted = (batch.labels.float() + 1).unsqueeze(1)
    ids = nn.grid_sample(shifted, grid, "nearest", "zeros", align_corners=False).squeeze(1).round().long() - 1
    labels = torch.where(ids < 0, VOID, ids)
    if plan.colour:
        pixels = _recolour(pixels, *drawn[6 * count : 9 * count].view(3, count, 1, 1, 1))
    if bool(blurred.any()):
        chosen = drawn[9 * count :].view(-1, 1, 1, 1) > 0
        pixels = torch.where(chosen, gaussian_blur(pixels, [5, 5], [1.1, 1.1]), pixels)
    return normalise(pixels), labels


def _recolour(
    pixels: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Change 0..255 colours; each factor is (B, 1, 1, 1)."""
    weights = _channels(LUMA, pixels.device)
    pixels = pixels * brightness
    gray = (pixels * weights).sum(dim=1, keepdim=True)
    pixels = (pixels - gray.mean(dim=(2, 3), keepdim=True)) * contrast + gray.mean(dim=(2, 3), keepdim=True)
    gray = (pixels * weights).sum(dim=1, keepdim=True)
    return ((pixels - gray) * saturation + gray).clamp(0, 255)
