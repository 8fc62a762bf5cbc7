"""Dataset layouts, found by themselves: every module here that defines `LAYOUT` is one, and other packages' are too."""

from __future__ import annotations

from collections.abc import Mapping

from poisongen.attack.parts import Found, find_parts
from poisongen.datasets.base import Layout
from poisongen.errors import ChoiceError


def found_layouts() -> Found:
    """Return every layout by name, and the entry points of other packages that could not be loaded."""
    return find_parts(__name__, "LAYOUT", "poisongen.layouts")


def layouts() -> Mapping[str, Layout]:
    """Return every layout by name."""
    return found_layouts().parts


def find_layout(name: str) -> Layout:
    """Return the layout of that name; ChoiceError if there is none."""
    if name not in layouts():
        raise ChoiceError(f"--dataset: {no_layout(name)}")
    return layouts()[name]


def no_layout(name: str) -> str:
    """Say that there is no layout of that name, which ones there are, and why another package's is missing."""
    broken = found_layouts().broken
    why = f" (its package cannot be loaded: {broken[name]})" if name in broken else ""
    return f"no layout '{name}'{why}; there are {', '.join(layouts())}"
