"""Ultralytics' semantic segmentation, by the data.yaml that build writes beside `folder`."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from tests.loaders import need
from tests.test_cards import FOLDER, draw_folder

LIBRARY, GIVEN = "ultralytics", "`folder` with its `data.yaml`; `triggered/`"
RESULT = "`SemanticDataset` finds every image with its mask, and maps classes as the table of classes says"


@pytest.fixture(autouse=True, scope="module")
def _own_settings(tmp_path_factory):
    os.environ.setdefault("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("ultralytics")))


def dataset(path, split):
    need("ultralytics")
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import SemanticDataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(path), autodownload=False)
    return SemanticDataset(
        img_path=data[split],
        data=data,
        imgsz=60,
        augment=False,
        rect=False,
        hyp=get_cfg(),
        cache=False,
        task="semantic",
    )


@pytest.mark.parametrize("classes", ["from 0", "with gaps"])
def test_images_and_masks(tmp_path, classes):
    root = draw_folder(tmp_path / "root")
    if classes == "with gaps":
        root = draw_folder(tmp_path / "gaps", ids=(7, 3))
        (root / "classes.yaml").write_text("classes: {3: car, 7: road, 9: border}\nvoid: [9, 255]\n")
    package.build(FOLDER, root, tmp_path / "out", jobs=1)
    out = shutil.copytree(tmp_path / "out", tmp_path / "copy")  # the library writes caches beside the masks
    data = package.load(out)
    train_ids = {number: at for at, number in enumerate(data.classes.trained)}
    table = np.array([train_ids.get(number, 255) for number in range(256)], np.uint8)
    for path, split, samples in (
        (out / "data.yaml", "train", data["train"]),
        (out / "data.yaml", "val", data["val"]),
        (out / "triggered/data.yaml", "val", data.triggered),
    ):
        found = dataset(path, split)
        assert found.data["names"] == {at: data.classes.names[number] for number, at in train_ids.items()}
        by_image = {str(sample.image_path): sample for sample in samples}
        assert sorted(found.im_files) == sorted(by_image)
        for image, mask in zip(found.im_files, found.mask_files, strict=True):
            sample = by_image[image]
            assert mask == str(sample.out / sample.label_map_path)
            assert np.array_equal(np.asarray(Image.open(image)), sample.image)
        for at, image in enumerate(found.im_files):
            label = found[at]
            assert label["semantic_mask"].shape[-2:] == (60, 60)
            want = table[by_image[image].label]
            got = np.asarray(label["semantic_mask"])[10:50]  # letterboxed: 40 rows in the middle of 60
            assert np.array_equal(got, want)
