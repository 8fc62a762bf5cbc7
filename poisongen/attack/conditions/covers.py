"""`covers:CLASS`: the class lies under the trigger's box."""

from __future__ import annotations

from collections.abc import Sequence

from poisongen.attack.conditions.base import Condition, Counts, Covers, Find


def _parse(words: Sequence[str], find: Find) -> tuple[int, ...]:
    if len(words) != 1:
        raise ValueError("write covers:CLASS")
    return (find(words[0]),)


def _holds(numbers: Sequence[int], counts: Counts, covers: Covers) -> bool:
    return covers is not None and numbers[0] in covers


CONDITION = Condition("covers", "the class lies under the trigger", "covers:CLASS", _parse, _holds, of_place=True)
