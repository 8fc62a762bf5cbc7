"""What is said to people: escaped line by line, whatever file it comes from, and whatever became of the streams."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from poisongen.errors import OutputError, shown


def number_of(number: int, noun: str) -> str:
    """Return a number with its noun, which is given as it stands beside 1: `1 file`, `2 files`, `0 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def show(lines: Iterable[object]) -> None:
    """Print lines on standard output, each as one line: what cannot be printed, line ends included, is escaped.

    OutputError if standard output is full; BrokenPipeError if nobody reads it any more.
    """
    _write_out("".join(f"{shown(line)}\n" for line in lines))


def show_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output, in printable ASCII alone; the errors are those of `show`."""
    _write_out(json.dumps(document, allow_nan=False).replace("\x7f", "\\u007f") + "\n")


def tell(text: object) -> None:
    """Say one line on standard error, escaped; if that cannot be written, nobody is there to be told."""
    if sys.stderr is None:
        return
    try:
        _write(sys.stderr, f"poisongen: {shown(text)}\n")
    except (OSError, ValueError):
        _lead_nowhere(sys.stderr)


def _write_out(text: str) -> None:
    if sys.stdout is None:
        return
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        _lead_nowhere(sys.stdout)
        raise
    except OSError as error:
        _lead_nowhere(sys.stdout)
        raise OutputError(
            f"standard output cannot be written ({error.strerror}); what the command wrote to files is there"
        ) from None


def _write(stream: TextIO, text: str) -> None:
    """Write to a stream at once; what its encoding lacks is escaped."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _lead_nowhere(stream: TextIO) -> None:
    """Let a stream that cannot be written lead nowhere, so that Python does not fail again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_streams() -> None:
    """Give a process that was started without standard streams ones that lead nowhere.

    The next file to be opened would get a missing stream's number, and what a C library says would land in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number, which is this
    # They live as long as the process.
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
