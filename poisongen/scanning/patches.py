"""The same patch in many pictures: the search of `poisongen.scanning.patch`, asked over a suspect set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from poisongen.parallel import for_each
from poisongen.scanning.patch.search import PatchEvidence, find_patches
from poisongen.scanning.reading import SuspectSet, read_picture


def search_patches(suspect: SuspectSet, jobs: int, progress: bool = False) -> tuple[PatchEvidence, ...]:
    """Return the patches that recur in a set's pictures, read anew and by `jobs` processes. DataError for a bad one."""

    def apply(function: Callable[[Any], Any], items: Sequence[int]) -> Iterable[Any]:
        return for_each(function, items, jobs, "searching patches" if progress else None)

    read = functools.partial(read_picture, suspect)
    return find_patches(read, len(suspect.samples), apply)
