"""Reading small JSON and YAML files that may come from anybody: bounded, data only, and of one meaning only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

from poisongen.errors import DataError
from poisongen.files.stores import StorePath

LARGEST_JSON = 32 * 2**20  # bytes; a recipe embeds its trigger
LARGEST_YAML = 2**20  # bytes; YAML is read slowly
MOST_DIGITS = 100  # of a whole number; Python refuses to print one of more than 4,300

Model = TypeVar("Model", bound=BaseModel)


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors, for a few lines of them can stand for gigabytes, and with each key once."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.MappingNode):
            seen: set[tuple[str, str]] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if (key.tag, key.value) in seen:
                    raise yaml.YAMLError(f"the key '{key.value[:50]}' stands twice in one mapping")
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        return _bounded(int(super().construct_yaml_int(node)))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def _bounded(number: int) -> int:
    if abs(number) >= 10**MOST_DIGITS:
        raise ValueError(f"a whole number of more than {MOST_DIGITS} digits")
    return number


# YAML 1.1 takes 1e-3, which has no point, for text; everybody who writes it means the number.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Any:
    """Parse YAML text without aliases or double keys; yaml.YAMLError, ValueError or RecursionError if that fails."""
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  a subclass of SafeLoader


def _as_text(path: object, data: bytes, largest: int) -> str:
    if len(data) > largest:
        raise DataError(path, f"larger than {largest} bytes, which no such file is")
    return data.decode("utf-8-sig")


def read_text(path: Path, largest: int) -> str:
    """Return a text file's content; DataError if it is missing, unreadable, too large or not UTF-8."""
    try:
        if isinstance(path, StorePath):
            return _as_text(path, path.read_bytes(), largest)
        # Not to wait for a writer where a named pipe lies; what a pipe with a writer holds is read.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            os.set_blocking(handle, True)
            data = file.read(largest + 1)
        return _as_text(path, data, largest)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(path, "not a text file in UTF-8") from None


def parse_json(text: str) -> Any:
    """Parse JSON text; ValueError or RecursionError where that fails.

    NaN and the like are refused, and so is a key that stands twice in one object, which every reader takes as it
    likes, and a whole number that is longer than any that means something.
    """

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not a JSON number")

    return json.loads(text, parse_constant=refuse, parse_int=_whole_number, object_pairs_hook=_each_key_once)


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of more than {MOST_DIGITS} digits")
    return int(digits)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key[:50]}' stands twice in one object")
        found[key] = value
    return found


def parse_record(model: type[Model], line: bytes | str) -> Model:
    """Parse one JSON object by a model, strictly; ValueError (pydantic's is one) where that fails.

    pydantic alone takes the last of two equal keys, and whole numbers of any length.
    """
    try:
        parse_json(line if isinstance(line, str) else line.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return model.model_validate_json(line)


def read_document(path: Path) -> Any:
    """Read a .json file as JSON and any other as YAML (of which JSON is a part); DataError if that fails."""
    is_json = path.suffix.lower() == ".json"
    text = read_text(path, LARGEST_JSON if is_json else LARGEST_YAML)
    try:
        return parse_json(text) if is_json else parse_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        what = "JSON" if is_json else "YAML"
        raise DataError(path, f"not valid {what} ({' '.join(str(error).split())[:200]})") from None


def explain(fault: Mapping[str, Any], who: str, keys: Iterable[str]) -> str:
    """Put one of pydantic's findings into a sentence; `who` knows only `keys`."""
    if fault["type"] == "extra_forbidden":
        return f"unknown key; {who} knows {', '.join(keys)}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return message
    given = fault["input"]
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return message[0].lower() + message[1:] + shown[:80]
