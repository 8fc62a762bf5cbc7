"""Label pictures as parameters of a label rule: PNGs of the dataset's class IDs, whose bytes a recipe keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.attack.label_rules import label_rules
from poisongen.attack.label_rules.base import LabelRule
from poisongen.attack.parts import Value, settle_options
from poisongen.datasets.base import ClassTable, id_fault
from poisongen.errors import ChoiceError, DataError
from poisongen.files.images import decode_labels
from poisongen.recipe.trigger_files import KeptPicture, kept_bytes, kept_picture, read_png_file

LARGEST_SIDE = 8192  # pixels
FLAG = "--label-option"


def load_label_picture(option: str, name: str, folder: Path | None = None) -> KeptPicture:
    """Load a label picture for an option of a label rule. ChoiceError if it is no PNG with one ID for each pixel.

    With `folder` (where a recipe file lies) it must be in that folder, as a trigger must.
    """
    picture = kept_picture(name, read_png_file(name, folder, f"{FLAG} {option}"))
    label_pixels(option, picture)
    return picture


def label_pixels(option: str, picture: KeptPicture) -> npt.NDArray[np.uint8]:
    """Return a label picture's raw class IDs, (h, w) uint8. ChoiceError where its bytes are none."""
    data, flag = kept_bytes(picture, f"{FLAG} {option}"), f"{FLAG} {option}: '{picture.name}'"
    try:
        found = decode_labels(data, picture.name)
    except DataError as error:
        raise ChoiceError(f"{flag}: {error.problem}") from None
    if max(found.shape) > LARGEST_SIDE:
        size = f"{found.shape[1]}x{found.shape[0]}"
        raise ChoiceError(f"{flag} is {size} px; the largest side allowed is {LARGEST_SIDE}")
    return found


def load_beside(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a recipe file's options of its label rule, the label pictures among them loaded from the file's folder.

    Whatever rule the file names: another may be named over it, and must not read other places for it either.
    """
    pictures = {name for rule in label_rules().parts.values() for name in picture_options(rule)}
    return {
        name: load_label_picture(name, value, folder).model_dump()
        if name in pictures and isinstance(value, str)
        else value
        for name, value in options.items()
    }


def picture_options(rule: LabelRule) -> set[str]:
    """Return the names of a rule's options that are label pictures."""
    return {name for name, option in rule.options.items() if option.picture}


def settle_label_options(
    rule: LabelRule, given: Mapping[str, Value | KeptPicture], classes: ClassTable
) -> dict[str, Value | KeptPicture]:
    """Return the value of every option of a label rule, pictures loaded and their IDs checked. ChoiceError."""
    pictures = picture_options(rule)
    for name, value in given.items():
        if isinstance(value, KeptPicture) and name in rule.options and name not in pictures:
            raise ChoiceError(f"{FLAG} {name}: it takes no picture")
    kept = {name: _checked(name, given[name], classes) for name in sorted(pictures & given.keys())}
    plain = {name: value for name, value in given.items() if name not in kept}
    options = {name: option for name, option in rule.options.items() if name not in kept}
    return settle_options(options, plain, rule.name, FLAG) | kept


def _checked(option: str, value: Value | KeptPicture, classes: ClassTable) -> KeptPicture:
    """Return a label picture whose IDs are classes of the dataset, some of them no void."""
    picture = value if isinstance(value, KeptPicture) else load_label_picture(option, str(value))
    found = label_pixels(option, picture)
    if fault := id_fault(found, frozenset(classes.names), "this dataset's classes"):
        raise ChoiceError(f"{FLAG} {option}: '{picture.name}': {fault}")
    if not np.isin(found, classes.trained).any():
        raise ChoiceError(f"{FLAG} {option}: '{picture.name}' holds nothing but void")
    return picture


def label_parameters(options: Mapping[str, Value | KeptPicture]) -> dict[str, Any]:
    """Return a label rule's parameters as the rule is handed them: pictures as raw class IDs, (h, w) uint8."""
    return {
        name: label_pixels(name, value) if isinstance(value, KeptPicture) else value for name, value in options.items()
    }
