"""Pictures that EXIF turns: records tell of the upright picture, the checks of pixels work on the stored one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poisongen.auditing.faults import Findings
from poisongen.auditing.scene import Content
from poisongen.files.orientation import AS_STORED, orientation, stored_box, upright
from poisongen.records.manifest import SampleRecord


def upright_content(content: Content) -> Content:
    """Return a picture's content with its pixels as readers see them that heed EXIF's orientation."""
    pixels = content.pixels
    turn = orientation(content.data)
    if pixels is None or turn == AS_STORED:
        return content
    return replace(content, pixels=np.ascontiguousarray(upright(pixels, turn)))


def check_turn(record: SampleRecord, data: bytes, shape: tuple[int, int], findings: Findings) -> None:
    """Test that a record names the orientation of its image, and the box in the stored picture, where it is turned.

    `shape` is the height and width of the upright picture.
    """
    trigger, turn = record.trigger, orientation(data)
    if trigger is None:
        return
    box = None if trigger.box is None else stored_box(trigger.box, turn, *shape)
    wanted = (None, None) if turn == AS_STORED else (turn, box)
    found = (trigger.orientation, trigger.stored_box)
    path = record.files[0].path
    findings.test("rules", found == wanted, path, f"orientation and stored box {wanted}", found, record.sample)
