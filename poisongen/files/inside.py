"""Working below a folder without leaving it: no link below it is followed, and nothing but plain files is opened.

The folder itself is what the user named, and how it is reached is the user's choice. Every part of a path below it is
opened by the descriptor of the part above, so that a link in its place is found whatever was there a moment before.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from poisongen.errors import OutputError
from poisongen.files.stores import StorePath

LARGEST_FILE = 2**30  # bytes that are read into memory at once

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_NOT_A_FOLDER = (errno.ELOOP, errno.ENOTDIR)
_WORDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class Refused(Exception):  # noqa: N818  not an error of the program: what was found in a place
    """A file is not there, is not a plain file, or leads out of its folder. The message says what was found."""


def _word(mode: int) -> str:
    return next((word for test, word in _WORDS if test(mode)), "a device")


def _explain(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symbolic link"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "no such file"
    return f"cannot be read ({error.strerror})"


def _parts(path: str) -> list[str]:
    """Return a path's parts; Refused if one of them leads elsewhere. "" is the folder itself."""
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Refused("a path that leaves its folder")
    return parts


def _facts(handle: int, name: str) -> os.stat_result | None:
    """Return what stands under a name, links not followed; None for nothing."""
    try:
        return os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _strange(place: Path, found: str) -> OutputError:
    return OutputError(f"{place}: {found}, which poisongen did not make; move it away, nothing was written through it")


@contextlib.contextmanager
def _named(place: Path) -> Iterator[None]:
    """Give what the disk refuses the whole path: with descriptors an OSError knows the last part, or nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(place)) from None


def _legal(folder: Path, path: str) -> list[str]:
    try:
        return _parts(path)
    except Refused as refused:
        raise OutputError(f"{folder}: '{path}' is {refused}") from None


def _split(folder: Path, path: str) -> tuple[str, str]:
    """Return the folder above and the name of something below `folder`. OutputError if it does not lie there."""
    parts = _legal(folder, path)
    if not parts:
        raise OutputError(f"{folder}: it is a folder, not the name of something in it")
    return "/".join(parts[:-1]), parts[-1]


@contextlib.contextmanager
def enter(folder: Path, path: str = "", *, make: bool = False) -> Iterator[int]:
    """Open folder/path, a folder, and give its descriptor; with `make` the parts of `path` that lack are made.

    OutputError where a part below `folder` is no plain folder; OSError where the disk refuses.
    """
    parts = _legal(folder, path)
    with _named(folder):
        handle = os.open(folder, _FOLDER)
    try:
        place = folder
        for part in parts:
            place = place / part
            with _named(place):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                try:
                    below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                except OSError as error:
                    facts = _facts(handle, part)
                    if error.errno not in _NOT_A_FOLDER or facts is None or stat.S_ISDIR(facts.st_mode):
                        raise
                    raise _strange(place, _word(facts.st_mode)) from None
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def make_folder(folder: Path, path: str) -> Path:
    """Make folder/path and return it; OutputError where a part of it is a link or no folder."""
    if isinstance(folder, StorePath):
        _legal(folder, path)
        return folder / path
    with enter(folder, path, make=True):
        return folder / path


def check_file(folder: Path, path: str) -> None:
    """Refuse what is neither missing nor a plain file with this one name: who writes it would write elsewhere."""
    facts = _look(folder, path)
    if facts is not None and not stat.S_ISREG(facts.st_mode):
        raise _strange(folder / path, _word(facts.st_mode))
    if facts is not None and not isinstance(folder, StorePath) and facts.st_nlink > 1:
        raise _strange(folder / path, "a file with another name elsewhere (a hard link)")


def check_folder(folder: Path, path: str) -> None:
    """Refuse what is neither missing nor a plain folder. OutputError."""
    facts = None if isinstance(folder, StorePath) else _look(folder, path)
    if facts is not None and not stat.S_ISDIR(facts.st_mode):
        raise _strange(folder / path, _word(facts.st_mode))


def _look(folder: Path, path: str) -> os.stat_result | None:
    """Return what stands at folder/path, None for nothing; OutputError where a part above it is a link."""
    above, name = _split(folder, path)
    try:
        if isinstance(folder, StorePath):
            facts: os.stat_result = (folder / path).stat()
            return facts
        with enter(folder, above) as handle:
            return _facts(handle, name)
    except FileNotFoundError:
        return None


def size_of(folder: Path, path: str, *, link: bool = False) -> int | None:
    """Return a plain file's size, None if there is none; with `link` a symbolic link counts, with its target's."""
    facts = _look(folder, path)
    if facts is not None and link and stat.S_ISLNK(facts.st_mode):
        with contextlib.suppress(OSError):
            facts = (folder / path).stat()
    return facts.st_size if facts is not None and stat.S_ISREG(facts.st_mode) else None


@contextlib.contextmanager
def open_inside(folder: Path, path: str) -> Iterator[BinaryIO]:
    """Open folder/path for reading, following no symbolic link below `folder`. Refused if it is no plain file."""
    parts = _parts(path)
    if isinstance(folder, StorePath):
        yield _open_far(folder / path)
        return
    handle = -1
    try:
        handle = os.open(folder, _FOLDER)
        for part in parts[:-1]:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        # Not to wait for a writer where a named pipe lies.
        last = os.open(parts[-1] if parts else ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
    except (OSError, ValueError) as error:
        raise Refused(_explain(error) if isinstance(error, OSError) else "not a legal name") from None
    finally:
        if handle >= 0:
            os.close(handle)
    if not stat.S_ISREG(os.fstat(last).st_mode):
        os.close(last)
        raise Refused("not a plain file")
    with os.fdopen(last, "rb") as file:
        yield file


def _open_far(file: StorePath) -> BinaryIO:
    try:
        return file.open()
    except OSError as error:
        raise Refused(_explain(error)) from None


def read_inside(folder: Path, path: str, largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes of folder/path; Refused if it is no plain file in there, or larger than `largest`."""
    with open_inside(folder, path) as file:
        if not isinstance(folder, StorePath) and os.fstat(file.fileno()).st_size > largest:
            raise Refused(f"larger than {largest} bytes")
        try:
            data = file.read(largest + 1)
        except OSError as error:
            raise Refused(_explain(error)) from None
    if len(data) > largest:
        raise Refused(f"larger than {largest} bytes")
    return data


@contextlib.contextmanager
def beside(folder: Path, path: str) -> Iterator[tuple[int, str]]:
    """Give a folder's descriptor and a free name in it; the file made there gets the place folder/path at the end.

    The name is short, whatever the file's own is, and hidden. A file or a link that stands at the place is replaced,
    never written through; OutputError for anything else. On any error the new file is removed.
    """
    above, name = _split(folder, path)
    with enter(folder, above, make=True) as handle, _named(folder / path):
        facts = _facts(handle, name)
        if facts is not None and not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
            raise _strange(folder / path, _word(facts.st_mode))
        part = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.{os.getpid()}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=handle)  # what a killed process of this number left
        try:
            yield handle, part
            os.rename(part, name, src_dir_fd=handle, dst_dir_fd=handle)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=handle)


def create(handle: int, name: str) -> BinaryIO:
    """Make a new file in an open folder; FileExistsError whatever stands there."""
    return os.fdopen(os.open(name, _NEW, 0o666, dir_fd=handle), "wb")


def write_inside(folder: Path, path: str, data: bytes) -> None:
    """Write folder/path so that it appears whole or not at all; the folders in between are made."""
    if isinstance(folder, StorePath):
        _split(folder, path)
        (folder / path).write(data)
        return
    with beside(folder, path) as (handle, part), create(handle, part) as file:
        file.write(data)


@contextlib.contextmanager
def append_inside(folder: Path, path: str) -> Iterator[TextIO]:
    """Open folder/path, made if missing, for adding lines. OutputError if it is no plain file with this one name."""
    check_file(folder, path)
    above, name = _split(folder, path)
    with enter(folder, above, make=True) as handle, _named(folder / path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        last = os.open(name, flags, 0o666, dir_fd=handle)
    with _named(folder / path), os.fdopen(last, "a", encoding="utf-8") as file:
        yield file


def rename_inside(folder: Path, path: str, new: str) -> None:
    """Rename folder/path to folder/new, where nothing may stand. OutputError if something does."""
    (above, name), (new_above, new_name) = _split(folder, path), _split(folder, new)
    if isinstance(folder, StorePath):
        for below in (folder / path).files() or ("",):
            (folder / new / below).take(folder / path / below)
        (folder / path).remove()
        return
    with enter(folder, above) as handle, enter(folder, new_above) as new_handle, _named(folder / new):
        if (facts := _facts(new_handle, new_name)) is not None:
            raise _strange(folder / new, _word(facts.st_mode))
        os.rename(name, new_name, src_dir_fd=handle, dst_dir_fd=new_handle)


def remove_inside(folder: Path, path: str) -> None:
    """Remove the file or link folder/path, or all of the folder there; nothing is fine too. Links are not followed."""
    above, name = _split(folder, path)
    if isinstance(folder, StorePath):
        (folder / path).remove()
        return
    try:
        with enter(folder, above) as handle, _named(folder / path):
            facts = _facts(handle, name)
            if facts is not None and stat.S_ISDIR(facts.st_mode):
                shutil.rmtree(name, dir_fd=handle)
            elif facts is not None:
                os.unlink(name, dir_fd=handle)
    except FileNotFoundError:
        return
