"""A new folder that is filled by one command: put together in a hidden folder inside it, and whole or not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from poisongen.errors import ChoiceError, OutputError
from poisongen.files.inside import check_folder, make_folder, remove_inside, rename_inside


def check_outside(folder: Path, other: Path, what: str, option: str = "--out") -> None:
    """Refuse to write inside or around another folder, links resolved. ChoiceError."""
    real, real_other = folder.resolve(), other.resolve()
    if real == real_other or real_other in real.parents:
        raise ChoiceError(f"{option}: {folder} lies in {what} {other}; give a folder outside it")
    if real in real_other.parents:
        raise ChoiceError(f"{option}: {folder} holds {what} {other}; give a folder beside it")


@contextlib.contextmanager
def new_folder(folder: Path, staging: str, option: str = "--out") -> Iterator[Path]:
    """Give folder/staging, in which everything is put together; at the end all of it gets its place in `folder`.

    `folder` must be new or empty, but for what an interrupted command left in `staging`. Whatever goes wrong, nothing
    of it stays. OutputError.
    """
    new = not folder.exists()
    if not new and (not folder.is_dir() or any(entry.name != staging for entry in folder.iterdir())):
        raise OutputError(f"{option}: {folder} is not empty; give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_folder(folder, staging)
    except OSError as error:
        raise OutputError(f"{option}: {error.filename or folder}: {error.strerror}; give another folder") from None
    try:
        remove_inside(folder, staging)
        tree = make_folder(folder, staging)
        yield tree
        for entry in sorted(tree.iterdir()):
            rename_inside(folder, f"{staging}/{entry.name}", entry.name)
    except OSError as error:
        where = error.filename or folder
        raise OutputError(f"{option}: {where}: {error.strerror}; make room or give another") from None
    finally:
        with contextlib.suppress(OSError):
            remove_inside(folder, staging)
            if new:
                folder.rmdir()
