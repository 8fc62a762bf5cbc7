"""Memory: how much is free, which errors mean that it was not enough, and what to say then."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from poisongen.errors import PoisongenError
from poisongen.victim.device import describe

SURE = (
    "out of memory",  # of CUDA and MPS, and what NCCL quotes of CUDA
    "can't allocate memory",
    "cannot allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cufft_alloc_failed",
    "device_allocation_failed",  # of cuDNN 9, CUDNN_STATUS_INTERNAL_ERROR_...
    "host_allocation_failed",
    "failed to cuda calloc",  # of NCCL
    "failed to cuda malloc",
    "failed to cuda host alloc",
    "cudaerrormemoryallocation",
)
"""Parts of messages that are about memory whatever the state of the device."""
LIKELY = (
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "cusolver_status_not_initialized",
    "unable to find an engine to execute this computation",
    "unable to find a valid cudnn algorithm",
)
"""What cuBLAS and cuDNN also say when their own workspace does not fit: about memory where the device is full."""
FULL = 512 * 2**20  # bytes free: with less, a library that cannot start lacks memory


class OutOfMemoryError(PoisongenError):
    """The device's memory does not hold this batch and crop; the message names some that fit."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the device's, or the host's, memory was not enough."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).casefold()
    return any(part in text for part in SURE) or (any(part in text for part in LIKELY) and _device_is_full())


def _device_is_full() -> bool:
    """Tell whether the GPU in use has next to nothing free."""
    try:
        return bool(torch.cuda.is_available() and torch.cuda.mem_get_info()[0] < FULL)
    except RuntimeError:  # a device that does not even answer this
        return False


def free_memory(device: torch.device) -> tuple[int, int]:
    """Return the free bytes of the device (0 on the CPU, and where host and device share memory) and of the host."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0, free_host_memory()


def free_host_memory(proc: Path = Path("/proc"), control: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the host's free bytes: what the kernel calls available, or what the process's control groups leave.

    A container's limit is a control group's; the kernel's own figure does not know it.
    """
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        host = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(0, min([host, *_left_by_groups(proc, control)]))


def _left_by_groups(proc: Path, control: Path) -> Iterator[int]:
    """Yield what each limited control group around this process leaves, in bytes (version 1 and 2)."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = control, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = control / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.lstrip("/")
        # A container often sees its own group as the root, while its path is named as the host sees it.
        for folder in (group, *group.parents):
            left = _left_by_group(folder, *names)
            if left is not None:
                yield left
            if folder == base:
                break


def _left_by_group(folder: Path, limit: str, usage: str, cached: str) -> int | None:
    """Return a group's limit less what it uses; None where it has no limit. Cached files make way and do not count."""
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
    except (OSError, ValueError):  # `max`, or no such group
        return None
    try:
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        used -= int(facts.get(cached, 0))
    except (OSError, ValueError):
        pass
    return most - max(used, 0)


@contextlib.contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn memory that is short outside of a step (model, decoded set) into one line. OutOfMemoryError."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{describe(device)}: its memory does not hold model and data; see what else uses it, choose another "
            "--device or (in training) --cache none"
        ) from None


Probe = Callable[[int, tuple[int, int]], None]
"""Does one training step, augmentation included, on so many empty pictures and a crop; raises what torch raises."""


def fits(step: Probe, batch: int, crop: tuple[int, int]) -> bool:
    """Tell whether a step fits, by trying it."""
    try:
        step(batch, crop)
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def largest_that_fits(
    step: Probe, batch: int, crop: tuple[int, int], stride: int = 32
) -> tuple[int, tuple[int, int]] | None:
    """Find a batch and crop that fit by trying: halve the batch down to 2, then the crop; None if nothing fits."""
    sides = crop
    while sides == crop or min(sides) >= stride:
        size = batch if sides != crop else batch // 2
        while size >= 2:
            if fits(step, size, sides):
                return size, sides
            size //= 2
        sides = (sides[0] // 2 // stride * stride, sides[1] // 2 // stride * stride)
    return None


def memory_advice(
    step: Probe | None,
    batch: int,
    crop: tuple[int, int],
    device: torch.device,
    *,
    parts: int = 1,
    released: bool = False,
) -> OutOfMemoryError:
    """Return the error that names settings that fit: they are tried with `step`.

    `batch` is that of one optimiser step, done in `parts`; `crop` is the one that was asked for. With
    `released` the decoded set has just left the device: the same step is tried without it first. To be called after
    the handler of the first error, whose traceback keeps the failed step's tensors alive. Without `step` (several
    processes, which would wait for each other) half the batch is all the advice there is.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    divided = f" in {parts} parts" if parts > 1 else ""
    tried = f"{describe(device)}: out of memory with batch {batch}{divided} and crop {crop[0]}x{crop[1]}"
    cache = " --cache ram" if released else ""
    if step is None:
        first = f"{cache.strip()}, " if released else ""
        others = f"--accumulate {2 * parts}, half the --batch or half the --crop"
        return OutOfMemoryError(f"{tried} on each; try {first}{others}")
    share = batch // parts
    if released and fits(step, share, crop):
        return OutOfMemoryError(f"{tried}, beside the decoded set; --cache ram fits")
    found = largest_that_fits(step, share, crop)
    if found is None:
        return OutOfMemoryError(f"{tried}, and no smaller batch or crop fits; choose a smaller model")
    size, sides = found
    whole = ""
    if sides == crop and batch % size == 0:
        whole = f", and so does --accumulate {batch // size}{cache}, the whole batch in parts"
    return OutOfMemoryError(f"{tried}; --batch {size} --crop {sides[0]}x{sides[1]}{cache} fits{whole}")
