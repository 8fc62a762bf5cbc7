"""Is a JPEG whole? What decoders pass over without losing a pixel is set right, and what then is left is damage.

libjpeg completes what is damaged with gray and says so in its first warning only. So everything that it may warn of and
that costs no pixel is taken out first: annotations, bytes between segments, wrong numbers of restart markers, bytes
behind the last block. If it warns of the rest, pixels are lost.
"""

from __future__ import annotations

import functools
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jpeglib
import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.errors import DataError
from poisongen.files.jpeg_parts import EOI, FRAMES, SOI, SOS, Part, is_annotation, parts
from poisongen.files.quiet import quiet

Array = npt.NDArray[Any]

_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_JFIF, _ADOBE = 0xE0, 0xEE
_PLAIN_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_DAMAGE = ("premature end", "corrupt jpeg", "inconsistent progression")
_SURPLUS = "extraneous bytes before marker"
_UNIT = re.compile(rb"\xff+\x00|[^\xff]", re.DOTALL)  # a coded byte; 0xFF is followed by a zero
_MOST_INTERVALS = 512  # that are tried out for surplus bytes; more would take minutes


def picture_of(data: bytes, name: object) -> bytes:
    """Return a JPEG's picture as a file of its own, which decodes to the same pixels and of which nobody warns.

    The annotations are left out, but for what tells the colours. DataError if a decoder has to make up pixels.
    """
    found = parts(data, name)
    _check_scans(found, name)
    progressive = _is_progressive(found)
    plain = [part for part in (_plain(part, progressive) for part in found) if part is not None]
    mended, words = plain, _words(_joined(plain))
    if _SURPLUS in words:
        mended = _without_surplus(plain, name)
        words = _words(_joined(mended))
    if words:
        raise _damaged(name, words)
    picture = _joined(mended)
    if not all(part.joined() in data for part in mended if part.intervals) and not _same_pixels(data, picture):
        raise DataError(name, "damaged JPEG: its coded data are out of order")
    return picture


def _damaged(name: object, words: str) -> DataError:
    return DataError(name, f"damaged or truncated JPEG ({words.strip().splitlines()[-1].strip()})")


def _is_progressive(found: Sequence[Part]) -> bool:
    return any(part.marker in _PROGRESSIVE for part in found)


def _check_scans(found: Sequence[Part], name: object) -> None:
    """Refuse a picture that lacks a component, or the last bits of what it began: decoders say nothing of that.

    A progressive picture that was cut between two scans is such a one.
    """
    head = next((part.data for part in found if part.marker in FRAMES), b"")
    left = {(component, 0): 1 for component in head[10::3][: head[9]]} if len(head) > 9 else {}
    for part in found:
        if part.intervals and len(part.data) > 4:
            count = part.data[4]
            first, last, bits = (part.data[5 + 2 * count :] + bytes(3))[:3]
            spectrum, low = (range(first, last + 1), bits & 15) if _is_progressive(found) else (range(1), 0)
            left |= {(component, at): low for component in part.data[5::2][:count] for at in spectrum}
    missing = {component for (component, _), low in left.items() if low}
    if missing:
        raise DataError(name, f"truncated JPEG: {len(missing)} of its components have no picture, or half of one")


def _plain(part: Part, progressive: bool) -> Part | None:
    """Return a part without what decoders warn of and pass over; None where they need nothing of it."""
    payload = part.data[4:]
    if part.marker == _JFIF and payload[:5] == b"JFIF\0" and len(payload) >= 14:
        return Part(_JFIF, _PLAIN_JFIF)
    if part.marker == _ADOBE and payload[:5] == b"Adobe" and len(payload) >= 12:
        known = payload[11] in (0, 1, 2)
        return Part(_ADOBE, b"\xff\xee\x00\x0e" + payload[:11] + (payload[11:12] if known else b"\x01"))
    if is_annotation(part.marker):
        return None
    if part.marker == SOS and not progressive:
        return replace(part, data=part.data[:-3] + b"\x00\x3f\x00")  # a sequential scan is always of everything
    return part


def _joined(found: Sequence[Part]) -> bytes:
    return b"".join([SOI, *(part.joined() for part in found), bytes([0xFF, EOI])])


def _words(data: bytes) -> str:
    """Return what libjpeg says of damage in a picture, '' if nothing. Pillow hides it, OpenCV lets us hear."""
    with quiet() as said:
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION)
        words = said()
    # Others may talk on standard error at the same time.
    return "\n".join(line for line in words.splitlines() if any(word in line.lower() for word in _DAMAGE))


def pixels_of(data: bytes) -> Image.Image:
    """Return the picture as Pillow decodes it. OSError, SyntaxError or ValueError if it cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.load()
            return image


def _same_pixels(data: bytes, picture: bytes) -> bool:
    """Tell whether decoders that know nothing of mending give the same pixels for both files."""
    try:
        first, second = (np.asarray(pixels_of(file)) for file in (data, picture))
    except (OSError, SyntaxError, ValueError):
        return False
    return np.array_equal(first, second)


def _blocks(data: bytes) -> list[Array] | None:
    """Return a JPEG's coefficients, or None if the library cannot read them."""
    with tempfile.TemporaryDirectory(prefix="poisongen-") as folder, quiet():
        path = Path(folder) / "in.jpg"
        path.write_bytes(data)
        try:
            image = jpeglib.read_dct(str(path))
            return [np.array(image.Y)] + ([np.array(image.Cb), np.array(image.Cr)] if image.has_chrominance else [])
        except (OSError, ValueError, RuntimeError, IndexError, TypeError):
            return None


def _without_surplus(found: Sequence[Part], name: object) -> list[Part]:
    """Return the parts without the bytes that follow the last block of a scan, or of an interval.

    libjpeg counts such bytes together and names the next marker that it has to look for: they may stand anywhere.
    """
    out = list(found)
    places = [(index, number) for index, part in enumerate(out) for number in range(len(part.intervals))]
    blocks = _blocks(_joined(found)) if len(places) <= _MOST_INTERVALS else None
    if blocks is None:
        raise DataError(name, "damaged JPEG: it holds more coded data than blocks")
    for index, number in places:
        units = _UNIT.findall(out[index].intervals[number])
        kept = _needed(units, functools.partial(_same_with, out, index, number, blocks))
        if kept is None:
            raise DataError(name, "damaged JPEG: it holds more coded data than blocks")
        out = _with_units(out, index, number, units[:kept])
    return out


def _with_units(found: Sequence[Part], index: int, number: int, units: Sequence[bytes]) -> list[Part]:
    """Return the parts with other coded bytes in one interval."""
    part = found[index]
    intervals = (*part.intervals[:number], b"".join(units), *part.intervals[number + 1 :])
    return [*found[:index], replace(part, intervals=intervals), *found[index + 1 :]]


def _same_with(found: Sequence[Part], index: int, number: int, blocks: Sequence[Array], units: Sequence[bytes]) -> bool:
    """Tell whether other coded bytes in one interval give the same blocks."""
    return _equal(_blocks(_joined(_with_units(found, index, number, units))), blocks)


def _equal(one: Sequence[Array] | None, other: Sequence[Array]) -> bool:
    return one is not None and len(one) == len(other) and all(map(np.array_equal, one, other))


def _needed(units: Sequence[bytes], is_same: Callable[[Sequence[bytes]], bool]) -> int | None:
    """Return how many of the coded bytes hold blocks; None if they do not end as an encoder ends.

    An encoder fills the last byte up with ones. Where the rest of the last byte holds something else, blocks were
    lost: what follows is not surplus but the end of a picture that was read wrongly. `is_same` tells whether other
    bytes give the same blocks.
    """

    def unused(count: int) -> bool:
        return all(is_same([*units[: len(units) - count], *[filler] * count]) for filler in (b"\x55", b"\xaa"))

    surplus, step = 0, 1
    while step <= len(units) and unused(step):
        surplus, step = step, 2 * step
    above = min(step, len(units) + 1)
    while above - surplus > 1:
        middle = (surplus + above) // 2
        surplus, above = (middle, above) if unused(middle) else (surplus, middle)
    kept = len(units) - surplus
    if not surplus or not kept:
        return kept
    last, free = units[kept - 1][0], 0
    while free < 7:
        other = bytes([last ^ (1 << free)])
        if not is_same([*units[: kept - 1], other + (b"\0" if other == b"\xff" else b""), *units[kept:]]):
            break
        free += 1
    rest = last & ((1 << free) - 1)
    padded = rest == (1 << free) - 1 or (rest == 0 and set(units[kept:]) == {b"\0"})
    return kept if padded else None
