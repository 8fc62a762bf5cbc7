"""Pictures that EXIF turns: records tell of the upright picture, the checks of pixels work on the stored one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.auditing.companions import Content
from poisongen.auditing.faults import Findings
from poisongen.files.orientation import AS_STORED, as_stored, orientation, stored_box, upright
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord

Array = npt.NDArray[Any]


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
    wanted = (None, None) if turn == AS_STORED else (turn, stored_box(trigger.box, turn, *shape))
    found = (trigger.orientation, trigger.stored_box)
    path = record.files[0].path
    findings.test("rules", found == wanted, path, f"orientation and stored box {wanted}", found, record.sample)


def as_file_has_it(
    record: SampleRecord, data: bytes, shape: tuple[int, int], rules: Rules
) -> tuple[SampleRecord, Rules]:
    """Return record and rules for the picture as its file stores it: the box there, and the trigger turned with it.

    `shape` is the height and width of the upright picture, in which the record's box lies.
    """
    turn = orientation(data)
    if turn == AS_STORED or record.trigger is None:
        return record, rules
    trigger = record.trigger.model_copy(update={"box": stored_box(record.trigger.box, turn, *shape)})
    turned = np.ascontiguousarray(as_stored(rules.trigger, turn))
    return record.model_copy(update={"trigger": trigger}), replace(rules, trigger=turned)
