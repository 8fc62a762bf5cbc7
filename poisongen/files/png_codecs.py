"""The stream of a PNG, inflated, unfiltered and deflated: the one place where codecs are chosen.

ISA-L, libdeflate and libspng are the fastest here (benchmarks/RESULTS.md); where one of them is missing, zlib and
OpenCV do the same work more slowly. Rows and pixels are the same whichever did it, the compressed bytes are not.
"""

from __future__ import annotations

import importlib
import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.files.quiet import quiet


def _if_installed(name: str) -> Any:
    """Return a module, None where it is missing or does not load."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


igzip_lib, isal_zlib = _if_installed("isal.igzip_lib"), _if_installed("isal.isal_zlib")
libdeflate, pyspng = _if_installed("deflate"), _if_installed("pyspng")

Rows = npt.NDArray[np.uint8]
Piece = bytes | memoryview

SIGNATURE = b"\x89PNG\r\n\x1a\n"
crc32: Callable[..., int] = zlib.crc32 if isal_zlib is None else isal_zlib.crc32

_MUCH = 32  # times: label maps shrink so far, and libdeflate is the faster one there
_BLOCK = 65_535  # bytes of a stored block, the most that deflate knows (RFC 1951, 3.2.4)
_NARROW = 9  # bits of the window: in filtered photographs and label maps what helps lies near
_WIDE = 15
# Bytes of a whole pixel -> a colour type and bit depth of the same rows, and what pyspng calls it, if it can.
_CARRIERS: dict[int, tuple[int, int, str | None]] = {
    1: (0, 8, "L"),
    2: (0, 16, None),
    3: (2, 8, "RGB"),
    4: (6, 8, "RGBA"),
    6: (2, 16, None),
    8: (6, 16, None),
}


class DamagedError(ValueError):
    """A stream that is not what its header says; the words say how."""


def inflate(stream: bytes, length: int) -> bytes:
    """Return the `length` bytes of a zlib stream. DamagedError if there are more or fewer, or if a sum is wrong.

    Never more than one byte over the length is made, whatever the stream claims. Bytes behind its end are passed over.
    """
    if libdeflate is not None and length > _MUCH * len(stream):
        try:
            data = bytes(libdeflate.zlib_decompress(stream, length))
        except libdeflate.DeflateError:
            data = b""  # said in zlib's words below
        if len(data) == length:
            return data
    elif igzip_lib is not None:
        fast = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
        try:
            data = fast.decompress(stream, length + 1)
        except igzip_lib.IsalError:
            data = b""
        if fast.eof and len(data) == length:
            return bytes(data)
    slow = zlib.decompressobj()
    try:
        data = slow.decompress(stream, length + 1)
    except zlib.error as error:
        raise DamagedError(f"damaged PNG: its picture cannot be inflated ({error})") from None
    if not slow.eof or len(data) != length:
        raise DamagedError("truncated PNG: it holds fewer or more rows than its header says")
    return data


def inflated_length(stream: bytes, most: int) -> tuple[int, int]:
    """Return how many bytes a zlib stream holds, up to `most`, and how many bytes follow it. DamagedError."""
    inflater: Any = zlib.decompressobj()
    if igzip_lib is not None:
        inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    errors = (zlib.error,) if igzip_lib is None else (zlib.error, igzip_lib.IsalError)
    try:
        got = len(inflater.decompress(stream, most))
    except errors as error:
        raise DamagedError(f"damaged PNG: its picture cannot be inflated ({error})") from None
    return got, len(inflater.unused_data)


def deflate(*rows: Piece | Rows, wide: bool = False) -> bytes:
    """Return a zlib stream of filtered rows, given in pieces; fast rather than small.

    `wide`: what repeats in them lies far apart.
    """
    if isal_zlib is not None:
        deflater = isal_zlib.compressobj(1, zlib.DEFLATED, _WIDE if wide else _NARROW)
    else:
        deflater = zlib.compressobj(1, zlib.DEFLATED, _WIDE, 9, zlib.Z_DEFAULT_STRATEGY if wide else zlib.Z_RLE)
    return b"".join([*map(deflater.compress, rows), deflater.flush()])


def unfilter(raw: bytes, adler: bytes, height: int, row: int, step: int) -> Rows:
    """Return the rows (height, row) uint8 of an inflated stream, whose `row` bytes each follow their filter's number.

    `step` is the number of bytes of a whole pixel, at least 1; `adler` are the four bytes that end the stream: the sum
    of `raw`. DamagedError for a filter that there is not.
    """
    lines = np.frombuffer(raw, np.uint8).reshape(height, row + 1)
    filters = lines[:, 0]
    if filters.max() > 4:
        raise DamagedError(f"damaged PNG: a row has the filter {filters.max()}, which there is not")
    if not filters.any():
        return np.ascontiguousarray(lines[:, 1:])
    if step < 3 and (filters == 1).all():
        return _summed_across(lines[:, 1:], step)
    if (filters == 2).all():
        return _summed_down(lines[:, 1:])
    return decode_stored(raw, adler, height, row // step, step).reshape(height, row)


def decode_stored(raw: bytes, adler: bytes, height: int, width: int, step: int, interlaced: bool = False) -> Rows:
    """Return the pixels of an inflated stream as bytes, (height, width, step) uint8, in the file's order. DamagedError.

    The rows may have any filters, and be those of an interlaced picture.
    """
    colour, depth, name = _CARRIERS[step]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pieces = (SIGNATURE, *chunk(b"IHDR", header), *chunk(b"IDAT", *_stored(raw, adler)), *chunk(b"IEND"))
    stored = b"".join(pieces)
    if pyspng is not None and name is not None:
        try:
            pixels = np.asarray(pyspng.load(stored, format=name))
        except RuntimeError as error:
            raise DamagedError(f"damaged PNG: its picture cannot be decoded ({error})") from None
    else:
        pixels = _with_opencv(stored)
    return np.ascontiguousarray(pixels).reshape(height, width, step)


def chunk(kind: bytes, *payload: Piece) -> list[Piece]:
    """Return the pieces of a chunk as it stands in a file, with its length and checksum."""
    total, found = 0, crc32(kind)
    for piece in payload:
        total += len(piece)
        found = crc32(piece, found)
    return [struct.pack(">I", total), kind, *payload, struct.pack(">I", found)]


def _stored(raw: bytes, adler: bytes) -> list[Piece]:
    """Return the pieces of a zlib stream that holds `raw` as it is."""
    view, pieces = memoryview(raw), list[Piece]([b"\x78\x01"])
    for at in range(0, len(raw), _BLOCK):
        piece = view[at : at + _BLOCK]
        last = at + _BLOCK >= len(raw)
        pieces += [struct.pack("<BHH", last, len(piece), len(piece) ^ 0xFFFF), piece]
    return [*pieces, adler]


def _with_opencv(stored: bytes) -> Rows:
    """Decode a PNG of whole bytes with OpenCV, and put its samples in the file's order again."""
    with quiet():
        pixels: Any = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DamagedError("damaged PNG: its picture cannot be decoded")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return np.asarray(pixels if pixels.dtype == np.uint8 else pixels.astype(">u2").view(np.uint8))


def _summed_down(lines: Rows) -> Rows:
    """Undo the filter Up in all rows: each is added to the one above."""
    rows = np.ascontiguousarray(lines)
    for above, here in itertools.pairwise(rows):
        np.add(here, above, out=here)
    return rows


def _summed_across(lines: Rows, step: int) -> Rows:
    """Undo the filter Sub in all rows, of pixels of `step` bytes: sums of two neighbours, of four, and so on."""
    rows, reach = lines, step
    spare = np.empty(lines.shape, np.uint8), np.empty(lines.shape, np.uint8)
    while reach < lines.shape[1]:
        further = spare[0] if rows is not spare[0] else spare[1]
        further[:, :reach] = rows[:, :reach]
        np.add(rows[:, reach:], rows[:, :-reach], out=further[:, reach:])
        rows, reach = further, 2 * reach
    return np.ascontiguousarray(rows)
