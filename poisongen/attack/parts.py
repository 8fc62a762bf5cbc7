"""Finding the parts of attacks (and layouts): modules of a package of ours, and entry points of other packages.

A module brings one part under a fixed name (`RULE`, `KIND`, `CONDITION`, `LAYOUT`). Another package names such a
module, or the part itself, in its entry points; it cannot take the name of a part that stands here.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from poisongen.errors import ChoiceError

Value = int | float | str


@dataclass(frozen=True)
class Option:
    """One parameter of a part: its default, what it means, and how a value is checked.

    `parse` takes what the user wrote (a number or text) and returns the value, or raises ValueError with what is
    wrong. The default goes into a settled recipe as it stands. `picture` marks a label picture, which has no default
    and nothing to parse: a PNG of the dataset's class IDs. The recipe keeps its bytes, and the part is handed the IDs,
    (h, w) uint8.
    """

    default: Value | None
    help: str
    parse: Callable[[Any], Value] = str
    picture: bool = False


@dataclass(frozen=True)
class Found:
    """The parts of one kind by name, and entry points that could not be loaded, with the reason."""

    parts: Mapping[str, Any]
    broken: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def find_parts(package: str, attribute: str, group: str) -> Found:
    """Return the parts that the modules of `package` hold as `attribute`, and those of the entry points `group`."""
    home = importlib.import_module(package)
    modules = (importlib.import_module(f"{package}.{module.name}") for module in pkgutil.iter_modules(home.__path__))
    ours = [getattr(module, attribute) for module in modules if hasattr(module, attribute)]
    parts = {part.name: part for part in ours}
    expected = type(ours[0])
    broken: dict[str, str] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        try:
            loaded = entry.load()
            part = getattr(loaded, attribute, loaded)
            if not isinstance(part, expected):
                raise TypeError(f"neither a {expected.__name__} nor a module with one as {attribute}")
            name = part.name
        except (Exception, SystemExit) as error:  # somebody else's code: whatever it does, ours goes on
            broken[entry.name] = f"{type(error).__name__}: {error}"
            continue
        if name in parts:
            broken[entry.name] = f"the name '{name}' is taken"
        else:
            parts[name] = part
    return Found({name: parts[name] for name in sorted(parts)}, broken)


def pick(found: Found, name: str, option: str) -> Any:
    """Return the part of that name. ChoiceError names those that there are, and why another package's is missing."""
    if name in found.parts:
        return found.parts[name]
    why = f" (its package cannot be loaded: {found.broken[name]})" if name in found.broken else ""
    raise ChoiceError(f"{option}: there is no '{name}'{why}; there are {', '.join(found.parts)}")


def settle_options(options: Mapping[str, Option], given: Mapping[str, Any], who: str, flag: str) -> dict[str, Value]:
    """Return the value of every option of a part, defaults filled in. ChoiceError for an unknown key or bad value."""
    if unknown := sorted(set(given) - set(options)):
        known = f"it takes {', '.join(options)}" if options else "it takes none"
        raise ChoiceError(f"{flag}: '{who}' has no option '{unknown[0]}'; {known}")
    settled: dict[str, Value] = {}
    for name, option in options.items():
        if name not in given:
            if option.default is not None:
                settled[name] = option.default
            continue
        try:
            settled[name] = option.parse(given[name])
        except (ValueError, TypeError, OverflowError) as error:
            raise ChoiceError(f"{flag} {name}={given[name]}: {error}") from None
    return settled


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """Return a parser of whole numbers in [least, most]."""

    def parse(value: Any) -> int:
        number = int(str(value)) if not isinstance(value, bool) else least - 1
        if not least <= number <= most:
            raise ValueError(f"give a whole number from {least} to {most}")
        return number

    return parse


def real_number(least: float, most: float) -> Callable[[Any], float]:
    """Return a parser of numbers in [least, most]."""

    def parse(value: Any) -> float:
        number = float(str(value)) if not isinstance(value, bool) else least - 1
        if not least <= number <= most:  # also for NaN
            raise ValueError(f"give a number from {least:g} to {most:g}")
        return number

    return parse


def one_of(*words: str) -> Callable[[Any], str]:
    """Return a parser of a few words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"give one of {', '.join(words)}")
        return str(value)

    return parse
