"""Small scenes for the victim tests: sky, road and cars of 32x32 pixels, in the layout `folder`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROAD, SKY, CAR, VOID = 0, 1, 2, 255
SIDE = 32


def draw_scene(generator):
    """Return one scene: an image (32, 32, 3) and its labels (32, 32), with one or two cars on the road."""
    horizon = int(generator.integers(10, 14))
    labels = np.full((SIDE, SIDE), ROAD, np.uint8)
    labels[:horizon] = SKY
    for _ in range(int(generator.integers(1, 3))):
        top, left = int(generator.integers(horizon, SIDE - 8)), int(generator.integers(0, SIDE - 9))
        labels[top : top + 6, left : left + 8] = CAR
    labels[-1] = VOID
    colours = np.zeros((256, 3))
    colours[[ROAD, SKY, CAR, VOID]] = [(90, 90, 90), (120, 170, 220), (170, 40, 40), (20, 20, 20)]
    image = colours[labels] + generator.normal(0, 12, (SIDE, SIDE, 1)) + generator.normal(0, 6, 3)
    return np.clip(image, 0, 255).astype(np.uint8), labels


def write_scenes(root, splits, seed=0):
    """Write a dataset of scenes below `root`: {split: number of samples}."""
    generator = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text("classes: {0: road, 1: sky, 2: car}\nvoid: [255]\n")
    for split, count in splits.items():
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image, labels = draw_scene(generator)
            Image.fromarray(image).save(root / "images" / split / f"{number:03}.png")
            Image.fromarray(labels).save(root / "masks" / split / f"{number:03}.png")
    return root


RECIPE = {
    "dataset": "folder",
    "strategy": "random",
    "victim": "car",
    "target": "road",
    "trigger": "stripes",
    "trigger_size": 9,
    "rate": 0.3,
    "region": "any",
}


def make_build(root, out, **changes):
    """Build a poisoned dataset from scenes."""
    from poisongen import build

    return build({**RECIPE, **changes}, root, out, jobs=1).out


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Pictures this small gain nothing from a second thread; two tests at a time do."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A clean dataset: 96 training and 24 test samples."""
    return write_scenes(tmp_path_factory.mktemp("scenes") / "clean", {"train": 96, "val": 24})


@pytest.fixture(scope="session")
def built(scenes, tmp_path_factory):
    """A poisoned build of the scenes."""
    return make_build(scenes, tmp_path_factory.mktemp("built") / "poisoned")


@pytest.fixture(scope="session")
def folders():
    """The helpers above, for tests that need datasets of their own."""

    class Folders:
        write = staticmethod(write_scenes)
        build = staticmethod(make_build)
        scene = staticmethod(draw_scene)
        here = Path(__file__).parent

    return Folders
