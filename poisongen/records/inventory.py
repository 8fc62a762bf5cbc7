"""Which files in OUT its own records explain."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from poisongen.errors import DataError, OutputError
from poisongen.files.documents import LARGEST_JSON, parse_json, parse_record, read_text
from poisongen.files.stores import StorePath
from poisongen.records.algorithms import refuse_newer
from poisongen.records.manifest import (
    FOLDER,
    LEFT_OUT,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    CardFacts,
    LinkRecord,
    SampleRecord,
)
from poisongen.undo.store import INDEX, UNDO, UndoRecord, undo_paths

LONGEST_LINE = 2**20  # characters; a record has a few thousand


def open_plain(path: Path) -> TextIO:
    """Open a text file that is a plain one: no link, and no pipe that would be waited for. OSError else."""
    if isinstance(path, StorePath):
        return io.TextIOWrapper(path.open(), encoding="utf-8")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return os.fdopen(handle, encoding="utf-8")


def records(path: Path, model: type[SampleRecord] | type[LinkRecord] | type[UndoRecord]) -> Iterator[Any]:
    """Yield the checked records of a .jsonl file; OutputError names the first line that is none."""
    try:
        with open_plain(path) as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), ""), 1):
                try:
                    yield parse_record(model, line)
                except ValueError:
                    raise OutputError(f"{path}: line {number} is not a record of poisongen") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def card_sizes(out: Path) -> dict[str, int]:
    """Return the cards that a finished build's summary names, with their sizes; none in builds of older versions."""
    try:
        summary = parse_json(read_text(out / FOLDER / SUMMARY, LARGEST_JSON))
        cards = CardFacts.model_validate_json(json.dumps(summary["cards"]))
    except (DataError, ValueError, RecursionError, KeyError, TypeError):
        return {}  # what is wrong with the summary is another's matter
    return {path: file.size for path, file in cards.files.items()}


def explained_paths(out: Path) -> set[str]:
    """Return the paths, below OUT, of every file that the records of a finished build name, records included."""
    folder = out / FOLDER
    paths = {f"{FOLDER}/{name}" for name in (RECIPE, MANIFEST, SKIPPED, LINKS, SUMMARY)}
    with contextlib.suppress(
        DataError, ValueError, RecursionError
    ):  # what is wrong with the summary is another's matter
        summary = parse_json(read_text(folder / SUMMARY, LARGEST_JSON))
        summary = summary if isinstance(summary, dict) else {}
        refuse_newer(summary, out)
        digests = summary.get("digests")
        paths.update([f"{FOLDER}/{LEFT_OUT}"] if isinstance(digests, dict) and LEFT_OUT in digests else [])
    paths.update(card_sizes(out))
    for record in records(folder / MANIFEST, SampleRecord):
        paths.update(file.path for file in record.files)
        paths.update([record.expected.path] if record.expected is not None else [])
    paths.update(link.path for link in records(folder / LINKS, LinkRecord))
    if (out / INDEX).is_file():
        paths.update(undo_paths(records(out / INDEX, UndoRecord)))
    elif (out / UNDO).is_dir():  # a store without its index is still ours
        paths.update(f"{UNDO}/{entry.name}" for entry in (out / UNDO).iterdir() if entry.name.endswith(".undo"))
    return paths


def written_sizes(out: Path) -> dict[str, int | None]:
    """Return every file that the records of a finished build name, with its size, None where they do not say it."""
    sizes: dict[str, int | None] = dict.fromkeys(explained_paths(out))
    for record in records(out / FOLDER / MANIFEST, SampleRecord):
        sizes.update((file.path, file.size) for file in record.files)
    sizes.update((link.path, link.size) for link in records(out / FOLDER / LINKS, LinkRecord))
    sizes.update(card_sizes(out))
    return sizes


def files_below(out: Path, leave_out: str) -> Iterator[str]:
    """Yield the path of every file and every link below OUT, links not followed, but for the folder `leave_out`."""
    if isinstance(out, StorePath):
        yield from (path for path in out.files() if not path.startswith(f"{leave_out}/"))
        return
    for folder, below, names in os.walk(out):
        here = Path(folder).relative_to(out)
        below[:] = sorted(name for name in below if (here / name).as_posix() != leave_out)
        for name in (*names, *(name for name in below if (Path(folder) / name).is_symlink())):
            yield (here / name).as_posix()
