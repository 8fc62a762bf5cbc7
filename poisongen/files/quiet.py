"""What C libraries say on standard error: kept from the user, who gets one line from us, and listened to."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

# Standard error is one for the whole process: two threads that redirect it at once would leave it redirected for good.
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Catch standard error while a C library works on a file that may be damaged.

    Gives a function that returns what was said, to be called within the block.
    """
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as caught:
        if sys.stderr is not None:  # None where the process was started without one
            sys.stderr.flush()
        try:
            kept: int | None = os.dup(2)
        except OSError:
            kept = None
        os.dup2(caught.fileno(), 2)

        def said() -> str:
            return os.pread(caught.fileno(), 4096, 0).decode("latin-1")

        try:
            yield said
        finally:
            if kept is None:
                os.close(2)
            else:
                os.dup2(kept, 2)
                os.close(kept)
