"""What stands in an output folder: nothing, somebody's files, an unfinished build, or a finished one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.errors import OutputError
from poisongen.files.documents import LARGEST_JSON, parse_json
from poisongen.files.inside import Refused, read_inside
from poisongen.records.algorithms import refuse_newer
from poisongen.records.manifest import FOLDER, SUMMARY

STAGING, STATE = ".poisongen-build", "state.json"
_COUNTS = ("train_samples", "test_samples", "poisoned", "prl", "triggered", "completed", "skipped")


@dataclass(frozen=True)
class Standing:
    """What stands in OUT: nothing, somebody's files, an unfinished build, or a finished one (with its summary)."""

    kind: str  # "empty", "foreign", "unfinished", "finished"
    recipe_sha256: str = ""
    example: str = ""
    summary: Mapping[str, Any] | None = None


def look_at(out: Path) -> Standing:
    """Say what stands in OUT. OutputError if it is no folder, cannot be read, or is of a newer version."""
    if not out.exists() and not out.is_symlink():
        return Standing("empty")
    if not out.is_dir():
        raise OutputError(f"--out: {out} is not a folder")
    try:
        names = sorted(entry.name for entry in out.iterdir())
    except OSError as error:
        raise OutputError(f"--out: {out} cannot be read ({error.strerror})") from None
    if STAGING in names:
        state = read_mapping(out, f"{STAGING}/{STATE}")
        return Standing("unfinished", recipe_sha256=str(state.get("recipe_sha256", "")))
    if not names:
        return Standing("empty")
    summary = read_mapping(out, f"{FOLDER}/{SUMMARY}")
    refuse_newer(summary, out)
    if is_summary(summary):
        return Standing("finished", recipe_sha256=summary["recipe_sha256"], summary=summary)
    return Standing("foreign", example=f"{FOLDER}/{SUMMARY}" if summary else names[0])


def read_summary(out: Path) -> dict[str, Any]:
    """Return summary.json of a finished build; OutputError if there is none, or it is not valid."""
    summary = read_mapping(out, f"{FOLDER}/{SUMMARY}")
    if not is_summary(summary):
        raise OutputError(f"{out}: not a finished build of poisongen (no valid {FOLDER}/{SUMMARY})")
    return summary


def is_summary(summary: Mapping[str, Any]) -> bool:
    """Tell whether a summary has what commands rely on, as build writes it: two digests and every count.

    Pairs and label-like files are printed where it has them; builds of older versions have none.
    """
    digests, counts = (summary.get(name) for name in ("fingerprint", "recipe_sha256")), summary.get("counts")
    return (
        all(isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
        and isinstance(counts, dict)
        and all(type(counts.get(name)) is int and counts[name] >= 0 for name in _COUNTS)
        and type(counts.get("label_like", 0)) is int
        and _is_list(summary.get("label_like", []), lambda name: isinstance(name, str))
        and _is_list(summary.get("pairs", []), _is_pair)
    )


def _is_list(value: object, good: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(good(item) for item in value)


def _is_pair(pair: object) -> bool:
    """Tell whether this is a victim with its target, if it has one, each with ID, name, pixels and samples."""
    if not isinstance(pair, dict) or not {"victim", "target"} <= pair.keys():
        return False
    sides = [pair["victim"], *([] if pair["target"] is None else [pair["target"]])]
    return all(
        isinstance(side, dict)
        and isinstance(side.get("name"), str)
        and all(type(side.get(key)) is int for key in ("id", "pixels", "samples"))
        for side in sides
    )


def read_mapping(out: Path, path: str) -> dict[str, Any]:
    """Return a JSON object from a file of OUT, or {} where there is none."""
    try:
        document = parse_json(read_inside(out, path, LARGEST_JSON).decode())
    except (Refused, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
