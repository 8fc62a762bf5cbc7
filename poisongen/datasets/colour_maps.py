"""Label maps that may hold class IDs, or a colour for each class in an RGB or RGBA picture."""

from __future__ import annotations

import numpy as np

from poisongen.core.labels import Change
from poisongen.datasets.base import Array, ClassTable, id_fault, rewrite_ids
from poisongen.datasets.label_checks import MAP_CHECK, LabelBefore, LabelCheck, LabelNow, Wrong, unlike
from poisongen.errors import DataError


def _packed(array: Array) -> Array:
    """Return each pixel's colour as one number, (H, W) uint32; alpha does not count."""
    parts = array[..., :3].astype(np.uint32)
    return np.asarray(parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2])


def _table(classes: ClassTable) -> tuple[Array, Array]:
    """Return the colours of the classes as numbers, ascending, and their IDs."""
    numbers = sorted((red << 16 | green << 8 | blue, number) for number, (red, green, blue) in classes.colours.items())
    return np.array([one for one, _ in numbers], np.uint32), np.array([number for _, number in numbers], np.uint8)


def ids_of_map(array: Array, classes: ClassTable) -> Array:
    """Return the class IDs of a legal map, (H, W) uint8: itself, or what its colours stand for."""
    if array.ndim == 2:
        return array
    colours, numbers = _table(classes)
    if not colours.size:
        return np.zeros(array.shape[:2], np.uint8)  # which its fault has told
    return np.asarray(numbers[np.searchsorted(colours, _packed(array)).clip(0, len(colours) - 1)])


def map_fault(array: Array, classes: ClassTable) -> str | None:
    """Return what is wrong with a map of a plain dataset: its form, or the first ID or colour that is not legal."""
    if array.ndim == 2:
        return id_fault(array, frozenset(classes.names), "the classes file")
    kind = {2: "gray with alpha", 3: "RGB", 4: "RGBA"}[array.shape[2]]
    if not classes.colours:
        return f"label maps must hold one class ID for each pixel, this PNG is {kind}; or give the classes' colours"
    if array.shape[2] == 2 or array.dtype != np.uint8:
        return (
            f"a label map in colours must be 8-bit RGB or RGBA, this PNG is {kind} of {array.dtype.itemsize * 8} bits"
        )
    colours, _ = _table(classes)
    found, counts = np.unique(_packed(array), return_counts=True)
    strange = ~np.isin(found, colours)
    if strange.any():
        number = int(found[strange][0])
        colour = (number >> 16, number >> 8 & 255, number & 255)
        return f"the colour {colour} is no class of the classes file ({int(counts[strange][0])} pixels)"
    return None


def rewrite_map(array: Array, change: Change, classes: ClassTable) -> Array:
    """Rewrite a map: IDs as ever; in colours, the changed pixels get the colour of their new class, alpha stays."""
    if array.ndim == 2:
        return rewrite_ids(array, change, classes)
    table = np.zeros((256, 3), np.uint8)
    for number, colour in classes.colours.items():
        table[number] = colour
    unseen = set(np.unique(change.after[change.changed]).tolist()) - set(classes.colours)
    if unseen:
        name = classes.lookup(min(unseen))
        raise DataError("the file of classes", f"gives '{name}' no colour, which masks in colours would need")
    out = array.copy()
    out[..., :3][change.changed] = table[change.after[change.changed]]
    return out


def _agrees(now: LabelNow) -> Wrong | None:
    return None  # the classes are read from this very file


def _follows(now: LabelNow, before: LabelBefore) -> Wrong | None:
    """In colours: changed pixels have their class's colour, all else, alpha included, is the source's."""
    if now.pixels is None or now.pixels.ndim == 2:
        return MAP_CHECK.follows(now, before)
    fits = now.pixels.ndim == 3 and now.pixels.shape in [(*now.ids.shape, channels) for channels in (3, 4)]
    if before.pixels is None or before.pixels.shape != now.pixels.shape or not fits:
        return Wrong("a map in colours, as in the source", "none", inherited=False)
    wanted = before.pixels.copy()
    for number in np.unique(now.ids[before.changed]).tolist():
        if number not in now.classes.colours:
            return Wrong("classes that have colours", f"class {number}", inherited=False)
        where = before.changed & (now.ids == number)
        for channel, value in enumerate(now.classes.colours[number]):
            wanted[..., channel][where] = value
    return unlike(wanted, now.pixels, "the source's colours, changed with the classes")


COLOUR_MAP_CHECK = LabelCheck(_agrees, _follows)
"""The check of maps that hold IDs or colours."""
