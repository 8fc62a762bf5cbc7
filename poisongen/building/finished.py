"""A finished build: whether it stands in OUT, whether it is the one that is asked for, and what it has lost."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from poisongen.building.bordering import Bordering
from poisongen.building.staging import check_only_ours
from poisongen.errors import OutputError
from poisongen.files.stores import StorePath
from poisongen.records.inventory import card_sizes, written_sizes
from poisongen.records.manifest import FOLDER, SUMMARY
from poisongen.records.standing import look_at, read_summary
from poisongen.source.listing import SourceFile
from poisongen.undo.store import INDEX


@dataclass(frozen=True)
class BuildResult:
    """What a build did: where it is, its fingerprint and counts, and whether it had been finished before.

    `pairs` are the summary's victims and targets, each with `id`, `name`, `pixels` and `samples` of the training
    split; `label_like` the first of the files that look like labels of changed samples and stay as they are.
    `put_back` is the number of files that a finished build had lost, and has again. `bordering` is how the target was
    found, where that was asked for. `cards` are the dataset cards and tables, by their paths in OUT.
    """

    out: Path
    fingerprint: str
    counts: Mapping[str, int]
    already_built: bool
    pairs: Sequence[Mapping[str, Mapping[str, Any]]] = ()
    label_like: Sequence[str] = ()
    put_back: int = 0
    bordering: Bordering | None = None
    cards: Sequence[str] = ()


def with_undo(result: BuildResult) -> BuildResult:
    """Return the result of a build with an undo store; OutputError if it was (nearly) finished without one."""
    if "undo" not in read_summary(result.out):
        raise OutputError(f"--undo: {result.out} was built without an undo store; build it again with --force")
    return result


def already_there(out: Path, recipe_sha256: str, files: Sequence[SourceFile], force: bool) -> BuildResult | None:
    """Return the finished build that stands in OUT if it is this one; OutputError if OUT is not free.

    `files` are the source's. Its `put_back` says how many files it has lost.
    """
    standing = look_at(out)
    if force and isinstance(out, StorePath) and standing.kind in ("finished", "unfinished"):
        raise OutputError(f"--force: {out}: on an object store nothing is replaced; remove it, or choose another")
    if standing.kind == "foreign":
        raise OutputError(f"--out: {out} holds files that poisongen did not write ({standing.example}); choose another")
    if standing.kind == "finished" and not force:
        summary = standing.summary or {}
        if standing.recipe_sha256 == recipe_sha256 and _is_built_from(out, files, summary):
            lost = lost_files(out)
            if lost:
                check_only_ours(out)  # found before the long reading begins
            return replace(result_of(out), already_built=True, put_back=len(lost))
        other = "source" if standing.recipe_sha256 == recipe_sha256 else "recipe"
        raise OutputError(f"--out: {out} holds the build of another {other}; choose another folder, or --force")
    if standing.kind == "finished":
        check_only_ours(out)
    if standing.kind == "unfinished" and standing.recipe_sha256 not in ("", recipe_sha256) and not force:
        raise OutputError(
            f"--out: {out} holds an unfinished build of another recipe; finish it with its own command, or --force"
        )
    return None


def result_of(out: Path) -> BuildResult:
    """Return what the summary of a finished build says. OutputError if there is none."""
    summary = read_summary(out)
    pairs, like = summary.get("pairs", []), summary.get("label_like", [])  # builds of older versions have none
    cards = tuple(card_sizes(out))
    return BuildResult(out, summary["fingerprint"], summary["counts"], False, pairs, like, cards=cards)


def lost_files(out: Path) -> list[str]:
    """Return the files of a finished build that are not there; OutputError for one of another size than it had."""
    lost = []
    there: dict[str, int] = {}
    try:
        sizes = written_sizes(out)
    except OutputError as error:
        raise OutputError(f"{error}; the build's records are damaged: move {out} away and build again") from None
    if "undo" in read_summary(out):
        sizes.setdefault(INDEX, None)
    for path, size in sorted(sizes.items()):
        if isinstance(out, StorePath):
            there = there or {name: entry["size"] for name, entry in out.files().items()}
            if path not in there:
                lost.append(path)
            elif size not in (None, there[path]):
                raise OutputError(f"--out: {out / path} has {there[path]} bytes, not {size}; remove it and build again")
            continue
        try:
            facts = (out / path).stat()  # a link counts as what it leads to
        except (FileNotFoundError, NotADirectoryError):
            lost.append(path)
            continue
        if not stat.S_ISREG(facts.st_mode) or size not in (None, facts.st_size):
            what = f"has {facts.st_size} bytes, not {size}" if stat.S_ISREG(facts.st_mode) else "is no file any more"
            raise OutputError(f"--out: {out / path} {what}; remove it and give the same command again, or give --force")
    return lost


def source_listing(files: Sequence[SourceFile]) -> str:
    """Return a digest of the source's file names and sizes."""
    return hashlib.sha256("".join(f"{file.path}\0{file.size}\n" for file in files).encode()).hexdigest()


def _is_built_from(out: Path, files: Sequence[SourceFile], summary: Mapping[str, Any]) -> bool:
    """Tell whether a finished build is of these files: the same names and sizes, none changed after it was built."""
    built = (out / FOLDER / SUMMARY).stat().st_mtime_ns
    return summary.get("source") == source_listing(files) and all(file.changed <= built for file in files)
