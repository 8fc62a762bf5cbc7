"""What checks find: faults, how often each check was made, and what could not be checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

MOST_FAULTS = 1000  # kept in full; the rest are only counted

CHECKS = {
    "records": "recipe, manifest, links, skipped and summary are valid, agree, and have the fingerprint",
    "files": "files exist, are files, and have their digests",
    "strangers": "nothing lies in OUT that the records do not explain",
    "rules": "records obey the recipe: pairs, box, distance, region, roles, splits, counts",
    "order": "the poisoned samples are the first of the drawn order; no sample is left out",
    "labels": "the label files of a sample tell one story; no victim is left in a poisoned one",
    "trigger": "the trigger's pixels are in the box",
    "placement": "distance, eligible positions and classes under the box, computed anew",
    "source": "source files have their digests, and all unchanged files are the source's",
    "image": "pixels differ from the source in the box only, and there by the trigger",
    "annotations": "written pictures hold nothing beside the picture but what the source's file holds",
    "relabelling": "labels differ from the source by relabelling and random labels only",
    "undo": "the undo store has its digests and covers every changed file",
}
"""Each check by name, with what it proves."""


def words(value: object) -> str:
    """Return what a fault says of a value. Errors of this project speak for themselves; Python's own tell nobody."""
    if isinstance(value, OSError):
        return f"cannot be read ({value.strerror})" if value.strerror else "cannot be read"
    if isinstance(value, MemoryError):
        return "contents that take more memory than there is"
    if isinstance(value, Exception) and not type(value).__module__.startswith("poisongen"):
        return "contents that no check foresees, so that they are not proved; please report it if they are sound"
    return str(value)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. `file` is a path below OUT (or below the source, if `expected` says so)."""

    check: str
    sample: str
    file: str
    expected: str
    found: str


class Findings:
    """Collects what checks find. It is what workers return, and what the driver adds up.

    `reencoded` are pictures of OUT with other bytes than build wrote, and the same pixels: which is no fault.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.checked: Counter[str] = Counter()
        self.faulty: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.reencoded: set[str] = set()

    def test(self, check: str, good: bool, file: str, expected: object, found: object, sample: str = "") -> bool:
        """Count one check made, keep a fault if it is not good, and return whether it is."""
        self.checked[check] += 1
        if not good:
            self.fault(check, file, expected, found, sample)
        return good

    def fault(self, check: str, file: str, expected: object, found: object, sample: str = "") -> None:
        """Keep a fault; beyond the first thousand they are only counted."""
        self.faulty[check] += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(check, sample[:300], file[:1000], words(expected)[:300], words(found)[:300]))

    def note(self, text: str) -> None:
        """Count something that could not be checked."""
        self.notes[text] += 1

    def add(self, other: Findings) -> None:
        """Add what another one collected."""
        self.faults += other.faults[: max(0, MOST_FAULTS - len(self.faults))]
        self.checked += other.checked
        self.faulty += other.faulty
        self.notes += other.notes
        self.reencoded |= other.reencoded
