"""PNG files chunk by chunk: what the file says of itself, whether it is whole, and how a chunk is written."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poisongen.errors import DataError
from poisongen.files.png_codecs import SIGNATURE, Piece, chunk, crc32

__all__ = ["SIGNATURE", "chunk"]  # from there

LARGEST_PICTURE = 2**27  # pixels; a file that claims more is a decompression bomb
LARGEST_SIDE = 65_535

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}


@dataclass(frozen=True)
class Png:
    """What a PNG file says of itself, and its chunks (type, payload) in order, IHDR and IEND left out."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool
    chunks: tuple[tuple[bytes, bytes], ...]

    @property
    def palette(self) -> bytes | None:
        """The palette's RGB bytes, or None."""
        return next((payload for kind, payload in self.chunks if kind == b"PLTE"), None)

    @property
    def channels(self) -> int:
        """Samples of a pixel; 1 for palette indices."""
        return CHANNELS[self.colour_type]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the decoded array: (H, W), or (H, W, C) for more than one channel."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)

    @property
    def dtype(self) -> Any:
        """The type of the decoded array: uint8, or uint16 for 16 bit."""
        return np.uint16 if self.bit_depth == 16 else np.uint8


def parse_header(payload: bytes, name: object) -> Png:
    """Return the facts of an IHDR chunk's 13 bytes, without chunks. DataError if they are not legal."""
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", payload)
    legal = colour in _DEPTHS and depth in _DEPTHS[colour] and compression == filtering == 0 and interlace in (0, 1)
    if not legal or not width or not height:
        raise DataError(name, "damaged PNG: its header is not legal")
    if width * height > LARGEST_PICTURE or max(width, height) > LARGEST_SIDE:
        raise DataError(name, f"claims {width}x{height} px, which is more than poisongen reads (decompression bomb?)")
    return Png(width, height, depth, colour, interlace == 1, ())


def parse(data: bytes, name: object) -> Png:
    """Take a PNG file apart and check it: signature, lengths and checksums of all chunks, its end. DataError."""
    if data[:8] != SIGNATURE:
        raise DataError(name, "not a PNG file")
    chunks: list[tuple[bytes, bytes]] = []
    view, at = memoryview(data), 8
    while True:
        if at + 12 > len(data):
            raise DataError(name, "truncated PNG: the file ends before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise DataError(name, "truncated PNG: the file ends within a chunk")
        if crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DataError(name, f"damaged PNG: wrong checksum in its {kind.decode('latin-1')} chunk")
        if kind == b"IEND":
            break
        chunks.append((kind, bytes(view[at + 8 : end - 4])))
        at = end
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise DataError(name, "damaged PNG: it does not begin with a header")
    if any(kind == b"acTL" for kind, _ in chunks):
        raise DataError(name, "an animated PNG; give a still picture")
    header = parse_header(chunks[0][1], name)
    if header.colour_type == PALETTE and not any(kind == b"PLTE" for kind, _ in chunks):
        raise DataError(name, "damaged PNG: a palette picture without palette")
    return Png(header.width, header.height, header.bit_depth, header.colour_type, header.interlaced, tuple(chunks[1:]))


def header_chunk(width: int, height: int, depth: int, colour: int, interlaced: bool = False) -> list[Piece]:
    """Return the pieces of an IHDR chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def look(data: bytes, name: object) -> Png:
    """Return what a PNG file says of itself before its picture begins, unchecked, with these chunks. DataError."""
    chunks: list[tuple[bytes, bytes]] = []
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"IDAT", b"IEND"):
            break
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise DataError(name, "damaged PNG: it does not begin with a header")
    return replace(parse_header(chunks[0][1], name), chunks=tuple(chunks[1:]))


def extras(data: bytes) -> bytes:
    """Return all that a PNG file holds beside its picture, for looking for words in it; what is damaged ends it."""
    found, at = [], len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind != b"IDAT":
            found.append(data[at : at + 8 + length])
        at += 12 + length
    return b"".join(found)


# Adam7: first row and column of each pass, and the steps between its rows and columns (PNG specification, 8.2).
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def stream_length(png: Png) -> int:
    """Return how many bytes the inflated stream must have: each row has one byte for its filter."""
    total = 0
    for row, column, down, across in _PASSES if png.interlaced else ((0, 0, 1, 1),):
        height, width = -(-(png.height - row) // down), -(-(png.width - column) // across)
        if height > 0 and width > 0:
            total += height * (1 + -(-width * png.channels * png.bit_depth // 8))
    return total
