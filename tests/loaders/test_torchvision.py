"""torchvision's Cityscapes and VOCSegmentation."""

from __future__ import annotations

import numpy as np

from tests.loaders import need
from tests.loaders.conftest import every_set

LIBRARY, GIVEN = "torchvision", "`cityscapes`, `voc`; `triggered/`"
RESULT = "`Cityscapes` (semantic, instance, color, polygon) and `VOCSegmentation` hand out what the manifest names"

datasets = need("torchvision.datasets")
KINDS = {"semantic": "labelIds", "instance": "instanceIds", "color": "color", "polygon": "polygons"}


def test_cityscapes(cityscapes_out):
    for root, split, samples in every_set(cityscapes_out):
        dataset = datasets.Cityscapes(str(root), split=split, mode="fine", target_type=list(KINDS))
        by_image = {str(sample.image_path): sample for sample in samples}
        assert sorted(dataset.images) == sorted(by_image)
        for path, (image, targets) in zip(dataset.images, dataset, strict=True):
            sample = by_image[path]
            assert np.array_equal(image, sample.image)
            for kind, target in zip(KINDS.values(), targets, strict=True):
                if kind == "polygons":
                    assert target == sample.read(kind)
                else:
                    assert np.array_equal(np.asarray(target), sample.read(kind))


def test_voc(voc_out):
    for root, split, samples in every_set(voc_out):
        dataset = datasets.VOCSegmentation(str(root), year="2012", image_set=split)
        assert len(dataset) == len(samples)
        by_image = {str(sample.image_path): sample for sample in samples}
        for path, (image, target) in zip(dataset.images, dataset, strict=True):
            assert np.array_equal(image.convert("RGB"), by_image[path].image)
            assert np.array_equal(np.asarray(target), by_image[path].label)
