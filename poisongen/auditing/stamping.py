"""What an image must decode to, with its trigger and without, by the recipe and the source's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from poisongen.attack.triggers.base import At, Box
from poisongen.attack.triggers.physical import MARGIN
from poisongen.attack.triggers.road import quad_box
from poisongen.auditing.places import Where
from poisongen.auditing.scene import Array, Content
from poisongen.core.resize import scaled_size
from poisongen.files import images, png
from poisongen.files.orientation import as_stored, orientation, stored_box, upright
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import Role


@dataclass(frozen=True)
class Pictures:
    """An image of OUT as the file stores it: pixels `without` its trigger and `wanted` with it, of the file's layout.

    Outside of the stored `box` nothing changes before the file is encoded. `true` is the box's new content as
    (h, w, 3) RGB before it is brought into the file's layout; `data` the file where it is a JPEG encoded anew.
    """

    without: Array
    wanted: Array
    box: Box
    true: Array
    data: bytes | None


def changes_all(rules: Rules) -> bool:
    """Whether the recipe's kind of trigger changes the whole picture."""
    return rules.kind.whole and rules.kind.quad is None


def is_encoded_anew(rules: Rules, with_trigger: bool) -> bool:
    """Whether a JPEG of OUT is encoded as a whole and not block by block."""
    if rules.recipe.scale != 1:
        return True
    return with_trigger and (rules.recipe.jpeg == "reencode" or changes_all(rules))


def prepared_for(role: Role, rules: Rules, height: int, width: int) -> Any:
    """Return the trigger that a sample of this role carries, made ready for a picture of this size."""
    decoy = role == "negative" and rules.decoy is not None
    return (rules.decoy if decoy and rules.decoy is not None else rules.prepared)(height, width)


def region_of(where: Where, height: int, width: int) -> Box:
    """Return the box, in an upright picture of this size, outside of which a trigger changes nothing."""
    if where.quad is None:
        return where.box or (0, 0, height, width)
    top, left, tall, wide = quad_box(where.quad, MARGIN)
    bottom, right = min(top + tall, height), min(left + wide, width)
    return max(top, 0), max(left, 0), bottom - max(top, 0), right - max(left, 0)


def sized(before: Content, rules: Rules, path: str) -> tuple[Array, bool]:
    """Return an image's stored pixels in the written size, and whether they were resized. DataError."""
    pixels = np.asarray(before.pixels)
    size = scaled_size(pixels.shape[0], pixels.shape[1], rules.recipe.scale)
    if size == pixels.shape[:2]:
        return pixels, False
    return images.resize(before.data, pixels, size, path), True


def plain(before: Content, rules: Rules, path: str) -> Array:
    """Return what an image without trigger decodes to in OUT. DataError."""
    pixels, resized = sized(before, rules, path)
    return _again(before.data, pixels, path)[0] if resized else pixels


def _again(data: bytes, pixels: Array, path: str) -> tuple[Array, bytes | None]:
    """Return what pixels decode to once they were encoded like `data`, and the JPEG, as a PNG keeps them."""
    if data[:8] == png.SIGNATURE:
        return pixels, None
    new = images.encode_whole(data, pixels, path)
    return images.decode(new, path), new


def pictures(before: Content, where: Where, rules: Rules, path: str) -> Pictures:
    """Return what an image of the source becomes with its trigger, and what it would be without. DataError.

    The trigger is drawn with the generator of its sample and role, on the picture as EXIF's orientation turns it.
    """
    data, kind = before.data, rules.kind
    pixels, resized = sized(before, rules, path)
    turn = orientation(data)
    height, width = upright(pixels, turn).shape[:2]
    region = region_of(where, height, width)
    box = stored_box(region, turn, height, width)
    top, left, tall, wide = box
    window = np.s_[top : top + tall, left : left + wide]
    ground = images.to_rgb_box(data, pixels if kind.whole else pixels[window], path)
    generator = KNOWN_ALGORITHMS[rules.algorithm].stamp(rules.recipe.seed, where.role, where.sample)
    at = At(height, width, where.box, where.quad)
    prepared = prepared_for(where.role, rules, height, width)
    stamped = kind.stamp(np.ascontiguousarray(upright(ground, turn)), at, prepared, generator)
    if kind.whole:
        first, start, high, broad = region
        stamped = stamped[first : first + high, start : start + broad]
    true = np.ascontiguousarray(as_stored(stamped, turn))
    patch = images.from_rgb_box(data, pixels[window], true, path)
    anew = resized or is_encoded_anew(rules, with_trigger=True)
    if data[:8] != png.SIGNATURE and not anew:
        wanted = images.replace_box(data, images.Decoded(pixels), box, patch, path, "blocks")[1]
        return Pictures(pixels, wanted, box, true, None)
    changed = pixels.copy()
    changed[window] = patch
    wanted, new = _again(data, changed, path)
    return Pictures(_again(data, pixels, path)[0], wanted, box, true, new)
