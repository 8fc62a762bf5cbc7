"""An image against its source: pixels differ where the trigger changes them only, and there as it does."""

from __future__ import annotations

import functools
import math

import numpy as np

from poisongen.attack.triggers.base import Box
from poisongen.auditing.dct import read_dct
from poisongen.auditing.faults import Findings
from poisongen.auditing.places import where_of
from poisongen.auditing.scene import Array, Content
from poisongen.auditing.stamping import Pictures, is_encoded_anew, pictures, plain
from poisongen.errors import DataError
from poisongen.files import images, jpeg, png
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord

_PSNR_DIGITS = 4


def check_image(record: SampleRecord, before: Content, after: Content, rules: Rules, findings: Findings) -> None:
    """Test an image against its source; the trigger's place must lie in it."""
    path, name = record.files[0].path, record.sample
    if not record.files[0].written:
        return  # the source's bytes: that is tested for every file
    found, where = np.asarray(after.pixels), where_of(record)
    try:
        made = None if where is None else pictures(before, where, rules, path)
        wanted = plain(before, rules, path) if made is None else made.wanted
    except DataError as error:
        findings.test("image", False, path, "an image that the recipe can change", error.problem, name)
        return
    if not findings.test("image", found.shape == wanted.shape, path, f"an array {wanted.shape}", found.shape, name):
        return
    box = (0, 0, 0, 0) if made is None else made.box
    if before.data[:8] != png.SIGNATURE and not is_encoded_anew(rules, made is not None):
        _check_blocks(record, box, before.data, after.data, findings)
    differs = _differing(found, wanted, made, before.data, after.data, rules, path)
    inside = np.zeros_like(differs)
    top, left, height, width = box
    inside[top : top + height, left : left + width] = True
    outside, within = int((differs & ~inside).sum()), int((differs & inside).sum())
    findings.test("image", not outside, path, "the source's pixels outside the box", f"{outside} others", name)
    findings.test("image", not within, path, "source and trigger, blended, in the box", f"{within} others", name)
    if made is not None:
        _check_measures(record, before.data, found, made.without, rules, findings)


def _unlike(one: Array, other: Array) -> Array:
    """Tell where two pictures of one shape have another pixel, (H, W) bool."""
    differs = (one != other).reshape(*one.shape[:2], -1)
    return np.asarray(functools.reduce(np.logical_or, np.moveaxis(differs, 2, 0)))


def _differing(
    found: Array, wanted: Array, made: Pictures | None, source: bytes, data: bytes, rules: Rules, path: str
) -> Array:
    """Tell which pixels, (H, W) bool, are not as they must be: to the bit, or for some kinds within a tolerance."""
    differs = _unlike(wanted, found)
    if made is None or rules.kind.exact or not differs.any():
        return differs
    if made.data is not None:
        return _far_blocks(data, made.data, rules.kind.tolerance, found.shape)
    top, left, height, width = made.box
    window = np.s_[top : top + height, left : left + width]
    rgb = images.to_rgb_box(source, found[window], path).astype(np.int64)
    rest = np.array_equal(found[..., 3:], wanted[..., 3:]) if found.ndim == 3 else True
    most = rules.kind.tolerance * (int(np.iinfo(made.true.dtype).max) // 255)
    known = images.to_rgb_box(source, wanted[window], path).astype(np.int64)
    # Where the layout has few levels or colours, the one that was taken must be as near as the best, give or take.
    true, slack = made.true.astype(np.int64), most * math.sqrt(3)
    near = np.sqrt(((rgb - true) ** 2).sum(axis=2)) <= np.sqrt(((known - true) ** 2).sum(axis=2)) + 2 * slack
    near &= (np.abs(rgb - known).max(axis=2) <= most) | (known != true).any(axis=2)
    differs[window] &= ~near if rest else True
    return differs


def _far_blocks(found: bytes, wanted: bytes, tolerance: int, shape: tuple[int, ...]) -> Array:
    """Tell which pixels lie in a DCT block that another machine's rounding cannot explain, (H, W) bool.

    Pixels that differ by up to `tolerance` move a coefficient by up to 8 times that, and rounding by one step more.
    """
    far = np.zeros(shape[:2], dtype=bool)
    try:
        (old, tables, steps, _), (new, others, *_) = read_dct(wanted), read_dct(found)
    except ValueError:
        return ~far
    alike = len(old) == len(new) and all(a.shape == b.shape for a, b in zip(old, new, strict=True))
    if not alike or not all(np.array_equal(a, b) for a, b in zip(tables, others, strict=True)):
        return ~far
    for a, b, table, (down, across) in zip(old, new, tables, steps, strict=True):
        apart = np.abs(a.astype(np.int64) - b) > 1 + np.floor(8 * tolerance / table)
        for row, column in np.argwhere(apart.any(axis=(2, 3))).tolist():
            far[row * 8 * down : (row + 1) * 8 * down, column * 8 * across : (column + 1) * 8 * across] = True
    return far


def _check_measures(
    record: SampleRecord, source: bytes, found: Array, without: Array, rules: Rules, findings: Findings
) -> None:
    """Test that the trigger can be seen, and how much of the picture the record says that it has changed."""
    trigger, path, name = record.trigger, record.files[0].path, record.sample
    assert trigger is not None  # noqa: S101  the caller has seen to it
    differs = _unlike(found, without)
    number = int(np.count_nonzero(differs))
    findings.test("trigger", number > 0, path, "a pixel that the trigger changed", "none", name)
    if rules.records < 2:
        return
    area = found.shape[0] * found.shape[1]
    good = trigger.changed is not None and round(trigger.changed * area) == number
    findings.test("image", good, path, f"changed {number / area}", trigger.changed, name)
    rows = differs.any(axis=1)  # elsewhere nothing adds to the error
    before, after = (images.to_rgb_box(source, pixels[rows], path).astype(np.float64) for pixels in (without, found))
    square = max(float(((before - after) ** 2).sum()), 1.0) / (3 * area)
    top = 65535 if found.dtype == np.uint16 else 255
    ratio = round(20 * math.log10(top) - 10 * math.log10(square), _PSNR_DIGITS)
    good = trigger.psnr is not None and abs(trigger.psnr - ratio) < 2 * 10**-_PSNR_DIGITS
    findings.test("image", good, path, f"psnr {ratio}", trigger.psnr, name)


def _check_blocks(record: SampleRecord, box: Box, before: bytes, after: bytes, findings: Findings) -> None:
    """Test that a JPEG's tables and subsampling are its source's, and every block that the box does not touch."""
    path, name = record.files[0].path, record.sample
    try:
        (old, old_tables, old_steps, old_space), (new, new_tables, new_steps, new_space) = (
            read_dct(before),
            read_dct(after),
        )
    except ValueError as error:
        findings.test("image", False, path, "a JPEG of DCT blocks", str(error), name)
        return
    alike = (old_steps, old_space) == (new_steps, new_space) and len(old) == len(new)
    alike = alike and all(np.array_equal(a, b) for a, b in zip(old_tables, new_tables, strict=True))
    alike = alike and all(a.shape == b.shape for a, b in zip(old, new, strict=True))
    if not findings.test("image", alike, path, "tables and subsampling of the source", "others", name):
        return
    frames = [jpeg.frame(data, path) for data in (before, after)]
    sizes = [(frame.width, frame.height, frame.bits, frame.components) for frame in frames]
    findings.test("image", sizes[0] == sizes[1], path, f"width, height, bits, components {sizes[0]}", sizes[1], name)
    number = 0
    for a, b, (down, across) in zip(old, new, old_steps, strict=True):
        differs = (a != b).any(axis=(2, 3))
        top, left, height, width = box
        if height and width:
            rows = np.s_[top // (8 * down) : -(-(top + height) // (8 * down))]
            columns = np.s_[left // (8 * across) : -(-(left + width) // (8 * across))]
            differs[rows, columns] = False
        number += int(differs.sum())
    findings.test("image", not number, path, "the source's DCT blocks beside the box", f"{number} others", name)
