"""The device: which one, what it can do, and what to say when its memory is not enough."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch

from poisongen.errors import ChoiceError, PoisongenError


class OutOfMemoryError(PoisongenError):
    """The device's memory does not hold this batch and crop; the message names some that fit."""


def pick_device(name: str | None, local_rank: int = 0) -> torch.device:
    """Return the device to work on: the one named, else a GPU if there is one, else the CPU. ChoiceError."""
    wanted = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ChoiceError(f"--device: no device '{wanted}'; give cuda, cuda:1, ... or cpu") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ChoiceError(f"--device {wanted}: torch sees no GPU here; use --device cpu, or see to driver and torch")
    if device.type not in ("cuda", "cpu"):
        raise ChoiceError(f"--device: '{wanted}' is not supported; give cuda or cpu")
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
    return f"CPU, {torch.get_num_threads()} threads"


def wants_bf16(amp: str, device: torch.device) -> bool:
    """Tell whether to compute in bf16: where the GPU has it (`auto`), always (`bf16`), never (`off`). ChoiceError."""
    capable = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if amp == "bf16" and device.type == "cuda" and not capable:
        raise ChoiceError(f"--amp bf16: {describe(device)} has no bf16; use --amp off")
    return amp == "bf16" or (amp == "auto" and capable)


def autocast(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager[Any]:
    """Return the context that models run in."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()


def set_precision(device: torch.device, deterministic: bool) -> None:
    """Set what holds for the whole process: TF32 matrices on GPUs; with `deterministic`, no algorithm that varies."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for to be deterministic
        torch.use_deterministic_algorithms(True, warn_only=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the device's, or the host's, memory was not enough."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextlib.contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn memory that is short outside of a step (model, decoded set) into one line. OutOfMemoryError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{describe(device)}: its memory does not hold model and data; see what else uses it, choose another "
            "--device or (in training) --cache none"
        ) from None


def largest_that_fits(
    step: Callable[[int, tuple[int, int]], None], batch: int, crop: tuple[int, int], stride: int = 32
) -> tuple[int, tuple[int, int]] | None:
    """Find a batch and crop that fit by trying: halve the batch down to 2, then the crop; None if nothing fits.

    `step(batch, crop)` does one training step on empty pictures and raises what torch raises when memory is short.
    """
    sides = crop
    while min(sides) >= stride:
        size = batch if sides != crop else batch // 2
        while size >= 2:
            try:
                step(size, sides)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            else:
                return size, sides
            size //= 2
        sides = (sides[0] // 2 // stride * stride, sides[1] // 2 // stride * stride)
    return None


def memory_advice(
    step: Callable[[int, tuple[int, int]], None] | None, batch: int, crop: tuple[int, int], device: torch.device
) -> OutOfMemoryError:
    """Return the error that names a batch and crop that fit (they are tried with `step`, as `largest_that_fits` does).

    To be called after the handler of the first error, whose traceback keeps the failed step's tensors alive. Without
    `step` (several processes, which would wait for each other) half the batch is all the advice there is.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    tried = f"{describe(device)}: out of memory with batch {batch} and crop {crop[0]}x{crop[1]}"
    if step is None:
        return OutOfMemoryError(f"{tried} on each; try half the --batch, then half the --crop")
    fits = largest_that_fits(step, batch, crop)
    if fits is None:
        return OutOfMemoryError(f"{tried}, and no smaller batch or crop fits; choose a smaller model")
    return OutOfMemoryError(f"{tried}; --batch {fits[0]} --crop {fits[1][0]}x{fits[1][1]} fits")
