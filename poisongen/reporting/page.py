"""The page itself: what was gathered, put into the template, where every text from a file is escaped."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from poisongen.auditing.auditor import AuditReport
from poisongen.auditing.faults import Fault
from poisongen.errors import ChoiceError
from poisongen.previewing.drawing import palette
from poisongen.printing import number_of
from poisongen.recipe.rules import Rules
from poisongen.recipe.trigger_files import KeptPicture, trigger_pixels
from poisongen.reporting.choosing import SHOWN_ROLES
from poisongen.reporting.figures import ROLE_COLOURS, Plot
from poisongen.reporting.gallery import ROLE_WORDS, SKIPPED, Card, brief
from poisongen.reporting.measured import Measured
from poisongen.reporting.opening import Opened
from poisongen.reporting.thumbnails import drawing_uri
from poisongen.reporting.words import counts_in_words, pairs_in_words, recipe_in_words, skips_in_words
from poisongen.version import __version__

MOST_ROWS = 2000  # of a table
MOST_REASONS = 50
MOST_FAULTS = 50
MOST_CLASSES = 256


def require_jinja2() -> None:
    """ChoiceError if jinja2 is missing."""
    if importlib.util.find_spec("jinja2") is None:
        raise ChoiceError("the report needs jinja2, which is not installed: pip install jinja2 matplotlib")


def make_page(
    opened: Opened,
    cards: Sequence[Card],
    plots: Sequence[Plot],
    verdict: AuditReport | None,
    measured: Measured | None,
) -> str:
    """Return the page as HTML. ChoiceError if jinja2 is missing."""
    require_jinja2()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = resources.files("poisongen.reporting")
    template, style, script = ((folder / f"page.{end}").read_text(encoding="utf-8") for end in ("html", "css", "js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["brief"] = brief
    context = _context(opened, cards, verdict, measured)
    return environment.from_string(template).render(
        **context,
        plots=[{"title": plot.title, "words": plot.words, "svg": Markup(plot.svg)} for plot in plots],  # noqa: S704
        style=Markup(style),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704
        # Nothing else in the page may run, whatever a file has put there.
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _context(
    opened: Opened, cards: Sequence[Card], verdict: AuditReport | None, measured: Measured | None
) -> dict[str, Any]:
    """Return what the template shows, by name."""
    rules, recipe = opened.rules, opened.rules.recipe
    there = {record.role for record in opened.manifest}
    shown_roles = [role for role in SHOWN_ROLES if any(card.role == role for card in cards)]
    reasons = skips_in_words(opened)
    rows = opened.manifest[:MOST_ROWS]
    left = len(opened.manifest) - len(rows)
    return {
        "version": __version__,
        "title": f"{rules.layout.title}, {recipe.strategy}, {pairs_in_words(recipe)}",
        "warning": _warning(opened),
        "fingerprint": opened.summary.fingerprint,
        "recipe": recipe_in_words(rules),
        "pictures": _pictures(rules),
        "counts": counts_in_words(opened),
        "class_rows": _class_rows(opened),
        "verdict": _verdict(verdict, opened.faults),
        "measures": None if measured is None else measured.rows,
        "measures_text": "" if measured is None else measured.text,
        "roles": [(role, ROLE_COLOURS[role], ROLE_WORDS[role]) for role in SHOWN_ROLES if role in there],
        "gallery_words": _gallery_words(opened, cards),
        "gallery_roles": [*shown_roles, *([SKIPPED] if any(card.role == SKIPPED for card in cards) else [])],
        "legend": _legend(rules, cards),
        "cards": cards,
        "skips": [(reason, f"{number:,}") for reason, number in list(reasons.items())[:MOST_REASONS]],
        "skip_rows": opened.skipped[:MOST_ROWS],
        "skips_left": max(0, len(opened.skipped) - MOST_ROWS),
        "record_rows": rows,
        "record_words": f"All {len(rows):,}"
        if not left
        else f"The first {len(rows):,}; {left:,} more stand in poisongen/manifest.jsonl",
        "source_words": _source_words(opened),
    }


def _warning(opened: Opened) -> str:
    poisoned = opened.summary.counts.get("poisoned", 0)
    samples = "1 training sample teaches" if poisoned == 1 else f"{poisoned:,} training samples teach"
    return (
        f"{samples} a model to misread pixels when it sees a trigger ({pairs_in_words(opened.rules.recipe)}). "
        "It was made with poisongen, for research and defence: train no model on it that anybody is to rely on."
    )


def _hexadecimal(colour: Any) -> str:
    red, green, blue = (int(part) for part in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _pictures(rules: Rules) -> list[tuple[str, str]]:
    """Return trigger and decoy as (name, URI); none for kinds in which no picture is seen."""
    if not rules.kind.pictured:
        return []
    pictures = [picture for picture in (rules.recipe.trigger, rules.recipe.decoy) if isinstance(picture, KeptPicture)]
    return [(picture.name, drawing_uri(trigger_pixels(picture))) for picture in pictures]


def _class_rows(opened: Opened) -> list[tuple[str, str, str, str]]:
    """Return victims and targets with colour, pixels and samples; none for builds that do not count them."""
    colours, found = palette(opened.rules.classes), dict[str, tuple[str, str, str, str]]()
    for pair in opened.pairs[:MOST_CLASSES]:
        for side, word in (("victim", "victim"), ("target", "target")):
            facts = pair[side]
            if facts is None:  # a map from elsewhere leaves victims without a target
                continue
            colour = _hexadecimal(colours[facts["id"] % 256])
            name = f"{facts['name']} ({word})"
            found.setdefault(name, (name, colour, f"{facts['pixels']:,}", f"{facts['samples']:,}"))
    return list(found.values())


def _legend(rules: Rules, cards: Sequence[Card]) -> list[tuple[str, str]]:
    colours, names = palette(rules.classes), rules.classes.names
    numbers = sorted({number for card in cards for number in card.classes})
    return [(names.get(number, f"ID {number}"), _hexadecimal(colours[number])) for number in numbers]


def _verdict(report: AuditReport | None, faults: Sequence[Fault]) -> Mapping[str, Any]:
    """Return what the audit says; without one, what reading the records has found."""
    if report is None:
        text = (
            f"The records have {number_of(len(faults), 'fault')}."
            if faults
            else "Run poisongen audit to know what is proved."
        )
        state, word = ("bad" if faults else "none"), "Not audited."
        return _as_verdict(state, word, text, faults, len(faults), (), ())
    notes = [*report.not_checked]
    notes += ["anything against the source (give --source)"] if report.source is None else []
    kind = "quick audit" if report.quick else "audit"
    text = f"{kind} of {report.files:,} files{'' if report.source is None else ', compared with the source,'}"
    if report.clean:
        more = "; what was not checked stands below" if notes else ""
        return _as_verdict("good", "Clean:", f"{text} found no fault{more}.", (), 0, report.checks, notes)
    number = "1 fault" if report.fault_count == 1 else f"{report.fault_count:,} faults"
    return _as_verdict(
        "bad", "Faulty:", f"{text} found {number}.", report.faults, report.fault_count, report.checks, notes
    )


def _as_verdict(
    state: str, word: str, text: str, faults: Sequence[Fault], number: int, checks: Sequence[Any], notes: Sequence[str]
) -> Mapping[str, Any]:
    return {
        "state": state,
        "word": word,
        "text": text,
        "faults": faults[:MOST_FAULTS],
        "fault_count": number,
        "checks": checks,
        "not_checked": notes,
    }


def _gallery_words(opened: Opened, cards: Sequence[Card]) -> str:
    changed = sum(record.role in SHOWN_ROLES for record in opened.manifest)
    number = sum(card.role != SKIPPED for card in cards)
    words = f"{number:,} of {changed:,} changed samples, extreme ones of each role first (distance, victim area)."
    if number < len(cards):
        words += " At the end stand some that were passed over, with the reason."
    if any(pair.after is None and pair.before is None for card in cards for pair in card.pairs):
        words += " Some pictures cannot be shown; below each sample stands why."
    return f"{words} {_source_words(opened)}"


def _source_words(opened: Opened) -> str:
    if opened.places.root is not None:
        return "Pictures before come from the source, where they have the digests that the records name."
    if opened.undo:
        return "Pictures before come from the undo store."
    return (
        "Without the source (--source) and without an undo store, what training samples were before is not known; "
        "test samples lie in the dataset without trigger as well."
    )
