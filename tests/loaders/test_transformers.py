"""transformers' SegFormer image processor, with images and label maps of `poisongen.load`."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.loaders import need
from tests.loaders.conftest import every_set

LIBRARY, GIVEN = "transformers", "files of `cityscapes`, `voc`, `camvid`, `folder`; `triggered/`"
RESULT = "`SegformerImageProcessor` gives images and label maps pixel by pixel (resizing and scaling switched off)"

transformers = need("transformers")
need("torchvision")


def test_segformer_keeps_every_pixel(any_out):
    processor = transformers.SegformerImageProcessor(do_resize=False, do_rescale=False, do_normalize=False)
    for _, _, samples in every_set(any_out):
        for sample in samples:
            image = Image.open(sample.image_path).convert("RGB")
            labels = Image.open(sample.out / sample.label_map_path)
            batch = processor([image], segmentation_maps=[labels], return_tensors="np")
            assert np.array_equal(np.asarray(batch["pixel_values"][0]).transpose(1, 2, 0), sample.image)
            assert np.array_equal(np.asarray(batch["labels"][0]), sample.label)
