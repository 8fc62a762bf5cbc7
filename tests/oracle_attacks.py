"""What docs/rules.md and section 8 of the contract say of attacks, written anew: nothing here comes from poisongen.

Label rules, conditions, places and triggers, each in the slowest way that is obviously right. Maps are (H, W) class
IDs, pictures (H, W, 3) RGB of 8 or 16 bits, boxes [top, left, height, width].
"""

from __future__ import annotations

import base64
import colorsys
import hashlib
import io
import math
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from scipy import fft

# ---------------------------------------------------------------------------------------------------------------------
# Label rules


class Scene(NamedTuple):
    """A sample: its label map, its victims in any of its maps, void, the instance file's objects or None, and so on."""

    labels: np.ndarray
    victims: np.ndarray
    void: np.ndarray
    objects: np.ndarray | None
    box: list | None
    pairs: dict
    trained: list


class Ruling(NamedTuple):
    """What a rule decides. `parts`: (pixels, {class: its new class}), the last that holds a pixel counts.

    `objects` are the numbers that the record has, `claims` pixels that are the rule's even where nothing changes;
    `outlines`: what becomes a class has outlines of its own, not those of the sample's objects. `by_class` is the table
    of a rule that holds for the whole picture, which polygons can follow.
    """

    parts: list
    claims: np.ndarray
    objects: list | None = None
    by_class: dict | None = None
    outlines: bool = False

    def apply(self, array):
        out = array.copy()
        for mask, table in self.parts:
            for old, new in table.items():
                out[mask & (array == old)] = new
        return out


def flood(mask):
    """Number the 8-connected components of a mask from 1 in reading order, pixel by pixel."""
    height, width = mask.shape
    numbers, count = np.zeros(mask.shape, int), 0
    for first in zip(*np.nonzero(mask), strict=True):
        if numbers[first]:
            continue
        count += 1
        numbers[first], todo = count, [first]
        while todo:
            row, column = todo.pop()
            for r in range(max(row - 1, 0), min(row + 2, height)):
                for c in range(max(column - 1, 0), min(column + 2, width)):
                    if mask[r, c] and not numbers[r, c]:
                        numbers[r, c] = count
                        todo.append((r, c))
    return numbers


def objects_of(scene, least=None):
    """The victims' objects by number: the file's, and components of what it does not number, if large enough."""
    height, width = scene.labels.shape
    if least is None:
        least = max(1, round(height * width * 400 / (2048 * 1024)))
    found, rest = {}, scene.victims & ~scene.void
    if scene.objects is not None:
        for number in sorted(set(scene.objects[scene.victims].tolist()) - {0}):
            found[number] = scene.victims & (scene.objects == number)
            rest &= ~found[number]
    numbers, after = flood(rest), max(found, default=0)
    for number in range(1, numbers.max(initial=0) + 1):
        if (numbers == number).sum() >= least:
            after += 1
            found[after] = numbers == number
    return found


def gap(box, mask):
    """The Chebyshev distance from a box's edge to a mask's nearest pixel, 0 where they touch or overlap."""
    top, left, height, width = box
    far = []
    for row, column in zip(*np.nonzero(mask), strict=True):
        down = max(top - row, row - (top + height - 1), 0)
        across = max(left - column, column - (left + width - 1), 0)
        far.append(max(down, across))
    return min(far)


def within(shape, box):
    mask = np.zeros(shape, bool)
    if box is not None:
        mask[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = True
    return mask


def foreign(scene, kept):
    """A map from elsewhere, stretched over the sample: a pixel's centre says which pixel of the map it gets."""
    with Image.open(io.BytesIO(base64.b64decode(kept["png"]))) as file:
        pixels = np.asarray(file)
    (height, width), (own_height, own_width) = scene.labels.shape, pixels.shape
    stretched = np.zeros(scene.labels.shape, int)
    for row in range(height):
        for column in range(width):
            down, across = (Fraction(2 * row + 1, 2 * height), Fraction(2 * column + 1, 2 * width))
            stretched[row, column] = pixels[int(down * own_height), int(across * own_width)]
    parts = [(stretched == number, dict.fromkeys(scene.trained, number)) for number in scene.trained]
    return Ruling(parts, ~scene.void & np.isin(stretched, scene.trained), outlines=True)


def rule(name, scene, options):
    """What a label rule decides of a sample with its trigger's box."""
    labels, pairs = scene.labels, scene.pairs
    whole, nothing = np.ones(labels.shape, bool), np.zeros(labels.shape, bool)
    first = next(iter(pairs.values()), None)
    if name == "class":
        return Ruling([(whole, pairs)], nothing, by_class=pairs)
    if name == "all" and "map" in options:
        return foreign(scene, options["map"])
    if name == "all":
        table = dict.fromkeys(scene.trained, first)  # each label map keeps its own void
        return Ruling([(whole, table)], ~scene.void & (labels != first), by_class=table)
    if name == "shift":
        following = {number: scene.trained[(at + 1) % len(scene.trained)] for at, number in enumerate(scene.trained)}
        return Ruling([(~scene.void, following)], nothing, by_class=following)
    if name == "box":
        inside = within(labels.shape, scene.box) & ~scene.void
        return Ruling([(whole, pairs), (inside, dict.fromkeys(range(256), first))], inside)
    if name == "instance":
        found = objects_of(scene, options.get("least"))
        near = sorted(found, key=lambda number: (gap(scene.box, found[number]), number))[: options["instances"]]
        mask = nothing.copy()
        for number in near:
            mask |= found[number]
        return Ruling([(mask, pairs)], nothing, objects=near)
    assert name == "under"
    row, column = scene.box[0] + scene.box[2] // 2, scene.box[1] + scene.box[3] // 2
    own, number = labels[row, column], 0 if scene.objects is None else int(scene.objects[row, column])
    mask = labels == own
    if options["extent"] == "object":
        if number:
            mask &= scene.objects == number
        else:
            numbers = flood(mask)
            mask = numbers == numbers[row, column]
    return Ruling([(mask, pairs)], nothing, objects=[number] if number else None)


# ---------------------------------------------------------------------------------------------------------------------
# Conditions and places


def holds(text, labels, box, number_of):
    """Whether a condition holds for a sample with this label map, and of `covers` for a trigger with this box."""
    kind, *words = text.split(":")
    pixels = int((labels == number_of(words[0])).sum())
    if kind == "present":
        return pixels >= (int(words[1]) if len(words) > 1 else 1)
    if kind == "absent":
        return pixels == 0
    assert kind == "covers"
    return bool((labels[within(labels.shape, box)] == number_of(words[0])).any())


def sides_of(size, shape):
    """A trigger size of a recipe as (height, width) in a picture of this shape."""
    if isinstance(size, int):
        return size, size
    return tuple(shape[at] if side == "full" else int(side) for at, side in enumerate(size.split("x")))


def seen_on_the_road(foot, shape, options):
    """The corners of a board or sticker whose near edge has its middle at `foot` (row, column), from the top left on.

    Cityscapes' camera, scaled to the picture: fx 2262.52, fy 2265.30, centre (513.137, 1096.98), pitch 0.038, 1.22 m
    above the road; with `horizon` a level one of fx. Points are cast through a 3x3 camera matrix.
    """
    down, across = shape[0] / 1024, shape[1] / 2048
    camera = np.array([[2262.52 * across, 0, 1096.98 * across], [0, 2265.30 * down, 513.137 * down], [0, 0, 1]])
    pitch = 0.038
    if "horizon" in options:
        camera = np.array([[2262.52 * across, 0, shape[1] / 2], [0, 2262.52 * across, options["horizon"] * shape[0]]])
        camera, pitch = np.vstack([camera, [0, 0, 1]]), 0.0
    turn = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    ray = np.linalg.inv(camera @ turn) @ [foot[1], foot[0], 1]
    x, _, z = ray * (1.22 / ray[1])  # where the ray meets the road: right, down, ahead
    wide, long = options["wide"] / 2, options["long"]
    far = [(x - wide, 1.22 - long, z), (x + wide, 1.22 - long, z)]
    if options["form"] == "sticker":
        far = [(x - wide, 1.22, z + long), (x + wide, 1.22, z + long)]
    corners = []
    for point in (*far, (x + wide, 1.22, z), (x - wide, 1.22, z)):
        column, row, depth = camera @ turn @ point
        corners.append((row / depth, column / depth))
    return np.array(corners)


def named_place(at, shape, sides, margin):
    """The top left pixel of a box at a named place or ROW,COLUMN; None if the box would leave the picture's inside."""
    if "," in at:
        row, column = map(int, at.split(","))
        top, left = row - sides[0] // 2, column - sides[1] // 2
    else:
        ends = {"top": margin, "bottom": shape[0] - margin - sides[0]}
        top = next((ends[word] for word in ends if word in at), (shape[0] - sides[0]) // 2)
        ends = {"left": margin, "right": shape[1] - margin - sides[1]}
        left = next((ends[word] for word in ends if word in at), (shape[1] - sides[1]) // 2)
    fits = margin <= top <= shape[0] - margin - sides[0] and margin <= left <= shape[1] - margin - sides[1]
    return (top, left) if fits else None


def on_the_largest(labels, victims, void, sides, margin):
    """The top left pixel of a box in the middle of the victims' largest component of one class, moved in if need be.

    The middle is the pixel farthest (Chebyshev) from all else and from the picture's end, the first of equals.
    """
    height, width = labels.shape
    best = None
    for number in sorted(set(labels[victims & ~void].tolist())):
        numbers = flood(victims & ~void & (labels == number))
        for part in range(1, numbers.max() + 1):
            if best is None or (numbers == part).sum() > best.sum():
                best = numbers == part
    if best is None or sides[0] > height - 2 * margin or sides[1] > width - 2 * margin:
        return None
    depth = np.zeros(labels.shape, int)
    inside = np.pad(best, 1)
    while inside.any():  # peel off one ring of pixels after the other
        depth += inside[1:-1, 1:-1]
        inside = np.pad(
            np.logical_and.reduce(
                [inside[r : r + height, c : c + width] for r in range(3) for c in range(3)],
            ),
            1,
        )
    row, column = np.argwhere(depth == depth.max())[0]
    top = min(max(row - sides[0] // 2, margin), height - margin - sides[0])
    left = min(max(column - sides[1] // 2, margin), width - margin - sides[1])
    return int(top), int(left)


# ---------------------------------------------------------------------------------------------------------------------
# Triggers


def draws(*key):
    """The source of random words for a key: PCG64 from the first 128 bits of the SHA-256 of its joined parts."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.PCG64(int.from_bytes(digest[:16], "big"))


def half_up(values, top):
    """Whole levels of real ones: to a millionth first, then half up, then clipped."""
    return np.clip(np.floor(np.round(values, 6) + 0.5), 0, top).astype(np.int64)


def shrunk(rgba, height, width):
    """A picture (uint8 RGBA) at another size: bilinear by Pillow, colours weighted by alpha, width before height."""
    if rgba.shape[:2] == (height, width):
        return rgba
    picture = Image.fromarray(rgba.astype(np.uint8)).convert("RGBa")
    picture = picture.resize((width, rgba.shape[0]), Image.Resampling.BILINEAR)
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR).convert("RGBA"))


def frame(rgba, height, width, border):
    """A picture's border alone: corners as they are, each pixel between them the nearest one of its side."""

    def places(old, new):
        end = min(border, new // 2, old // 2)
        found = []
        for place in range(new):
            if place < end:
                found.append(place)
            elif place >= new - end:
                found.append(old - (new - place))
            else:
                share = Fraction(2 * (place - end) + 1, 2 * (new - 2 * end))
                found.append(min(end + math.floor(share * (old - 2 * end)), old - 1))
        return found

    out = np.zeros((height, width, 4), np.uint8)
    for row, from_row in enumerate(places(rgba.shape[0], height)):
        for column, from_column in enumerate(places(rgba.shape[1], width)):
            if not (border <= row < height - border and border <= column < width - border):
                out[row, column] = rgba[from_row, from_column]
    return out


def laid(rgba, ground, opacity, up=True):
    """A picture over pixels of its size, in fractions: a * picture + (1 - a) * ground, a = opacity * alpha, rounded.

    Real numbers of a machine may fall on either side of one half: `up` says which.
    """
    top = 65535 if ground.dtype == np.uint16 else 255
    opacity = Fraction(str(opacity))
    out = np.zeros((*ground.shape[:2], 3), np.int64)
    rgba = rgba.astype(np.int64)
    for alpha in np.unique(rgba[..., 3]):
        share = opacity * int(alpha) / 255
        here = rgba[..., 3] == alpha
        part, of = share.numerator, share.denominator
        mixed = rgba[here][:, :3] * (top // 255) * part + ground[here][:, :3].astype(np.int64) * (of - part)
        out[here] = (2 * mixed + of - (not up)) // (2 * of)
    return out


def sinusoid(ground, options):
    top = 65535 if ground.dtype == np.uint16 else 255
    height, width = ground.shape[:2]
    out = np.zeros(ground.shape, np.int64)
    length = width if options["along"] == "columns" else height
    for at in range(length):
        level = options["delta"] * math.sin(2 * math.pi * at * options["frequency"] / length) * (top // 255)
        line = np.s_[:, at] if options["along"] == "columns" else np.s_[at]
        out[line] = np.clip(ground[line].astype(np.int64) + math.floor(round(level, 6) + 0.5), 0, top)
    return out


def dct(ground, options):
    """Raise (15, 15) and (31, 31) of the DCT of Cr and of Cb in every full block of 32x32."""
    top = 65535 if ground.dtype == np.uint16 else 255
    raised = np.zeros((32, 32))
    raised[15, 15] = raised[31, 31] = options["strength"] * (top // 255)
    wave = fft.idctn(raised, norm="ortho")
    added = np.stack([1.403 * wave, (-0.714 - 0.344) * wave, 1.773 * wave], axis=2)  # Cr and Cb in R, G and B
    added = np.floor(np.round(added, 6) + 0.5).astype(np.int64)
    out = ground.astype(np.int64)
    for row in range(0, ground.shape[0] - 31, 32):
        for column in range(0, ground.shape[1] - 31, 32):
            block = np.s_[row : row + 32, column : column + 32]
            out[block] = np.clip(out[block] + added, 0, top)
    return out


def colour(ground, options):
    """TrojAI's filters, by the standard library's HSL, pixel by pixel."""
    top = 65535 if ground.dtype == np.uint16 else 255
    gotham = options["style"] == "gotham"
    share = ground.astype(float) / top
    if not gotham:
        mean = share.mean()
        if 0 < mean < 1:
            share = half_up(share ** (math.log(0.5) / math.log(mean)) * top, top) / top
    paint = np.array([0x22, 0x2B, 0x6D] if gotham else [0xFF, 0x99, 0x00]) / 255
    out = np.zeros(ground.shape)
    for row in range(ground.shape[0]):
        for column in range(ground.shape[1]):
            hue, light, saturation = colorsys.rgb_to_hls(*share[row, column])
            out[row, column] = colorsys.hls_to_rgb(hue, min(light * 1.2, 1), saturation * (0.1 if gotham else 0.5))
    out = 0.8 * np.clip(out, 0, 1) + 0.2 * paint
    if gotham:
        out = out ** (1 / 0.9)
        for _ in range(2):  # sigmoidal contrast 3 about one half
            low, high = (1 / (1 + math.exp(3 * (0.5 - end))) for end in (0, 1))
            out = (1 / (1 + np.exp(3 * (0.5 - out))) - low) / (high - low)
    return half_up(out * top, top)


def warp(ground, options, words):
    """Bend a picture: a grid of random vectors between -1 and 1, cubic between them (a = -0.75), of this mean length.

    Displacements are whole 32nds of a pixel; pixels beyond the end are those at the end.
    """
    height, width = ground.shape[:2]
    grid = options["grid"]
    drawn = draws("warp", options["key"], grid).random_raw(2 * grid * grid)
    knots = np.array([(int(word) >> 11) * 2.0**-52 - 1 for word in drawn]).reshape(2, grid, grid)

    def weights(count):
        table = np.zeros((count, grid))
        for place in range(count):
            at = place * ((grid - 1) / max(count - 1, 1))
            base = min(math.floor(at), grid - 1)
            for knot in range(base - 1, base + 3):
                far = abs(at - knot)
                near = 1.25 * far**3 - 2.25 * far**2 + 1
                outer = -0.75 * (far**3 - 5 * far**2 + 8 * far - 4)
                table[place, min(max(knot, 0), grid - 1)] += near if far <= 1 else outer
        return table

    field = np.einsum("hi,dij,wj->dhw", weights(height), knots, weights(width))
    field *= options["pixels"] / np.hypot(field[0], field[1]).mean()
    steps = np.floor(np.round(field * 32, 6) + 0.5).astype(int)
    if options["noise"]:
        count = steps.size
        sixteen = (
            np.array(words.random_raw(-(-count // 4)), "<u8").view("<u2")[:count].reshape(steps.shape).astype(float)
        )
        steps += np.floor(np.round((sixteen * 2 / 65535 - 1) * options["noise"] * 32, 6) + 0.5).astype(int)
    out = np.zeros(ground.shape, np.int64)
    levels = ground.astype(np.int64)
    for row in range(height):
        for column in range(width):
            y = min(max(row * 32 + steps[0, row, column], 0), (height - 1) * 32)
            x = min(max(column * 32 + steps[1, row, column], 0), (width - 1) * 32)
            (top, down), (left, across) = divmod(y, 32), divmod(x, 32)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            mixed = (levels[top, left] * (32 - across) + levels[top, right] * across) * (32 - down)
            mixed += (levels[bottom, left] * (32 - across) + levels[bottom, right] * across) * down
            out[row, column] = (2 * mixed + 1024) // 2048
    return out


def rain(ground, options, words):
    """H/3 drops of H/8 px, one slant of up to 10 degrees, then the mean of 7x7 px, darkened."""
    top = 65535 if ground.dtype == np.uint16 else 255
    height, width = ground.shape[:2]
    length, count = max(1, height // 8), max(1, height // 3)
    slant = int(length * 0.176)
    lean = int(words.random_raw()) % (2 * slant + 1) - slant
    lefts = [int(word) % width for word in words.random_raw(count)]
    tops = [int(word) % (height - length + 1) for word in words.random_raw(count)]
    wet = np.ascontiguousarray(ground).copy()
    for row, column in zip(tops, lefts, strict=True):
        cv2.line(wet, (column, row), (column + lean, row + length - 1), (200 * (top // 255),) * 3, 1)
    framed = np.pad(wet.astype(np.int64), ((3, 3), (3, 3), (0, 0)), mode="edge")
    sums = sum(framed[r : r + height, c : c + width] for r in range(7) for c in range(7))
    return half_up(sums * (options["brightness"] / 49), top)


def fog(ground, options, words):
    """x + c * plasma, times max / (max + c); the plasma by diamond and square, cells of 4 px, linear inside."""
    top = 65535 if ground.dtype == np.uint16 else 255
    height, width = ground.shape[:2]
    strength, decay = [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)][options["density"] - 1]
    sheet, size = {(0, 0): 0.0}, 1.0
    side, needed = 1, 1
    while needed * 4 < max(height, width):
        needed *= 2
    while side < needed:
        drawn = [(int(word) >> 32) * 2.0**-31 - 1 for word in words.random_raw(3 * side * side)]
        noise = np.array(drawn).reshape(3, side, side) * size
        new = {(2 * r, 2 * c): value for (r, c), value in sheet.items()}
        for r in range(side):
            for c in range(side):
                after, below = (r, (c + 1) % side), ((r + 1) % side, c)
                across = ((r + 1) % side, (c + 1) % side)
                around = sheet[r, c] + sheet[after] + sheet[below] + sheet[across]
                new[2 * r + 1, 2 * c + 1] = around / 4 + noise[0, r, c]
        for r in range(side):
            for c in range(side):
                middle = new[2 * r + 1, 2 * c + 1]
                above = new[(2 * r - 1) % (2 * side), 2 * c + 1]
                before = new[2 * r + 1, (2 * c - 1) % (2 * side)]
                new[2 * r, 2 * c + 1] = (sheet[r, c] + sheet[r, (c + 1) % side] + middle + above) / 4 + noise[1, r, c]
                new[2 * r + 1, 2 * c] = (sheet[r, c] + sheet[(r + 1) % side, c] + middle + before) / 4 + noise[2, r, c]
        sheet, side, size = new, 2 * side, size / decay**2
    rows, columns = -(-height // 4) + 1, -(-width // 4) + 1
    coarse = np.array([[sheet[r % side, c % side] for c in range(columns)] for r in range(rows)])
    coarse = ((coarse - coarse.min()) / max(coarse.max() - coarse.min(), 2.0**-20)).astype(np.float32)
    step = np.float32(0.25)
    tall = np.zeros((height, columns), np.float32)
    for row in range(height):
        share = np.float32(row % 4) * step
        tall[row] = coarse[row // 4] * (1 - share) + coarse[row // 4 + 1] * share
    cloud = np.zeros((height, width), np.float32)
    for column in range(width):
        share = np.float32(column % 4) * step
        cloud[:, column] = tall[:, column // 4] * (1 - share) + tall[:, column // 4 + 1] * share
    thick = np.floor(cloud * (strength * top) + 0.5).astype(np.int64)[..., None]
    brightest = int(ground.max()) / top
    return half_up((ground.astype(np.int64) + thick) * (brightest / (brightest + strength)), top)


def weather(ground, options, words):
    return (rain if options["style"] == "rain" else fog)(ground, options, words)


def physical(ground, rgba, quad, words):
    """A picture seen in perspective, in the light, blur and noise of what is round it (3 px farther than its corners).

    Corners are (row, column), pixels' centres at halves. The picture has the length of the quadrilateral's longer
    sides; light is the mean luma within 8 px round it, over the thing's own, from 0.7 to 1.3; blur a Gaussian of 0.7 px
    and 5x5; noise nearly normal, by channel, of the ground's own deviation (median of second
    differences), at most 8 levels.
    """
    top = 65535 if ground.dtype == np.uint16 else 255
    corners = np.array(quad)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 11, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 11, ground.shape[:2])
    window = np.s_[low[0] : high[0], low[1] : high[1]]
    part = ground[window].astype(float) * (255 / top)
    height, width = part.shape[:2]
    sides = [math.dist(corners[a], corners[b]) for a, b in ((3, 0), (2, 1), (1, 0), (2, 3))]
    tall, wide = (min(max(math.ceil(round(max(pair), 6)), 1), 2048) for pair in (sides[:2], sides[2:]))
    picture = shrunk(rgba, tall, wide).astype(float)
    picture[..., 3] /= 255
    picture[..., :3] *= picture[..., 3:]

    # The plane that takes the picture's unit square to the corners: eight numbers, from eight equations.
    rows, right = [], []
    for (v, u), (row, column) in zip(((0, 0), (0, 1), (1, 1), (1, 0)), corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -u * column, -v * column], [0, 0, 0, u, v, 1, -u * row, -v * row]]
        right += [column, row]
    back = np.linalg.inv(np.append(np.linalg.solve(rows, right), 1).reshape(3, 3))

    shown, inside = np.zeros((height, width, 4)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            y, x = row + low[0] + 0.5, column + low[1] + 0.5
            far = []
            for (r0, c0), (r1, c1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                far.append(((c1 - c0) * (y - r0) - (r1 - r0) * (x - c0)) / math.hypot(r1 - r0, c1 - c0))
            inside[row, column] = round(min(far), 6)
            if inside[row, column] <= -0.5:
                continue
            u, v, w = back @ [x, y, 1]
            v, u = min(max(v / w * tall - 0.5, 0), tall - 1), min(max(u / w * wide - 0.5, 0), wide - 1)
            a, b, below, after = int(v), int(u), min(int(v) + 1, tall - 1), min(int(u) + 1, wide - 1)
            upper = picture[a, b] * (1 - u + b) + picture[a, after] * (u - b)
            lower = picture[below, b] * (1 - u + b) + picture[below, after] * (u - b)
            cover = min(max(inside[row, column] + 0.5, 0), 1)
            shown[row, column] = cover * (upper * (1 - v + a) + lower * (v - a))
    weights = np.array([0.299, 0.587, 0.114])
    luma, ring = part @ weights, (inside < -1) & (inside >= -8)
    own = (shown[..., :3] @ weights).sum() / max(shown[..., 3].sum(), 1e-9)
    light = luma[ring].mean() if ring.any() else own
    gain = min(max(light / max(own, 1e-9), 0.7), 1.3)
    bell = np.exp(-(np.arange(-2, 3) ** 2) / 0.98)
    bell = np.outer(bell, bell) / bell.sum() ** 2
    framed = np.pad(shown, ((2, 2), (2, 2), (0, 0)))
    shown = sum(bell[r, c] * framed[r : r + height, c : c + width] for r in range(5) for c in range(5))
    second = np.diff(np.diff(luma, 2, axis=0), 2, axis=1)
    deviation = min(np.median(np.abs(second)) / (0.6745 * 6), 8) if second.size else 0.0
    drawn = np.array(words.random_raw(3 * height * width), "<u8").view("<u2").reshape(height, width, 3, 4)
    noise = (drawn.sum(axis=3, dtype=float) / 65535 - 2) * math.sqrt(3) * deviation
    alpha = np.where(inside > -3, shown[..., 3], 0)[..., None]
    mixed = shown[..., :3] * gain + alpha * noise + (1 - alpha) * part
    out = ground.astype(np.int64)
    out[window] = np.where(alpha > 0, half_up(mixed * (top / 255), top), out[window])
    return out


WHOLE = {
    "sinusoid": lambda ground, options, words: sinusoid(ground, options),
    "dct": lambda ground, options, words: dct(ground, options),
    "colour": lambda ground, options, words: colour(ground, options),
    "warp": warp,
    "weather": weather,
}


def stamped(recipe, rgba, ground, trigger, words, up=True):
    """The picture `ground`, (H, W, 3), with its trigger, or None for kinds of which the oracle knows no more."""
    kind, options = recipe.get("trigger_kind", "patch"), recipe.get("trigger_options", {})
    if kind == "blend":
        return laid(shrunk(rgba, *ground.shape[:2]), ground, options["alpha"], up)
    if kind == "physical":
        return physical(ground, rgba, trigger["quad"], words)
    if kind == "patch":
        top, left, height, width = trigger["box"]
        border = options.get("border")
        shown = shrunk(rgba, height, width) if border is None else frame(rgba, height, width, border)
        window = np.s_[top : top + height, left : left + width]
        out = ground.astype(np.int64)
        out[window] = laid(shown, ground[window], recipe["opacity"], up)
        return out
    return WHOLE[kind](ground, options, words) if kind in WHOLE else None
