"""What would be learned in silence: labels that nobody rewrites, pictures that readers turn, splits that overlap."""

from __future__ import annotations

import io
import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from poisongen.files.orientation import as_stored, orientation, stored_box, upright
from tests.conftest import SMALL_CITYSCAPES, manifest, summary

ROAD, SKY, CAR = 0, 1, 2
SMALL_VOC = ("--dataset", "voc", "--strategy", "nn", "--trigger-size", 9, "--count", 2)
FOLDER = ("--dataset", "folder", "--strategy", "nn", "--victim", "car", "--target", "road", "--trigger-size", 7)
FOLDER += ("--max-distance", 30, "--trigger", "checkerboard")


def write_folder(root, turn=1, form="PNG", upright_masks=True, size=(40, 64), where="exif"):
    """A dataset of two splits whose images are stored turned: their upright pictures fit the masks, or do not."""
    (root / "classes.yaml").parent.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text("classes: {0: road, 1: sky, 2: car}\nvoid: [255]\n")
    generator = np.random.default_rng(5)
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            labels = np.full(size, ROAD, np.uint8)
            labels[:12] = SKY
            labels[24:32, 8 + 6 * number : 24 + 6 * number] = CAR
            noise = generator.integers(0, 60, (*size, 3))
            image = (np.array([90, 160, 210])[labels][..., None] // 2 + noise).astype(np.uint8)
            stored = np.ascontiguousarray(as_stored(image, turn))
            tags = Image.Exif()
            tags[0x0112] = turn
            for folder in ("images", "masks"):
                (root / folder / split).mkdir(parents=True, exist_ok=True)
            end = {"PNG": "png", "JPEG": "jpg"}[form]
            extra = {"quality": 98, "subsampling": 0} if form == "JPEG" else {}
            Image.fromarray(stored).save(root / "images" / split / f"a{number}.{end}", form, exif=tags, **extra)
            mask = labels if upright_masks else np.ascontiguousarray(as_stored(labels, turn))
            Image.fromarray(mask).save(root / "masks" / split / f"a{number}.png")
    return root


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_orientation_is_what_readers_make_of_it(turn, form):
    pixels = np.random.default_rng(turn).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    tags, stream = Image.Exif(), io.BytesIO()
    tags[0x0112] = turn
    Image.fromarray(pixels).save(stream, form, exif=tags)
    data = stream.getvalue()
    assert orientation(data) == turn
    stored = np.asarray(Image.open(io.BytesIO(data)))
    seen = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(upright(stored, turn), seen)
    assert np.array_equal(as_stored(seen, turn), stored)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == seen.shape
    top, left, tall, wide = stored_box((3, 5, 7, 4), turn, *seen.shape[:2])
    assert np.array_equal(upright(stored[top : top + tall, left : left + wide], turn), seen[3:10, 5:9])


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("scale", [1, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_recorded_box_is_where_a_reader_sees_the_trigger(turn, form, scale, poisongen, tmp_path):
    root = write_folder(tmp_path / "root", turn, form)
    result = poisongen("build", *FOLDER, "--rate", 1, "--root", root, "--out", "out", "--scale", scale, "--jobs", 1)
    assert result.code == 0, result.err
    for record in manifest(tmp_path / "out"):
        if record["role"] == "completed":  # scaled, and nothing else
            continue
        image = record["files"][0]
        before, after = (cv2.imread(str(path)) for path in (root / image["source"], tmp_path / "out" / image["path"]))
        if scale != 1:
            assert after.shape[:2] == (20, 32)
        top, left, height, width = record["trigger"]["box"]
        if scale == 1:
            differs = (np.abs(before.astype(int) - after) > 24).any(axis=2)
            inside = differs[top : top + height, left : left + width]
            assert inside.mean() > 0.8
            around = 8 if form == "JPEG" else 0  # a JPEG changes whole blocks
            differs[max(0, top - around) : top + height + around, max(0, left - around) : left + width + around] = False
            assert not differs.any()
        labels = np.asarray(Image.open(tmp_path / "out" / record["files"][1]["path"]))
        assert labels.shape == after.shape[:2]
        assert (record["role"] == "triggered") == bool((labels == CAR).any())
        assert record["trigger"].get("orientation", 1) == turn
        if turn == 1:
            assert "stored_box" not in record["trigger"]
        else:
            wanted = stored_box((top, left, height, width), turn, *labels.shape)
            assert tuple(record["trigger"]["stored_box"]) == wanted
    audited = poisongen("audit", "out", "--source", root)
    assert audited.code == 0, audited.out
    assert poisongen("audit", "out").code == 0
    sheet = poisongen("preview", *FOLDER, "--rate", 1, "--root", root, "--out", "sheet.png", "--scale", scale)
    assert sheet.code == 0, sheet.err


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_masks_of_the_stored_picture_are_refused_with_the_way_out(turn, form, poisongen, tmp_path):
    root = write_folder(tmp_path / "root", turn, form, upright_masks=False)
    result = poisongen("build", *FOLDER, "--root", root, "--out", "out", "--rate", 1)
    assert result.code == 2
    assert f"EXIF orientation {turn}" in result.err
    assert "exiftool" in result.err
    assert "images/" in result.err
    assert not (tmp_path / "out").exists()


def _copy_as_array(root, kind):
    """Put a copy of each mask beside it, as `kind` says."""
    for mask in (root / "masks").rglob("*.png"):
        labels = np.asarray(Image.open(mask))
        place = mask.parents[2] / kind["folder"].format(split=mask.parent.name)
        place.mkdir(parents=True, exist_ok=True)
        kind["write"](labels, place, mask.stem)


def _png(name):
    return lambda labels, place, stem: Image.fromarray(labels).save(place / name.format(stem))


LIKE = {
    "arrays": {
        "folder": "arrays/{split}",
        "write": lambda labels, place, stem: np.save(place / f"{stem}.npy", labels),
    },
    "arrays beside images": {
        "folder": "images/{split}",
        "write": lambda labels, place, stem: np.save(place / f"{stem}_mask.npy", labels),
    },
    "raw": {"folder": "SegmentationClassRaw", "write": _png("{}.png")},
    "another encoding": {"folder": "more/{split}", "write": _png("{}_labelTrainIds.png")},
    "colours without a word": {
        "folder": "colour/{split}",
        "write": lambda labels, place, stem: Image.fromarray(
            np.array([(9, 8, 7), (60, 5, 4), (3, 2, 1)], np.uint8)[np.minimum(labels, 2)]
        ).save(place / f"{stem}.png"),
    },
    "tiff": {"folder": "annotations", "write": _png("{}.tif")},
    "polygons of labelme": {
        "folder": "images/{split}",
        "write": lambda labels, place, stem: (place / f"{stem}.json").write_text('{"version": 5, "shapes": []}'),
    },
    "outlines of yolo": {
        "folder": "labels/{split}",
        "write": lambda labels, place, stem: (place / f"{stem}.txt").write_text("2 0.1 0.1 0.2 0.2 0.3 0.1\n"),
    },
    "matlab": {"folder": "GT", "write": lambda labels, place, stem: (place / f"{stem}.mat").write_bytes(b"MATLAB")},
}

UNLIKE = {
    "smaller photographs": {
        "folder": "small/{split}",
        "write": lambda labels, place, stem: Image.fromarray(
            np.random.default_rng(1).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
        ).save(place / f"{stem}.png"),
    },
    "thumbnails": {"folder": "thumbs", "write": _png("{}.png")},
    "captions": {
        "folder": "text",
        "write": lambda labels, place, stem: (place / f"{stem}.txt").write_text("a street"),
    },
    "camera": {
        "folder": "meta",
        "write": lambda labels, place, stem: (place / f"{stem}.json").write_text('{"focal": 2262}'),
    },
    "depth": {"folder": "depth/{split}", "write": _png("{}.png")},
}


@pytest.mark.parametrize("name", LIKE)
def test_label_like_files_are_named(name, poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    _copy_as_array(root, LIKE[name])
    options = (*FOLDER, "--root", root, "--out", "out", "--count", 2)
    dry = poisongen("build", *options, "--dry-run")
    assert "2 label-like files of poisoned samples are left out: " in dry.out
    assert len(json.loads(poisongen("build", *options, "--dry-run", "--json").out)["label_like"]) == 2
    for more in ((), ("--dry-run",)):
        strict = poisongen("build", *options, "--strict", *more)
        assert strict.code == 2
        assert "--strict: 2 label-like files" in strict.err
    assert not (tmp_path / "out").exists()
    built = poisongen("build", *options)
    assert built.code == 0
    assert built.out.count("label-like files of poisoned samples are left out: ") == 1
    assert summary(tmp_path / "out")["counts"]["label_like"] == 2
    again = poisongen("build", *options)
    assert "already built" in again.out
    assert "2 label-like files" in again.out
    assert poisongen("build", *options, "--strict").code == 2
    for more in ((), ("--source", root)):
        audited = poisongen("audit", "out", *more)
        assert audited.code == 0, audited.out
        assert "2 label-like files of poisoned samples are left out: " in audited.out


@pytest.mark.parametrize("name", UNLIKE)
def test_other_companions_are_not(name, poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    _copy_as_array(root, UNLIKE[name])
    result = poisongen("build", *FOLDER, "--root", root, "--out", "out", "--rate", 1, "--strict")
    assert result.code == 0, result.err
    assert "label-like" not in result.out
    assert summary(tmp_path / "out")["counts"]["label_like"] == 0


def _from(root, pattern, name):
    """Copy each file of a pattern to a name made from it."""
    for path in sorted(root.rglob(pattern)):
        place = root / name(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


CITYSCAPES_LIKE = {
    "instanceTrainIds": lambda root: _from(
        root,
        "*_gtFine_instanceIds.png",
        lambda path: path.with_name(path.name.replace("instanceIds", "instanceTrainIds")),
    ),
    "coarse": lambda root: _from(
        root,
        "*_gtFine_labelIds.png",
        lambda path: str(path.relative_to(root)).replace("gtFine", "gtCoarse"),
    ),
    "panoptic": lambda root: _from(
        root,
        "*_gtFine_color.png",
        lambda path: f"gtFine/cityscapes_panoptic_{path.parts[-3]}/{path.name.replace('color', 'panoptic')}",
    ),
}


@pytest.mark.parametrize("name", CITYSCAPES_LIKE)
def test_what_preparation_scripts_leave_is_named(name, cityscapes, poisongen, tmp_path):
    CITYSCAPES_LIKE[name](cityscapes)
    result = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out", "--count", 3)
    assert result.code == 0, result.err
    assert "3 label-like files of poisoned samples" in result.out
    assert poisongen("audit", "out").code == 0


def test_documents_and_archives_of_many_samples_are_named(cityscapes, poisongen, tmp_path):
    for package in ("camera", "disparity", "rightImg8bit"):
        end = "json" if package == "camera" else "png"
        _from(
            cityscapes,
            "*_leftImg8bit.png",
            lambda path, package=package, end=end: "/".join(
                (package, *path.parts[-3:-1], path.name.replace("leftImg8bit.png", f"{package}.{end}"))
            ),
        )
    clean = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--dry-run", "--json")
    assert json.loads(clean.out)["label_like"] == []
    names = [path.name.removesuffix("_leftImg8bit.png") for path in cityscapes.glob("leftImg8bit/train/*/*.png")]
    entries = [{"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": []} for name in names]
    (cityscapes / "gtFine/cityscapes_panoptic_train.json").write_text(json.dumps({"annotations": entries}))
    (cityscapes / "gtFine/cityscapes_panoptic_val.json").write_text('{"annotations": [{"image_id": "nobody"}]}')
    (cityscapes / "gtFine_trainvaltest.zip").write_bytes(b"PK")
    dry = json.loads(poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--dry-run", "--json").out)
    assert dry["label_like"] == ["gtFine/cityscapes_panoptic_train.json", "gtFine_trainvaltest.zip"]


def test_raw_masks_of_voc_are_named_and_boxes_are_not(voc, poisongen, tmp_path):
    base = voc / "VOC2012"
    _from(voc, "SegmentationClass/*.png", lambda path: base / "SegmentationClassRaw" / path.name)
    _from(voc, "JPEGImages/*.jpg", lambda path: base / "Annotations" / f"{path.stem}.xml")
    result = poisongen("build", *SMALL_VOC, "--root", voc, "--out", "out")
    assert result.code == 0, result.err
    assert "2 label-like files of poisoned samples" in result.out
    assert "SegmentationClassRaw" in result.out


@pytest.mark.parametrize(
    ("train", "test", "shared"), [("trainval", "val", 5), ("train", "train", 10), ("train", "trainval", 10)]
)
def test_splits_that_share_samples_are_refused(train, test, shared, voc, poisongen, tmp_path):
    lists = voc / "VOC2012/ImageSets/Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    options = ("--train-split", train, "--test-split", test)
    for more in ((), ("--dry-run",)):
        result = poisongen("build", *SMALL_VOC, "--root", voc, "--out", "out", *options, *more)
        assert result.code == 2
        assert f"share {shared} images" in result.err
        assert "--test-split" in result.err
        assert result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    fine = poisongen("build", *SMALL_VOC, "--root", voc, "--out", "out", "--train-split", train, "--test-split", "none")
    assert fine.code == 0, fine.err


def test_victim_and_target_are_told_with_id_name_and_pixels(cityscapes, poisongen, tmp_path):
    pixels = {7: 0, 26: 0}
    for path in cityscapes.glob("gtFine/train/*/*_labelIds.png"):
        labels = np.asarray(Image.open(path))
        for number in pixels:
            pixels[number] += int((labels == number).sum())
    options = (*SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out", "--rate", 0.2)
    line = f"car (ID 26, {pixels[26]} px) becomes road (ID 7, {pixels[7]} px), in "
    dry = poisongen("build", *options, "--dry-run")
    assert line in dry.out
    assert "rate 0.2 of all 10 samples of 'train'" in dry.out
    first, again = poisongen("build", *options), poisongen("build", *options)
    assert line in first.out
    assert line in again.out
    assert "2 of 10 training samples poisoned, " in first.out
    pair = json.loads(poisongen("build", *options, "--json").out)["pairs"][0]
    assert pair["victim"]["pixels"] == pixels[26]
    assert (pair["target"]["id"], pair["target"]["name"]) == (7, "road")
