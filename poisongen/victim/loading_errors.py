"""What torch's loading workers raise, as one line for the user."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from poisongen.errors import PoisongenError

_CAUGHT = re.compile(r"^Caught \w+ in DataLoader worker process")
_OURS = re.compile(r"^poisongen\.errors\.\w+: (.*)$")
_NO_SHARED_MEMORY = ("shared memory", "Bus error", "/torch_", "No space left on device")


@contextlib.contextmanager
def loading_errors() -> Iterator[None]:
    """Turn the failure of a worker that reads pictures into one line. PoisongenError.

    A worker's own DataError comes as text, at the end of a traceback; a worker that found no room in /dev/shm or was
    killed for want of memory as a RuntimeError or OSError of torch's.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        text = str(error)
        last = text.strip().rpartition("\n")[2]
        if _CAUGHT.match(text) and (ours := _OURS.match(last)):
            raise PoisongenError(ours[1]) from None
        from_worker = any(word in text for word in ("DataLoader worker", "with the workers", "shared memory"))
        if from_worker and any(word in text for word in _NO_SHARED_MEMORY):
            raise PoisongenError(
                "the loading workers' shared memory (/dev/shm) is too small; read without workers (--jobs 1), keep "
                "the set decoded (--cache ram), or give it more room (docker run --shm-size 8g)"
            ) from None
        if from_worker:
            raise PoisongenError(
                f"a loading worker ended, most likely for want of memory ({last[:200]}); give fewer --jobs"
            ) from None
        raise
