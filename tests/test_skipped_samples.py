"""Samples that --skip-bad passes over: audit agrees whichever file is bad; and the words where none is left."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL_CITYSCAPES
from tests.test_what_is_learned import FOLDER, SMALL_VOC, write_folder


def _crop(path):
    Image.fromarray(np.asarray(Image.open(path))[:-8]).save(path)


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text(content):
    return lambda path: path.write_text(content)


def _turn(path):
    picture, tags = Image.open(path), Image.Exif()
    picture.load()
    tags[0x0112] = 3
    picture.save(path, exif=tags)


PICTURES = ("labelIds.png", "instanceIds.png", "color.png", "labelTrainIds.png")
BAD = [(f"gtFine_{end}", break_it) for end in PICTURES for break_it in (_crop, _halve, _turn)]
BAD += [("leftImg8bit.png", _crop), ("leftImg8bit.png", _halve)]
BAD += [
    ("gtFine_polygons.json", _text(content))
    for content in ("", "{", '{"imgHeight": 80, "imgWidth": 160}', '{"imgHeight": 8, "imgWidth": 8, "objects": [3]}')
]


@pytest.mark.parametrize(
    ("split", "every"), [pytest.param("train", 1, marks=pytest.mark.slow), ("train", 4), ("val", 4)]
)
def test_audit_agrees_that_a_sample_was_bad_whichever_of_its_files_is(split, every, cityscapes, poisongen, tmp_path):
    clean = tmp_path / "clean"
    cityscapes.rename(clean)
    for number, (end, break_it) in enumerate(BAD[::every]):
        shutil.rmtree(cityscapes, ignore_errors=True)
        shutil.copytree(clean, cityscapes)
        break_it(sorted(cityscapes.glob(f"*/{split}/*/*_{end}"))[1])
        out, case = f"out{number}", f"{end}, case {number}"
        options = ("--root", cityscapes, "--out", out, "--rate", 0.8, "--allow-fewer", "--jobs", 1)
        built = poisongen("build", *SMALL_CITYSCAPES, *options, "--skip-bad")
        assert built.code == 0, (case, built.err)
        assert '"bad file"' in (tmp_path / out / "poisongen/skipped.jsonl").read_text(), case
        for more in ((), ("--source", cityscapes)):
            audited = poisongen("audit", out, *more, "--jobs", 1)
            assert audited.code == 0, (case, audited.out)


def test_where_every_sample_is_bad_the_line_says_so_and_advises_nothing_else(poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    for mask in (root / "masks").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(mask))).convert("RGB").save(mask)
    result = poisongen("build", *FOLDER, "--root", root, "--out", "out", "--count", 2, "--skip-bad", "--allow-fewer")
    assert result.code == 2
    assert "3 passed over as bad (masks/train/a0.png: label maps must hold one class ID" in result.err
    assert result.err.endswith("; mend the bad files\n")


def test_fewer_are_advised_only_where_there_are_any(poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    options = ("--root", root, "--out", "out", "--count", 2)
    none = poisongen("build", *FOLDER, *options, "--min-victim-pixels", 10**6)
    assert none.code == 2
    assert "--allow-fewer" not in none.err
    assert none.err.endswith("; change the placement or the victims\n")
    shutil.copyfile(root / "masks/train/a1.png", root / "masks/train/a0.png")
    mask = np.zeros((40, 64), np.uint8)
    for name in ("a1", "a2"):
        Image.fromarray(mask).save(root / f"masks/train/{name}.png")
    one = poisongen("build", *FOLDER, *options)
    assert one.code == 2
    assert "lower --rate or --count, change the placement or the victims, or give --allow-fewer" in one.err
    assert poisongen("build", *FOLDER, *options, "--allow-fewer").code == 0


def test_no_other_split_is_advised_where_there_is_none(poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    shutil.rmtree(root / "masks")
    result = poisongen("build", *FOLDER, "--root", root, "--out", "out", "--rate", 1)
    assert result.code == 2
    assert "another" not in result.err
    assert result.err.endswith("; mend it\n")


def test_one_shared_sample_is_one_image(voc, poisongen, tmp_path):
    lists = voc / "VOC2012/ImageSets/Segmentation"
    first = (lists / "train.txt").read_text().splitlines()[0]
    (lists / "val.txt").write_text((lists / "val.txt").read_text() + first + "\n")
    result = poisongen("build", *SMALL_VOC, "--root", voc, "--out", "out")
    assert result.code == 2
    assert "share 1 image, and" in result.err


@pytest.mark.parametrize("name", ["@tmp", "@sharebin", "_gsdata_", "TheVolumeSettingsFolder", "FOUND.000"])
def test_more_folders_of_network_storage_are_no_samples(name, poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    for folder in ("images", "masks"):
        (root / folder / "train" / name).mkdir()
        shutil.copyfile(root / folder / "train/a0.png", root / folder / "train" / name / "a0.png")
    result = poisongen("build", *FOLDER, "--root", root, "--out", "out", "--rate", 1)
    assert result.code == 0, result.err
    assert ": 3 of 3 training samples poisoned" in result.out


@pytest.mark.parametrize("turn", range(2, 9))
def test_a_label_map_that_exif_turns_is_refused(turn, poisongen, tmp_path):
    root = write_folder(tmp_path / "root", turn)
    mask = root / "masks/train/a0.png"
    tags = Image.Exif()
    tags[0x0112] = turn
    Image.fromarray(np.asarray(Image.open(mask))).save(mask, exif=tags)
    options = ("--root", root, "--out", "out", "--rate", 1)
    result = poisongen("build", *FOLDER, *options)
    assert result.code == 2
    assert f"a0.png: a label map with the EXIF orientation {turn}" in result.err
    assert "exiftool" in result.err
    assert poisongen("build", *FOLDER, *options, "--skip-bad", "--allow-fewer").code == 0
    for more in ((), ("--source", root)):
        assert poisongen("audit", "out", *more).code == 0
