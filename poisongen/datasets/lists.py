"""Split lists: text files with one sample's name on each line."""

from __future__ import annotations

from pathlib import Path

from poisongen.errors import DataError
from poisongen.files.documents import read_text

LIST_ENDS = (".txt", ".tsv", ".lst")
"""The endings of files that may name samples; audit does not follow links to them out of OUT."""

LARGEST_LIST = 64 * 2**20  # bytes; a list of ten million names is smaller


def read_split_list(root: Path, path: str) -> tuple[list[str], list[str]]:
    """Return the names in the list root/path and what is wrong with it: names given twice, names with '/', no text.

    Line ends of any system and empty lines are taken as they come.
    """
    try:
        text = read_text(root / path, LARGEST_LIST)
    except DataError as error:  # it matters only if the split is used
        return [], [error.problem]
    names: dict[str, int] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        if name in names:
            faults.append(f"'{name}' stands on line {names[name]} and again on line {number}; remove one")
        elif "/" in name or name in (".", ".."):
            faults.append(f"line {number}: '{name}' is not the name of a sample")
        else:
            names[name] = number
    return list(names), faults
