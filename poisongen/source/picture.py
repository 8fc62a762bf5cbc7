"""A sample's image file: read once and decoded once, however many ask for it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.files.images import decode
from poisongen.files.orientation import orientation
from poisongen.source.listing import read_file


@dataclass(frozen=True)
class Picture:
    """The image `name` below `root`; nothing is read before it is asked for. DataError where that fails."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.root / self.name

    @functools.cached_property
    def data(self) -> bytes:
        """The file's bytes."""
        return read_file(self.root, self.name)

    @functools.cached_property
    def pixels(self) -> npt.NDArray[Any]:
        """The decoded picture, (H, W) or (H, W, channels), read-only."""
        pixels: npt.NDArray[np.generic] = decode(self.data, self.path)
        pixels.flags.writeable = False
        return pixels

    @functools.cached_property
    def turn(self) -> int:
        """EXIF's orientation."""
        return orientation(self.data)
