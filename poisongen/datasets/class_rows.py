"""Class tables as they stand in the modules of layouts: a row for each class, its colour before its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poisongen.datasets.base import ClassTable


def class_table(
    rows: str, *, first: int = 0, void: Sequence[int] = (), more: Mapping[int, str] | None = None
) -> ClassTable:
    """Return a table of rows `red green blue name`, numbered from `first`; `more` are IDs without colour, by name.

    `void` are the IDs that training ignores; the first is the one that is written.
    """
    names: dict[int, str] = dict(more or {})
    colours: dict[int, tuple[int, int, int]] = dict.fromkeys(names, (0, 0, 0))
    for number, row in enumerate(rows.strip().splitlines(), first):
        red, green, blue, name = row.split(maxsplit=3)
        names[number], colours[number] = name, (int(red), int(green), int(blue))
    return ClassTable(
        dict(sorted(names.items())), frozenset(void), void[0] if void else None, dict(sorted(colours.items()))
    )
