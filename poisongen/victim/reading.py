"""Reading an image as RGB and a label map as train IDs, at the size that a model works at."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.core.resize import resize_image, resize_labels
from poisongen.datasets.base import ClassTable, LabelKind
from poisongen.datasets.label_arrays import read_class_ids
from poisongen.errors import DataError
from poisongen.files.images import header
from poisongen.files.orientation import AS_STORED, orientation, turns_sideways, upright
from poisongen.victim.settings import Size

Picture = npt.NDArray[np.uint8]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None


def _open(data: bytes, path: Path) -> Image.Image:
    """Decode a picture; DataError if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(path, f"cannot be read as a PNG or JPEG ({error})") from None
    return image


def read_size(path: Path) -> Size:
    """Return a picture's height and width from its header, EXIF's orientation heeded; DataError if unreadable."""
    facts = header(path)
    return (facts.width, facts.height) if turns_sideways(facts.orientation) else (facts.height, facts.width)


def read_image(path: Path, size: Size | None = None) -> Picture:
    """Return an image as (H, W, 3) uint8 RGB, scaled to `size` if given; DataError if it cannot be read."""
    pixels = as_picture(_bytes(path), path)
    return pixels if size is None else resize_image(pixels, size)


def as_picture(data: bytes, path: Path) -> Picture:
    """Return a PNG's or JPEG's content as (H, W, 3) uint8 RGB; DataError, naming `path`, if it cannot be read.

    EXIF's orientation is heeded: masks fit the picture that it gives, or build refuses them.
    """
    image = _open(data, path)
    if image.mode.startswith("I"):  # 16-bit gray: the high byte
        pixels = np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    else:
        pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    turn = orientation(data)
    return pixels if turn == AS_STORED else np.ascontiguousarray(upright(pixels, turn))


def read_raw_labels(path: Path, kind: LabelKind, classes: ClassTable) -> Picture:
    """Return a label map's raw class IDs, (H, W) uint8; DataError if it is unreadable or holds illegal values."""
    return read_class_ids(kind, _bytes(path), path, classes)


def fit_labels(labels: Picture, size: Size | None) -> Picture:
    """Return a label map at `size`, by nearest neighbour and never otherwise."""
    return labels if size is None else resize_labels(labels, size)
