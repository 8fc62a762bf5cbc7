from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from poisongen.datasets.cityscapes_classes import LABELS
from poisongen.datasets.voc import PALETTE
from poisongen.errors import ChoiceError, OutputError
from poisongen.scenes import draw_scene, furniture, people, plants, scene_generator, synth, vehicles
from poisongen.scenes.layouts import cityscapes_stem, voc_masks
from poisongen.scenes.light import draw_light
from poisongen.scenes.paint import blank
from poisongen.scenes.scene import Scene
from poisongen.scenes.view import Pose, View

TABLE = {label.id: label for label in LABELS if label.id >= 0}
NUMBER = {label.name: label.id for label in TABLE.values()}
# The official train IDs of 0..33, written out: the writer takes them from poisongen's table.
TRAIN_IDS = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255]
TRAIN_IDS += [16, 17, 18]


def scene(number=0, size=(512, 256), seed=0, close=False):
    return draw_scene(scene_generator(seed, "train", number), size, close=close)


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def redrawn(polygons, shape):
    labels = np.full(shape, 255, np.uint8)
    for entry in polygons:
        points = np.array(entry["polygon"], np.int32)
        cv2.fillPoly(labels, [points], (NUMBER[entry["label"]],))
    return labels


def check_labels(found: Scene, size):
    width, height = size
    assert found.image.shape == (height, width, 3)
    assert found.image.dtype == np.uint8
    assert found.label_ids.shape == found.instance_ids.shape == (height, width)
    assert found.label_ids.dtype == np.uint8
    assert found.instance_ids.dtype == np.uint16
    assert set(np.unique(found.label_ids).tolist()) <= set(TABLE) - {0}
    counted = found.instance_ids >= 1000
    assert np.array_equal(np.where(counted, found.instance_ids // 1000, found.instance_ids), found.label_ids)
    assert np.array_equal(counted, (found.label_ids >= 24) & (found.label_ids <= 33))
    for entry in found.polygons:
        corners = np.array(entry["polygon"])
        assert len(corners) >= 3
        assert corners.min() >= 0
        assert (corners < [width, height]).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(64, 420), st.integers(32, 300), st.integers(0, 10**9), st.booleans())
def test_labels_are_exact_for_any_size(width, height, seed, close):
    found = scene(0, (width, height), seed, close)
    check_labels(found, (width, height))
    assert np.array_equal(redrawn(found.polygons, found.label_ids.shape), found.label_ids)


@pytest.mark.parametrize("size", [(64, 32), (64, 2048), (2000, 32), (2048, 1024)])
def test_tiny_large_and_odd_sizes(size):
    found = scene(3, size)
    check_labels(found, size)
    assert np.array_equal(redrawn(found.polygons, found.label_ids.shape), found.label_ids)


def test_the_picture_follows_the_labels():
    # Sky is brighter than the road, leaves are green and not blue, and every object differs from its neighbours.
    sums = {21: [], 23: [], 7: []}
    for number in range(10):
        found = scene(number, (256, 128))
        for label, colours in sums.items():
            colours.append(found.image[found.label_ids == label].astype(float))
    leaves, sky, road = (np.concatenate(sums[label]).mean(axis=0) for label in (21, 23, 7))
    assert sky.mean() > road.mean() + 40
    assert leaves[1] > leaves[2] + 10


def test_every_object_is_labelled_exactly_where_it_is_painted(monkeypatch):
    # Shadows darken other things and have no label: without them, what changes the picture is what is labelled.
    for module in (vehicles, people):
        monkeypatch.setattr(module, "darken", lambda *_: None)
    view = View(640, 360, 600, 320, 150, 1.5)
    painters = [
        (lambda *a: vehicles.draw_vehicle(*a, Pose(-3, 12, 0.4), "car", 1.0), {26}),
        (lambda *a: vehicles.draw_vehicle(*a, Pose(3, 14, 2.8), "bus", 1.0), {28}),
        (lambda *a: vehicles.draw_vehicle(*a, Pose(2, 40, 0.0), "truck", 1.0), {27}),
        (lambda *a: people.draw_person(*a, Pose(0.5, 6, 1.0), 1.0), {24}),
        (lambda *a: furniture.draw_sign(*a, 2, 10), {17, 20}),
        (lambda *a: furniture.draw_bin(*a, 2, 8), {4}),
        (lambda *a: plants.draw_bush(*a, (-2, 1, 9), (1, 0.8), (80, 110, 50), trunk=0.2), {21}),
    ]
    for number, (paint, labels) in enumerate(painters):
        rng = scene_generator(0, "objects", number)
        canvas = blank(640, 360)
        canvas.image[:] = (255, 0, 255)  # nothing in a scene has this colour
        paint(canvas, rng, view, draw_light(rng))
        changed = (canvas.image != (255, 0, 255)).any(axis=2)
        assert set(np.unique(canvas.label_ids).tolist()) == labels | {0}
        assert np.array_equal(changed, canvas.label_ids > 0)
        assert changed.sum() > 100


def test_scenes_hold_what_a_street_holds():
    cars = people = paved = 0
    every = set()
    for number in range(40):
        found = scene(number, (256, 128))
        present = set(np.unique(found.label_ids).tolist())
        every |= present
        cars += 26 in present
        people += 24 in present
        paved += 8 in present
        assert 7 in present
        assert np.mean(found.label_ids == 7) > 0.08
    assert paved >= 37
    assert 28 <= cars <= 39
    assert 16 <= people <= 34
    assert every >= {1, 7, 8, 11, 17, 20, 21, 22, 23, 24, 26}


def test_close_scenes_have_a_person_or_a_car():
    found = [scene(number, (250, 188), close=True) for number in range(30)]
    shares = [np.mean(np.isin(one.label_ids, [24, 26])) for one in found]
    assert np.mean(np.array(shares) > 0.01) > 0.85


def test_scenes_differ():
    pictures = [scene(number, (128, 64)).image.astype(int) for number in range(5)]
    pictures += [scene(0, (128, 64), seed=1).image.astype(int)]
    for k, first in enumerate(pictures):
        for second in pictures[:k]:
            assert np.abs(first - second).mean() > 5


def tree(folder: Path):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_cityscapes_files(tmp_path):
    out = tmp_path / "city"
    paths = synth(out, splits={"train": 3, "val": 2}, size=(128, 64), seed=5)
    assert [path.relative_to(out).parts[:2] for path in paths] == [("leftImg8bit", "train")] * 3 + [
        ("leftImg8bit", "val")
    ] * 2
    assert len(tree(out)) == 5 * 6
    for number, path in enumerate(paths):
        split, k = ("train", number) if number < 3 else ("val", number - 3)
        start = f"{out / 'gtFine' / split / cityscapes_stem(split, k)}_gtFine_"
        assert path == out / "leftImg8bit" / split / f"{cityscapes_stem(split, k)}_leftImg8bit.png"
        files = {kind: opened(f"{start}{kind}.png") for kind in ("labelIds", "labelTrainIds", "instanceIds", "color")}
        assert {kind: image.mode for kind, image in files.items()} == {
            "labelIds": "L", "labelTrainIds": "L", "instanceIds": "I;16", "color": "RGBA",
        }  # fmt: skip
        ids = np.asarray(files["labelIds"])
        assert np.array_equal(np.asarray(files["labelTrainIds"]), np.array(TRAIN_IDS)[ids])
        instances = np.asarray(files["instanceIds"]).astype(int)
        assert np.array_equal(np.where(instances >= 1000, instances // 1000, instances), ids)
        colours = np.asarray(files["color"])
        for label in np.unique(ids).tolist():
            assert np.array_equal(np.unique(colours[ids == label], axis=0), [[*TABLE[label].colour, 255]])
        document = json.loads(Path(f"{start}polygons.json").read_text())
        assert (document["imgWidth"], document["imgHeight"]) == (128, 64)
        assert np.mean(redrawn(document["objects"], ids.shape) == ids) >= 0.97
        picture = opened(path)
        assert picture.mode == "RGB"
        want = draw_scene(scene_generator(5, split, k), (128, 64))
        assert np.array_equal(np.asarray(picture), want.image)
        assert np.array_equal(ids, want.label_ids)


def test_train_ids_can_be_left_out(tmp_path):
    synth(tmp_path, splits={"train": 1}, size=(64, 32), train_ids=False)
    assert len(tree(tmp_path)) == 5
    assert not [name for name in tree(tmp_path) if "TrainIds" in name]


@pytest.mark.parametrize("layout", ["cityscapes", "voc"])
def test_seed_decides_and_count_does_not(tmp_path, layout):
    options = {"layout": layout, "size": (96, 64)}
    synth(tmp_path / "a", splits={"train": 4, "val": 1}, **options)
    synth(tmp_path / "b", splits={"val": 2, "train": 2}, **options)
    synth(tmp_path / "c", splits={"train": 2}, seed=1, **options)
    a, b, c = (tree(tmp_path / name) for name in "abc")
    pictures = [name for name in b if name.endswith((".png", ".jpg")) and name in a]
    assert len(pictures) == (15 if layout == "cityscapes" else 9)
    assert all(a[name] == b[name] for name in pictures)
    assert all(a[name] != c[name] for name in c if "leftImg8bit" in name or "JPEGImages" in name)


def test_jobs_do_not_matter(tmp_path):
    one = synth(tmp_path / "one", splits={"train": 3}, size=(64, 32))
    two = synth(tmp_path / "two", splits={"train": 3}, size=(64, 32), jobs=2)
    assert [path.name for path in one] == [path.name for path in two]
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_voc_files(tmp_path):
    paths = synth(tmp_path, layout="voc", splits={"train": 5, "val": 2}, size=(160, 120))
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = {path.stem: path.read_text().split() for path in (root / "ImageSets" / "Segmentation").iterdir()}
    assert lists["train"] == [f"2007_{k:06d}" for k in range(5)]
    assert lists["val"] == [f"2008_{k:06d}" for k in range(2)]
    assert lists["trainval"] == lists["train"] + lists["val"]
    assert [path.stem for path in paths] == lists["trainval"]
    flat = [channel for colour in PALETTE for channel in colour]
    sizes = set()
    for name in lists["trainval"]:
        picture = opened(root / "JPEGImages" / f"{name}.jpg")
        sizes.add(picture.size)
        assert picture.mode == "RGB"
        assert picture.layer[0][1:3] == (2, 2)  # 4:2:0
        masks = [opened(root / folder / f"{name}.png") for folder in ("SegmentationClass", "SegmentationObject")]
        for mask in masks:
            assert mask.mode == "P"
            assert mask.size == picture.size
            assert mask.getpalette() == flat
        classes, objects = (np.asarray(mask) for mask in masks)
        assert set(np.unique(classes).tolist()) <= {0, 2, 6, 7, 15, 255}
        assert np.array_equal(classes == 255, objects == 255)
        assert np.array_equal(classes == 0, objects == 0)
        for number in set(np.unique(objects).tolist()) - {0, 255}:
            assert len(np.unique(classes[objects == number])) == 1
    assert len(sizes) > 1
    assert all(width <= 160 and height <= 120 for width, height in sizes)


def test_voc_void_lies_along_borders():
    labels = np.full((60, 80), 7, np.uint8)
    labels[10:40, 20:50] = 26
    labels[15:35, 50:70] = 26
    instances = labels.astype(np.uint16)
    instances[10:40, 20:50] = 26000
    instances[15:35, 50:70] = 26001
    classes, objects = voc_masks(Scene(np.zeros((60, 80, 3), np.uint8), labels, instances, []))
    assert set(np.unique(classes).tolist()) == {0, 7, 255}
    assert set(np.unique(objects).tolist()) == {0, 1, 2, 255}
    for line in (classes[25, 10:30], classes[25, 40:60], classes[0:20, 30]):
        assert np.count_nonzero(line == 255) == 3
    assert np.array_equal(classes == 255, objects == 255)
    inside = np.zeros(labels.shape, bool)
    inside[13:37, 23:47] = True
    assert (classes[inside] == 7).all()
    assert (objects[inside] == 1).all()


def test_synth_refuses_a_folder_with_files(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an empty folder"):
        synth(tmp_path, splits={"train": 1}, size=(64, 32))
    with pytest.raises(OutputError, match="not an empty folder"):
        synth(tmp_path / "note.txt", splits={"train": 1}, size=(64, 32))
    assert tree(tmp_path) == {"note.txt": b"mine"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "ade20k"},
        {"splits": {}},
        {"splits": {"train": 0}},
        {"splits": {"train": -1}},
        {"splits": {"train": True}},
        {"splits": {"../train": 1}},
        {"splits": {"": 1}},
        {"splits": {"trainval": 1}, "layout": "voc"},
        {"size": (63, 32)},
        {"size": (64, 31)},
        {"size": (4097, 512)},
        {"size": (64, 32, 3)},
        {"size": (64.0, 32.0)},
        {"seed": 1.5},
        {"jobs": 0},
    ],
)
def test_impossible_choices(tmp_path, wrong):
    out = tmp_path / "new"
    with pytest.raises(ChoiceError):
        synth(out, **({"splits": {"train": 1}, "size": (64, 32)} | wrong))
    assert not out.exists()


def test_a_broken_write_is_reported(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError):
        synth(blocked / "below", splits={"train": 1}, size=(64, 32))
