"""Pictures small enough for a page: as data URIs, each within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.core.resize import resize_image, resize_labels

Array = npt.NDArray[Any]

LARGEST_SIDE = 800  # pixels
_SIDES = (LARGEST_SIDE, 640, 480, 320, 240, 160, 96, 48, 24)
_QUALITY = 82


def _sizes(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield the sizes (height, width) to try, the largest first; no picture grows."""
    longer = max(shape[:2])
    for side in (longer, *_SIDES):
        if side <= min(longer, LARGEST_SIDE):
            factor = side / longer
            yield max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _fitting(picture: Array, most: int, encode: Callable[[Array, tuple[int, int]], bytes], kind: str) -> str | None:
    """Return the largest form of a picture whose URI has at most `most` characters; None if none has."""
    for size in _sizes(picture.shape):
        uri = _uri(kind, encode(picture, size))
        if len(uri) <= most:
            return uri
    return None


def _jpeg(picture: Array, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    small = np.ascontiguousarray(resize_image(np.ascontiguousarray(picture), size))
    Image.fromarray(small).save(stream, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return stream.getvalue()


def photo_uri(picture: Array, most: int) -> str | None:
    """Return an image, (H, W, 3) uint8 RGB, as the URI of a JPEG; None if it cannot be had in `most` characters."""
    return _fitting(picture, most, _jpeg, "jpeg")


def labels_uri(labels: Array, colours: npt.NDArray[np.uint8], most: int) -> str | None:
    """Return a label map, (H, W) uint8, in its colours (256, 3) as the URI of a PNG; None if too large."""

    def png(picture: Array, size: tuple[int, int]) -> bytes:
        stream = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(resize_labels(np.ascontiguousarray(picture), size)), "L")
        image.putpalette(colours.tobytes())
        image.save(stream, "PNG", optimize=True)
        return stream.getvalue()

    return _fitting(labels, most, png, "png")


def drawing_uri(picture: Array, side: int = 160) -> str:
    """Return a trigger's picture, (h, w, 4) uint8 RGBA, as the URI of a PNG of at most `side` pixels."""
    image = Image.fromarray(np.ascontiguousarray(picture), "RGBA")
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return _uri("png", stream.getvalue())
