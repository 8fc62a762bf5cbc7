"""What a model does on the build, for the page: the measures of `evaluate` as a short table, and all of it as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poisongen.victim.evaluation_text import as_text


@dataclass(frozen=True)
class Measured:
    """The measures as rows (name, with trigger, without), in per cent, and the whole evaluation as text."""

    rows: Sequence[tuple[str, str, str]]
    text: str


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def measured_in_words(report: Mapping[str, Any]) -> Measured:
    """Return an evaluation's report as the page shows it."""
    rows = [("ASR: victim pixels read as their target", report["asr"])]
    if "collateral" in report:
        rows.append(("collateral: other victim pixels read so", report["collateral"]))
    if "false_activation" in report:
        rows.append(("false activation, on negatives", report["false_activation"]))
    shares = [(name, _percent(part["value"]), _percent(part["without_trigger"]["value"])) for name, part in rows]
    pba, cba = report["pba"], report["cba"]
    return Measured(
        [
            *shares,
            ("PBA: mean IoU of the other classes", _percent(pba["value"]), _percent(pba["without_trigger"])),
            ("CBA: mean IoU of all classes, clean test split", "", _percent(cba["value"])),
        ],
        as_text(report),
    )
