"""Reading in a folder that may be hostile: no link is followed out of it, nothing is read without bound."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from poisongen.errors import DataError
from poisongen.files import jpeg, png
from poisongen.files.inside import LARGEST_FILE, Refused, open_inside, read_inside
from poisongen.files.stores import StorePath

__all__ = ["LARGEST_FILE", "Refused", "open_inside", "read_inside"]  # these come from there

MOST_CHUNKS = 2**18
_PIECE = 2**20


class LinkNotFollowedError(Refused):
    """A symbolic link where the source is not known: it may be right, but it is not followed."""


@dataclass(frozen=True)
class Entry:
    """What lies at a path: "file", "link" or "other", its size in bytes, which file it is on disk, its permissions."""

    kind: str
    size: int
    identity: tuple[int, int]
    mode: int = 0


@dataclass(frozen=True)
class Places:
    """The poisoned dataset and, where it is given, the clean one."""

    out: Path
    root: Path | None


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of an open file, read piece by piece."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _link_target(places: Places, path: str, source: str | None) -> Path:
    """Return where a link of OUT leads, if that is its place in the source. Refused else.

    It must lead there at once, as build makes it: one that leads out and back by another link leads elsewhere tomorrow.
    """
    if source is None:
        raise Refused("a symbolic link")
    if places.root is None:
        raise LinkNotFollowedError("a symbolic link, not followed")
    link = places.out / path
    try:
        if any(parent.is_symlink() for parent in link.parents if parent != places.out and places.out in parent.parents):
            raise Refused("below a symbolic link")
        target, wanted = link.resolve(strict=True), (places.root / source).resolve(strict=True)
    except (OSError, RuntimeError):
        raise Refused("a symbolic link to nothing") from None
    if link.readlink() not in (wanted, (places.root / source).absolute()):
        raise Refused("a symbolic link that does not lead straight to its file in the source")
    if target != wanted or not target.is_file():
        raise Refused("a symbolic link that does not lead to its file in the source")
    return target


@contextlib.contextmanager
def open_out(places: Places, path: str, source: str | None) -> Iterator[BinaryIO]:
    """Open a file of OUT. Where it may be a link to `source` below the root, that link, and no other, is followed.

    LinkNotFollowedError for a link where the root is not known, Refused for everything else that is no plain file.
    """
    if (places.out / path).is_symlink():
        with _link_target(places, path, source).open("rb") as file:
            yield file
        return
    with open_inside(places.out, path) as file:
        yield file


def read_out(places: Places, path: str, source: str | None) -> bytes:
    """Return the bytes of a file of OUT; see `open_out`. Refused also for one too large for a picture."""
    with open_out(places, path, source) as file:
        size = 0 if isinstance(places.out, StorePath) else os.fstat(file.fileno()).st_size
        if size > LARGEST_FILE:
            raise Refused(f"larger than {LARGEST_FILE} bytes")
        return file.read(LARGEST_FILE)


def _check_chunks(data: bytes, name: str) -> None:
    """Refuse a PNG of more chunks than any real one has: each takes memory, however short it is."""
    at, count = 8, 0
    while at + 12 <= len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
        if count > MOST_CHUNKS:
            raise DataError(name, f"a PNG of more than {MOST_CHUNKS} chunks")


def check_picture_size(data: bytes, name: str) -> None:
    """Refuse, by its header alone, a picture that would take more memory than any real one. DataError."""
    if data[:8] == png.SIGNATURE:
        if len(data) < 33:
            raise DataError(name, "truncated PNG: the file ends within its header")
        facts = png.parse_header(data[16:29], name)
        _check_chunks(data, name)
        width, height = facts.width, facts.height
    elif data[:3] == b"\xff\xd8\xff":
        facts_of_frame = jpeg.frame(data, name)
        width, height = facts_of_frame.width, facts_of_frame.height
    else:
        raise DataError(name, "neither a PNG nor a JPEG file")
    # Eight bytes are the widest pixel; a stream that is longer than its pixels holds something else.
    if width * height > png.LARGEST_PICTURE or len(data) > 16 * width * height + 2**24:
        raise DataError(name, f"{len(data)} bytes that claim {width}x{height} px")


def walk(folder: Path) -> Iterator[tuple[str, Entry]]:
    """Yield everything below `folder` but plain folders, by path with '/'. Links are named, never followed.

    A folder that cannot be read is yielded as "other".
    """
    if isinstance(folder, StorePath):
        for path, known in folder.files().items():
            yield path, Entry("file", known["size"], (0, hash(path)), 0o644)
        return
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / prefix), key=lambda entry: entry.name)
        except OSError:
            yield prefix.rstrip("/"), Entry("other", 0, (0, 0))
            continue
        for entry in entries:
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                yield prefix + entry.name, Entry("other", 0, (0, 0))
                continue
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(f"{prefix}{entry.name}/")
                continue
            kind = "link" if stat.S_ISLNK(facts.st_mode) else "file" if stat.S_ISREG(facts.st_mode) else "other"
            identity = (facts.st_dev, facts.st_ino)
            yield prefix + entry.name, Entry(kind, facts.st_size, identity, stat.S_IMODE(facts.st_mode))
