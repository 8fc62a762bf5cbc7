"""The samples that stand in OUT, by split and test set, each with its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from poisongen.datasets.base import LabelFile, Layout, Sample
from poisongen.recipe.model import Recipe
from poisongen.records.manifest import FOLDER, NEGATIVE, TRIGGERED, LinkRecord, SampleRecord
from poisongen.records.roles import ROLES


@dataclass(frozen=True)
class RecordedSample:
    """One sample with its record, None for one that build left as it was. Paths are below OUT."""

    sample: Sample
    record: SampleRecord | None


@dataclass(frozen=True)
class SampleSets:
    """The samples of OUT, sorted by name: those of its splits, and those of `triggered/` and `negative/` by folder.

    A test set that has no samples is missing. Samples that build found broken are left out.
    """

    splits: Mapping[str, tuple[RecordedSample, ...]]
    test_sets: Mapping[str, tuple[RecordedSample, ...]]


def label_map_path(sample: Sample, layout: Layout) -> str:
    """Return the path of a sample's label map: its first file of raw class IDs."""
    return next(label.path for label in sample.labels if layout.kinds[label.kind].semantic)


def dataset_paths(recipe: Recipe, records: Iterable[SampleRecord], links: Iterable[LinkRecord]) -> list[str]:
    """Return the paths of OUT, sorted, that are the dataset itself: no test set with triggers, nothing of poisongen's.

    A build without negatives has no folder for them: there one of that name is the dataset's.
    """
    own = (FOLDER, TRIGGERED, *([NEGATIVE] if recipe.has_negatives else []))
    paths = {file.path for record in records for file in record.files} | {link.path for link in links}
    return sorted(path for path in paths if path.split("/")[0] not in own)


def sample_sets(
    layout: Layout,
    root: Path,
    above: str,
    recipe: Recipe,
    records: Sequence[SampleRecord],
    links: Sequence[LinkRecord],
    bad: Iterable[str],
) -> SampleSets:
    """Pair the files that the records name into samples, as the layout does, and give each its record.

    Split lists are read below `root`: the source, or its place in OUT, whose lists are the same. `above` is what OUT
    puts before every path of the source, '' or ending in '/'. `bad` are the names of samples that skipped.jsonl calls
    broken. DataError where the layout finds no dataset.
    """
    index = _scanned(layout, root, above, dataset_paths(recipe, records, links))
    broken = set(bad)
    bad_images = {s.image for samples in index.values() for s in samples if s.name in broken}
    own: dict[str, SampleRecord] = {}
    tests: dict[str, list[RecordedSample]] = {}
    for record in records:
        folder = "" if record.split == recipe.train_split else ROLES[record.role].test_prefix.rstrip("/")
        if folder:
            tests.setdefault(folder, []).append(RecordedSample(_sample_of(record), record))
        elif record.files:
            own[record.files[0].path] = record
    splits = {
        split: tuple(
            RecordedSample(sample, own.get(sample.image))
            for sample in sorted(samples, key=_by_name)
            if sample.image not in bad_images
        )
        for split, samples in sorted(index.items())
    }
    return SampleSets(
        {split: samples for split, samples in splits.items() if samples},
        {folder: tuple(sorted(found, key=lambda one: one.sample.name)) for folder, found in sorted(tests.items())},
    )


def _scanned(layout: Layout, root: Path, above: str, paths: Iterable[str]) -> Mapping[str, list[Sample]]:
    """Return the samples of OUT by split, as the layout finds them in the source, with their paths in OUT."""
    inside = [path.removeprefix(above) for path in paths if path.startswith(above)]

    def placed(sample: Sample) -> Sample:
        labels = tuple(LabelFile(label.kind, above + label.path) for label in sample.labels)
        return replace(sample, image=above + sample.image, labels=labels)

    return {split: [placed(sample) for sample in found] for split, found in layout.scan(root, inside).samples.items()}


def _by_name(sample: Sample) -> str:
    return sample.name


def _sample_of(record: SampleRecord) -> Sample:
    """Return a test sample with a trigger as its record names it: image first, then its label files."""
    labels = tuple(LabelFile(file.kind, file.path) for file in record.files[1:])
    return Sample(record.split, record.sample.removeprefix(f"{record.split}/"), record.files[0].path, labels)
