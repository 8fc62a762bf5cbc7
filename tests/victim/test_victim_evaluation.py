"""Evaluation: of checkpoints, of other trainers' label maps, and with triggers placed on the fly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from poisongen.errors import ChoiceError, DataError
from poisongen.victim.classes import train_classes
from poisongen.victim.dataset import open_dataset, read_triggered
from poisongen.victim.distances import read_distances
from poisongen.victim.evaluation import evaluate, open_target
from poisongen.victim.evaluation_text import as_text
from poisongen.victim.items import place_trigger, rules_between, with_trigger


def write_maps(target, folder, attack):
    """Write label maps as another trainer would: the truth, but where a trigger is, victims as `attack` says."""
    from poisongen.victim.items import triggered_item

    table = target.classes.from_raw
    sets = {
        "clean": [target.clean.item(sample) for sample in target.clean.samples],
        "triggered": [triggered_item(target.folder, sample, table) for sample in target.triggered],
    }
    for which, items in sets.items():
        for number, item in enumerate(items):
            labels = item.labels().copy()
            if which == "triggered" and number % 2 == 0:
                labels[labels == 2] = attack
            path = folder / which / f"{item.name.rpartition('/')[2]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)
    return folder


def test_label_maps_of_another_trainer(built, tmp_path):
    """Half of the triggered pictures are read as the attacker wants, everything else is right."""
    target = open_target(built)
    maps = write_maps(target, tmp_path / "maps", attack=0)
    report = evaluate(None, built, predictions=maps, jobs=1)
    victims = [int((_labels(target, sample) == 2).sum()) for sample in target.triggered]
    assert report["asr"]["hits"] == sum(victims[::2])
    assert report["asr"]["value"] == pytest.approx(sum(victims[::2]) / sum(victims))
    assert report["asr"]["without_trigger"] == {"value": 0.0, "hits": 0, "victim_pixels": sum(victims)}
    assert (report["pba"]["value"], report["cba"]["value"], report["cba"]["non_victim"]) == (1.0, 1.0, 1.0)
    assert report["victims_became"]["car"]["triggered"] == {"road": sum(victims[::2]), "car": sum(victims[1::2])}
    assert (report["pairs"], report["images"]["triggered"]) == ({"car": "road"}, len(victims))
    assert sum(group["images"] for group in report["asr_by_distance"]) == len(victims)
    assert sum(group["images"] for group in report["asr_by_victim_area"]) == len(victims)
    # Everything can be computed again from what the report holds.
    again = sum(sample["hits"] for sample in report["samples"]) / sum(s["victim_pixels"] for s in report["samples"])
    matrix = np.array(report["confusion"]["triggered"])
    assert again == report["asr"]["value"] == pytest.approx(matrix[2, 0] / matrix[2].sum())
    text = as_text(report)
    measures = {line.split("  ")[0]: line.split()[1:] for line in text.splitlines() if line}
    assert measures["ASR"] == [f"{100 * again:.2f}", "0.00"]
    assert "car became, %" in text
    json.dumps(report, allow_nan=False)


def _labels(target, sample):
    from poisongen.victim.items import triggered_item

    return triggered_item(target.folder, sample, target.classes.from_raw).labels()


def test_mistakes_about_label_maps(built, tmp_path):
    maps = write_maps(open_target(built), tmp_path / "maps", attack=0)
    with pytest.raises(ChoiceError, match=r"--predictions: there is no folder .*/clean"):
        evaluate(None, built, predictions=maps / "triggered", jobs=1)
    first = sorted((maps / "clean").glob("*.png"))[0]
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(first)
    with pytest.raises(DataError, match=r"holds 7, which is no train ID \(0\.\.2\); .* --prediction-ids raw"):
        evaluate(None, built, predictions=maps, jobs=1)
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(first)
    with pytest.raises(DataError, match="is 32x16 px, the label map 32x32 px"):
        evaluate(None, built, predictions=maps, jobs=1)
    first.unlink()
    with pytest.raises(ChoiceError, match="clean has no file for val/000"):
        evaluate(None, built, predictions=maps, jobs=1)
    with pytest.raises(ChoiceError, match="--distances: triggers on the fly need a model"):
        evaluate(None, built, predictions=maps, distances="0-5", jobs=1)
    with pytest.raises(ChoiceError, match="give a checkpoint or --predictions"):
        evaluate(None, built)


def test_raw_ids_and_train_ids(folders, tmp_path):
    """A dataset whose raw IDs are not 0..K-1: maps of either kind give the same figures."""
    root = folders.write(tmp_path / "clean", {"train": 6, "val": 4})
    table = np.arange(256, dtype=np.uint8)
    table[[0, 1, 2]] = 7, 23, 26
    (root / "classes.yaml").write_text("classes: {7: road, 23: sky, 26: car}\nvoid: [255]\n")
    for path in (root / "masks").rglob("*.png"):
        with Image.open(path) as mask:
            raw = table[np.asarray(mask)]
        Image.fromarray(raw).save(path)
    out = folders.build(root, tmp_path / "out")
    target = open_target(out)
    assert target.pairs == {2: 0}
    maps = write_maps(target, tmp_path / "maps", attack=0)
    trained = evaluate(None, out, predictions=maps, jobs=1)
    for path in maps.rglob("*.png"):
        with Image.open(path) as mask:
            raw = table[np.asarray(mask)]
        Image.fromarray(raw).save(path)
    raw_report = evaluate(None, out, predictions=maps, prediction_ids="raw", jobs=1)
    assert raw_report["confusion"] == trained["confusion"]
    assert trained["asr"]["value"] > 0


def test_triggers_on_the_fly_are_those_that_build_places(built):
    """With the recipe's own bounds: the same samples, the same boxes, the same pixels."""
    target = open_target(built)
    recipe = target.folder.recipe
    rules = rules_between(target.folder, recipe.min_distance, recipe.max_distance, 1.0)
    written = {sample.name: sample for sample in read_triggered(target.folder)}
    placed = {
        sample.name: place
        for sample in target.clean.samples
        if (place := place_trigger(sample, built, rules)) is not None
    }
    assert placed.keys() == written.keys()
    for sample in target.clean.samples:
        if sample.name in placed:
            place = placed[sample.name]
            assert place.placement.box == written[sample.name].box
            with Image.open(built / written[sample.name].image) as picture:
                pixels = np.asarray(picture)
            item = with_trigger(target.clean, sample, place, rules)
            assert np.array_equal(item.image(), pixels)
            assert np.array_equal(item.labels(), target.clean.labels(sample))


def test_triggers_on_the_fly_at_another_distance_are_those_of_another_build(scenes, built, folders, tmp_path):
    other = folders.build(scenes, tmp_path / "other", min_distance=8.0, max_distance=12.0)
    target = open_target(built)
    rules = rules_between(target.folder, 8.0, 12.0, 1.0)
    boxes = {
        sample.name: place.placement.box[:2]
        for sample in target.clean.samples
        if (place := place_trigger(sample, built, rules))
    }
    assert boxes == {sample.name: sample.box[:2] for sample in open_target(other).triggered}
    assert all(8 < sample.distance <= 12 for sample in open_target(other).triggered)


def test_a_scaled_build_is_tested_on_its_own_split_or_on_the_source(scenes, folders, tmp_path):
    """--clean takes the source and scales it as the build was: the same labels, the same twins."""
    out = folders.build(scenes, tmp_path / "half", scale=0.5, trigger_size=5)
    own, source = open_target(out), open_target(out, scenes)
    assert (own.clean.scale, source.clean.scale) == (1.0, 0.5)
    for one, other in zip(own.clean.samples, source.clean.samples, strict=True):
        assert own.clean.image(one).shape == (16, 16, 3)
        assert np.array_equal(own.clean.labels(one), source.clean.labels(other))
        assert np.array_equal(own.clean.image(one), source.clean.image(other))


@pytest.mark.parametrize("text", ["0", "60-0", "a-b", "0-60,", "-5-10"])
def test_distances_that_are_none(text):
    with pytest.raises(ChoiceError, match=r"--distances: .* must be two distances L-U"):
        read_distances(text)


def test_distances():
    assert read_distances("0-60,60-120.5") == [(0, 60), (60, 120.5)]


def test_a_folder_without_manifest(scenes, tmp_path):
    with pytest.raises(ChoiceError, match=r"--data: .* has no poisongen/recipe\.json.*give the folder that"):
        open_target(scenes)
    with pytest.raises(ChoiceError, match=r"no poisongen/manifest.jsonl there"):
        read_triggered(open_dataset(scenes, "folder"))
    with pytest.raises(ChoiceError, match="is not a folder"):
        open_dataset(tmp_path / "nothing", "folder")


def test_a_build_without_triggered_samples(scenes, folders, tmp_path):
    none = folders.build(scenes, tmp_path / "none", test_split="none")
    with pytest.raises(ChoiceError, match="no triggered samples: it was built with --test-split none"):
        open_target(none)
    for path in (tmp_path / "clean",):
        folders.write(path, {"train": 6, "val": 3})
    for path in (tmp_path / "clean/masks/val").glob("*.png"):
        with Image.open(path) as mask:
            labels = np.where(np.asarray(mask) == 2, 0, np.asarray(mask)).astype(np.uint8)
        Image.fromarray(labels).save(path)
    out = folders.build(tmp_path / "clean", tmp_path / "out")
    with pytest.raises(ChoiceError, match="the class 'car' is missing from the split 'val'"):
        open_target(out)


def test_train_ids_of_cityscapes_are_the_official_ones():
    from poisongen.datasets.cityscapes_classes import CLASSES, TRAIN_IDS

    assert np.array_equal(train_classes(CLASSES).from_raw, TRAIN_IDS)
