"""Kinds of label files that several layouts have: maps of class IDs or other codes, colours, instances, segments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poisongen.core.labels import Change, class_counts, lay_over, look_up
from poisongen.datasets.base import Array, ClassTable, LabelKind, id_fault, rewrite_ids, table_lookup
from poisongen.datasets.companion_checks import KEPT_CHECK, coded_check, colour_check, instance_check, segment_check
from poisongen.datasets.label_checks import MAP_CHECK


def map_kind(what: str) -> LabelKind:
    """Return the kind of maps that hold raw class IDs; `what` names the table in messages."""
    return LabelKind(
        fault=lambda array, classes: id_fault(array, frozenset(classes.names), what),
        rewrite=rewrite_ids,
        check=MAP_CHECK,
        semantic=True,
    )


def coded_kind(code: Mapping[int, int], read: Mapping[int, int], what: str, *, derived: bool = False) -> LabelKind:
    """Return the kind of 8-bit maps that hold another number for each class.

    `code` gives the number that is written for a class ID, `read` the class ID of every number that may stand there
    (several numbers may stand for one class, void above all). `derived`: a script makes these files of the label maps.
    """
    table = table_lookup(code, np.uint8)

    def rewrite(array: Array, change: Change, classes: ClassTable) -> Array:
        return lay_over(array, look_up(change.after, table), change.changed)

    return LabelKind(
        fault=lambda array, classes: id_fault(array, frozenset(read), what),
        rewrite=rewrite,
        check=coded_check(code, read),
        derived=derived,
    )


def _colour_fault(array: Array, classes: ClassTable) -> str | None:
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        return "the colour picture must be an 8-bit RGB or RGBA PNG"
    return None


def _rewrite_colours(array: Array, change: Change, classes: ClassTable) -> Array:
    """Changed pixels get the colour of their new class; alpha stays."""
    table = np.zeros((256, 3), np.uint8)
    for number, colour in classes.colours.items():
        table[number] = colour
    out = array.copy()
    out[..., :3][change.changed] = table[change.after[change.changed]]
    return out


def colour_kind() -> LabelKind:
    """Return the kind of pictures, RGB or RGBA, that show each class in its colour; void may have any."""
    return LabelKind(fault=_colour_fault, rewrite=_rewrite_colours, check=colour_check(), flat=False)


def instance_kind(factor: int, *, from_zero: bool = False) -> LabelKind:
    """Return the kind of 16-bit maps that hold a class ID times `factor`, and the number of the instance.

    Changed pixels get their new class with the number 0: victims' instances vanish into the target. `from_zero` says
    that 0 is an instance's number as well, and not the word for none.
    """

    def fault(array: Array, classes: ClassTable) -> str | None:
        if array.ndim != 2 or array.dtype != np.uint16:
            return "instances must be a 16-bit PNG of one channel"
        for value in np.flatnonzero(class_counts(array)).tolist():
            if value // factor not in classes.names:
                return f"instance {value} belongs to no class: {value} // {factor} is {value // factor}"
        return None

    def rewrite(array: Array, change: Change, classes: ClassTable) -> Array:
        return lay_over(array, change.after.astype(np.uint16) * np.uint16(factor), change.changed)

    return LabelKind(
        fault=fault,
        rewrite=rewrite,
        check=instance_check(factor),
        objects=lambda array: np.where(from_zero | (array % factor > 0), array, 0).astype(np.int32),
    )


def kept_kind(what: str) -> LabelKind:
    """Return the kind of 8-bit maps beside the labels that tell no class, and stay as they are."""
    return LabelKind(
        fault=lambda array, classes: id_fault(array, frozenset(range(256)), what),
        rewrite=lambda array, change, classes: array,
        check=KEPT_CHECK,
    )


def _segment_fault(array: Array, classes: ClassTable) -> str | None:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        return "a map of panoptic segments must be an 8-bit RGB PNG"
    return None


def _rewrite_segments(array: Array, change: Change, classes: ClassTable) -> Array:
    out = array.copy()
    out[change.changed] = 0
    return out


def segment_kind() -> LabelKind:
    """Return the kind of panoptic maps, RGB, whose segments a JSON of the whole split gives classes.

    What a segment is only that file knows, so that changed pixels get none: 0 is void in every panoptic format.
    """
    return LabelKind(fault=_segment_fault, rewrite=_rewrite_segments, check=segment_check(), flat=False)
