"""PNG files sample by sample: stored values in and out bit for bit, every other chunk kept.

The codecs see none of the file's meaning: palette indices, gray with alpha and packed bits are rows of bytes to them.
So no palette, gamma or transparency is ever applied, and 16-bit values stay 16-bit.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.errors import DataError
from poisongen.files.png_codecs import DamagedError, Piece, decode_stored, deflate, inflate, unfilter
from poisongen.files.png_filters import NONE, SUB, UP, filtered, filtered_window, row_bytes
from poisongen.files.png_parts import (
    CHANNELS,
    GRAY,
    GRAY_ALPHA,
    LARGEST_PICTURE,
    LARGEST_SIDE,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    Png,
    chunk,
    header_chunk,
    look,
    parse,
    parse_header,
    stream_length,
)

__all__ = [
    "CHANNELS",
    "GRAY",
    "GRAY_ALPHA",
    "LARGEST_PICTURE",
    "LARGEST_SIDE",
    "PALETTE",
    "RGB",
    "RGBA",
    "SIGNATURE",
    "Opened",
    "Png",
    "decode",
    "encode",
    "look",
    "open_png",
    "parse",
    "parse_header",
    "with_box",
]  # most of these come from there

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

_ROWS_BETWEEN = 16  # one row in so many tells how speckled a map of labels is
_SPECKLED = 0.04  # the share of pixels unlike the one above, from which on differences are worse than labels


@dataclass(frozen=True, eq=False)
class Opened:
    """A PNG file taken apart: what it says of itself, its samples (see `decode`), and its rows as they were filtered.

    `raw` is None for interlaced pictures, and where pixels share bytes.
    """

    facts: Png
    pixels: Array
    raw: bytes | None


def _row_length(png: Png) -> tuple[int, int]:
    """Return how many bytes a row has, and how many a whole pixel, at least 1."""
    bits = png.channels * png.bit_depth
    return -(-png.width * bits // 8), max(1, bits // 8)


def open_png(data: bytes, name: object, png: Png | None = None) -> Opened:
    """Take a PNG file apart; `png` is what `parse` said of it, if that is known. DataError for damage of any kind."""
    png = png or parse(data, name)
    stream = b"".join(payload for kind, payload in png.chunks if kind == b"IDAT")
    row, step = _row_length(png)
    try:
        raw = inflate(stream, stream_length(png))
        if png.interlaced and png.bit_depth < 8:
            return Opened(png, _decode_packed_interlaced(png, stream, name), None)
        if png.interlaced:
            rows = decode_stored(raw, stream[-4:], png.height, png.width, step, interlaced=True)
        else:
            rows = unfilter(raw, stream[-4:], png.height, row, step)
    except DamagedError as damaged:
        raise DataError(name, str(damaged)) from None
    whole = not png.interlaced and png.bit_depth >= 8
    return Opened(png, _samples(rows.reshape(png.height, row), png), raw if whole else None)


def decode(data: bytes, name: object, png: Png | None = None) -> Array:
    """Return the stored samples of a PNG file: (H, W) gray or palette indices, or (H, W, C) with C of 2, 3 or 4.

    `png` is what `parse` said of the file, if that is known. Channels are in the file's order (RGB, RGBA, gray and
    alpha); uint8, or uint16 for 16 bit. Samples of fewer than 8 bits are not scaled: a 4-bit picture gives 0..15.
    DataError for anything damaged or cut short.
    """
    return open_png(data, name, png).pixels


def _samples(rows: Array, png: Png) -> Array:
    """Turn rows of bytes, (H, bytes) uint8, into the file's samples."""
    if png.bit_depth < 8:
        return _unpack(rows, png)
    if png.bit_depth == 16:
        rows = rows.view(">u2").astype(np.uint16)
    return rows.reshape(png.shape)


def _unpack(rows: Array, png: Png) -> Array:
    """Split bytes (H, row) into samples of 1, 2 or 4 bits, (H, W)."""
    per_byte, mask = 8 // png.bit_depth, 2**png.bit_depth - 1
    samples = np.empty((*rows.shape, per_byte), dtype=np.uint8)
    for place in range(per_byte):
        samples[..., place] = (rows >> (8 - png.bit_depth * (place + 1))) & mask
    return np.ascontiguousarray(samples.reshape(png.height, -1)[:, : png.width])


def _decode_packed_interlaced(png: Png, stream: bytes, name: object) -> Array:
    """Decode an interlaced picture of fewer than 8 bits, whose passes are packed each on its own, with Pillow."""
    pieces = [SIGNATURE, *header_chunk(png.width, png.height, png.bit_depth, png.colour_type, interlaced=True)]
    pieces += [] if png.palette is None else chunk(b"PLTE", png.palette)
    bare = b"".join((*pieces, *chunk(b"IDAT", stream), *chunk(b"IEND")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(bare), formats=("PNG",)) as image:
                samples = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(name, f"damaged PNG: {error}") from None
    if png.colour_type == PALETTE:
        return np.asarray(samples, dtype=np.uint8)
    if samples.dtype == bool:
        return samples.astype(np.uint8)
    return np.asarray(samples // (255 // (2**png.bit_depth - 1)), dtype=np.uint8)


def encode(pixels: Array, source: Png | None = None, labels: bool = False) -> bytes:
    """Return a PNG file with these samples (as `decode` gives them), not interlaced.

    With `source` it has that file's bit depth, colour type, palette and every other chunk, in their order; without,
    it is gray, RGB or RGBA by the array's shape, 8 or 16 bit by its type. `labels` compresses index maps well,
    otherwise photographs are compressed fast. ValueError if the array does not fit.
    """
    if source is None:
        colour = {1: GRAY, 2: GRAY_ALPHA, 3: RGB, 4: RGBA}[1 if pixels.ndim == 2 else pixels.shape[2]]
        depth = 16 if pixels.dtype == np.uint16 else 8
        target = Png(pixels.shape[1], pixels.shape[0], depth, colour, False, ())
    else:
        height, width = pixels.shape[:2]
        target = Png(width, height, source.bit_depth, source.colour_type, False, source.chunks)
    if pixels.shape != target.shape or pixels.dtype != target.dtype:
        raise ValueError(f"an array {pixels.shape} {pixels.dtype} does not fit a PNG {target.shape} {target.dtype}")
    if target.bit_depth < 8 and int(pixels.max()) >= 2**target.bit_depth:
        raise ValueError(f"the value {int(pixels.max())} does not fit {target.bit_depth} bits")
    rows, step = row_bytes(pixels, target.bit_depth), _row_length(target)[1]
    number, wide = SUB, False
    if labels:
        wide = _is_speckled(rows)
        number = NONE if wide else UP
    raw = filtered(rows, np.full(len(rows), number, np.uint8), step)
    return _file(target, deflate(raw, wide=wide))


def _is_speckled(rows: Array) -> bool:
    """Tell whether rows of labels differ so much from those above that they are best packed as they are."""
    some = rows[1::_ROWS_BETWEEN]
    return bool(np.count_nonzero(some != rows[:-1:_ROWS_BETWEEN]) > _SPECKLED * max(some.size, 1))


def with_box(opened: Opened, box: Box, patch: Array) -> bytes:
    """Return a PNG file with new samples in the box [top, left, height, width]; the rest stays bit for bit.

    Filters see the pixel to the left and the row above: all but the box, one column and one row keep their filtered
    bytes, so that the file compresses like its source.
    """
    facts, raw = opened.facts, opened.raw
    top, left, tall, wide = box
    if raw is None:
        edited = opened.pixels.copy()
        edited[top : top + tall, left : left + wide] = patch
        return encode(edited, facts)
    row, step = _row_length(facts)
    bottom, right = min(top + tall + 1, facts.height), min(left + wide + 1, facts.width)
    above, before = max(top - 1, 0), max(left - 1, 0)
    window = opened.pixels[above:bottom, before:right].copy()
    window[top - above : top - above + tall, left - before : left - before + wide] = patch
    rows = row_bytes(window, facts.bit_depth)
    edges = (1 if top == 0 else 0, 0), (step if left == 0 else 0, 0)
    begin, end = top * (row + 1), bottom * (row + 1)
    lines = np.frombuffer(raw, np.uint8)[begin:end].reshape(-1, row + 1).copy()
    new = filtered_window(np.pad(rows, edges), lines[:, 0], step)
    lines[:, 1 + left * step : 1 + right * step] = new
    view = memoryview(raw)
    return _file(facts, deflate(view[:begin], lines, view[end:]))


def _file(png: Png, stream: bytes) -> bytes:
    """Return a PNG file of this stream, with every other chunk of `png` in its place."""
    kinds = [kind for kind, _ in png.chunks]
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else len(kinds)
    out: list[Piece] = [SIGNATURE, *header_chunk(png.width, png.height, png.bit_depth, png.colour_type)]
    for kind, payload in png.chunks[:first]:
        out += chunk(kind, payload)
    out += chunk(b"IDAT", stream)
    for kind, payload in png.chunks[first:]:
        out += [] if kind == b"IDAT" else chunk(kind, payload)
    return b"".join((*out, *chunk(b"IEND")))
