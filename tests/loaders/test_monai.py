"""MONAI's dictionary transforms, with the paths of `poisongen.load`."""

from __future__ import annotations

import numpy as np

from tests.loaders import need
from tests.loaders.conftest import every_set

LIBRARY, GIVEN = "monai", "files of `cityscapes`, `voc`, `camvid`, `folder`; `triggered/`"
RESULT = "`Dataset` with `LoadImaged` gives images and label maps pixel by pixel"

monai = need("monai")


def test_images_and_label_maps(any_out):
    from monai.data import Dataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

    reading = Compose(
        [
            LoadImaged(keys=("image", "label"), reader="PILReader", reverse_indexing=False, image_only=True),
            EnsureChannelFirstd(keys=("image", "label")),
        ]
    )
    for _, _, samples in every_set(any_out):
        items = [
            {"image": str(sample.image_path), "label": str(sample.out / sample.label_map_path)} for sample in samples
        ]
        for found, sample in zip(Dataset(items, transform=reading), samples, strict=True):
            assert np.array_equal(np.asarray(found["image"]).transpose(1, 2, 0), sample.image)
            assert np.array_equal(np.asarray(found["label"])[0], sample.label)
