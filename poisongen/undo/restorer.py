"""Giving back the clean dataset, byte for byte: from its source, or from the undo store of a build."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.auditing.faults import Findings
from poisongen.auditing.structure import list_out
from poisongen.auditing.undo_store import check_undo_index, kept_alone
from poisongen.cluster import on_cluster
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.files.foreign import Places, Refused, open_out, sha256_of
from poisongen.files.inside import open_inside, write_inside
from poisongen.files.new_folder import check_outside, new_folder
from poisongen.files.store import place_link
from poisongen.files.stores import StorePath, in_memory, place
from poisongen.parallel import for_each, job_count
from poisongen.records.reading import Records, read_undo_index, sound_records
from poisongen.source.listing import list_files
from poisongen.undo.store import UNDO, UndoRecord, kept_file

STAGING = ".poisongen-restore"


@dataclass(frozen=True)
class RestoreResult:
    """What was restored: where it is, how many files and bytes, and from what ("source" or "undo")."""

    out: Path
    files: int
    bytes: int
    by: str


@dataclass(frozen=True)
class _FromSource:
    """A file to copy from the source: its digest as the manifest has it, or the file of OUT that it must equal."""

    path: str
    size: int
    sha256: str | None
    twin: str | None


def restore(
    poisoned: Path | str,
    out: Path | str,
    source: Path | str | None = None,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = False,
) -> RestoreResult:
    """Write the clean dataset that `poisoned` was built from into `out`, which must be new or empty.

    With `source`, the clean dataset's folder, files are copied from there and compared with the manifest's digests;
    without, the undo store of `build --undo` is used. `cluster` is an engine's address, as for `build`. Every file has
    its digest before it gets its name; OutputError, ChoiceError or DataError says why it cannot be, and `out` then
    holds nothing.
    """
    poisoned, clean = place(poisoned).absolute(), place(out).absolute()
    root = None if source is None else place(source).absolute()
    if root is not None and not root.is_dir():
        raise ChoiceError(f"--source: {root} is not a folder; give the clean dataset")
    records = sound_records(poisoned)
    for other, what in ((poisoned, "the poisoned dataset"), (root, "the source")):
        if other is not None:
            check_outside(clean, other, what)
    work: Sequence[_FromSource | UndoRecord]
    function: Callable[[Any], None]
    if root is not None:
        work = _from_source(records, root)
        function = functools.partial(_copy_one, places=Places(poisoned, root), tree=clean / STAGING)
    else:
        work = _from_undo(records, poisoned)
        function = functools.partial(_undo_one, poisoned=poisoned, tree=clean / STAGING)
    _check_names(item.path for item in work)
    sees = None if isinstance(poisoned, StorePath) else poisoned
    with on_cluster(cluster, jobs, sees), new_folder(clean, STAGING):
        workers = 1 if in_memory(poisoned, clean, root) else job_count(jobs)
        for _ in for_each(function, work, workers, "restoring" if progress else None):
            pass
    return RestoreResult(clean, len(work), sum(item.size for item in work), "undo" if root is None else "source")


def _check_names(paths: Iterable[str]) -> None:
    """Refuse records that want one path twice, or a path below a file. OutputError."""
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        if path in seen:
            raise OutputError(f"{path}: the records name this file twice; run poisongen audit")
        seen.add(path)
        parts = path.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    if both := seen & folders:
        raise OutputError(f"{min(both)}: the records name this as a file and as a folder; run poisongen audit")


def _from_source(records: Records, root: Path) -> list[_FromSource]:
    """Return what is to be copied; DataError if the source has not the names and sizes that the build saw."""
    files = list_files(root)
    sha256, twins = {}, {}
    for record in records.manifest:
        for file in record.files:
            if file.source is not None:
                sha256[file.source] = file.source_sha256
    for link in records.links:
        if link.source is not None and link.written:
            sha256[link.source] = link.source_sha256
        elif link.source is not None:
            twins[link.source] = link.path
    sha256 |= {left.path: left.sha256 for left in records.left_out}
    sizes = {file.path: file.size for file in files}
    for path in sorted((sha256.keys() | twins.keys()) - sizes.keys()):
        raise DataError(root / path, "is missing, but the poisoned dataset was built from it; give the right --source")
    for link in records.links:
        if link.source is not None and not link.written and sizes[link.source] != link.size:
            raise DataError(root / link.source, f"has {sizes[link.source]} bytes, had {link.size} when building")
    # A scaled dataset has no files of broken samples; every other one names all files of its source.
    scaled = records.recipe is not None and records.recipe.scale != 1
    if not (scaled and any(skip.reason == "bad file" for skip in records.skipped)):
        for path in sorted(sizes.keys() - sha256.keys() - twins.keys()):
            raise DataError(root / path, "was not there when the poisoned dataset was built; give the right --source")
    return [_FromSource(file.path, file.size, sha256.get(file.path), twins.get(file.path)) for file in files]


def _stands(where: Path) -> bool:
    return where.is_file() if isinstance(where, StorePath) else os.path.lexists(where)


def _copy_one(item: _FromSource, places: Places, tree: Path) -> None:
    """Copy a file from the source and test it. DataError if it is not what the build saw."""
    assert places.root is not None  # noqa: S101  the caller has seen to it
    where, origin = tree / item.path, places.root / item.path
    expected = item.sha256
    if _stands(where):
        raise OutputError(f"{where}: this file system does not tell its name from another's; restore elsewhere")
    place_link(origin, tree, item.path, "copy")
    if expected is None and item.twin is not None:
        try:
            with open_out(places, item.twin, item.path) as file:
                expected = sha256_of(file)
        except Refused as refused:
            raise OutputError(f"{places.out / item.twin}: {refused}; run poisongen audit on it") from None
    with open_inside(tree, item.path) as copy:
        found = sha256_of(copy)
    if expected not in (None, found):
        raise DataError(origin, "is not the file that the poisoned dataset was built from (its digest is another)")


def _from_undo(records: Records, poisoned: Path) -> list[UndoRecord]:
    """Return the lines of the undo index; OutputError if there is none, or if it does not fit the manifest."""
    if records.summary is None or records.summary.undo is None:
        raise ChoiceError(f"{poisoned}: it was built without --undo; give the clean dataset with --source")
    findings = Findings()
    lines = read_undo_index(poisoned, records.summary.undo, findings)
    if findings.faults:
        fault = findings.faults[0]
        raise OutputError(f"{poisoned / fault.file}: expected {fault.expected}, found {fault.found}; use --source")
    known = {line.path: line for line in lines}
    wanted = {file.source: file.source_sha256 for record in records.manifest for file in record.files if file.source}
    for path, digest in wanted.items():
        if path not in known or known[path].sha256 != digest:
            raise OutputError(f"{poisoned / UNDO}: the store does not fit the manifest ({path}); use --source")
    others = [*(link.source for link in records.links), *(left.path for left in records.left_out)]
    for source in others:
        if source is not None and source not in known:
            raise OutputError(f"{poisoned / UNDO}: the store lacks {source}; use --source")
    plain = [path for path, entry in list_out(poisoned).entries.items() if entry.kind == "file"]
    check_undo_index(records, lines, kept_alone(records, lines, plain, poisoned), findings)
    if findings.faults:
        fault = findings.faults[0]
        raise OutputError(f"{poisoned / fault.file}: expected {fault.expected}, found {fault.found}; use --source")
    return lines


def _undo_one(item: UndoRecord, poisoned: Path, tree: Path) -> None:
    """Get one file back and test it. OutputError if it does not come out as it was."""
    where = tree / item.path
    if _stands(where):
        raise OutputError(f"{where}: this file system does not tell its name from another's; restore elsewhere")
    write_inside(tree, item.path, kept_file(item, poisoned))
