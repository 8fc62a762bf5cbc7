"""`present:CLASS[:PIXELS]`: the class has at least so many pixels (1) in the label map."""

from __future__ import annotations

from collections.abc import Sequence

from poisongen.attack.conditions.base import Condition, Counts, Covers, Find


def _parse(words: Sequence[str], find: Find) -> tuple[int, ...]:
    if len(words) not in (1, 2):
        raise ValueError("write present:CLASS or present:CLASS:PIXELS")
    pixels = int(words[1]) if len(words) == 2 and words[1].isdecimal() else 1 if len(words) == 1 else 0
    if pixels < 1:
        raise ValueError(f"'{words[1]}' is no number of pixels of at least 1")
    return find(words[0]), pixels


def _holds(numbers: Sequence[int], counts: Counts, covers: Covers) -> bool:
    return counts.get(numbers[0], 0) >= numbers[1]


CONDITION = Condition("present", "the class is in the picture", "present:CLASS[:PIXELS]", _parse, _holds)
