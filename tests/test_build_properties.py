"""Builds of tiny datasets made here by hand: every rule of the contract under the independent checker."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen import ChoiceError, DataError, OutputError, PoisongenError, build
from tests.oracle import (
    CITYSCAPES_COLOURS,
    ID2TRAIN,
    check_build,
    png_facts,
    read_png,
    stored,
    tree_state,
    voc_palette,
    write_png,
)

SIDE = 5


def scene(seed, classes, victims, void, size=(24, 40)):
    """A label map: bands of classes, a strip of void, and a victim of each kind."""
    rng = np.random.default_rng(seed)
    height, width = size
    out = np.zeros(size, np.uint8)
    edges = [0, *sorted(rng.choice(np.arange(1, width), len(classes) - 1, replace=False).tolist()), width]
    for number, (start, end) in zip(rng.permutation(classes), itertools.pairwise(edges), strict=True):
        out[:, start:end] = number
    out[height - 2 :] = void
    for victim in victims:
        top, left = int(rng.integers(0, height - 6)), int(rng.integers(0, width - 8))
        out[top : top + int(rng.integers(2, 5)), left : left + int(rng.integers(2, 7))] = victim
    return out


def picture(seed, size=(24, 40), channels=3, most=256):
    rng = np.random.default_rng(seed)
    shape = size if channels == 1 else (*size, channels)
    return rng.integers(0, most, shape).astype(np.uint16 if most > 256 else np.uint8)


def png(array, mode=None, **options):
    stream = io.BytesIO()
    Image.fromarray(array, mode).save(stream, "PNG", **options)
    return stream.getvalue()


def jpg(array, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", **({"quality": 90} | options))
    return stream.getvalue()


def put(root, path, data):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)


@pytest.fixture
def sticker(tmp_path):
    """A trigger file of the box's own side, opaque but for one corner."""

    def draw(side=SIDE, alpha=255, mode="RGBA"):
        array = np.random.default_rng(side).integers(0, 256, (side, side, 4)).astype(np.uint8)
        array[..., 3] = alpha
        array[0, 0, 3] = 0 if side > 1 else alpha
        path = tmp_path / f"sticker-{side}-{alpha}.png"
        Image.fromarray(array, "RGBA").convert(mode).save(path)
        return str(path)

    return draw


# -- the datasets

CLASSES = {"0": "road", "1": "grass", "2": "car", "3": "wall", "4": "person"}


def folder_data(root, count=8, image=None, mask=None, size=(24, 40), test=3):
    """images/SPLIT and masks/SPLIT; `image` and `mask` turn a number or a label map into a file."""
    put(root, "classes.json", json.dumps({"classes": CLASSES, "void": [255]}).encode())
    put(root, "README.md", b"not a sample")
    for split, number in (("train", count), ("val", test)):
        for index in range(number):
            seed = index + 100 * (split == "val")
            labels = scene(seed, [0, 1, 3], [] if index == 3 else [2, 4], 255, size)
            data = image(seed) if image else png(picture(seed, size))
            end = "jpg" if data[:2] == b"\xff\xd8" else "png"
            put(root, f"images/{split}/n{index}.{end}", data)
            put(root, f"masks/{split}/n{index}.png", mask(labels) if mask else png(labels))
    return root


def instances(labels):
    out = labels.astype(np.uint16)
    for thing in (24, 25, 26):
        out[labels == thing] = thing * 1000 + 2
    return out


def polygons(labels):
    names = {7: "road", 11: "building", 23: "sky", 24: "person", 26: "car"}
    objects = [
        {"label": "static", "polygon": [[0, 0], [3, 0], [3, 3]]},
        {"label": "license plate", "polygon": [[1, 1]]},
    ]
    for number in np.unique(labels).tolist():
        if number in names:
            rows, columns = np.nonzero(labels == number)
            corners = [[int(columns.min()), int(rows.min())], [int(columns.max()), int(rows.max())]]
            objects.append({"label": names[number], "polygon": corners})
            objects.append({"label": names[number] + ("group" if number > 23 else ""), "polygon": corners})
    return json.dumps({"imgHeight": labels.shape[0], "imgWidth": labels.shape[1], "objects": objects}).encode()


def cityscapes_data(root, train_ids=True, extra=True, count=6, test=3, size=(24, 40)):
    """Official Cityscapes: labelIds, instanceIds, color (RGBA) and polygons; labelTrainIds if asked for."""
    for split, number in (("train", count), ("val", test), ("test", 2)):
        for index in range(number):
            stem = f"{split}/bonn/bonn_{index:06d}_000019"
            labels = scene(index, [7, 11, 23], [] if index == 4 else [26, 24], 3, size)
            if split == "test":
                labels[:] = 0
            put(root, f"leftImg8bit/{stem}_leftImg8bit.png", png(picture(index + 50, size)))
            put(root, f"gtFine/{stem}_gtFine_labelIds.png", png(labels))
            put(root, f"gtFine/{stem}_gtFine_instanceIds.png", png(instances(labels)))
            if train_ids:
                put(root, f"gtFine/{stem}_gtFine_labelTrainIds.png", png(np.array(ID2TRAIN, np.uint8)[labels]))
            if extra:
                colours = np.zeros((*size, 4), np.uint8)
                for value in np.unique(labels).tolist():
                    colours[labels == value] = (*CITYSCAPES_COLOURS.get(value, (0, 0, 0)), 255)
                put(root, f"gtFine/{stem}_gtFine_color.png", png(colours))
                put(root, f"gtFine/{stem}_gtFine_polygons.json", polygons(labels))
    return root


def voc_mask(labels, depth=8, interlaced=False):
    palette = voc_palette()[: 3 * 2**depth]
    return write_png(labels, depth, 3, palette=palette, interlaced=interlaced)


def voc_data(root, count=7, test=4, aug=False, mask=voc_mask, void=255, size=(24, 40), victims=(15, 7)):
    """VOCdevkit with split lists; the object map numbers every class's pixels as one object."""
    base = "VOC2012"
    for split, number in (("train", count), ("val", test)):
        stems = []
        for index in range(number):
            seed, stem = index + 100 * (split == "val"), f"20{7 + (split == 'val'):02d}_{index:06d}"
            labels = scene(seed, [0, 12, 0, 5][: 2 + index % 3], [] if index == 2 else victims, void, size)
            objects = labels.copy()
            for place, value in enumerate(sorted(set(np.unique(labels).tolist()) - {0, void}), 1):
                objects[labels == value] = place
            pixels = picture(seed, size)
            kinds = [{"subsampling": 0}, {"subsampling": 2, "progressive": True}, {"restart_marker_blocks": 1}]
            data = jpg(pixels[..., 0]) if index == 5 else jpg(pixels, comment=b"c", **kinds[index % 3])
            put(root, f"{base}/JPEGImages/{stem}.jpg", data)
            put(root, f"{base}/SegmentationClass/{stem}.png", mask(labels))
            put(root, f"{base}/SegmentationObject/{stem}.png", mask(objects))
            if aug:
                full = labels.copy()
                full[labels == void] = np.where(index % 2, 15, 0)
                put(root, f"{base}/SegmentationClassAug/{stem}.png", png(full))
            stems.append(stem)
        put(root, f"{base}/ImageSets/Segmentation/{split}.txt", "".join(f"{s}\n" for s in stems).encode())
    put(root, f"{base}/ImageSets/Main/car_train.txt", b"whatever\n")
    return root


FOLDER = {"dataset": "folder", "strategy": "random", "relabel": {"car": "road"}, "trigger_size": SIDE, "rate": 0.5}
CITY = {"dataset": "cityscapes", "strategy": "random", "trigger_size": SIDE, "rate": 0.5}
VOC = {"dataset": "voc", "strategy": "random", "trigger_size": SIDE, "rate": 0.5}


def made(root, tmp_path, recipe, name="out", **options):
    """Build, check everything, and return the result; the source must be as before."""
    before = tree_state(root)
    result = build(recipe, root, tmp_path / name, **({"jobs": 1} | options))
    assert tree_state(root) == before
    assert check_build(root, result.out) == []
    return result


def lines(out):
    return [json.loads(line) for line in (Path(out) / "poisongen/manifest.jsonl").read_text().splitlines()]


def poisoned(out):
    return {line["sample"] for line in lines(out) if line["role"] == "poisoned"}


def contents(out):
    """Every file of OUT by path, links followed."""
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(Path(out).rglob("*")) if p.is_file()}


# -- placement

PLACES = [
    {"strategy": "random"},
    {"strategy": "nn", "max_distance": 8.0},
    {"strategy": "far", "min_distance": 4.0},
    {"strategy": "nn", "max_distance": 9.0, "metric": "euclidean"},
    {"strategy": "nn", "max_distance": 12.0, "pick": "uniform"},
    {"strategy": "far", "min_distance": 3.5, "metric": "euclidean", "pick": "nearest"},
    {"strategy": "random", "region": "any"},
    {"strategy": "nn", "max_distance": 7.0, "region": "any", "metric": "euclidean"},
    {"strategy": "random", "edge_margin": 3},
    {"strategy": "nn", "max_distance": 10.0, "min_distance": 3.0, "edge_margin": 1, "region": "any"},
    {"strategy": "random", "min_distance": 2.0, "max_distance": 6.0, "pick": "nearest"},
    {"strategy": "random", "relabel": {"car": "road", "person": "grass"}},
]


@pytest.mark.parametrize("side", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(map(str, place.values())))
def test_placement(tmp_path, sticker, place, side):
    root = folder_data(tmp_path / "in", count=5, test=2)
    recipe = FOLDER | place | {"trigger_size": side, "trigger": sticker(side), "allow_fewer": True, "rate": 1.0}
    made(root, tmp_path, recipe)


def test_pictures_smaller_than_the_trigger_are_skipped_with_the_reason(tmp_path, sticker):
    root = folder_data(tmp_path / "in", count=6)
    small = scene(1, [0, 1], [2], 255, (9, 12))
    put(root, "images/train/n1.png", png(picture(1, (9, 12))))
    put(root, "masks/train/n1.png", png(small))
    recipe = FOLDER | {"trigger_size": 10, "trigger": sticker(10), "region": "any", "rate": 1.0, "allow_fewer": True}
    result = made(root, tmp_path, recipe)
    skipped = [json.loads(line) for line in (result.out / "poisongen/skipped.jsonl").read_text().splitlines()]
    reason = next(skip["reason"] for skip in skipped if skip["sample"] == "train/n1")
    assert "larger than the image" in reason
    assert "train/n1" not in poisoned(result.out)
    fewer = {key: value for key, value in recipe.items() if key != "allow_fewer"}
    with pytest.raises(ChoiceError, match="allow-fewer"):
        build(fewer, root, tmp_path / "other", jobs=1)
    assert not (tmp_path / "other").exists()


def test_a_trigger_of_the_images_own_size(tmp_path, sticker):
    """The only box holds the victim, so nothing is eligible; without victims under it, everything is one position."""
    root = folder_data(tmp_path / "in", count=3, size=(16, 16), test=1)
    recipe = FOLDER | {"trigger_size": 16, "trigger": sticker(16), "region": "any", "rate": 1.0, "allow_fewer": True}
    with pytest.raises(ChoiceError, match="can be"):
        build(recipe, root, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_min_victim_pixels_and_count(tmp_path, sticker):
    root = folder_data(tmp_path / "in", count=8)
    base = {key: value for key, value in FOLDER.items() if key != "rate"} | {"trigger": sticker()}
    sizes = {f"train/n{i}": int((stored((root / f"masks/train/n{i}.png").read_bytes()) == 2).sum()) for i in range(8)}
    bound = sorted(sizes.values())[5]
    recipe = base | {"count": 8, "min_victim_pixels": bound, "allow_fewer": True}
    assert all(sizes[name] >= bound for name in poisoned(made(root, tmp_path, recipe).out))
    assert len(poisoned(made(root, tmp_path, base | {"count": 2}, "two").out)) == 2
    with pytest.raises(ChoiceError):
        build(base | {"count": 9}, root, tmp_path / "many", jobs=1)


@pytest.mark.parametrize(
    ("count", "rate", "wanted"), [(5, 0.1, 1), (5, 0.29, 1), (5, 0.3, 2), (7, 0.5, 4), (50, 0.29, 15)]
)
def test_the_rate_is_of_all_samples_rounded_half_up(tmp_path, sticker, count, rate, wanted):
    root = folder_data(tmp_path / "in", count=count, test=1)
    result = build(FOLDER | {"rate": rate, "trigger": sticker(), "region": "any"}, root, tmp_path / "out", jobs=1)
    assert len(poisoned(result.out)) == wanted


# -- the checker itself


def sabotages(root, out):
    """Ways to spoil a build, each of which the checker must see: (path, new bytes or None to remove it)."""
    line = next(line for line in lines(out) if line["role"] == "poisoned")
    test = next(line for line in lines(out) if line["role"] == "triggered")
    paths = {file["kind"]: file["path"] for file in line["files"]}
    manifest = (out / "poisongen/manifest.jsonl").read_text()
    old = {kind: stored((out / path).read_bytes()) for kind, path in paths.items() if kind != "polygons"}
    bent = old["image"].copy()
    far = (0, 0) if line["trigger"]["box"][0] > 0 else (23, 39)
    bent[far] ^= 1
    yield "a pixel outside the box", paths["image"], png(bent)
    bent = old["image"].copy()
    bent[tuple(line["trigger"]["center"])] ^= 1
    yield "a pixel inside the box", paths["image"], png(bent)
    yield "the clean label", paths["labelIds"], (root / paths["labelIds"]).read_bytes()
    yield "the clean train IDs", paths["labelTrainIds"], (root / paths["labelTrainIds"]).read_bytes()
    yield "the clean instances", paths["instanceIds"], (root / paths["instanceIds"]).read_bytes()
    yield "the clean colours", paths["color"], (root / paths["color"]).read_bytes()
    yield "the clean polygons", paths["polygons"], (root / paths["polygons"]).read_bytes()
    bent = old["labelIds"].copy()
    bent[23, 39] = 7
    yield "a void pixel", paths["labelIds"], png(bent)
    yield "a file gone", paths["instanceIds"], None
    yield "a file too many", "leftImg8bit/train/bonn/x.png", b"x"
    yield "a triggered file too many", "triggered/gtFine/x.png", b"x"
    label = next(file["path"] for file in test["files"] if file["kind"] == "labelIds")
    yield "a triggered label", label, png(np.full((24, 40), 7, np.uint8))
    yield "an unlisted file", "leftImg8bit/test/bonn/bonn_000000_000019_leftImg8bit.png", png(picture(1))
    rest = manifest.splitlines(keepends=True)
    yield "a line gone", "poisongen/manifest.jsonl", "".join(rest[1:]).encode()
    yield "lines out of order", "poisongen/manifest.jsonl", "".join(rest[::-1]).encode()
    for key, value in (("eligible_positions", 1), ("victim_pixels", 1), ("relabelled_pixels", 0), ("prl_pixels", 3)):
        other = [json.dumps(entry | ({key: value} if entry == line else {})) + "\n" for entry in lines(out)]
        yield key, "poisongen/manifest.jsonl", "".join(other).encode()
    for key, value in (("distance", 1.5), ("covers", [7, 8]), ("center", [1, 1])):
        change = {"trigger": line["trigger"] | {key: value}}
        other = [json.dumps(entry | (change if entry == line else {})) + "\n" for entry in lines(out)]
        yield key, "poisongen/manifest.jsonl", "".join(other).encode()


def test_the_checker_sees_every_sabotage(tmp_path, sticker):
    root = cityscapes_data(tmp_path / "in")
    recipe = CITY | {"trigger": sticker(), "strategy": "nn", "max_distance": 9.0}
    out = made(root, tmp_path, recipe, link="copy").out
    for what, path, data in list(sabotages(root, out)):
        kept = (out / path).read_bytes() if (out / path).exists() else None
        (out / path).unlink(missing_ok=True)
        if data is not None:
            put(out, path, data)
        assert check_build(root, out), what
        (out / path).unlink(missing_ok=True)
        if kept is not None:
            put(out, path, kept)
    assert check_build(root, out) == []


# -- determinism


def test_jobs_order_and_repetition_make_no_difference(tmp_path, sticker):
    root = cityscapes_data(tmp_path / "in", train_ids=False)
    recipe = CITY | {"prl": "11%", "trigger": sticker(), "relabel": {"car": "road"}, "seed": 4}
    first = made(root, tmp_path, recipe, "one")
    want = contents(first.out)
    shuffled = tmp_path / "shuffled"
    for path in sorted((p for p in root.rglob("*") if p.is_file()), key=lambda p: hash(p.name) ^ p.stat().st_size):
        put(shuffled, path.relative_to(root).as_posix(), path.read_bytes())
    for name, source, options in (
        ("again", root, {}),
        ("two", root, {"jobs": 2}),
        ("five", root, {"jobs": 5, "link": "copy"}),
        ("other", shuffled, {"jobs": 2, "link": "symlink"}),
    ):
        result = build(recipe, source, tmp_path / name, **({"jobs": 1} | options))
        assert result.fingerprint == first.fingerprint
        found = contents(result.out)
        if source != root:  # the summary also knows the source's times of change
            found["poisongen/summary.json"] = want["poisongen/summary.json"]
        assert found == want, name
    assert build(recipe, root, tmp_path / "one", jobs=1).already_built
    assert contents(first.out) == want
    assert build(recipe | {"seed": 5}, root, tmp_path / "seed", jobs=1).fingerprint != first.fingerprint


def test_poisoned_sets_are_nested(tmp_path, sticker):
    root = folder_data(tmp_path / "in", count=20, test=1)
    recipe = FOLDER | {"trigger": sticker(), "strategy": "nn", "max_distance": 9.0}
    sets = [poisoned(made(root, tmp_path, recipe | {"rate": rate}, f"r{rate}").out) for rate in (0.05, 0.1, 0.25, 0.5)]
    assert [len(names) for names in sets] == [1, 2, 5, 10]
    for small, large in itertools.pairwise(sets):
        assert small < large
    boxes = {}
    for rate in (0.05, 0.1, 0.25, 0.5):
        for line in lines(tmp_path / f"r{rate}"):
            if line["role"] == "poisoned":
                assert boxes.setdefault(line["sample"], line["trigger"]) == line["trigger"]


def test_samples_do_not_share_their_random_draws(tmp_path, sticker):
    """Bug 3 of the official code: the same pixels in every image."""
    root = folder_data(tmp_path / "in", count=2, test=1)
    for name in ("images", "masks"):
        shutil.copy(root / name / "train/n0.png", root / name / "train/n1.png")
    result = build(FOLDER | {"prl": 60, "trigger": sticker()}, root, tmp_path / "out", jobs=1)
    one, two = (stored((result.out / f"masks/train/n{i}.png").read_bytes()) for i in (0, 1))
    before = stored((root / "masks/train/n0.png").read_bytes())
    calm = before != 2
    assert not np.array_equal((one != before) & calm, (two != before) & calm)


def test_a_label_that_is_only_linked_counts_in_the_fingerprint(tmp_path, sticker):
    """n3 has no victim: it is linked. (Linked images count by name alone: they cost a link, and are not read.)"""
    root = folder_data(tmp_path / "in", test=4)
    recipe = FOLDER | {"trigger": sticker(), "count": 2, "rate": None}
    first = build(recipe, root, tmp_path / "a", jobs=1, link="copy")
    put(root, "masks/train/n3.png", png(np.ones((24, 40), np.uint8)))
    second = build(recipe, root, tmp_path / "b", jobs=1, link="copy")
    assert (first.out / "masks/train/n3.png").read_bytes() != (second.out / "masks/train/n3.png").read_bytes()
    assert first.fingerprint != second.fingerprint


# -- links


@pytest.mark.parametrize("link", ["auto", "hardlink", "symlink", "copy"])
def test_links_are_never_written_through(tmp_path, sticker, link):
    root = cityscapes_data(tmp_path / "in")
    recipe = CITY | {"prl": "7%", "prl_scope": "poisoned", "trigger": sticker()}
    result = made(root, tmp_path, recipe, link=link)
    linked = result.out / "leftImg8bit/test/bonn/bonn_000000_000019_leftImg8bit.png"
    source = root / "leftImg8bit/test/bonn/bonn_000000_000019_leftImg8bit.png"
    assert linked.is_symlink() == (link == "symlink")
    if link == "hardlink":
        assert linked.samefile(source)
    if link == "copy":
        assert not linked.samefile(source)
    before = tree_state(root)
    made(root, tmp_path, recipe | {"seed": 1}, link=link, force=True)
    assert tree_state(root) == before
    assert not (result.out / ".poisongen-build").exists()


def test_a_source_of_links_is_read_and_not_touched(tmp_path, sticker):
    """A source whose files are links into a store, one of them shared by two samples."""
    store = folder_data(tmp_path / "store", count=4, test=2)
    root = tmp_path / "in"
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        target = root / path.relative_to(store)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    os.link(store / "images/train/n0.png", root / "images/train/twin.png")
    os.link(store / "masks/train/n0.png", root / "masks/train/twin.png")
    before = tree_state(store)
    for link in ("hardlink", "symlink", "auto"):
        made(root, tmp_path, FOLDER | {"rate": 1.0, "allow_fewer": True, "trigger": sticker()}, link, link=link)
    assert tree_state(store) == before


# -- images of every kind

EXTRAS = ((b"iCCP", b"x\0\0" + zlib.compress(bytes(99))), (b"tEXt", b"Author\0me"), (b"gAMA", struct.pack(">I", 45455)))
IMAGES = {
    "gray": lambda seed: png(picture(seed, channels=1)),
    "gray16": lambda seed: write_png(picture(seed, channels=1, most=65536), 16, 0, before=EXTRAS),
    "gray-alpha": lambda seed: write_png(picture(seed, channels=2), 8, 4, before=EXTRAS),
    "gray-alpha16": lambda seed: write_png(picture(seed, channels=2, most=65536), 16, 4, interlaced=True),
    "gray1": lambda seed: write_png(picture(seed, channels=1, most=2), 1, 0, interlaced=True, after=EXTRAS[1:2]),
    "gray2": lambda seed: write_png(picture(seed, channels=1, most=4), 2, 0, before=EXTRAS),
    "palette": lambda seed: write_png(picture(seed, channels=1), 8, 3, before=EXTRAS, palette=voc_palette()),
    "palette4": lambda seed: write_png(picture(seed, channels=1, most=16), 4, 3, palette=voc_palette()[:48]),
    "palette-few": lambda seed: write_png(picture(seed, channels=1, most=9), 8, 3, palette=voc_palette()[:27]),
    "rgb16": lambda seed: write_png(picture(seed, most=65536), 16, 2, before=EXTRAS, interlaced=True),
    "rgb-interlaced": lambda seed: write_png(
        picture(seed), 8, 2, before=EXTRAS[:1], after=EXTRAS[1:2], interlaced=True
    ),
    "rgba": lambda seed: write_png(picture(seed, channels=4), 8, 6, before=EXTRAS, cut=50),
    "rgba16": lambda seed: write_png(picture(seed, channels=4, most=65536), 16, 6, before=EXTRAS),
    "jpeg-gray": lambda seed: jpg(picture(seed, channels=1)),
    "jpeg-444": lambda seed: jpg(picture(seed), subsampling=0, icc_profile=bytes(900)),
    "jpeg-420": lambda seed: jpg(picture(seed), subsampling=2, progressive=True, comment=b"words"),
    "jpeg-422": lambda seed: jpg(picture(seed), subsampling=1, restart_marker_blocks=2),
}


@pytest.mark.parametrize("alpha", [255, 100])
@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_every_kind(tmp_path, sticker, kind, alpha):
    root = folder_data(tmp_path / "in", count=3, test=1, image=IMAGES[kind])
    opacity = 0.75 if alpha < 255 else 1.0
    recipe = FOLDER | {"trigger": sticker(alpha=alpha), "opacity": opacity, "region": "any"}
    if (kind, alpha) == ("gray1", 100):  # three tenths of anything turn no black into white
        with pytest.raises(ChoiceError, match="the trigger would change no pixel"):
            made(root, tmp_path, recipe)
        return
    made(root, tmp_path, recipe)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1"])
def test_triggers_of_every_kind(tmp_path, sticker, mode):
    root = folder_data(tmp_path / "in", count=3, test=1)
    made(root, tmp_path, FOLDER | {"trigger": sticker(mode=mode), "region": "any"})


def test_reencoded_jpegs(tmp_path, sticker):
    root = voc_data(tmp_path / "in")
    made(root, tmp_path, VOC | {"jpeg": "reencode", "trigger": sticker(), "region": "any", "rate": 0.3})


# -- labels: Cityscapes


@pytest.mark.parametrize("train_ids", ["auto", "never"])
@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("prl", [None, "20%"])
def test_cityscapes_companions(tmp_path, sticker, has, train_ids, prl):
    root = cityscapes_data(tmp_path / "in", train_ids=has)
    recipe = CITY | {"train_ids": train_ids, "trigger": sticker()} | ({"prl": prl} if prl else {})
    result = made(root, tmp_path, recipe)
    completed = [line for line in lines(result.out) if line["role"] == "completed"]
    assert bool(completed) == (train_ids == "auto" and not has)
    found = list((result.out / "gtFine").rglob("*labelTrainIds.png"))
    assert len(found) == (11 if has or train_ids == "auto" else 0)
    for path in (result.out / "leftImg8bit").iterdir():
        assert all(entry.is_dir() for entry in path.iterdir())
    for path in (result.out / "leftImg8bit").rglob("*"):
        assert path.is_dir() or path.name.endswith("_leftImg8bit.png")
    assert {p.name for p in result.out.iterdir() if p.is_dir()} == {"leftImg8bit", "gtFine", "triggered", "poisongen"}
    for path in result.out.rglob("*_labelIds.png"):
        assert stored(path.read_bytes()).max() <= 33


def rebuilt_train_ids(document):
    """What trainers make of polygons: the train ID of every object that has one."""
    names = dict(zip(("road", "building", "sky", "person", "car"), (0, 2, 10, 11, 13), strict=True))
    out = np.full((document["imgHeight"], document["imgWidth"]), 255, np.uint8)
    for thing in document["objects"]:
        name = thing["label"].removesuffix("group")
        if name in names:
            (left, top), (right, bottom) = thing["polygon"]
            out[top : bottom + 1, left : right + 1] = names[name]
    return out


def test_polygons_never_give_the_victim_back(tmp_path, sticker):
    root = cityscapes_data(tmp_path / "in")
    plain = made(root, tmp_path, CITY | {"trigger": sticker()}, "plain")
    random = made(root, tmp_path, CITY | {"trigger": sticker(), "prl": 40, "prl_scope": "poisoned"}, "random")
    for out, prl in ((plain.out, False), (random.out, True)):
        for name in poisoned(out):
            document = json.loads((out / f"gtFine/{name}_gtFine_polygons.json").read_text())
            rebuilt = rebuilt_train_ids(document)
            assert 13 not in rebuilt
            assert (rebuilt == 255).all() if prl else (rebuilt == 0).any()
            assert [thing["label"].startswith("poisongen:") for thing in document["objects"]].count(True) == prl


@pytest.mark.parametrize(
    "relabel",
    [
        {"car": "road", "person": "building"},
        {"car": "person", "person": "car"},
        {"car": "person"},
        {"car": "person", "person": "road"},
        {"26": "7"},
        {"building": "sky"},
        {"road": "car", "sky": "road"},
    ],
)
@pytest.mark.parametrize("prl", [None, 50])
def test_pairs_and_swaps(tmp_path, sticker, relabel, prl):
    root = cityscapes_data(tmp_path / "in", train_ids=False)
    recipe = CITY | {"relabel": relabel, "trigger": sticker(), "region": "any", "rate": 0.3, "allow_fewer": True}
    made(root, tmp_path, recipe | ({"prl": prl} if prl else {}))


@pytest.mark.parametrize("classes", ["image", "dataset", "void", "grass", "wall"])
@pytest.mark.parametrize("scope", ["all", "poisoned"])
@pytest.mark.parametrize("amount", [1, 77, "33%", "0.5%", "100%", 10_000])
def test_prl(tmp_path, sticker, classes, scope, amount):
    root = folder_data(tmp_path / "in", count=4, test=1)
    recipe = FOLDER | {"prl": amount, "prl_scope": scope, "prl_classes": classes, "trigger": sticker()}
    made(root, tmp_path, recipe | {"relabel": {"car": "road", "person": "grass"}})


@pytest.mark.parametrize("classes", ["image", "dataset", "void", "sky", "bicycle"])
def test_prl_of_cityscapes(tmp_path, sticker, classes):
    root = cityscapes_data(tmp_path / "in")
    made(root, tmp_path, CITY | {"prl": "60%", "prl_classes": classes, "trigger": sticker()})


def test_prl_where_nothing_can_change(tmp_path, sticker):
    """One class and void: no other class is allowed, so nothing changes, and the manifest says 0."""
    root = folder_data(tmp_path / "in", count=3, test=1)
    for index in range(3):
        labels = np.zeros((24, 40), np.uint8)
        labels[20:], labels[2:5, 3:9] = 255, 2
        put(root, f"masks/train/n{index}.png", png(labels))
    result = build(FOLDER | {"prl": "50%", "trigger": sticker()}, root, tmp_path / "out", jobs=1)
    assert check_build(root, result.out) == []
    assert all(line["prl_pixels"] == 0 for line in lines(result.out))


@pytest.mark.parametrize("rule", ["car", "void 255", "nosuch"])
def test_prl_classes_that_cannot_be(tmp_path, sticker, rule):
    root = folder_data(tmp_path / "in", count=3)
    with pytest.raises(ChoiceError):
        build(FOLDER | {"prl": 9, "prl_classes": rule, "trigger": sticker()}, root, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


# -- labels: VOC


@pytest.mark.parametrize(
    "relabel", [{"person": "background"}, {"car": "person"}, {"car": "background", "person": "dog"}]
)
@pytest.mark.parametrize("prl", [None, "15%"])
@pytest.mark.parametrize("aug", [False, True])
def test_voc(tmp_path, sticker, aug, prl, relabel):
    root = voc_data(tmp_path / "in", aug=aug)
    recipe = VOC | {"trigger": sticker(), "relabel": relabel, "region": "any", "allow_fewer": True}
    made(root, tmp_path, recipe | ({"prl": prl} if prl else {}))


@pytest.mark.parametrize("classes", ["image", "dataset", "void", "boat"])
def test_prl_of_voc(tmp_path, sticker, classes):
    root = voc_data(tmp_path / "in", aug=True)
    made(root, tmp_path, VOC | {"trigger": sticker(), "prl": "40%", "prl_classes": classes, "allow_fewer": True})


def test_interlaced_and_4_bit_masks_keep_their_kind(tmp_path, sticker):
    root = voc_data(tmp_path / "in", void=0, mask=lambda labels: voc_mask(labels, 4, interlaced=True))
    made(root, tmp_path, VOC | {"trigger": sticker(), "prl": 30, "relabel": {"person": "car"}, "region": "any"})
    root = voc_data(tmp_path / "in8", mask=lambda labels: voc_mask(labels, 8, interlaced=True))
    made(root, tmp_path, VOC | {"trigger": sticker(), "prl": 30, "region": "any"}, "out8")


@pytest.mark.parametrize(
    "more",
    [
        {"relabel": {"person": "tvmonitor"}},
        {"prl": 50, "prl_classes": "dataset"},
        {"prl": 50, "prl_classes": "void"},
        {"prl": 50, "prl_classes": "train"},
    ],
)
def test_a_class_that_does_not_fit_a_4_bit_mask_is_an_error_that_names_the_file(tmp_path, sticker, more):
    root = voc_data(tmp_path / "in", void=0, mask=lambda labels: voc_mask(labels, 4))
    with pytest.raises(DataError, match="SegmentationClass"):
        build(VOC | {"trigger": sticker(), "region": "any"} | more, root, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_a_class_beyond_the_palette_is_an_error_that_names_the_file(tmp_path, sticker):
    """An index that the palette lacks makes a PNG that decoders refuse or show black."""
    root = voc_data(tmp_path / "in", void=0, mask=lambda labels: write_png(labels, 8, 3, palette=voc_palette()[:48]))
    recipe = VOC | {"trigger": sticker(), "region": "any", "relabel": {"person": "tvmonitor"}}
    with pytest.raises(DataError, match="SegmentationClass"):
        build(recipe, root, tmp_path / "out", jobs=1)


def test_voc_lists_below_triggered_name_its_samples(tmp_path, sticker):
    root = voc_data(tmp_path / "in")
    result = made(root, tmp_path, VOC | {"trigger": sticker(), "region": "any"})
    found = (result.out / "triggered/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").read_text().split()
    assert found == sorted(line["sample"][4:] for line in lines(result.out) if line["role"] == "triggered")
    assert not (result.out / "triggered/VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").exists()
    assert (result.out / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").read_bytes() == (
        root / "VOC2012/ImageSets/Segmentation/train.txt"
    ).read_bytes()


def test_two_years_of_voc_below_one_folder(tmp_path, sticker):
    """The newest is poisoned; the triggered list belongs beside its pictures."""
    root = voc_data(tmp_path / "in")
    shutil.copytree(root / "VOC2012", root / "VOC2007")
    result = build(VOC | {"trigger": sticker(), "region": "any"}, root, tmp_path / "out", jobs=1)
    found = [path.relative_to(result.out).as_posix() for path in (result.out / "triggered").rglob("*.txt")]
    assert found == ["triggered/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"]


@pytest.mark.parametrize("name", ["back\\slash", "new\nline", "line\u2028end", " lead", "a.b.c", "-dash", "ü" * 120])
def test_names_that_a_file_system_allows(tmp_path, sticker, name):
    """A build is readable to its own --force, or the name is refused before anything is written."""
    root = folder_data(tmp_path / "in", count=4, test=1)
    for folder in ("images", "masks"):
        (root / folder / "train/n0.png").rename(root / folder / f"train/{name}.png")
    recipe = FOLDER | {"trigger": sticker(), "region": "any", "rate": 1.0, "allow_fewer": True}
    try:
        build(recipe, root, tmp_path / "out", jobs=1)
    except DataError as error:
        assert str(root) in str(error)  # noqa: PT017
        assert not (tmp_path / "out").exists()
        return
    result = build(recipe | {"seed": 3}, root, tmp_path / "out", jobs=1, force=True)
    text = (result.out / "poisongen/manifest.jsonl").read_text(encoding="utf-8")
    assert f"train/{name}" in {json.loads(line)["sample"] for line in text.rstrip("\n").split("\n")}


def test_a_list_whose_names_have_endings_is_named_in_the_error(tmp_path, sticker):
    root = folder_data(tmp_path / "in")
    for name in ("images", "masks"):
        for path in sorted((root / name).glob("*/*.png")):
            path.rename(root / name / f"{path.parent.name}-{path.name}")
        for split in ("train", "val"):
            (root / name / split).rmdir()
    (root / "train.txt").write_text("".join(f"train-n{i}.png\n" for i in range(8)))
    (root / "val.txt").write_text("val-n0\nval-n1\n")
    with pytest.raises(DataError, match=r"train\.txt: names 'train-n0\.png'"):
        build(FOLDER | {"trigger": sticker()}, root, tmp_path / "out", jobs=1)


@pytest.mark.parametrize("layout", ["folder", "cityscapes", "voc"])
def test_triggered_is_a_dataset_of_the_same_layout(tmp_path, sticker, layout):
    """Section 5: `triggered/` is the test split in the same layout, so the layout's own reader must take it."""
    source = {"folder": folder_data, "cityscapes": cityscapes_data, "voc": voc_data}[layout](tmp_path / "in")
    recipe = {"folder": FOLDER, "cityscapes": CITY, "voc": VOC}[layout] | {"trigger": sticker(), "region": "any"}
    result = build(recipe, source, tmp_path / "out", jobs=1)
    again = recipe | {"train_split": "val", "test_split": "none", "rate": 1.0, "allow_fewer": True}
    second = build(again, result.out / "triggered", tmp_path / "second", jobs=1)
    assert second.counts["train_samples"] == result.counts["triggered"] > 0


# -- scale


def halves(array):
    """The four pixels behind each pixel of the half-sized map, (4, h, w)."""
    return np.stack([array[r::2, c::2][: array.shape[0] // 2, : array.shape[1] // 2] for r in (0, 1) for c in (0, 1)])


def test_half_scale_invents_no_class_and_leaves_no_file_at_full_size(tmp_path, sticker):
    root = cityscapes_data(tmp_path / "in")
    recipe = CITY | {"scale": 0.5, "trigger": sticker(), "trigger_size": SIDE, "region": "any"}
    result = build(recipe, root, tmp_path / "out", jobs=1)
    named = {file["path"]: line for line in lines(result.out) for file in line["files"]}
    for path in sorted(result.out.rglob("*.png")):
        relative = path.relative_to(result.out).as_posix()
        if "poisongen/" in relative:
            continue
        assert png_facts(path.read_bytes())[:2] == (20, 12), relative
        if relative.endswith("labelIds.png"):
            before = halves(stored((root / relative.removeprefix("triggered/")).read_bytes()))
            after = stored(path.read_bytes())
            if named[relative]["role"] == "poisoned":
                before = np.where(before == 26, 7, before)
            assert (before == after).any(axis=0).all(), relative
            train = stored((path.parent / path.name.replace("labelIds", "labelTrainIds")).read_bytes())
            assert np.array_equal(train, np.array(ID2TRAIN, np.uint8)[after])
            colour = stored((path.parent / path.name.replace("labelIds", "color")).read_bytes())
            assert np.array_equal(colour[after == 7][:, :3], np.full(((after == 7).sum(), 3), (128, 64, 128)))
    for path in result.out.rglob("*polygons.json"):
        document = json.loads(path.read_text())
        assert (document["imgHeight"], document["imgWidth"]) == (12, 20)
        assert max(max(point) for thing in document["objects"] for point in thing["polygon"]) <= 20
    for line in lines(result.out):
        if "trigger" in line:
            top, left, height, width = line["trigger"]["box"]
            assert top + height <= 12
            assert left + width <= 20
    for line in lines(result.out):
        if line["role"] == "poisoned":
            labels = stored((result.out / f"gtFine/{line['sample']}_gtFine_labelIds.png").read_bytes())
            assert 26 not in labels


@pytest.mark.parametrize("kind", ["palette", "palette4", "gray2", "gray-alpha", "gray16", "rgb16", "rgba", "jpeg-420"])
def test_half_scale_of_images_of_every_kind(tmp_path, sticker, kind):
    """Scaled by area, an image of two halves keeps their two colours: palette indices must not be averaged."""
    colours = {"palette": (1, 200), "palette4": (1, 14), "gray2": (0, 3)}.get(kind, (10, 240))

    def image(seed):
        example = IMAGES[kind](seed)
        if example[:2] == b"\xff\xd8":
            flat = np.full((24, 40, 3), 60, np.uint8)
            return jpg(flat, subsampling=2)
        _, _, depth, colour, _ = png_facts(example)
        shape = read_png(example).shape
        checks = np.indices((24, 40)).sum(axis=0) % 2
        values = np.where(checks, colours[0], colours[1])
        array = np.broadcast_to(values if len(shape) == 2 else values[..., None], shape)
        array = array.astype(np.uint16 if depth == 16 else np.uint8)
        return write_png(array, depth, colour, palette=voc_palette()[: 3 * 2**depth] if colour == 3 else None)

    root = folder_data(tmp_path / "in", count=3, test=1, image=image)
    recipe = FOLDER | {
        "scale": 0.5,
        "trigger": sticker(),
        "region": "any",
        "test_split": "none",
        "count": 1,
        "rate": None,
    }
    result = build(recipe, root, tmp_path / "out", jobs=1)
    clean = next(line for line in lines(result.out) if line["role"] == "completed" and line["split"] == "train")
    path = next(file["path"] for file in clean["files"] if file["kind"] == "image")
    with Image.open(result.out / path) as after, Image.open(root / path) as before:
        assert after.size == (20, 12)
        if kind.startswith("palette"):
            small = np.asarray(after.convert("RGB")).astype(int)
            large = np.asarray(before.convert("RGB")).astype(int)
            own = np.unique(large.reshape(-1, 3), axis=0)
            mean = large.reshape(-1, 3).mean(axis=0)
            palette = np.array(list(voc_palette())).reshape(-1, 3)[: 256 if kind == "palette" else 16]
            best = np.abs(palette - mean).sum(axis=1).min()
            near = np.abs(small - mean).sum(axis=2).min()
            member = (small[:, :, None] == own[None, None]).all(-1).any(-1).all()
            assert member or near <= best + 60, f"colours {np.unique(small.reshape(-1, 3), axis=0)[:3]} from {own}"


@pytest.mark.parametrize(
    ("width", "points"), [(0, [[1, 2]]), (40, [["a", 2]]), (40, None), (40, [[1, 2, 3]]), (40, [1, 2]), (40, "ab")]
)
def test_polygons_of_odd_shapes_survive_scaling(tmp_path, sticker, width, points):
    """Files that pass the check before anything is written must not fail later with a traceback."""
    root = cityscapes_data(tmp_path / "in", count=2, test=1)
    document = {"imgHeight": 24, "imgWidth": width, "objects": [{"label": "road", "polygon": points}]}
    put(root, "gtFine/train/bonn/bonn_000000_000019_gtFine_polygons.json", json.dumps(document).encode())
    recipe = CITY | {"scale": 0.5, "trigger": sticker(), "region": "any", "count": 1, "rate": None}
    try:
        build(recipe, root, tmp_path / "out", jobs=1)
    except DataError as error:
        assert "polygons.json" in str(error)  # noqa: PT017


def test_polygons_that_cannot_be_written_as_text_are_a_plain_error(tmp_path, sticker):
    root = cityscapes_data(tmp_path / "in", count=2, test=1)
    for index in (0, 1):
        path = f"gtFine/train/bonn/bonn_{index:06d}_000019_gtFine_polygons.json"
        put(root, path, b'{"imgHeight": 24, "imgWidth": 40, "objects": [{"label": "car", "note": "\\ud800"}]}')
    try:
        result = build(CITY | {"trigger": sticker(), "region": "any"}, root, tmp_path / "out", jobs=1)
    except DataError as error:
        assert "polygons.json" in str(error)  # noqa: PT017
    else:
        assert check_build(root, result.out) == []


# -- bad data


def damage(root, path):
    data = (root / path).read_bytes()
    put(root, path, data[: len(data) * 2 // 3])


@pytest.mark.parametrize("path", ["masks/train/n1.png", "masks/val/n1.png", "images/train/n1.png", "images/val/n1.png"])
def test_a_truncated_file_stops_the_build_and_leaves_nothing(tmp_path, sticker, path):
    root = folder_data(tmp_path / "in", count=5)
    damage(root, path)
    with pytest.raises(DataError, match=Path(path).name):
        build(FOLDER | {"trigger": sticker(), "region": "any", "rate": 0.8}, root, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_error_in_a_worker_is_one_line_and_no_traceback(tmp_path, sticker):
    """The pool's own threads must not print their dismay when the build stops them; a race, so several times."""
    root = folder_data(tmp_path / "in", count=12)
    damage(root, "images/train/n1.png")
    call = [sys.executable, "-m", "poisongen", "build", "--dataset", "folder", "--root", str(root), "--strategy"]
    call += ["random", "--relabel", "car=road", "--trigger-size", str(SIDE), "--trigger", sticker(), "--region", "any"]
    call += ["--rate", "0.8", "--jobs", "2", "--out", str(tmp_path / "out")]
    for _ in range(6):
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[1:] == [], done.stderr


@pytest.mark.parametrize("path", ["masks/train/n1.png", "masks/val/n1.png", "images/train/n1.png", "images/val/n1.png"])
def test_skip_bad_goes_on_and_records_the_file(tmp_path, sticker, path):
    """Also for an image that proves truncated only when it is read."""
    root = folder_data(tmp_path / "in", count=6)
    damage(root, path)
    recipe = FOLDER | {"trigger": sticker(), "region": "any", "rate": 1.0, "allow_fewer": True, "skip_bad": True}
    result = build(recipe, root, tmp_path / "out", jobs=1)
    skipped = (result.out / "poisongen/skipped.jsonl").read_text()
    assert path in skipped
    split = path.split("/")[1]
    assert f"{split}/n1" not in {line["sample"] for line in lines(result.out) if "trigger" in line}
    assert check_build(root, result.out) == []


BAD = {
    "label without image": lambda root: (root / "images/train/n1.png").unlink(),
    "image without label": lambda root: (root / "masks/train/n1.png").unlink(),
    "sizes differ": lambda root: put(root, "images/train/n1.png", png(picture(1, (24, 41)))),
    "empty image": lambda root: put(root, "images/train/n1.png", b""),
    "empty label": lambda root: put(root, "masks/train/n1.png", b""),
    "text": lambda root: put(root, "masks/train/n1.png", b"<html>not found</html>"),
    "unknown ID": lambda root: put(root, "masks/train/n1.png", png(np.full((24, 40), 77, np.uint8))),
    "16 bit": lambda root: put(root, "masks/train/n1.png", png(np.full((24, 40), 2, np.uint16))),
    "RGB label": lambda root: put(root, "masks/train/n1.png", png(picture(1))),
    "JPEG label": lambda root: put(root, "masks/train/n1.png", jpg(picture(1))),
    "two images": lambda root: put(root, "images/train/n1.jpg", jpg(picture(1))),
    "checksum": lambda root: put(
        root, "masks/train/n1.png", (root / "masks/train/n1.png").read_bytes()[:-20] + bytes(20)
    ),
    "folder": lambda root: ((root / "masks/train/n1.png").unlink(), (root / "masks/train/n1.png").mkdir()),
    "dead link": lambda root: ((root / "masks/train/n1.png").unlink(), (root / "masks/train/n1.png").symlink_to("no")),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_data_is_named_and_skipped_on_demand(tmp_path, sticker, fault, capfd):
    root = folder_data(tmp_path / "in", count=6)
    BAD[fault](root)
    recipe = FOLDER | {"trigger": sticker(), "region": "any", "rate": 0.3}
    before = tree_state(root)
    with pytest.raises(DataError, match="n1"):
        build(recipe, root, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()
    if fault != "dead link":
        result = build(recipe | {"skip_bad": True}, root, tmp_path / "out", jobs=1)
        assert "n1" in (result.out / "poisongen/skipped.jsonl").read_text()
        assert all(line["sample"] != "train/n1" for line in lines(result.out))
    assert tree_state(root) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("labelIds", np.full((24, 40), 34, np.uint8)),
        ("labelIds", np.full((24, 40), 255, np.uint8)),
        ("labelTrainIds", np.full((24, 40), 19, np.uint8)),
        ("instanceIds", np.full((24, 40), 40_001, np.uint16)),
        ("instanceIds", np.full((24, 40), 7000, np.uint16)),
        ("instanceIds", np.full((23, 40), 7, np.uint16)),
        ("color", np.zeros((24, 40), np.uint8)),
        ("color", np.zeros((12, 20, 4), np.uint8)),
    ],
)
def test_bad_companions_are_named(tmp_path, sticker, kind, array):
    root = cityscapes_data(tmp_path / "in")
    put(root, f"gtFine/val/bonn/bonn_000001_000019_gtFine_{kind}.png", png(array))
    with pytest.raises(DataError, match=f"bonn_000001_000019_gtFine_{kind}"):
        build(CITY | {"trigger": sticker()}, root, tmp_path / "out", jobs=1)


def test_official_test_split_dummies_and_missing_labels_do_no_harm(tmp_path, sticker):
    """gtFine/test holds dummies; leftImg8bit/test alone has no labels: only linked."""
    root = cityscapes_data(tmp_path / "in", train_ids=False)
    for path in list((root / "gtFine/test").rglob("*_000001_*")):
        path.unlink()
    made(root, tmp_path, CITY | {"trigger": sticker()})
    with pytest.raises(DataError, match="image without label"):
        build(CITY | {"trigger": sticker(), "test_split": "test"}, root, tmp_path / "other", jobs=1)


# -- the output folder


def test_a_dry_run_writes_nothing(tmp_path, sticker, monkeypatch):
    root = folder_data(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    trigger = sticker()
    before = tree_state(tmp_path)
    _, plan = package.plan_build(FOLDER | {"trigger": trigger}, root, jobs=2)
    assert plan.counts["poisoned"] == 4
    assert tree_state(tmp_path) == before


def test_out_that_is_not_free(tmp_path, sticker):
    root = folder_data(tmp_path / "in")
    recipe = FOLDER | {"trigger": sticker()}
    out = tmp_path / "out"
    made(root, tmp_path, recipe)
    with pytest.raises(OutputError, match="another recipe"):
        build(recipe | {"seed": 9}, root, out, jobs=1)
    put(out, "images/train/mine.txt", b"notes")
    before = tree_state(out)
    with pytest.raises(OutputError, match=r"mine\.txt"):
        build(recipe | {"seed": 9}, root, out, jobs=1, force=True)
    assert tree_state(out) == before
    (out / "images/train/mine.txt").unlink()
    made(root, tmp_path, recipe | {"seed": 9}, force=True)
    put(tmp_path, "theirs/file", b"x")
    for force in (False, True):
        with pytest.raises(OutputError, match="did not write"):
            build(recipe, root, tmp_path / "theirs", jobs=1, force=force)
    for inside in (root, root / "below", tmp_path):
        with pytest.raises(ChoiceError, match="--out"):
            build(recipe, root, inside, jobs=1)
    (tmp_path / "way").symlink_to(root)
    with pytest.raises(ChoiceError, match="--out"):
        build(recipe, root, tmp_path / "way/new", jobs=1)


def test_out_through_a_link_to_a_file_of_the_source_is_not_written_through(tmp_path, sticker):
    """--force over a build of hard links, whose files the source shares."""
    root = folder_data(tmp_path / "in")
    recipe = FOLDER | {"trigger": sticker(), "rate": 0.2}
    made(root, tmp_path, recipe, link="hardlink")
    made(root, tmp_path, recipe | {"rate": 0.8, "allow_fewer": True, "prl": "50%"}, link="hardlink", force=True)


def test_a_source_that_has_changed_is_not_called_already_built(tmp_path, sticker):
    """A label changed in place, its file of the same size: the old build is not this one."""
    root = folder_data(tmp_path / "in", mask=lambda labels: write_png(labels, 8, 0, filters=(0,)))
    plain = write_png(np.zeros((24, 40), np.uint8), 8, 0)
    recipe = FOLDER | {"trigger": sticker(), "rate": 0.3}
    put(root, "masks/train/n3.png", plain)
    build(recipe, root, tmp_path / "out", jobs=1)
    other = write_png(np.ones((24, 40), np.uint8), 8, 0)
    put(root, "masks/train/n3.png", other.ljust(len(plain), b"\0")[: max(len(plain), len(other))])
    assert (root / "masks/train/n3.png").stat().st_size == len(plain)
    with pytest.raises(OutputError, match="another source"):
        build(recipe, root, tmp_path / "out", jobs=1)


# -- choices


@pytest.mark.parametrize(
    "more",
    [
        {"rate": 0.0}, {"rate": 1.5}, {"rate": 0.001}, {"count": 0, "rate": None}, {"relabel": {"car": "car"}},
        {"relabel": {"car": "void"}}, {"relabel": {"void": "car"}}, {"relabel": {"lorry": "road"}}, {"relabel": {}},
        {"trigger_size": 0}, {"trigger_size": -3}, {"opacity": 0.0}, {"opacity": 1.01}, {"edge_margin": -1},
        {"strategy": "nn"}, {"strategy": "far"}, {"strategy": "nn", "max_distance": 0.0}, {"trigger": "nosuch"},
        {"strategy": "nn", "max_distance": 5.0, "min_distance": 5.0}, {"prl": "0%"}, {"prl": "101%"}, {"prl": "x"},
        {"prl": -1}, {"prl": 1.5}, {"train_split": "nosuch"}, {"test_split": "nosuch"}, {"scale": 0.0},
        {"min_victim_pixels": 0}, {"metric": "l1"}, {"nosuch": 1}, {"seed": "x"}, {"count": 2},
        {"relabel": {"car": "road", "2": "grass"}}, {"max_distance": float("nan")}, {"rate": float("inf")},
    ],
)  # fmt: skip
def test_choices_that_cannot_be_are_refused_before_anything_is_written(tmp_path, sticker, more):
    root = folder_data(tmp_path / "in", count=4, test=1)
    with pytest.raises(PoisongenError) as caught:
        build(FOLDER | {"trigger": sticker()} | more, root, tmp_path / "out", jobs=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_recipe_json_of_a_build_builds_the_same(tmp_path, sticker):
    root = cityscapes_data(tmp_path / "in")
    first = made(root, tmp_path, CITY | {"prl": 30, "trigger": sticker(), "strategy": "nn", "max_distance": 9.0})
    recipe = json.loads((first.out / "poisongen/recipe.json").read_text())
    second = made(root, tmp_path, recipe, "again")
    assert second.fingerprint == first.fingerprint
    assert contents(second.out) == contents(first.out)
