"""Conditions on samples, found by themselves: every module here that defines `CONDITION` is one."""

from __future__ import annotations

from poisongen.attack.conditions.base import Condition
from poisongen.attack.parts import Found, find_parts, pick


def conditions() -> Found:
    """Return every condition by name."""
    return find_parts(__name__, "CONDITION", "poisongen.conditions")


def find_condition(name: str) -> Condition:
    """Return the condition of that name; ChoiceError if there is none."""
    condition: Condition = pick(conditions(), name, "--only-if")
    return condition
