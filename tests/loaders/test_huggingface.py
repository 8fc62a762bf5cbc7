"""Hugging Face datasets: load_dataset of OUT, and of its test sets with triggers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import poisongen as package
from tests.conftest import draw_cityscapes
from tests.loaders import need
from tests.loaders.conftest import every_set

LIBRARY, GIVEN = "datasets", "`cityscapes`, `voc`, `camvid`, `folder`; `triggered/`"
RESULT = "`load_dataset(OUT)` and `load_dataset(OUT/triggered)` give image, label map and record of every sample"

datasets = need("datasets")


def loaded(root, tmp_path):
    return datasets.load_dataset(str(root), cache_dir=str(tmp_path / "cache"))


def check(found, samples):
    assert [row["sample"] for row in found] == [sample.name for sample in samples]
    for row, sample in zip(found, samples, strict=True):
        assert set(row) == {"image", "label", "sample", "split", "role", "record"}
        assert np.array_equal(row["image"].convert("RGB"), sample.image)
        assert np.array_equal(np.asarray(row["label"]), sample.label)
        assert row["split"] == sample.split
        assert row["role"] == (sample.role or "untouched")
        assert json.loads(row["record"]) == (None if sample.record is None else sample.record.as_json())


def test_every_split_and_test_set(any_out, tmp_path):
    sets = every_set(any_out)
    for root in {root for root, _, _ in sets}:
        whole = loaded(root, tmp_path)
        own = {split: samples for other, split, samples in sets if other == root}
        assert set(whole) == set(own)
        for split, samples in own.items():
            check(whole[split], samples)


@pytest.mark.parametrize("change", ["one image", "readme", "odd name"])
def test_splits_of_one_image_readmes_of_the_source_and_odd_names(tmp_path, change):
    root = draw_cityscapes(tmp_path)
    if change == "one image":
        for path in sorted((root / "leftImg8bit/val").rglob("*.png"))[1:]:
            path.unlink()
            for label in (root / "gtFine/val").rglob(f"{path.name.removesuffix('_leftImg8bit.png')}_*"):
                label.unlink()
    elif change == "readme":
        (root / "README.md").write_text("# The dataset's own\n")
    else:
        for tree in ("leftImg8bit", "gtFine"):
            (root / tree / "val").rename(root / tree / "val [2]")
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}
    test = {"test_split": "val [2]"} if change == "odd name" else {}
    package.build(choices | test, root, tmp_path / "out", jobs=1)
    data, whole = package.load(tmp_path / "out"), loaded(tmp_path / "out", tmp_path)
    assert set(whole) == {"train", "val__2_" if test else "val"}
    check(whole["train"], data["train"])
    check(whole["val__2_" if test else "val"], data.splits["val [2]" if test else "val"])
    assert change != "one image" or len(whole["val"]) == 1
    if data.triggered:
        check(next(iter(loaded(tmp_path / "out/triggered", tmp_path).values())), data.triggered)
