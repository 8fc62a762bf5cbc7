"""People, bicycles and riders: joints in space, seen in perspective and filled out with rounded limbs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from poisongen.scenes.light import Colour, Light, mix, varied
from poisongen.scenes.paint import Canvas, Shape, bar, darken, draw
from poisongen.scenes.view import Points, Pose, View

PERSON, RIDER, BICYCLE = 24, 25, 33

Place = tuple[float, float, float]  # ahead, up, to the right, in metres

_SKINS: tuple[Colour, ...] = ((236, 196, 168), (224, 176, 144), (190, 138, 104), (140, 96, 70), (98, 66, 50))
_HAIRS: tuple[Colour, ...] = ((40, 30, 26), (76, 52, 36), (24, 22, 24), (150, 112, 62), (136, 134, 132))
_TOPS: tuple[Colour, ...] = (
    (188, 36, 44), (30, 74, 150), (40, 42, 48), (226, 224, 216), (222, 170, 40), (52, 112, 70), (112, 60, 120),
    (92, 96, 104), (230, 120, 50), (120, 170, 200), (196, 120, 140), (70, 60, 50),
)  # fmt: skip
_LEGS: tuple[Colour, ...] = ((38, 48, 76), (40, 40, 44), (96, 88, 72), (66, 78, 104), (150, 136, 112), (28, 28, 32))


def _pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    return varied(rng, colours[int(rng.integers(len(colours)))], 10)


Ball = tuple[Place, float]  # place and radius in metres
Limb = tuple[Sequence[Ball], Colour]  # what is spanned by a few balls

_ANGLES = np.arange(12) * (2 * np.pi / 12)
_RING = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def _around(seen: Points, radii: Points) -> Points:
    """Return the outline round discs: `seen` (N, 2) middles and `radii` (N,), both in pixels."""
    points = (seen[:, None, :] + _RING * radii[:, None, None]).reshape(-1, 2)
    return cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(np.float64)


def _hull(view: View, pose: Pose, balls: Sequence[Ball]) -> Points:
    """Return the outline round balls."""
    world = pose.place([place for place, _ in balls])
    return _around(view.project(world), np.array([r for _, r in balls]) * view.focal / world[:, 2])


def _filled(view: View, light: Light, pose: Pose, limbs: Sequence[Limb], dim: float) -> list[Shape]:
    """Return the shapes of limbs, the far ones first; each has a darker side away from the light."""
    world = pose.place([place for balls, _ in limbs for place, _ in balls])
    seen = view.project(world)
    radii = np.array([r for balls, _ in limbs for _, r in balls]) * view.focal / world[:, 2]
    side = float(np.sign(light.sun[0]))
    found, end = [], 0
    for balls, colour in limbs:
        part = slice(end, end + len(balls))
        end += len(balls)
        depth = float(world[part, 2].mean())
        shown = light.lit(colour, depth, (0.3 * side, 0.5, -0.8), dim)
        outline = _around(seen[part], radii[part])
        thin = float(radii[part].min())
        if thin < 1.2:
            found.append((depth, [Shape(outline, shown)]))
            continue
        moved = seen[part] + np.array([side * thin * 0.26, -thin * 0.1])
        bright = Shape(_around(moved, radii[part] * 0.72), shown, detail=True)
        found.append((depth, [Shape(outline, mix(shown, (16, 16, 26), 0.3)), bright]))
    return [shape for _, shapes in sorted(found, key=lambda limb: -limb[0]) for shape in shapes]


def draw_person(
    canvas: Canvas, rng: np.random.Generator, view: View, light: Light, pose: Pose, dim: float, standing: bool = False
) -> None:
    """Paint someone who walks or stands, with a shadow."""
    tall = float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.95)) if rng.random() < 0.88 else float(rng.uniform(1.1, 1.4))
    wide = tall * float(rng.uniform(0.92, 1.12))
    skin, hair, top, legs = (_pick(rng, kinds) for kinds in (_SKINS, _HAIRS, _TOPS, _LEGS))
    shoe = varied(rng, (50, 44, 42), 20)
    step = 0.0 if standing else float(rng.uniform(0.2, 0.48)) * float(rng.choice([-1, 1]))
    coat, skirt, short_sleeves, bag = rng.random() < 0.25, rng.random() < 0.2, rng.random() < 0.4, rng.random() < 0.35
    hip, shoulder = 0.51 * tall, 0.815 * tall
    limbs: list[Limb] = []

    def add(balls: Sequence[Ball], colour: Colour) -> None:
        limbs.append((balls, colour))

    for side, swing in ((-1, step), (1, -step)):
        bend = max(0.0, -swing) * 0.7
        root = (0.0, hip, side * 0.052 * wide)
        knee = (0.25 * tall * float(np.sin(swing)), hip - 0.25 * tall * float(np.cos(swing)), side * 0.055 * wide)
        back = swing - bend
        foot = (
            knee[0] + 0.235 * tall * float(np.sin(back)),
            knee[1] - 0.235 * tall * float(np.cos(back)),
            side * 0.055 * wide,
        )
        bare = skirt and rng.random() < 0.9
        add([(root, 0.055 * wide), (knee, 0.038 * wide)], skin if bare else legs)
        add([(knee, 0.038 * wide), (foot, 0.026 * wide)], skin if bare else legs)
        toe = (foot[0] + 0.085 * tall, max(0.018, foot[1] - 0.02), foot[2])
        add([((foot[0] - 0.01, max(0.02, foot[1] - 0.015), foot[2]), 0.024 * wide), (toe, 0.016 * wide)], shoe)
    if skirt or coat:
        hem = hip - (0.2 if skirt else 0.13) * tall
        seam = [((0.02, hem, side * 0.06 * wide), 0.05 * wide) for side in (-1.0, 1.0)]
        add([((0.0, hip + 0.03, 0.0), 0.085 * wide), *seam], top if coat else legs)
    corners = [((0.0, shoulder - 0.02, s * 0.085 * wide), 0.05 * wide) for s in (-1.0, 1.0)]
    waist = [((0.0, hip + 0.01, s * 0.055 * wide), 0.05 * wide) for s in (-1.0, 1.0)]
    add([*corners, *waist], top)
    for side, swing in ((-1, -step * 0.8), (1, step * 0.8)):
        root = (0.0, shoulder - 0.015, side * 0.125 * wide)
        elbow = (0.17 * tall * float(np.sin(swing)), root[1] - 0.17 * tall * float(np.cos(swing)), side * 0.145 * wide)
        lift = swing + 0.45
        hand = (
            elbow[0] + 0.15 * tall * float(np.sin(lift)),
            elbow[1] - 0.15 * tall * float(np.cos(lift)),
            side * 0.14 * wide,
        )
        add([(root, 0.036 * wide), (elbow, 0.027 * wide)], top)
        add([(elbow, 0.026 * wide), (hand, 0.021 * wide)], skin if short_sleeves else top)
        add([(hand, 0.026 * wide), ((hand[0], hand[1] - 0.035, hand[2]), 0.02 * wide)], skin)
        if bag and side > 0:
            low = hand[1] - 0.22
            bottom = [((hand[0] + shift, low, hand[2]), 0.05) for shift in (-0.12, 0.12)]
            add([*bottom, ((hand[0], hand[1] - 0.08, hand[2]), 0.05)], _pick(rng, _TOPS))
    if rng.random() < 0.2:  # a rucksack
        add([((-0.14, shoulder - 0.04, 0), 0.11), ((-0.15, hip + 0.16, 0), 0.13)], _pick(rng, _TOPS))
    add([((0.01, shoulder + 0.02, 0), 0.033 * wide), ((0.015, 0.87 * tall, 0), 0.032 * wide)], skin)
    # A wide step lowers the body: the lower shoe stands on the ground.
    drop = min(up - radius for balls, _ in limbs for (_, up, _), radius in balls)
    limbs = [([((a, up - drop, r), radius) for (a, up, r), radius in balls], colour) for balls, colour in limbs]
    head = _head(view, light, pose, (0.02, 0.925 * tall - drop), 0.062 * tall, (skin, hair), dim)
    _ground_shadow(canvas, view, light, pose, 0.28, tall)
    draw(canvas, PERSON, _filled(view, light, pose, limbs, dim) + head)


def _head(
    view: View,
    light: Light,
    pose: Pose,
    middle: tuple[float, float],
    size: float,
    colours: tuple[Colour, Colour],
    dim: float,
    helmet: bool = False,
) -> list[Shape]:
    """Return a head at (ahead, up): a face in front, hair (or a helmet) behind and above."""
    ahead, up = middle
    z = pose.z
    skin = light.lit(colours[0], z, (0.2, 0.4, -0.8), dim)
    hair = light.lit(colours[1], z, (0.2, 0.5, -0.6), dim)
    skull = _hull(
        view, pose, [((ahead, up + size * 0.25, 0), size), ((ahead + size * 0.1, up - size * 0.45, 0), size * 0.72)]
    )
    face = _hull(
        view,
        pose,
        [
            ((ahead + size * 0.55, up - size * 0.1, 0), size * 0.72),
            ((ahead + size * 0.5, up - size * 0.6, 0), size * 0.55),
        ],
    )
    toward = float(np.cos(pose.yaw))  # above 0: one sees the back of the head
    shapes = [Shape(skull, hair)]
    if helmet:
        shapes.append(
            Shape(
                _hull(
                    view,
                    pose,
                    [
                        ((ahead - size * 0.3, up + size * 0.5, 0), size),
                        ((ahead + size * 0.5, up + size * 0.5, 0), size),
                    ],
                ),
                hair,
            )
        )
    if toward < 0.45:
        shapes.append(Shape(face, skin, detail=toward < -0.3))
        fringe = _hull(
            view,
            pose,
            [
                ((ahead - size * 0.2, up + size * 0.6, 0), size * 0.72),
                ((ahead + size * 0.4, up + size * 0.75, 0), size * 0.5),
            ],
        )
        shapes.append(Shape(fringe, hair, detail=True))
    return shapes


def _ground_shadow(canvas: Canvas, view: View, light: Light, pose: Pose, wide: float, tall: float) -> None:
    unit = view.scale(pose.z)
    angle = np.arange(14) * (2 * np.pi / 14)
    ring = np.stack([pose.x + wide * np.cos(angle), np.zeros(14), pose.z + wide * np.sin(angle)], axis=1)
    if light.contrast > 0.2:
        away = -np.array([light.sun[0], 0, light.sun[2]]) / max(light.sun[1], 0.35)
        far = ring + away * min(tall, 1.6)
        outline = cv2.convexHull(view.project(np.concatenate([ring * 0.999, far])).astype(np.float32))
        darken(canvas, outline.reshape(-1, 2).astype(np.float64), light.contrast * 0.75, max(0.5, unit * 0.05))
    darken(canvas, view.project(ring), 0.42, max(0.5, unit * 0.08))


def draw_bicycle(
    canvas: Canvas, rng: np.random.Generator, view: View, light: Light, pose: Pose, dim: float, ridden: bool = True
) -> None:
    """Paint a bicycle, and its rider if it is `ridden`. Wheels are labelled as discs, as annotators draw them."""
    unit, z = view.scale(pose.z), pose.z
    paint = light.lit(_pick(rng, _TOPS), z, (0.2, 0.5, -0.7), dim)
    dark = light.lit((30, 30, 32), z, shade=dim)
    angle = np.linspace(0, 2 * np.pi, 25)
    shapes, rings = [], []
    for ahead in (-0.52, 0.52):
        wheel = [(ahead + 0.34 * float(np.cos(t)), 0.34 + 0.34 * float(np.sin(t)), 0.0) for t in angle]
        points = view.project(pose.place(wheel))
        shapes.append(Shape(points, None))
        flat = points.mean(axis=0)
        tread = bar(
            view.project(pose.place([(ahead, 0, 0)]))[0], view.project(pose.place([(ahead, 0.68, 0)]))[0], 0.05 * unit
        )
        shapes.append(Shape(tread, dark if np.ptp(points[:, 0]) < 0.2 * unit else None))
        rings.append(Shape(flat + (points - flat) * 0.95, dark, True, 0.045 * unit))
        for t in range(0, 12, 2):
            spoke = np.stack([flat, points[2 * t]])
            rings.append(Shape(spoke, mix(dark, (160, 160, 160), 0.4), True, 0.008 * unit))

    def tube(a: Place, b: Place, width: float, colour: Colour) -> None:
        start, end = view.project(pose.place([a, b]))
        shapes.append(Shape(bar(start, end, width * unit), colour))

    rear, front, crank, seat, neck = (
        (-0.52, 0.34, 0.0),
        (0.52, 0.34, 0.0),
        (-0.06, 0.3, 0.0),
        (-0.22, 0.88, 0.0),
        (0.36, 0.86, 0.0),
    )
    for a, b in ((rear, crank), (rear, seat), (crank, seat), (crank, neck), (seat, neck), (neck, front)):
        tube(a, b, 0.045, paint)
    tube((0.36, 0.86, 0.0), (0.36, 1.02, 0.0), 0.04, dark)
    tube((0.38, 1.02, -0.27), (0.38, 1.02, 0.27), 0.04, dark)
    tube((-0.34, 0.93, 0.0), (-0.1, 0.92, 0.0), 0.08, dark)
    _ground_shadow(canvas, view, light, pose, 0.3, 1.0)
    draw(canvas, BICYCLE, shapes + rings)
    if ridden:
        _draw_rider(canvas, rng, view, light, pose, dim)


def _draw_rider(canvas: Canvas, rng: np.random.Generator, view: View, light: Light, pose: Pose, dim: float) -> None:
    skin, hair, top, legs = (_pick(rng, kinds) for kinds in (_SKINS, _HAIRS, _TOPS, _LEGS))
    turn = float(rng.uniform(0, 2 * np.pi))
    limbs: list[Limb] = []

    def add(balls: Sequence[Ball], colour: Colour) -> None:
        limbs.append((balls, colour))

    for side, phase in ((-1.0, turn), (1.0, turn + np.pi)):
        foot = (-0.06 + 0.16 * float(np.cos(phase)), 0.3 + 0.16 * float(np.sin(phase)), side * 0.11)
        root = (-0.2, 0.96, side * 0.09)
        knee = ((root[0] + foot[0]) / 2 + 0.24, (root[1] + foot[1]) / 2 + 0.1, side * 0.12)
        add([(root, 0.1), (knee, 0.065)], legs)
        add([(knee, 0.06), (foot, 0.045)], legs)
        add([(foot, 0.045), ((foot[0] + 0.14, foot[1] - 0.02, foot[2]), 0.035)], (44, 40, 40))
        shoulder, hand = (0.1, 1.45, side * 0.19), (0.38, 1.05, side * 0.25)
        elbow = (0.22, 1.2, side * 0.27)
        add([(shoulder, 0.06), (elbow, 0.048)], top)
        add([(elbow, 0.045), (hand, 0.04)], top if rng.random() < 0.6 else skin)
    add(
        [
            ((-0.2, 0.98, -0.07), 0.1),
            ((-0.2, 0.98, 0.07), 0.1),
            ((0.1, 1.44, -0.14), 0.085),
            ((0.1, 1.44, 0.14), 0.085),
        ],
        top,
    )
    add([((0.12, 1.5, 0), 0.055), ((0.15, 1.58, 0), 0.055)], skin)
    helmet = bool(rng.random() < 0.55)
    cover = _pick(rng, _TOPS) if helmet else hair
    head = _head(view, light, pose, (0.17, 1.67), 0.108, (skin, cover), dim, helmet)
    draw(canvas, RIDER, _filled(view, light, pose, limbs, dim) + head)
