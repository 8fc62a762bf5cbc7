"""What is kept of a whole set while it is looked at, sample by sample: little, whatever its size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from poisongen.datasets.base import ClassTable
from poisongen.scanning import companions, outlines, random_labels, resized, whole_image
from poisongen.scanning.absences import expect_classes
from poisongen.scanning.classifier import look_out_of_fold
from poisongen.scanning.companions import Disagreement
from poisongen.scanning.evidences import Evidences, set_apart
from poisongen.scanning.hidden_edges import find_hidden_edges
from poisongen.scanning.histograms import odd_histograms
from poisongen.scanning.observing import Observation
from poisongen.scanning.patch.search import PatchEvidence
from poisongen.scanning.random_labels import Speckle
from poisongen.scanning.reading import SuspectSet
from poisongen.scanning.resized import Between
from poisongen.scanning.spool import Spool
from poisongen.scanning.whole_image import Spectrum

_SMOOTH, _HONEST = Speckle(), Between()  # of most samples: kept once
_NOTHING = np.zeros(0, np.int8)


@dataclass(frozen=True)
class Collected:
    """The observations of a set, kind by kind. `counts` (samples, classes) uint32 are the pixels of each trained class,

    `pixels` (samples,) those of each map; cells lie on disk.
    """

    cells: Spool
    speckles: list[Speckle]
    disagreements: dict[int, list[Disagreement]]
    fingerprints: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.uint32]
    spectra: list[Spectrum]
    pixels: npt.NDArray[np.int64]
    between: list[Between]
    islands: dict[int, dict[int, int]]


def collect(looks: Iterable[Observation], total: int, classes: ClassTable, spool: Spool) -> Collected:
    """Take the observations of `total` samples one by one, cells into the spool, and let go of what is not needed."""
    trained = np.array(classes.trained, np.int64)
    kept = Collected(
        cells=spool,
        speckles=[],
        disagreements={},
        fingerprints=np.zeros(total, np.uint64),
        counts=np.zeros((total, len(trained)), np.uint32),
        spectra=[],
        pixels=np.zeros(total, np.int64),
        between=[],
        islands={},
    )
    for at, one in enumerate(looks):
        kept.cells.add(one.cells)
        kept.speckles.append(one.speckle if one.speckle.is_speckled else _SMOOTH)
        if one.disagreements:
            kept.disagreements[at] = list(one.disagreements)
        kept.fingerprints[at] = one.fingerprint
        kept.counts[at] = one.classes[trained]
        kept.spectra.append(one.spectrum if one.spectrum.fine.size else replace(one.spectrum, fine=_NOTHING))
        kept.pixels[at] = one.pixels
        kept.between.append(one.between if one.between.is_resized else _HONEST)
        if one.islands:
            kept.islands[at] = dict(one.islands)
    return kept


def judge(suspect: SuspectSet, kept: Collected, patches: tuple[PatchEvidence, ...]) -> Evidences:
    """Judge what was kept of all samples, and the patches that were found, by kind of evidence."""
    classes, total = suspect.classes, len(suspect.samples)
    random = random_labels.judge(kept.speckles, classes.trained, classes.void)
    whole = whole_image.judge(kept.spectra)
    apart = set_apart(total, patches, whole, random)
    return Evidences(
        dataset=suspect.layout.name,
        split=suspect.split,
        names=[sample.name for sample in suspect.samples],
        classes=classes,
        patches=patches,
        random=random,
        seen=look_out_of_fold(kept.cells, apart),
        companions=companions.judge([kept.disagreements.get(at, ()) for at in range(total)]),
        duplicates=companions.same_pictures(kept.fingerprints.tolist(), kept.cells),
        jumps=odd_histograms(kept.counts),
        whole=whole,
        islands=outlines.judge([kept.islands.get(at, {}) for at in range(total)]),
        resized=resized.judge(kept.between),
        absences=expect_classes(kept.counts, classes.trained, apart),
        edges=find_hidden_edges(kept.cells),
    )
