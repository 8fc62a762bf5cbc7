"""Is the trigger really there, as far as OUT alone can tell?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from poisongen.attack.triggers.base import At
from poisongen.attack.triggers.patch import Patch
from poisongen.auditing.dct import read_dct
from poisongen.auditing.faults import Findings
from poisongen.auditing.stamping import prepared_for
from poisongen.core.trigger import can_show
from poisongen.files import images, png
from poisongen.files.orientation import as_stored, orientation, stored_box, upright
from poisongen.printing import number_of
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord

Array = npt.NDArray[Any]

_BLOCK = 8
_OPAQUE = 255
_NEAR = 6.0  # levels; see check_trigger


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


def check_trigger(record: SampleRecord, data: bytes, pixels: Array, rules: Rules, findings: Findings) -> str | None:
    """Test a trigger by what OUT alone tells; its place must lie in the image. `pixels` are as the file stores them.

    A picture laid over a box is tested where it hides the ground. PNG: the pixels are the trigger's exactly, in the
    picture's own layout. JPEG: every DCT block that lies wholly under opaque trigger holds the trigger's pixels as this
    file's quantisation gives them. Other kinds are asked about pixels that the file holds as they were made. Returns
    why this could not be told, or None.
    """
    if record.trigger is None:
        return None
    height, width = upright(pixels, orientation(data)).shape[:2]
    prepared = prepared_for(record.role, rules, height, width)
    if isinstance(prepared, Patch):
        return _check_patch(record, data, pixels, prepared, findings)
    lossless = data[:8] == png.SIGNATURE and pixels.ndim == 3 and pixels.shape[2] >= 3
    fault = _fault(record, data, pixels, prepared, rules) if lossless else None
    if fault is None:
        return f"trigger pixels of the kind {rules.kind.name}"
    findings.test("trigger", not fault, record.files[0].path, "the trigger in the picture", fault, record.sample)
    return None


def _fault(record: SampleRecord, data: bytes, pixels: Array, prepared: Any, rules: Rules) -> str | None:
    """Ask a kind of trigger about the upright picture, or about its box where it has no more to do with the rest."""
    trigger, kind = record.trigger, rules.kind
    assert trigger is not None  # noqa: S101  the caller has seen to it
    found = np.ascontiguousarray(upright(pixels[..., :3], orientation(data)))
    height, width = found.shape[:2]
    if not kind.whole and trigger.box is not None:
        top, left, tall, wide = trigger.box
        found = found[top : top + tall, left : left + wide]
    return kind.fault(found, At(height, width, trigger.box, trigger.quad), prepared)


def _check_patch(record: SampleRecord, data: bytes, pixels: Array, patch: Patch, findings: Findings) -> str | None:
    """Test the pixels of a box where opacity is 1 and the trigger's alpha 255."""
    path, name, turn = record.files[0].path, record.sample, orientation(data)
    if record.trigger is None or record.trigger.box is None:
        return None
    shows = can_show(patch.pixels, patch.opacity, pixels.dtype)
    sentence = "a trigger that can change a pixel"
    if not findings.test("trigger", shows, path, sentence, f"opacity {patch.opacity:g}: none", name):
        return None
    if patch.opacity != 1:
        return "trigger pixels where the opacity is below 1"
    box = stored_box(record.trigger.box, turn, *upright(pixels, turn).shape[:2])
    trigger = np.ascontiguousarray(as_stored(patch.pixels, turn))
    opaque = trigger[..., 3] == _OPAQUE
    top, left, height, width = box
    window = pixels[top : top + height, left : left + width]
    if data[:8] == png.SIGNATURE:
        ground = images.to_rgb_box(data, window, path)
        colour = trigger[..., :3].astype(ground.dtype) * (np.iinfo(ground.dtype).max // 255)
        wanted = images.from_rgb_box(data, window, np.where(opaque[..., None], colour, ground), path)
        differs = (images.to_rgb_box(data, wanted, path) != ground).any(axis=2) & opaque
        number = int(differs.sum())
        findings.test("trigger", not number, path, "the trigger in the box", f"{number} other pixels there", name)
        return None
    try:
        tested, wrong = _wrong_blocks(data, box, trigger[..., :3], opaque)
    except ValueError as error:
        findings.test("trigger", False, path, "a JPEG of DCT blocks", str(error), name)
        return None
    if not tested:
        return "trigger pixels of JPEGs where no block lies wholly under an opaque trigger"
    findings.test(
        "trigger",
        not wrong,
        path,
        f"the trigger in {number_of(tested, 'block')}",
        f"{number_of(wrong, 'block')} without it",
        name,
    )
    return None
