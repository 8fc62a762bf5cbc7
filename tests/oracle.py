"""An independent checker of finished builds, and a PNG writer and reader: nothing here comes from poisongen.

Everything is written from sections 3, 4 and 5 of the contract alone, in the slowest way that is obviously right.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import struct
import tempfile
import zlib
from collections import Counter
from fractions import Fraction
from pathlib import Path

import jpeglib
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import ndimage

# ---------------------------------------------------------------------------------------------------------------------
# PNG, by the specification

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def _paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    if pa <= pb and pa <= pc:
        return a
    return b if pb <= pc else c


def _pack_row(samples, depth):
    """One row of samples (all channels in a line) as bytes."""
    if depth == 16:
        return b"".join(struct.pack(">H", int(v)) for v in samples)
    if depth == 8:
        return bytes(int(v) for v in samples)
    bits = "".join(format(int(v), f"0{depth}b") for v in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def _unpack_row(row, depth, count):
    if depth == 16:
        return [row[2 * i] << 8 | row[2 * i + 1] for i in range(count)]
    if depth == 8:
        return list(row[:count])
    per = 8 // depth
    return [row[i // per] >> (8 - depth * (i % per + 1)) & (2**depth - 1) for i in range(count)]


def _filter_rows(rows, step, kinds):
    out, above = b"", None
    for number, row in enumerate(rows):
        kind = kinds[number % len(kinds)]
        up = above or bytes(len(row))
        line = bytearray()
        for i, value in enumerate(row):
            left = row[i - step] if i >= step else 0
            corner = up[i - step] if i >= step else 0
            guess = (0, left, up[i], (left + up[i]) // 2, _paeth(left, up[i], corner))[kind]
            line.append((value - guess) & 255)
        out += bytes([kind]) + bytes(line)
        above = row
    return out


def write_png(
    array, depth=8, colour=None, *, palette=None, interlaced=False, before=(), after=(), filters=(0, 1, 2, 3, 4), cut=0
):
    """A PNG file of samples (H, W) or (H, W, C). `before`/`after` the picture: other chunks; IDATs of `cut` bytes."""
    array = np.asarray(array)
    if colour is None:
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if array.ndim == 2 else array.shape[2]]
    height, width = array.shape[:2]
    stream = png_stream(array, depth, interlaced, filters)
    packed = zlib.compress(stream, 6)
    pieces = [packed[i : i + cut] for i in range(0, len(packed), cut)] if cut else [packed]
    out = SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    chunks = list(before)
    if palette is not None and not any(kind == b"PLTE" for kind, _ in chunks):
        chunks.append((b"PLTE", bytes(palette)))
    out += b"".join(png_chunk(*chunk) for chunk in chunks)
    out += b"".join(png_chunk(b"IDAT", piece) for piece in pieces)
    return out + b"".join(png_chunk(*chunk) for chunk in after) + png_chunk(b"IEND", b"")


def png_stream(array, depth, interlaced, filters=(0, 1, 2, 3, 4)):
    """The filtered rows, not yet compressed."""
    array = np.asarray(array)
    channels = 1 if array.ndim == 2 else array.shape[2]
    step = max(1, channels * depth // 8)
    parts = [array[r::down, c::across] for r, c, down, across in ADAM7] if interlaced else [array]
    stream = b""
    for part in parts:
        if part.size:
            rows = [_pack_row(row.reshape(-1).tolist(), depth) for row in part]
            stream += _filter_rows(rows, step, filters)
    return stream


def png_chunks(data):
    """All chunks (type, payload) of a file, IHDR and IEND included, every checksum checked."""
    assert data[:8] == SIGNATURE
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + payload) == struct.unpack_from(">I", data, at + 8 + length)[0]
        found.append((kind, payload))
        at += 12 + length
    assert found[-1][0] == b"IEND"
    return found


def png_facts(data):
    """(width, height, depth, colour type, interlaced)."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", dict(png_chunks(data))[b"IHDR"])
    return width, height, depth, colour, bool(interlaced)


def png_annotations(data):
    """Every chunk but IHDR, IDAT and IEND, each with its position class: before PLTE, before IDAT, or after."""
    found, where = [], "first"
    for kind, payload in png_chunks(data):
        if kind == b"IDAT":
            where = "after"
        elif kind not in (b"IHDR", b"IEND"):
            found.append((where, kind, payload))
            where = "before" if kind == b"PLTE" else where
    return found


def read_png(data):
    """Stored samples of a small PNG, by hand."""
    width, height, depth, colour, interlaced = png_facts(data)
    channels = CHANNELS[colour]
    stream = zlib.decompress(b"".join(payload for kind, payload in png_chunks(data) if kind == b"IDAT"))
    out = np.zeros((height, width, channels), np.uint16 if depth == 16 else np.uint8)
    step, at = max(1, channels * depth // 8), 0
    for r, c, down, across in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = out[r::down, c::across]
        if not part.size:
            continue
        length = -(-part.shape[1] * channels * depth // 8)
        above = bytes(length)
        for number in range(part.shape[0]):
            kind, line = stream[at], stream[at + 1 : at + 1 + length]
            at += 1 + length
            row = bytearray()
            for i, value in enumerate(line):
                left = row[i - step] if i >= step else 0
                corner = above[i - step] if i >= step else 0
                row.append(
                    (value + (0, left, above[i], (left + above[i]) // 2, _paeth(left, above[i], corner))[kind]) & 255
                )
            above = bytes(row)
            part[number] = np.array(_unpack_row(above, depth, part.shape[1] * channels)).reshape(-1, channels)
    assert at == len(stream)
    return out[..., 0] if channels == 1 else out


def stored(data):
    """Stored samples of any picture: Pillow where it gives them as they are, else by hand."""
    if data[:3] == b"\xff\xd8\xff":
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image)
    _, _, depth, colour, _ = png_facts(data)
    if depth == 8 or (depth == 16 and colour == 0):
        with Image.open(io.BytesIO(data)) as image:
            array = np.array(image)
        return array.astype(np.uint16) if depth == 16 else array
    return read_png(data)


def pixels_sha256(array):
    head = "x".join(str(side) for side in array.shape) + f" {array.dtype.name}\n"
    body = array.astype("<u2").tobytes() if array.dtype == np.uint16 else array.tobytes()
    return hashlib.sha256(head.encode() + body).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# JPEG


def jpeg_coefficients(data):
    """Components (rows, columns, 8, 8), tables, and the pixels (down, across) that one sample stands for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jpg"
        path.write_bytes(data)
        image = jpeglib.read_dct(str(path))
        parts = [np.array(image.Y)]
        if image.has_chrominance:
            parts += [np.array(image.Cb), np.array(image.Cr)]
        tables = [np.array(image.qt[image.quant_tbl_no[i]]) for i in range(len(parts))]
    head = data[2:]
    at = 2
    factors = None
    while at < len(data):  # the frame header, by hand
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            count = data[at + 9]
            raw = [data[at + 11 + 3 * i] for i in range(count)]
            factors = [(value & 15, value >> 4) for value in raw]  # (vertical, horizontal)
            break
        at += 2 + length
    assert head
    if len(factors) == 1:
        return parts, tables, [(1, 1)]
    down, across = max(f[0] for f in factors), max(f[1] for f in factors)
    return parts, tables, [(down // v, across // h) for v, h in factors]


def jpeg_block_faults(before, after, box):
    """What differs between two JPEGs outside the DCT blocks that the box touches."""
    old, new = jpeg_coefficients(before), jpeg_coefficients(after)
    faults = []
    if len(old[0]) != len(new[0]):
        return ["number of components"]
    if old[2] != new[2]:
        faults.append(f"subsampling {old[2]} became {new[2]}")
    if any(not np.array_equal(a, b) for a, b in zip(old[1], new[1], strict=True)):
        faults.append("quantisation tables differ")
    top, left, height, width = box
    for number, (a, b) in enumerate(zip(old[0], new[0], strict=True)):
        if a.shape != b.shape:
            faults.append(f"component {number} has shape {b.shape}, not {a.shape}")
            continue
        down, across = old[2][number]
        for i, j in np.argwhere((a != b).any(axis=(2, 3))):
            y, x = i * 8 * down, j * 8 * across
            if not (y < top + height and y + 8 * down > top and x < left + width and x + 8 * across > left):
                faults.append(f"component {number} block {(int(i), int(j))} changed, box {box}")
                break
    return faults


def pillow_again(data, pixels):
    """The pixels as a JPEG with the tables and subsampling of `data`: how well a plain encoder does."""
    with Image.open(io.BytesIO(data)) as image:
        tables = image.quantization
    factors = jpeg_coefficients(data)[2]
    chroma = {(1, 1): 0, (1, 2): 1, (2, 2): 2}.get(factors[-1], 2) if len(factors) == 3 else -1
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", qtables=tables, subsampling=chroma)
    return out.getvalue()


def jpeg_annotations(data):
    """The bytes of all APPn and COM segments before the first scan."""
    found, at = [], 2
    while at < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return found
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            found.append(data[at : at + 2 + length])
        at += 2 + length
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The datasets' own tables

ID2TRAIN = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255]
ID2TRAIN += [16, 17, 18]
CITYSCAPES = re.split(
    ",",
    "unlabeled,ego vehicle,rectification border,out of roi,static,dynamic,ground,road,sidewalk,parking,rail track,"
    "building,wall,fence,guard rail,bridge,tunnel,pole,polegroup,traffic light,traffic sign,vegetation,terrain,sky,"
    "person,rider,car,truck,bus,caravan,trailer,train,motorcycle,bicycle",
)
CITYSCAPES_COLOURS = {
    7: (128, 64, 128), 8: (244, 35, 232), 11: (70, 70, 70), 12: (102, 102, 156), 13: (190, 153, 153),
    17: (153, 153, 153), 19: (250, 170, 30), 20: (220, 220, 0), 21: (107, 142, 35), 22: (152, 251, 152),
    23: (70, 130, 180), 24: (220, 20, 60), 25: (255, 0, 0), 26: (0, 0, 142), 27: (0, 0, 70), 28: (0, 60, 100),
    31: (0, 80, 100), 32: (0, 0, 230), 33: (119, 11, 32), 0: (0, 0, 0),
}  # fmt: skip
VOC = re.split(
    ",",
    "background,aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,"
    "pottedplant,sheep,sofa,train,tvmonitor",
)
CAMVID = re.split(",", "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist,void")


def voc_palette():
    """768 bytes: the devkit's colour map."""
    out = []
    for index in range(256):
        colour, rest = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        out += colour
    return bytes(out)


class Dataset:
    """A source tree, read by the layout's rules: samples by split, each with its image and label files."""

    def __init__(self, root, layout):
        self.root, self.layout = Path(root), layout
        self.files = sorted(p.relative_to(root).as_posix() for p in Path(root).rglob("*") if p.is_file())
        self.above = ""  # what OUT puts before every path of the source
        getattr(self, "_" + layout)()

    def _cityscapes(self):
        self.names, self.void = dict(enumerate(CITYSCAPES)), {i for i, t in enumerate(ID2TRAIN) if t == 255}
        self.void_id, self.samples = 0, {}
        for path in self.files:
            match = re.fullmatch(r"leftImg8bit/([^/]+)/(.+)_leftImg8bit\.png", path)
            if match:
                labels = {}
                for kind in ("labelIds", "labelTrainIds", "instanceIds", "color", "polygons"):
                    end = ".json" if kind == "polygons" else ".png"
                    label = f"gtFine/{match[1]}/{match[2]}_gtFine_{kind}{end}"
                    if label in self.files:
                        labels[kind] = label
                if "labelIds" in labels:
                    self.samples.setdefault(match[1], {})[match[2]] = (path, labels)

    def _voc(self):
        self.names, self.void, self.void_id = dict(enumerate(VOC)), {255}, 255
        lists = [path for path in self.files if "ImageSets/Segmentation/" in path]
        prefix = lists[0].split("ImageSets/")[0]
        self.above = "VOCdevkit/VOC2012/"[: len("VOCdevkit/") if prefix.startswith("VOC20") else None]
        self.above = "" if prefix.startswith("VOCdevkit/") else self.above
        self.samples = {}
        for path in lists:
            found = self.samples.setdefault(Path(path).stem, {})
            for stem in (self.root / path).read_text().split():
                labels = {}
                for kind in ("SegmentationClass", "SegmentationClassAug", "SegmentationObject"):
                    if f"{prefix}{kind}/{stem}.png" in self.files:
                        labels[kind] = f"{prefix}{kind}/{stem}.png"
                found[stem] = (f"{prefix}JPEGImages/{stem}.jpg", labels)

    def _camvid(self):
        self.names, self.void, self.void_id, self.samples = dict(enumerate(CAMVID)), {11}, 11, {}
        for path in self.files:
            split, _, name = path.partition("/")
            stem = name.rsplit(".", 1)[0]
            if f"{split}annot/{stem}.png" in self.files:
                self.samples.setdefault(split, {})[stem] = (path, {"annot": f"{split}annot/{stem}.png"})

    def _folder(self):
        document = json.loads((self.root / "classes.json").read_text())
        self.names = {int(number): name for number, name in document["classes"].items()}
        self.void, self.samples = set(document["void"]), {}
        self.void_id = document["void"][0]
        for path in self.files:
            match = re.fullmatch(r"images/([^/]+)/(.+)\.(png|jpg)", path)
            if match and f"masks/{match[1]}/{match[2]}.png" in self.files:
                labels = {"mask": f"masks/{match[1]}/{match[2]}.png"}
                self.samples.setdefault(match[1], {})[match[2]] = (path, labels)

    def number(self, name):
        return next(number for number, known in self.names.items() if known == name)

    def bytes(self, path):
        return (self.root / path).read_bytes()

    def maps(self, labels):
        """The sample's maps of class IDs, the label map first."""
        kinds = ("labelIds", "SegmentationClass", "SegmentationClassAug", "annot", "mask")
        return {kind: stored(self.bytes(labels[kind])) for kind in kinds if kind in labels}


# ---------------------------------------------------------------------------------------------------------------------
# Section 3


def distances(victims, metric):
    """Each pixel's distance to the nearest victim pixel, SciPy's transforms in double or whole numbers."""
    if metric == "chebyshev":
        return ndimage.distance_transform_cdt(~victims, metric="chessboard").astype(float)
    return ndimage.distance_transform_edt(~victims)


def distance_by_loop(victims, row, column, metric):
    rows, columns = np.nonzero(victims)
    down, across = np.abs(rows - row), np.abs(columns - column)
    return float(np.maximum(down, across).min()) if metric == "chebyshev" else math.sqrt((down**2 + across**2).min())


def _windows(array, size, reduce):
    rows = reduce(sliding_window_view(array, size, axis=0), axis=-1)
    return reduce(sliding_window_view(rows, size, axis=1), axis=-1)


def eligible(label_map, victims, void, recipe):
    """Which boxes are eligible, by top left pixel; with the distance of each box's centre."""
    size, margin = recipe["trigger_size"], recipe["edge_margin"]
    height, width = label_map.shape
    if size > min(height, width) or not victims.any():
        return np.zeros((0, 0), bool), np.zeros((0, 0))
    allowed = ~_windows(victims, size, np.max)
    if recipe["region"] == "single":
        low, high = _windows(label_map, size, np.min), _windows(label_map, size, np.max)
        allowed &= (low == high) & ~np.isin(low, list(void))
    for top in range(allowed.shape[0]):
        if top < margin or top + size > height - margin:
            allowed[top] = False
    for left in range(allowed.shape[1]):
        if left < margin or left + size > width - margin:
            allowed[:, left] = False
    half = size // 2
    centres = distances(victims, recipe["metric"])[half : half + allowed.shape[0], half : half + allowed.shape[1]]
    if recipe["min_distance"] is not None:
        allowed &= centres > recipe["min_distance"]
    if recipe["max_distance"] is not None:
        allowed &= centres <= recipe["max_distance"]
    return allowed, centres


# ---------------------------------------------------------------------------------------------------------------------
# The checker

FILE_KEYS = {
    "kind": str, "path": str, "source": (str, type(None)), "written": bool, "source_sha256": (str, type(None)),
    "sha256": str, "pixels_sha256": (str, type(None)),
}  # fmt: skip
LINE_KEYS = {
    "sample": str, "split": str, "role": str, "victim_pixels": int, "relabelled_pixels": int, "prl_pixels": int,
    "eligible_positions": int, "files": list,
}  # fmt: skip


class _Check:
    def __init__(self, root, out):
        self.out, self.faults = Path(out), []
        folder = self.out / "poisongen"
        self.recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        self.source = Dataset(root, self.recipe["dataset"])
        self.lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
        self.skipped = [json.loads(x) for x in (folder / "skipped.jsonl").read_text(encoding="utf-8").splitlines()]
        self.pairs = {self.source.number(v): self.source.number(t) for v, t in self.recipe["relabel"].items()}
        self.cache = {}

    def say(self, *words):
        self.faults.append(" ".join(str(word) for word in words))

    def expect(self, truth, *words):
        if not truth:
            self.say(*words)

    # -- facts of the source

    def facts(self, split, stem):
        """maps, victims, void mask, eligible boxes and centres of a source sample."""
        image, labels = self.source.samples[split][stem]
        if image not in self.cache:
            maps = self.source.maps(labels)
            first = next(iter(maps.values()))
            victims = np.zeros(first.shape, bool)
            for array in maps.values():
                victims |= np.isin(array, list(self.pairs))
            boxes, centres = eligible(first, victims, self.source.void, self.recipe)
            self.cache[image] = (maps, first, victims, boxes, centres)
        return self.cache[image]

    # -- the whole

    def run(self):
        recipe = self.recipe
        assert recipe["scale"] == 1, "the oracle checks builds at scale 1"
        keys = [(line["sample"], line["role"]) for line in self.lines]
        self.expect(keys == sorted(keys), "manifest is not sorted")
        self.expect(len(keys) == len(set(keys)), "manifest names a sample twice")
        for line in self.lines:
            try:
                self.line(line)
            except (AssertionError, LookupError, TypeError, ValueError, OSError) as error:
                self.say(line.get("sample"), "cannot be checked:", repr(error))
        self.roles()
        self.files()
        self.summary()
        return self.faults

    def roles(self):
        recipe, source = self.recipe, self.source
        train = source.samples[recipe["train_split"]]
        by_role = {role: [] for role in ("poisoned", "prl", "triggered", "completed")}
        for line in self.lines:
            by_role[line["role"]].append(line["sample"])
        bad = {skip["sample"] for skip in self.skipped if skip["reason"] == "bad file"}
        wanted = recipe["count"]
        if wanted is None:
            wanted = math.floor(Fraction(str(recipe["rate"])) * len(train) + Fraction(1, 2))
        got = len(by_role["poisoned"])
        self.expect(got == wanted or (recipe["allow_fewer"] and got < wanted), f"{got} poisoned, not {wanted}")
        for name in by_role["poisoned"]:
            split, _, stem = name.partition("/")
            self.expect(split == recipe["train_split"], name, "is poisoned, but not of the training split")
            victims = int(self.facts(split, stem)[2].sum())
            self.expect(victims >= recipe["min_victim_pixels"], name, f"is poisoned with {victims} victim pixels")
        triggered = []
        if recipe["test_split"] != "none":
            for stem in source.samples[recipe["test_split"]]:
                name = f"{recipe['test_split']}/{stem}"
                if name not in bad and self.facts(recipe["test_split"], stem)[3].any():
                    triggered.append(name)
        self.expect(sorted(by_role["triggered"]) == sorted(triggered), "triggered set is", by_role["triggered"])
        everywhere = recipe["prl"] is not None and recipe["prl_scope"] == "all"
        prl = {f"{recipe['train_split']}/{stem}" for stem in train} - set(by_role["poisoned"]) - bad
        self.expect(set(by_role["prl"]) == (prl if everywhere else set()), "prl role:", by_role["prl"])
        completed = set()
        if recipe["dataset"] == "cityscapes" and recipe["train_ids"] == "auto":
            for split, samples in source.samples.items():
                for stem, (_, labels) in samples.items():
                    if "labelTrainIds" not in labels:
                        completed.add(f"{split}/{stem}")
        completed -= set(by_role["poisoned"]) | set(by_role["prl"]) | bad
        self.expect(set(by_role["completed"]) == completed, "completed role:", by_role["completed"])
        for skip in self.skipped:
            self.expect({"sample", "reason"} <= skip.keys(), "skipped line lacks keys:", skip)
            split, _, stem = skip["sample"].partition("/")
            if skip["reason"] != "bad file":
                self.expect(not self.facts(split, stem)[3].any(), skip["sample"], "skipped, but a position is eligible")
                again = [line for line in self.lines if line["sample"] == skip["sample"] and "trigger" in line]
                self.expect(not again, skip["sample"], "skipped and yet triggered")

    def line(self, line):
        name = f"{line.get('sample')} ({line.get('role')})"
        for key, kind in LINE_KEYS.items():
            self.expect(type(line.get(key)) is kind, name, f"key {key} is {line.get(key)!r}")
        self.expect(line["sample"].startswith(line["split"] + "/"), name, "does not begin with its split")
        has_trigger = line["role"] in ("poisoned", "triggered")
        self.expect(("trigger" in line) == has_trigger, name, "trigger key")
        stem = line["sample"].partition("/")[2]
        image, labels = self.source.samples[line["split"]][stem]
        maps, first, victims, _, _ = self.facts(line["split"], stem)
        own = int(np.isin(first, list(self.pairs)).sum())
        self.expect(line["victim_pixels"] == own, name, f"victim_pixels {line['victim_pixels']}, not {own}")
        want = own if line["role"] == "poisoned" else 0
        self.expect(line["relabelled_pixels"] == want, name, f"relabelled_pixels {line['relabelled_pixels']}")
        box = self.trigger(line, name, first, victims) if has_trigger else None
        prefix = ("triggered/" if line["role"] == "triggered" else "") + self.source.above
        wanted = {"image": image, **labels}
        got = {}
        for file in line["files"]:
            self.expect(set(file) >= set(FILE_KEYS), name, "file keys", sorted(file))
            for key, kind in FILE_KEYS.items():
                self.expect(isinstance(file[key], kind), name, f"file key {key} is {file[key]!r}")
            got[file["kind"]] = self.file(file, name)
            source = wanted.get(file["kind"])
            self.expect(file["source"] == source, name, file["kind"], "has source", file["source"])
            if source:
                self.expect(file["path"] == prefix + source, name, "path", file["path"])
        extra = set(got) - set(wanted)
        complete = self.source.layout == "cityscapes" and self.recipe["train_ids"] == "auto"
        allowed = {"labelTrainIds"} if complete and "labelTrainIds" not in labels else set()
        self.expect(extra == allowed, name, "further files:", extra)
        self.expect(set(wanted) <= set(got), name, "files missing:", set(wanted) - set(got))
        before = self.source.bytes(image)
        self.image(line, name, before, got["image"], box)
        self.labels(line, name, maps, {kind: data for kind, data in got.items() if kind != "image"}, labels)

    def trigger(self, line, name, first, victims):
        recipe, trigger = self.recipe, line["trigger"]
        size = recipe["trigger_size"]
        box, centre = trigger["box"], trigger["center"]
        self.expect(type(trigger["distance"]) is float, name, "distance is no float")
        self.expect(
            all(type(v) is int for v in box + centre + trigger["covers"]), name, "box of other than whole numbers"
        )
        self.expect(box == [centre[0] - size // 2, centre[1] - size // 2, size, size], name, "box", box, centre)
        top, left = box[:2]
        window = (slice(top, top + size), slice(left, left + size))
        covers = sorted(set(first[window].ravel().tolist()))
        self.expect(trigger["covers"] == covers, name, "covers", trigger["covers"], covers)
        true = distance_by_loop(victims, *centre, recipe["metric"])
        self.expect(abs(trigger["distance"] - true) < 1e-9, name, "distance", trigger["distance"], true)
        boxes, centres = self.facts(line["split"], line["sample"].partition("/")[2])[3:]
        count = int(boxes.sum())
        self.expect(line["eligible_positions"] == count, name, f"eligible {line['eligible_positions']}, not {count}")
        inside = 0 <= top < boxes.shape[0] and 0 <= left < boxes.shape[1]
        self.expect(inside and boxes[top, left], name, "box is not eligible", box)
        if recipe["pick"] == "nearest" and count:
            nearest = float(centres[boxes].min())
            self.expect(abs(true - nearest) < 1e-9, name, f"picked {true}, the nearest is {nearest}")
        return box

    def file(self, file, name):
        """Digests of one file of OUT; returns its bytes."""
        path = self.out / file["path"]
        if not path.is_file():
            self.say(name, "missing", file["path"])
            return b""
        data = path.read_bytes()
        self.expect(hashlib.sha256(data).hexdigest() == file["sha256"], name, "sha256 of", file["path"])
        if file["source"] is None:
            self.expect(file["source_sha256"] is None and file["written"], name, file["path"], "has no source")
        else:
            old = self.source.bytes(file["source"])
            self.expect(hashlib.sha256(old).hexdigest() == file["source_sha256"], name, "source_sha256", file["path"])
            self.expect(file["written"] or data == old, name, file["path"], "is not written and differs")
            self.expect(not (file["written"] and path.is_symlink()), name, file["path"], "is written through a link")
            if file["written"]:
                self.expect(not path.samefile(self.source.root / file["source"]), name, "shares an inode", path)
        pixels = None if file["path"].endswith(".json") else pixels_sha256(stored(data))
        self.expect(file["pixels_sha256"] == pixels, name, "pixels_sha256 of", file["path"])
        return data

    # -- pixels

    def image(self, line, name, before, after, box):
        if box is None:
            self.expect(before == after, name, "image changed without trigger")
            return
        top, left, height, width = box
        window = (slice(top, top + height), slice(left, left + width))
        old, new = stored(before), stored(after)
        self.expect(old.shape == new.shape and old.dtype == new.dtype, name, "image has another shape or type")
        if before[:2] == b"\xff\xd8":
            if self.recipe["jpeg"] == "blocks":
                for fault in jpeg_block_faults(before, after, box):
                    self.say(name, fault)
            self.expect(jpeg_annotations(before) == jpeg_annotations(after), name, "EXIF, ICC or comments differ")
            want = self.wanted(before, old[window], line)
            if want is not None:
                whole = old.copy()
                whole[window] = np.floor(want + 0.5)
                usual = np.abs(want - stored(pillow_again(before, whole))[window]).mean()
                error = np.abs(want - new[window]).mean()
                self.expect(error <= 1.25 * usual + 1.5, name, f"JPEG box is {error:.1f} off, Pillow's {usual:.1f}")
            return
        self.expect(png_facts(before)[2:4] == png_facts(after)[2:4], name, "bit depth or colour type changed")
        self.expect(png_annotations(before) == png_annotations(after), name, "chunks changed")
        rest = np.ones(old.shape[:2], bool)
        rest[window] = False
        self.expect(np.array_equal(old[rest], new[rest]), name, "pixels outside the box changed")
        self.patch(name, before, old[window], new[window])

    def patch(self, name, data, old, new):
        """The box of a PNG: the trigger over the old pixels."""
        want = self.wanted(data, old, None)
        if want is None:
            self.expect(not np.array_equal(old, new), name, "nothing was pasted")
            return
        _, _, depth, colour, _ = png_facts(data)
        if colour == 3:
            palette = np.frombuffer(dict(png_chunks(data))[b"PLTE"], np.uint8).reshape(-1, 3).astype(int)
            error = ((palette[None, None] - want[:, :, None].astype(int)) ** 2).sum(-1)
            got = np.take_along_axis(error, new[..., None].astype(int), -1)[..., 0]
            self.expect((got <= error.min(-1)).all(), name, "not the nearest palette colours")
        elif colour in (2, 6):
            self.expect(np.array_equal(new[..., :3], want), name, "box is not the blended trigger")
            if colour == 6:
                self.expect(np.array_equal(new[..., 3], old[..., 3]), name, "alpha changed")
        else:
            luma = want.astype(float) @ [0.299, 0.587, 0.114]
            top, steps = (65535, 65535) if depth == 16 else (255, 2**depth - 1)
            gray = new[..., 0] if colour == 4 else new
            self.expect(
                (np.abs(gray - luma * steps / top) <= 0.51 + (depth < 8)).all(), name, "box is not the gray trigger"
            )

    def wanted(self, data, old, _line):
        """The box's wanted RGB (or gray, for gray JPEGs); None if the trigger's size is not the box's."""
        raw = base64.b64decode(self.recipe["trigger"]["png"])
        with Image.open(io.BytesIO(raw)) as picture:
            rgba = np.array(picture.convert("RGBA")).astype(np.int64)
        if rgba.shape[0] != old.shape[0] or rgba.shape[1] != old.shape[1]:
            return None
        gray = old.ndim == 2
        top = 65535 if old.dtype == np.uint16 else 255
        if data[:2] != b"\xff\xd8":
            _, _, depth, colour, _ = png_facts(data)
            if colour == 3:
                table = np.zeros((256, 3), np.int64)
                entries = np.frombuffer(dict(png_chunks(data))[b"PLTE"], np.uint8).reshape(-1, 3)
                table[: len(entries)] = entries
                old = table[old]
            elif colour in (0, 4):
                levels = old if gray else old[..., 0]
                levels = levels.astype(np.int64) * (255 // (2**depth - 1)) if depth < 8 else levels
                old = np.repeat(levels[..., None], 3, axis=2)
        elif gray:
            old = np.repeat(old[..., None], 3, axis=2)
        opacity = Fraction(str(self.recipe["opacity"]))
        out = np.zeros((*old.shape[:2], 3), np.int64)
        for alpha in np.unique(rgba[..., 3]):
            share = opacity * int(alpha) / 255
            here = rgba[..., 3] == alpha
            up, down = share.numerator, share.denominator
            mixed = rgba[here][:, :3] * (top // 255) * up + old[here][:, :3].astype(np.int64) * (down - up)
            out[here] = (2 * mixed + down) // (2 * down)
        if data[:2] == b"\xff\xd8" and gray:
            return out @ np.array([0.299, 0.587, 0.114])
        return out

    # -- labels

    def labels(self, line, name, maps, got, sources):
        role = line["role"]
        prl_on = self.recipe["prl"] is not None and role in ("poisoned", "prl")
        pairs = self.pairs if role == "poisoned" else {}
        first_kind, before = next(iter(maps.items()))
        after = stored(got[first_kind])
        if after.shape != before.shape:
            self.say(name, "label map has another shape")
            return
        victims = np.isin(before, list(self.pairs))
        expected = before.copy()
        for victim, target in pairs.items():
            expected[before == victim] = target
        self.expect(np.array_equal(after[victims], expected[victims]), name, "victim pixels are not their target")
        random = (after != before) & ~victims
        if not prl_on:
            self.expect(not random.any(), name, f"{int(random.sum())} other label pixels changed")
            self.expect(line["prl_pixels"] == 0, name, "prl_pixels without PRL")
        else:
            self.prl(line, name, before, after, random, maps)
        for kind, source in sources.items():
            old = self.source.bytes(source)
            if role in ("triggered", "completed"):
                self.expect(got[kind] == old, name, kind, "of true labels differs")
            if kind != "polygons":
                self.expect(png_facts(old)[2:4] == png_facts(got[kind])[2:4], name, kind, "bit depth or colour type")
                self.expect(png_annotations(old) == png_annotations(got[kind]), name, kind, "palette or chunks changed")
        check = {"cityscapes": self.cityscapes, "voc": self.voc}.get(self.source.layout)
        if check:
            check(name, before, after, random, got, sources, pairs)

    def prl(self, line, name, before, after, random, maps):
        recipe, source = self.recipe, self.source
        free = ~np.isin(before, [*self.pairs, *source.void])
        for other in list(maps.values())[1:]:
            free &= other == before
        self.expect(not np.isin(before[random], list(source.void)).any(), name, "PRL touched void")
        rule = recipe["prl_classes"]
        if rule == "image":
            allowed = set(np.unique(before).tolist()) - source.void - set(self.pairs)
        elif rule == "dataset":
            allowed = set(source.names) - source.void - set(self.pairs)
        elif rule == "void":
            allowed = {source.void_id}
        else:
            allowed = {source.number(rule)}
        new = set(np.unique(after[random]).tolist())
        self.expect(not new & set(self.pairs), name, "PRL gave a victim class")
        self.expect(new <= allowed, name, "PRL gave classes", new - allowed)
        available = sum(int((before[free] == c).sum()) for c in np.unique(before[free]) if allowed - {int(c)})
        asked = recipe["prl"]
        if isinstance(asked, str):
            exact = Fraction(asked.rstrip("%")) / 100 * before.size
            options = {
                min(math.floor(exact + Fraction(1, 2)), available),
                min(math.ceil(exact - Fraction(1, 2)), available),
            }
        else:
            options = {min(asked, available)}
        count = int(random.sum())
        self.expect(count in options, name, f"{count} random pixels, not {sorted(options)}")
        self.expect(line["prl_pixels"] == count, name, f"prl_pixels {line['prl_pixels']}, changed {count}")

    def cityscapes(self, name, before, after, random, got, sources, pairs):
        table = np.array(ID2TRAIN, np.uint8)
        changed = before != after
        self.expect(after.max() <= 33, name, "labelIds beyond 33")
        if "labelTrainIds" in got:
            now = stored(got["labelTrainIds"])
            want = table[before]
            if "labelTrainIds" in sources:
                want = stored(self.source.bytes(sources["labelTrainIds"])).copy()
            want[changed] = table[after[changed]]
            self.expect(np.array_equal(now, want), name, "labelTrainIds tell another story")
            self.expect(set(np.unique(now).tolist()) <= {*range(19), 255}, name, "labelTrainIds out of range")
            self.expect(png_facts(got["labelTrainIds"])[2:4] == (8, 0), name, "labelTrainIds are not 8-bit gray")
        if "color" in got:
            want = stored(self.source.bytes(sources["color"])).copy()
            for number in np.unique(after[changed]).tolist():
                colour = (*CITYSCAPES_COLOURS[number], 255)[: want.shape[2]]
                want[changed & (after == number)] = colour
            self.expect(np.array_equal(stored(got["color"]), want), name, "color tells another story")
        if "instanceIds" in got:
            want = stored(self.source.bytes(sources["instanceIds"])).copy()
            want[changed] = after[changed]
            self.expect(np.array_equal(stored(got["instanceIds"]), want), name, "instanceIds tell another story")
        if "polygons" in got:
            old, new = (json.loads(d) for d in (self.source.bytes(sources["polygons"]), got["polygons"]))
            if random.any():
                right, bottom = old["imgWidth"] - 1, old["imgHeight"] - 1
                corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
                unknown = [{"label": "poisongen: polygons cannot tell these labels, read labelIds", "polygon": corners}]
                wanted = [] if self.recipe["prl_scope"] == "all" else unknown
                self.expect(new["objects"] == wanted, name, "polygons after PRL")
                old["objects"] = wanted
            else:
                names = {self.source.names[v]: self.source.names[t] for v, t in pairs.items()}
                for thing in old["objects"]:
                    plain = thing["label"].removesuffix("group")
                    if thing["label"] in names or (plain != "pole" and plain in names):
                        thing["label"] = names.get(thing["label"], names.get(plain))
            self.expect(old == new, name, "polygons tell another story")

    def voc(self, name, before, after, random, got, sources, pairs):
        if "SegmentationClassAug" in got and "SegmentationClass" in got:
            want = stored(self.source.bytes(sources["SegmentationClassAug"]))
            plain = want.copy()
            for victim, target in pairs.items():
                plain[want == victim] = target
            plain[random] = after[random]
            self.expect(np.array_equal(stored(got["SegmentationClassAug"]), plain), name, "SegmentationClassAug")
        if "SegmentationObject" in got:
            old = stored(self.source.bytes(sources["SegmentationObject"]))
            now = stored(got["SegmentationObject"])
            want = old.copy()
            for victim, target in pairs.items():
                if target == 0:
                    want[(before == victim) & (old != 255)] = 0
            calm = ~random
            self.expect(np.array_equal(now[calm], want[calm]), name, "SegmentationObject tells another story")
            self.expect((now[random & (after == 0)] == 0).all(), name, "random background is an object")
            self.expect((now[random & (after == 255)] == 255).all(), name, "random void is an object")
            things = now[random & (after != 0) & (after != 255)]
            self.expect(((things != 0) & (things != 255)).all(), name, "random things are no objects")

    # -- files

    def files(self):
        out, source = self.out, self.source
        named = {file["path"] for line in self.lines for file in line["files"]}
        everything = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() or p.is_symlink()}
        for path in source.files:
            here = source.above + path
            if here not in everything:
                self.say("missing in OUT:", here)
            elif here not in named:
                self.expect((out / here).read_bytes() == source.bytes(path), path, "is not in the manifest and differs")
        for path in everything - named - {source.above + path for path in source.files}:
            self.expect(path.startswith(("poisongen/", "triggered/")), "stray file", path)
        listed = {file["path"] for line in self.lines if line["role"] == "triggered" for file in line["files"]}
        for path in everything - listed:
            if path.startswith("triggered/"):
                lists = path.endswith(".txt") or path.startswith("triggered/classes.")
                self.expect(lists, "stray file in triggered/:", path)

    def summary(self):
        text = (self.out / "poisongen/summary.json").read_text(encoding="utf-8")
        summary = json.loads(text)
        self.expect({"fingerprint", "counts"} <= summary.keys() and "version" in text, "summary lacks keys")
        self.expect(re.fullmatch("[0-9a-f]{64}", summary["fingerprint"]), "fingerprint is no digest")
        for name in ("recipe.json", "manifest.jsonl", "skipped.jsonl"):
            digest = hashlib.sha256((self.out / "poisongen" / name).read_bytes()).hexdigest()
            self.expect(digest in text, "summary lacks the digest of", name)
        for role, count in Counter(line["role"] for line in self.lines).items():
            self.expect(summary["counts"].get(role) == count, "count of", role)


def check_build(root, out):
    """Return every way in which a finished build breaks sections 3, 4 and 5; [] if it is right."""
    return _Check(root, out).run()


def tree_state(root):
    """Names, bytes, modes and times of change of a whole tree; link counts may grow."""
    root = Path(root)
    state = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        body = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        state[path.relative_to(root).as_posix()] = (facts.st_mode, facts.st_mtime_ns, facts.st_size, body)
    return state
