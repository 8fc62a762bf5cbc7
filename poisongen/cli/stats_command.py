"""`poisongen stats`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from poisongen.cli.help import Command
from poisongen.cli.options import placing_options, recipe_choices
from poisongen.printing import number_of, show, show_json
from poisongen.statistics.plot import check_plot, plot_stats
from poisongen.statistics.statistician import ClassStats, DatasetStats, Possible, SplitStats, stats

_NAMED = 3  # neighbours or sizes in one line
_WORDS = ("class", "borders most on")  # columns of words


@click.command(
    "stats",
    cls=Command,
    sections={
        "Dataset": ("dataset", "splits", "skip_bad"),
        "What could be poisoned": (
            "recipe_file",
            "victim",
            "target",
            "relabel",
            "labels",
            "label_options",
            "only_if",
            "min_victim_pixels",
        ),
        "Placement": (
            "strategy",
            "at",
            "min_distance",
            "max_distance",
            "metric",
            "region",
            "edge_margin",
            "scale",
            "seed",
        ),
        "Trigger": ("trigger", "trigger_size", "opacity", "trigger_kind", "trigger_options"),
        "Output": ("plot", "as_json", "jobs"),
    },
    example="poisongen stats data/cityscapes --dataset cityscapes --split train --plot stats.png",
)
@click.argument("root", type=click.Path(path_type=Path), required=False)
@placing_options
@click.option("--split", "splits", multiple=True, metavar="SPLIT", help="Repeatable. Default: all with samples.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw a figure: PNG, SVG or PDF.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    root: Path | None, splits: tuple[str, ...], plot: Path | None, jobs: int | None, as_json: bool, **options: Any
) -> None:
    """Count pixels, samples and neighbours of every class in ROOT, and the samples that could be poisoned.

    Without a victim, this is told for every class as the only one; without a strategy, triggers may lie anywhere.
    """
    if plot is not None:
        check_plot(plot)
    found = stats(root, recipe_choices(options), splits=splits, jobs=jobs, progress=True)
    if plot is not None:
        plot_stats(found, plot, splits[0] if splits else None)
    if as_json:
        show_json(found.as_json())
    else:
        lines = [line for split in found.splits.values() for line in _split_lines(found, split)]
        lines += [f"samples that could be poisoned: not known ({found.unknown})"] if found.unknown else []
        show(lines + ([f"{plot}: look at it"] if plot is not None else []))


def _split_lines(found: DatasetStats, split: SplitStats) -> list[str]:
    """Return a split's line, its table of classes, and what is said of the victims that were named."""
    sizes = ", ".join(f"{size} px ({count})" for size, count in list(split.sizes.items())[:_NAMED])
    sizes += f" and {len(split.sizes) - _NAMED} other sizes" if len(split.sizes) > _NAMED else ""
    lines = [f"{found.root}, {split.split}: {number_of(split.samples, 'sample')}, {sizes or 'none read'}"]
    lines += [f"left out: {file} ({problem})" for _, file, problem in split.left_out]
    rows = [row for row in split.classes if row.pixels]
    each = any(row.possible is not None for row in rows)
    head = ["ID", "class", "pixels", "share", "samples", *(["can be poisoned"] if each else []), "borders most on"]
    lines += _table([head, *(_class_row(row, each) for row in rows)])
    if missing := [row.name for row in split.classes if not row.pixels and not row.void]:
        lines.append(f"not there: {', '.join(missing)}")
    if each:
        lines.append(f"can be poisoned: with that class as only victim, {_how(found)}")
    if split.together is not None:
        lines += _together_lines(found, split, split.together)
    return lines


def _how(found: DatasetStats) -> str:
    size = f", trigger of {found.trigger_size} px" if found.trigger_size is not None else ""
    return f"strategy {found.strategy}{size}"


def _class_row(row: ClassStats, each: bool) -> list[str]:
    share = "void" if row.share is None else f"{100 * row.share:.2f} %"
    possible = [] if not each else ["" if row.possible is None else str(row.possible)]
    return [str(row.id), row.name, str(row.pixels), share, str(row.samples), *possible, _shares(row.borders)]


def _shares(borders: Mapping[str, int]) -> str:
    whole = sum(borders.values())
    return ", ".join(f"{name} {pixels / whole:.0%}" for name, pixels in list(borders.items())[:_NAMED])


def _together_lines(found: DatasetStats, split: SplitStats, possible: Possible) -> list[str]:
    """Return what could be poisoned with the victims together, and how they meet every other class."""
    victims = ", ".join(possible.victims)
    why = "".join(f"; {count} with {reason}" for reason, count in possible.reasons.items())
    lines = [
        f"{victims}: {possible.possible} of {possible.candidates} candidates among {split.samples} samples can be "
        f"poisoned ({_how(found)}){why}"
    ]
    if len(possible.victims) > 1:
        return lines
    rows = []
    for pair in split.pairs:
        if victims in (pair.first, pair.second):
            other = pair.second if pair.first == victims else pair.first
            rows.append((pair.border, pair.samples, other))
    table = [[other, str(samples), str(border)] for border, samples, other in sorted(rows, reverse=True)]
    return lines + _table([[f"beside {victims}", "samples with both", "shared border, px"], *table])


def _table(rows: Iterable[list[str]]) -> list[str]:
    """Return rows, the first of titles, as lines; numbers stand to the right."""
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            f"{word:{width}}" if title in _WORDS or title.startswith("beside ") else f"{word:>{width}}"
            for word, width, title in zip(row, widths, table[0], strict=True)
        ).rstrip()
        for row in table
    ]
