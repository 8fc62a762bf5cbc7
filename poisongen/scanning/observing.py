"""One look at a sample: what is kept of its picture and labels. The pictures themselves are let go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poisongen.core.labels import class_counts, class_mask
from poisongen.errors import DataError
from poisongen.scanning.cells import Cells, classes_of, gray_of, looks_of
from poisongen.scanning.companions import Disagreement, disagreements, fingerprint_of
from poisongen.scanning.outlines import islands_of
from poisongen.scanning.random_labels import Speckle, measure, smoothed
from poisongen.scanning.reading import SuspectSet, read_maps, read_picture
from poisongen.scanning.resized import Between, measure_between
from poisongen.scanning.whole_image import MOST_FINE, Spectrum, spectrum_of


@dataclass(frozen=True)
class Observation:
    """A sample's part in the evidence. `classes` counts the pixels of each raw ID, (256,) int64."""

    cells: Cells
    speckle: Speckle
    disagreements: Sequence[Disagreement]
    fingerprint: int
    classes: npt.NDArray[np.int64]
    spectrum: Spectrum
    pixels: int
    between: Between
    islands: Mapping[int, int]


def observe(index: int, suspect: SuspectSet) -> Observation:
    """Read a sample once and return what is kept of it. DataError for a bad file, or labels of another size."""
    picture, labels = read_picture(suspect, index), read_maps(suspect, index)
    ids = labels.maps[0]
    if ids.shape != picture.shape[:2]:
        sample, (high, wide) = suspect.samples[index], ids.shape
        height, width = picture.shape[:2]
        mask = next(label.path for label in sample.labels if label.kind == labels.first)
        raise DataError(
            suspect.root / mask, f"is {wide}x{high} px, but its image {sample.image} is {width}x{height} px"
        )
    void = suspect.classes.void
    speckle, gray = measure(ids, void), gray_of(picture)
    smooth = smoothed(ids) if speckle.is_speckled else ids
    # A majority drops thin outlines: what is void stays void.
    outlined = np.where(class_mask(ids, void), ids, smooth) if speckle.is_speckled else ids
    return Observation(
        cells=Cells(looks_of(picture, gray), classes_of(smooth, void)),
        speckle=speckle,
        disagreements=disagreements(labels, suspect.layout.kinds, suspect.classes),
        fingerprint=fingerprint_of(gray),
        classes=class_counts(smooth),
        spectrum=spectrum_of(picture, index % (1 + (len(suspect.samples) - 1) // MOST_FINE) == 0, gray),
        pixels=ids.size,
        between=measure_between(ids),
        islands=islands_of(outlined, void),
    )
