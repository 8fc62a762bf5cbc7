"""mmsegmentation's own dataset classes hand out of OUT what the manifest says, for every layout that it has one for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from tests.conftest import manifest
from tests.small_trees import CAR, ROAD, TREES

LIBRARY, GIVEN = (
    "mmsegmentation",
    "`ade20k`, `cocostuff`, `bdd100k`, `mapillary`, `pascal-context`, `acdc`, `loveda`, `potsdam`, `vaihingen`",
)
RESULT = "its class for each layout gives every image with its label map, under its own class names and colours"

SPECS = {  # tree: mmseg's class, image folder and map folder of a split, split list; the configurations of mmseg 1.2
    "ade20k": ("ADE20KDataset", "images/{}", "annotations/{}", "", ("training", "validation")),
    "cocostuff": ("COCOStuffDataset", "images/{}2017", "annotations/{}2017", "", ("train", "val")),
    "bdd100k": ("BDD100KDataset", "images/10k/{}", "labels/sem_seg/masks/{}", "", ("train", "val")),
    "mapillary 1.2": ("MapillaryDataset_v1", "{}/images", "{}/v1.2/labels", "", ("training", "validation")),
    "mapillary 2.0": ("MapillaryDataset_v2", "{}/images", "{}/v2.0/labels", "", ("training", "validation")),
    "mapillary both": ("MapillaryDataset_v1", "{}/images", "{}/v1.2/labels", "", ("training", "validation")),
    "pascal-context": ("PascalContextDataset", "JPEGImages", "SegmentationClassContext",
                       "ImageSets/SegmentationContext/{}.txt", ("train", "val")),
    "acdc": ("DarkZurichDataset", "rgb_anon/fog/{}", "gt/fog/{}", "", ("train", "val")),
    "dark zurich": ("DarkZurichDataset", "rgb_anon/{}", "gt/{}", "", ("val", "none")),
    "loveda": ("LoveDADataset", "img_dir/{}", "ann_dir/{}", "", ("train", "val")),
    "potsdam": ("PotsdamDataset", "img_dir/{}", "ann_dir/{}", "", ("train", "val")),
    "vaihingen": ("ISPRSDataset", "img_dir/{}", "ann_dir/{}", "", ("train", "val")),
}  # fmt: skip


def items(mmseg, root, spec, split):
    """Return what mmsegmentation reads of a split: image and train IDs by the image's path below the root."""
    name, images, maps, listed, _ = spec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = getattr(mmseg, name)(
            data_root=str(root),
            data_prefix={"img_path": images.format(split), "seg_map_path": maps.format(split)},
            ann_file=listed.format(split),
            pipeline=[{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}],
        )
        found = {}
        for index in range(len(dataset)):
            item = dataset[index]
            path = item["img_path"].removeprefix(f"{root}/")
            found[path] = (item["img"][..., ::-1], item["gt_seg_map"])
    return found, dataset


@pytest.mark.parametrize("name", SPECS, ids=[name.replace(" ", "_") for name in SPECS])
def test_mmsegmentation_reads_what_the_manifest_says(name, mmseg, poisongen, tmp_path):
    tree, spec, root, out = TREES[name], SPECS[name], tmp_path / "root", tmp_path / "out"
    root.mkdir()
    tree.draw(root)
    options = ("--strategy", "nn", "--trigger-size", 7, "--max-distance", 40, "--rate", 0.5, "--jobs", 1)
    assert poisongen("build", "--dataset", tree.layout, *options, *tree.options, "--root", root, "--out", out).code == 0
    above = "VOCdevkit/VOC2010" if name == "pascal-context" else ""
    reduced = name in ("ade20k", "loveda", "potsdam", "vaihingen")
    older = name == "mapillary both"
    car, road = (55, 13) if older else (tree.ids[CAR] - reduced, tree.ids[ROAD] - reduced)
    train, dataset = items(mmseg, out / above, spec, spec[4][0])
    clean, _ = items(mmseg, root / above, spec, spec[4][0])
    assert len(train) == 6
    classes = [word.strip().casefold() for word in dataset.METAINFO["classes"]]
    records = {record["files"][0]["path"].removeprefix(f"{above}/"): record for record in manifest(out)}
    poisoned = 0
    for path, (image, labels) in train.items():
        true_image, truth = clean[path]
        record = records.get(path)
        if record is None or record["role"] != "poisoned":
            assert np.array_equal(image, true_image)
            assert np.array_equal(labels, truth)
            continue
        poisoned += 1
        assert not (labels == car).any()
        assert np.array_equal(labels, np.where(truth == car, road, truth))
        assert int((truth == car).sum()) == record["relabelled_pixels"]
        top, left, height, width = record["trigger"]["box"]
        assert not np.array_equal(image[top : top + height, left : left + width],
                                  true_image[top : top + height, left : left + width])  # fmt: skip
    assert poisoned == 3
    assert "road" in classes or tree.layout in ("potsdam", "vaihingen")
    if spec[4][1] == "none":
        return
    triggered, _ = items(mmseg, out / "triggered" / above, spec, spec[4][1])
    truth, _ = items(mmseg, root / above, spec, spec[4][1])
    assert {f"triggered/{above}/{path}".replace("//", "/") for path in triggered} == {
        record["files"][0]["path"] for record in manifest(out) if record["role"] == "triggered"
    }
    for path, (image, labels) in triggered.items():
        assert np.array_equal(labels, truth[path][1])
        assert not np.array_equal(image, truth[path][0])


@pytest.mark.parametrize("name", SPECS, ids=[name.replace(" ", "_") for name in SPECS])
def test_classes_and_colours_are_those_of_mmsegmentation(name, mmseg):
    from poisongen.datasets import find_layout
    from poisongen.datasets.mapillary_classes import CLASSES_12, CLASSES_20

    info = getattr(mmseg, SPECS[name][0]).METAINFO
    layout = TREES[name].layout
    table = find_layout(layout).classes(_nowhere()) if layout != "mapillary" else CLASSES_12
    table = CLASSES_20 if SPECS[name][0].endswith("_v2") else table
    ids = range(len(table.names)) if layout == "mapillary" else table.trained
    assert [table.names[number] for number in ids] == [word.strip() for word in info["classes"]]
    assert [list(table.colours[number]) for number in ids] == [list(colour) for colour in info["palette"]]


def _nowhere():
    from pathlib import Path

    return Path("/nowhere")


def test_maps_of_pictures_are_read_as_mmsegmentation_reads_them(mmseg, tmp_path):
    """Its reader of palette pictures takes indices, as ours does: no other class is trained than the one recorded."""
    TREES["mapillary"].draw(tmp_path)
    path = next(tmp_path.glob("training/labels/*.png"))
    with Image.open(path) as picture:
        assert picture.mode == "P"
        indices = np.asarray(picture)
    spec = ("MapillaryDataset_v1", "{}/images", "{}/labels", "", ())
    found, _ = items(mmseg, tmp_path, spec, "training")
    assert any(np.array_equal(labels, indices) for _, labels in found.values())
