"""mmsegmentation's dataset classes; mmcv's compiled operators, which no dataset uses, are stood in for."""

from __future__ import annotations

import numpy as np

from tests.loaders.conftest import every_set

LIBRARY, GIVEN = "mmsegmentation", "`cityscapes`, `voc`, `camvid`, `folder`; `triggered/`"
RESULT = "`CityscapesDataset`, `PascalVOCDataset` and `BaseSegDataset` give every image with its label map"


PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]


def check(dataset, samples, kind):
    by_image = {str(sample.image_path): sample for sample in samples}
    assert len(dataset) == len(by_image)
    seen = set()
    for found in dataset:
        sample = by_image[found["img_path"]]
        seen.add(sample.name)
        assert np.array_equal(found["img"][..., ::-1], sample.image)
        assert np.array_equal(found["gt_seg_map"], sample.read(kind) if kind else sample.label)
    assert len(seen) == len(by_image)


def test_cityscapes(mmseg, cityscapes_out):
    for root, split, samples in every_set(cityscapes_out):
        prefix = {"img_path": f"leftImg8bit/{split}", "seg_map_path": f"gtFine/{split}"}
        dataset = mmseg.CityscapesDataset(data_root=str(root), data_prefix=prefix, pipeline=PIPELINE)
        check(dataset, samples, "labelTrainIds")


def test_voc(mmseg, voc_out):
    for root, split, samples in every_set(voc_out):
        dataset = mmseg.PascalVOCDataset(
            data_root=str(root / "VOCdevkit/VOC2012"),
            data_prefix={"img_path": "JPEGImages", "seg_map_path": "SegmentationClass"},
            ann_file=f"ImageSets/Segmentation/{split}.txt",
            pipeline=PIPELINE,
        )
        check(dataset, samples, "SegmentationClass")


def test_plain_folders(mmseg, camvid_out, folder_out):
    for out, name in ((camvid_out, "camvid"), (folder_out, "folder")):
        for root, split, samples in every_set(out):
            images, labels = (split, f"{split}annot") if name == "camvid" else (f"images/{split}", f"masks/{split}")
            dataset = mmseg.BaseSegDataset(
                data_root=str(root),
                data_prefix={"img_path": images, "seg_map_path": labels},
                img_suffix=".png",
                seg_map_suffix=".png",
                metainfo={"classes": ("road", "car")},
                pipeline=PIPELINE,
            )
            check(dataset, samples, None)
