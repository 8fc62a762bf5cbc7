"""Arrays that all training processes of one machine see: one decoded set for all of its GPUs."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poisongen.errors import ChoiceError
from poisongen.victim.distributed import Crew, gathered

MEMORY = Path("/dev/shm")  # noqa: S108  Linux's files in memory


def shared_arrays(shapes: Sequence[tuple[int, ...]], crew: Crew, memory: Path = MEMORY) -> list[npt.NDArray[np.uint8]]:
    """Return empty uint8 arrays of these shapes, the same ones for all processes of a machine.

    They lie in a file that has no name any more when this returns: it goes when the last process does, however that
    ends. A process alone on its machine gets plain memory.
    """
    if crew.local_size == 1:
        # Every process takes part in what the crew gathers, one alone on its machine too.
        gathered(None, crew)
        gathered(None, crew)
        return [np.empty(shape, np.uint8) for shape in shapes]
    sizes = [math.prod(shape) for shape in shapes]
    total = max(sum(sizes), 1)
    path = _make_file(total, memory) if crew.local_rank == 0 else None
    paths = gathered(path, crew)
    # torchrun numbers a machine's processes one after the other, from its first.
    chosen = paths[crew.rank - crew.local_rank]
    descriptor = os.open(chosen, os.O_RDWR)
    try:
        whole = np.frombuffer(mmap.mmap(descriptor, total), np.uint8)
    finally:
        os.close(descriptor)
    gathered(None, crew)  # all have opened it
    if path is not None:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
    ends = np.cumsum(sizes)
    return [
        whole[end - size : end].reshape(shape) for shape, size, end in zip(shapes, sizes, ends.tolist(), strict=True)
    ]


def _make_file(size: int, memory: Path) -> str:
    """Make a file of so many bytes, in memory where there is room for it, else among the temporary files."""
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > size
    descriptor, path = tempfile.mkstemp(prefix="poisongen-", dir=memory if roomy else None)
    try:
        if hasattr(os, "posix_fallocate"):
            # Taken now: a file that runs out of room while it is mapped ends the process without a word.
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.ftruncate(descriptor, size)
    except OSError as error:
        os.unlink(path)  # noqa: PTH108
        raise ChoiceError(
            f"{Path(path).parent}: no room for the decoded set, {size / 2**30:.2f} GiB, that this machine's processes "
            f"share ({error.strerror}); make room, or choose --cache none"
        ) from None
    finally:
        os.close(descriptor)
    return path
