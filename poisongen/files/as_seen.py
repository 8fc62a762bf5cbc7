"""A picture as models and people see it: RGB of 8 bits, turned as EXIF says."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.errors import DataError
from poisongen.files.orientation import AS_STORED, orientation, upright

Picture = npt.NDArray[np.uint8]


def _open(data: bytes, path: object) -> Image.Image:
    """Decode a picture; DataError if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(path, f"cannot be read as a PNG or JPEG ({error})") from None
    return image


def as_picture(data: bytes, path: object) -> Picture:
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
