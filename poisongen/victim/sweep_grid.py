"""The axes of a sweep's grid: points with names of their own, each of them there once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.errors import ChoiceError


@dataclass(frozen=True)
class Point:
    """One place on an axis: its name in the table, and the choices that it stands for."""

    name: str
    choices: Mapping[str, Any]


def axis_points(key: str, values: Any, path: Path) -> list[Point]:
    """Return an axis's points. A value may be a mapping of choices, with a `name`; else its name tells its content.

    ChoiceError for what is no list, for values that are there twice, and for names that two of them bear.
    """
    if not isinstance(values, list) or not values:
        raise ChoiceError(f"{path}: grid: '{key}' must be a list of values")
    points: list[Point] = []
    for value in values:
        point = _point(key, value, path)
        for other in points:
            if _content(other) == _content(point):
                raise ChoiceError(f"{path}: grid: '{key}' has {point.name} twice")
            if other.name == point.name:
                raise ChoiceError(f"{path}: grid: two values of '{key}' are called '{point.name}'; rename one of them")
        points.append(point)
    return points


def _point(key: str, value: Any, path: Path) -> Point:
    """Return one value of an axis as a point."""
    if not isinstance(value, dict):
        choices, name = {key: value}, None
    else:
        if not all(isinstance(word, str) for word in value):
            raise ChoiceError(f"{path}: grid: '{key}': a mapping's keys must be names, not {next(iter(value))!r}")
        choices = {word: part for word, part in value.items() if word != "name"}
        name = value.get("name")
    if not choices:
        raise ChoiceError(f"{path}: grid: '{key}': the value {value!r} chooses nothing")
    choices = {word: _plain(word, part) for word, part in choices.items()}
    seed = choices.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ChoiceError(f"{path}: grid: a seed must be a whole number such as 0 or 1, not {seed!r}")
    if name is None:
        name = shown(choices[key]) if set(choices) == {key} else shown(choices)
    if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
        raise ChoiceError(f"{path}: grid: '{key}': a name must be text (in quotes, if need be), not {name!r}")
    return Point(" ".join(str(name).split()), choices)


def _plain(key: str, value: Any) -> Any:
    """Return `off` for what YAML 1.1 makes of it where `amp` is meant."""
    return "off" if key == "amp" and value is False else value


def _content(point: Point) -> str:
    """Return a point's choices as text, so that 1 and true, which Python takes for equal, are two."""
    return json.dumps(point.choices, sort_keys=True, default=str)


def shown(value: Any) -> str:
    """Return a value as the table shows it: `none` for nothing, `key=value` for mappings, lists with plus signs."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={shown(part)}" for key, part in value.items())
    if isinstance(value, list):
        return "+".join(shown(part) for part in value)
    return str(value)
