"""Scoring: what yields the counts of test pictures, and the bar that shows how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from poisongen.victim.items import Item
from poisongen.victim.zones import Counted

Scorer = Callable[[Sequence[Item], str], Iterator[Counted]]
"""Yields each item's counts, in order; the word says which set it is: `clean`, `triggered`, `negative`."""


def bar(values: Iterator[Any], total: int, word: str, progress: bool) -> Iterator[Any]:
    """Wrap a progress bar around what is yielded."""
    yield from tqdm(
        values, total=total, desc=f"scoring ({word})", file=sys.stderr, leave=False, disable=None if progress else True
    )
