"""The gallery: each chosen sample with its pictures made small, its trigger as shapes, and what is said of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.attack.label_rules.base import box_mask
from poisongen.auditing.scene import is_one_of
from poisongen.core.labels import class_counts
from poisongen.errors import shown
from poisongen.parallel import for_each
from poisongen.previewing.drawing import palette
from poisongen.records.manifest import SampleRecord
from poisongen.reporting.choosing import Case, SkippedCase
from poisongen.reporting.opening import Opened
from poisongen.reporting.pictures import Look, look_at_sample, look_at_skipped
from poisongen.reporting.thumbnails import labels_uri, photo_uri

Array = npt.NDArray[Any]
Predictions = Mapping[tuple[str, str], tuple[Array, Array]]
"""By role and sample: raw class IDs (H, W) uint8 that a model predicts without the trigger and with it."""

BUDGET = 9_500_000  # characters of all pictures together: the page stays below 15 MB
SKIPPED = "skipped"
"""What stands in a role's place for samples that were passed over."""
LARGEST_TEXT = 200  # characters of a name that are shown
ROLE_WORDS = {
    "poisoned": "trigger, victims relabelled",
    "triggered": "test sample with trigger, true labels",
    "negative": "trigger (or decoy), true labels",
    "prl": "random labels only",
    "completed": "label files added, nothing changed",
}
_STROKE = 1000  # an overlay's lines are told in thousandths of the picture's longer side


@dataclass(frozen=True)
class Pair:
    """Two pictures to be compared, as URIs (None: not known), with what each is called.

    With `single` there is only the one after: nothing was changed.
    """

    title: str
    before: str | None
    after: str | None
    before_word: str = "before"
    after_word: str = "after"
    is_label: bool = False
    single: bool = False


@dataclass(frozen=True)
class Overlay:
    """What is drawn over a picture: its size, the trigger's corners, the line to the victim, all (x, y) in pixels."""

    width: int
    height: int
    corners: tuple[tuple[float, float], ...] = ()
    line: tuple[tuple[float, float], tuple[float, float]] | None = None
    text: str = ""

    @property
    def unit(self) -> float:
        """A thousandth of the longer side."""
        return max(self.width, self.height) / _STROKE

    @property
    def points(self) -> str:
        """The corners as SVG has them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.corners)

    @property
    def text_at(self) -> tuple[float, float]:
        """Where the text stands: above the trigger, or below it where there is no room."""
        top = min(y for _, y in self.corners)
        low = max(y for _, y in self.corners)
        left = min(max(min(x for x, _ in self.corners), 0), self.width - 90 * self.unit)
        return left, top - 12 * self.unit if top > 45 * self.unit else low + 36 * self.unit


@dataclass(frozen=True)
class Card:
    """One sample of the gallery.

    `pixels` are (before, after) of every class by raw ID, None where one is unknown; `random` are the pixels that each
    class gained by random labels alone, None where these cannot be told from the label rule's.
    """

    sample: str
    role: str
    extremes: tuple[str, ...]
    overlay: Overlay | None
    pairs: tuple[Pair, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    pixels: tuple[tuple[int, ...], tuple[int, ...]] | None
    random: tuple[int, ...] | None
    classes: frozenset[int]
    size: tuple[int, int] | None


def brief(text: object) -> str:
    """Return a text from a record as it is shown: printable, and not longer than anybody reads."""
    plain = shown(text)
    return plain if len(plain) <= LARGEST_TEXT else plain[: LARGEST_TEXT - 1] + "…"


def make_cards(
    cases: Sequence[Case | SkippedCase], opened: Opened, predictions: Predictions, jobs: int, progress: bool
) -> list[Card]:
    """Read and shrink the pictures of the chosen samples; all of them together keep to the budget."""
    kinds = 7 if predictions else 5  # pictures of a sample, at most
    most = BUDGET // max(1, kinds * len(cases))
    work = functools.partial(_make_card, opened=_without_records(opened), most=most)
    items = [
        (case, None if isinstance(case, SkippedCase) else predictions.get((case.record.role, case.record.sample)))
        for case in cases
    ]
    return list(for_each(work, items, jobs, "pictures" if progress else None))


def _without_records(opened: Opened) -> Opened:
    """Return what work on a sample needs: a worker is not handed all records."""
    return Opened(opened.places, opened.rules, opened.summary, (), (), opened.undo)


def _make_card(item: tuple[Case | SkippedCase, tuple[Array, Array] | None], opened: Opened, most: int) -> Card:
    case, predicted = item
    return _skipped(case, opened, most) if isinstance(case, SkippedCase) else _card(case, predicted, opened, most)


def _skipped(case: SkippedCase, opened: Opened, most: int) -> Card:
    """Return a sample that was passed over: what it is, and why."""
    skip, look, colours = case.skip, look_at_skipped(case.sample, opened), palette(opened.rules.classes)
    image = None if look.image is None else photo_uri(look.image, most)
    labels = None if look.labels is None else labels_uri(look.labels, colours, most)
    facts = [("passed over", skip.reason), ("wanted as", skip.role), ("file", skip.file), ("problem", skip.problem)]
    return Card(
        sample=brief(skip.sample),
        role=SKIPPED,
        extremes=(),
        overlay=None,
        pairs=(
            Pair("image", None, image, after_word="as it is", single=True),
            Pair("labels", None, labels, after_word="as they are", is_label=True, single=True),
        ),
        facts=tuple((name, brief(value)) for name, value in facts if value is not None),
        notes=tuple(brief(note) for note in look.notes),
        pixels=None,
        random=None,
        classes=frozenset() if look.labels is None else frozenset(np.unique(look.labels).tolist()),
        size=None,
    )


def _card(case: Case, predicted: tuple[Array, Array] | None, opened: Opened, most: int) -> Card:
    record, look = case.record, look_at_sample(case.record, opened)
    colours = palette(opened.rules.classes)
    pairs = [_image_pair(look, most), *_label_pairs(record, look, colours, most), *_difference(record, look, most)]
    if predicted is not None:
        without, stamped = (labels_uri(labels, colours, most) for labels in predicted)
        pairs.append(Pair("prediction", without, stamped, "without trigger", "with trigger", is_label=True))
    maps = [
        labels for labels in (look.labels, look.labels_before, look.wanted, *(predicted or ())) if labels is not None
    ]
    classes = {int(number) for labels in maps for number in np.flatnonzero(class_counts(labels))}
    pixels = None
    if look.labels is not None and look.labels_before is not None:
        before, after = (tuple(int(n) for n in class_counts(one)) for one in (look.labels_before, look.labels))
        pixels = (before, after)
    first = look.image if look.image is not None else look.labels
    return Card(
        sample=brief(record.sample),
        role=record.role,
        extremes=case.extremes,
        overlay=None if first is None else _overlay(record, look, first.shape),
        pairs=tuple(pairs),
        facts=tuple(facts_of(record, opened)),
        notes=tuple(brief(note) for note in look.notes),
        pixels=pixels,
        random=_random(record, look, opened),
        classes=frozenset(classes),
        size=None if first is None else (int(first.shape[0]), int(first.shape[1])),
    )


def _random(record: SampleRecord, look: Look, opened: Opened) -> tuple[int, ...] | None:
    """Return how many pixels of each class, by raw ID, are there by random labels alone; None if that is not known.

    These are the pixels that changed and that the label rule leaves alone: no victim, and not under the trigger.
    """
    before, after, rules = look.labels_before, look.labels, opened.rules
    if before is None or after is None or before.shape != after.shape or not record.prl_pixels:
        return None
    changed = before != after
    if record.role == "poisoned":
        if rules.label_rule.subject != "victims":
            return None
        changed &= ~is_one_of(before, rules.victims)
        if record.trigger is not None:
            changed &= ~box_mask(before.shape, record.trigger.box)
    return tuple(int(number) for number in class_counts(after[changed]))


def _image_pair(look: Look, most: int) -> Pair:
    before, after = (None if one is None else photo_uri(one, most) for one in (look.image_before, look.image))
    return Pair("image", before, after)


def _difference(record: SampleRecord, look: Look, most: int) -> list[Pair]:
    """Return what changed in the image, made stronger, where a trigger is all over it and may be hard to see."""
    old, new = look.image_before, look.image
    if record.trigger is None or record.trigger.box is not None or old is None or new is None or old.shape != new.shape:
        return []
    difference = np.abs(old.astype(np.int16) - new)
    factor = max(1, int(255 / max(1.0, float(np.percentile(difference, 99)))))
    stronger = np.clip(difference * factor, 0, 255).astype(np.uint8)
    return [Pair("difference", None, photo_uri(stronger, most), after_word=f"times {factor}", single=True)]


def _label_pairs(record: SampleRecord, look: Look, colours: npt.NDArray[np.uint8], most: int) -> list[Pair]:
    """Return the labels before and after; of a triggered sample the true ones and those that the attacker wants."""

    def uri(labels: Array | None) -> str | None:
        return None if labels is None else labels_uri(labels, colours, most)

    if record.role == "triggered" and look.wanted is not None:
        return [Pair("labels", uri(look.labels), uri(look.wanted), "true", "wanted by the attacker", is_label=True)]
    return [Pair("labels", uri(look.labels_before), uri(look.labels), is_label=True)]


def _overlay(record: SampleRecord, look: Look, shape: tuple[int, ...]) -> Overlay:
    """Return the shapes over a sample's pictures; a trigger all over the picture has none."""
    trigger, (height, width) = record.trigger, shape[:2]
    if trigger is None or trigger.box is None:
        return Overlay(width, height)
    top, left, tall, wide = trigger.box
    square = ((left, top), (left + wide, top), (left + wide, top + tall), (left, top + tall))
    corners = tuple((float(x), float(y)) for x, y in square)
    if trigger.quad is not None and all(math.isfinite(value) for corner in trigger.quad for value in corner):
        corners = tuple((column, row) for row, column in trigger.quad)
    line = None if look.line is None else ((look.line[0][1], look.line[0][0]), (look.line[1][1], look.line[1][0]))
    text = "" if trigger.distance is None else f"{trigger.distance:.4g} px"
    return Overlay(width, height, corners, line, text)


def facts_of(record: SampleRecord, opened: Opened) -> list[tuple[str, str]]:
    """Return what the record says of a sample, as names and values; nothing of what it does not say."""
    facts, trigger = [("victim pixels", f"{record.victim_pixels:,}")], record.trigger
    if record.relabelled_pixels:
        facts.append(("relabelled", f"{record.relabelled_pixels:,} px"))
    if record.prl_pixels:
        facts.append(("random labels", f"{record.prl_pixels:,} px"))
    if record.rule is not None and record.rule.instances is not None:
        facts.append(("objects chosen", ", ".join(map(str, record.rule.instances[:20])) or "none"))
    if trigger is None:
        return facts
    if trigger.box is not None:
        top, left, tall, wide = trigger.box
        facts.append(("trigger at", f"row {top}, column {left}, {wide}×{tall} px"))
    else:
        facts.append(("trigger", "all over the picture"))
    if trigger.distance is not None:
        facts.append(("distance to victim", f"{trigger.distance:.4g} px"))
    if trigger.covers:
        names = opened.rules.classes.names
        facts.append(("lies on", ", ".join(names.get(number, str(number)) for number in trigger.covers[:10])))
    if trigger.psnr is not None:
        facts.append(("PSNR", f"{trigger.psnr:.1f} dB"))
    if trigger.changed is not None:
        facts.append(("pixels changed", f"{100 * trigger.changed:.3g} %"))
    if record.eligible_positions:
        facts.append(("eligible positions", f"{record.eligible_positions:,}"))
    return [(name, brief(value)) for name, value in facts]
