"""`physical`: a picture as it would look on a board by the road, or on a sticker on the road.

Perspective, the light of what is round it, the camera's blur and noise. All of it is our reading of what a photograph
of such a thing would show; no published code does this for data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poisongen.attack.parts import Option, Value, one_of, real_number
from poisongen.attack.triggers.base import Artwork, At, Box, Pixels, Point, Quad, TriggerKind, rounded, top_of
from poisongen.attack.triggers.road import camera_for, quad_box, quad_for
from poisongen.core.draws import Generator, raw_words
from poisongen.core.trigger import resize_trigger
from poisongen.errors import ChoiceError

Real = npt.NDArray[np.float64]

MARGIN = 3  # px round the quadrilateral that blur and soft edge can reach
_RING = 8  # px round it whose light counts
_GAIN = (0.7, 1.3)
_BLUR = 0.7  # px
_LUMA = np.array([0.299, 0.587, 0.114])
_MOST_NOISE = 8  # levels of 255
_LARGEST = 2048  # px: how finely the picture is kept


@dataclass(frozen=True)
class Thing:
    """The picture, (h, w, 4) uint8 RGBA, what it is on, its size in metres and the camera's horizon."""

    picture: npt.NDArray[np.uint8]
    upright: bool
    wide: float
    long: float
    horizon: float | None


def _prepare(artwork: Artwork, parameters: Mapping[str, Value]) -> Thing:
    horizon = parameters.get("horizon")
    return Thing(
        artwork.picture,
        parameters["form"] == "board",
        float(parameters["wide"]),
        float(parameters["long"]),
        None if horizon is None else float(horizon),
    )


def _quad(height: int, width: int, foot: Point, prepared: Thing) -> Quad | None:
    camera = camera_for(height, width, prepared.horizon)
    return quad_for(camera, foot, prepared.wide, prepared.long, prepared.upright)


def _inside(quad: Quad, rows: Real, columns: Real) -> Real:
    """Return how far inside the quadrilateral each pixel's centre is, px; below 0 outside (clockwise corners)."""
    far = np.full(rows.shape, np.inf)
    for (top, left), (down, right) in zip(quad, (*quad[1:], quad[0]), strict=True):
        length = max(((down - top) ** 2 + (right - left) ** 2) ** 0.5, 1e-9)
        far = np.minimum(far, ((right - left) * (rows - top) - (down - top) * (columns - left)) / length)
    return np.round(far, 6)  # so that a pixel right on a bound falls on the same side everywhere


def _unit(quad: Quad, rows: Real, columns: Real) -> tuple[Real, Real]:
    """Return where the pixels' centres lie in the picture: shares of its height and width, by the homography."""
    (y0, x0), (y1, x1), (y2, x2), (y3, x3) = quad
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    size = dx1 * dy2 - dx2 * dy1
    if abs(size) < 1e-9:
        raise ChoiceError("--trigger-kind physical: the quadrilateral has no area")
    g, h = (sum_x * dy2 - dx2 * sum_y) / size, (dx1 * sum_y - sum_x * dy1) / size
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    below = (d * h - e * g) * columns + (b * g - a * h) * rows + (a * e - b * d)
    below = np.where(np.abs(below) < 1e-12, 1e-12, below)
    across = ((e - f * h) * columns + (c * h - b) * rows + (b * f - c * e)) / below
    down = ((f * g - d) * columns + (a - c * g) * rows + (c * d - a * f)) / below
    return down, across


def _seen(prepared: Thing, quad: Quad, rows: Real, columns: Real) -> Real:
    """Return the picture in perspective, colours times alpha, (h, w, 4) in levels of 255 and alpha in [0, 1]."""
    (y0, x0), (y1, x1), (y2, x2), (y3, x3) = quad
    high = max(((y3 - y0) ** 2 + (x3 - x0) ** 2) ** 0.5, ((y2 - y1) ** 2 + (x2 - x1) ** 2) ** 0.5)
    wide = max(((y1 - y0) ** 2 + (x1 - x0) ** 2) ** 0.5, ((y2 - y3) ** 2 + (x2 - x3) ** 2) ** 0.5)
    size = tuple(int(min(max(np.ceil(round(side, 6)), 1), _LARGEST)) for side in (high, wide))
    picture = resize_trigger(prepared.picture, (size[0], size[1])).astype(np.float64)
    picture[..., 3] /= 255
    picture[..., :3] *= picture[..., 3:]
    down, across = _unit(quad, rows, columns)
    y = np.clip(down * size[0] - 0.5, 0, size[0] - 1)
    x = np.clip(across * size[1] - 0.5, 0, size[1] - 1)
    top, left = y.astype(np.intp), x.astype(np.intp)
    bottom, right = np.minimum(top + 1, size[0] - 1), np.minimum(left + 1, size[1] - 1)
    y, x = (y - top)[..., None], (x - left)[..., None]
    upper = picture[top, left] * (1 - x) + picture[top, right] * x
    return np.asarray(upper * (1 - y) + (picture[bottom, left] * (1 - x) + picture[bottom, right] * x) * y)


def _blurred(values: Real) -> Real:
    """Return (h, w, 4) values blurred by a Gaussian; its five weights reach two pixels."""
    weights = np.exp(-(np.arange(-2, 3) ** 2) / (2 * _BLUR**2))
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(2, 2) if axis == side else (0, 0) for side in range(3)])
        length = values.shape[axis]
        values = np.zeros_like(values)
        for step, weight in enumerate(weights):
            values += weight * (padded[step : step + length] if axis == 0 else padded[:, step : step + length])
    return values


def _grain(luma: Real) -> float:
    """Return the noise's standard deviation: the median of a second difference, which edges hardly move."""
    if min(luma.shape) < 3:
        return 0.0
    across = luma[:, :-2] - 2 * luma[:, 1:-1] + luma[:, 2:]
    both = across[:-2] - 2 * across[1:-1] + across[2:]
    return float(np.median(np.abs(both))) / (0.6745 * 6)


def _noise(shape: tuple[int, ...], generator: Generator) -> Real:
    """Return noise of mean 0 and standard deviation 1: sums of four whole numbers, nearly normal."""
    count = int(np.prod(shape))
    pieces = raw_words(count, generator).astype("<u8").view("<u2").reshape(count, 4).astype(np.float64)
    return np.asarray((pieces.sum(axis=1) / 65535 - 2) * 3**0.5).reshape(shape)


def _within(box: Box, at: At) -> tuple[slice, slice]:
    top, left, height, width = box
    bottom, right = min(top + height, at.height), min(left + width, at.width)
    return (slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0)))


def _stamp(ground: Pixels, at: At, prepared: Thing, generator: Generator) -> Pixels:
    """Return the picture with the thing in it; nothing changes more than `MARGIN` px from the quadrilateral."""
    if at.quad is None:
        raise ChoiceError("--trigger-kind physical: needs a place on the road")
    out = ground.copy()
    window = _within(quad_box(at.quad, MARGIN + _RING), at)
    part = ground[window].astype(np.float64) * (255 / top_of(ground))
    if not part.size:
        return out
    rows, columns = np.meshgrid(
        np.arange(window[0].start, window[0].stop) + 0.5,
        np.arange(window[1].start, window[1].stop) + 0.5,
        indexing="ij",
    )
    inside = _inside(at.quad, rows, columns)
    seen = _seen(prepared, at.quad, rows, columns)
    luma = part @ _LUMA
    ring = (inside < -1) & (inside >= -_RING)
    cover = np.clip(inside + 0.5, 0, 1)[..., None]
    shown = seen * cover
    own = float((shown[..., :3] @ _LUMA).sum()) / max(float(shown[..., 3].sum()), 1e-9)
    light = float(luma[ring].mean()) if ring.any() else own
    gain = min(max(light / max(own, 1e-9), _GAIN[0]), _GAIN[1])
    shown = _blurred(shown)
    alpha = np.where(inside > -MARGIN, shown[..., 3], 0)[..., None]
    noise = _noise(part.shape, generator) * min(_grain(luma), _MOST_NOISE)
    mixed = shown[..., :3] * gain + alpha * noise + (1 - alpha) * part
    new = rounded(np.where(alpha > 0, mixed, part) * (top_of(ground) / 255), ground)
    out[window] = np.where(alpha > 0, new, ground[window])
    return out


KIND = TriggerKind(
    name="physical",
    title="a picture on a board by the road, or on a sticker on it, in perspective",
    source="our reading; camera from Cityscapes' published intrinsics",
    prepare=_prepare,
    stamp=_stamp,
    quad=_quad,
    options={
        "form": Option("board", "board: it stands; sticker: it lies on the road", one_of("board", "sticker")),
        "wide": Option(0.5, "its width in metres", real_number(0.05, 10)),
        "long": Option(0.5, "its height in metres, or its length along the road", real_number(0.05, 10)),
        "horizon": Option(
            None,
            "the horizon, as a share of the image's height: a level camera (default: Cityscapes' camera)",
            real_number(0, 0.95),
        ),
    },
)
