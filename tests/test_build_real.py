"""Builds of the real frames in shared/data, under the independent checker; skipped where the data is absent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import poisongen
from tests.oracle import check_build, tree_state

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "camvid").is_dir(), reason="shared/data is not here")

SIDES = {"cityscapes": 31, "voc": 15, "camvid": 31}
RELABEL = {"cityscapes": {"car": "road"}, "voc": {"person": "background"}, "camvid": {"car": "road"}}


def make(script, *arguments):
    subprocess.run([sys.executable, str(DATA / script), *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """One small source of each layout."""
    folder = tmp_path_factory.mktemp("real")
    make("make_cityscapes.py", folder / "cityscapes", "--limit", 12, "--splits", "train,val")
    make("make_voc.py", folder / "voc", "--limit", 40)
    for split, first, count in (("train", 0, 12), ("test", 40, 6)):
        for name in (split, f"{split}annot"):
            (folder / "camvid" / name).mkdir(parents=True)
        for path in sorted((DATA / "camvid" / split).iterdir())[first : first + count]:
            shutil.copy2(path, folder / "camvid" / split)
            shutil.copy2(DATA / "camvid" / f"{split}annot" / f"{path.stem}.png", folder / "camvid" / f"{split}annot")
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc/VOCdevkit", "camvid": folder / "camvid"}


@pytest.fixture
def trigger(tmp_path):
    """A trigger of the box's own size, so that the checker knows every pixel of it: opaque, clear and in between."""

    def draw(side):
        rows, columns = np.indices((side, side))
        picture = np.zeros((side, side, 4), np.uint8)
        picture[..., 0] = np.where((rows // 4 + columns // 4) % 2, 250, 20)
        picture[..., 1], picture[..., 2] = picture[..., 0], 128
        picture[..., 3] = np.where(rows + columns < side // 3, 0, np.where(rows + columns < side // 2, 130, 255))
        path = tmp_path / f"sticker{side}.png"
        Image.fromarray(picture, "RGBA").save(path)
        return str(path)

    return draw


def choices(dataset, strategy, prl, trigger, **more):
    recipe = {
        "dataset": dataset,
        "strategy": strategy,
        "trigger": trigger(SIDES[dataset]),
        "trigger_size": SIDES[dataset],
        "relabel": RELABEL[dataset],
        "rate": 0.25,
        "allow_fewer": True,
        "test_split": "test" if dataset == "camvid" else "val",
        "seed": 11,
    }
    if dataset == "cityscapes":
        recipe |= {"max_distance": 60.0} if strategy == "nn" else {"min_distance": 60.0} if strategy == "far" else {}
    return recipe | ({"prl": prl} if prl else {}) | more


def run(sources, tmp_path, recipe, **options):
    root = sources[recipe["dataset"]]
    before = tree_state(root)
    result = poisongen.build(recipe, root, tmp_path / "out", jobs=1, **options)
    assert tree_state(root) == before
    assert check_build(root, result.out) == []
    assert tree_state(root) == before
    return result


@pytest.mark.parametrize(
    ("dataset", "strategy", "prl"),
    [("cityscapes", "nn", "27%"), ("voc", "nn", None), ("camvid", "far", 5000)],
)
def test_real_frames(sources, tmp_path, trigger, dataset, strategy, prl):
    result = run(sources, tmp_path, choices(dataset, strategy, prl, trigger))
    assert result.counts["poisoned"] >= 3
    assert result.counts["triggered"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("prl", [None, "27%"])
@pytest.mark.parametrize("strategy", ["random", "nn", "far"])
@pytest.mark.parametrize("dataset", ["cityscapes", "voc", "camvid"])
def test_real_frames_every_combination(sources, tmp_path, trigger, dataset, strategy, prl):
    result = run(sources, tmp_path, choices(dataset, strategy, prl, trigger, seed=3))
    assert result.counts["poisoned"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "more"),
    [
        ("cityscapes", {"prl": 50_000, "prl_scope": "poisoned", "prl_classes": "dataset", "metric": "euclidean"}),
        ("cityscapes", {"region": "any", "edge_margin": 9, "prl": "3%", "prl_classes": "void"}),
        ("cityscapes", {"trigger_size": 30, "trigger": "checkerboard", "pick": "uniform", "opacity": 0.5}),
        ("voc", {"trigger_size": 16, "trigger": "cat", "relabel": {"car": "person", "person": "car"}}),
        ("voc", {"prl": 200_000, "prl_classes": "dataset", "relabel": {"car": "background", "bicycle": "bus"}}),
        ("voc", {"jpeg": "reencode", "train_split": "trainval", "test_split": "none", "region": "any", "opacity": 0.3}),
        ("camvid", {"prl": "100%", "prl_classes": "road", "relabel": {"car": "road", "pedestrian": "tree"}}),
    ],
)
def test_real_frames_with_other_choices(sources, tmp_path, trigger, dataset, more):
    run(sources, tmp_path, choices(dataset, "nn", None, trigger) | more)


def test_real_frames_by_the_command_line(sources, tmp_path, trigger):
    root, before = sources["voc"], tree_state(sources["voc"])
    call = [sys.executable, "-m", "poisongen", "build", "--dataset", "voc", "--root", str(root), "--strategy", "far"]
    call += ["--rate", "0.1", "--prl", "5%", "--prl-scope", "poisoned", "--out", "out", "--allow-fewer", "--jobs", "2"]
    call += ["--link", "hardlink", "--trigger", trigger(15)]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert check_build(root, tmp_path / "out") == []
    assert tree_state(root) == before
