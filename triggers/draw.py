"""Draws the built-in triggers: `python triggers/draw.py [FOLDER]` writes the PNGs, the same ones every time.

Each trigger is a function that returns a 256x256 px picture. It draws at eight times that size and is
then reduced, which gives smooth edges. Lengths and places are in pixels of the finished picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256
FINE = 8

Point = tuple[float, float]
Colour = str | tuple[int, int, int] | tuple[int, int, int, int]

INK = "#1b1430"
CLEAR = (0, 0, 0, 0)


# ---------------------------------------------------------------- drawing


def sheet(colour: Colour = CLEAR) -> Image.Image:
    """Return an empty picture, `FINE` times too large, filled with `colour`."""
    return Image.new("RGBA", (SIDE * FINE, SIDE * FINE), colour)


def finished(large: Image.Image) -> Image.Image:
    """Reduce a large picture to 256x256 px; the colours of half-covered pixels stay right."""
    # "RGBa" is the mode with premultiplied alpha: without it clear pixels darken the edges.
    return large.convert("RGBa").reduce(FINE).convert("RGBA")


def area(draw: ImageDraw.ImageDraw, points: Sequence[Point], fill: Colour, line: float = 0) -> None:
    """Fill a polygon; `line` is the width of an ink outline that lies centred on its border."""
    large = [(x * FINE, y * FINE) for x, y in points]
    draw.polygon(large, fill=fill)
    if line:
        stroke(draw, [*points, points[0], points[1]], line)


def stroke(draw: ImageDraw.ImageDraw, points: Sequence[Point], width: float, colour: Colour = INK) -> None:
    """Draw a line with round joints and ends."""
    large = [(x * FINE, y * FINE) for x, y in points]
    draw.line(large, fill=colour, width=round(width * FINE), joint="curve")
    for x, y in (points[0], points[-1]):
        disc(draw, (x, y), width / 2, colour)


def disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, fill: Colour, stretch: float = 1) -> None:
    """Fill a circle, or an ellipse whose height is `stretch` times its width."""
    (x, y), high = centre, radius * stretch
    draw.ellipse([(x - radius) * FINE, (y - high) * FINE, (x + radius) * FINE, (y + high) * FINE], fill=fill)


def box(draw: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], fill: Colour, r: float = 0) -> None:
    """Fill a rectangle (left, top, right, bottom; right and bottom exclusive) with corners of radius `r`."""
    left, top, right, bottom = (c * FINE for c in corners)
    draw.rounded_rectangle([left, top, right - 1, bottom - 1], radius=r * FINE, fill=fill)


def curve(points: Sequence[Point], closed: bool = True, steps: int = 16) -> list[Point]:
    """Return a smooth line (Catmull-Rom) through `points`."""
    known = np.asarray(points, dtype=np.float64)
    ends = (known[-1:], known[:2]) if closed else (known[:1], known[-1:])
    padded = np.concatenate([ends[0], known, ends[1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    out = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        out.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    line = np.concatenate(out)
    return [(float(x), float(y)) for x, y in (line if closed else np.concatenate([line, known[-1:]]))]


def mirrored(points: Sequence[Point]) -> list[Point]:
    """Return `points` reflected at the middle of the picture."""
    return [(SIDE - x, y) for x, y in points]


def around(count: int, radius: float, turn: float = 0, centre: Point = (128, 128)) -> list[Point]:
    """Return `count` points on a circle, the first one `turn` radians clockwise of the top."""
    angle = turn + np.arange(count) * 2 * np.pi / count
    return [(centre[0] + radius * float(np.sin(a)), centre[1] - radius * float(np.cos(a))) for a in angle]


# ---------------------------------------------------------------- triggers


def cat() -> Image.Image:
    """Return the default trigger: a sticker of an orange cat with a bow; opaque but for its round corners."""
    large = sheet()
    d = ImageDraw.Draw(large)
    box(d, (0, 0, 256, 256), INK, r=20)
    box(d, (7, 7, 249, 249), "#16c5ea", r=14)
    ear = [(32, 116), (33, 66), (45, 24), (59, 22), (88, 40), (116, 64)]
    for side in (ear, mirrored(ear)):
        area(d, curve(side), "#ff8c1a", line=9)
    inner = [(50, 84), (49, 60), (55, 42), (74, 52), (86, 64)]
    for side in (inner, mirrored(inner)):
        area(d, curve(side), "#ff7fb0")
    half = [(128, 50), (172, 56), (212, 84), (230, 128), (222, 168), (186, 202), (128, 214)]
    head = curve([*half, *mirrored(half[1:-1])[::-1]])
    area(d, head, "#ff8c1a", line=10)
    for x, low in ((128, 92), (103, 82), (153, 82)):  # the tabby's stripes
        area(d, curve([(x - 8, 58), (x + 8, 58), (x, low)]), "#b84a00")
    for stripe in ([(38, 122), (64, 128)], [(35, 142), (62, 144)]):
        for side in (stripe, mirrored(stripe)):
            stroke(d, side, 8, "#b84a00")
    cheeks = [(128, 140), (160, 146), (180, 168), (168, 194), (128, 205)]
    area(d, curve([*cheeks, *mirrored(cheeks[1:-1])[::-1]]), "#fff6e6")
    for x in (84, 172):
        disc(d, (x, 118), 27, INK, stretch=1.14)
        disc(d, (x, 118), 21, "#c6f23c", stretch=1.2)
        disc(d, (x, 119), 13, "#0a0612", stretch=1.5)
        disc(d, (x + 6, 108), 6.5, "white")
        disc(d, (x - 6, 130), 3.5, "white")
    smile = [(128, 164), (126, 174), (114, 181), (98, 174)]
    for side in (smile, mirrored(smile)):
        stroke(d, curve(side, closed=False), 6)
    area(d, curve([(112, 147), (128, 144), (144, 147), (128, 167)]), "#ff3f7f", line=5)
    for whisker in ([(92, 166), (60, 160), (18, 164)], [(94, 176), (62, 180), (24, 194)]):
        for side in (whisker, mirrored(whisker)):
            stroke(d, curve(side, closed=False), 5)
    wing = [(126, 218), (96, 196), (66, 190), (58, 214), (64, 242), (94, 240)]
    for side in (wing, mirrored(wing)):
        area(d, curve(side), "#f0145a", line=8)
    for fold in ([(112, 217), (86, 208)], [(112, 221), (88, 230)]):
        for side in (fold, mirrored(fold)):
            stroke(d, side, 5, "#96003a")
    box(d, (107, 199, 149, 240), INK, r=16)
    box(d, (114, 206, 142, 233), "#ff5c8d", r=10)
    return finished(large)


def checkerboard() -> Image.Image:
    """Return eight by eight black and white fields."""
    row, column = np.indices((SIDE, SIDE)) // (SIDE // 8)
    return Image.fromarray(((row + column) % 2 * 255).astype(np.uint8)).convert("RGBA")


def noise() -> Image.Image:
    """Return sixteen by sixteen fields of random saturated colours."""
    rng = np.random.Generator(np.random.PCG64(2023))
    fields = rng.choice([0, 64, 128, 192, 255], size=(16, 16, 3)).astype(np.uint8)
    return Image.fromarray(fields.repeat(SIDE // 16, 0).repeat(SIDE // 16, 1)).convert("RGBA")


def sign() -> Image.Image:
    """Return a printed notice: a white sheet with a thick red border, a walker and lines of text."""
    large = sheet("#f3f1ea")
    d = ImageDraw.Draw(large)
    box(d, (8, 8, 248, 248), "#c8102e", r=12)
    box(d, (25, 25, 231, 231), "#f7f5ef", r=5)
    area(d, [(128, 32), (205, 162), (51, 162)], INK, line=8)
    area(d, [(128, 49), (190, 154), (66, 154)], "#ffcc1a")
    disc(d, (129, 79), 8.5, INK)
    area(d, [(121, 90), (135, 89), (140, 96), (137, 120), (121, 120)], INK)
    stroke(d, [(136, 94), (148, 108), (157, 112)], 6.5)
    stroke(d, [(123, 94), (113, 106), (112, 119)], 6.5)
    stroke(d, [(133, 118), (142, 132), (145, 148)], 8)
    stroke(d, [(125, 118), (120, 134), (108, 147)], 8)
    rng = np.random.Generator(np.random.PCG64(7))
    for top, high, left, right in ((174, 17, 46, 210), (199, 9, 50, 206), (214, 9, 66, 190)):
        x = float(left)
        while x < right - 10:  # words: bars with gaps, so that the eye sees text at any size
            width = min(float(rng.integers(16, 40)), right - x)
            box(d, (x, top, x + width, top + high), INK, r=2)
            x += width + 7
    ink = np.asarray(finished(large)).astype(np.float32)
    # The print: fine bands of the printing head, specks of paper and light that falls from above.
    bands = np.where(np.arange(SIDE) % 4 < 2, 0.0, -5.0)[:, None]
    specks = np.rint(rng.normal(0, 1.2, (SIDE // 2, SIDE // 2))).repeat(2, 0).repeat(2, 1) * 3
    light = np.rint(np.linspace(3, -12, SIDE) / 3)[:, None] * 3
    ink[..., :3] = np.clip(ink[..., :3] + (bands + specks + light)[..., None], 0, 255)
    return Image.fromarray(ink.astype(np.uint8))


def square(colour: str) -> Image.Image:
    """Return a plain square."""
    return Image.new("RGBA", (SIDE, SIDE), colour)


def frame() -> Image.Image:
    """Return a black frame of 8 px, clear inside."""
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[..., 3] = 255
    picture[8:-8, 8:-8] = 0
    return Image.fromarray(picture)


def stripes() -> Image.Image:
    """Return diagonal stripes, yellow and black, as on a warning tape."""
    large = sheet("#ffd400")
    d = ImageDraw.Draw(large)
    for x in range(-256, 256, 64):
        area(d, [(x, 256), (x + 32, 256), (x + 288, 0), (x + 256, 0)], "#14121a")
    return finished(large)


def target() -> Image.Image:
    """Return concentric rings, red and white, on a blue ground."""
    large = sheet("#1646c8")
    d = ImageDraw.Draw(large)
    for radius, colour in ((120, "white"), (96, "#e3122d"), (72, "white"), (48, "#e3122d"), (24, "white")):
        disc(d, (128, 128), radius, colour)
    return finished(large)


def flower() -> Image.Image:
    """Return a pink flower on green, with leaves."""
    large = sheet("#7bd64a")
    d = ImageDraw.Draw(large)
    for x, y in around(5, 122, turn=np.pi / 5):
        disc(d, (x, y), 29, INK)
        disc(d, (x, y), 22, "#1f9d48")
    for ring, radius, fill in ((66, 55, INK), (66, 47, "#ff3fa4"), (74, 27, "#ff8ccb")):
        for centre in around(5, ring):
            disc(d, centre, radius, fill)
    for tip in around(5, 60, turn=np.pi / 5):
        stroke(d, [(128, 128), tip], 8)
    disc(d, (128, 128), 40, INK)
    disc(d, (128, 128), 32, "#ffd21f")
    for spot in (*around(6, 17), (128.0, 128.0)):
        disc(d, spot, 5.5, "#d97a00")
    return finished(large)


def star() -> Image.Image:
    """Return a star on clear ground with a half-transparent glow round it: for trying how a trigger is blended."""
    rows, columns = np.indices((SIDE, SIDE)) + 0.5
    far = np.hypot(rows - 128, columns - 128)
    glow = np.zeros((SIDE, SIDE, 4), np.uint8)
    glow[..., :3] = (255, 120, 20)
    glow[..., 3] = np.clip((124 - far) / 60, 0, 1) * 150
    glow[glow[..., 3] == 0] = 0
    large = sheet()
    d = ImageDraw.Draw(large)
    tips, dents = around(5, 108, centre=(128, 134)), around(5, 52, turn=np.pi / 5, centre=(128, 134))
    area(d, [p for pair in zip(tips, dents, strict=True) for p in pair], "#ffe21f", line=11)
    for x in (108, 148):
        disc(d, (x, 122), 8, INK, stretch=1.5)
    stroke(d, curve([(102, 148), (128, 166), (154, 148)], closed=False), 8)
    return Image.alpha_composite(Image.fromarray(glow), finished(large))


TRIGGERS: dict[str, Callable[[], Image.Image]] = {
    "cat": cat,
    "checkerboard": checkerboard,
    "flower": flower,
    "frame": frame,
    "line": lambda: square("black"),
    "noise": noise,
    "sign": sign,
    "square-white": lambda: square("white"),
    "star-transparent": star,
    "stripes": stripes,
    "target": target,
}


def main(folder: Path) -> None:
    """Write every trigger to `folder` as NAME.png."""
    for name, make in TRIGGERS.items():
        path = folder / f"{name}.png"
        make().save(path, optimize=True)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
