"""JPEG files changed only in the DCT blocks that a box touches; all else stays as it was, to the coefficient."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from poisongen.errors import DataError
from poisongen.files.jpeg_damage import picture_of, pixels_of
from poisongen.files.jpeg_parts import FRAMES, frame, is_annotation, segments
from poisongen.files.png import LARGEST_PICTURE
from poisongen.files.quiet import quiet

__all__ = ["check_rewritable", "decode", "frame", "paste", "segments", "with_segments_of"]

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive; others have another entropy coding
BLOCK, DQT = 8, 0xDB
_COLOUR_SPACES = {"JCS_GRAYSCALE": 1, "JCS_YCbCr": 3, "JCS_RGB": 3}


def decode(data: bytes, name: object) -> Array:
    """Return a JPEG's pixels: (H, W, 3) uint8 RGB, or (H, W) for grayscale. EXIF's orientation is not applied.

    DataError if the file is damaged, cut short, CMYK, or not 8-bit.
    """
    facts = frame(data, name)
    if facts.bits != 8:
        raise DataError(name, f"a {facts.bits}-bit JPEG; only 8-bit ones are read")
    if facts.components not in (1, 3):
        raise DataError(name, f"a JPEG with {facts.components} components (CMYK?); convert it to RGB first")
    if facts.width * facts.height > LARGEST_PICTURE:
        raise DataError(name, f"claims {facts.width}x{facts.height} px, which is more than poisongen reads")
    picture = picture_of(data, name)
    try:
        image = pixels_of(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(name, f"damaged or truncated JPEG ({error})") from None
    if image.mode not in ("L", "RGB"):
        raise DataError(name, f"a JPEG of colour mode {image.mode}; convert it to RGB first")
    return np.asarray(image, dtype=np.uint8)


def _cannot(name: object, why: str) -> DataError:
    return DataError(name, f"this JPEG cannot be rewritten block by block ({why}); use --jpeg reencode")


def check_rewritable(data: bytes, name: object) -> None:
    """Raise DataError if a JPEG's header says that `paste` cannot rewrite it."""
    numbers: set[int] = set()
    for segment in segments(data, name)[0]:
        payload = data[segment.start + 4 : segment.end]
        if segment.marker in FRAMES:
            if segment.marker not in _HUFFMAN_FRAMES:
                raise _cannot(name, "its entropy coding is not Huffman's")
            parts = [payload[at : at + 3] for at in range(6, 6 + 3 * payload[5], 3)]
            numbers = {part[2] for part in parts if len(part) == 3}
            down, across = ([part[1] & 15 for part in parts], [part[1] >> 4 for part in parts])
            if any(0 in steps or any(max(steps) % step for step in steps) for steps in (down, across)):
                raise _cannot(name, "its components are sampled at odd ratios")
    for segment in segments(data, name)[0]:
        if segment.marker == DQT and _zero_tables(data[segment.start + 4 : segment.end]) & numbers:
            raise _cannot(name, "a quantisation table holds a zero")


def _zero_tables(payload: bytes) -> set[int]:
    """Return the numbers of the quantisation tables that hold a zero."""
    found, at = set(), 0
    while at < len(payload):
        wide = payload[at] >> 4 > 0
        table = payload[at + 1 : at + 1 + (128 if wide else 64)]
        values = [table[i] << 8 | table[i + 1] for i in range(0, len(table) - 1, 2)] if wide else list(table)
        if 0 in values:
            found.add(payload[at] & 15)
        at += 1 + len(table)
    return found


@dataclass(frozen=True)
class _Coefficients:
    """A JPEG's quantised DCT coefficients: one (rows, columns, 8, 8) array and table for each component."""

    components: list[Array]
    tables: list[Array]
    factors: list[tuple[int, int]]  # how many pixels (down, across) one sample stands for
    colour_space: str
    image: Any


def _read_coefficients(data: bytes, folder: Path, name: object) -> _Coefficients:
    path = folder / "in.jpg"
    path.write_bytes(data)
    try:
        with quiet():
            image = jpeglib.read_dct(str(path))
            components = [image.Y] if not image.has_chrominance else [image.Y, image.Cb, image.Cr]
        sampling = np.asarray(image.samp_factor)[: len(components)].astype(int)
        tables = [np.asarray(image.qt[image.quant_tbl_no[i]], dtype=np.float64) for i in range(len(components))]
    except (OSError, ValueError, RuntimeError, IndexError, TypeError) as error:
        raise _cannot(name, f"the library says: {error}") from None
    if len(components) == 1:
        sampling = np.ones_like(sampling)  # one component: its own factors mean nothing
    if any((table <= 0).any() for table in tables):
        raise _cannot(name, "a quantisation table holds a zero")
    most = sampling.max(axis=0)
    if (most % sampling).any():
        raise _cannot(name, "its components are sampled at odd ratios")
    factors = [(int(down), int(across)) for down, across in most // sampling]
    return _Coefficients(components, tables, factors, image.jpeg_color_space.name, image)


def _block_range(start: int, length: int, factor: int) -> tuple[int, int]:
    """Return the first block and the one after the last that `length` pixels from `start` touch."""
    return start // (factor * BLOCK), -(-(start + length) // (factor * BLOCK))


def _to_components(pixels: Array, colour_space: str) -> Array:
    """Return (h, w, C) float components of RGB or gray pixels: JFIF's YCbCr (ITU-R BT.601, full range), or as is."""
    values = pixels.astype(np.float64)
    if colour_space != "JCS_YCbCr":
        return values.reshape(*values.shape[:2], -1)
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.dstack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402])


def _paste_component(
    blocks: Array,
    table: Array,
    factors: tuple[int, int],
    box: Box,
    values: Array,
    changed: Array,
    size: tuple[int, int],
) -> None:
    """Put new values into one component's blocks, in place.

    `values` and `changed` are (h, w) over the box: the new component values, and which pixels have one. A sample
    that the changed pixels cover in part is the mean of old and new by area. Blocks without a changed pixel stay.
    """
    (down, across), (top, left, height, width) = factors, box
    (first_row, last_row), (first_column, last_column) = (
        _block_range(top, height, down),
        _block_range(left, width, across),
    )
    window = blocks[first_row:last_row, first_column:last_column]
    rows, columns = window.shape[:2]
    samples = idctn(window * table, axes=(2, 3), norm="ortho") + 128
    plane = samples.transpose(0, 2, 1, 3).reshape(rows * BLOCK, columns * BLOCK)
    tall, wide = rows * BLOCK * down, columns * BLOCK * across
    origin = (first_row * BLOCK * down, first_column * BLOCK * across)
    spread, weight, exists = np.zeros((tall, wide)), np.zeros((tall, wide)), np.zeros((tall, wide))
    exists[: size[0] - origin[0], : size[1] - origin[1]] = 1
    inside = (slice(top - origin[0], top - origin[0] + height), slice(left - origin[1], left - origin[1] + width))
    weight[inside], spread[inside] = changed, np.where(changed, values, 0)
    _fill_padding(weight, spread, exists, (size[0] - origin[0], size[1] - origin[1]))

    def total(array: Array) -> Array:
        return np.asarray(array.reshape(rows * BLOCK, down, columns * BLOCK, across).sum(axis=(1, 3)))

    count, covered = np.maximum(total(exists), 1), total(weight)
    plane = total(spread) / count + plane * (1 - covered / count)
    blockwise = plane.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    # Rounded to a fixed grid first: a value at one half must go the same way on every machine.
    exact = np.round(dctn(blockwise - 128, axes=(2, 3), norm="ortho") / table, 6)
    quantised = np.clip(np.rint(exact), -1023, 1023).astype(window.dtype)
    moved = covered.reshape(rows, BLOCK, columns, BLOCK).sum(axis=(1, 3)) > 0
    window[moved] = quantised[moved]


def _fill_padding(weight: Array, spread: Array, exists: Array, size: tuple[int, int]) -> None:
    """Repeat the picture's last row and column beyond its edge, in place, as encoders do.

    The old content there, next to the new, would be an edge within the block, and would ring into what is seen.
    `size` is where the picture ends in the arrays.
    """
    height, width = size
    for array in (weight, spread, exists):
        if height < array.shape[0]:
            array[height:] = array[height - 1]
        if width < array.shape[1]:
            array[:, width:] = array[:, width - 1 : width]


def paste(data: bytes, box: Box, before: Array, patch: Array, name: object) -> bytes:
    """Return the JPEG with `patch` in the box [top, left, height, width].

    `before` is the box's decoded content and `patch` its new one, both (h, w, 3) uint8 RGB, or (h, w) for grayscale.
    Only blocks with a pixel that differs between them change. Quantisation tables, subsampling, size, EXIF, ICC and
    comments stay. The result is read back and compared; DataError if the file cannot be rewritten like this.
    """
    facts = frame(data, name)
    check_rewritable(data, name)
    with tempfile.TemporaryDirectory(prefix="poisongen-") as temporary:
        folder = Path(temporary)
        source = _read_coefficients(data, folder, name)
        if source.colour_space not in _COLOUR_SPACES:
            raise _cannot(name, f"its colour space is {source.colour_space}")
        wanted = [component.copy() for component in source.components]
        changed = (before != patch).reshape(*patch.shape[:2], -1).any(axis=2)
        values = _to_components(patch, source.colour_space)
        for index, blocks in enumerate(wanted):
            _paste_component(
                blocks,
                source.tables[index],
                source.factors[index],
                box,
                values[..., index],
                changed,
                (facts.height, facts.width),
            )
        written = _write_coefficients(source, wanted, folder, name)
        result = with_segments_of(data, written, name)
        again = _read_coefficients(result, folder, name)
    again_frame = frame(result, name)
    same = (
        again.colour_space == source.colour_space
        and again.factors == source.factors
        and (again_frame.width, again_frame.height) == (facts.width, facts.height)
        and len(again.components) == len(wanted)
        and all(np.array_equal(a, b) for a, b in zip(again.components, wanted, strict=True))
        and all(np.array_equal(a, b) for a, b in zip(again.tables, source.tables, strict=True))
    )
    if not same:
        raise _cannot(name, "what was written does not read back the same")
    return result


def _write_coefficients(source: _Coefficients, components: list[Array], folder: Path, name: object) -> bytes:
    image, path = source.image, folder / "out.jpg"
    image.Y = components[0]
    if len(components) == 3:
        image.Cb, image.Cr = components[1], components[2]
    try:
        with quiet():
            image.write_dct(str(path))
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        raise _cannot(name, f"the library says: {error}") from None


def with_segments_of(source: bytes, written: bytes, name: object) -> bytes:
    """Return the written JPEG with the source's application and comment segments in place of its own."""
    annotations = [source[s.start : s.end] for s in segments(source, name)[0] if is_annotation(s.marker)]
    others, scan = segments(written, name)
    tables = [written[s.start : s.end] for s in others if not is_annotation(s.marker)]
    return b"".join([b"\xff\xd8", *annotations, *tables, written[scan:]])
