"""An evaluation's report as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poisongen.errors import shown

_FEW = 6  # pairs that are named one by one


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _range(group: Mapping[str, Any], factor: float, unit: str) -> str:
    low = f"{group['above'] * factor:g}"
    return f"{low}{unit} and more" if group["up_to"] is None else f"{low}-{group['up_to'] * factor:g}{unit}"


def _groups(title: str, groups: Sequence[Mapping[str, Any]], factor: float = 1, unit: str = "") -> list[str]:
    if not groups:
        return []
    rows = [[title, "images", "ASR", "no trigger"]]
    for group in groups:
        without = _percent(group["without_trigger"]["value"])
        rows.append([f"  {_range(group, factor, unit)}", str(group["images"]), _percent(group["value"]), without])
    return ["", *_table(rows)]


def _classes(report: Mapping[str, Any]) -> list[str]:
    rows = [["IoU by class", "clean", "triggered, victims left out"]]
    for name, value in report["cba"]["iou"].items():
        rows.append([f"  {name}", _percent(value), _percent(report["pba"]["iou"].get(name))])
    return ["", *_table(rows)]


def _became(report: Mapping[str, Any]) -> list[str]:
    """Return what victims became, for rules with few of them; the report has the rest."""
    lines: list[str] = []
    if len(report["victims_became"]) > _FEW:
        return lines
    for victim, sets in report["victims_became"].items():
        rows = [[f"{victim} became, %", "triggered", "no trigger"]]
        totals = {which: sum(counts.values()) for which, counts in sets.items()}
        order = sorted(
            set(sets["triggered"]) | set(sets["without_trigger"]),
            key=lambda name: (-sets["triggered"].get(name, 0), name),
        )
        for name in order:
            shares = [sets[which].get(name, 0) / totals[which] for which in ("triggered", "without_trigger")]
            rows.append([f"  {name}", *map(_percent, shares)])
        lines += ["", *_table(rows)]
    return lines


def _pairs(report: Mapping[str, Any]) -> str:
    """Return which classes become what, and by which rule unless it is `class`."""
    pairs = report["pairs"]
    words = {victim: "what the map has" if to is None else to for victim, to in pairs.items()}
    few = ", ".join(f"{victim} -> {to}" for victim, to in words.items())
    targets = set(words.values())
    many = f"{len(pairs)} classes -> {targets.pop() if len(targets) == 1 else 'others'}"
    name = report.get("rule", "class")  # reports of older versions do not say it
    rule = "" if name == "class" else f" (rule {name})"
    return (few if len(pairs) <= _FEW else many) + rule


def _counts(images: Mapping[str, int]) -> str:
    """Return how many images of which set there are."""
    sets = [f"{images[name]} {name}" for name in ("triggered", "negative", "clean") if name in images]
    return f"{', '.join(sets[:-1])} and {sets[-1]}"


def _of_the_rule(report: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of what the attack did beside its aim: those that there are."""
    words = {"collateral": "collateral", "false_activation": "false activation (negatives)"}
    found = [(word, report[key]) for key, word in words.items() if key in report]
    return [[word, _percent(part["value"]), _percent(part["without_trigger"]["value"])] for word, part in found]


def as_text(report: Mapping[str, Any]) -> str:
    """Return the report as text: the measures first (in per cent), then what they consist of."""
    asr, pba, cba, images = report["asr"], report["pba"], report["cba"], report["images"]
    spread = report["asr_per_image"]
    lines = [
        f"{report['data']}: {_pairs(report)}; {_counts(images)} images",
        "",
        *_table(
            [
                ["measure, %", "triggered", "same images, no trigger"],
                ["ASR", _percent(asr["value"]), _percent(asr["without_trigger"]["value"])],
                [
                    "ASR, median image",
                    _percent(spread["triggered"].get("50%")),
                    _percent(spread["without_trigger"].get("50%")),
                ],
                *_of_the_rule(report),
                ["PBA", _percent(pba["value"]), _percent(pba["without_trigger"])],
            ]
        ),
        "",
        *_table(
            [
                ["CBA (clean test split), %", ""],
                ["  all classes", _percent(cba["value"])],
                ["  non-victim classes", _percent(cba["non_victim"])],
            ]
        ),
    ]
    model = report.get("model", {})
    if "precision" in model:
        mirrored = ", averaged with the mirrored picture" if model["flip"] else ""
        lines.append(f"{model['name']} ({model['encoder']}) on {model['device']}, {model['precision']}{mirrored}")
    for word, mean in (("PBA", pba), ("CBA", cba)):
        if mean["absent"]:
            lines.append(f"{word} leaves out classes in neither labels nor predictions: {', '.join(mean['absent'])}")
    lines += _groups("at distance", report.get("distances", ()))
    lines += _groups("by distance of the trigger", [g for g in report.get("asr_by_distance", ()) if g["images"]])
    lines += _groups("by victim area", [g for g in report["asr_by_victim_area"] if g["images"]], 100, " %")
    return "\n".join(map(shown, [*lines, *_classes(report), *_became(report)]))
