"""What is scored: test samples with and without trigger, read when their turn comes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from poisongen.building.pictures import Place, stamped_image
from poisongen.building.placing import box_of, counts_of, place_sample, stamp_generator
from poisongen.core.resize import resize_image, resize_labels, scaled_size
from poisongen.datasets.base import Sample
from poisongen.errors import DataError
from poisongen.files.as_seen import as_picture
from poisongen.recipe.rules import Rules, make_rules
from poisongen.source.labels import read_labels
from poisongen.source.listing import read_file
from poisongen.victim.dataset import Dataset, TriggeredSample
from poisongen.victim.expected import Wanted, by_rule
from poisongen.victim.reading import Picture, read_image, read_raw_labels
from poisongen.victim.zones import split_labels

Argument = TypeVar("Argument")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Item:
    """One test picture: its sample's name, the name of its image file, and how it is read.

    `image()` gives (H, W, 3) uint8 RGB, `labels()` train IDs (H, W) uint8 with 255 for void, of the same size.
    `wanted` are the labels that an attacker wants, by the name of the set for which they are asked.
    """

    name: str
    file: str
    image: Callable[[], Picture]
    labels: Callable[[], Picture]
    wanted: Mapping[str, Wanted] = field(default_factory=dict)

    def views(self) -> list[Picture]:
        """Return the label maps that a prediction is counted against: the true one, then two for each wanted one.

        DataError if wanted labels have another size than the true ones.
        """
        labels = self.labels()
        views = [labels]
        for wanted in self.wanted.values():
            found = wanted(labels)
            if found.shape != labels.shape:
                (height, width), (high, wide) = found.shape, labels.shape
                raise DataError(self.file, f"the labels expected of it are {width}x{height} px, its own {wide}x{high}")
            views += split_labels(labels, found)
        return views


@dataclass(frozen=True)
class CleanSet:
    """The clean test split: a build's own, or (with another scale than 1) that of the source it was built from."""

    folder: Dataset
    samples: tuple[Sample, ...]
    scale: float
    table: npt.NDArray[np.uint8]

    def image(self, sample: Sample) -> Picture:
        """Return a sample's image at the written size."""
        pixels = read_image(self.folder.root / sample.image)
        return resize_image(pixels, scaled_size(pixels.shape[0], pixels.shape[1], self.scale))

    def labels(self, sample: Sample) -> Picture:
        """Return a sample's train IDs at the written size."""
        labels = _labels(self.folder, self.folder.label_path(sample), self.table)
        return np.asarray(resize_labels(labels, scaled_size(labels.shape[0], labels.shape[1], self.scale)))

    def item(self, sample: Sample) -> Item:
        """Return a sample as something to score."""
        return Item(
            sample.name, sample.image, functools.partial(self.image, sample), functools.partial(self.labels, sample)
        )


def _labels(folder: Dataset, path: str, table: npt.NDArray[np.uint8]) -> Picture:
    """Read a label map as train IDs. All semantic kinds of a layout hold the same IDs: any of them checks it."""
    kind = next(kind for kind in folder.layout.kinds.values() if kind.semantic)
    return np.asarray(table[read_raw_labels(folder.root / path, kind, folder.classes)])


def triggered_item(folder: Dataset, sample: TriggeredSample, table: npt.NDArray[np.uint8]) -> Item:
    """Return a sample of OUT/triggered as something to score."""
    return Item(
        sample.name,
        sample.image,
        functools.partial(read_image, folder.root / sample.image),
        functools.partial(_labels, folder, sample.label, table),
    )


def rules_between(folder: Dataset, low: float | None, high: float | None, scale: float) -> Rules:
    """Return the rules of a build with other distance bounds: seed, trigger, size and region stay."""
    assert folder.recipe is not None  # noqa: S101  asked of builds only
    bounds = {"min_distance": low, "max_distance": high, "scale": scale}
    return make_rules(folder.recipe.model_copy(update=bounds), folder.classes)


def place_trigger(sample: Sample, root: Path, rules: Rules) -> Place | None:
    """Place a trigger in a test sample: build's own function decides; None where there is no position.

    Samples for which the recipe's conditions fail get none either: they are not what success is measured on.
    """
    if rules.conditions:
        labels = read_labels(root, sample, rules, maps_only=True).scaled(rules.recipe.scale)
        if not rules.holds(counts_of(labels.maps[0]), None):
            return None
    place = place_sample(sample, "triggered", root, rules)
    return None if isinstance(place, str) else place


def with_trigger(clean: CleanSet, sample: Sample, place: Place, rules: Rules) -> Item:
    """Return a clean sample with the picture that build would write for it, made on reading, and its true labels."""
    root = clean.folder.root

    def image() -> Picture:
        data, path = read_file(root, sample.image), root / sample.image
        new = stamped_image(data, place, rules, stamp_generator(sample, "triggered", rules), path)
        return as_picture(data if new is None or new.file.data is None else new.file.data, path)

    return replace(clean.item(sample), image=image)


def wanted_at(clean: CleanSet, sample: Sample, place: Place, rules: Rules) -> Wanted:
    """Return what the label rule gives for a clean sample with its trigger at a place."""
    return by_rule(clean.folder.root, sample, rules, box_of(place), clean.table)


def read_ahead(function: Callable[[Argument], Value], arguments: Sequence[Argument], jobs: int) -> Iterator[Value]:
    """Yield function(argument) in order, with threads working a little ahead (decoders release the lock)."""
    ahead = 2 * jobs
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(function, argument) for argument in arguments[:ahead]]
        for position in range(len(arguments)):
            value = waiting.pop(0).result()
            if position + ahead < len(arguments):
                waiting.append(pool.submit(function, arguments[position + ahead]))
            yield value


def check_sizes(item: Item, image: Picture, labels: Picture) -> None:
    """DataError unless an image and its labels have one size."""
    if image.shape[:2] != labels.shape:
        (height, width), (high, wide) = image.shape[:2], labels.shape
        raise DataError(item.file, f"is {width}x{height} px, its labels {wide}x{high} px")
