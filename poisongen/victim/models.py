"""Victim models, all of them put together by segmentation-models-pytorch or from its parts."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from torch import nn

from poisongen.errors import ChoiceError
from poisongen.victim.model_names import PAPER_ENCODERS, library_name
from poisongen.victim.weights import load_encoder_file

AUX_WEIGHT = 0.4  # the official configuration (aux_weight), as in the PSPNet paper


@dataclass(frozen=True)
class ModelSpec:
    """What a model is: its name, its encoder and how many classes it tells apart."""

    name: str
    encoder: str
    classes: int

    def as_data(self) -> dict[str, Any]:
        """Return the specification as plain data, for checkpoints."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} ({self.encoder})"


class PSPNet(nn.Module):
    """The paper's PSPNet from the library's parts: dilated encoder (stride 8), pyramid decoder, two heads.

    In training the result is (logits, auxiliary logits), both (B, K, H, W); else the logits. The auxiliary head looks
    at the encoder's last stage but one, as in the PSPNet paper.
    """

    def __init__(self, encoder: str, classes: int, weights: str | None) -> None:
        super().__init__()
        self.encoder = smp.encoders.get_encoder(encoder, depth=5, weights=weights, output_stride=8)
        channels = self.encoder.out_channels
        self.decoder = PSPDecoder(channels, out_channels=512, dropout=0.1)
        self.segmentation_head = SegmentationHead(512, classes, kernel_size=3, upsampling=8)
        inner = max(channels[-2] // 4, 1)
        self.auxiliary_head = nn.Sequential(
            Conv2dReLU(channels[-2], inner, kernel_size=3, padding=1),
            nn.Dropout2d(0.1),
            SegmentationHead(inner, classes, kernel_size=1, upsampling=8),
        )
        initialize_decoder(self.decoder)
        initialize_decoder(self.auxiliary_head)
        initialize_head(self.segmentation_head)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return logits for images (B, 3, H, W), H and W multiples of 8."""
        features = self.encoder(images)
        logits: torch.Tensor = self.segmentation_head(self.decoder(features))
        return (logits, self.auxiliary_head(features[-2])) if self.training else logits


def make_spec(name: str, encoder: str | None, classes: int) -> ModelSpec:
    """Return the specification of a model by the names that a user gives; ChoiceError if there is no such model."""
    known = library_name(name, list(smp.MODEL_ARCHITECTURES_MAPPING))
    chosen = encoder or PAPER_ENCODERS.get(known, "resnet50")
    if not chosen.startswith("tu-") and chosen not in smp.encoders.encoders:
        raise ChoiceError(f"--encoder: no encoder '{chosen}'; `poisongen list models` names them all")
    return ModelSpec(known, chosen, classes)


def spec_from_data(data: Mapping[str, Any]) -> ModelSpec:
    """Return a specification from a checkpoint's plain data; KeyError or ValueError where it is none."""
    return ModelSpec(str(data["name"]), str(data["encoder"]), int(data["classes"]))


def build_model(spec: ModelSpec, weights: str = "none") -> nn.Module:
    """Make a model with `weights` in its encoder: `none`, `imagenet`, or a file.

    ChoiceError if the library cannot put this encoder into this architecture, or the weights are not to be had.
    """
    try:
        with _quiet():
            model = _assemble(spec, "imagenet" if weights == "imagenet" else None)
    except (OSError, ConnectionError, RuntimeError) as error:
        if weights != "imagenet":
            raise ChoiceError(f"--model {spec.name}: not with the encoder {spec.encoder} ({_first(error)})") from None
        raise ChoiceError(
            f"--weights imagenet: the weights of {spec.encoder} cannot be fetched ({_first(error)}); fetch them "
            "elsewhere and give the file (--weights FILE, .pth or .safetensors), or start from --weights none"
        ) from None
    except (KeyError, ValueError, NotImplementedError, AttributeError, TypeError, AssertionError) as error:
        raise ChoiceError(f"--model {spec.name}: not with the encoder {spec.encoder} ({_first(error)})") from None
    if weights not in ("imagenet", "none"):
        load_encoder_file(model.get_submodule("encoder"), Path(weights))
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from talking: of deprecated encoder names, and of every try to reach the hub."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.setLevel(level)


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _assemble(spec: ModelSpec, weights: str | None) -> nn.Module:
    if spec.name == "pspnet":
        return PSPNet(spec.encoder, spec.classes, weights)
    architecture = spec.name.removeprefix("smp-")
    model: nn.Module = smp.create_model(
        architecture, encoder_name=spec.encoder, encoder_weights=weights, classes=spec.classes
    )
    return model


def stride_of(model: nn.Module) -> int:
    """Return the number that heights and widths must be multiples of.

    It is the encoder's deepest stride (the library asks for it where it matters; padding to it harms nowhere).
    """
    return max(int(getattr(model.get_submodule("encoder"), "output_stride", 32)), 32)


def logits_of(output: torch.Tensor | tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the main logits of a model's output."""
    return output if isinstance(output, torch.Tensor) else output[0]
