"""A sweep's results as one table: mean and standard deviation over seeds, as CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poisongen.errors import shown
from poisongen.files.store import write_whole
from poisongen.plotting import can_plot
from poisongen.victim.sweep_plan import Cell
from poisongen.victim.sweep_plot import Line, write_plot

Outcome = tuple[Cell, Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """The cells that differ only in their seeds: the choices, the seeds, and every measure's values by name.

    `distances` are where the measures of distance bins stand in the plot; `rate` is the poisoning rate, if one is
    named; `devices` are those that the cells were trained or evaluated on.
    """

    shown: Mapping[str, str]
    seeds: tuple[int, ...]
    measures: Mapping[str, tuple[float, ...]]
    distances: Mapping[str, float] = field(default_factory=dict)
    rate: float | None = None
    devices: tuple[str, ...] = ()

    def mean(self, name: str) -> float | None:
        """The mean over seeds, None if there is no value."""
        values = self.measures.get(name, ())
        return statistics.fmean(values) if values else None

    def spread(self, name: str) -> float | None:
        """The standard deviation over seeds (of a sample), None for fewer than two."""
        values = self.measures.get(name, ())
        return statistics.stdev(values) if len(values) > 1 else None


def measures(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of a cell's report by their names in the table."""
    common, own = report["common"], report.get("own")
    found: dict[str, float | None] = {
        "ASR (own)": own["asr"]["value"] if own else None,
        "ASR": common["asr"]["value"],
        "no trigger": common["asr"]["without_trigger"]["value"],
        "PBA": common["pba"]["value"],
        "CBA": common["cba"]["value"],
        "CBA non-victim": common["cba"]["non_victim"],
    }
    for key in ("collateral", "false_activation"):  # only where there is such a thing
        if key in common and common[key]["value"] is not None:
            name = key.replace("_", " ")
            found |= {name: common[key]["value"], f"{name}, no trigger": common[key]["without_trigger"]["value"]}
    for group in common.get("distances", ()):
        found[_bin_name(group)] = group["value"]
    return found


def _bin_name(group: Mapping[str, Any]) -> str:
    """Return a distance bin's name in the table; one without an upper bound ends in `inf`."""
    return f"ASR {group['above']:g}-{'inf' if group['up_to'] is None else format(group['up_to'], 'g')}"


def _bin_places(report: Mapping[str, Any]) -> dict[str, float]:
    """Return where the distance bins stand in a plot: at their middle, an open one at its triggers' mean distance."""
    places = {}
    for group in report["common"].get("distances", ()):
        middle = group.get("mean_distance") if group["up_to"] is None else (group["above"] + group["up_to"]) / 2
        if middle is not None:
            places[_bin_name(group)] = float(middle)
    return places


def _rate(cell: Cell) -> float | None:
    """Return a cell's poisoning rate, if the recipe or the table names one."""
    given = (cell.recipe or {}).get("rate", cell.shown.get("rate"))
    try:
        return None if given is None else float(given)
    except (TypeError, ValueError):
        return None


def _devices(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the devices that cells were trained and evaluated on."""
    found = [
        place["device"]
        for _, report in outcomes
        for place in (report.get("training", {}).get("trained_on"), report.get("evaluated_on"))
        if place
    ]
    return tuple(dict.fromkeys(found))


def collect(keys: Sequence[str], outcomes: Sequence[Outcome]) -> list[Row]:
    """Group outcomes that differ in their seeds only, in the order of the cells."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for cell, report in outcomes:
        groups.setdefault((*(cell.shown.get(key, "") for key in keys), cell.row), []).append((cell, report))
    rows = []
    for members in groups.values():
        measured = [measures(report) for _, report in members]
        names = list(dict.fromkeys(name for one in measured for name in one))
        values = {name: tuple(v for one in measured if (v := one.get(name)) is not None) for name in names}
        first, report = members[0]
        seeds = tuple(cell.seed for cell, _ in members)
        rows.append(Row(first.shown, seeds, values, _bin_places(report), _rate(first), _devices(members)))
    return rows


def _text(word: str) -> str:
    """Return a word as a cell of a Markdown table."""
    return shown(word).replace("|", "\\|")


def _percent(value: float | None, spread: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else "")


def markdown(keys: Sequence[str], rows: Sequence[Row], failures: Sequence[tuple[Cell, str]]) -> str:
    """Return the table in Markdown, in per cent, and the failed cells below it."""
    names = list(dict.fromkeys(name for row in rows for name in row.measures))
    names = [name for name in names if any(row.measures.get(name) for row in rows)]
    lines = [
        "| " + " | ".join([*map(_text, keys), "seeds", *names]) + " |",
        "|" + "---|" * (len(keys) + 1) + "---:|" * len(names),
    ]
    for row in rows:
        cells = [*(_text(row.shown.get(key, "")) for key in keys), ", ".join(map(str, row.seeds))]
        lines.append("| " + " | ".join([*cells, *(_percent(row.mean(n), row.spread(n)) for n in names)]) + " |")
    devices = dict.fromkeys(device for row in rows for device in row.devices)
    lines += ["", f"Not all on one device: {'; '.join(devices)}."] if len(devices) > 1 else []
    lines += [line for cell, reason in failures for line in ("", f"Failed: {cell.label}: {reason}")]
    return "\n".join(map(shown, lines)) + "\n"


def as_csv(keys: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the table as CSV: mean, standard deviation and number of seeds of every measure."""
    names = list(dict.fromkeys(name for row in rows for name in row.measures))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "seeds", *(f"{name} {what}" for name in names for what in ("mean", "sd"))])
    for row in rows:
        figures = [figure for name in names for figure in (row.mean(name), row.spread(name))]
        shown = [row.shown.get(key, "") for key in keys]
        writer.writerow([*shown, len(row.seeds), *("" if f is None else f"{f:.6f}" for f in figures)])
    return text.getvalue()


def as_data(rows: Sequence[Row], failures: Sequence[tuple[Cell, str]]) -> dict[str, Any]:
    """Return the table as plain data, with every seed's value."""
    return {
        "rows": [
            {"choices": dict(row.shown), "seeds": list(row.seeds), "devices": list(row.devices)}
            | {
                "measures": {
                    name: {"mean": row.mean(name), "sd": row.spread(name), "values": list(values)}
                    for name, values in row.measures.items()
                }
            }
            for row in rows
        ],
        "failed": [{"cell": cell.label, "reason": reason} for cell, reason in failures],
    }


def _title(row: Row, leave_out: str) -> str:
    return ", ".join(value for key, value in row.shown.items() if key != leave_out and value != "none") or "all"


def _by_rate(rows: Sequence[Row]) -> list[Line]:
    """Return ASR against the poisoning rate, one line for each combination of the other choices."""
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        if "rate" in row.shown and row.rate is not None and (mean := row.mean("ASR")) is not None:
            point = (100 * row.rate, 100 * mean, 100 * (row.spread("ASR") or 0.0))
            lines.setdefault(_title(row, "rate"), []).append(point)
    return [Line(title, tuple(sorted(points))) for title, points in lines.items()]


def _by_distance(rows: Sequence[Row]) -> list[Line]:
    """Return ASR against the trigger's distance, one line for each row."""
    lines = []
    for row in rows:
        points = [
            (place, 100 * mean, 100 * (row.spread(name) or 0.0))
            for name, place in row.distances.items()
            if (mean := row.mean(name)) is not None
        ]
        if points:
            lines.append(Line(_title(row, ""), tuple(sorted(points))))
    return lines


def write_tables(
    keys: Sequence[str], outcomes: Sequence[Outcome], failures: Sequence[tuple[Cell, str]], out: Path
) -> None:
    """Write table.md, table.csv, table.json and, where there is something to draw, the two plots (SVG, PDF, PNG).

    A plot of earlier results, for which there is nothing to draw any more, is removed. Without matplotlib there are no
    plots.
    """
    rows = collect(keys, outcomes)
    write_whole(out / "table.md", markdown(keys, rows, failures).encode())
    write_whole(out / "table.csv", as_csv(keys, rows).encode())
    write_whole(out / "table.json", json.dumps(as_data(rows, failures), indent=1).encode())
    for name, lines, axis in (
        ("asr-by-rate", _by_rate(rows), "poisoned training samples, %"),
        ("asr-by-distance", _by_distance(rows), "distance of trigger to victim, pixels"),
    ):
        write_plot(out, name, lines if can_plot() else [], axis, "ASR, %")
