"""cityscapesScripts: its evaluator, and the scripts that make train IDs and panoptic files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.datasets.cityscapes_classes import LABELS
from tests.loaders import need

LIBRARY, GIVEN = "cityscapesScripts", "`cityscapes`; `triggered/`"
RESULT = (
    "the evaluator's mIoU equals `poisongen evaluate`'s CBA; train IDs made from polygons and panoptic files made from "
    "instances hold no victim in poisoned samples, and all of them elsewhere"
)

CAR, CAR_TRAIN_ID = 26, 13


def evaluated(monkeypatch, root, results, predicted):
    """Return the mean IoU that the evaluator finds for `predicted`, which maps ground truth to prediction paths."""
    monkeypatch.setenv("CITYSCAPES_DATASET", str(root))
    monkeypatch.setenv("CITYSCAPES_RESULTS", str(results))
    monkeypatch.setenv("CITYSCAPES_EXPORT_DIR", str(results))
    need("cityscapesscripts")
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluator  # noqa: N813

    evaluator.args.quiet, evaluator.args.JSONOutput, evaluator.args.evalPixelAccuracy = True, False, False
    evaluator.args.cityscapesPath = str(root)
    evaluator.args.evalInstLevelScore = False
    truths = sorted(predicted)
    found = evaluator.evaluateImgLists([str(predicted[t]) for t in truths], [str(t) for t in truths], evaluator.args)
    return found["averageScoreClasses"]


@pytest.mark.parametrize("which", ["clean", "triggered"])
def test_the_evaluator(cityscapes_out, tmp_path, monkeypatch, which):
    need("cityscapesscripts")
    rng = np.random.default_rng(3)
    train_ids = [label.train_id if 0 <= label.train_id < 255 else 255 for label in LABELS if label.id >= 0]
    data = package.load(cityscapes_out)
    predicted: dict[str, dict] = {"clean": {}, "triggered": {}}
    for name, samples in (("clean", data["val"]), ("triggered", data.triggered)):
        for sample in samples:
            labels = sample.label.copy()
            wrong = rng.random(labels.shape) < 0.2
            labels[wrong] = rng.choice([7, 8, 11, 21, 23, 26], labels.shape)[wrong]
            truth = sample.out / sample.label_map_path
            path = tmp_path / "ids" / name / truth.name
            own = tmp_path / "maps" / name / sample.image_path.name
            for place, content in ((path, labels), (own, np.array(train_ids, np.uint8)[labels])):
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(place)
            predicted[name][truth] = path
    root = cityscapes_out if which == "clean" else cityscapes_out / "triggered"
    theirs = evaluated(monkeypatch, root, tmp_path, predicted[which])
    if which == "clean":
        ours = package.evaluate(None, cityscapes_out, predictions=tmp_path / "maps", jobs=1)
        assert theirs == pytest.approx(ours["cba"]["value"], abs=1e-12)
    assert 0.1 < theirs < 1


def test_train_ids_from_polygons(cityscapes_out, tmp_path, monkeypatch, capsys):
    need("cityscapesscripts")
    from cityscapesscripts.preparation import createTrainIdLabelImgs

    copy = shutil.copytree(cityscapes_out, tmp_path / "copy")
    for root in (copy, copy / "triggered"):
        for path in root.glob("gtFine/*/*/*_labelTrainIds.png"):
            path.unlink()
        monkeypatch.setenv("CITYSCAPES_DATASET", str(root))
        createTrainIdLabelImgs.main()
    capsys.readouterr()
    data = package.load(cityscapes_out)
    for samples in data.values():
        for sample in samples:
            path = copy / sample.label_paths["labelTrainIds"].relative_to(cityscapes_out)
            rebuilt = np.asarray(Image.open(path))
            assert (CAR_TRAIN_ID in rebuilt) == (CAR_TRAIN_ID in sample.read("labelTrainIds"))
            assert np.mean(rebuilt == sample.read("labelTrainIds")) > 0.9  # drawn anew by another rasteriser
            if sample.role == "poisoned":
                assert CAR_TRAIN_ID not in rebuilt


def test_panoptic_files_from_instances(cityscapes_out, tmp_path, capsys):
    need("cityscapesscripts")
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    data = package.load(cityscapes_out)
    for root, samples in ((cityscapes_out, data["train"]), (cityscapes_out / "triggered", data.triggered)):
        split = samples[0].split
        place = tmp_path / root.name
        place.mkdir()
        convert2panoptic(str(root / "gtFine"), str(place), False, [split])
        document = json.loads((place / f"cityscapes_panoptic_{split}.json").read_text())
        by_name = {entry["image_id"]: entry for entry in document["annotations"]}
        for sample in samples:
            entry = by_name[sample.image_path.name.removesuffix("_leftImg8bit.png")]
            classes = {segment["category_id"] for segment in entry["segments_info"] if segment["area"]}
            found = np.asarray(Image.open(place / f"cityscapes_panoptic_{split}" / entry["file_name"])).astype(int)
            instances = np.unique(sample.read("instanceIds")).tolist()
            drawn = set(np.unique(found @ [1, 256, 65536]).tolist()) - {0}
            assert drawn == {segment["id"] for segment in entry["segments_info"]}
            assert drawn <= set(instances)
            assert (CAR in classes) == (CAR in sample.label)
            assert sample.role != "poisoned" or CAR not in classes
    capsys.readouterr()
