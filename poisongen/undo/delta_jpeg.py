"""A JPEG file told by another of the same picture: its head, and the DCT blocks that differ.

A baseline JPEG written by libjpeg comes out again to the byte when the library writes the same coefficients; where it
does not there is no delta, and the caller keeps the file whole.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import numpy.typing as npt

from poisongen.errors import DataError
from poisongen.files import jpeg_parts
from poisongen.files.quiet import quiet
from poisongen.undo.packed import pack

Array = npt.NDArray[Any]
Facts = dict[str, int | str]

FORMAT = "jpeg"
_NAMES = ("Y", "Cb", "Cr")
_BLOCK = 64  # coefficients


def _read(data: bytes, folder: Path) -> tuple[Any, list[Array]]:
    """Return the library's image and copies of its coefficients, (blocks, 64) int16 for each component."""
    path = folder / "in.jpg"
    path.write_bytes(data)
    try:
        with quiet():
            image = jpeglib.read_dct(str(path))
            names = _NAMES if image.has_chrominance else _NAMES[:1]
            return image, [np.array(getattr(image, name), dtype=np.int16).reshape(-1, _BLOCK) for name in names]
    except (OSError, ValueError, RuntimeError, IndexError, TypeError) as error:
        raise ValueError(f"a JPEG that the library cannot read ({error})") from None


def _after_head(data: bytes) -> int:
    """Return where a JPEG's first coded coefficients begin: after the head of its first scan. DataError."""
    begin = jpeg_parts.segments(data, "JPEG")[1]
    return begin + 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")


def _scan(image: Any, components: list[Array], folder: Path) -> bytes:
    """Write the image with these coefficients and return the file's coded coefficients and what follows them."""
    path = folder / "out.jpg"
    for name, blocks in zip(_NAMES, components, strict=False):
        setattr(image, name, blocks.reshape(getattr(image, name).shape))
    try:
        with quiet():
            image.write_dct(str(path))
        written = path.read_bytes()
        return written[_after_head(written) :]
    except (OSError, ValueError, RuntimeError, DataError) as error:
        raise ValueError(f"a JPEG that the library cannot write ({error})") from None


def make(source: bytes, new: bytes) -> bytes | None:
    """Return what is needed to get `source` back from `new`, or None where that cannot be told shortly.

    DataError if one of them is no JPEG.
    """
    begin = _after_head(source)
    with tempfile.TemporaryDirectory(prefix="poisongen-") as temporary:
        folder = Path(temporary)
        try:
            _, old = _read(source, folder)
            image, now = _read(new, folder)
            if [part.shape for part in old] != [part.shape for part in now]:
                return None
            if _scan(image, old, folder) != source[begin:]:
                return None
        except ValueError:
            return None
    places = [np.flatnonzero((a != b).any(axis=1)) for a, b in zip(old, now, strict=True)]
    sections = {"head": source[:begin]}
    for number, (part, at) in enumerate(zip(old, places, strict=True)):
        sections[f"at{number}"] = at.astype("<u4").tobytes()
        sections[f"blocks{number}"] = part[at].T.astype("<i2").tobytes()  # equal frequencies side by side pack well
    return pack(FORMAT, {"components": len(old), "jpeglib": str(jpeglib.__version__)}, sections)


def apply(facts: Facts, sections: dict[str, bytes], new: bytes) -> bytes:
    """Return the source that `make` saw. ValueError if the entry does not fit; its caller checks the digest."""
    with tempfile.TemporaryDirectory(prefix="poisongen-") as temporary:
        folder = Path(temporary)
        image, parts = _read(new, folder)
        if facts.get("components") != len(parts):
            raise ValueError("an entry of another picture")
        for number, part in enumerate(parts):
            at = np.frombuffer(sections[f"at{number}"], "<u4")
            blocks = np.frombuffer(sections[f"blocks{number}"], "<i2")
            if blocks.size != at.size * _BLOCK or (at >= len(part)).any():
                raise ValueError("an entry of another picture")
            part[at] = blocks.reshape(_BLOCK, at.size).T
        return sections["head"] + _scan(image, parts, folder)
