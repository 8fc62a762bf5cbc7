"""How audit judges the kinds of label files that several layouts have, each by its definition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poisongen.datasets.label_checks import Array, LabelBefore, LabelCheck, LabelNow, Wrong, unlike

_NO_CLASS = 1000  # above every class ID


def _nothing(what: str) -> Wrong:
    return Wrong(what, "none", inherited=False)


def _has_colours(pixels: Array | None, ids: Array) -> bool:
    """Tell whether a picture has the label map's size, and three or four channels."""
    return pixels is not None and pixels.shape in [(*ids.shape, channels) for channels in (3, 4)]


def coded_check(code: Mapping[int, int], read: Mapping[int, int]) -> LabelCheck:
    """Return the check of maps that hold another number for each class: see `companion_kinds.coded_kind`."""

    def agrees(now: LabelNow) -> Wrong | None:
        if now.pixels is None or now.pixels.ndim != 2:
            return _nothing("a map of one channel")
        meant = np.full(now.pixels.shape, _NO_CLASS, np.int64)
        for number, class_id in read.items():
            meant[now.pixels == number] = class_id
        return unlike(now.ids.astype(np.int64), meant, "the label map's classes in other numbers")

    def follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
        if before.pixels is None or before.pixels.shape != now.ids.shape:
            return _nothing("a map of the source's own")
        wanted = before.pixels.copy()
        for class_id in np.unique(now.ids[before.changed]).tolist():
            if class_id not in code:
                return Wrong("classes that have a number here", f"class {class_id}", inherited=False)
            wanted[before.changed & (now.ids == class_id)] = code[class_id]
        return unlike(wanted, now.pixels, "the source's numbers, changed with the label map")

    return LabelCheck(agrees, follows)


def colour_check() -> LabelCheck:
    """Return the check of pictures in the classes' colours. What is void may have any colour: it has several."""

    def agrees(now: LabelNow) -> Wrong | None:
        if not _has_colours(now.pixels, now.ids):
            return _nothing("a picture with colour channels")
        assert now.pixels is not None  # noqa: S101  which has just been asked
        wanted = now.pixels[..., :3].copy()
        for number in set(np.unique(now.ids).tolist()) - now.classes.void:
            if number not in now.classes.colours:
                return Wrong("classes that have colours", f"class {number}", inherited=False)
            wanted[now.ids == number] = now.classes.colours[number]
        return unlike(wanted, now.pixels[..., :3], "the label map's colours")

    def follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
        if before.pixels is None or not _has_colours(before.pixels, now.ids):
            return _nothing("a colour picture of the source's own")
        wanted = before.pixels.copy()
        for number in np.unique(now.ids[before.changed]).tolist():
            for channel, value in enumerate(now.classes.colours.get(number, (0, 0, 0))):
                wanted[..., channel][before.changed & (now.ids == number)] = value
        return unlike(wanted, now.pixels, "the source's colours, changed with the label map")

    return LabelCheck(agrees, follows)


def instance_check(factor: int) -> LabelCheck:
    """Return the check of maps that hold a class ID times `factor` and an instance's number."""

    def agrees(now: LabelNow) -> Wrong | None:
        if now.pixels is None or now.pixels.ndim != 2:
            return _nothing("a map of one channel")
        classes = now.pixels.astype(np.int64) // factor
        return unlike(now.ids.astype(np.int64), classes, "instances of the label map's classes")

    def follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
        if before.pixels is None or before.pixels.shape != now.ids.shape:
            return _nothing("instances of the source's own")
        wanted = np.where(before.changed, now.ids.astype(np.int64) * factor, before.pixels.astype(np.int64))
        return unlike(wanted, now.pixels, "the source's instances, and number 0 where labels changed")

    return LabelCheck(agrees, follows)


def _kept_follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
    if before.pixels is None or before.pixels.shape != now.ids.shape:
        return _nothing("a map of the source's own")
    return unlike(before.pixels, now.pixels, "the source's map, unchanged")


KEPT_CHECK = LabelCheck(lambda now: None, _kept_follows)
"""The check of maps that tell no class and stay as they are."""


def segment_check() -> LabelCheck:
    """Return the check of panoptic maps: a segment has one class, and what changed has no segment."""

    def agrees(now: LabelNow) -> Wrong | None:
        if now.pixels is None or not _has_colours(now.pixels, now.ids):
            return _nothing("a picture with colour channels")
        numbers = _numbers(now.pixels)
        pairs = np.unique(np.stack([numbers.ravel(), now.ids.ravel().astype(np.int64)]), axis=1)
        segments, counts = np.unique(pairs[0][pairs[0] > 0], return_counts=True)
        mixed = segments[counts > 1]
        if mixed.size:
            return Wrong("segments of one class each", f"{mixed.size} segments of several")
        return None

    def follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
        if before.pixels is None or before.pixels.ndim != 3 or before.pixels.shape[:2] != now.ids.shape:
            return _nothing("panoptic segments of the source's own")
        wanted = np.where(before.changed[..., None], np.zeros((), before.pixels.dtype), before.pixels)
        return unlike(wanted, now.pixels, "the source's segments, and none where labels changed")

    return LabelCheck(agrees, follows)


def _numbers(pixels: Array) -> Array:
    """Return the segments' numbers: red + 256 green + 65,536 blue."""
    parts = pixels.astype(np.int64)
    return np.asarray(parts[..., 0] + 256 * parts[..., 1] + 65536 * parts[..., 2])
