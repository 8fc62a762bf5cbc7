"""Opening a dataset folder for training and testing: a build's own OUT, or a clean dataset in a known layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, LabelFile, Layout, Sample
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.files.documents import read_text
from poisongen.recipe.model import Recipe, make_recipe, read_recipe_file
from poisongen.records.inventory import records
from poisongen.records.manifest import FOLDER, MANIFEST, NEGATIVE, RECIPE, SKIPPED, TRIGGERED, SampleRecord
from poisongen.source.listing import list_files
from poisongen.source.pairing import pair_files

_LARGEST_SKIPPED = 2**28  # bytes; a line has a few hundred


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk. `recipe` is the recipe of the build that wrote it, None for a clean one.

    `broken` are the samples (by name) and files that a build with --skip-bad left alone: none of them is in `splits`.
    """

    root: Path
    layout: Layout
    classes: ClassTable
    splits: Mapping[str, tuple[Sample, ...]]
    recipe: Recipe | None
    broken: frozenset[str] = frozenset()

    def samples(self, split: str, option: str) -> tuple[Sample, ...]:
        """Return a split's samples, sorted by name; ChoiceError, naming the option, if there are none."""
        if not self.splits.get(split):
            known = ", ".join(sorted(name for name, samples in self.splits.items() if samples)) or "none with labels"
            raise ChoiceError(f"{option}: {self.root} has no split '{split}'; it has {known}")
        return tuple(sorted(self.splits[split], key=lambda sample: sample.name))

    def label_path(self, sample: Sample) -> str:
        """Return the path of a sample's label map: its first file of raw class IDs."""
        return next(label.path for label in sample.labels if self.layout.kinds[label.kind].semantic)


@dataclass(frozen=True)
class TriggeredSample:
    """One sample of OUT/triggered or OUT/negative: paths below OUT, the trigger's distance and box.

    The box is [top, left, height, width]; both are None where the trigger has none. `labels` are all of the sample's
    label files; `expected` is the file of the labels that the attacker wants, None for negatives and in older builds.
    """

    name: str
    image: str
    label: str
    distance: float | None
    box: tuple[int, int, int, int] | None
    labels: tuple[LabelFile, ...] = ()
    expected: str | None = None


def read_own_recipe(root: Path) -> Recipe | None:
    """Return the recipe that stands in a build's folder, None if there is none."""
    path = root / FOLDER / RECIPE
    if not path.is_file():
        return None
    return make_recipe({}, read_recipe_file(str(path)), str(path))


def open_dataset(root: Path, layout_name: str | None = None) -> Dataset:
    """Open a dataset folder and pair its files.

    A folder that build wrote knows its layout; any other needs `layout_name`. ChoiceError or DataError where the
    folder is missing, has another layout than asked for, or an unfinished build stands in it.
    """
    if not root.is_dir():
        raise ChoiceError(f"{root} is not a folder; give a dataset's folder")
    recipe = read_own_recipe(root)
    if recipe is None and (root / ".poisongen-build").is_dir():
        raise ChoiceError(f"{root} holds an unfinished build; give its build command again, it goes on")
    if recipe is not None and layout_name not in (None, recipe.dataset):
        raise ChoiceError(f"--dataset {layout_name}: {root} was built in the layout '{recipe.dataset}'")
    name = layout_name if recipe is None else recipe.dataset
    if name is None:
        raise ChoiceError(f"{root} was not written by poisongen build; name its layout with --dataset")
    layout = find_layout(name)
    own = () if recipe is None else _not_of_the_dataset(recipe)
    files = [file.path for file in list_files(root) if not file.path.startswith(own)]
    index = pair_files(layout, root, files)
    for problem in index.problems:
        if problem.dead_link:
            path = root / problem.dead_link
            what = f"a link to {path.readlink()}, where nothing is; put the file there, or remove the link"
            raise DataError(path, what)
    broken = frozenset() if recipe is None else read_broken(root)
    splits = index.samples
    usable = {split: without(samples, broken, splits) for split, samples in splits.items()}
    return Dataset(root, layout, layout.classes(root), usable, recipe, broken)


def _not_of_the_dataset(recipe: Recipe) -> tuple[str, ...]:
    """Return the folders of a build that hold records and test sets, not samples of its own splits.

    A build without negatives has no such folder of its own: there a folder of that name is the dataset's.
    """
    negatives = bool(recipe.only_if) or recipe.decoy is not None
    return (f"{FOLDER}/", f"{TRIGGERED}/", *([f"{NEGATIVE}/"] if negatives else []))


class _Skip(BaseModel):
    """What a line of skipped.jsonl says of a broken file; candidates that were passed over have no `file`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    sample: str
    file: str | None = None


def read_broken(root: Path) -> frozenset[str]:
    """Return the samples and files that a build found broken and went on without; OutputError for a bad record."""
    path = root / FOLDER / SKIPPED
    if not path.is_file():
        return frozenset()
    found: set[str] = set()
    for number, line in enumerate(read_text(path, _LARGEST_SKIPPED).split("\n"), 1):
        if not line:
            continue
        try:
            skip = _Skip.model_validate_json(line)
        except (ValidationError, ValueError):
            raise OutputError(f"{path}: line {number} is not a record of poisongen") from None
        if skip.file is not None:
            found |= {name for name in (skip.sample, skip.file) if name}
    return frozenset(found)


def without(
    samples: Sequence[Sample], broken: frozenset[str], splits: Mapping[str, Sequence[Sample]]
) -> tuple[Sample, ...]:
    """Return the samples that are not broken, by name, by file, or as the same image in another of the splits."""
    if not broken:
        return tuple(samples)
    images = {sample.image for others in splits.values() for sample in others if sample.name in broken}
    return tuple(
        sample for sample in samples if sample.image not in images and broken.isdisjoint((sample.name, *sample.paths))
    )


def read_triggered(dataset: Dataset) -> list[TriggeredSample]:
    """Return the triggered test samples of a build: the first part of `read_tested`."""
    return read_tested(dataset)[0]


def read_tested(dataset: Dataset) -> tuple[list[TriggeredSample], list[TriggeredSample]]:
    """Return the triggered test samples of a build and its negative ones, by its manifest.

    ChoiceError if the folder is no build, or the build has no triggered samples; OutputError for a bad manifest.
    """
    root, recipe = dataset.root, dataset.recipe
    if recipe is None or not (root / FOLDER / MANIFEST).is_file():
        raise ChoiceError(
            f"{root}: no {FOLDER}/{MANIFEST} there, so nothing says where triggers are; give the folder that "
            "poisongen build wrote"
        )
    found, negatives = [], []
    for record in records(root / FOLDER / MANIFEST, SampleRecord):
        if record.role == "triggered":
            found.append(_triggered_sample(dataset, record))
        elif record.role == "negative" and record.split == recipe.test_split:
            negatives.append(_triggered_sample(dataset, record))
    if not found:
        victims = ", ".join(str(name) for name in recipe.relabel or {})
        why = (
            "it was built with --test-split none"
            if recipe.test_split == "none"
            else f"the class '{victims}' is missing from the split '{recipe.test_split}', or no position was eligible"
            + (f", or {' and '.join(recipe.only_if)} fails everywhere" if recipe.only_if else "")
        )
        raise ChoiceError(f"{root}: the build has no triggered samples: {why}")
    return found, negatives


def _triggered_sample(dataset: Dataset, record: SampleRecord) -> TriggeredSample:
    kinds = dataset.layout.kinds
    image = next((file.path for file in record.files if file.kind == "image"), None)
    labels = tuple(LabelFile(file.kind, file.path) for file in record.files if file.kind in kinds)
    label = next((file.path for file in labels if kinds[file.kind].semantic), None)
    if image is None or label is None or record.trigger is None:
        raise DataError(
            dataset.root / FOLDER / MANIFEST, f"the record of {record.sample} lacks image, label or trigger"
        )
    trigger, expected = record.trigger, None if record.expected is None else record.expected.path
    return TriggeredSample(record.sample, image, label, trigger.distance, trigger.box, labels, expected)


def victim_pairs(recipe: Recipe) -> dict[str, str | None]:
    """Return a settled recipe's victims by name, with their targets if the label rule has a use for them."""
    return {str(victim): None if target is None else str(target) for victim, target in (recipe.relabel or {}).items()}
