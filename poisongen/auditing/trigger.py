"""Is the trigger really in the box, and can it be seen?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from poisongen.auditing.companions import Content
from poisongen.auditing.faults import Findings
from poisongen.core.resize import scaled_size
from poisongen.core.trigger import blend, can_show
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.files.orientation import as_stored, orientation, stored_box, upright
from poisongen.files.quiet import quiet
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord

Array = npt.NDArray[Any]

_BLOCK = 8
_OPAQUE = 255
_NEAR = 6.0  # levels; see check_trigger


def read_dct(data: bytes) -> tuple[list[Array], list[Array], list[tuple[int, int]], str]:
    """Return a JPEG's coefficients, (rows, columns, 8, 8) for each component, tables, pixel steps, colour space.

    The steps are how many pixels (down, across) one sample stands for. ValueError if the library cannot read it.
    """
    with tempfile.TemporaryDirectory(prefix="poisongen-") as folder, quiet():
        path = Path(folder) / "in.jpg"
        path.write_bytes(data)
        try:
            image = jpeglib.read_dct(str(path))
            parts = [np.asarray(image.Y)]
            parts += [np.asarray(image.Cb), np.asarray(image.Cr)] if image.has_chrominance else []
            tables = [np.asarray(image.qt[image.quant_tbl_no[index]], dtype=float) for index in range(len(parts))]
        except (OSError, RuntimeError, ValueError, IndexError, TypeError):
            raise ValueError("one that libjpeg does not read as such") from None
    if any((table <= 0).any() for table in tables):
        raise ValueError("a quantisation table holds a zero")  # and no block could be compared with anything
    factors = np.asarray(image.samp_factor)[: len(parts)].astype(int) if len(parts) > 1 else np.ones((1, 2), int)
    steps = [(int(down), int(across)) for down, across in factors.max(axis=0) // factors]
    return parts, tables, steps, str(image.jpeg_color_space.name)


def _components(rgb: Array, space: str, count: int) -> Array:
    """Return (h, w, C) float components of RGB, by ITU-R BT.601 as JFIF uses it."""
    red, green, blue = (rgb[..., index].astype(float) for index in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    if count == 1:
        return np.floor(luma + 0.5)[..., None]
    if space == "JCS_RGB":
        return rgb.astype(float)
    return np.dstack([luma, 128 + 0.564334 * (blue - luma), 128 + 0.713267 * (red - luma)])


def _wrong_blocks(data: bytes, box: tuple[int, int, int, int], rgb: Array, opaque: Array) -> tuple[int, int]:
    """Return how many blocks lie wholly under opaque trigger, and how many of them do not hold its pixels.

    A block does if its coefficients are those of the trigger's own pixels, quantised, to within one step. Where the
    ground happened to have the trigger's colour the build kept the ground's finer values: there the block's samples
    must lie near the trigger's quantised ones.
    """
    parts, tables, steps, space = read_dct(data)
    values = _components(rgb, space, len(parts))
    top, left, height, width = box
    tested = wrong = 0
    for index, (blocks, table, (down, across)) in enumerate(zip(parts, tables, steps, strict=True)):
        tall, wide = _BLOCK * down, _BLOCK * across
        for row in range(-(-top // tall), (top + height) // tall):
            for column in range(-(-left // wide), (left + width) // wide):
                inside = np.s_[
                    row * tall - top : (row + 1) * tall - top, column * wide - left : (column + 1) * wide - left
                ]
                if not opaque[inside].all():
                    continue
                samples = values[inside][..., index].reshape(_BLOCK, down, _BLOCK, across).mean(axis=(1, 3))
                wanted = np.rint(dctn(samples - 128, norm="ortho") / table)
                found = blocks[row, column].astype(float)
                tested += 1
                if np.abs(wanted - found).max() > 1:
                    apart = idctn((wanted - found) * table, norm="ortho")
                    wrong += bool(np.abs(apart).mean() > _NEAR)
    return tested, wrong


def pasted(before: Content, box: tuple[int, int, int, int] | None, rules: Rules, path: str) -> Array:
    """Return what an image of the source decodes to in OUT, with the trigger in `box` or, for None, without.

    The box lies in the picture as EXIF's orientation turns it. DataError if the source's file cannot be rewritten.
    """
    pixels = np.asarray(before.pixels)
    size = scaled_size(pixels.shape[0], pixels.shape[1], rules.recipe.scale)
    scaled, is_png = size != pixels.shape[:2], before.data[:8] == png.SIGNATURE
    if scaled:
        pixels = images.resize(before.data, pixels, size, path)
    anew = not is_png and (scaled or rules.recipe.jpeg == "reencode")
    if box is None:
        return images.decode(images.encode_whole(before.data, pixels, path), path) if anew else pixels
    turn = orientation(before.data)
    box = stored_box(box, turn, *upright(pixels, turn).shape[:2])
    top, left, height, width = box
    window = np.s_[top : top + height, left : left + width]
    trigger = as_stored(rules.trigger, turn)
    mixed = blend(images.to_rgb_box(before.data, pixels[window], path), trigger, rules.recipe.opacity)
    patch = images.from_rgb_box(before.data, pixels[window], mixed, path)
    if not (is_png or anew):
        return images.replace_box(before.data, pixels, box, patch, path, "blocks")[1]
    pixels = pixels.copy()
    pixels[window] = patch
    return images.decode(images.encode_whole(before.data, pixels, path), path) if anew else pixels


def check_seen(record: SampleRecord, before: Content, after: Content, rules: Rules, findings: Findings) -> None:
    """Test that an image with a trigger is not the same picture as its source, brought to the written size, without."""
    path = record.files[0].path
    if record.trigger is None:
        return
    try:
        without = pasted(before, None, rules, path)
    except DataError as error:
        findings.test("trigger", False, path, "an image that the recipe can change", error.problem, record.sample)
        return
    same = np.array_equal(without, np.asarray(after.pixels))
    findings.test("trigger", not same, path, "a pixel that the trigger changed", "none", record.sample)


def check_trigger(record: SampleRecord, data: bytes, pixels: Array, rules: Rules, findings: Findings) -> str | None:
    """Test the box's pixels where opacity is 1 and the trigger's alpha 255; the box must lie in the image.

    PNG: they are the trigger's exactly, in the picture's own layout. JPEG: every DCT block that lies wholly under
    opaque trigger holds the trigger's pixels as this file's quantisation gives them. Returns why this could not be
    told, or None.
    """
    trigger, path, name = record.trigger, record.files[0].path, record.sample
    if trigger is None:
        return None
    shows = can_show(rules.trigger, rules.recipe.opacity, pixels.dtype)
    sentence = "a trigger that can change a pixel"
    if not findings.test("trigger", shows, path, sentence, f"opacity {rules.recipe.opacity:g}: none", name):
        return None
    if rules.recipe.opacity != 1:
        return "trigger pixels where the opacity is below 1"
    opaque = rules.trigger[..., 3] == _OPAQUE
    top, left, height, width = trigger.box
    window = pixels[top : top + height, left : left + width]
    if data[:8] == png.SIGNATURE:
        ground = images.to_rgb_box(data, window, path)
        colour = rules.trigger[..., :3].astype(ground.dtype) * (np.iinfo(ground.dtype).max // 255)
        wanted = images.from_rgb_box(data, window, np.where(opaque[..., None], colour, ground), path)
        differs = (images.to_rgb_box(data, wanted, path) != ground).any(axis=2) & opaque
        number = int(differs.sum())
        findings.test("trigger", not number, path, "the trigger in the box", f"{number} other pixels there", name)
        return None
    try:
        tested, wrong = _wrong_blocks(data, trigger.box, rules.trigger[..., :3], opaque)
    except ValueError as error:
        findings.test("trigger", False, path, "a JPEG of DCT blocks", str(error), name)
        return None
    if not tested:
        return "trigger pixels of JPEGs where no block lies wholly under an opaque trigger"
    findings.test("trigger", not wrong, path, f"the trigger in {tested} blocks", f"{wrong} blocks without it", name)
    return None
