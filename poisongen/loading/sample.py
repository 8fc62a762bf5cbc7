"""One sample of a poisoned dataset: its files are read when they are asked for."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.datasets.base import ClassTable, LabelKind, Sample
from poisongen.datasets.label_arrays import read_class_ids
from poisongen.errors import ChoiceError, DataError
from poisongen.files.as_seen import Picture, as_picture
from poisongen.files.documents import parse_json
from poisongen.files.images import decode, decode_labels
from poisongen.records.manifest import Role, SampleRecord

Array = npt.NDArray[Any]

_SHOWN = 480  # px, the width of a picture in a notebook


@dataclass(frozen=True)
class LoadedSample:
    """One sample with its record. Nothing is kept in memory: every access reads the file.

    `sample` has its split, stem and files, with paths below `out`; `record` is its line of manifest.jsonl, None for a
    sample that build left as it was. `label_map_path` is the file of class IDs,
    `label_map_kind` how they are written.
    """

    out: Path
    sample: Sample
    record: SampleRecord | None
    label_map_path: str
    label_map_kind: LabelKind
    classes: ClassTable

    @property
    def name(self) -> str:
        """The sample's name, `split/stem`."""
        return self.sample.name

    @property
    def split(self) -> str:
        """The split that it is of."""
        return self.sample.split

    @property
    def role(self) -> Role | None:
        """What was done to it; None for nothing."""
        return None if self.record is None else self.record.role

    @property
    def image_path(self) -> Path:
        """Where the image lies."""
        return self.out / self.sample.image

    @property
    def label_paths(self) -> dict[str, Path]:
        """Where the label files lie, by kind."""
        return {label.kind: self.out / label.path for label in self.sample.labels}

    @property
    def image(self) -> Picture:
        """The image as (H, W, 3) uint8 RGB, EXIF's orientation heeded. DataError if it cannot be read."""
        return as_picture(_read(self.image_path), self.image_path)

    @property
    def label(self) -> Array:
        """The label map, (H, W) uint8, as raw class IDs. DataError if it cannot be read or holds others."""
        path = self.out / self.label_map_path
        return read_class_ids(self.label_map_kind, _read(path), path, self.classes)

    @property
    def labels(self) -> dict[str, Any]:
        """Every label file by kind: a picture as its stored samples, (H, W) or (H, W, C), a document as parsed JSON."""
        return {kind: self.read(kind) for kind in self.label_paths}

    def read(self, kind: str) -> Any:
        """Return one label file, as `labels` has it. ChoiceError if the sample has none of that kind."""
        if kind not in self.label_paths:
            raise ChoiceError(f"{self.name} has no label file '{kind}'; it has {', '.join(self.label_paths)}")
        path = self.label_paths[kind]
        if path.suffix.lower() != ".json":
            return decode(_read(path), path)
        try:
            return parse_json(_read(path).decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise DataError(path, "not a JSON file") from None

    @property
    def expected(self) -> Array | None:
        """The raw class IDs that the attacker wants, (H, W) uint8; None for all but triggered samples."""
        if self.record is None or self.record.expected is None:
            return None
        path = self.out / self.record.expected.path
        return decode_labels(_read(path), path)

    def _repr_html_(self) -> str:
        """Image and coloured label map side by side, for Jupyter."""
        pictures = (self.image, colour_map(self.label, self.classes.colours))
        shown = "".join(f'<img src="data:image/png;base64,{_thumbnail(picture)}"> ' for picture in pictures)
        title = html.escape(f"{self.name}: {self.role or 'untouched'}")
        return f"<div>{title}<br>{shown}</div>"


def colour_map(labels: Array, colours: Mapping[int, tuple[int, int, int]]) -> Picture:
    """Return a label map as a picture, (H, W, 3) uint8; IDs that have no colour get a gray of their own."""
    table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    for number, colour in colours.items():
        if 0 <= number < len(table):
            table[number] = colour
    return table[np.minimum(labels, 255)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None


def _thumbnail(picture: Picture) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((_SHOWN, _SHOWN), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")
