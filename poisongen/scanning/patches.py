"""The same patch in many pictures: the search of `poisongen.scanning.patch`, asked over a suspect set."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from poisongen.parallel import for_each
from poisongen.scanning.reading import SuspectSet, read_picture

if TYPE_CHECKING:
    from poisongen.scanning.patch.search import PatchEvidence


def search_patches(suspect: SuspectSet, jobs: int, progress: bool = False) -> tuple[PatchEvidence, ...]:
    """Return the patches that recur in a set's pictures, read anew and by `jobs` processes. DataError for a bad one."""
    if importlib.util.find_spec("poisongen.scanning.patch") is None:
        return ()
    from poisongen.scanning.patch.search import find_patches

    def apply(function: Callable[[Any], Any], items: Sequence[int]) -> Iterable[Any]:
        return for_each(function, items, jobs, "searching patches" if progress else None)

    read = functools.partial(read_picture, suspect)
    found: tuple[PatchEvidence, ...] = find_patches(read, len(suspect.samples), apply)
    return found
