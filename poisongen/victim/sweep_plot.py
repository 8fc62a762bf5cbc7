"""A sweep's figures: a measure in per cent against a number, one line for each row of the table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from poisongen.files.store import write_whole
from poisongen.plotting import COLOURS, FORMATS, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (7.0, 4.4)  # inches
_STYLES = ("-", "--", ":", "-.")  # a second round of colours has dashed lines


@dataclass(frozen=True)
class Line:
    """A line's title and its points (x, y, spread of y)."""

    title: str
    points: tuple[tuple[float, float, float], ...]


def paint_lines(figure: Figure, lines: Sequence[Line], x_title: str, y_title: str) -> None:
    """Draw lines into an empty figure: y from 0 to 100, bars for the spread, titles at the right."""
    axes = figure.subplots()
    for number, line in enumerate(lines):
        x, y, spread = zip(*line.points, strict=True)
        low = [min(far, value) for value, far in zip(y, spread, strict=True)]
        high = [min(far, 100 - value) for value, far in zip(y, spread, strict=True)]
        axes.errorbar(
            x,
            y,
            yerr=[[max(0.0, one) for one in side] for side in (low, high)],
            color=COLOURS[number % len(COLOURS)],
            linestyle=_STYLES[number // len(COLOURS) % len(_STYLES)],
            marker="o",
            markersize=4,
            capsize=2,
            label=line.title.removeprefix("_"),  # matplotlib leaves out what begins so
        )
    axes.set(xlabel=x_title, ylabel=y_title, ylim=(-2, 102))
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)


def write_plot(folder: Path, name: str, lines: Sequence[Line], x_title: str, y_title: str) -> None:
    """Write the figure of these lines to folder/NAME.svg, .pdf and .png; with nothing to draw, remove what is there.

    ChoiceError if matplotlib is missing and there is something to draw.
    """
    for form in FORMATS:
        path = folder / f"{name}.{form}"
        if any(len(line.points) > 1 for line in lines):
            paint = functools.partial(paint_lines, lines=lines, x_title=x_title, y_title=y_title)
            write_whole(path, draw(paint, SIZE, form))
        else:
            path.unlink(missing_ok=True)
