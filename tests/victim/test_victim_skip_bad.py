"""What a build went on without is left out when its models are trained and tested, too."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from poisongen.errors import OutputError
from poisongen.victim.dataset import open_dataset
from poisongen.victim.evaluation import evaluate, open_target


@pytest.fixture
def patchy(folders, tmp_path):
    """A clean dataset with a broken image and label map in each split, and a build that went on without them."""
    root = folders.write(tmp_path / "clean", {"train": 12, "val": 6})
    (root / "images/train/003.png").write_bytes(b"no picture")
    (root / "images/val/001.png").write_bytes((root / "images/val/001.png").read_bytes()[:80])
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(root / "masks/train/007.png")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(root / "masks/val/002.png")
    return root, folders.build(root, tmp_path / "out", skip_bad=True)


BAD = {"train/003", "train/007", "val/001", "val/002"}


def names(dataset):
    return {sample.name for samples in dataset.splits.values() for sample in samples}


def test_broken_samples_are_in_no_split(patchy):
    root, out = patchy
    assert names(open_dataset(root, "folder")) - names(open_dataset(out)) == BAD
    for clean in (None, root):
        target = open_target(out, clean)
        assert {sample.name for sample in target.clean.samples} == {"val/000", "val/003", "val/004", "val/005"}


def test_it_is_evaluated(patchy, tmp_path):
    root, out = patchy
    target = open_target(out)
    maps = tmp_path / "maps"
    for which, items in (("clean", target.clean_items()), ("triggered", target.triggered_items())):
        (maps / which).mkdir(parents=True)
        for item in items:
            Image.fromarray(item.labels()).save(maps / which / f"{item.name.rpartition('/')[2]}.png")
    for clean in (None, root):
        report = evaluate(None, out, clean=clean, predictions=maps, jobs=1)
        assert report["images"]["clean"] == 4
        assert report["cba"]["value"] == 1.0


@pytest.mark.parametrize("streamed", [False, True])
def test_it_is_trained_on(patchy, tmp_path, streamed):
    pytest.importorskip("torch")
    pytest.importorskip("segmentation_models_pytorch")
    from poisongen.victim.checkpoint import load_checkpoint
    from poisongen.victim.settings import make_settings
    from poisongen.victim.training import train

    _, out = patchy
    settings = make_settings({"model": "unet", "encoder": "tu-mobilenetv4_conv_small_050", "epochs": 1, "batch": 5})
    result = train(out, tmp_path / "run", settings, device="cpu", jobs=1, cache="none" if streamed else "ram")
    assert load_checkpoint(result.checkpoint).data["pictures"] == 10
    report = evaluate(result.checkpoint, out, distances="0-9,9-inf", device="cpu", jobs=1)
    assert report["images"]["clean"] == 4


def test_an_image_in_two_splits_is_left_out_of_both(voc, tmp_path):
    """VOC's train and trainval list the same pictures; the record names one of the samples only."""
    from poisongen import build

    lists = next(voc.rglob("ImageSets/Segmentation"))
    shutil.copy(lists / "train.txt", lists / "both.txt")
    bad = (lists / "train.txt").read_text().split()[0]
    next(voc.rglob(f"JPEGImages/{bad}.jpg")).write_bytes(b"no picture")
    recipe = {"dataset": "voc", "strategy": "random", "trigger_size": 9, "rate": 0.2, "skip_bad": True}
    out = build(recipe, voc, tmp_path / "out", jobs=1).out
    found = names(open_dataset(out))
    assert not {f"train/{bad}", f"both/{bad}"} & found
    assert len({name for name in found if name.startswith("both/")}) == 9


@pytest.mark.parametrize("line", ["{", "[]", '{"sample": 3}', '{"sample": "val/000", "file": 7}', "9" * 5000])
def test_a_damaged_record_is_one_line(patchy, poisongen, line):
    _, out = patchy
    (out / "poisongen/skipped.jsonl").write_text(line + "\n")
    with pytest.raises(OutputError, match="line 1 is not a record of poisongen"):
        open_dataset(out)
    done = poisongen("evaluate", "--predictions", "maps", "--data", out)
    assert (done.code, done.err.count("\n")) == (2, 1)
