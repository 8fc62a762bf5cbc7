"""What audit asks of a kind of label file: does it agree with the label map, and does it follow from the source?

A check is written by the kind's definition and shares nothing with the kind's `rewrite`, whose faults it is to find.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from poisongen.core.labels import Relabelling

if TYPE_CHECKING:
    from poisongen.datasets.base import ClassTable

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LabelNow:
    """A label file of OUT, and what is known of its sample without the source.

    `data` are its bytes and `pixels` its decoded array, (H, W) or (H, W, C), None for documents. `maps` are OUT's maps
    of raw class IDs by kind, (H, W) uint8, all of one size, the label map first. `gone` are the classes that
    the label rule leaves in no map of such a sample. `random` is how many pixels of the label map have a random class,
    by the record. `written` is false for a file that is the source's own. `alone`: samples without the attack keep
    files that tell their labels, and one that can tell none has to stop its readers.
    Pictures have the height and width of the label map: audit has seen to that.
    """

    kind: str
    data: bytes
    pixels: Array | None
    maps: Mapping[str, Array]
    written: bool
    gone: Collection[int]
    random: int
    classes: ClassTable
    alone: bool = False

    @property
    def ids(self) -> Array:
        """The label map of OUT, (H, W) uint8."""
        return next(iter(self.maps.values()))


@dataclass(frozen=True)
class LabelBefore:
    """What the source says of the same file: `data` and `pixels` are None where the source has no such file.

    `pixels` (of the type that the source's file has) and `maps` have the size of OUT's: they are scaled where `scaled`
    is true, but `data` is not. `random` tells which pixels of the label map have a random class, (H, W) bool;
    `changed` which have another class than before, for whatever reason. `relabelling` is what the label rule decides of
    the source's labels.
    """

    data: bytes | None
    pixels: Array | None
    maps: Mapping[str, Array]
    random: Mask
    changed: Mask
    scaled: bool
    relabelling: Relabelling

    @property
    def ids(self) -> Array:
        """The label map of the source, (H, W) uint8."""
        return next(iter(self.maps.values()))


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a label file, in words. `inherited`: a source whose own files disagree would explain it."""

    expected: str
    found: str
    inherited: bool = True


@dataclass(frozen=True)
class LabelCheck:
    """How audit judges a kind of label file. Both functions return what is wrong, or None.

    `agrees(now)` compares the file with the label map of its sample in OUT (and is asked of the source's file as well,
    to tell what OUT has inherited). `follows(now, before)` compares it with what the source's file must have become:
    equal in every sample or byte wherever this kind's definition leaves no choice.
    """

    agrees: Callable[[LabelNow], Wrong | None]
    follows: Callable[[LabelNow, LabelBefore], Wrong | None]


def unlike(wanted: Array, found: Array | None, expected: str, inherited: bool = True) -> Wrong | None:
    """Compare an array with what it should be; of pixels with channels each counts once."""
    if found is None or found.shape != wanted.shape:
        shape = "no picture" if found is None else f"an array {found.shape}"
        return Wrong(f"an array {wanted.shape}", shape, inherited=False)
    differs = wanted != found
    number = int((differs.any(axis=2) if differs.ndim == 3 else differs).sum())
    return Wrong(expected, f"{number} pixels that disagree", inherited) if number else None


def _maps_agree(now: LabelNow) -> Wrong | None:
    """Two maps of one sample may differ (VOC's two sets of masks do); each has legal IDs, and that has been seen to."""
    return None


def _maps_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    """Its own pixels are as the label rule has them, random ones as in the label map, all else is the source's."""
    if before.pixels is None or before.pixels.shape != now.ids.shape:
        return Wrong("a label map of the source's own", "none", inherited=False)
    wanted = before.pixels
    for layer in before.relabelling.layers:
        where = np.ones(wanted.shape, bool) if layer.where is None else layer.where
        wanted = np.where(where, layer.table[before.pixels], wanted)
    wanted = np.where(before.random, now.ids, wanted)
    return unlike(wanted, now.pixels, "the source's labels, changed")


MAP_CHECK = LabelCheck(_maps_agree, _maps_follow)
"""The check of every kind that holds raw class IDs."""
