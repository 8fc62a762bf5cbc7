"""Pictures of either format, told apart by their content: headers, pixels, and a box replaced."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from poisongen.core.resize import resize_image, resize_labels
from poisongen.errors import DataError
from poisongen.files import jpeg, jpeg_parts, jpeg_reencode, png
from poisongen.files.orientation import AS_STORED, orientation

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

_HEAD = 4096  # bytes; enough for every PNG header and most JPEG ones
_LONGEST_HEAD = 2**24  # bytes; a JPEG's annotations (EXIF, ICC) can be long


@dataclass(frozen=True)
class Header:
    """What a picture's first bytes say: format, size in pixels as stored, and EXIF orientation (see `orientation`).

    A PNG may carry its orientation behind the picture, where this does not look.
    """

    format: Literal["png", "jpeg"]
    width: int
    height: int
    orientation: int = AS_STORED


def _format(data: bytes, name: object) -> Literal["png", "jpeg"]:
    if not data:
        raise DataError(name, "an empty file")
    if data[:8] == png.SIGNATURE:
        return "png"
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    raise DataError(name, "neither a PNG nor a JPEG file, whatever its name says")


def header(path: Path, known: bytes | None = None) -> Header:
    """Read a picture's size from its first bytes, or from its `known` ones.

    DataError for anything that is no usable PNG or JPEG.
    """
    try:
        with path.open("rb") if known is None else io.BytesIO(known) as file:
            data = file.read(_HEAD)
            if _format(data, path) == "png":
                if len(data) < 33 or data[12:16] != b"IHDR":
                    raise DataError(path, "truncated PNG: the file ends within its header")
                facts = png.parse_header(data[16:29], path)
                return Header("png", facts.width, facts.height, orientation(data))
            data = _whole_head(data, file, path)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    frame = jpeg_parts.frame(data, path)
    if frame.components not in (1, 3):
        raise DataError(path, f"a JPEG with {frame.components} components (CMYK?); convert it to RGB first")
    if frame.bits != 8:
        raise DataError(path, f"a {frame.bits}-bit JPEG; only 8-bit ones are read")
    if frame.width * frame.height > png.LARGEST_PICTURE:
        raise DataError(path, f"claims {frame.width}x{frame.height} px, which is more than poisongen reads")
    return Header("jpeg", frame.width, frame.height, orientation(data))


def has_few_colours(path: Path) -> bool:
    """Tell from a picture's first bytes whether it is a PNG with a palette or of fewer than 8 bits. DataError."""
    try:
        with path.open("rb") as file:
            data = file.read(33)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    if data[:8] != png.SIGNATURE or len(data) < 33:
        return False
    facts = png.parse_header(data[16:29], path)
    return facts.bit_depth < 8 or facts.colour_type == png.PALETTE


def _whole_head(data: bytes, file: Any, path: Path) -> bytes:
    """Read on until the JPEG's first scan begins."""
    while True:
        try:
            jpeg_parts.segments(data, path)
        except DataError as error:
            more = file.read(len(data)) if "truncated" in error.problem and len(data) < _LONGEST_HEAD else b""
            if not more:
                raise
            data += more
        else:
            return data


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture's stored samples and, of a PNG, what it takes to change a part of it."""

    pixels: Array
    png: png.Opened | None = None


def open_picture(data: bytes, name: object) -> Decoded:
    """Decode a picture that may be changed afterwards. DataError."""
    if _format(data, name) != "png":
        return Decoded(jpeg.decode(data, name))
    opened = png.open_png(data, name)
    return Decoded(opened.pixels, opened)


def decode(data: bytes, name: object) -> Array:
    """Return a picture's stored samples: see `png.decode` and `jpeg.decode`. DataError."""
    return open_picture(data, name).pixels


def decode_labels(data: bytes, name: object, *, coloured: bool = False) -> Array:
    """Return a label map, (H, W) uint8 or uint16: a PNG of one channel, palette indices as they are. DataError.

    With `coloured` the map may be one in colours, (H, W, C).
    """
    if _format(data, name) != "png":
        raise DataError(name, "label maps must be PNG files: JPEG would change the class IDs")
    facts = png.parse(data, name)
    if facts.channels != 1 and not coloured:
        kind = {png.RGB: "RGB", png.RGBA: "RGBA", png.GRAY_ALPHA: "gray with alpha"}[facts.colour_type]
        raise DataError(name, f"label maps must hold one class ID for each pixel, this PNG is {kind}")
    return png.decode(data, name, facts)


def pixels_sha256(array: Array, box: Box | None = None, patch: Array | None = None) -> str:
    """Return the digest of decoded pixels: shape, type and bytes; with `patch`, as if it lay in their `box`.

    It is the SHA-256, in hexadecimal, of an ASCII line and the samples: the line is the shape joined by 'x', a blank,
    the type's NumPy name and a line feed (`1024x2048x3 uint8`); the samples follow in C order, little-endian.
    """
    head = f"{'x'.join(map(str, array.shape))} {array.dtype.name}\n".encode("ascii")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(head)
    if box is None or patch is None:
        digest.update(little.data)
        return digest.hexdigest()
    top, left, height, width = box
    rows = little[top : top + height].copy()
    rows[:, left : left + width] = patch
    for part in (little[:top], rows, little[top + height :]):
        digest.update(part.data)
    return digest.hexdigest()


def to_rgb_box(data: bytes, pixels: Array, name: object) -> Array:
    """Return samples of the picture `data` as RGB, (h, w, 3) uint8, or uint16 for 16-bit pictures.

    `pixels` is any part of the decoded picture. Gray is repeated, alpha left out, palette indices looked up, and gray
    of fewer than 8 bits scaled to 0..255.
    """
    if pixels.ndim == 3:
        return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if _format(data, name) == "png":
        facts = png.look(data, name)
        if facts.colour_type == png.PALETTE:
            return _palette(facts)[pixels]
        if facts.bit_depth < 8:
            pixels = (pixels * (255 // (2**facts.bit_depth - 1))).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2)


def _colours_of(facts: png.Png) -> int:
    """Return how many palette entries a sample can name; some files have more, which decoders pass over."""
    return min(len(facts.palette or b"") // 3, 1 << facts.bit_depth)


def _palette(facts: png.Png) -> Array:
    """Return a palette as (256, 3) uint8; entries that the file lacks are black, as in decoders."""
    table = np.zeros((256, 3), dtype=np.uint8)
    count = _colours_of(facts)
    table[:count] = np.frombuffer(facts.palette or b"", dtype=np.uint8)[: 3 * count].reshape(-1, 3)
    return table


def _nearest(wanted: Array, colours: Array) -> Array:
    """Return the index of the nearest of `colours` for each of the `wanted` (n, 3), a share at a time for memory."""
    out = np.empty(len(wanted), dtype=np.uint8)
    for start in range(0, len(wanted), 1024):
        some = wanted[start : start + 1024, None].astype(np.int64)
        out[start : start + 1024] = ((some - colours[None]) ** 2).sum(axis=2).argmin(axis=1)
    return out


def from_rgb_box(data: bytes, pixels: Array, rgb: Array, name: object) -> Array:
    """Return new RGB content in the picture's own layout; the inverse of `to_rgb_box`.

    `pixels` is the box's old content in that layout, `rgb` (h, w, 3) the new one. A pixel whose RGB is unchanged
    keeps its old samples. Gray is the luma of ITU-R BT.601 in whole numbers, alpha stays, and a palette picture
    gets the palette's nearest colour (squared distance, the lowest index of equals), so that it keeps its palette.
    """
    old = to_rgb_box(data, pixels, name)
    changed = (old != rgb).any(axis=2)
    out = pixels.copy()
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        out[..., :3] = rgb
        return out
    luma = (rgb.astype(np.int64) @ np.array([299, 587, 114]) + 500) // 1000
    facts = png.look(data, name) if _format(data, name) == "png" else None
    if facts is not None and facts.colour_type == png.PALETTE:
        count = _colours_of(facts)
        if not count:
            raise DataError(name, "damaged PNG: its palette holds no colour")
        colours = _palette(facts)[:count].astype(np.int64)
        wanted, inverse = np.unique(rgb[changed].reshape(-1, 3), axis=0, return_inverse=True)
        out[changed] = _nearest(wanted, colours)[inverse.ravel()]
        return out
    if facts is not None and facts.bit_depth < 8:
        steps = 2**facts.bit_depth - 1
        luma = (luma * steps + 127) // 255
    if pixels.ndim == 3:
        out[..., 0][changed] = luma[changed]
    else:
        out[changed] = luma[changed]
    return out


def resize(data: bytes, pixels: Array, size: tuple[int, int], name: object) -> Array:
    """Return the whole picture's samples at size (height, width), in the picture's own layout.

    Palette indices cannot be averaged: their colours are, and get the palette's nearest colours.
    """
    if _format(data, name) == "png" and png.look(data, name).colour_type == png.PALETTE:
        colours = resize_image(to_rgb_box(data, pixels, name), size)
        return from_rgb_box(data, resize_labels(pixels, size), colours, name)
    return resize_image(pixels, size)


def check_rewritable(data: bytes, name: object) -> None:
    """Raise DataError if the file's header says that `replace_box` cannot rewrite it block by block."""
    if _format(data, name) == "jpeg":
        jpeg.check_rewritable(data, name)


def replace_box(
    data: bytes, decoded: Decoded, box: Box, patch: Array, name: object, jpeg_mode: Literal["blocks", "reencode"]
) -> tuple[bytes, Array]:
    """Return the file with new content in the box [top, left, height, width], and what it decodes to.

    `patch` is the box's new content in the layout of `decoded`. A PNG is the same bit for bit outside the box; a JPEG
    in every DCT block that the box does not touch, or, with `reencode`, is encoded anew.
    """
    pixels = decoded.pixels
    top, left, height, width = box
    window = (slice(top, top + height), slice(left, left + width))
    if _format(data, name) == "jpeg" and jpeg_mode == "blocks":
        new = jpeg.paste(data, box, pixels[window], patch, name)
        return new, jpeg.decode(new, name)
    edited = pixels.copy()
    edited[window] = patch
    if decoded.png is not None:
        return png.with_box(decoded.png, box, patch), edited
    new = encode_whole(data, edited, name)
    return new, jpeg.decode(new, name)


def encode_whole(data: bytes, pixels: Array, name: object) -> bytes:
    """Return a file of the format and kind of `data` with all pixels new, of any size."""
    if _format(data, name) == "jpeg":
        return jpeg_reencode.reencode(data, pixels, name)
    return png.encode(pixels, png.parse(data, name))
