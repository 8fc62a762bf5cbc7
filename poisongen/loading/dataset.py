"""`poisongen.load`: a poisoned dataset by splits and test sets, read lazily."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from poisongen.datasets import find_layout
from poisongen.datasets.base import ClassTable, Layout
from poisongen.loading.sample import LoadedSample
from poisongen.printing import number_of
from poisongen.recipe.model import Recipe
from poisongen.records.manifest import NEGATIVE, TRIGGERED
from poisongen.records.reading import SkipRecord, Summary, sound_records
from poisongen.records.samples import RecordedSample, label_map_path, sample_sets


class SampleSet(Sequence[LoadedSample]):
    """The samples of one split or test set, sorted by name: `len`, indexing, slices and iteration read no picture."""

    def __init__(self, name: str, samples: Sequence[LoadedSample]) -> None:
        self.name = name
        self._samples = tuple(samples)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> LoadedSample: ...

    @overload
    def __getitem__(self, index: slice) -> SampleSet: ...

    def __getitem__(self, index: int | slice) -> LoadedSample | SampleSet:
        if isinstance(index, slice):
            return SampleSet(self.name, self._samples[index])
        return self._samples[index]

    def __repr__(self) -> str:
        return f"<{self.name}: {number_of(len(self), 'sample')}>"

    def of(self, role: str | None) -> SampleSet:
        """Return the samples of one role; None for those that build left as they were."""
        return SampleSet(self.name, [sample for sample in self._samples if sample.role == role])


@dataclass(frozen=True)
class PoisonedDataset(Mapping[str, SampleSet]):
    """A poisoned dataset, a mapping from the names of its splits and test sets to their samples.

    `splits` are its own splits; `triggered` and `negative` are the test samples with triggers (empty where there are
    none). In the mapping a test set stands under its folder's name, unless a split has that name.
    """

    out: Path
    layout: Layout
    classes: ClassTable
    recipe: Recipe
    summary: Summary
    skipped: tuple[SkipRecord, ...]
    splits: Mapping[str, SampleSet]
    triggered: SampleSet
    negative: SampleSet

    @property
    def fingerprint(self) -> str:
        """The dataset's fingerprint."""
        return self.summary.fingerprint

    def _all(self) -> dict[str, SampleSet]:
        return {tests.name: tests for tests in (self.triggered, self.negative) if len(tests)} | dict(self.splits)

    def __getitem__(self, name: str) -> SampleSet:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        sets = ", ".join(f"{name}: {len(samples)}" for name, samples in self.items())
        return f"<poisoned {self.layout.name} at {self.out}, {sets}>"

    def _repr_html_(self) -> str:
        """A line for each set, for Jupyter."""
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{len(samples)}</td></tr>" for name, samples in self.items()
        )
        title = html.escape(f"poisoned {self.layout.name}, fingerprint {self.fingerprint[:8]}")
        return f"<table><tr><th>{title}</th><th>samples</th></tr>{rows}</table>"


def load(out: Path | str) -> PoisonedDataset:
    """Open a finished build for reading: image, labels and record of every sample, by split and test set.

    Only the records are read now; they are checked by their models and digests, and OutputError says which is wrong.
    Pictures are read when a sample is asked for them.
    """
    folder = Path(out).absolute()
    records = sound_records(folder)
    assert records.recipe is not None  # noqa: S101  sound records have both
    assert records.summary is not None  # noqa: S101
    layout = find_layout(records.recipe.dataset)
    home = folder / records.above
    classes = layout.classes(home)
    bad = [skip.sample for skip in records.skipped if skip.file is not None]
    sets = sample_sets(layout, home, records.above, records.recipe, records.manifest, records.links, bad)

    def loaded(name: str, samples: Sequence[RecordedSample]) -> SampleSet:
        made = []
        for one in samples:
            path = label_map_path(one.sample, layout)
            kind = next(layout.kinds[label.kind] for label in one.sample.labels if label.path == path)
            made.append(LoadedSample(folder, one.sample, one.record, path, kind, classes))
        return SampleSet(name, made)

    return PoisonedDataset(
        folder,
        layout,
        classes,
        records.recipe,
        records.summary,
        tuple(records.skipped),
        {split: loaded(split, samples) for split, samples in sets.splits.items()},
        loaded(TRIGGERED, sets.test_sets.get(TRIGGERED, ())),
        loaded(NEGATIVE, sets.test_sets.get(NEGATIVE, ())),
    )
