"""Scoring: what yields confusion matrices for test pictures, and the bar that shows how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from poisongen.victim.items import Item
from poisongen.victim.metrics import Confusion

Scorer = Callable[[Sequence[Item], str], Iterator[Confusion]]
"""Yields each item's confusion matrix, (K, K + 1) int64, in order; the word says which set it is: `clean`,
`triggered`."""


def bar(values: Iterator[Any], total: int, word: str, progress: bool) -> Iterator[Any]:
    """Wrap a progress bar around what is yielded."""
    yield from tqdm(
        values, total=total, desc=f"scoring ({word})", file=sys.stderr, leave=False, disable=None if progress else True
    )
