"""A journal on an object store, which cannot add to a file: small files, each written whole, in order."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from poisongen.files.stores import StorePath

_LINES, _SECONDS = 64, 5.0  # when a piece is written: what a killed build has to do again at most


def read_pieces(folder: StorePath) -> Iterator[bytes]:
    """Yield the pieces in the order in which they were written."""
    for name in sorted(folder.files()):
        yield (folder / name).read_bytes()


@contextlib.contextmanager
def piece_writer(folder: StorePath) -> Iterator[Callable[[bytes], None]]:
    """Give a function that adds a line; the last piece is written at the end, also after an error."""
    waiting: list[bytes] = []
    lock = threading.Lock()
    number, last = 0, time.monotonic()

    def write() -> None:
        nonlocal number, last
        if waiting:
            (folder / f"{number:08d}.jsonl").write(b"".join(waiting))
            waiting.clear()
            number += 1
        last = time.monotonic()

    def add(line: bytes) -> None:
        with lock:
            waiting.append(line)
            if len(waiting) >= _LINES or time.monotonic() - last > _SECONDS:
                write()

    try:
        yield add
    finally:
        write()
