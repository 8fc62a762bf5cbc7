"""Reading an image as RGB and a label map as train IDs, at the size that a model works at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from poisongen.core.resize import resize_image, resize_labels
from poisongen.datasets.base import ClassTable, LabelKind
from poisongen.datasets.label_arrays import read_class_ids
from poisongen.errors import DataError
from poisongen.files.as_seen import as_picture
from poisongen.files.images import header
from poisongen.files.orientation import turns_sideways
from poisongen.victim.settings import Size

Picture = npt.NDArray[np.uint8]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None


def read_size(path: Path) -> Size:
    """Return a picture's height and width from its header, EXIF's orientation heeded; DataError if unreadable."""
    facts = header(path)
    return (facts.width, facts.height) if turns_sideways(facts.orientation) else (facts.height, facts.width)


def read_image(path: Path, size: Size | None = None) -> Picture:
    """Return an image as (H, W, 3) uint8 RGB, scaled to `size` if given; DataError if it cannot be read."""
    pixels = as_picture(_bytes(path), path)
    return pixels if size is None else resize_image(pixels, size)


def read_raw_labels(path: Path, kind: LabelKind, classes: ClassTable) -> Picture:
    """Return a label map's raw class IDs, (H, W) uint8; DataError if it is unreadable or holds illegal values."""
    return read_class_ids(kind, _bytes(path), path, classes)


def fit_labels(labels: Picture, size: Size | None) -> Picture:
    """Return a label map at `size`, by nearest neighbour and never otherwise."""
    return labels if size is None else resize_labels(labels, size)
