"""What recurs by nature (frames of a video, a badge, a sign), and what does not: told apart by geometry."""

from __future__ import annotations

from poisongen.scanning.patch.stack import Fitted

LEAST_STEP = 0.4  # of the log deviation, over every side
LEAST_SIDE = 8  # pixels


def recurs_unnaturally(fitted: Fitted) -> bool:
    """Tell whether a stack looks like one picture pasted into many.

    Inside its rectangle the pictures agree, right beside it they do not, and that is so along all four sides: the edge
    ignores the scenes. What recurs by nature goes on beyond any rectangle (a video), fades where its own outline ends,
    or lies against the picture's border.
    """
    _, _, height, width = fitted.box
    return min(height, width) >= LEAST_SIDE and all(side >= LEAST_STEP for side in fitted.sides)  # NaN is not
