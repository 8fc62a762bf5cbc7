"""Dataset layouts, found by themselves: every module here that defines `LAYOUT` is one."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from poisongen.datasets.base import Layout
from poisongen.errors import ChoiceError


@functools.cache
def layouts() -> dict[str, Layout]:
    """Return every layout by name."""
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    found = [module.LAYOUT for module in modules if hasattr(module, "LAYOUT")]
    return {layout.name: layout for layout in sorted(found, key=lambda layout: layout.name)}


def find_layout(name: str) -> Layout:
    """Return the layout of that name; ChoiceError if there is none."""
    try:
        return layouts()[name]
    except KeyError:
        raise ChoiceError(f"--dataset: no layout '{name}'; there are {', '.join(layouts())}") from None
