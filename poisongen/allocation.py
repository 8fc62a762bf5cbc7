"""Memory that a sample has freed is kept for the next one.

The C library gives large blocks back to the system at once, which has to clear every page of them for the next sample:
a sixth of the time of a build of large pictures (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt in glibc's malloc.h
_LARGEST_BLOCK = 2**25  # bytes; glibc takes no more
_KEPT = 2**28  # bytes


@functools.cache
def keep_freed_memory() -> None:
    """Have this process keep up to 256 MB of freed memory. Where the C library is not glibc nothing happens."""
    with contextlib.suppress(OSError, AttributeError, TypeError, ValueError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  others have a mallopt with other numbers
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
