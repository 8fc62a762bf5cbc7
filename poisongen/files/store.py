"""Writing whole files and making links: with files/inside.py, what creates files in a user's folder."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import Literal

from poisongen.errors import DataError, OutputError
from poisongen.files.inside import beside, create, enter, write_inside
from poisongen.files.stores import StorePath

LinkMode = Literal["auto", "hardlink", "symlink", "copy"]
PlaceMode = Literal["auto", "hardlink", "symlink", "copy", "own"]
"""How a file gets its place: as the user chose, or as a file of its own, whose blocks may be shared as long as none
of the two is changed."""

_FICLONE = 0x40049409  # the ioctl that shares a file's blocks with another (linux/fs.h)
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)
_PIECE = 2**20


def check_name(path: Path, option: str = "--out") -> None:
    """Refuse the name of a file to write if a folder, a link, a pipe or a device stands there.

    OutputError. A name that is free, or a plain file's, is fine.
    """
    if path.name in ("", ".."):
        raise OutputError(f"{option}: '{path}' is not the name of a file")
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"{option}: {path} cannot be written ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        raise OutputError(f"{option}: {path} is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{option}: {path} is a link, a pipe or a device; give the name of a plain file")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all: beside its place, then renamed over it.

    Folders that lack above it are made. OutputError if a link or anything but a plain file stands there.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_inside(path.parent, path.name, data)


def _reflink(source: Path, handle: int, part: str) -> bool:
    """Make a file that shares the source's blocks; False where the file system cannot."""
    try:
        with source.open("rb") as from_file, create(handle, part) as to_file:
            fcntl.ioctl(to_file.fileno(), _FICLONE, from_file.fileno())
    except OSError as error:
        if error.errno in _NO_LINKS:
            os.unlink(part, dir_fd=handle)
            return False
        raise
    return True


def _hardlink(source: Path, handle: int, part: str) -> bool:
    """Make a hard link; False where the file systems cannot."""
    try:
        os.link(source, part, dst_dir_fd=handle)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def _shares(source: Path, handle: int, part: str, mode: PlaceMode) -> bool:
    """Make a file that takes no room of its own, if the mode and the file systems allow it; False else."""
    return mode != "copy" and (_reflink(source, handle, part) or (mode == "auto" and _hardlink(source, handle, part)))


def _copy(source: Path, handle: int, part: str) -> None:
    with source.open("rb") as from_file, create(handle, part) as to_file:
        shutil.copyfileobj(from_file, to_file, _PIECE)


def place_link(source: Path, folder: Path, path: str, mode: PlaceMode) -> None:
    """Put the source's file at folder/path: as a reflink, else a hard link, else a copy (`auto`), or as `mode` says.

    A file that stands there from an interrupted build is kept if it still is the source's. No link below `folder` is
    followed.
    """
    source = source.resolve()
    if isinstance(source, StorePath) or isinstance(folder, StorePath):
        _place_far(source, folder, path, mode)
        return
    if _is_the_same(source, folder, path, mode):
        return
    try:
        with beside(folder, path) as (handle, part):
            if mode == "symlink":
                os.symlink(source, part, dir_fd=handle)
            elif mode == "hardlink":
                os.link(source, part, dst_dir_fd=handle)
            elif not _shares(source, handle, part, mode):
                _copy(source, handle, part)
            made, facts = os.stat(part, dir_fd=handle, follow_symlinks=False), source.stat()
            if stat.S_ISREG(made.st_mode) and (made.st_dev, made.st_ino) != (facts.st_dev, facts.st_ino):
                os.utime(part, ns=(facts.st_atime_ns, facts.st_mtime_ns), dir_fd=handle)
    except FileNotFoundError:
        raise DataError(source, "has disappeared from the source while building; the same command goes on") from None
    except OSError as error:
        if mode == "hardlink" and error.errno in _NO_LINKS:
            place = folder / path
            raise OutputError(f"--link hardlink: {place} cannot be a hard link to {source}; use --link auto") from None
        if mode == "symlink" and error.errno in _NO_LINKS:
            where = f"{(folder / path).parent} lies on a file system that has no symbolic links ({error.strerror})"
            raise OutputError(f"--link symlink: {where}; use --link copy") from None
        raise


def _place_far(source: Path, folder: Path, path: str, mode: PlaceMode) -> None:
    """Copy a file where one side is on a store: by the store itself, or as it was read."""
    if mode in ("symlink", "hardlink"):
        raise OutputError(f"--link {mode}: an object store has no links; use --link auto")
    try:
        if isinstance(folder, StorePath):
            (folder / path).take(source)
        else:
            write_inside(folder, path, source.read_bytes())
    except FileNotFoundError:
        raise DataError(source, "has disappeared from the source while building; the same command goes on") from None


def _is_the_same(source: Path, folder: Path, path: str, mode: PlaceMode) -> bool:
    """Tell whether what stands at folder/path is the source's file in the way that `mode` asks for.

    That is a link to it, the same file, or a copy: a file of its size and time of change.
    """
    above, _, name = path.rpartition("/")
    try:
        facts = source.stat()
        with enter(folder, above) as handle:
            other = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(other.st_mode):
                return mode == "symlink" and os.readlink(name, dir_fd=handle) == str(source)
    except OSError:
        return False
    same_file = (facts.st_dev, facts.st_ino) == (other.st_dev, other.st_ino)
    if mode in ("symlink", "hardlink") or same_file:
        return same_file and mode in ("auto", "hardlink")
    return stat.S_ISREG(other.st_mode) and (facts.st_size, facts.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
