"""Version 1.2 of Mapillary's labels beside version 2.0, as the download of 2.0 has them: kept to one story.

2.0 is the label map. What changed there gets the class of the same name in 1.2, and `Unlabeled` where 1.2 has no such
class. The two were drawn apart: where a rule takes all pixels of a class, those of 1.2 follow as well that 2.0 calls
otherwise, so that no map of a poisoned sample is left with a victim.
"""

from __future__ import annotations

import numpy as np

from poisongen.core.labels import Change
from poisongen.datasets.base import Array, ClassTable, LabelKind, id_fault
from poisongen.datasets.companion_kinds import instance_kind, segment_kind
from poisongen.datasets.label_checks import LabelBefore, LabelCheck, LabelNow, Wrong, unlike
from poisongen.datasets.mapillary_classes import CLASSES_12, CLASSES_20, UNLABELED_12

_BY_NAME = {name: number for number, name in CLASSES_12.names.items()}
OLDER = {number: _BY_NAME.get(name, UNLABELED_12) for number, name in CLASSES_20.names.items()}
"""The class of 1.2 for each of 2.0, by name."""


def _own_pairs(table: Array) -> dict[int, int]:
    """Return what a table for classes of 2.0 does to classes of 1.2, where those have the names."""
    moved = (number for number in CLASSES_20.trained if int(table[number]) != number)
    return {OLDER[number]: OLDER[int(table[number])] for number in moved if OLDER[number] != UNLABELED_12}


def _new_classes(old: Array, change: Change) -> Array:
    """Return the classes of 1.2 after the change, from those before, (H, W)."""
    out = old.copy()
    if change.relabelling.everywhere and change.relabelling.layers:
        for victim, target in _own_pairs(change.relabelling.layers[0].table).items():
            out[old == victim] = target
    for number in np.unique(change.after[change.changed]).tolist():
        out[change.changed & (change.after == number)] = OLDER[number]
    return out


def _rewrite_labels(array: Array, change: Change, classes: ClassTable) -> Array:
    return _new_classes(array, change)


def _rewrite_instances(array: Array, change: Change, classes: ClassTable) -> Array:
    old = array // 256
    new = _new_classes(old, change)
    return np.where((new != old) | change.changed, new * np.uint16(256), array).astype(array.dtype)


def _wanted(old: Array, now: LabelNow, before: LabelBefore) -> Array:
    """Return the classes of 1.2 by this module's rule, as audit reads it."""
    wanted = old.astype(np.int64)
    rule = before.relabelling
    if rule.everywhere and rule.layers:
        for number, name in CLASSES_20.names.items():
            target = CLASSES_20.names.get(int(rule.layers[0].table[number]), "")
            if number not in CLASSES_20.void and name != target and name in _BY_NAME:
                wanted[old == _BY_NAME[name]] = _BY_NAME.get(target, UNLABELED_12)
    for number in np.unique(now.ids[before.changed]).tolist():
        wanted[before.changed & (now.ids == number)] = _BY_NAME.get(CLASSES_20.names.get(number, ""), UNLABELED_12)
    return wanted


def _no_victim(found: Array, now: LabelNow) -> Wrong | None:
    gone = {_BY_NAME[name] for number in now.gone if (name := CLASSES_20.names.get(number, "")) in _BY_NAME}
    left = sorted(gone & set(np.unique(found).tolist())) if now.written else []
    return Wrong("no victim in version 1.2 either", f"classes {left}", inherited=False) if left else None


def _check(factor: int) -> LabelCheck:
    def agrees(now: LabelNow) -> Wrong | None:
        if now.pixels is None or now.pixels.ndim != 2:
            return Wrong("a map of one channel", "none", inherited=False)
        return _no_victim(now.pixels // factor, now)

    def follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
        if before.pixels is None or before.pixels.shape != now.ids.shape:
            return Wrong("a map of the source's own", "none", inherited=False)
        old = before.pixels.astype(np.int64)
        wanted = _wanted(old // factor, now, before)
        whole = np.where((wanted != old // factor) | before.changed, wanted * factor, old)
        return unlike(whole, now.pixels, "version 1.2 of the source, changed with version 2.0")

    return LabelCheck(agrees, follows)


_INSTANCES, _PANOPTIC = instance_kind(256), segment_kind()
OLDER_KINDS = {
    "v1.2/labels": LabelKind(
        fault=lambda array, classes: id_fault(array, frozenset(CLASSES_12.names), "Mapillary Vistas 1.2"),
        rewrite=_rewrite_labels,
        check=_check(1),
    ),
    "v1.2/instances": LabelKind(
        fault=lambda array, classes: _INSTANCES.fault(array, CLASSES_12),
        rewrite=_rewrite_instances,
        check=_check(256),
    ),
    "v1.2/panoptic": LabelKind(
        fault=_PANOPTIC.fault,
        rewrite=_PANOPTIC.rewrite,
        check=LabelCheck(lambda now: None, _PANOPTIC.check.follows),
        flat=False,
    ),
}
"""The kinds of version 1.2 where version 2.0 is the label map."""
