"""Label files that scripts derive: which of a sample's are what they are called, by its other label files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import Array, Index, LabelFile, Layout, Sample
from poisongen.datasets.label_arrays import decode_label_file
from poisongen.datasets.label_checks import LabelNow
from poisongen.errors import DataError
from poisongen.files.orientation import AS_STORED, orientation
from poisongen.recipe.rules import Rules
from poisongen.source.labels import LabelContents, read_labels
from poisongen.source.listing import read_file


def read_without_odd(sample: Sample, root: Path, rules: Rules) -> tuple[Sample, LabelContents, tuple[str, ...]]:
    """Read a sample's labels but for derived files that do not agree with its others.

    Returns the sample without these, its labels, and the odd files' paths. DataError if one of the others is bad.
    """
    kinds = rules.layout.kinds
    derived = [label for label in sample.labels if kinds[label.kind].derived]
    if not derived:
        return sample, read_labels(root, sample, rules), ()
    plain = replace(sample, labels=tuple(label for label in sample.labels if label not in derived))
    labels = read_labels(root, plain, rules)
    agreeing = {label: found for label in derived if (found := _agreeing(label, labels, root, rules)) is not None}
    odd = tuple(label.path for label in derived if label not in agreeing)
    kept = tuple(label for label in sample.labels if label.path not in odd)
    raw = {**labels.raw, **{label.kind: data for label, (data, _) in agreeing.items()}}
    arrays = {**labels.arrays, **{label.kind: pixels for label, (_, pixels) in agreeing.items()}}
    order = [label.kind for label in kept]
    whole = LabelContents(
        {kind: raw[kind] for kind in order},
        {kind: arrays[kind] for kind in order if kind in arrays},
        labels.semantic,
        labels.ids,
    )
    return replace(sample, labels=kept), whole, odd


def _agreeing(label: LabelFile, labels: LabelContents, root: Path, rules: Rules) -> tuple[bytes, Array] | None:
    """Return a derived file's bytes and pixels if it agrees with the sample's other files, else None."""
    kind = rules.layout.kinds[label.kind]
    try:
        data = read_file(root, label.path)
        pixels = decode_label_file(kind, data, root / label.path)
    except DataError:
        return None
    pixels.flags.writeable = False
    shape = labels.maps[0].shape
    if pixels.shape[:2] != shape or orientation(data) != AS_STORED or kind.fault(pixels, rules.classes) is not None:
        return None
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
    return (data, pixels) if kind.check.agrees(now) is None else None


def derived_paths(index: Index, layout: Layout) -> frozenset[str]:
    """Return the paths of all derived files that an index has."""
    samples: Sequence[Sample] = [sample for found in index.samples.values() for sample in found]
    return frozenset(label.path for sample in samples for label in sample.labels if layout.kinds[label.kind].derived)
