"""EXIF's orientation: how a picture is stored, and how readers that heed the tag see it.

Cameras store a picture as the sensor lay and note how to turn it; `cv2.imread`, mmcv and Pillow's `exif_transpose` turn
it, other readers do not. Masks from annotation tools fit the turned ("upright") picture.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.files.png_parts import SIGNATURE, extras

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

AS_STORED = 1
_TAG = 0x0112  # Orientation, in the first directory (EXIF 2.32, section 4.6.4)
_TRACES = (b"Exif\0", b"eXIf", b"Raw profile type", b"tiff:Orientation")
# How the stored picture becomes upright: transposed or not, then rows and columns reversed or not.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of a PNG or JPEG file; 1 where it has none, or none that makes sense.

    It is the tag that Pillow finds, in EXIF or else in XMP. For a JPEG the bytes before its first scan are enough.
    """
    words = extras(data) if data.startswith(SIGNATURE) else data
    if not any(trace in words for trace in _TRACES):
        return AS_STORED
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a corrupt EXIF block turns no picture
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                value = image.getexif().get(_TAG, AS_STORED)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError):
        return AS_STORED
    except Image.DecompressionBombError:
        return AS_STORED
    return value if type(value) is int and value in _TURNS else AS_STORED


def turns_sideways(value: int) -> bool:
    """Whether height and width change places."""
    return _TURNS[value][0]


def upright(pixels: Array, value: int) -> Array:
    """Return stored samples, (H, W) or (H, W, C), as readers that heed the orientation see them. A view, no copy."""
    transposed, rows, columns = _TURNS[value]
    turned = np.swapaxes(pixels, 0, 1) if transposed else pixels
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def as_stored(pixels: Array, value: int) -> Array:
    """Return upright samples as the file stores them: the inverse of `upright`. A view, no copy."""
    transposed, rows, columns = _TURNS[value]
    turned = pixels[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.swapaxes(turned, 0, 1) if transposed else turned


def stored_box(box: Box, value: int, height: int, width: int) -> Box:
    """Return where an upright box [top, left, height, width] lies in the stored picture.

    `height` and `width` are the upright picture's.
    """
    transposed, rows, columns = _TURNS[value]
    top, left, tall, wide = box
    top = height - top - tall if rows else top
    left = width - left - wide if columns else left
    return (left, top, wide, tall) if transposed else (top, left, tall, wide)
