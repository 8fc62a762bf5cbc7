"""Kinds of triggers, found by themselves: every module here that defines `KIND` is one."""

from __future__ import annotations

from poisongen.attack.parts import Found, find_parts, pick
from poisongen.attack.triggers.base import TriggerKind


def trigger_kinds() -> Found:
    """Return every kind of trigger by name."""
    return find_parts(__name__, "KIND", "poisongen.triggers")


def find_trigger_kind(name: str) -> TriggerKind:
    """Return the kind of trigger of that name; ChoiceError if there is none."""
    kind: TriggerKind = pick(trigger_kinds(), name, "--trigger-kind")
    return kind
