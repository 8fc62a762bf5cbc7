"""A run's log: one line of JSON for each epoch and, on request, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from poisongen.errors import ChoiceError, OutputError
from poisongen.files.inside import append_inside
from poisongen.files.store import write_whole
from poisongen.printing import tell

LOG, CHECKPOINT = "log.jsonl", "checkpoint.pt"

Say = Callable[[str], None]


def speaker(aloud: bool) -> Say:
    """Return what tells the user how a run goes on, by lines on stderr; with `aloud` false it is silent."""
    return tell if aloud else (lambda text: None)


@contextlib.contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn what the disk refuses below `out` into one line. OutputError."""
    try:
        yield
    except OSError as error:
        place = error.filename or out
        raise OutputError(f"--out: {place}: {error.strerror or error}; make room or choose another folder") from None


def require_file_place(path: Path) -> None:
    """See before the work that a file can be written to `path`: no folder stands there, and its folder can be made.

    OutputError says what is in the way.
    """
    with disk_errors(path):
        if path.is_dir():
            raise OutputError(f"--out: {path} is a folder; give a file's name, such as {path / 'report.json'}")
        if path.exists() and not path.is_file():
            raise OutputError(f"--out: {path} is no plain file; give another name")
        folder = path.absolute().parent
        while not (folder.exists() or folder.is_symlink()):
            folder = folder.parent
        if not folder.is_dir():
            raise OutputError(f"--out: {folder} is not a folder, so nothing can be written to {path}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"--out: {folder} cannot be written to; choose another place")


def require_outside(out: Path, dataset: Path) -> None:
    """Refuse to write into a dataset, links resolved: sources are only read, and audit knows every file of a build.

    ChoiceError.
    """
    real, root = out.resolve(), dataset.resolve()
    if root == real or root in real.parents:
        raise ChoiceError(f"--out: {out} lies in the dataset {dataset}; choose a place outside it")


def cut_log(out: Path, iteration: int) -> None:
    """Drop the lines of epochs that come after the checkpoint at `iteration`: they will be run again.

    A line that a full disk or a crash has cut short is dropped as well.
    """
    path = out / LOG
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if 0 < _iteration(line) <= iteration]
        write_whole(path, "".join(f"{line}\n" for line in kept).encode())


def _iteration(line: str) -> int:
    """Return the iteration that a line of the log tells of, 0 for what is no such line."""
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0


class RunLog:
    """Writes log lines while it is open. ChoiceError if TensorBoard was asked for and is not installed.

    With `active` false (all but one of torchrun's processes) nothing is written.
    """

    def __init__(self, out: Path, tensorboard: bool, active: bool) -> None:
        self._path, self._active = out / LOG, active
        self._writer: Any = None
        if tensorboard and active:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ChoiceError("--tensorboard: tensorboard is not installed: pip install tensorboard") from None
            self._writer = SummaryWriter(str(out / "tensorboard"))

    def __enter__(self) -> RunLog:
        return self

    def write(self, line: Mapping[str, Any]) -> None:
        """Add one epoch's line."""
        if self._active:
            with append_inside(self._path.parent, self._path.name) as file:
                file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for name in ("loss", "lr", "images_per_second"):
                self._writer.add_scalar(name, line[name], line["iteration"])

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()
