"""PNG files sample by sample: stored values in and out bit for bit, every other chunk kept.

OpenCV's codec does the filtering and inflating, but sees none of the file's meaning: palette indices, gray with alpha
and packed bits are handed to it as plain gray or RGB rows of the same bytes. So no palette, gamma or transparency is
ever applied, and 16-bit values stay 16-bit.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.errors import DataError
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
    check_stream,
    chunk,
    header_chunk,
    parse,
    parse_header,
)
from poisongen.files.quiet import quiet

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
    "Png",
    "decode",
    "encode",
    "parse",
    "parse_header",
]  # most of these come from there

Array = npt.NDArray[Any]

# Bytes of a whole pixel -> the colour type, bit depth and OpenCV array that have rows of the same bytes.
_CARRIERS: dict[int, tuple[int, int, int, Any]] = {
    1: (GRAY, 8, 1, np.uint8),
    2: (GRAY, 16, 1, np.uint16),
    3: (RGB, 8, 3, np.uint8),
    4: (RGBA, 8, 4, np.uint8),
    6: (RGB, 16, 3, np.uint16),
    8: (RGBA, 16, 4, np.uint16),
}
# Run lengths and one fixed filter are as fast as any setting (benchmarks/RESULTS.md): index maps are packed as they
# are, which suits speckled ones best, photographs as differences to the left.
_AS_IT_IS, _LEFT = 0x08, 0x10
_DEFAULT = cv2.IMWRITE_PNG_STRATEGY_DEFAULT
_FILTER: int | None = getattr(cv2, "IMWRITE_PNG_FILTER", None)
# OpenCV 5 refuses a picture whose stream is short or damaged; older ones may fill it up in silence.
_REFUSES_DAMAGE = int(cv2.__version__.partition(".")[0]) >= 5


def _row_bytes(png: Png) -> tuple[int, int]:
    """Return how many carrier pixels a row has, and how many bytes each of them."""
    bits = png.channels * png.bit_depth
    return (-(-png.width * bits // 8), 1) if bits < 8 else (png.width, bits // 8)


def decode(data: bytes, name: object, png: Png | None = None) -> Array:
    """Return the stored samples of a PNG file: (H, W) gray or palette indices, or (H, W, C) with C of 2, 3 or 4.

    `png` is what `parse` said of the file, if that is known. Channels are in the file's order (RGB, RGBA, gray and
    alpha); uint8, or uint16 for 16 bit. Samples of fewer than 8 bits are not scaled: a 4-bit picture gives 0..15.
    DataError for anything damaged or cut short.
    """
    png = png or parse(data, name)
    stream = b"".join(payload for kind, payload in png.chunks if kind == b"IDAT")
    packed_passes = png.interlaced and png.bit_depth < 8
    if packed_passes or not _REFUSES_DAMAGE:
        check_stream(png, stream, name)
    if packed_passes:
        return _decode_packed_interlaced(png, stream, name)
    row, size = _row_bytes(png)
    colour, depth, channels, dtype = _CARRIERS[size]
    carrier = SIGNATURE + header_chunk(row, png.height, depth, colour, png.interlaced)
    carrier += chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    with quiet() as said:
        pixels = cv2.imdecode(np.frombuffer(carrier, np.uint8), cv2.IMREAD_UNCHANGED)
        complaint = said()  # libpng only warns of surplus rows
    if complaint:
        check_stream(png, stream, name)  # the words may be another thread's: only the stream itself tells
    if pixels is None or pixels.shape[:2] != (png.height, row):
        check_stream(png, stream, name)
        raise DataError(name, "damaged PNG: its picture cannot be decoded")
    return _from_carrier(pixels, png, channels, dtype)


def _from_carrier(pixels: Array, png: Png, channels: int, dtype: Any) -> Array:
    """Turn what OpenCV read back into the file's own samples."""
    if channels == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    elif channels == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    if png.colour_type == GRAY_ALPHA:
        if png.bit_depth == 8:
            return np.dstack([pixels >> 8, pixels & 255]).astype(np.uint8)
        return (pixels[..., 0::2].astype(np.uint16) << 8) | pixels[..., 1::2]
    if png.bit_depth < 8:
        return _unpack(pixels, png)
    return np.asarray(pixels, dtype=dtype)


def _unpack(rows: Array, png: Png) -> Array:
    """Split bytes (H, row) into samples of 1, 2 or 4 bits, (H, W)."""
    per_byte, mask = 8 // png.bit_depth, 2**png.bit_depth - 1
    samples = np.empty((*rows.shape, per_byte), dtype=np.uint8)
    for place in range(per_byte):
        samples[..., place] = (rows >> (8 - png.bit_depth * (place + 1))) & mask
    return np.ascontiguousarray(samples.reshape(png.height, -1)[:, : png.width])


def _pack(samples: Array, bit_depth: int) -> Array:
    """Join samples (H, W) of 1, 2 or 4 bits into bytes (H, row)."""
    bits = np.unpackbits(samples[..., None], axis=2)[:, :, 8 - bit_depth :]
    return np.packbits(bits.reshape(samples.shape[0], -1), axis=1)


def _decode_packed_interlaced(png: Png, stream: bytes, name: object) -> Array:
    """Decode an interlaced picture of fewer than 8 bits, whose passes are packed each on its own, with Pillow."""
    bare = SIGNATURE + header_chunk(png.width, png.height, png.bit_depth, png.colour_type, interlaced=True)
    bare += b"" if png.palette is None else chunk(b"PLTE", png.palette)
    bare += chunk(b"IDAT", stream) + chunk(b"IEND", b"")
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
    # The two bytes of a 16-bit sample differ, so that index maps of them have no runs of one byte.
    level, strategy = (3, _DEFAULT) if labels and target.bit_depth == 16 else (1, cv2.IMWRITE_PNG_STRATEGY_RLE)
    settings = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_STRATEGY, strategy]
    settings += [] if _FILTER is None else [_FILTER, _AS_IT_IS if labels else _LEFT]
    done, carrier = cv2.imencode(".png", _to_carrier(pixels, target), settings)
    if not done:
        raise ValueError("OpenCV could not encode the picture")
    stream = _stream_of(carrier.tobytes())
    kinds = [kind for kind, _ in target.chunks]
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else len(kinds)
    others = [(kind, payload, at < first) for at, (kind, payload) in enumerate(target.chunks) if kind != b"IDAT"]
    out = SIGNATURE + header_chunk(target.width, target.height, target.bit_depth, target.colour_type)
    out += b"".join(chunk(kind, payload) for kind, payload, before in others if before)
    out += chunk(b"IDAT", stream)
    out += b"".join(chunk(kind, payload) for kind, payload, before in others if not before)
    return out + chunk(b"IEND", b"")


def _stream_of(carrier: bytes) -> bytes:
    """Return the picture's stream of a PNG that OpenCV has just made."""
    pieces, at = [], 8
    while at < len(carrier):
        length, kind = struct.unpack_from(">I4s", carrier, at)
        if kind == b"IDAT":
            pieces.append(carrier[at + 8 : at + 8 + length])
        at += 12 + length
    return b"".join(pieces)


def _to_carrier(pixels: Array, png: Png) -> Array:
    """Turn samples into the array that OpenCV writes as rows of the same bytes."""
    if png.colour_type == GRAY_ALPHA:
        if png.bit_depth == 8:
            return np.asarray((pixels[..., 0].astype(np.uint16) << 8) | pixels[..., 1])
        pixels = np.stack([pixels >> 8, pixels & 255], axis=3).astype(np.uint8).reshape(*pixels.shape[:2], 4)
    if png.bit_depth < 8:
        return _pack(pixels, png.bit_depth)
    if pixels.ndim == 3:
        code = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    return pixels
