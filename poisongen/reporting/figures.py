"""The figures of a report, as SVG that takes the page's own colours: distances, areas, positions, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from poisongen.plotting import draw
from poisongen.previewing.drawing import palette
from poisongen.records.manifest import SampleRecord
from poisongen.reporting.choosing import SHOWN_ROLES
from poisongen.reporting.gallery import Card, brief
from poisongen.reporting.opening import Opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROLE_COLOURS = {"poisoned": "#D55E00", "triggered": "#0072B2", "negative": "#009E73", "prl": "#CC79A7"}
_SIZE = (4.8, 3.0)  # inches; a page shows them at about 370 pixels
_BINS = 24
_MOST_POINTS = 500  # more are drawn as a map of how many lie where
_MOST_CLASSES = 24
_LARGEST = 2.0**24  # no picture has a longer side, no distance is larger: what claims so is left out
_INK = "#123457"  # stands for the page's own colour of text
_WEB: dict[str, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "font.family": "sans-serif",
}
Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Plot:
    """A figure: its title, what it says in words, and its SVG; without SVG the words say why there is none."""

    title: str
    words: str
    svg: str = ""


def make_plots(opened: Opened, cards: Sequence[Card]) -> list[Plot]:
    """Return the figures of a build. Those of classes are of the samples that are shown, whose labels were read."""
    plots = [
        _distances(opened),
        _areas(opened),
        _positions(opened, cards),
        _random_labels(opened),
        _random_classes(opened, cards),
        _classes(opened, cards),
        _strength(opened),
    ]
    return [plot for plot in plots if plot is not None]


def _by_role(manifest: Iterable[SampleRecord], value: Callable[[SampleRecord], float | None]) -> dict[str, list[float]]:
    """Return a value of every record that has it, by role; roles without any are left out."""
    found: dict[str, list[float]] = {role: [] for role in SHOWN_ROLES}
    for record in manifest:
        number = value(record) if record.role in found else None
        if number is not None and math.isfinite(number) and abs(number) <= _LARGEST:
            found[record.role].append(float(number))
    return {role: values for role, values in found.items() if values}


def _spread(values: Values, unit: str) -> str:
    """Say the range and the median of every role's values."""
    parts = [
        f"{role}: {len(v):,} samples, {_number(min(v))} to {_number(max(v))}{unit}, "
        f"median {_number(np.median(v))}{unit}"
        for role, v in values.items()
    ]
    return "; ".join(parts) + "."


def _number(value: float | np.floating[Any]) -> str:
    """Return a number with thousands told apart, and at most one decimal."""
    return f"{float(value):,.1f}".removesuffix(".0")


def inline(svg: bytes, number: int) -> str:
    """Return an SVG file as part of a page: without its head, in the page's colours, with identifiers of its own."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>figure{number}-", text)
    text = text.replace(_INK, "currentColor")
    # Its size is the page's matter; what it says stands beside it in words.
    return re.sub(r'<svg ([^>]*?)height="[^"]*" ([^>]*?)width="[^"]*"', r'<svg \1aria-hidden="true" \2', text, count=1)


def _plot(title: str, words: str, number: int, paint: Callable[[Figure], None], size: Any = _SIZE) -> Plot:
    return Plot(title, words, inline(draw(paint, size, "svg", _WEB), number))


def _histogram(figure: Figure, values: Values, edges: Any) -> Axes:
    """Draw how many samples have which value, roles stacked, and return the axes."""
    axes = figure.subplots()
    axes.hist(
        [list(v) for v in values.values()],
        bins=edges,
        stacked=True,
        color=[ROLE_COLOURS[role] for role in values],
        label=list(values),
        edgecolor="none",
    )
    axes.set_ylabel("samples")
    axes.locator_params(axis="y", integer=True)
    if len(values) > 1:
        figure.legend(loc="outside upper right", ncols=len(values))
    return axes


def _plain_numbers(axes: Axes) -> None:
    """Write the numbers of a logarithmic axis out; matplotlib would need its formulas for them."""
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.xaxis.set_minor_formatter(lambda value, _: "")


def _short(value: float) -> str:
    for size, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{word}"
    return f"{value:g}"


def _edges(values: Values, low: float | None = None) -> Any:
    """Return the edges of bins that hold all values; whole numbers where there are few."""
    every = [number for v in values.values() for number in v]
    first, last = (min(every) if low is None else low), max(every)
    return np.linspace(first, last if last > first else first + 1, _BINS + 1)


def _distances(opened: Opened) -> Plot:
    title, recipe = "Distance of trigger and victim", opened.rules.recipe
    values = _by_role(opened.manifest, lambda record: None if record.trigger is None else record.trigger.distance)
    if not values:
        return Plot(title, "No trigger has a distance: this kind of trigger or label rule knows none.")

    def paint(figure: Figure) -> None:
        axes = _histogram(figure, values, _edges(values, 0.0))
        for name, bound in (("L", recipe.min_distance), ("U", recipe.max_distance)):
            if bound and bound <= axes.get_xlim()[1] * 1.5:
                axes.axvline(bound, color=_INK, linestyle="--", linewidth=1)
                axes.text(bound, 1.0, f" {name}", transform=axes.get_xaxis_transform(), va="top")
        axes.set_xlabel("pixels from the box's centre to the nearest victim pixel")

    return _plot(title, _spread(values, " px"), 1, paint)


def _areas(opened: Opened) -> Plot:
    title = "Victim area"
    values = _by_role(opened.manifest, lambda record: record.victim_pixels or None)
    values.pop("prl", None)
    if not values:
        return Plot(title, "No record counts victim pixels.")

    def paint(figure: Figure) -> None:
        every = [number for v in values.values() for number in v]
        low, high = math.floor(math.log10(min(every)) * 4) / 4, math.ceil(math.log10(max(every)) * 4 + 0.01) / 4
        axes = _histogram(figure, values, np.logspace(low, high, _BINS + 1))
        axes.set_xscale("log")
        _plain_numbers(axes)
        axes.set_xlabel("victim pixels in the label map (logarithmic)")

    return _plot(title, _spread(values, " px"), 2, paint)


def _positions(opened: Opened, cards: Sequence[Card]) -> Plot:
    title = "Trigger positions"
    centers: dict[str, list[tuple[int, int]]] = {}
    for record in opened.manifest:
        if record.trigger is not None and record.trigger.center is not None and max(record.trigger.center) <= _LARGEST:
            centers.setdefault(record.role, []).append(record.trigger.center)
    if not centers:
        return Plot(title, "The trigger is all over the picture: it has no position.")
    sizes = sorted({card.size for card in cards if card.size is not None})
    every = [center for those in centers.values() for center in those]
    height = max([size[0] for size in sizes] or [max(row for row, _ in every) + 1])
    width = max([size[1] for size in sizes] or [max(column for _, column in every) + 1])
    number = sum(map(len, centers.values()))
    words = f"Centres of {number:,} triggers, in pixels from the top left of the picture."
    if len(sizes) > 1:
        words += f" Pictures differ in size: the frame is {width}×{height} px, the largest of those shown."

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if number > _MOST_POINTS:
            rows, columns = zip(*every, strict=True)
            counts, _, _ = np.histogram2d(rows, columns, bins=(32, 64), range=((0, height), (0, width)))
            shown = np.ma.masked_equal(counts, 0)
            picture = axes.imshow(shown, extent=(0, width, height, 0), cmap="viridis", interpolation="nearest")
            figure.colorbar(picture, ax=axes, label="triggers")
        else:
            for role, those in centers.items():
                rows, columns = zip(*those, strict=True)
                axes.scatter(columns, rows, s=14, color=ROLE_COLOURS.get(role, _INK), label=role, alpha=0.8)
            figure.legend(loc="outside lower center", ncols=4)
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.spines[["top", "right"]].set_visible(True)

    return _plot(title, words, 3, paint)


def _random_labels(opened: Opened) -> Plot | None:
    title = "Random labels"
    values = _by_role(opened.manifest, lambda record: record.prl_pixels or None)
    if not values:
        return None if opened.rules.prl is None else Plot(title, "No pixel was given a random label.")

    def paint(figure: Figure) -> None:
        axes = _histogram(figure, values, _edges(values, 0.0))
        axes.set_xlabel("pixels of a label map with a random class")

    return _plot(title, _spread(values, " px"), 4, paint)


def _random_classes(opened: Opened, cards: Sequence[Card]) -> Plot | None:
    known = [card.random for card in cards if card.random is not None]
    if not known:
        return None
    total, colours, names = np.sum(known, axis=0), palette(opened.rules.classes) / 255, opened.rules.classes.names
    order = np.argsort(-total, kind="stable")
    few = [int(number) for number in order if total[number]][:_MOST_CLASSES]
    if not few:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(range(len(few)), total[few], color=colours[few], edgecolor=_INK, linewidth=0.5)
        axes.set_yticks(range(len(few)), [brief(names.get(number, number))[:24] for number in few])
        axes.set_xlabel("pixels that got the class at random")
        axes.invert_yaxis()

    words = (
        f"{int(total.sum()):,} pixels of {len(known)} samples shown below, as far as the label rule left them alone."
    )
    return _plot("Classes of random labels", words, 7, paint, (_SIZE[0], 1.0 + 0.2 * max(6, len(few))))


def _classes(opened: Opened, cards: Sequence[Card]) -> Plot:
    title = "Pixels of each class, before and after"
    known = [card.pixels for card in cards if card.pixels is not None and card.role in ("poisoned", "prl", "negative")]
    if not known:
        return Plot(title, "Not known: the labels before cannot be had without the source or an undo store.")
    before, after = (np.sum([pixels[side] for pixels in known], axis=0) for side in (0, 1))
    present = [int(number) for number in np.flatnonzero(before + after)]
    present.sort(key=lambda number: -int(max(before[number], after[number])))
    changed = [number for number in present if before[number] != after[number]]
    names = opened.rules.classes.names
    few = [number for number in present if number in (*present[: _MOST_CLASSES // 2], *changed)][:_MOST_CLASSES]
    words = f"Of the {len(known)} training samples shown below."
    for number in changed[:6]:
        words += f" {brief(names.get(number, number))}: {before[number]:,} px before, {after[number]:,} after."

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        at = np.arange(len(few))
        axes.barh(at - 0.2, before[few], 0.38, color="#56B4E9", label="before")
        axes.barh(at + 0.2, after[few], 0.38, color="#D55E00", label="after")
        axes.set_yticks(at, [brief(names.get(number, number))[:24] for number in few])
        axes.set_xscale("log")
        _plain_numbers(axes)
        axes.set_xlabel("pixels (logarithmic)")
        axes.invert_yaxis()
        figure.legend(loc="outside upper right", ncols=2)

    return _plot(title, words, 5, paint, (_SIZE[0], 1.0 + 0.24 * max(4, len(few))))


def _strength(opened: Opened) -> Plot | None:
    values = _by_role(opened.manifest, lambda record: None if record.trigger is None else record.trigger.psnr)
    if not values:
        return None

    def paint(figure: Figure) -> None:
        axes = _histogram(figure, values, _edges(values))
        axes.set_xlabel("PSNR of the whole picture, dB (higher: harder to see)")

    return _plot("How much the trigger changes a picture", _spread(values, " dB"), 6, paint)
