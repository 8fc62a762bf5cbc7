"""Values as people write them in Python and on the command line, as plain data for the checks at the door."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
from pydantic import BaseModel

_SHARE = re.compile(r"\s*(\d+\.?\d*(?:[eE][-+]?\d{1,3})?|\.\d+(?:[eE][-+]?\d{1,3})?)\s*(%?)\s*")


def plain(value: Any) -> Any:
    """Return a value as plain data: NumPy's numbers, texts and arrays, tuples and paths become Python's own.

    Truth values stay what they are, so that whoever asks for a number can refuse them. What is no data is left alone.
    """
    if value is None or isinstance(value, bool | BaseModel):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def share(value: Any) -> Any:
    """Return a share as a number: `10%` is 0.1, `0.1` as a text is too. ValueError for a text that is neither."""
    if not isinstance(value, str):
        return value
    match = _SHARE.fullmatch(value)
    if match is None:
        raise ValueError(f"'{value}' is neither a share such as 0.1 nor a percentage such as 10%")
    return float(Decimal(match[1]) / 100 if match[2] else Decimal(match[1]))


def pairs(value: Any) -> Any:
    """Return victim-target pairs as a mapping: from one pair, or from a list of pairs. ValueError for other lists.

    A victim that is named twice is refused rather than forgotten.
    """
    if not isinstance(value, list):
        return value
    listed = [value] if len(value) == 2 and not any(isinstance(part, list) for part in value) else value
    if not all(isinstance(pair, list) and len(pair) == 2 and _are_classes(pair) for pair in listed):
        raise ValueError("the pairs must have the form (victim, target), such as ('car', 'road')")
    found = {pair[0]: pair[1] for pair in listed}
    if len(found) < len(listed):
        raise ValueError("a victim is named twice")
    return found


def _are_classes(pair: list[Any]) -> bool:
    return all(isinstance(part, str | int) and not isinstance(part, bool) for part in pair)
