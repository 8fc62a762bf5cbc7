"""`absent:CLASS`: no pixel of the label map has the class."""

from __future__ import annotations

from collections.abc import Sequence

from poisongen.attack.conditions.base import Condition, Counts, Covers, Find


def _parse(words: Sequence[str], find: Find) -> tuple[int, ...]:
    if len(words) != 1:
        raise ValueError("write absent:CLASS")
    return (find(words[0]),)


def _holds(numbers: Sequence[int], counts: Counts, covers: Covers) -> bool:
    return not counts.get(numbers[0], 0)


CONDITION = Condition("absent", "the class is not in the picture", "absent:CLASS", _parse, _holds)
