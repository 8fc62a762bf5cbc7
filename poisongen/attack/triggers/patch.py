"""`patch`: a picture laid over a box with true alpha. The paper's trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, real_number, whole_number
from poisongen.attack.triggers.base import Artwork, At, Pixels, TriggerKind, top_of
from poisongen.attack.triggers.pictures import as_frame
from poisongen.core.draws import Generator
from poisongen.core.trigger import blend, resize_trigger

_OPAQUE = 255


@dataclass(frozen=True)
class Patch:
    """The trigger at its size, (h, w, 4) uint8 RGBA, and how opaque it is laid on."""

    pixels: npt.NDArray[np.uint8]
    opacity: float


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Patch:
    opacity, border = float(parameters["opacity"]), parameters.get("border")
    if border is not None:
        return Patch(as_frame(artwork.picture, artwork.height, artwork.width, int(border)), opacity)
    return Patch(resize_trigger(artwork.picture, (artwork.height, artwork.width)), opacity)


def _stamp(ground: Pixels, at: At, prepared: Patch, generator: Generator) -> Pixels:
    return blend(ground, prepared.pixels, prepared.opacity)


def _fault(found: Pixels, at: At, prepared: Patch) -> str | None:
    """Judge where the trigger hides the ground; elsewhere only the source can tell."""
    opaque = prepared.pixels[..., 3] == _OPAQUE
    if prepared.opacity != 1 or not opaque.any():
        return None
    wanted = prepared.pixels[..., :3].astype(found.dtype) * (top_of(found) // 255)
    wrong = int(((wanted != found).any(axis=2) & opaque).sum())
    return f"{wrong} other pixels there" if wrong else ""


KIND = TriggerKind(
    name="patch",
    title="a picture laid over a box",
    source="Lan et al., Influencer Backdoor Attack, ICLR 2024",
    prepare=_prepare,
    stamp=_stamp,
    fault=_fault,
    options={
        "opacity": Option(1.0, "how much of the ground is hidden", real_number(0, 1)),
        "border": Option(None, "only this many pixels of the picture's border, as a frame", whole_number(1, 1024)),
    },
    whole=False,
)
