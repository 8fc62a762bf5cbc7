"""Reading all label files of a sample, checked, as arrays of one size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.core.resize import resize_labels, scaled_size
from poisongen.datasets.base import LabelKind, Sample
from poisongen.datasets.label_arrays import class_ids, decode_label_file
from poisongen.errors import DataError
from poisongen.files.images import pixels_sha256
from poisongen.files.orientation import AS_STORED, orientation, turns_sideways
from poisongen.recipe.rules import Rules
from poisongen.source.knowing import Known
from poisongen.source.listing import read_file

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LabelContents:
    """A sample's label files: `raw` bytes and decoded `arrays` by kind (documents have no array).

    `semantic` are the kinds that say the classes; the first of them is the sample's label map. `ids` are their maps of
    raw class IDs, where those are not the arrays themselves.
    """

    raw: Mapping[str, bytes]
    arrays: Mapping[str, Array]
    semantic: tuple[str, ...]
    ids: Mapping[str, Array] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The kind of the label map."""
        return self.semantic[0]

    @property
    def maps(self) -> list[npt.NDArray[np.uint8]]:
        """The maps of raw class IDs, the label map first; each (H, W) uint8."""
        return [self.ids.get(kind, self.arrays[kind]) for kind in self.semantic]

    def digests(self, sample: Sample) -> dict[str, str]:
        """Return the digest of each label picture's pixels, by its path in `sample`."""
        paths = {label.kind: label.path for label in sample.labels}
        return {paths[kind]: pixels_sha256(array) for kind, array in self.arrays.items()}

    def scaled(self, scale: float) -> LabelContents:
        """Return the arrays at the written size; labels are never interpolated."""
        if scale == 1:
            return self
        height, width = self.maps[0].shape
        size = scaled_size(height, width, scale)
        arrays = {kind: resize_labels(array, size) for kind, array in self.arrays.items()}
        ids = {kind: resize_labels(array, size) for kind, array in self.ids.items()}
        return LabelContents(self.raw, arrays, self.semantic, ids)


def label_kinds(rules: Rules | Known) -> Mapping[str, LabelKind]:
    """Return the kinds of label files of the recipe's layout."""
    return rules.layout.kinds


def read_labels(
    root: Path, sample: Sample, rules: Rules | Known, *, maps_only: bool = False, surveyed: bool = False
) -> LabelContents:
    """Read a sample's label files (with `maps_only` just those that hold class IDs).

    Every file is checked: it decodes, its values are legal and no tag turns it (`surveyed`: that is known), all
    pictures have one size.
    DataError for the first that is bad.
    """
    raw: dict[str, bytes] = {}
    arrays: dict[str, Array] = {}
    kinds = label_kinds(rules)
    for label in sample.labels:
        kind, path = kinds[label.kind], root / label.path
        if maps_only and not kind.semantic:
            continue
        data = read_file(root, label.path)
        content = data if kind.document else decode_label_file(kind, data, path)
        if not isinstance(content, bytes):
            content.flags.writeable = False
        if not surveyed and (fault := kind.fault(content, rules.classes)):
            raise DataError(path, fault)
        if not surveyed and not kind.document and (turn := orientation(data)) != AS_STORED:
            raise DataError(
                path,
                f"a label map with the EXIF orientation {turn}, which some readers heed and others do not; turn its "
                "pixels as the tag says, or take the tag out (exiftool -Orientation= FILE)",
            )
        raw[label.kind] = data
        if not isinstance(content, bytes):
            arrays[label.kind] = content
            first = next(iter(arrays.values()))
            if content.shape[:2] != first.shape[:2]:
                (height, width), (high, wide) = content.shape[:2], first.shape[:2]
                raise DataError(path, f"is {width}x{height} px, the sample's first label file {wide}x{high} px")
    semantic = tuple(label.kind for label in sample.labels if kinds[label.kind].semantic)
    ids = {
        name: class_ids(kinds[name], arrays[name], rules.classes) for name in semantic if kinds[name].ids is not None
    }
    return LabelContents(raw, arrays, semantic, ids)


def check_fit(root: Path, image: str, stored: tuple[int, int], turn: int, mask: str, size: tuple[int, ...]) -> None:
    """DataError unless a label map of `size` (height, width) fits its image as EXIF's orientation `turn` turns it.

    `stored` is the height and width of the image as its file has it. Masks from annotation tools are upright. One that
    fits only the picture as it is stored belongs to readers that do not turn it: the others would get a mask of
    another shape, or a trigger in another place.
    """
    if (stored[::-1] if turns_sideways(turn) else stored) == size[:2]:
        return
    mask_size, image_size = f"{size[1]}x{size[0]} px", f"{stored[1]}x{stored[0]} px"
    if turn == AS_STORED:
        raise DataError(root / mask, f"is {mask_size}, but its image {image} is {image_size}")
    raise DataError(
        root / image,
        f"has the EXIF orientation {turn}: readers that heed it turn the {image_size} picture, and its mask {mask} "
        f"({mask_size}) does not fit; take the tag out (exiftool -Orientation= FILE), or turn the mask as well",
    )
