"""The undo store, OUT/poisongen/undo: what is needed to get the clean dataset back without the source."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from poisongen.errors import DataError, OutputError
from poisongen.files import png
from poisongen.files.inside import write_inside
from poisongen.parallel import for_each
from poisongen.records.manifest import FOLDER, Count, RelativePath, Sha256, bytes_sha256, json_line
from poisongen.source.listing import SourceFile, read_file
from poisongen.undo import delta_jpeg, delta_png
from poisongen.undo.packed import pack, unpack

UNDO = f"{FOLDER}/undo"
INDEX = f"{UNDO}/index.jsonl"
_WHOLE = "whole"
_FORMATS = {delta_png.FORMAT: delta_png.apply, delta_jpeg.FORMAT: delta_jpeg.apply}


class UndoRecord(BaseModel):
    """One line of undo/index.jsonl: how one source file is got back.

    `path`, `size` and `sha256` are the source file's. `base` is the file of OUT to start from: without `entry` it is
    the source's file itself. With `entry`, a file in undo/, that is applied to it; without `base` the entry alone
    tells all.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    path: RelativePath
    size: Count
    sha256: Sha256
    base: RelativePath | None
    entry: Annotated[str, Field(pattern=r"^[0-9a-f]{32}\.undo$")] | None = None
    entry_sha256: Sha256 | None = None


@dataclass(frozen=True)
class _Item:
    """A source file, the file of OUT that stands for it, whether that is another one, and its digest if known."""

    path: str
    base: str | None
    changed: bool
    sha256: str | None


def make_entry(source: bytes, new: bytes | None) -> tuple[bytes, bool]:
    """Return an entry that gives `source`, and whether it needs `new`; the shorter of a delta and the whole file."""
    whole = pack(_WHOLE, {}, {"file": source})
    if new is None:
        return whole, False
    try:
        same_format = (source[:8] == png.SIGNATURE) == (new[:8] == png.SIGNATURE)
        is_jpeg = source[:3] == new[:3] == b"\xff\xd8\xff"
        delta = None
        if same_format and source[:8] == png.SIGNATURE:
            delta = delta_png.make(source, new)
        elif is_jpeg:
            delta = delta_jpeg.make(source, new)
    except DataError:
        delta = None
    if delta is None or len(delta) >= len(whole) or read_entry(delta, new) != source:
        return whole, False
    return delta, True


def read_entry(entry: bytes, new: bytes | None) -> bytes:
    """Return the source file that an entry tells, from the file of OUT that replaced it. ValueError if it cannot."""
    form, facts, sections = unpack(entry)
    try:
        if form == _WHOLE:
            return sections["file"]
        if form not in _FORMATS or new is None:
            raise ValueError(f"an undo entry of unknown format '{form[:50]}'; a newer poisongen may know it")
        return _FORMATS[form](facts, sections, new)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"an undo entry that is not complete ({error})") from None


def entry_name(path: str) -> str:
    """Return the name, in undo/, of the entry that belongs to a source file."""
    return f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.undo"


def _items(
    records: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]], files: Sequence[SourceFile], above: str
) -> list[_Item]:
    """Return every file of the source with what stands for it in OUT."""
    items: dict[str, _Item] = {}
    for record in records:
        for file in record["files"]:
            if file["source"] is not None and file["path"] == above + file["source"]:
                items[file["source"]] = _Item(file["source"], file["path"], file["written"], file["source_sha256"])
    for link in links:
        if link["source"] is not None and above + link["source"] == link["path"]:
            written = bool(link.get("written"))
            items[link["source"]] = _Item(link["source"], link["path"], written, link.get("source_sha256"))
    return [items.get(file.path) or _Item(file.path, None, True, None) for file in files]


def _make(item: _Item, root: Path, tree: Path) -> dict[str, Any]:
    """Write one file's entry, if it needs one, and return its line of the index."""
    source = read_file(root, item.path)
    digest = bytes_sha256(source)
    if item.sha256 not in (None, digest):
        raise OutputError(f"{root / item.path}: has changed while building; give the same command again, it goes on")
    line: dict[str, Any] = {"path": item.path, "size": len(source), "sha256": digest, "base": item.base}
    if not item.changed:
        return line
    entry, needs_base = make_entry(source, None if item.base is None else read_file(tree, item.base))
    name = entry_name(item.path)
    write_inside(tree, f"{UNDO}/{name}", entry)
    return line | {"base": item.base if needs_base else None, "entry": name, "entry_sha256": bytes_sha256(entry)}


def write_undo(
    tree: Path,
    root: Path,
    records: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    files: Sequence[SourceFile],
    above: str,
    jobs: int,
    progress: bool,
) -> dict[str, Any]:
    """Write the undo store of a dataset that lies finished in `tree`; return what the summary says of it.

    `records` and `links` are the manifest's and the links', `files` all files of the source, before whose paths OUT
    puts `above`. Every entry is tried out before it is kept. OutputError if a source file has changed since it was
    poisoned.
    """
    work = functools.partial(_make, root=root, tree=tree)
    lines = list(for_each(work, _items(records, links, files, above), jobs, "undo" if progress else None))
    text = "".join(map(json_line, lines)).encode()
    write_inside(tree, INDEX, text)
    return {"index_sha256": bytes_sha256(text), "entries": sum("entry" in line for line in lines)}


def undo_paths(lines: Iterable[UndoRecord]) -> Iterator[str]:
    """Yield the paths, below OUT, of the store's files."""
    yield INDEX
    yield from (f"{UNDO}/{line.entry}" for line in lines if line.entry is not None)
