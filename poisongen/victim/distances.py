"""The bins of `--distances`: pairs (L, U) from text or from Python, checked before any work."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from poisongen.attack.label_rules import find_label_rule
from poisongen.attack.triggers import find_trigger_kind
from poisongen.errors import ChoiceError
from poisongen.recipe.model import Recipe

Bounds = tuple[float, float]
"""L and U of a bin, in pixels: L < d <= U. U may be infinite."""

_FORM = "must be two distances L-U with L below U, such as 0-60 or 120-inf"


def read_distances(given: str | Sequence[Any] | None) -> list[Bounds]:
    """Return the bins of text such as `0-60,60-120,120-inf`, or of a sequence of pairs or such words.

    ChoiceError for anything else: words that are no numbers, L not below U, negative distances, bins that overlap.
    """
    if given is None:
        return []
    given = given.tolist() if hasattr(given, "tolist") else given  # NumPy's arrays
    if isinstance(given, str):
        parts: list[Any] = given.split(",") if given.strip() else []
    elif isinstance(given, list | tuple):
        parts = list(given)
    else:
        raise ChoiceError(f"--distances: {given!r} is neither text such as 0-60,60-120 nor a list of pairs")
    if parts and not isinstance(given, str) and all(_is_number(part) for part in parts):
        raise ChoiceError(f"--distances: {given!r} must be a list of pairs, such as [(0, 60), (60, 120)]")
    bounds = [_pair(part) for part in parts]
    for one, other in itertools.pairwise(sorted(bounds)):
        if other[0] < one[1]:
            raise ChoiceError(f"--distances: {_shown(one)} and {_shown(other)} overlap")
    return bounds


def require_distances(recipe: Recipe) -> None:
    """ChoiceError unless a recipe's triggers can be placed anew at a distance from the victims."""
    kind, rule = find_trigger_kind(recipe.trigger_kind), find_label_rule(recipe.labels)
    if kind.quad is not None:
        why = f"a trigger of the kind '{kind.name}' stands where the road is, at whatever distance"
    elif kind.whole:
        why = f"a trigger of the kind '{kind.name}' changes the whole picture and has no place"
    elif recipe.strategy in ("fixed", "on"):
        why = f"the strategy {recipe.strategy} chooses no position"
    elif rule.subject != "victims":
        why = f"with --labels {rule.name} triggers may lie on what they change, and that is no distance"
    else:
        return
    raise ChoiceError(f"--distances: {why}; leave it out")


def _pair(part: Any) -> Bounds:
    """Return one bin."""
    if isinstance(part, str):
        low, _, high = part.partition("-")
        ends: Sequence[Any] = (low, high)
    else:
        ends = part if isinstance(part, list | tuple) else ()
    if len(ends) != 2 or not all(_is_number(end) or isinstance(end, str) for end in ends):
        raise ChoiceError(f"--distances: '{part}' {_FORM}")
    try:
        pair = (float(ends[0]), float(ends[1]))
    except ValueError:
        raise ChoiceError(f"--distances: '{part}' {_FORM}") from None
    if not 0 <= pair[0] < pair[1] or math.isinf(pair[0]):
        raise ChoiceError(f"--distances: '{part}' {_FORM}")
    return pair


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number, NumPy's included, and no truth value."""
    return hasattr(value, "__float__") and not isinstance(value, bool) and not hasattr(value, "__len__")


def _shown(bounds: Bounds) -> str:
    return f"{bounds[0]:g}-{bounds[1]:g}"
