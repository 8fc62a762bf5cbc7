"""Statistics as one figure: how much there is of each class, what could be poisoned, and how classes meet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from poisongen.errors import ChoiceError, OutputError
from poisongen.files.store import check_name, write_whole
from poisongen.plotting import FORMATS, draw, require_matplotlib
from poisongen.source.listing import check_apart
from poisongen.statistics.statistician import ClassStats, DatasetStats, Possible, SplitStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 40  # classes in the figure, the largest; more could not be read
_WRITTEN = 24  # classes up to which a matrix has its numbers written in
_NAMED = 3  # victims that a title has room for
_PALE, _DARK, _GREY = "#B8C4CE", "#0072B2", "#888888"


def check_plot(path: Path) -> None:
    """Refuse a figure that could not be written, before anything is counted. ChoiceError, OutputError."""
    if path.suffix.lower().lstrip(".") not in FORMATS:
        raise ChoiceError(f"--plot: {path} must end in .png, .svg or .pdf")
    check_name(path, "--plot")
    require_matplotlib("--plot")


def plot_stats(found: DatasetStats, path: Path, split: str | None = None) -> Path:
    """Draw the statistics of one split (else `train`, or the first) as PNG, SVG or PDF by the name's suffix.

    Classes stand in the dataset's own order and colours; void and classes that are not there are left out. Returns the
    path. ChoiceError for another suffix, an unknown split or where matplotlib is missing; OutputError if `path` cannot
    be written, or lies in the dataset.
    """
    check_plot(path)
    check_apart(found.root, path, "--plot")
    name = split or ("train" if "train" in found.splits else next(iter(found.splits)))
    if name not in found.splits:
        raise ChoiceError(f"--plot: no statistics of a split '{name}'")
    facts = found.splits[name]
    shown = _shown(facts)
    side = max(3.2, 0.34 * len(shown))

    def paint(figure: Figure) -> None:
        figure.suptitle(_title(found, facts, len(shown)))
        (pixels, samples), (borders, together) = figure.subplots(2, 2)
        colours = [_colour(found, row.id) for row in shown]
        names = [row.name for row in shown]
        _bars(pixels, names, [100 * (row.share or 0) for row in shown], colours, "share of all pixels but void, %")
        if shown:
            pixels.set_xscale("log")
            pixels.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _samples(samples, names, shown, facts.together)
        _matrix(borders, names, _border_shares(shown), "of a class's (row) border, the share with another, %")
        _matrix(together, names, _seen_with(facts, shown), "of the samples with a class (row), those with another, %")

    form = next(form for form in FORMATS if form == path.suffix.lower().lstrip("."))
    try:
        write_whole(path, draw(paint, (2 * side + 4, 2 * side + 1.5), form))
    except OSError as error:
        raise OutputError(f"--plot: {path} cannot be written ({error.strerror})") from None
    return path


def _shown(facts: SplitStats) -> list[ClassStats]:
    """Return the classes that the figure shows, in the dataset's order."""
    there = [row for row in facts.classes if row.pixels and not row.void]
    largest = sorted(there, key=lambda row: -row.pixels)[:MOST]
    return [row for row in there if row in largest]


def _title(found: DatasetStats, facts: SplitStats, shown: int) -> str:
    there = sum(1 for row in facts.classes if row.pixels and not row.void)
    more = f"; the {shown} largest of {there} classes" if there > shown else ""
    return f"{found.dataset}, {facts.split}: {facts.samples} samples{more}"


def _colour(found: DatasetStats, number: int) -> tuple[float, float, float]:
    red, green, blue = found.colours.get(number, (0x88, 0x88, 0x88))
    return red / 255, green / 255, blue / 255


def _bars(axes: Axes, names: list[str], values: list[float], colours: list[Any], title: str) -> None:
    rows = np.arange(len(names))
    axes.barh(rows, values, color=colours, edgecolor=_GREY, linewidth=0.5)
    _name_rows(axes, names)
    axes.set_title(title)


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _samples(axes: Axes, names: list[str], shown: list[ClassStats], together: Possible | None) -> None:
    """Draw how many samples have a class and, over it, how many could be poisoned with it as victim."""
    rows = np.arange(len(names))
    axes.barh(rows, [row.samples for row in shown], color=_PALE)
    title = "samples with the class"
    if any(row.possible is not None for row in shown):
        axes.barh(rows, [row.possible or 0 for row in shown], height=0.45, color=_DARK)
        title += "; dark: could be poisoned, it being the victim"
    if together is not None and len(together.victims) <= _NAMED:
        title += f"; {together.possible} could be poisoned with {', '.join(together.victims)} as victim"
    _name_rows(axes, names)
    axes.locator_params("x", integer=True)
    axes.set_title(title)


def _border_shares(shown: list[ClassStats]) -> npt.NDArray[np.float64]:
    """Return of each class's border the share with each other one, (N, N) float64."""
    return np.array(
        [[row.borders.get(other.name, 0) / max(1, sum(row.borders.values())) for other in shown] for row in shown]
    ).reshape(len(shown), len(shown))


def _seen_with(facts: SplitStats, shown: list[ClassStats]) -> npt.NDArray[np.float64]:
    """Return of the samples with each class the share that has each other one as well, (N, N) float64."""
    both = {(pair.first, pair.second): pair.samples for pair in facts.pairs}
    both |= {(second, first): samples for (first, second), samples in both.items()}
    return np.array(
        [
            [1.0 if row is other else both.get((row.name, other.name), 0) / row.samples for other in shown]
            for row in shown
        ]
    ).reshape(len(shown), len(shown))


def _matrix(axes: Axes, names: list[str], shares: npt.NDArray[np.float64], title: str) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=max(0.01, float(shares.max(initial=0))), aspect="auto")
    _name_rows(axes, names)
    axes.set_xticks(np.arange(len(names)), names, rotation=90)
    axes.set_title(title)
    if len(names) > _WRITTEN:
        return
    middle = float(shares.max(initial=0)) / 2
    for row, column in np.argwhere(shares >= 0.005).tolist():
        share = shares[row, column]
        text = f"{100 * share:.0f}"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize="x-small",
            color="white" if share > middle else "black",
        )
