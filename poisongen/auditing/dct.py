"""The coefficients that a JPEG file holds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import numpy.typing as npt

from poisongen.files.quiet import quiet

Array = npt.NDArray[Any]


def read_dct(data: bytes) -> tuple[list[Array], list[Array], list[tuple[int, int]], str]:
    """Return a JPEG's coefficients, (rows, columns, 8, 8) for each component, tables, pixel steps, colour space.

    The steps are how many pixels (down, across) one sample stands for. ValueError if the library cannot read it.
    """
    with tempfile.TemporaryDirectory(prefix="poisongen-") as folder, quiet():
        path = Path(folder) / "in.jpg"
        path.write_bytes(data)
        try:
            image = jpeglib.read_dct(str(path))
            parts = [np.asarray(image.Y)]
            parts += [np.asarray(image.Cb), np.asarray(image.Cr)] if image.has_chrominance else []
            tables = [np.asarray(image.qt[image.quant_tbl_no[index]], dtype=float) for index in range(len(parts))]
        except (OSError, RuntimeError, ValueError, IndexError, TypeError):
            raise ValueError("one that libjpeg does not read as such") from None
    if any((table <= 0).any() for table in tables):
        raise ValueError("a quantisation table holds a zero")  # and no block could be compared with anything
    factors = np.asarray(image.samp_factor)[: len(parts)].astype(int) if len(parts) > 1 else np.ones((1, 2), int)
    steps = [(int(down), int(across)) for down, across in factors.max(axis=0) // factors]
    return parts, tables, steps, str(image.jpeg_color_space.name)
