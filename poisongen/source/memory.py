"""What reads of a dataset told, kept in the platform's cache folder: a row is as good as a read, or it is not there.

A row is keyed by the paths, sizes, times of change and inodes of the files that were read, and carries a sum of its own
bytes: what is stale, damaged or half written is read again. Whatever the cache itself cannot do, it leaves undone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from platformdirs import user_cache_path

from poisongen.source.listing import SourceFile

Told = dict[str, Any]
Result = TypeVar("Result")

_FILE = "reads-1.sqlite"  # another number for another form
_SETTLED = 2_000_000_000  # nanoseconds: a file this young may change again without its time telling
_PATIENCE = 5.0  # seconds to wait for another build that writes
_UNUSED = 180 * 86_400  # seconds after which rows are dropped
_TABLE = (
    "CREATE TABLE IF NOT EXISTS reads (root TEXT, kind TEXT, name TEXT, stamps TEXT, told TEXT, sum TEXT, used INTEGER,"
    " PRIMARY KEY (root, kind, name)) WITHOUT ROWID"
)


def cache_folder() -> Path:
    """Return the folder that the cache lies in, whether it is there or not."""
    return user_cache_path("poisongen")


def cache_size() -> int:
    """Return how many bytes the cache takes."""
    return sum(path.stat().st_size for path in cache_folder().glob("reads-*"))


def clear_cache() -> int:
    """Remove the cache; return how many bytes that frees. OSError where a file cannot be removed."""
    freed = 0
    for path in sorted(cache_folder().glob("reads-*")):
        size = path.stat().st_size
        path.unlink()
        freed += size
    with contextlib.suppress(OSError):  # others may keep files there
        cache_folder().rmdir()
    return freed


def _in_cache(work: Callable[[sqlite3.Connection], Result], *, make: bool) -> Result | None:
    """Return what a piece of work on the cache gives, None where there is no cache or it cannot be used.

    A damaged one is removed.
    """
    path = cache_folder() / _FILE
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            return None
        with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE)) as connection, connection:
            connection.execute(_TABLE)
            return work(connection)
    except sqlite3.OperationalError:
        return None  # busy, read-only or full
    except sqlite3.DatabaseError:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    except OSError:
        return None


def _sum(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Memory:
    """What is known of the files of one root, by kind of knowledge and name; new rows are written by `keep`.

    `files` are the root's files as they were listed.
    """

    def __init__(self, root: Path, files: Sequence[SourceFile], kinds: Sequence[str]) -> None:
        self._root, self._listed = str(root), time.time_ns()
        self._files = {file.path: file for file in files}
        self._known: dict[tuple[str, str], tuple[str, str, str]] = {}
        self._new: dict[tuple[str, str], tuple[str, str]] = {}
        marks = ", ".join("?" * len(kinds))
        query = f"SELECT kind, name, stamps, told, sum FROM reads WHERE root = ? AND kind IN ({marks})"  # noqa: S608  marks alone
        rows = _in_cache(lambda cache: cache.execute(query, (self._root, *kinds)).fetchall(), make=False)
        for kind, name, stamps, told, found in rows or ():
            self._known[kind, name] = stamps, told, found

    def _stamps(self, paths: Sequence[str]) -> str | None:
        """Return the stamps of some files; None if one of them is not there, or too young to be sure of."""
        found = []
        for path in paths:
            file = self._files.get(path)
            if file is None or file.changed > self._listed - _SETTLED:
                return None
            found.append(f"{path}\0{file.size}\0{file.changed}\0{file.inode}")
        return _sum(*found)

    def recall(self, kind: str, name: str, paths: Sequence[str]) -> Told | None:
        """Return what was told of these files, None if that is not known for sure."""
        row = self._known.get((kind, name))
        if row is None or not all(isinstance(word, str) for word in row):
            return None
        if row[0] != self._stamps(paths) or row[2] != _sum(kind, name, *row[:2]):
            return None
        try:
            told = json.loads(row[1])
        except (ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None

    def learn(self, kind: str, name: str, paths: Sequence[str], told: Mapping[str, Any]) -> None:
        """Note what these files told."""
        stamps = self._stamps(paths)
        if stamps is not None:
            self._new[kind, name] = stamps, json.dumps(told, separators=(",", ":"))

    def keep(self) -> None:
        """Write what was learned into the cache, all of it or nothing."""
        now = int(time.time())
        rows = [
            (self._root, kind, name, stamps, told, _sum(kind, name, stamps, told), now)
            for (kind, name), (stamps, told) in self._new.items()
        ]
        if not rows:
            return

        def write(cache: sqlite3.Connection) -> None:
            cache.executemany("INSERT OR REPLACE INTO reads VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            cache.execute("DELETE FROM reads WHERE used < ?", (now - _UNUSED,))

        _in_cache(write, make=True)
        self._new = {}
