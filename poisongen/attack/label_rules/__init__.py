"""Label rules, found by themselves: every module here that defines `RULE` is one."""

from __future__ import annotations

from poisongen.attack.label_rules.base import LabelRule
from poisongen.attack.parts import Found, find_parts, pick


def label_rules() -> Found:
    """Return every label rule by name."""
    return find_parts(__name__, "RULE", "poisongen.label_rules")


def find_label_rule(name: str) -> LabelRule:
    """Return the label rule of that name; ChoiceError if there is none."""
    rule: LabelRule = pick(label_rules(), name, "--labels")
    return rule
