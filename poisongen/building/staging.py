"""The output folder: the one module that writes into OUT.

Everything is first laid out below OUT/.poisongen-build, file by file. When all of it is there, the finished tree is
renamed into OUT, the folder poisongen/ last. A build that was killed leaves its part in .poisongen-build, where the
same command finds it again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from poisongen.errors import OutputError
from poisongen.files.documents import parse_json
from poisongen.files.inside import (
    Refused,
    append_inside,
    check_file,
    check_folder,
    make_folder,
    read_inside,
    remove_inside,
    rename_inside,
    size_of,
    write_inside,
)
from poisongen.files.store import PlaceMode, place_link
from poisongen.files.stores import StorePath
from poisongen.files.stores_journal import piece_writer, read_pieces
from poisongen.records.inventory import explained_paths, files_below
from poisongen.records.manifest import FOLDER, SUMMARY, SampleRecord, json_line
from poisongen.records.standing import STAGING, STATE, is_summary, read_mapping

_PIECES = "journal"
_TREE, _JOURNAL, _READY, _LOCK, _OLD = "tree", "journal.jsonl", "ready", "lock", "old"
_LARGEST_JOURNAL = 2**32  # bytes


class Staging:
    """The folder .poisongen-build of one build: its lock, its journal of finished samples, and its tree.

    It is made by `open_staging`; workers only get `tree`.
    """

    def __init__(self, out: Path, recipe_sha256: str) -> None:
        self.out = out
        self.folder = out.absolute() / STAGING  # workers may live in another folder
        self.tree = self.out if isinstance(out, StorePath) else self.folder / _TREE
        self._recipe_sha256 = recipe_sha256
        self._fresh = False  # whether all below an OUT on a store is this build's
        self._made: tuple[Path, ...] = ()  # folders above OUT, and OUT, that this build made, the deepest first

    @classmethod
    def at_tree(cls, tree: Path) -> Staging:
        """Return a worker's view of the staging folder: for `link` and `write` only."""
        return cls(tree if isinstance(tree, StorePath) else tree.parent.parent, "")

    @property
    def ready(self) -> bool:
        """Whether the tree is complete, and only its renaming into OUT was left to do."""
        return size_of(self.folder, _READY) is not None

    def check(self) -> None:
        """Refuse what lies in the places of the staging folder's own files and is none. OutputError."""
        for name in (_LOCK, STATE, _JOURNAL, _READY):
            check_file(self.out, f"{STAGING}/{name}")
        for name in (_TREE, _OLD):
            check_folder(self.out, f"{STAGING}/{name}")

    def make(self) -> None:
        """Make OUT, what lacks above it, and the staging folder."""
        if isinstance(self.out, StorePath):
            self._fresh = not read_mapping(self.out, f"{FOLDER}/{SUMMARY}")
            return
        above = (self.out.absolute(), *self.out.absolute().parents)
        self._made = tuple(itertools.takewhile(lambda folder: not folder.exists(), above))
        self.out.mkdir(parents=True, exist_ok=True)
        make_folder(self.out, STAGING)

    def begin(self) -> bool:
        """Start afresh (True), or go on with what an interrupted build of the same recipe left."""
        afresh = read_mapping(self.folder, STATE).get("recipe_sha256") != self._recipe_sha256
        if afresh:
            for name in (_READY, _JOURNAL, STATE, _TREE, _PIECES):
                remove_inside(self.folder, name)
            write_inside(self.folder, STATE, json_line({"recipe_sha256": self._recipe_sha256}).encode())
        if isinstance(self.out, StorePath):
            return afresh
        make_folder(self.folder, _TREE)
        if (self.tree / FOLDER).is_symlink():  # never made by a build, and expected labels go there early
            remove_inside(self.tree, FOLDER)
        return afresh

    def journal(self) -> Iterator[tuple[SampleRecord, dict[str, Any]]]:
        """Yield the journal's entries, with their records checked; a last line cut short by a crash is left out.

        OutputError for any other line that is no entry.
        """
        if size_of(self.folder, _JOURNAL) is None:
            return
        try:
            text = read_inside(self.folder, _JOURNAL, _LARGEST_JOURNAL)
            if isinstance(self.folder, StorePath):
                text += b"".join(read_pieces(self.folder / _PIECES))
            lines = text.split(b"\n")
        except Refused as refused:
            raise OutputError(f"{self.folder / _JOURNAL}: {refused}; remove {self.folder} and start again") from None
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = parse_json(line.decode())
                if not isinstance(entry["stamps"], dict):
                    raise ValueError
                yield SampleRecord.model_validate_json(json.dumps(entry["record"])), entry
            except (ValidationError, ValueError, KeyError, TypeError, RecursionError):
                raise OutputError(
                    f"{self.folder / _JOURNAL}: line {number} is damaged; remove {self.folder} and start again"
                ) from None

    def holds(self, record: SampleRecord) -> bool:
        """Tell whether a record's files still lie in the tree, with the sizes that they were written with."""
        expected = record.expected is None or size_of(self.tree, record.expected.path) is not None
        return expected and all(
            file.size == size_of(self.tree, file.path, link=not file.written) for file in record.files
        )

    @contextlib.contextmanager
    def journal_writer(self, keep: list[dict[str, Any]]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Rewrite the journal with the entries to keep, and give a function that adds one more."""
        write_inside(self.folder, _JOURNAL, "".join(json_line(entry) for entry in keep).encode())
        if isinstance(self.folder, StorePath):
            remove_inside(self.folder, _PIECES)  # what of them counts has just been written
            with piece_writer(self.folder / _PIECES) as piece:
                yield lambda entry: piece(json_line(entry).encode())
            return
        with append_inside(self.folder, _JOURNAL) as file:

            def add(entry: Mapping[str, Any]) -> None:
                file.write(json_line(entry))
                file.flush()

            yield add

    def link(self, source: Path, path: str, mode: PlaceMode) -> None:
        """Put the source's file into the tree."""
        place_link(source, self.tree, path, mode)

    def write(self, path: str, data: bytes) -> None:
        """Write a file into the tree."""
        write_inside(self.tree, path, data)

    def drop_unknown(self, known: set[str]) -> None:
        """Remove from the tree what an interrupted build of another source may have left there."""
        for path in list(files_below(self.tree, STAGING)):
            if path not in known:
                remove_inside(self.tree, path)

    def publish(self) -> None:
        """Rename the finished tree into OUT, replacing an earlier build's files; poisongen/ comes last."""
        write_inside(self.folder, _READY, b"")
        if isinstance(self.out, StorePath):  # every file has its name; this makes it a finished build
            remove_inside(self.out, STAGING)
            return
        names = sorted((entry.name for entry in self.tree.iterdir()), key=lambda name: (name == FOLDER, name))
        check_folder(self.tree, FOLDER)
        if names and FOLDER not in names:
            raise OutputError(f"{self.tree}: an unfinished build without records; remove {self.folder} and start again")
        if names and read_mapping(self.out, f"{FOLDER}/{SUMMARY}"):
            remove_earlier(self.out)
        for name in names:
            if os.path.lexists(self.out / name):
                raise OutputError(f"--out: {self.out / name} was not written by poisongen; move it away")
        for name in names:
            rename_inside(self.out, f"{STAGING}/{_TREE}/{name}", name)
        remove_inside(self.out, f"{STAGING}/{_TREE}")

    def discard(self) -> None:
        """Remove the staging folder, OUT if that leaves it empty, and what was made above it."""
        with contextlib.suppress(OSError):
            if isinstance(self.out, StorePath) and self._fresh:
                for path in list(files_below(self.out, STAGING)):
                    remove_inside(self.out, path)
            remove_inside(self.out, STAGING)
            for folder in self._made or (self.out,):
                folder.rmdir()


@contextlib.contextmanager
def open_staging(out: Path, recipe_sha256: str) -> Iterator[Staging]:
    """Make OUT and its staging folder and hold its lock; OutputError if another build is at work there."""
    staging = Staging(out, recipe_sha256)
    try:
        staging.make()
        staging.check()  # a lock, say, that is a link would be opened, and perhaps emptied, where it leads
    except OSError as error:
        raise OutputError(f"--out: {error.filename or out} cannot be made ({error.strerror})") from None
    if isinstance(out, StorePath):  # a store has no locks that end with who holds them
        yield staging
        return
    lock = FileLock(staging.folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"--out: another build is at work in {out}; wait for it, or give another folder") from None
    try:
        yield staging
    finally:
        lock.release()
        if not staging.tree.exists() and is_summary(read_mapping(out, f"{FOLDER}/{SUMMARY}")):
            with contextlib.suppress(OSError):
                remove_inside(out, STAGING)


def check_only_ours(out: Path) -> set[str]:
    """Return the paths of an earlier build's files in OUT; OutputError if any other file lies there."""
    ours = explained_paths(out)
    for path in files_below(out, STAGING):
        if path not in ours:
            raise OutputError(f"--out: {out / path} was not written by poisongen; move it away, nothing was removed")
    return ours


def remove_earlier(out: Path) -> None:
    """Remove an earlier build from OUT: the files that its records name, then the folders left empty.

    The records go last and at once, so that an interrupted removal can be repeated.
    """
    ours = check_only_ours(out)
    for path in sorted(ours):
        if not path.startswith(f"{FOLDER}/"):
            remove_inside(out, path)
    for folder, _, _ in os.walk(out, topdown=False):
        if Path(folder) != out and STAGING not in Path(folder).relative_to(out).parts:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    remove_inside(out, f"{STAGING}/{_OLD}")
    rename_inside(out, FOLDER, f"{STAGING}/{_OLD}")
    remove_inside(out, f"{STAGING}/{_OLD}")
