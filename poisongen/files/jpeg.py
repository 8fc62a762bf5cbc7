"""JPEG files changed only in the DCT blocks that a box touches; all else stays as it was, to the coefficient."""

from __future__ import annotations

import io
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jpeglib
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn, idctn

from poisongen.errors import DataError
from poisongen.files.png import LARGEST_PICTURE
from poisongen.files.quiet import quiet

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

EOI, SOS, COM = 0xD9, 0xDA, 0xFE
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive; others have another entropy coding
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
BLOCK = 8
_COLOUR_SPACES = {"JCS_GRAYSCALE": 1, "JCS_YCbCr": 3, "JCS_RGB": 3}


@dataclass(frozen=True)
class Frame:
    """What a JPEG's frame header says: size, bits of a sample, number of components, and the frame's marker."""

    width: int
    height: int
    bits: int
    components: int
    marker: int


@dataclass(frozen=True)
class _Segment:
    marker: int
    start: int
    end: int


def segments(data: bytes, name: object) -> tuple[list[_Segment], int]:
    """Return the segments before the first scan, and where that scan's own segment begins. DataError."""
    if data[:2] != b"\xff\xd8":
        raise DataError(name, "not a JPEG file")
    found: list[_Segment] = []
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise DataError(name, "damaged JPEG: a marker is missing")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _WITHOUT_LENGTH:
            at += 2
            continue
        if marker == SOS:
            return found, at
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == EOI or end < at + 4:
            raise DataError(name, "damaged JPEG: it holds no picture")
        found.append(_Segment(marker, at, end))
        at = end
    raise DataError(name, "truncated JPEG: the file ends before its picture begins")


def frame(data: bytes, name: object) -> Frame:
    """Read the frame header from (at least) a JPEG's bytes before its first scan. DataError."""
    for segment in segments(data, name)[0]:
        if segment.marker in FRAMES:
            payload = data[segment.start + 4 : segment.end]
            if len(payload) < 6:
                break
            height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
            if not height or not width:
                raise DataError(name, "damaged JPEG: its header gives no size")
            return Frame(width, height, payload[0], payload[5], segment.marker)
    raise DataError(name, "damaged JPEG: it has no frame header")


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
    if data.rfind(b"\xff\xd9") < segments(data, name)[1]:
        raise DataError(name, "truncated JPEG: the file ends within its picture")
    _check_stream(data, name)
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            warnings.simplefilter("ignore")
            if image.mode not in ("L", "RGB"):
                raise DataError(name, f"a JPEG of colour mode {image.mode}; convert it to RGB first")
            return np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(name, f"damaged or truncated JPEG ({error})") from None


def _check_stream(data: bytes, name: object) -> None:
    """Refuse a picture that libjpeg completes with gray: it only warns, Pillow hides that, and OpenCV lets us hear."""
    with quiet() as said:
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION)
        words = said()
    if "premature end" in words.lower() or "corrupt jpeg" in words.lower():
        raise DataError(name, f"damaged or truncated JPEG ({words.strip().splitlines()[-1].strip()})")


def _cannot(name: object, why: str) -> DataError:
    return DataError(name, f"this JPEG cannot be rewritten block by block ({why}); use --jpeg reencode")


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
    if facts.marker not in _HUFFMAN_FRAMES:
        raise _cannot(name, "its entropy coding is not Huffman's")
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


def _is_annotation(marker: int) -> bool:
    return 0xE0 <= marker <= 0xEF or marker == COM


def with_segments_of(source: bytes, written: bytes, name: object) -> bytes:
    """Return the written JPEG with the source's application and comment segments in place of its own."""
    annotations = [source[s.start : s.end] for s in segments(source, name)[0] if _is_annotation(s.marker)]
    others, scan = segments(written, name)
    tables = [written[s.start : s.end] for s in others if not _is_annotation(s.marker)]
    return b"".join([b"\xff\xd8", *annotations, *tables, written[scan:]])
