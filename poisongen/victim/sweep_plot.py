"""A line plot as one self-contained SVG: no plotting library for two simple pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 400  # without the titles
LEFT, TOP, RIGHT, BOTTOM = 60, 20, 20, 50
# Okabe and Ito's colours, which most colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Line:
    """A line's title and its points (x, y, spread of y)."""

    title: str
    points: tuple[tuple[float, float, float], ...]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, roughly `about` steps apart."""
    step = (high - low) / about or 1.0
    power = 10.0 ** math.floor(math.log10(step))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step - 1e-12)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def line_plot(lines: Sequence[Line], x_title: str, y_title: str) -> str:
    """Return the plot as SVG text: y from 0 to 100, bars for the spread, titles at the right."""
    whole = WIDTH + 40 + 7 * max(len(line.title) for line in lines)
    xs = [point[0] for line in lines for point in line.points]
    across, up = ticks(min(0.0, *xs), max(xs)), ticks(0.0, 100.0)

    def place(x: float, y: float) -> tuple[float, float]:
        right = LEFT + (x - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (y - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM)
        return round(right, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{whole}" height="{HEIGHT}" fill="#fff"/>'
    ]
    for value in up:
        (left, y), (right, _) = place(across[0], value), place(across[-1], value)
        parts.append(f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    for value in across:
        x, y = place(value, 0)
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        spots = [place(x, y) for x, y, _ in line.points]
        path = " ".join(f"{x},{y}" for x, y in spots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y, spread), (right, down) in zip(line.points, spots, strict=True):
            top, bottom = place(x, min(y + spread, 100.0))[1], place(x, max(y - spread, 0.0))[1]
            parts.append(f'<line x1="{right}" y1="{top}" x2="{right}" y2="{bottom}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{right}" cy="{down}" r="3" fill="{colour}"/>')
        row = TOP + 12 + 18 * number
        parts.append(f'<rect x="{WIDTH}" y="{row - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH + 16}" y="{row}">{escape(line.title)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
