"""A new JPEG of other pixels in the manner of an old one: its tables, its subsampling, its annotations."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from poisongen.errors import DataError
from poisongen.files.jpeg import Array, with_segments_of
from poisongen.files.jpeg_damage import picture_of, pixels_of
from poisongen.files.jpeg_parts import FRAMES, frame, segments


def reencode(data: bytes, pixels: Array, name: object) -> bytes:
    """Return a new JPEG of `pixels` (any size) with the source's quantisation tables, subsampling and annotations."""
    try:
        facts = frame(data, name)
        tables = _tables_of_components(data, getattr(pixels_of(picture_of(data, name)), "quantization", {}), name)
        subsampling = _subsampling(data, name) if facts.components == 3 else -1
        stream = io.BytesIO()
        options: dict[str, Any] = {"subsampling": subsampling, "progressive": facts.marker == 0xC2}
        if facts.components == 3 and _holds_rgb(data, name):
            options["keep_rgb"] = True  # the source's own annotations say so, and they are kept
        Image.fromarray(pixels).save(stream, "JPEG", qtables=tables, **options)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(name, f"cannot be encoded again ({error})") from None
    return with_segments_of(data, stream.getvalue(), name)


def _tables_of_components(data: bytes, tables: Any, name: object) -> list[Any]:
    """Return the quantisation table of each component, in order: Pillow numbers them 0, 1, 2 when it writes.

    `tables` has the tables by the file's own numbers, of which a file may use any and leave out some.
    """
    head = next(segment for segment in segments(data, name)[0] if segment.marker in FRAMES)
    numbers = [data[head.start + 12 + 3 * index] for index in range(frame(data, name).components)]
    if not numbers or not set(numbers) <= set(tables):
        raise DataError(name, "cannot be encoded again (it lacks a quantisation table that it uses)")
    found = [tables[number] for number in numbers]
    while len(found) > 1 and found[-1] == found[-2]:
        found.pop()  # Pillow gives the last table to all further components
    return found


def _holds_rgb(data: bytes, name: object) -> bool:
    """Tell whether the three components are RGB: Adobe's marker says so, or there is none and they are so named."""
    names = b""
    for segment in segments(data, name)[0]:
        payload = data[segment.start + 4 : segment.end]
        if segment.marker == 0xEE and payload[:5] == b"Adobe" and len(payload) >= 12:
            return payload[11] == 0
        if segment.marker == 0xE0 and payload[:4] == b"JFIF":
            return False
        if segment.marker in FRAMES:
            names = payload[6::3][:3]
    return names == b"RGB"


def _subsampling(data: bytes, name: object) -> int:
    """Return Pillow's number for the source's subsampling; the nearest it can write is 4:2:0 for all others."""
    head = next(segment for segment in segments(data, name)[0] if segment.marker in FRAMES)
    factors = [data[head.start + 11 + 3 * index] for index in range(3)]
    return {(0x11, 0x11, 0x11): 0, (0x21, 0x11, 0x11): 1}.get((factors[0], factors[1], factors[2]), 2)
