"""Which samples are shown: the extreme ones first, and some of every role."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from poisongen.datasets.base import Sample
from poisongen.records.manifest import Role, SampleRecord
from poisongen.records.reading import SkipRecord

SHOWN_ROLES: tuple[Role, ...] = ("poisoned", "triggered", "negative", "prl")
"""Those that change what a person would see; `completed` samples only get another encoding of the same labels."""
_SHARES: dict[Role, int] = {"poisoned": 5, "triggered": 3, "negative": 2, "prl": 2}


@dataclass(frozen=True)
class Case:
    """A sample to be shown, and the extremes for which it was chosen ("nearest", "smallest victim", ...)."""

    record: SampleRecord
    extremes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkippedCase:
    """A sample that was passed over and is to be shown, with what skipped.jsonl says of it."""

    skip: SkipRecord
    sample: Sample


def choose_skipped(skipped: Sequence[SkipRecord], samples: Mapping[str, Sample], number: int) -> list[SkippedCase]:
    """Return up to `number` samples that were passed over, those of each reason in turn, each sample once."""
    by_reason: dict[str, list[SkipRecord]] = {}
    for skip in skipped:
        if skip.sample in samples:
            by_reason.setdefault(skip.reason, []).append(skip)
    once: dict[str, SkipRecord] = {}
    for skip in itertools.chain.from_iterable(itertools.zip_longest(*by_reason.values())):
        if skip is not None:
            once.setdefault(skip.sample, skip)
    return [SkippedCase(skip, samples[name]) for name, skip in itertools.islice(once.items(), number)]


def _distance(record: SampleRecord) -> float | None:
    return None if record.trigger is None else record.trigger.distance


def _area(record: SampleRecord) -> float | None:
    return record.victim_pixels or None


_ORDERS: dict[str, tuple[Callable[[SampleRecord], float | None], int]] = {
    "nearest": (_distance, 1),
    "farthest": (_distance, -1),
    "smallest victim": (_area, 1),
    "largest victim": (_area, -1),
}
"""What makes a sample extreme: a number that it may have, and the direction in which it counts."""


def _ordered(records: Sequence[SampleRecord], name: str) -> tuple[list[SampleRecord], bool]:
    """Return the records that have an order's number, the most extreme first, and whether one is more so than another.

    Equals stand by name.
    """
    value, direction = _ORDERS[name]
    numbers = [(direction * number, record) for record in records if (number := value(record)) is not None]
    numbers.sort(key=lambda pair: (pair[0], pair[1].sample))
    return [record for _, record in numbers], bool(numbers) and numbers[0][0] < numbers[-1][0]


def _in_turn(orders: Sequence[Sequence[SampleRecord]]) -> Iterator[SampleRecord]:
    """Yield the first of every order, then the second, each sample once."""
    seen: set[str] = set()
    for place in itertools.zip_longest(*orders):
        for record in place:
            if record is not None and record.sample not in seen:
                seen.add(record.sample)
                yield record


def choose_of_role(records: Sequence[SampleRecord], number: int) -> list[Case]:
    """Return up to `number` of these samples, extremes in turn; only the very first of an order is called by it."""
    orders = {name: _ordered(records, name) for name in _ORDERS}
    first = {name: order[0].sample for name, (order, differ) in orders.items() if differ}
    there = [order for order, _ in orders.values()]
    turns = itertools.islice(_in_turn([*there, records]), number)
    return [Case(record, tuple(name for name, sample in first.items() if sample == record.sample)) for record in turns]


def quotas(there: dict[Role, int], number: int) -> dict[Role, int]:
    """Return how many samples of each role are shown: shares of `number`; what a role cannot fill goes to the others.

    Every role that there is has at least one, as far as `number` goes.
    """
    given: dict[Role, int] = dict.fromkeys(there, 0)
    rounds = itertools.cycle([role for role in SHOWN_ROLES for _ in range(_SHARES[role])])
    first = [role for role in SHOWN_ROLES if there.get(role)]
    for role in itertools.chain(first, rounds):
        if sum(given.values()) >= min(number, sum(there.values())):
            return given
        if given.get(role, 0) < there.get(role, 0):
            given[role] += 1
    return given


def choose(manifest: Sequence[SampleRecord], number: int) -> list[Case]:
    """Return the samples to show, by role in the order of `SHOWN_ROLES`, the extreme ones of each role first."""
    by_role = {role: [record for record in manifest if record.role == role] for role in SHOWN_ROLES}
    wanted = quotas({role: len(records) for role, records in by_role.items()}, number)
    return [case for role in SHOWN_ROLES for case in choose_of_role(by_role[role], wanted[role])]
