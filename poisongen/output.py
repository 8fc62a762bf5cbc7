"""The output folder: the one module that writes into OUT.

Everything is first laid out below OUT/.poisongen-build, file by file. When all of it is there, the finished tree is
renamed into OUT, the folder poisongen/ last. A build that was killed leaves its part in .poisongen-build, where the
same command finds it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from poisongen.documents import LARGEST_JSON, parse_json, read_text
from poisongen.errors import DataError, OutputError
from poisongen.files.store import LinkMode, place_link, write_whole
from poisongen.inventory import explained_paths, files_below
from poisongen.manifest import FOLDER, SUMMARY, json_line

STAGING = ".poisongen-build"
_TREE, _JOURNAL, _STATE, _READY, _LOCK, _OLD = "tree", "journal.jsonl", "state.json", "ready", "lock", "old"


@dataclass(frozen=True)
class Standing:
    """What stands in OUT: nothing, somebody's files, an unfinished build, or a finished one (with its summary)."""

    kind: str  # "empty", "foreign", "unfinished", "finished"
    recipe_sha256: str = ""
    example: str = ""
    summary: Mapping[str, Any] | None = None


def look_at(out: Path) -> Standing:
    """Say what stands in OUT. OutputError if it is no folder or cannot be read."""
    if not out.exists() and not out.is_symlink():
        return Standing("empty")
    if not out.is_dir():
        raise OutputError(f"--out: {out} is not a folder")
    try:
        names = sorted(entry.name for entry in out.iterdir())
    except OSError as error:
        raise OutputError(f"--out: {out} cannot be read ({error.strerror})") from None
    if STAGING in names:
        state = _read_mapping(out / STAGING / _STATE)
        return Standing("unfinished", recipe_sha256=str(state.get("recipe_sha256", "")))
    if not names:
        return Standing("empty")
    summary = _read_mapping(out / FOLDER / SUMMARY)
    if "fingerprint" in summary and "recipe_sha256" in summary:
        return Standing("finished", recipe_sha256=str(summary["recipe_sha256"]), summary=summary)
    return Standing("foreign", example=names[0])


def read_summary(out: Path) -> dict[str, Any]:
    """Return summary.json of a finished build; OutputError if there is none."""
    summary = _read_mapping(out / FOLDER / SUMMARY)
    if "fingerprint" not in summary or not isinstance(summary.get("counts"), dict):
        raise OutputError(f"{out}: not a finished build of poisongen (no valid {FOLDER}/{SUMMARY})")
    return summary


def _read_mapping(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file, or {} where there is none."""
    try:
        document = parse_json(read_text(path, LARGEST_JSON))
    except (DataError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


class Staging:
    """The folder .poisongen-build of one build: its lock, its journal of finished samples, and its tree.

    It is made by `open_staging`; workers only get `tree`.
    """

    def __init__(self, out: Path, recipe_sha256: str) -> None:
        self.out = out
        self.folder = out.absolute() / STAGING  # workers may live in another folder
        self.tree = self.folder / _TREE
        self._recipe_sha256 = recipe_sha256

    @classmethod
    def at_tree(cls, tree: Path) -> Staging:
        """Return a worker's view of the staging folder: for `link` and `write` only."""
        return cls(tree.parent.parent, "")

    @property
    def ready(self) -> bool:
        """Whether the tree is complete, and only its renaming into OUT was left to do."""
        return (self.folder / _READY).exists()

    def begin(self) -> None:
        """Start afresh, or go on with what an interrupted build of the same recipe left."""
        if _read_mapping(self.folder / _STATE).get("recipe_sha256") != self._recipe_sha256:
            for name in (_READY, _JOURNAL, _STATE):
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.tree, ignore_errors=True)
            write_whole(self.folder / _STATE, json_line({"recipe_sha256": self._recipe_sha256}).encode())
        self.tree.mkdir(exist_ok=True)

    def journal(self) -> Iterator[dict[str, Any]]:
        """Yield what the journal says of finished samples; a line cut short by a crash ends it."""
        with contextlib.suppress(FileNotFoundError), (self.folder / _JOURNAL).open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    return

    @contextlib.contextmanager
    def journal_writer(self, keep: list[dict[str, Any]]) -> Iterator[Any]:
        """Rewrite the journal with the entries to keep, and give a function that adds one more."""
        write_whole(self.folder / _JOURNAL, "".join(json_line(entry) for entry in keep).encode())
        with (self.folder / _JOURNAL).open("a", encoding="utf-8") as file:

            def add(entry: Mapping[str, Any]) -> None:
                file.write(json_line(entry))
                file.flush()

            yield add

    def link(self, source: Path, path: str, mode: LinkMode) -> None:
        """Put the source's file into the tree."""
        place_link(source, self.tree / path, mode)

    def write(self, path: str, data: bytes) -> None:
        """Write a file into the tree."""
        write_whole(self.tree / path, data)

    def drop_unknown(self, known: set[str]) -> None:
        """Remove from the tree what an interrupted build of another source may have left there."""
        for folder, _, names in os.walk(self.tree):
            for name in names:
                path = Path(folder) / name
                if path.relative_to(self.tree).as_posix() not in known:
                    path.unlink()

    def publish(self) -> None:
        """Rename the finished tree into OUT, replacing an earlier build's files; poisongen/ comes last."""
        write_whole(self.folder / _READY, b"")
        names = sorted((entry.name for entry in self.tree.iterdir()), key=lambda name: (name == FOLDER, name))
        if names and not (self.tree / FOLDER).is_dir():
            raise OutputError(f"{self.tree}: an unfinished build without records; remove {self.folder} and start again")
        if (self.out / FOLDER).is_dir() and names:
            remove_earlier(self.out)
        for name in names:
            (self.tree / name).rename(self.out / name)
        shutil.rmtree(self.tree)

    def discard(self) -> None:
        """Remove the staging folder, and OUT if that leaves it empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.out.rmdir()


@contextlib.contextmanager
def open_staging(out: Path, recipe_sha256: str) -> Iterator[Staging]:
    """Make OUT and its staging folder and hold its lock; OutputError if another build is at work there."""
    staging = Staging(out, recipe_sha256)
    try:
        staging.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out: {out} cannot be made ({error.strerror})") from None
    lock = FileLock(staging.folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"--out: another build is at work in {out}; wait for it, or give another folder") from None
    try:
        yield staging
    finally:
        lock.release()
        if (out / FOLDER / SUMMARY).exists() and not staging.tree.exists():
            shutil.rmtree(staging.folder, ignore_errors=True)


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
            (out / path).unlink(missing_ok=True)
    for folder, _, _ in os.walk(out, topdown=False):
        if Path(folder) != out and STAGING not in Path(folder).relative_to(out).parts:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    (out / FOLDER).rename(out / STAGING / _OLD)
    shutil.rmtree(out / STAGING / _OLD)
