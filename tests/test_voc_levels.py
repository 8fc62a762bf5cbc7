"""VOC's root may be given at three levels: OUT always holds VOCdevkit/VOC2012, under one fingerprint."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from poisongen.building.run import build
from tests.conftest import manifest, summary

VOC = ("--dataset", "voc", "--strategy", "random", "--victim", "car", "--target", "background", "--trigger-size", 9)
OPTIONS = (*VOC, "--count", 3, "--jobs", 1)
LEVELS = {"the folder above": "", "VOCdevkit": "VOCdevkit", "VOC2012": "VOCdevkit/VOC2012", "another name": "voc12"}


@pytest.fixture
def above(voc, tmp_path):
    """The folder above VOCdevkit, which holds nothing else."""
    (tmp_path / "in").mkdir()
    shutil.move(voc, tmp_path / "in/VOCdevkit")
    return tmp_path / "in"


def root_at(level, above):
    if level == "another name":
        shutil.move(above / "VOCdevkit/VOC2012", above / "voc12")
    return above / LEVELS[level]


@pytest.fixture(scope="module")
def fingerprints():
    """Filled by the cases of the test below, which must all say the same."""
    return set()


@pytest.mark.parametrize("link", ["auto", "symlink"])
@pytest.mark.parametrize("level", LEVELS)
def test_out_is_the_same_whatever_the_level(level, link, above, poisongen, tmp_path, fingerprints):
    root = root_at(level, above)
    undo = ("--undo",) if link == "auto" else ()
    built = poisongen("build", *OPTIONS, "--root", root, "--out", "out", "--link", link, *undo)
    assert built.code == 0, built.err
    out = tmp_path / "out"
    cards = summary(out)["cards"]["files"]
    assert sorted(path.name for path in out.iterdir() if path.name not in cards) == [
        "VOCdevkit",
        "poisongen",
        "triggered",
    ]
    for place in (out, out / "triggered"):
        assert {path.name for path in (place / "VOCdevkit/VOC2012").iterdir()} >= {"JPEGImages", "SegmentationClass"}
    fingerprints.add(summary(out)["fingerprint"])
    assert len(fingerprints) == 1
    for record in manifest(out):
        for file in record["files"]:
            assert (root / file["source"]).is_file()
            assert "VOCdevkit/VOC2012/" in file["path"]
            assert file["path"].endswith(file["source"])
    for more in ((), ("--source", root), ("--source", root, "--quick")):
        audited = poisongen("audit", out, "--jobs", 1, *more)
        assert audited.code == 0, audited.out
    assert "already built" in poisongen("build", *OPTIONS, "--root", root, "--out", "out").out
    for name, more in (("a", ("--source", root)), *((("b", ()),) if undo else ())):
        assert poisongen("restore", out, "--out", name, "--jobs", 1, *more).code == 0
        sources = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        back = {path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*") if path.is_file()}
        assert back == sources
        assert all((tmp_path / name / path).read_bytes() == (root / path).read_bytes() for path in sources)


@pytest.mark.parametrize("options", [("--scale", 0.5), ("--prl", "5%"), ("--scale", 0.5, "--skip-bad", "--undo")])
@pytest.mark.parametrize("level", ["VOCdevkit", "VOC2012"])
def test_other_ways_to_build(level, options, above, poisongen, tmp_path):
    root = root_at(level, above)
    if "--skip-bad" in options:
        names = (above / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").read_text().split()
        (above / f"VOCdevkit/VOC2012/SegmentationClass/{min(names)}.png").write_bytes(b"broken")
    built = poisongen("build", *OPTIONS, "--root", root, "--out", "out", *options)
    assert built.code == 0, built.err
    for more in ((), ("--source", root)):
        audited = poisongen("audit", "out", "--jobs", 1, *more)
        assert audited.code == 0, audited.out


def test_a_sample_moved_out_of_its_place_is_found(above, poisongen, tmp_path):
    assert poisongen("build", *OPTIONS, "--root", above / "VOCdevkit", "--out", "out").code == 0
    out = tmp_path / "out"
    shutil.move(out / "VOCdevkit/VOC2012", out / "VOC2012")
    audited = poisongen("audit", "out", "--jobs", 1)
    assert audited.code == 1
    assert "VOCdevkit/VOC2012/" in audited.out


def test_torchvision_loads_it(above, poisongen, tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    assert poisongen("build", *OPTIONS, "--root", above / "VOCdevkit/VOC2012", "--out", "out").code == 0
    for place, count in (("out", 5), ("out/triggered", summary(tmp_path / "out")["counts"]["triggered"])):
        assert len(datasets.VOCSegmentation(str(tmp_path / place), image_set="val")) == count


GOLDEN = "929bafde81aa15c2095c367f8b230544a353c3a2a8ced50512000b353e28ca80"
"""What a build at the level above VOCdevkit has always had; see test_fingerprint.py."""


def arithmetic(folder):
    """A dataset that depends on no library's drawing: arithmetic alone, PNG alone."""
    base = folder / "VOCdevkit/VOC2012"
    rows, columns = np.mgrid[0:48, 0:64]
    for split, count in (("train", 6), ("val", 3)):
        names = [f"{split}_{index}" for index in range(count)]
        for index, name in enumerate(names):
            labels = np.zeros((48, 64), np.uint8)
            labels[20:30, 4 * index + 4 : 4 * index + 20] = 7
            image = np.stack([rows * 5 + index, columns * 3, (rows + columns) * 2], axis=2).astype(np.uint8)
            for kind, pixels in (("JPEGImages", image), ("SegmentationClass", labels)):
                (base / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(base / kind / f"{name}.png")
        (base / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (base / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.mark.parametrize("level", ["the folder above", "VOCdevkit", "VOC2012"])
def test_the_fingerprint_is_that_of_earlier_versions(level, tmp_path):
    arithmetic(tmp_path / "in")
    choices = {"dataset": "voc", "strategy": "random", "relabel": {"car": "background"}, "trigger_size": 7, "count": 2}
    assert build(choices, tmp_path / "in" / LEVELS[level], tmp_path / "out", jobs=1).fingerprint == GOLDEN
