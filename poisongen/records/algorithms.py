"""The versions of the algorithm and of the records: what each one lays down, so that old builds are judged by theirs.

Build follows the newest version with code of its own. The audit takes a build's version from its summary and looks up
here what that version lays down; a version that stands in the table never changes again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.core.draws import Generator, draw_order, keyed_generator
from poisongen.errors import OutputError

ALGORITHM = 1
"""Grows whenever the same recipe and source give another dataset than before."""

RECORDS = 3
"""Grows whenever the records say something that an older audit would take for a fault.

2: triggered samples have a file of expected labels, and every trigger says its `psnr` and `changed`.
3: derived files are rewritten or left out, OUT may put folders above the source's paths, and polygons that cannot tell
the labels of poisoned samples alone hold one object of an unknown class.
"""


@dataclass(frozen=True)
class Algorithm:
    """What one version lays down.

    `order(count, seed)` is the order in which a split's samples, sorted by name, are taken; `place(seed, role, sample)`
    gives the generator that draws a trigger's position, `stamp` the one that draws what the trigger itself leaves to
    chance; `reasons` are those for which a candidate is passed over.
    """

    order: Callable[[int, int], npt.NDArray[np.intp]]
    place: Callable[[int, str, str], Generator]
    stamp: Callable[[int, str, str], Generator]
    reasons: frozenset[str]


TOO_LARGE, NO_POSITION, UNSEEN = (
    "trigger larger than the image",
    "no eligible position",
    "the trigger would change no pixel",
)


def _order(count: int, seed: int) -> npt.NDArray[np.intp]:
    return draw_order(count, keyed_generator(seed, "candidates"))


def _place(seed: int, role: str, sample: str) -> Generator:
    return keyed_generator(seed, "place", role, sample)


def _stamp(seed: int, role: str, sample: str) -> Generator:
    return keyed_generator(seed, "stamp", role, sample)


KNOWN_ALGORITHMS: dict[int, Algorithm] = {
    1: Algorithm(_order, _place, _stamp, frozenset((TOO_LARGE, NO_POSITION, UNSEEN)))
}
"""Every version that an audit can judge, the newest included."""


def refuse_newer(summary: Mapping[str, Any], out: Path) -> None:
    """OutputError if a build's summary says that a newer poisongen wrote it, whatever else stands there."""
    for key, newest in (("algorithm", max(KNOWN_ALGORITHMS)), ("records", RECORDS)):
        number = summary.get(key)
        if type(number) is int and number > newest:
            raise OutputError(f"{out}: built by a newer poisongen ({key} {number}); update to read it")
