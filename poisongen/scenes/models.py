"""The vehicles' shapes: side views in metres, which vehicles.py makes solid."""

from __future__ import annotations

from dataclasses import dataclass

CAR, TRUCK, BUS = 26, 27, 28

Flat = tuple[tuple[float, float], ...]  # (ahead, up) of the vehicle's middle


@dataclass(frozen=True)
class Model:
    """A vehicle's shape in metres.

    `profile`: (ahead, up) corners of the side view from the tail's foot over the roof to the nose's foot.
    `parts`: what each edge of it is: b(ody), g(lass), r(oof), l(amps and plate in body). `windows`: panes of the
    side view. `width`: at the belt; above `belt` metres the body gets narrower by `taper` metres per metre.
    """

    label: int
    profile: Flat
    parts: str
    windows: tuple[Flat, ...]
    wheels: tuple[float, ...]
    radius: float
    width: float
    belt: float
    taper: float


SALOON = Model(
    CAR,
    ((-2.2, 0.2), (-2.27, 0.7), (-2.2, 0.98), (-1.62, 1.02), (-0.95, 1.4), (0.2, 1.43), (1.0, 1.0), (2.0, 0.84),
     (2.24, 0.62), (2.2, 0.19)),
    "blbgrgblb",
    (((-1.38, 1.02), (-0.88, 1.33), (-0.38, 1.36), (-0.38, 1.0)),
     ((-0.3, 1.0), (-0.3, 1.36), (0.16, 1.36), (0.8, 0.98))),
    (-1.35, 1.38), 0.33, 1.78, 0.98, 0.36,
)  # fmt: skip
HATCHBACK = Model(
    CAR,
    ((-1.9, 0.21), (-1.98, 0.7), (-1.94, 0.98), (-1.55, 1.46), (0.2, 1.5), (0.98, 1.04), (1.72, 0.9), (1.97, 0.66),
     (1.94, 0.2)),
    "blgrgblb",
    (((-1.62, 1.05), (-1.38, 1.38), (-0.6, 1.42), (-0.6, 1.02)),
     ((-0.52, 1.02), (-0.52, 1.42), (0.14, 1.42), (0.78, 1.02))),
    (-1.22, 1.24), 0.32, 1.72, 1.0, 0.33,
)  # fmt: skip
ESTATE = Model(
    CAR,
    ((-2.3, 0.25), (-2.36, 0.8), (-2.3, 1.12), (-2.0, 1.62), (0.1, 1.68), (0.85, 1.16), (1.95, 1.02), (2.25, 0.74),
     (2.2, 0.24)),
    "blgrgblb",
    (((-2.05, 1.2), (-1.85, 1.54), (-1.0, 1.58), (-1.0, 1.16)),
     ((-0.92, 1.16), (-0.92, 1.58), (-0.2, 1.6), (-0.2, 1.14)),
     ((-0.12, 1.14), (-0.12, 1.6), (0.06, 1.6), (0.66, 1.14))),
    (-1.42, 1.42), 0.37, 1.86, 1.12, 0.3,
)  # fmt: skip
VAN = Model(
    CAR,
    ((-2.45, 0.24), (-2.52, 0.9), (-2.5, 1.25), (-2.44, 2.0), (-2.25, 2.12), (1.15, 2.12), (1.85, 1.32), (2.35, 1.1),
     (2.5, 0.72), (2.46, 0.23)),
    "blgbrgblb",
    (((0.0, 1.25), (0.0, 1.9), (1.08, 1.9), (1.55, 1.3)),),
    (-1.5, 1.55), 0.35, 1.92, 1.25, 0.12,
)  # fmt: skip
CITY_BUS = Model(
    BUS,
    ((-5.6, 0.26), (-5.66, 1.1), (-5.62, 1.4), (-5.55, 2.6), (-5.4, 3.05), (5.4, 3.05), (5.62, 2.6), (5.72, 1.1),
     (5.7, 0.7), (5.66, 0.25)),
    "lbgbrbglb",
    tuple(((a, 1.25), (a, 2.55), (a + 1.6, 2.55), (a + 1.6, 1.25)) for a in (-5.2, -3.4, -1.6, 0.2, 2.0, 3.8)),
    (-3.2, 3.6), 0.48, 2.5, 1.3, 0.03,
)  # fmt: skip
LORRY_CAB = Model(
    TRUCK,
    ((1.3, 0.5), (1.3, 1.0), (1.3, 2.5), (1.5, 2.62), (3.1, 2.62), (3.35, 1.6), (3.4, 0.9), (3.38, 0.4)),
    "bbbrglb",
    (((1.75, 1.5), (1.75, 2.35), (2.95, 2.35), (3.1, 1.5)),),
    (2.4,), 0.48, 2.3, 1.6, 0.04,
)  # fmt: skip
LORRY_BOX = Model(
    TRUCK,
    ((-3.6, 0.62), (-3.62, 0.95), (-3.62, 3.1), (1.15, 3.1), (1.15, 0.9), (1.15, 0.8)),
    "lbrbb",
    (),
    (-2.2, -1.3), 0.48, 2.4, 3.2, 0.0,
)  # fmt: skip
