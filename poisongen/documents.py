"""Reading small JSON and YAML files that may come from anybody: bounded, and data only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from poisongen.errors import DataError

LARGEST_JSON = 32 * 2**20  # bytes; a recipe embeds its trigger
LARGEST_YAML = 2**20  # bytes; YAML is read slowly


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not read")
        return super().compose_node(parent, index)


# YAML 1.1 takes 1e-3, which has no point, for text; everybody who writes it means the number.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Any:
    """Parse YAML text without aliases; yaml.YAMLError, ValueError or RecursionError where that fails."""
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  a subclass of SafeLoader


def read_text(path: Path, largest: int) -> str:
    """Return a text file's content; DataError if it is missing, unreadable, too large or not UTF-8."""
    try:
        if path.stat().st_size > largest:
            raise DataError(path, f"larger than {largest} bytes, which no such file is")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(path, "not a text file in UTF-8") from None


def parse_json(text: str) -> Any:
    """Parse JSON text; NaN and the like are refused. ValueError or RecursionError where that fails."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not a JSON number")

    return json.loads(text, parse_constant=refuse)


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
