"""Writing whole files and making links: the only calls in poisongen that create files in a user's folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import Literal

from poisongen.errors import DataError, OutputError

LinkMode = Literal["auto", "hardlink", "symlink", "copy"]

_FICLONE = 0x40049409  # the ioctl that shares a file's blocks with another (linux/fs.h)
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


def _beside(path: Path) -> Path:
    """Return a name beside `path` for the time of writing: short, whatever the file's own name, and hidden."""
    return path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.{os.getpid()}.part")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all: beside its place, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _reflink(source: Path, beside: Path) -> bool:
    """Make a file that shares the source's blocks; False where the file system cannot."""
    try:
        with source.open("rb") as from_file, beside.open("wb") as to_file:
            fcntl.ioctl(to_file.fileno(), _FICLONE, from_file.fileno())
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def _hardlink(source: Path, beside: Path) -> bool:
    """Make a hard link; False where the file systems cannot."""
    try:
        beside.hardlink_to(source)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def place_link(source: Path, path: Path, mode: LinkMode) -> None:
    """Put the source's file at `path`: as a reflink, else a hard link, else a copy (`auto`), or as `mode` says.

    A file that stands there from an interrupted build is kept if it still is the source's.
    """
    source = source.resolve()
    if _is_the_same(source, path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    beside.unlink(missing_ok=True)
    try:
        if mode == "symlink":
            beside.symlink_to(source)
        elif mode == "hardlink":
            beside.hardlink_to(source)
        elif mode == "copy" or not (_reflink(source, beside) or _hardlink(source, beside)):
            shutil.copyfile(source, beside)
        if not beside.is_symlink() and not beside.samefile(source):
            facts = source.stat()
            os.utime(beside, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        beside.replace(path)
    except FileNotFoundError:
        raise DataError(source, "has disappeared from the source while building; the same command goes on") from None
    except OSError as error:
        if mode == "hardlink" and error.errno in _NO_LINKS:
            raise OutputError(f"--link hardlink: {path} cannot be a hard link to {source}; use --link auto") from None
        if mode == "symlink" and error.errno in _NO_LINKS:
            where = f"{path.parent} lies on a file system that has no symbolic links ({error.strerror})"
            raise OutputError(f"--link symlink: {where}; use --link copy") from None
        raise
    finally:
        beside.unlink(missing_ok=True)


def _is_the_same(source: Path, path: Path) -> bool:
    """Tell whether an existing file is the source's: the same file, or of its size and time of change."""
    try:
        facts, other = source.stat(), path.stat()
    except OSError:
        return False
    same_file = (facts.st_dev, facts.st_ino) == (other.st_dev, other.st_ino)
    return same_file or (facts.st_size, facts.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
