"""Pretrained encoder weights from a local file: tensors and plain data only."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poisongen.errors import ChoiceError

_WRAPPERS = ("state_dict", "model", "model_state", "encoder")
_PREFIXES = ("module.", "encoder.", "backbone.", "model.")


UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError, KeyError, UnicodeDecodeError)
"""What torch raises for files that are damaged, of another kind, or would run code."""


def load_plain(path: Path) -> Any:
    """Load a torch file onto the CPU, tensors and plain data only; one of UNREADABLE where it is anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, about the kind of pickle: the refusal says it all
        return torch.load(path, map_location="cpu", weights_only=True)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the named tensors of a .pth, .pt or .safetensors file, unwrapped.

    ChoiceError if the file is missing, is something else, or would run code on loading.
    """
    if not path.is_file():
        raise ChoiceError(f"--weights: {path} is neither a file nor one of imagenet and none")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = load_plain(path)
    except UNREADABLE as error:
        first = str(error).strip().partition("\n")[0][:120]
        raise ChoiceError(f"--weights: {path} is no file of plain tensors ({first})") from None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ChoiceError(f"--weights: {path} holds no named tensors")
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of tensors that hold NaN or infinities."""
    return [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]


def best_prefix(tensors: Mapping[str, torch.Tensor], wanted: Collection[str]) -> dict[str, torch.Tensor]:
    """Return the tensors below the prefix (`encoder.`, `module.backbone.`, none, ...) that holds most wanted names."""
    prefixes = [""]
    for prefix in _PREFIXES:
        prefixes += [known + prefix for known in prefixes]
    groups = [
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in prefixes
    ]
    return max(groups, key=lambda group: len(group.keys() & set(wanted)))


def load_encoder_file(encoder: nn.Module, path: Path) -> None:
    """Load an encoder's weights from a file (a checkpoint of poisongen is one, too).

    Every weight of the encoder must be there in its shape; what else the file has is ignored. ChoiceError otherwise.
    """
    wanted = encoder.state_dict()
    tensors = best_prefix(read_tensors(path), wanted.keys())
    counters = "num_batches_tracked"
    missing = [name for name in wanted if name not in tensors and not name.endswith(counters)]
    wrong = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    if missing or wrong:
        word, names = ("lacks", missing) if missing else ("has another shape for", wrong)
        raise ChoiceError(
            f"--weights: {path} is not for this encoder: it {word} {len(names)} of its {len(wanted)} tensors "
            f"({names[0]}, ...)"
        )
    chosen = {name: tensors.get(name, value) for name, value in wanted.items()}
    if broken := not_finite(chosen):
        raise ChoiceError(
            f"--weights: {path}: {len(broken)} of its tensors hold numbers that are not finite ({broken[0]}, ...)"
        )
    encoder.load_state_dict(chosen)
