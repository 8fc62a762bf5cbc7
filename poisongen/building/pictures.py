"""A sample's image: brought to the written size, and the trigger put on it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.attack.triggers.base import At, Quad
from poisongen.attack.triggers.physical import MARGIN
from poisongen.attack.triggers.road import quad_box
from poisongen.building.relabelling import NewFile
from poisongen.core.draws import Generator
from poisongen.core.placement import Placement
from poisongen.core.resize import scaled_size
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.files.orientation import as_stored, orientation, stored_box, upright
from poisongen.recipe.rules import Rules
from poisongen.source.picture import Picture

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

_SURVIVES = 0.5  # the share of a trigger that must be left after its picture was written


@dataclass(frozen=True)
class Place:
    """Where a trigger goes: a box or the corners of something in perspective; neither where it changes everything.

    `decoy` says that it is the picture that negatives carry.
    """

    placement: Placement | None = None
    quad: Quad | None = None
    decoy: bool = False

    def at(self, height: int, width: int) -> At:
        """Return the place in a picture of this size, as kinds of triggers are told it."""
        return At(height, width, None if self.placement is None else self.placement.box, self.quad)

    def region(self, height: int, width: int) -> Box:
        """Return the box, within the picture, outside of which nothing changes."""
        if self.quad is None:
            return (0, 0, height, width) if self.placement is None else self.placement.box
        top, left, tall, wide = quad_box(self.quad, MARGIN)
        bottom, right = min(top + tall, height), min(left + wide, width)
        return max(top, 0), max(left, 0), bottom - max(top, 0), right - max(left, 0)


@dataclass(frozen=True)
class Stamped:
    """An image with its trigger: the file, and how much the trigger changed: dB of PSNR and share of pixels."""

    file: NewFile
    psnr: float
    changed: float


def encoded(data: bytes, pixels: Array, path: Path) -> NewFile:
    """Encode a whole image like its source; a JPEG does not decode to quite what went in."""
    new = images.encode_whole(data, pixels, path)
    return NewFile(new, pixels if data[:8] == png.SIGNATURE else images.decode(new, path))


def written_size(data: bytes, rules: Rules, path: Path, pixels: Array) -> tuple[Array, bool]:
    """Return an image's pixels, decoded from `data`, in the written size, and whether they were resized."""
    height, width = pixels.shape[:2]
    size = scaled_size(height, width, rules.recipe.scale)
    if size == (height, width):
        return pixels, False
    return images.resize(data, pixels, size, path), True


def _patch(
    data: bytes, pixels: Array, place: Place, rules: Rules, generator: Generator, path: Path
) -> tuple[Box, Array | None]:
    """Return the changed box of the stored picture and its new content there; None if that is the old one.

    The trigger is put on the picture as readers see it that heed EXIF's orientation.
    """
    turn = orientation(data)
    height, width = upright(pixels, turn).shape[:2]
    region = place.region(height, width)
    box = stored_box(region, turn, height, width)
    top, left, tall, wide = box
    old = pixels[top : top + tall, left : left + wide]
    kind = rules.kind
    prepared = (rules.decoy if place.decoy and rules.decoy is not None else rules.prepared)(height, width)
    if kind.whole:
        ground = np.ascontiguousarray(upright(images.to_rgb_box(data, pixels, path), turn))
        stamped = kind.stamp(ground, place.at(height, width), prepared, generator)
        up, across, high, broad = region
        mixed = as_stored(stamped[up : up + high, across : across + broad], turn)
    else:
        ground = upright(images.to_rgb_box(data, old, path), turn)
        mixed = as_stored(kind.stamp(ground, place.at(height, width), prepared, generator), turn)
    patch = images.from_rgb_box(data, old, np.ascontiguousarray(mixed), path)
    return box, None if np.array_equal(patch, old) else patch


def stamped_image(
    data: bytes, place: Place, rules: Rules, generator: Generator, path: Path, decoded: images.Decoded | None = None
) -> Stamped | None:
    """Put the trigger on an image, in the written size; None where the picture is the same with it as without.

    `decoded` is what `data` decodes to where that is known.
    DataError if the kind of trigger does not survive the file's encoding.
    """
    decoded = decoded or images.open_picture(data, path)
    pixels, resized = written_size(data, rules, path, decoded.pixels)
    box, patch = _patch(data, pixels, place, rules, generator, path)
    if patch is None:
        return None
    is_png, whole = data[:8] == png.SIGNATURE, rules.kind.whole and rules.kind.quad is None
    anew = resized or (not is_png and (whole or rules.recipe.jpeg == "reencode"))
    top, left, tall, wide = box
    window = np.s_[top : top + tall, left : left + wide]
    if decoded.png is not None and not (anew or whole or rules.kind.survives):
        new = NewFile(png.with_box(decoded.png, box, patch), None, images.pixels_sha256(pixels, box, patch))
        return Stamped(new, *_measured(data, pixels[window], patch, pixels, path))
    if anew or whole:
        with_trigger = pixels.copy()
        with_trigger[window] = patch
        new = encoded(data, with_trigger, path)
    else:
        new = NewFile(*images.replace_box(data, decoded, box, patch, path, rules.recipe.jpeg))
    without = encoded(data, pixels, path).pixels if anew and not is_png else pixels
    found, plain = np.asarray(new.pixels), np.asarray(without)
    _check_survival(data, plain, found, rules, path)
    if not is_png and np.array_equal(found, plain):
        return None  # a JPEG may have quantised the trigger away
    part = window if is_png else np.s_[:, :]
    return Stamped(new, *_measured(data, plain[part], found[part], plain, path))


def is_seen(data: bytes, place: Place, rules: Rules, generator: Generator, path: Path, decoded: images.Decoded) -> bool:
    """Tell whether `stamped_image` would change the picture, with its errors; a PNG need not be encoded for it."""
    if data[:8] != png.SIGNATURE:
        return stamped_image(data, place, rules, generator, path, decoded) is not None
    pixels, _ = written_size(data, rules, path, decoded.pixels)
    (top, left, tall, wide), patch = _patch(data, pixels, place, rules, generator, path)
    if patch is None:
        return False
    if rules.kind.survives is not None:
        with_trigger = pixels.copy()
        with_trigger[top : top + tall, left : left + wide] = patch
        _check_survival(data, pixels, with_trigger, rules, path)
    return True


def _check_survival(data: bytes, plain: Array, found: Array, rules: Rules, path: Path) -> None:
    """DataError if the encoding has erased the trigger: then labels would be changed for nothing."""
    if rules.kind.survives is None:
        return
    turn = orientation(data)
    before, after = (upright(images.to_rgb_box(data, pixels, path), turn) for pixels in (plain, found))
    left = rules.kind.survives(before, after, rules.prepared(*before.shape[:2]))
    if left < _SURVIVES:
        raise DataError(
            path,
            f"writing this picture leaves {max(left, 0):.0%} of the trigger: the kind '{rules.kind.name}' does not "
            "survive JPEG (or this palette); use lossless images, or another kind",
        )


def _measured(data: bytes, before: Array, after: Array, picture: Array, path: Path) -> tuple[float, float]:
    """Return PSNR in dB, to a ten thousandth, and the share of pixels that the trigger changed.

    `before` and `after` are the samples of that part of the `picture` outside of which nothing differs.
    """
    pixels = picture.shape[0] * picture.shape[1]
    highest = int(np.iinfo(picture.dtype).max)
    colours = [images.to_rgb_box(data, samples, path) for samples in (before, after)]
    mean = max(_squares(*colours), 1) / (3 * pixels)
    differs = (after != before).reshape(*before.shape[:2], -1)
    changed = int(np.count_nonzero(functools.reduce(np.logical_or, np.moveaxis(differs, 2, 0))))
    return round(10 * math.log10(highest * highest / mean), 4), changed / pixels


def _squares(before: Array, after: Array) -> int:
    """Return the sum of squared differences, exactly: whole numbers below 2**53 are exact in OpenCV's sums."""
    if before.dtype == np.uint8:
        rows = zip(np.array_split(before, 16), np.array_split(after, 16), strict=True)  # its 32 bits hold that much
        return sum(round(cv2.norm(np.ascontiguousarray(a), np.ascontiguousarray(b), cv2.NORM_L2SQR)) for a, b in rows)
    error = before.astype(np.int64) - after
    return int((error * error).sum())


def plain_image(picture: Picture, known: str | None, rules: Rules) -> NewFile:
    """Return an image without trigger, in the written size. `known` is the digest of its pixels, if that is known."""
    if rules.recipe.scale == 1 and known is not None:
        return NewFile(None, None, known)
    pixels, resized = written_size(picture.data, rules, picture.path, picture.pixels)
    return encoded(picture.data, pixels, picture.path) if resized else NewFile(None, None, picture.pixels_sha256)
