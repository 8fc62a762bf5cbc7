"""What a survey learns of a sample, as the cache keeps it, and a survey's answer made of it again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from poisongen.attack.triggers.base import Quad
from poisongen.building.pictures import Place
from poisongen.building.surveyed import Errand, Surveyed, is_read, random_labels_for
from poisongen.core.placement import Placement
from poisongen.datasets.base import Problem, Sample
from poisongen.files.stores import StorePath
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import ALGORITHM, RECORDS
from poisongen.records.manifest import Role
from poisongen.source.listing import SourceFile
from poisongen.source.memory import Memory, Told
from poisongen.version import __version__


@dataclass(frozen=True)
class Remembering:
    """The cache as one survey uses it: what labels tell (`labels`), and what a recipe makes of a sample (`choices`)."""

    memory: Memory
    labels: str
    choices: str

    def _kind(self, errand: Errand, rules: Rules) -> str:
        """Return the kind of row that answers an errand: of labels alone, with the image decoded, or of a recipe."""
        if errand.role is not None or random_labels_for(errand.sample, rules):
            return f"{self.choices}:{errand.role}"
        return f"{self.labels}:decoded" if is_read(errand.sample, rules) else self.labels

    def recalled(self, errand: Errand, rules: Rules, early: bool) -> Surveyed | None:
        """Return what a survey of this sample would say, None if it must be read. `early`: its tasks are to be done."""
        sample, kind = errand.sample, self._kind(errand, rules)
        if early and kind != self.labels:
            return None
        told = self.memory.recall(kind, sample.image, sample.paths)
        return None if told is None else _sound(told, errand, rules)

    def learn(self, errand: Errand, found: Surveyed, rules: Rules, early: bool) -> None:
        """Note what a survey said of a sample."""
        sample, kind = errand.sample, self._kind(errand, rules)
        if found.joint is None and found.problem is None:
            return
        if not (early and kind.startswith(self.choices)):
            self.memory.learn(kind, sample.image, sample.paths, _told(found))
        if kind != self.labels and found.problem is None:
            self.memory.learn(self.labels, sample.image, sample.paths, _told(replace(found, place=None)))

    def place_of(self, sample: Sample, role: Role) -> Place | str | None:
        """Return where a trigger went in a sample whose turn came late, or why nowhere; None if that is not known."""
        told = self.memory.recall(f"{self.choices}:late:{role}", sample.image, sample.paths)
        try:
            return None if told is None else _place(told["place"])
        except (KeyError, TypeError, ValueError):
            return None

    def learn_place(self, sample: Sample, role: Role, place: Place | str) -> None:
        """Note what `place_of` is to say."""
        told = place if isinstance(place, str) else _place_told(place)
        self.memory.learn(f"{self.choices}:late:{role}", sample.image, sample.paths, {"place": told})


def remembering(root: Path, files: Sequence[SourceFile], rules: Rules) -> Remembering | None:
    """Open the cache for a survey; None where it is of no use: on a store, and for pictures that are scaled."""
    if isinstance(root, StorePath) or rules.recipe.scale != 1:
        return None
    judged = (__version__, ALGORITHM, RECORDS, rules.layout.name, rules.classes)
    labels = "labels:" + hashlib.sha256(repr(judged).encode()).hexdigest()[:16]
    choices = f"choices:{labels[7:]}:{rules.recipe.fingerprint()}"
    roles = [f"{late}{role}" for role in ("None", *get_args(Role)) for late in ("", "late:")]
    return Remembering(
        Memory(root, files, (labels, f"{labels}:decoded", *(f"{choices}:{role}" for role in roles))), labels, choices
    )


def _told(found: Surveyed) -> Told:
    if found.problem is not None:
        return {"problem": [found.problem.path, found.problem.text]}
    told: Told = {"size": [found.height, found.width], "joint": found.joint, "odd": list(found.odd)}
    told["digests"] = None if found.digests is None else dict(found.digests)
    if found.place is not None:
        told["place"] = found.place if isinstance(found.place, str) else _place_told(found.place)
    return told


def _place_told(place: Place) -> Told:
    at = place.placement
    sides = None if at is None else [*at.box, at.row, at.column, _finite(at.distance), at.eligible_positions]
    return {"at": sides, "quad": place.quad, "decoy": place.decoy}


def _finite(distance: float) -> float | None:
    return None if distance == float("inf") else distance


def _sound(told: Told, errand: Errand, rules: Rules) -> Surveyed | None:
    """Return a survey's answer; None where a row has not the form that it must have."""
    try:
        return _surveyed(told, errand, rules)
    except (KeyError, TypeError, ValueError):
        return None


def _surveyed(told: Told, errand: Errand, rules: Rules) -> Surveyed:
    sample = errand.sample
    if "problem" in told:
        path, text = map(str, told["problem"])
        return Surveyed(sample, 0, 0, 0, problem=Problem(sample.split, sample.name, path, text))
    height, width = map(int, told["size"])
    odd = tuple(map(str, told["odd"]))
    classes: Counter[int] = Counter()
    victims, wanted = 0, set(rules.victims)
    for *ids, count in told["joint"]:
        classes[int(ids[0])] += int(count)
        victims += int(count) if wanted.intersection(ids) else 0
    if sum(classes.values()) != height * width:
        raise ValueError
    return Surveyed(
        sample=_without(sample, odd),
        height=height,
        width=width,
        victim_pixels=victims,
        role=errand.role,
        place=_place(told.get("place")),
        classes=dict(sorted(classes.items())),
        odd=odd,
        digests=None if told["digests"] is None else {str(path): str(sum_) for path, sum_ in told["digests"].items()},
        joint=tuple(map(tuple, told["joint"])),
    )


def _without(sample: Sample, odd: Sequence[str]) -> Sample:
    return replace(sample, labels=tuple(label for label in sample.labels if label.path not in odd)) if odd else sample


def _place(told: Any) -> Place | str | None:
    if told is None or isinstance(told, str):
        return told
    placement = None
    if told["at"] is not None:
        *sides, distance, eligible = told["at"]
        top, left, height, width, row, column = map(int, sides)
        far = float("inf") if distance is None else float(distance)
        placement = Placement(top, left, height, width, row, column, far, int(eligible))
    quad = told["quad"]
    corners: Quad | None = None
    if quad is not None:
        one, two, three, four = ((float(row), float(column)) for row, column in quad)
        corners = (one, two, three, four)
    return Place(placement, corners, bool(told["decoy"]))
