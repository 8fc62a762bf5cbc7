"""Label maps of other trainers: which file is whose, and what its values can mean; each mistake is one line."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from poisongen.errors import ChoiceError
from poisongen.victim.evaluation import evaluate, open_target
from poisongen.victim.predictions import PredictionFolder


@pytest.fixture
def shifted(folders, tmp_path):
    """A build of a dataset whose raw IDs (1 sky, 2 car, 5 road) and train IDs are easily mistaken."""
    root = folders.write(tmp_path / "clean", {"train": 6, "val": 6})
    (root / "classes.yaml").write_text("classes: {1: sky, 2: car, 5: road}\nvoid: [0, 255]\n")
    table = np.arange(256, dtype=np.uint8)
    table[[0, 1, 2]] = 5, 1, 2  # road, sky, car of the scenes
    rewrite(root / "masks", table)
    return folders.build(root, tmp_path / "out")


def rewrite(folder, table):
    for path in folder.rglob("*.png"):
        with Image.open(path) as mask:
            mapped = table[np.asarray(mask)]
        Image.fromarray(mapped).save(path)


def write_maps(out, folder, table=None):
    """Write perfect label maps: train IDs, or what `table` makes of them."""
    target = open_target(out)
    for which, items in (("clean", target.clean_items()), ("triggered", target.triggered_items())):
        for item in items:
            path = folder / which / f"{item.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            labels = item.labels()
            Image.fromarray(labels if table is None else table[labels]).save(path)
    return folder


def raw_table(out):
    table = np.full(256, 255, np.uint8)
    classes = open_target(out).classes
    table[: len(classes)] = classes.ids
    return table


def test_train_ids_are_not_scored_as_raw_ones(shifted, tmp_path, poisongen):
    maps = write_maps(shifted, tmp_path / "maps")
    done = poisongen("evaluate", "--predictions", maps, "--data", shifted, "--prediction-ids", "raw")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "look like train IDs: they hold 0, 1, 2, 255; read as train IDs 100.0 %" in done.err
    assert "give --prediction-ids train" in done.err
    assert evaluate(None, shifted, predictions=maps, jobs=1)["cba"]["value"] == 1.0


def test_raw_ids_are_not_scored_as_train_ones(shifted, tmp_path, poisongen):
    maps = write_maps(shifted, tmp_path / "maps", raw_table(shifted))
    done = poisongen("evaluate", "--predictions", maps, "--data", shifted)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "look like raw IDs: they hold 1, 2, 5, 255" in done.err
    assert evaluate(None, shifted, predictions=maps, prediction_ids="raw", jobs=1)["cba"]["value"] == 1.0


@pytest.mark.parametrize("mixed", ["clean", "triggered"])
@pytest.mark.parametrize("ids", ["train", "raw"])
def test_each_set_is_looked_at(shifted, tmp_path, poisongen, ids, mixed):
    """One of the sets was written with the other kind of ID, all values of which mean something in this kind, too."""
    both = {"train": None, "raw": raw_table(shifted)}
    maps = write_maps(shifted, tmp_path / "maps", both[ids])
    other = write_maps(shifted, tmp_path / "other", both["raw" if ids == "train" else "train"])
    shutil.rmtree(maps / mixed)
    (other / mixed).rename(maps / mixed)
    done = poisongen("evaluate", "--predictions", maps, "--data", shifted, "--prediction-ids", ids)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"the label maps in {maps / mixed} look like" in done.err


@pytest.mark.parametrize("ids", ["train", "raw"])
def test_a_bad_model_is_not_taken_for_a_mistake(shifted, tmp_path, ids):
    """Right about one class only: that is scored, whichever IDs it is told in."""
    table = np.zeros(256, np.uint8) + open_target(shifted).classes.index("road")
    if ids == "raw":
        table = raw_table(shifted)[table]
    maps = write_maps(shifted, tmp_path / "maps", table)
    report = evaluate(None, shifted, predictions=maps, prediction_ids=ids, jobs=1)
    assert 0 < report["cba"]["value"] < 0.5
    assert report["model"]["prediction_ids"] == ids


def test_values_that_no_class_has(shifted, tmp_path, poisongen):
    maps = write_maps(shifted, tmp_path / "maps", raw_table(shifted))
    path = sorted((maps / "clean").rglob("*.png"))[-1]
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(path)
    done = poisongen("evaluate", "--predictions", maps, "--data", shifted, "--prediction-ids", "raw")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{path.name}: holds 77, which is no raw ID of this dataset" in done.err


def second_file(clean):
    """The same sample once more, in a folder of its own and without one."""
    (clean / "000.png").write_bytes((clean / "val/000.png").read_bytes())
    return "two files for val/000"


def second_run(clean):
    (clean / "old/val").mkdir(parents=True)
    (clean / "old/val/000.png").write_bytes((clean / "val/000.png").read_bytes())
    return "two files for val/000"


def missing(clean):
    (clean / "val/003.png").unlink()
    return "has no file for val/003"


def another_ending(clean):
    (clean / "val/003.png").rename(clean / "val/003.npy")
    return "has no file for val/003"


def another_size(clean):
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(clean / "val/003.png")
    return "is 32x16 px, the label map 32x32 px"


def colours(clean):
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(clean / "val/003.png")
    return "this PNG is RGB"


def sixteen_bits(clean):
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(clean / "val/003.png")
    return "this one is 16-bit"


def cut_short(clean):
    path = clean / "val/003.png"
    path.write_bytes(path.read_bytes()[:60])
    return "003.png"


def jpeg(clean):
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(clean / "val/003.png", format="JPEG")
    return "label maps must be PNG files"


def empty(clean):
    (clean / "val/003.png").write_bytes(b"")
    return "an empty file"


def folder_of_that_name(clean):
    (clean / "val/003.png").unlink()
    (clean / "val/003.png").mkdir()
    return "has no file for val/003"


def strange_palette(clean):
    """Colours in the place of classes: their order in the palette is no class table."""
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).convert("P").save(clean / "val/003.png")
    return "which is no train ID"


@pytest.mark.parametrize(
    "break_it",
    [
        second_file,
        second_run,
        missing,
        another_ending,
        another_size,
        colours,
        sixteen_bits,
        cut_short,
        jpeg,
        empty,
        folder_of_that_name,
        strange_palette,
    ],
)
def test_each_mistake_is_one_line(built, tmp_path, poisongen, break_it):
    maps = write_maps(built, tmp_path / "maps")
    what = break_it(maps / "clean")
    done = poisongen("evaluate", "--predictions", maps, "--data", built)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert what in done.err


def test_a_palette_as_voc_has_it_holds_classes(built, tmp_path):
    maps = write_maps(built, tmp_path / "maps")
    for path in maps.rglob("*.png"):
        with Image.open(path) as mask:
            indices = Image.fromarray(np.asarray(mask)).convert("P")
        indices.putpalette(list(range(256)) * 3)
        indices.save(path)
    assert evaluate(None, built, predictions=maps, jobs=1)["cba"]["value"] == 1.0


def test_a_file_belongs_to_one_sample(built, tmp_path):
    """Folders that contradict are no hindrance where there is one file, but it does not serve two samples."""
    maps = write_maps(built, tmp_path / "maps")
    (maps / "clean/val").rename(maps / "clean/best-model")
    assert evaluate(None, built, predictions=maps, jobs=1)["cba"]["value"] == 1.0
    target = open_target(built)
    folder = PredictionFolder(maps, target.folder.classes, "train")
    items = target.clean_items()
    twin = replace(items[0], name="other/000", file="other/000.png")
    with pytest.raises(ChoiceError, match=r"is the only file for val/000 and for other/000"):
        folder.check({"clean": [items[0], twin]}, 1)
