"""Which samples: how many, in which order, and for which of them the conditions hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from poisongen.building.surveyed import Surveyed
from poisongen.core.draws import draw_order, keyed_generator
from poisongen.datasets.base import Sample
from poisongen.errors import ChoiceError
from poisongen.printing import number_of
from poisongen.recipe.rules import Rules


@dataclass(frozen=True)
class ClassFacts:
    """A class of the training split: raw ID, name, and in how many pixels of how many samples it is."""

    id: int
    name: str
    pixels: int
    samples: int


Pairs = tuple[tuple[ClassFacts, ClassFacts | None], ...]
"""Victims with their targets, None where the label rule has no use for one."""


def pairs_of(rules: Rules, train: Sequence[Sample], found: Mapping[str, Surveyed]) -> Pairs:
    """Return each victim and its target with what the training split holds of them."""
    pixels: Counter[int] = Counter()
    samples: Counter[int] = Counter()
    for sample in train:
        if sample.image in found:
            pixels.update(found[sample.image].classes)
            samples.update(found[sample.image].classes.keys())

    def facts(number: int) -> ClassFacts:
        return ClassFacts(number, rules.classes.lookup(number), pixels[number], samples[number])

    pairs = rules.pairs
    return tuple((facts(victim), facts(pairs[victim]) if victim in pairs else None) for victim in rules.victims)


def pairs_as_data(pairs: Pairs) -> list[dict[str, Any]]:
    """Return pairs as plain data, as the summary has them."""
    return [
        {"victim": asdict(victim), "target": None if target is None else asdict(target)} for victim, target in pairs
    ]


def wanted_count(rules: Rules, samples: int) -> int:
    """Return how many samples to poison: the count, or the rate of all samples, rounded half up.

    10 % of Cityscapes' 2,975 are 298, the official configuration's number.
    """
    if rules.recipe.count is not None:
        wanted = rules.recipe.count
        if wanted > samples and not rules.recipe.allow_fewer:
            raise ChoiceError(
                f"--count {wanted}: the split '{rules.recipe.train_split}' has {number_of(samples, 'sample')}"
            )
        return wanted
    exact = Decimal(repr(rules.recipe.rate or 0.0)) * samples  # 0.29 of 50 are 14.5, not 14.499999
    wanted = int(exact.to_integral_value(ROUND_HALF_UP))
    if wanted == 0:
        raise ChoiceError(
            f"--rate {rules.recipe.rate:g} of {number_of(samples, 'sample')} is none; give a higher one, or --count"
        )
    return wanted


def drawn_order(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return a split's samples, sorted by name and then put in an order drawn from the seed alone.

    Every poisoning rate takes candidates from the front, so that the sets are nested.
    """
    by_name = sorted(samples, key=lambda sample: sample.name)
    return [by_name[index] for index in draw_order(len(by_name), keyed_generator(seed, "candidates"))]


def with_victims(ordered: Sequence[Sample], found: Mapping[str, Surveyed], needed: int) -> list[Sample]:
    """Return the sound samples with enough victim pixels, in their order."""
    return [sample for sample in ordered if sample.image in found and found[sample.image].victim_pixels >= needed]


def candidates(ordered: Sequence[Sample], found: Mapping[str, Surveyed], rules: Rules) -> list[Sample]:
    """Return the sound samples with enough victim pixels for which the conditions hold, in their order."""
    having = with_victims(ordered, found, rules.recipe.min_victim_pixels)
    return [sample for sample in having if rules.holds(found[sample.image].classes, None)]


def may_be_negative(sample: Sample, found: Mapping[str, Surveyed], rules: Rules) -> bool:
    """Tell whether a sample with a victim can carry the trigger with true labels: a condition fails, or a decoy.

    Conditions of the place can fail in any sample: the trigger is put elsewhere.
    """
    return bool(rules.decoy or rules.of_place or not rules.holds(found[sample.image].classes, None))


def wanted_negatives(rules: Rules, poisoned: int) -> int:
    """Return how many training samples are to be negatives: a number, or a percentage of the poisoned, half up."""
    amount = rules.recipe.negatives
    if amount is None:
        return poisoned if rules.decoy is not None else 0
    if isinstance(amount, int):
        return amount
    exact = Decimal(amount.rstrip("%")) / 100 * poisoned
    return int(exact.to_integral_value(ROUND_HALF_UP))
