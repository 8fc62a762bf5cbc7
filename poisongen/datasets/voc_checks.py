"""How audit judges VOC's object masks: by their definition beside the masks of classes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from poisongen.datasets.label_checks import Array, LabelBefore, LabelCheck, LabelNow, Wrong, unlike

_CLASSES, _NONE, _VOID = "SegmentationClass", 0, 255
_MOST_OBJECTS = 254


def _objects_agree(now: LabelNow) -> Wrong | None:
    """There is no object where there is background, void where there is void, and an object everywhere else.

    The extended masks (SegmentationClassAug) were drawn by others and need not agree with the objects.
    """
    if now.pixels is None or _CLASSES not in now.maps:
        return None if now.pixels is not None else Wrong("a picture", "none", inherited=False)

    def kinds(array: Array) -> Array:
        return np.where(array == _NONE, 0, np.where(array == _VOID, 2, 1))

    return unlike(kinds(now.maps[_CLASSES]), kinds(now.pixels), "objects of the label map's classes, and void as there")


def _objects_follow(now: LabelNow, before: LabelBefore) -> Wrong | None:
    """What became background is no object, new classes on background are objects by component, all else is as it was.

    Where new classes have outlines of their own, they are objects by component wherever they are.

    Random pixels join the lowest-numbered object that the class has in the source, or else all together the first
    number that is free, class after class.
    """
    old, random = before.pixels, before.random
    if old is None or old.shape != now.ids.shape:
        return Wrong("objects of the source's own", "none", inherited=False)
    wanted = old.copy()
    taken = set(np.unique(old).tolist())

    def next_free() -> int:
        free = [candidate for candidate in range(1, _MOST_OBJECTS + 1) if candidate not in taken]
        taken.update(free[:1])
        return free[0] if free else _MOST_OBJECTS

    moved = before.changed & ~random & (old != _VOID)
    wanted[moved & (now.ids == _NONE)] = _NONE
    fresh = moved & (before.relabelling.outlines | (old == _NONE))
    for number in sorted(set(np.unique(now.ids[fresh]).tolist()) - {_NONE}):
        parts, count = ndimage.label(fresh & (now.ids == number), structure=np.ones((3, 3)))
        for part in range(1, count + 1):
            wanted[parts == part] = next_free()
    for number in sorted(set(np.unique(now.ids[random]).tolist())):
        if number in (_NONE, _VOID):
            wanted[random & (now.ids == number)] = number
            continue
        own = set(np.unique(old[before.ids == number]).tolist()) - {_NONE, _VOID}
        joined = min(own) if own else next_free()
        wanted[random & (now.ids == number)] = joined
    return unlike(wanted, now.pixels, "the source's objects, changed with the label map")


OBJECT_CHECK = LabelCheck(_objects_agree, _objects_follow)
