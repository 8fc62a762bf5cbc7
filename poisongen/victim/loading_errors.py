"""What torch's loading workers raise, as one line for the user."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
import traceback
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
        if not (message := _explained(error)):
            raise
        _hush_loader()
        raise PoisongenError(message) from None


def _explained(error: RuntimeError | OSError) -> str:
    """Return the line for an error of the loading workers, nothing for any other."""
    text = str(error)
    last = text.strip().rpartition("\n")[2]
    if _CAUGHT.match(text) and (ours := _OURS.match(last)):
        return ours[1]
    frames = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    if not any(name.startswith(("torch.utils.data", "multiprocessing")) for name in frames):
        return ""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or any(word in text for word in _NO_SHARED_MEMORY):
        return (
            "the loading workers' shared memory (/dev/shm) is too small; read without workers (--jobs 1), keep the "
            "set decoded (--cache ram), or give it more room (docker run --shm-size 8g)"
        )
    if "DataLoader worker" in text or isinstance(error, OSError):
        return f"a loading worker ended, most likely for want of memory ({last[:200]}); give fewer --jobs"
    return ""


def _hush_loader() -> None:
    """Drop the complaint of a loader that was half made when it failed: nobody needs to hear of that as well."""
    usual = sys.unraisablehook
    if getattr(usual, "hushes_loader", False):
        return

    def hook(happened: sys.UnraisableHookArgs) -> None:
        if "DataLoaderIter" not in repr(happened.object):
            usual(happened)

    hook.hushes_loader = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
