"""Label files that scripts derive: which of a sample's are what they are called, by its other label files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import Index, LabelFile, Layout, Sample
from poisongen.datasets.label_arrays import decode_label_file
from poisongen.datasets.label_checks import LabelNow
from poisongen.errors import DataError
from poisongen.files.orientation import AS_STORED, orientation
from poisongen.recipe.rules import Rules
from poisongen.source.labels import LabelContents, read_labels
from poisongen.source.listing import read_file


def without_odd(sample: Sample, root: Path, rules: Rules) -> tuple[Sample, tuple[str, ...]]:
    """Return a sample without the derived files that do not agree with its other label files, and these files' paths.

    DataError if one of the others is bad.
    """
    kinds = rules.layout.kinds
    derived = [label for label in sample.labels if kinds[label.kind].derived]
    if not derived:
        return sample, ()
    plain = replace(sample, labels=tuple(label for label in sample.labels if label not in derived))
    labels = read_labels(root, plain, rules)
    odd = [label for label in derived if not _agrees(label, labels, root, rules)]
    return replace(sample, labels=tuple(label for label in sample.labels if label not in odd)), tuple(
        label.path for label in odd
    )


def _agrees(label: LabelFile, labels: LabelContents, root: Path, rules: Rules) -> bool:
    kind = rules.layout.kinds[label.kind]
    try:
        data = read_file(root, label.path)
        pixels = decode_label_file(kind, data, root / label.path)
    except DataError:
        return False
    shape = labels.maps[0].shape
    if pixels.shape[:2] != shape or orientation(data) != AS_STORED or kind.fault(pixels, rules.classes) is not None:
        return False
    now = LabelNow(
        kind=label.kind,
        data=data,
        pixels=pixels,
        maps=dict(zip(labels.semantic, labels.maps, strict=True)),
        written=False,
        gone=(),
        random=0,
        classes=rules.classes,
    )
    return kind.check.agrees(now) is None


def derived_paths(index: Index, layout: Layout) -> frozenset[str]:
    """Return the paths of all derived files that an index has."""
    samples: Sequence[Sample] = [sample for found in index.samples.values() for sample in found]
    return frozenset(label.path for sample in samples for label in sample.labels if layout.kinds[label.kind].derived)
