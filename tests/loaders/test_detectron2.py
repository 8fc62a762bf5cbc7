"""detectron2's reader of Cityscapes: the library where it is installed, and its documented file rules everywhere.

There is no wheel of detectron2, and building it takes a compiler and minutes, so that what it does with names is
written down here (detectron2/data/datasets/cityscapes.py, `_get_cityscapes_files` and `load_cityscapes_semantic`).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.loaders.conftest import every_set

LIBRARY, GIVEN = "detectron2 (its file rules)", "`cityscapes`; `triggered/`"
RESULT = "for every image its rules find labelTrainIds, instanceIds and polygons of the same sample"


def files_by_rule(images: Path, truth: Path) -> list[tuple[str, str, str, str]]:
    """Image, instanceIds, labelIds and polygons of every sample: folders of cities, and names cut at the suffix."""
    found = []
    for city in sorted(entry.name for entry in images.iterdir()):
        for path in sorted((images / city).iterdir()):
            suffix = "leftImg8bit.png"
            assert path.name.endswith(suffix)
            base = str(truth / city / path.name[: -len(suffix)])
            labels = ("gtFine_instanceIds.png", "gtFine_labelIds.png", "gtFine_polygons.json")
            found.append((str(path), *(base + label for label in labels)))
    return found


def test_its_rules_find_every_file_of_the_sample(cityscapes_out):
    for root, split, samples in every_set(cityscapes_out):
        by_image = {str(sample.image_path): sample for sample in samples}
        found = files_by_rule(root / "leftImg8bit" / split, root / "gtFine" / split)
        assert sorted(image for image, *_ in found) == sorted(by_image)
        for image, instances, labels, polygons in found:
            sample = by_image[image]
            assert {instances, labels, polygons} <= set(map(str, sample.label_paths.values()))
            train_ids = labels.replace("labelIds", "labelTrainIds")  # what it reads for semantic segmentation
            assert Path(train_ids) == sample.label_paths["labelTrainIds"]
            assert np.array_equal(np.asarray(Image.open(train_ids)), sample.read("labelTrainIds"))
            assert sample.role != "poisoned" or 13 not in sample.read("labelTrainIds")


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
def test_the_library_itself(cityscapes_out):
    from detectron2.data.datasets.cityscapes import load_cityscapes_semantic

    for root, split, samples in every_set(cityscapes_out):
        found = load_cityscapes_semantic(str(root / "leftImg8bit" / split), str(root / "gtFine" / split))
        pairs = {(one["file_name"], one["sem_seg_file_name"]) for one in found}
        assert pairs == {(str(one.image_path), str(one.label_paths["labelTrainIds"])) for one in samples}
