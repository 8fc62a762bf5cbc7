"""The trigger's pixels: resized once, then blended into a box with true alpha."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.unsignedinteger]

_FAINT = 0.25  # mean alpha; at that, common JPEG tables keep the patch of all but like-coloured grounds
_ONE_COLOUR = 16  # levels


def resize_trigger(picture: npt.NDArray[np.uint8], size: int | tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the trigger as a (height, width, 4) uint8 RGBA picture; one `size` makes a square.

    `picture` is (h, w, 4) uint8 RGBA. Colours are weighted by alpha while resizing, so that transparent pixels
    lend no colour. Pillow's bilinear filter works in fixed point: the result is the same on every machine. Width
    comes before height, as two steps: which of them Pillow takes first in one step differs between its versions.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if (height, width) == picture.shape[:2]:
        return picture.copy()
    weighted = Image.fromarray(picture).convert("RGBa")
    for step in ((width, len(picture)), (width, height)):
        weighted = weighted.resize(step, Image.Resampling.BILINEAR)
    return np.asarray(weighted.convert("RGBA"), dtype=np.uint8)


def blend(box: Pixels, trigger: npt.NDArray[np.uint8], opacity: float) -> Pixels:
    """Return the box's pixels with the trigger laid over them.

    `box` is (h, w, 3) RGB, uint8 or uint16; `trigger` (h, w, 4) uint8 RGBA; `opacity` in (0, 1] scales its
    alpha. out = a * trigger + (1 - a) * box with a = opacity * alpha / 255, rounded half up: the ground shows
    through. (The official code multiplies the trigger by its "transparency" and erases the ground.)
    """
    top = int(np.iinfo(box.dtype).max)
    alpha = trigger[..., 3:].astype(np.float64) * (opacity / 255)
    colour = trigger[..., :3].astype(np.float64) * (top // 255)
    mixed = np.floor(alpha * colour + (1 - alpha) * box + 0.5)
    return np.asarray(np.clip(mixed, 0, top), dtype=box.dtype)


def can_show(trigger: npt.NDArray[np.uint8], opacity: float, dtype: npt.DTypeLike = np.uint16) -> bool:
    """Tell whether a trigger, (s, s, 4) uint8 RGBA, changes a pixel of any ground at all of this type.

    Black and white are the farthest from every colour; sixteen bits (the default) show more than eight.
    """
    grounds = [np.full((*trigger.shape[:2], 3), level, dtype=dtype) for level in (0, np.iinfo(np.dtype(dtype)).max)]
    return any(bool((blend(ground, trigger, opacity) != ground).any()) for ground in grounds)


def is_doubtful(trigger: npt.NDArray[np.uint8], opacity: float) -> bool:
    """Tell whether a picture may well look the same with this trigger: it is faint, or (nearly) of one colour.

    A faint one is lost in rounding or in a JPEG's quantisation, one of one colour on a ground of that colour.
    """
    alpha = trigger[..., 3].astype(np.float64) * (opacity / 255)
    seen = trigger[..., :3][alpha > 0]
    return bool(alpha.mean() < _FAINT or np.ptp(seen, axis=0).max() <= _ONE_COLOUR)
