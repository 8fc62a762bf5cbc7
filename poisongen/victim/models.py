"""Victim models: those of the paper, and all that segmentation-models-pytorch puts together."""

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
from torch import nn

from poisongen.errors import ChoiceError
from poisongen.victim.model_names import OFFICIAL, PAPER_ENCODERS, library_name
from poisongen.victim.paper_models import STRIDE, Float32Head, PaperModel, paper_model
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


def make_spec(name: str, encoder: str | None, classes: int) -> ModelSpec:
    """Return the specification of a model by the names that a user gives; ChoiceError if there is no such model."""
    known = library_name(name, list(smp.MODEL_ARCHITECTURES_MAPPING))
    chosen = encoder or PAPER_ENCODERS.get(known.removeprefix("smp-"), "resnet50")
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
    if spec.name in OFFICIAL:
        return paper_model(spec.name, spec.encoder, spec.classes, weights)
    architecture = spec.name.removeprefix("smp-")
    model: nn.Module = smp.create_model(
        architecture, encoder_name=spec.encoder, encoder_weights=weights, classes=spec.classes
    )
    head = model.get_submodule("segmentation_head")
    if isinstance(head, nn.Sequential):
        # SegFormer answers at 1/4: its logits are enlarged by the loss, or once to what a prediction needs.
        kept = [nn.Identity() if isinstance(part, nn.Upsample) and spec.name == "segformer" else part for part in head]
        model.add_module("segmentation_head", Float32Head(*kept))
    return model


def input_size(model: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest height and width of at least `size` that a model takes.

    For the official models that is 8k+1; for others a multiple of the encoder's deepest stride (the library asks for
    it where it matters; padding to it harms nowhere).
    """
    if isinstance(model, PaperModel):
        return -(-(size[0] - 1) // STRIDE) * STRIDE + 1, -(-(size[1] - 1) // STRIDE) * STRIDE + 1
    stride = max(int(getattr(model.get_submodule("encoder"), "output_stride", 32)), 32)
    return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride


def logit_places(model: nn.Module, pixels: torch.Tensor, padded: int, answered: int) -> torch.Tensor:
    """Return where pixels (positions along one side, float) lie among a model's logits.

    `padded` pixels went in, `answered` logits came out. The official models' are at every eighth pixel; others
    answer at the input's size, or at a fraction of it whose cells cover the picture evenly.
    """
    if isinstance(model, PaperModel):
        return pixels / STRIDE
    return (pixels + 0.5) * (answered / padded) - 0.5


def logits_of(output: torch.Tensor | tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the main logits of a model's output."""
    return output if isinstance(output, torch.Tensor) else output[0]
