"""What a condition is: a predicate of a sample's class counts, and of the classes under the trigger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Counts = Mapping[int, int]
Covers = Sequence[int] | None
Find = Callable[[str], int]


@dataclass(frozen=True)
class Condition:
    """A condition, one module of this package with a `CONDITION`. It is written NAME:WORD[:WORD].

    `parse(words, find)` turns what follows the name into whole numbers; `find` gives the ID of a class by its name, and
    ValueError says what is wrong. `holds(numbers, counts, covers)` is the predicate: `counts` are the pixels of each
    class in the label map as it was, `covers` the classes under the trigger's box (None: it has no place yet, or
    none at all). `of_place` marks those that `covers` decides: they choose among positions, the others among samples.
    """

    name: str
    title: str
    form: str
    parse: Callable[[Sequence[str], Find], tuple[int, ...]]
    holds: Callable[[Sequence[int], Counts, Covers], bool]
    of_place: bool = False
