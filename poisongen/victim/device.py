"""The device: which one, in what precision it computes, and how small tensors reach it without waiting."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from poisongen.errors import ChoiceError
from poisongen.printing import number_of

PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
"""How the precisions of a model's layers are called."""


def pick_device(name: str | None, local_rank: int = 0) -> torch.device:
    """Return the device to work on: the one named, else a CUDA GPU if there is one, else the CPU. ChoiceError."""
    wanted = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ChoiceError(f"--device: no device '{wanted}'; give cuda, cuda:1, ..., mps or cpu") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ChoiceError(f"--device {wanted}: torch sees no GPU here; use --device cpu, or see to driver and torch")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ChoiceError(f"--device {wanted}: torch sees no Apple GPU here; use --device cpu")
    if device.type not in ("cuda", "mps", "cpu"):
        raise ChoiceError(f"--device: '{wanted}' is not supported; give cuda, mps or cpu")
    if device.type == "cuda":
        index = local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise ChoiceError(f"--device {wanted}: there are only {torch.cuda.device_count()} GPUs")
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def describe(device: torch.device) -> str:
    """Return the device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "Apple GPU"
    return f"CPU, {number_of(torch.get_num_threads(), 'thread')}"


def has_bf16(device: torch.device) -> bool:
    """Tell whether a CUDA GPU computes in bf16 by itself."""
    return bool(device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))


def pick_precision(amp: str, device: torch.device) -> torch.dtype:
    """Return what to compute in: with `auto` bf16 on GPUs that have it, fp16 on those that do not, else fp32.

    ChoiceError where the device cannot do what was asked for.
    """
    if amp == "auto":
        return torch.float32 if device.type != "cuda" else torch.bfloat16 if has_bf16(device) else torch.float16
    if amp != "off" and device.type == "mps":
        raise ChoiceError(f"--amp {amp}: not on {describe(device)}s; use --amp off")
    if amp == "bf16" and device.type == "cuda" and not has_bf16(device):
        raise ChoiceError(f"--amp bf16: {describe(device)} has no bf16; use --amp fp16 or --amp off")
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}[amp]


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Return the context that models run in."""
    return contextlib.nullcontext() if precision == torch.float32 else torch.autocast(device.type, dtype=precision)


def set_precision(device: torch.device, deterministic: bool) -> None:
    """Set what holds for the whole process: TF32 matrices on GPUs; with `deterministic`, no algorithm that varies."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for to be deterministic
    torch.use_deterministic_algorithms(deterministic)


@contextlib.contextmanager
def operation_errors(device: torch.device) -> Iterator[None]:
    """Turn operations that the device has not, or not in the way that was asked for, into one line. ChoiceError."""
    try:
        yield
    except NotImplementedError as error:
        if device.type != "mps":
            raise
        raise ChoiceError(
            f"--device mps: {_first(error)}; set PYTORCH_ENABLE_MPS_FALLBACK=1, or use --device cpu"
        ) from None
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise ChoiceError(
            f"--deterministic: not with this model on {describe(device)} ({_first(error)}); leave it out, or choose "
            "another --model or --device"
        ) from None


def _first(error: Exception) -> str:
    """Return the first sentence of an error."""
    return " ".join(str(error).split()).partition(". ")[0][:160]


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a CPU tensor on the device. A copy to a GPU goes by pinned memory: any other waits for its work."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
