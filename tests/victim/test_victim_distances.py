"""`--distances`: bins that cannot be are said before the work, open ones work, and triggers are those of build."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from poisongen.errors import ChoiceError
from poisongen.victim.distances import read_distances
from poisongen.victim.evaluation import open_target, score
from poisongen.victim.evaluation_text import as_text
from poisongen.victim.items import place_trigger, rules_between, with_trigger
from poisongen.victim.metrics import confusion_of
from poisongen.victim.reading import read_image
from poisongen.victim.zones import counted


@pytest.mark.parametrize(
    ("given", "bins"),
    [
        ("", []),
        (None, []),
        ((), []),
        ("20-inf", [(20, np.inf)]),
        ("0-10, 10-20 ,20-inf", [(0, 10), (10, 20), (20, np.inf)]),
        ("10-20,0-10", [(10, 20), (0, 10)]),
        ([(0, 10), [10, 20.5]], [(0, 10), (10, 20.5)]),
        (((0, 10), ("10", "inf")), [(0, 10), (10, np.inf)]),
        (["0-10", (np.int64(10), np.float32(20))], [(0, 10), (10, 20)]),
        (np.array([[0, 10], [10, 20]]), [(0, 10), (10, 20)]),
    ],
)
def test_bins(given, bins):
    assert read_distances(given) == bins


@pytest.mark.parametrize(
    "given",
    [
        "20-10",
        "10-10",
        "a-b",
        "-5-10",
        "0--10",
        "inf-inf",
        "nan-10",
        "0-10,",
        "10",
        "0-10-20",
        [(20, 10)],
        [(10, 10)],
        [(-5, 10)],
        [("a", "b")],
        [(0, None)],
        [(0, 10, 20)],
        [None],
        [(True, False)],
        [(float("nan"), 10)],
        (20, 10),
        (0, 60),
        5,
    ],
)
def test_what_is_no_bin(given):
    with pytest.raises(ChoiceError, match="--distances: "):
        read_distances(given)


@pytest.mark.parametrize("given", ["0-60,50-120", "0-60,0-60", "0-inf,60-120", [(0, 60), (59.5, 70)]])
def test_bins_that_overlap(given):
    with pytest.raises(ChoiceError, match="overlap"):
        read_distances(given)


@pytest.mark.parametrize("given", ["20-10", "a-b", "0-60,30-90", "-1-5", "60"])
def test_bad_bins_are_told_before_anything_is_looked_for(poisongen, given):
    done = poisongen("evaluate", "no-such-run", "--data", "no-such-folder", "--distances", given)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert done.err.startswith("poisongen: --distances: ")


def truth(items, which):
    """A model that is always right."""
    for item in items:
        yield counted(item.wanted, [confusion_of(labels, item.labels(), 3) for labels in item.views()])


def test_a_bin_without_an_upper_bound(built):
    """The paper's last bin: every picture whose trigger can be farther than that, and it prints."""
    target = open_target(built)
    report = score(target, truth, read_distances("0-12,12-inf"))
    near, far = report["distances"]
    assert (far["above"], far["up_to"]) == (12, None)
    assert far["images"] > 0
    assert far["mean_distance"] > 12 >= near["mean_distance"]
    assert "12 and more" in as_text(report)
    json.dumps(report, allow_nan=False)


def test_small_victims_are_triggered_as_build_does(scenes, folders, tmp_path):
    """`min_victim_pixels` chooses what is poisoned; build triggers every test sample that has a victim at all."""
    out = folders.build(scenes, tmp_path / "out", min_victim_pixels=60)
    target = open_target(out)
    recipe = target.folder.recipe
    rules = rules_between(target.folder, recipe.min_distance, recipe.max_distance, 1.0)
    placed = {
        sample.name: place.placement.box[:2]
        for sample in target.clean.samples
        if (place := place_trigger(sample, out, rules)) is not None
    }
    assert placed == {sample.name: sample.box[:2] for sample in target.triggered}
    assert any((item.labels() == 2).sum() < 60 for item in target.triggered_items())


def as_gray(image):
    return Image.fromarray(image).convert("L")


def as_palette(image):
    return Image.fromarray(image).quantize(16)


def as_alpha(image):
    return Image.fromarray(np.dstack([image, np.full(image.shape[:2], 200, np.uint8)]))


@pytest.mark.parametrize("kind", [as_gray, as_palette, as_alpha])
def test_pasted_pixels_are_build_s_whatever_the_picture_is(folders, tmp_path, kind):
    root = folders.write(tmp_path / "clean", {"train": 6, "val": 4})
    for path in (root / "images").rglob("*.png"):
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        kind(pixels).save(path)
    same_pixels(folders.build(root, tmp_path / "out"))


def test_pasted_pixels_are_build_s_in_a_jpeg(folders, tmp_path):
    root = folders.write(tmp_path / "clean", {"train": 6, "val": 4})
    for path in (root / "images").rglob("*.png"):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".jpg"), quality=80)
        path.unlink()
    same_pixels(folders.build(root, tmp_path / "out"))


def same_pixels(out):
    """Triggers on the fly, with the recipe's own bounds, give the very pictures of OUT/triggered."""
    target = open_target(out)
    recipe = target.folder.recipe
    rules = rules_between(target.folder, recipe.min_distance, recipe.max_distance, 1.0)
    clean = {sample.name: sample for sample in target.clean.samples}
    assert target.triggered
    for written in target.triggered:
        sample = clean[written.name]
        item = with_trigger(target.clean, sample, place_trigger(sample, out, rules), rules)
        assert np.array_equal(item.image(), read_image(out / written.image))
