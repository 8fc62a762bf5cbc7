"""What C libraries say on standard error: kept from the user, who gets one line from us, and listened to."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Catch standard error while a C library works on a file that may be damaged.

    Gives a function that returns what was said, to be called within the block.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)

        def said() -> str:
            return os.pread(caught.fileno(), 4096, 0).decode("latin-1")

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
