"""The clean dataset on disk: where it is, and which files it has. Nothing here writes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from poisongen.datasets.base import Layout
from poisongen.errors import ChoiceError, DataError
from poisongen.files.stores import StorePath, changed_at
from poisongen.source.shadow import is_shadow, is_shadow_name

_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True)
class SourceFile:
    """One file below the root: its path with '/', its size in bytes, its time of change in nanoseconds, its inode."""

    path: str
    size: int
    changed: int
    inode: int = field(default=0, compare=False)


def find_root(layout: Layout, root: Path | None, option: str = "--root") -> Path:
    """Return the clean dataset's folder: the one given, else the layout's environment variable or usual place.

    ChoiceError names the option, and says how to get the dataset where there is none.
    """
    if root is not None:
        if not root.exists():
            raise ChoiceError(f"{option}: {root} does not exist")
        if not root.is_dir():
            raise ChoiceError(f"{option}: {root} is not a folder")
        return root
    if layout.environment and (value := os.environ.get(layout.environment)):
        if not Path(value).is_dir():
            raise ChoiceError(f"${layout.environment}: {value} is not a folder")
        return Path(value)
    if layout.usual_root and Path(layout.usual_root).is_dir():
        return Path(layout.usual_root)
    looked = [f"${layout.environment}"] if layout.environment else []
    looked += [layout.usual_root] if layout.usual_root else []
    places = f" (looked at {' and '.join(looked)})" if looked else ""
    raise ChoiceError(
        f"{option}: no {layout.title} found{places}; {layout.how_to_get} and give its folder, "
        "or try `poisongen demo`, which needs no data"
    )


def list_files(root: Path, without: Collection[str] = ()) -> list[SourceFile]:
    """Return every file of the dataset at `root`, sorted by path. Links are followed, to files and to folders.

    What is called as one of `without` directly below the root is not looked at.
    Hidden files, what systems leave beside real ones (`shadow.py`) and links to nothing are no part of a dataset.
    DataError for a folder that leads back into itself, a name that is not text, an unreadable folder, and anything
    that is neither file nor folder.
    """
    if isinstance(root, StorePath):
        return _list_store(root, without)
    found: list[SourceFile] = []

    def walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise DataError(folder, f"cannot be read ({error.strerror})") from None
        for entry in entries:
            path = prefix + entry.name
            if is_shadow_name(entry.name) or path in without:
                continue
            try:
                facts = entry.stat()
            except OSError as error:
                if entry.is_symlink() and error.errno in _LEADS_NOWHERE:
                    continue
                what = f"a link to {Path(entry.path).readlink()}, which " if entry.is_symlink() else ""
                raise DataError(entry.path, f"{what}cannot be read ({error.strerror})") from None
            if stat.S_ISDIR(facts.st_mode):
                identity = (facts.st_dev, facts.st_ino)
                if identity in above:
                    raise DataError(entry.path, "this link leads back to a folder above it; remove the loop")
                walk(folder / entry.name, path + "/", above | {identity})
            elif stat.S_ISREG(facts.st_mode):
                if any("\ud800" <= character <= "\udfff" for character in path):
                    raise DataError(entry.path, "the name is not valid UTF-8; rename the file")
                found.append(SourceFile(path, facts.st_size, facts.st_mtime_ns, facts.st_ino))
            else:
                raise DataError(entry.path, "neither a file nor a folder; remove it")

    own = root.stat()
    walk(root, "", frozenset({(own.st_dev, own.st_ino)}))
    return sorted(found, key=lambda file: file.path)


def _list_store(root: StorePath, without: Collection[str]) -> list[SourceFile]:
    try:
        files = root.files()
    except OSError as error:
        raise DataError(root, f"cannot be read ({error.strerror})") from None
    return [
        SourceFile(path, facts["size"], changed_at(facts))
        for path, facts in sorted(files.items())
        if not is_shadow(path) and path.partition("/")[0] not in without
    ]


def dead_links(root: Path) -> dict[str, str]:
    """Return where the links below the root lead that lead nowhere, by path; for a root that `list_files` has read."""
    found: dict[str, str] = {}
    if isinstance(root, StorePath):
        return found

    def walk(folder: Path, prefix: str) -> None:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if is_shadow_name(entry.name):
                continue
            if entry.is_symlink() and not Path(entry.path).exists():
                found[prefix + entry.name] = str(Path(entry.path).readlink())
            elif entry.is_dir():
                walk(folder / entry.name, f"{prefix}{entry.name}/")

    walk(root, "")
    return found


def check_apart(root: Path, out: Path, option: str = "--out") -> None:
    """Refuse an output folder or file inside the source or around it, links resolved. ChoiceError."""
    real_root, real_out = root.resolve(), out.resolve()
    if real_out == real_root:
        raise ChoiceError(f"{option}: {out} is the clean dataset itself; give another folder")
    if real_root in real_out.parents:
        raise ChoiceError(f"{option}: {out} lies inside the clean dataset {root}; give a folder outside it")
    if real_out in real_root.parents:
        raise ChoiceError(f"{option}: {out} holds the clean dataset {root}; give a folder beside it")


def read_file(root: Path, path: str) -> bytes:
    """Return the bytes of root/path; DataError if it cannot be read."""
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise DataError(root / path, f"cannot be read ({error.strerror})") from None
