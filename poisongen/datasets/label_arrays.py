"""A label file's bytes as an array, and the raw class IDs that the array stands for."""

from __future__ import annotations

import numpy as np

from poisongen.datasets.base import Array, ClassTable, LabelKind
from poisongen.errors import DataError
from poisongen.files.images import decode, decode_labels


def decode_label_file(kind: LabelKind, data: bytes, name: object) -> Array:
    """Return a label picture's stored samples, (H, W) or (H, W, C); DataError for what its kind cannot be."""
    return decode_labels(data, name, coloured=kind.ids is not None) if kind.flat else decode(data, name)


def class_ids(kind: LabelKind, array: Array, classes: ClassTable) -> Array:
    """Return the raw class IDs of a semantic kind's legal array, (H, W) uint8."""
    return array if kind.ids is None else np.asarray(kind.ids(array, classes))


def read_class_ids(kind: LabelKind, data: bytes, name: object, classes: ClassTable) -> Array:
    """Return a label map's raw class IDs from its file's bytes, (H, W) uint8; DataError where they are not legal."""
    array = decode_label_file(kind, data, name)
    if fault := kind.fault(array, classes):
        raise DataError(name, fault)
    return class_ids(kind, array, classes)
