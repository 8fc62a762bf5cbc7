"""A sample's image file: read once and decoded once, however many ask for it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from poisongen.files.images import Decoded, open_picture, pixels_sha256
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
    def decoded(self) -> Decoded:
        """The decoded picture, read-only."""
        decoded = open_picture(self.data, self.path)
        decoded.pixels.flags.writeable = False
        return decoded

    @property
    def pixels(self) -> npt.NDArray[Any]:
        """The decoded picture's samples, (H, W) or (H, W, channels), read-only."""
        return self.decoded.pixels

    @functools.cached_property
    def pixels_sha256(self) -> str:
        """The digest of its pixels."""
        return pixels_sha256(self.pixels)

    @functools.cached_property
    def turn(self) -> int:
        """EXIF's orientation."""
        return orientation(self.data)
