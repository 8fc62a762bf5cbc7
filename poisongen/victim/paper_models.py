"""PSPNet and DeepLabV3 as the official code builds them, on encoders of the library.

The facts are those of the official IBA code (model/pspnet.py), whose PSPNet is that of hszhao/semseg: an encoder at
stride 8 (stages 3 and 4 dilated by 2 and 4), no bias before batch norms, an auxiliary head on stage 3, inputs of
8k+1 pixels whose features lie at pixels 0, 8, ..., 8k, and one interpolation of the logits. Ours is the encoder's
stem: the official ResNets have three 3x3 convolutions there, the library's one of 7x7.
"""

from __future__ import annotations

import contextlib

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional

STRIDE = 8
BINS = (1, 2, 3, 6)  # PSPNet's pyramid
RATES = (6, 12, 18)  # DeepLabV3's, at stride 8 in the official code
AUXILIARY = 256  # channels of the auxiliary heads
DROPOUT = {"pspnet": 0.0, "deeplabv3": 0.1}  # whole channels; tool/train.py turns PSPNet's 0.1 off


def norm_block(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size, batch norm and ReLU."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Float32Head(nn.Sequential):
    """A head that computes in fp32 under autocast: in bf16 equal logits are common, and ties go to class 0."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32."""
        kind = features.device.type  # Apple's GPUs are never under autocast here, and not every torch knows it there
        with contextlib.nullcontext() if kind == "mps" else torch.autocast(kind, enabled=False):
            logits: torch.Tensor = super().forward(features.float())  # type: ignore[no-untyped-call]
        return logits


def pool_windows(features: torch.Tensor, bins: tuple[int, ...]) -> list[torch.Tensor]:
    """Average features (B, C, H, W) over pyramids of n x n windows, one (B, C, n, n) for each n of `bins`.

    The windows are those of `adaptive_avg_pool2d`, as matrix products: its gradient varies from run to run on GPUs,
    and Apple's take only sizes that n divides.
    """
    down, across = (_window_masks(size, bins, features) for size in features.shape[-2:])
    rows = down @ features / down.sum(dim=1, keepdim=True)
    cells = rows @ across.T / across.sum(dim=1)
    ends = [sum(bins[: place + 1]) for place in range(len(bins))]
    return [cells[..., end - side : end, end - side : end] for side, end in zip(bins, ends, strict=True)]


def _window_masks(size: int, bins: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return which of `size` positions lie in which window, (all windows, size) of 0 and 1."""
    places = torch.arange(size, device=like.device)
    masks = []
    for count in bins:
        numbers = torch.arange(count, device=like.device).unsqueeze(1)
        starts, ends = numbers * size // count, -(-(numbers + 1) * size // count)
        masks.append((places >= starts) & (places < ends))
    return torch.cat(masks).to(like.dtype)


class PyramidPooling(nn.Module):
    """The features beside their means over 1, 4, 9 and 36 windows, each reduced to a quarter of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(norm_block(channels, channels // len(BINS), 1) for _ in BINS)
        self.channels = channels + len(BINS) * (channels // len(BINS))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, self.channels, H, W)."""
        found = [features]
        for branch, pooled in zip(self.branches, pool_windows(features, BINS), strict=True):
            found.append(enlarge(branch(pooled), features.shape[-2:]))
        return torch.cat([part.to(features.dtype) for part in found], dim=1)


class AtrousPyramid(nn.Module):
    """Five looks at the features: a 1x1 convolution, 3x3 ones at three rates, and the mean of all."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [norm_block(channels, outputs, 1), *(norm_block(channels, outputs, 3, rate) for rate in RATES)]
        )
        self.mean = norm_block(channels, outputs, 1)
        self.channels = outputs * (len(RATES) + 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, self.channels, H, W)."""
        mean = self.mean(features.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])
        return torch.cat([*(branch(features) for branch in self.branches), mean], dim=1)


def enlarge(values: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Interpolate (B, C, h, w) with the corner values on the corner pixels: exact for features of 8k+1 pixels."""
    return functional.interpolate(values, tuple(size), mode="bilinear", align_corners=True)


class PaperModel(nn.Module):
    """An encoder at stride 8, a decoder of its last features, and two heads. Inputs are (B, 3, 8k+1, 8l+1).

    In training the result is (logits, auxiliary logits), both (B, K, 8k+1, 8l+1); else the logits at 1/8,
    (B, K, k+1, l+1), whose place (i, j) is the pixel (8i, 8j): whoever asks enlarges them once, to what is needed.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, head: nn.Sequential, auxiliary_head: nn.Sequential
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.segmentation_head, self.auxiliary_head = head, auxiliary_head

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return logits, float32."""
        features = self.encoder(images)
        logits: torch.Tensor = self.segmentation_head(self.decoder(features[-1]))
        if not self.training:
            return logits
        size = images.shape[-2:]
        return enlarge(logits, size), enlarge(self.auxiliary_head(features[-2]), size)


def paper_model(name: str, encoder_name: str, classes: int, weights: str | None) -> PaperModel:
    """Return `pspnet` or `deeplabv3`; the library's error if it cannot dilate this encoder."""
    encoder = smp.encoders.get_encoder(encoder_name, depth=5, weights=weights, output_stride=STRIDE)
    middle, last = encoder.out_channels[-2:]
    dropout = nn.Dropout2d(DROPOUT[name])
    if name == "pspnet":
        context: PyramidPooling | AtrousPyramid = PyramidPooling(last)
        width, kernel = 512, 3
    else:
        context = AtrousPyramid(last, 256)
        width, kernel = 256, 1
    return PaperModel(
        encoder,
        nn.Sequential(context, norm_block(context.channels, width, kernel), dropout),
        Float32Head(nn.Conv2d(width, classes, 1)),
        nn.Sequential(
            norm_block(middle, AUXILIARY, kernel),
            nn.Dropout2d(DROPOUT[name]),
            Float32Head(nn.Conv2d(AUXILIARY, classes, 1)),
        ),
    )
