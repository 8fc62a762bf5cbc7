"""Folders on object stores (`s3://BUCKET/FOLDER`, `gs://`, `memory://`) by fsspec, in the place of a `Path`.

A `StorePath` answers what the code asks of a folder or a file below it. Each file is read by one request and written
by one, whole or not at all; what a store refuses for the moment is asked again, ever later. There are no links there,
and no folders but the names of files.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import io
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, TypeVar, cast

from poisongen.errors import ChoiceError

Result = TypeVar("Result")

_TRIES = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds
_WHOLE = 5 * 2**30  # bytes that go up in one request; a store takes no more at once
_remembered: ContextVar[dict[str, bytes] | None] = ContextVar("remembered", default=None)


def place(name: Path | StorePath | str) -> Path:
    """Return the folder or file of that name: a `Path`, or a `StorePath` for an address. ChoiceError."""
    if isinstance(name, StorePath):
        return cast(Path, name)
    if "://" not in str(name):
        return Path(name)
    protocol, _, rest = str(name).partition("://")
    if protocol == "file":
        return Path(f"/{rest.lstrip('/')}")
    if not rest.strip("/"):
        raise ChoiceError(f"{name}: give a folder in it, such as {protocol}://BUCKET/FOLDER")
    path = StorePath(f"{protocol}://{rest.strip('/')}")
    _system(protocol)
    return cast(Path, path)


def in_memory(*places: Path | str | None) -> bool:
    """Tell whether a place is in this process's memory, where no other process sees it."""
    return any(str(one).startswith("memory://") for one in places if one is not None)


@functools.cache
def _system(protocol: str) -> Any:
    """Return fsspec's file system. ChoiceError where a package is missing, or nobody knows the protocol."""
    extra = "pip install 'poisongen[s3]'" if protocol == "s3" else "pip install fsspec and its package for it"
    try:
        import fsspec

        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError:
        raise ChoiceError(f"{protocol}://: a package is missing; {extra}") from None
    except ValueError:
        raise ChoiceError(f"{protocol}://: no such kind of store; give s3://, gs:// or a folder") from None


def _tried(url: str, call: Callable[[], Result]) -> Result:
    """Ask a store, again and ever later where it fails for the moment. OSError; ChoiceError without the right."""
    for attempt in range(_TRIES):
        try:
            return call()
        except (FileNotFoundError, IsADirectoryError):
            raise
        except PermissionError as error:
            raise ChoiceError(f"{url}: access denied ({_line(error)}); check the store's credentials") from None
        except Exception as error:
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                raise ChoiceError(f"{url}: no credentials ({_line(error)}); give the store's credentials") from None
            last = error
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
    raise OSError(errno.EIO, f"the store does not answer ({_line(last)})", url)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def one_read() -> Iterator[None]:
    """Remember what is read from stores within the block: a file that is asked for twice is read once."""
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def reading_once(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return the function with `one_read` around each call."""

    @functools.wraps(function)
    def once(*arguments: Any, **named: Any) -> Result:
        with one_read():
            return function(*arguments, **named)

    return once


@dataclass(frozen=True, order=True)
class StorePath:
    """A folder or file on an object store. What it does not have, a store has not."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, part: object) -> StorePath:
        return StorePath(f"{self.url}/{part}".rstrip("/"))

    @property
    def _system(self) -> Any:
        return _system(self.protocol)

    @property
    def protocol(self) -> str:
        """What stands before ://."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> StorePath:
        """The folder above; a bucket's is itself."""
        above = self.url.rpartition("/")[0]
        return self if above.endswith("/") else StorePath(above)

    @property
    def parents(self) -> tuple[StorePath, ...]:
        """Every folder above."""
        return () if self.parent == self else (self.parent, *self.parent.parents)

    def absolute(self) -> StorePath:
        """Return this."""
        return self

    def resolve(self, strict: bool = False) -> StorePath:
        """Return this: there are no links."""
        return self

    def is_relative_to(self, other: object) -> bool:
        """Tell whether this is `other`, or lies below."""
        return f"{self.url}/".startswith(f"{other}/")

    def is_symlink(self) -> bool:
        """Tell that this is none."""
        return False

    def _facts(self) -> dict[str, Any] | None:
        """Return what the store says of a file, None where there is none."""
        try:
            facts = _tried(self.url, lambda: self._system.info(self.url))
        except FileNotFoundError:
            return None
        return dict(facts) if facts["type"] == "file" else None

    def is_file(self) -> bool:
        """Tell whether a file is there."""
        return self._facts() is not None

    def is_dir(self) -> bool:
        """Tell whether something lies below."""
        return any(self.iterdir())

    def exists(self) -> bool:
        """Tell whether a file is there, or something lies below."""
        return self.is_file() or self.is_dir()

    def stat(self) -> Any:
        """Return size and time of change as `os.stat` does; FileNotFoundError."""
        facts = self._facts()
        if facts is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url)
        changed = changed_at(facts)
        return SimpleNamespace(
            st_size=facts["size"], st_mode=stat.S_IFREG | 0o644, st_mtime_ns=changed, st_dev=0, st_ino=0
        )

    def iterdir(self) -> Iterator[StorePath]:
        """Yield what lies directly below."""
        try:
            found = _tried(self.url, lambda: self._system.ls(self.url, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in found:
            if str(name).rstrip("/") != self._plain:
                yield self / str(name).rstrip("/").rpartition("/")[2]

    @property
    def _plain(self) -> str:
        """The name as the store's listings have it."""
        return str(self._system._strip_protocol(self.url)).rstrip("/")

    def files(self) -> dict[str, dict[str, Any]]:
        """Return every file below by its path, with the store's facts; listed in pages."""
        above = f"{self._plain}/"
        found = _tried(self.url, lambda: self._system.find(self.url, detail=True))
        return {
            str(name).removeprefix(above): facts
            for name, facts in sorted(found.items())
            if facts["type"] == "file" and str(name).startswith(above)
        }

    def read_bytes(self) -> bytes:
        """Return a file's bytes. OSError."""
        kept = _remembered.get()
        if kept is not None and self.url in kept:
            return kept[self.url]
        try:
            data = bytes(_tried(self.url, lambda: self._system.cat_file(self.url)))
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url) from None
        if kept is not None:
            kept[self.url] = data
        return data

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open a file for reading: all of it is read at once."""
        return io.BytesIO(self.read_bytes())

    def write(self, data: bytes) -> None:
        """Write a file: it is there whole, or what was there before. OSError."""
        _tried(self.url, lambda: self._system.pipe_file(self.url, data, **self._in_one()))
        if (kept := _remembered.get()) is not None:
            kept.pop(self.url, None)

    def _in_one(self) -> dict[str, Any]:
        """Return what keeps an upload in one request, so that none is left half done."""
        return {"chunksize": _WHOLE} if self.protocol in ("s3", "s3a", "gs", "gcs") else {}

    def take(self, source: Path | StorePath) -> None:
        """Become a copy of a file: made by the store itself where it has both."""
        if isinstance(source, StorePath) and source.protocol == self.protocol:
            _tried(self.url, lambda: self._system.cp_file(source.url, self.url))
        else:
            self.write(source.read_bytes())

    def remove(self) -> None:
        """Remove a file, and everything below; nothing is fine too."""
        with contextlib.suppress(FileNotFoundError):
            _tried(self.url, lambda: self._system.rm(self.url, recursive=True))

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder is there when a file is."""

    def rmdir(self) -> None:
        """Do nothing: a folder is gone when its files are."""


def changed_at(facts: dict[str, Any]) -> int:
    """Return when a store says that a file was changed, in nanoseconds; 0 where it does not say."""
    when = facts.get("LastModified") or facts.get("mtime") or facts.get("updated") or facts.get("created")
    return int(when.timestamp() * 1_000_000) * 1000 if isinstance(when, datetime.datetime) else 0
