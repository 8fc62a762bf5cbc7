"""Which files in OUT its own records explain."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from poisongen.algorithms import refuse_newer
from poisongen.documents import LARGEST_JSON, parse_json, parse_record, read_text
from poisongen.errors import DataError, OutputError
from poisongen.manifest import FOLDER, LINKS, MANIFEST, RECIPE, SKIPPED, SUMMARY, LinkRecord, SampleRecord
from poisongen.undo import INDEX, UndoRecord, undo_paths

LONGEST_LINE = 2**20  # characters; a record has a few thousand


def records(path: Path, model: type[SampleRecord] | type[LinkRecord] | type[UndoRecord]) -> Iterator[Any]:
    """Yield the checked records of a .jsonl file; OutputError names the first line that is none."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), ""), 1):
                try:
                    yield parse_record(model, line)
                except ValueError:
                    raise OutputError(f"{path}: line {number} is not a record of poisongen") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: cannot be read ({error})") from None


def explained_paths(out: Path) -> set[str]:
    """Return the paths, below OUT, of every file that the records of a finished build name, records included."""
    folder = out / FOLDER
    with contextlib.suppress(
        DataError, ValueError, RecursionError
    ):  # what is wrong with the summary is another's matter
        summary = parse_json(read_text(folder / SUMMARY, LARGEST_JSON))
        refuse_newer(summary if isinstance(summary, dict) else {}, out)
    paths = {f"{FOLDER}/{name}" for name in (RECIPE, MANIFEST, SKIPPED, LINKS, SUMMARY)}
    for record in records(folder / MANIFEST, SampleRecord):
        paths.update(file.path for file in record.files)
    paths.update(link.path for link in records(folder / LINKS, LinkRecord))
    if (out / INDEX).is_file():
        paths.update(undo_paths(records(out / INDEX, UndoRecord)))
    return paths


def files_below(out: Path, leave_out: str) -> Iterator[str]:
    """Yield the path of every file and every link below OUT, links not followed, but for the folder `leave_out`."""
    for folder, below, names in os.walk(out):
        here = Path(folder).relative_to(out)
        below[:] = sorted(name for name in below if (here / name).as_posix() != leave_out)
        for name in (*names, *(name for name in below if (Path(folder) / name).is_symlink())):
            yield (here / name).as_posix()
