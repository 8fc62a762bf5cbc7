"""Builds in four layouts, which the loaders only read, and what the manifest says of their samples."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from tests.conftest import draw_cityscapes, draw_voc
from tests.loaders import need
from tests.test_cards import draw_folder

CHOICES = {"rate": 0.3, "trigger_size": 9}
for offline in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "YOLO_OFFLINE"):
    os.environ.setdefault(offline, "1")


def pytest_collection_modifyitems(items):
    """What other libraries warn of is theirs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def mmseg():
    """mmsegmentation's datasets, with its readers registered; mmcv's compiled operators are stood in for."""
    need("mmcv")
    if importlib.util.find_spec("mmcv._ext") is None:
        sys.modules.setdefault("mmcv._ext", mock.MagicMock())
    datasets = need("mmseg.datasets")
    from mmseg.utils import register_all_modules

    register_all_modules()
    return datasets


@pytest.fixture(scope="session")
def cityscapes_out(tmp_path_factory):
    """A build of Cityscapes, poisoned with random labels in all training samples."""
    folder = tmp_path_factory.mktemp("loaders")
    choices = CHOICES | {"dataset": "cityscapes", "strategy": "nn", "max_distance": 30}
    return package.build(choices, draw_cityscapes(folder), folder / "out", jobs=1).out


@pytest.fixture(scope="session")
def voc_out(tmp_path_factory):
    """A build of VOC, whose root was the folder above VOCdevkit."""
    folder = tmp_path_factory.mktemp("loaders")
    choices = CHOICES | {"dataset": "voc", "strategy": "random"}
    return package.build(choices, draw_voc(folder).parent, folder / "out", jobs=1).out


@pytest.fixture(scope="session")
def camvid_out(tmp_path_factory):
    """A build of CamVid's tree, drawn at random."""
    folder, rng = tmp_path_factory.mktemp("loaders"), np.random.default_rng(7)
    for split in ("train", "val"):
        (folder / "camvid" / split).mkdir(parents=True)
        (folder / "camvid" / f"{split}annot").mkdir()
        for number in range(5):
            picture = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
            labels = np.full((40, 60), 3, np.uint8)
            labels[4:9, 4:9], labels[:2] = 8, 11
            Image.fromarray(picture).save(folder / f"camvid/{split}/{number}.png")
            Image.fromarray(labels).save(folder / f"camvid/{split}annot/{number}.png")
    choices = CHOICES | {"dataset": "camvid", "strategy": "random"}
    return package.build(choices, folder / "camvid", folder / "out", jobs=1).out


@pytest.fixture(scope="session")
def folder_out(tmp_path_factory):
    """A build of a plain folder of images and masks."""
    folder = tmp_path_factory.mktemp("loaders")
    choices = CHOICES | {"dataset": "folder", "strategy": "random", "relabel": {"car": "road"}}
    return package.build(choices, draw_folder(folder / "root"), folder / "out", jobs=1).out


@pytest.fixture(params=["cityscapes", "voc", "camvid", "folder"])
def any_out(request):
    """Each of the four builds in turn."""
    return request.getfixturevalue(f"{request.param}_out")


def every_set(out):
    """Return (folder, split, samples) for every split and test set of a build, as `poisongen.load` tells them."""
    data = package.load(out)
    found = [(out, split, samples) for split, samples in data.splits.items()]
    tests = [(out / samples.name, samples[0].split, samples) for samples in (data.triggered, data.negative) if samples]
    assert tests
    assert any(sample.role == "poisoned" for sample in data["train"])
    return [*found, *tests]
