"""Triggers that change no pixel: refused before anything is written, or the sample is passed over, and audit agrees."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from poisongen.auditing.auditor import audit
from poisongen.building import placing
from poisongen.building.run import build
from tests.conftest import SMALL_CITYSCAPES, manifest

CITYSCAPES = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}
VOC = {"dataset": "voc", "strategy": "random", "trigger_size": 16, "rate": 0.3}


def picture(path, colour, alpha=255):
    """Write a trigger of one colour."""
    Image.fromarray(np.full((16, 16, 4), (*colour, alpha), np.uint8)).save(path)
    return path


def size_of(path):
    with Image.open(path) as image:
        return image.size


def skipped(out):
    return [json.loads(line) for line in (out / "poisongen/skipped.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("trigger", "opacity", "said"),
    [
        ("clear", "1", "changes no pixel of any picture"),
        ("faint", "1e-6", "changes no pixel of any picture"),
        ("cat", "1e-9", "changes no pixel of any picture"),
        ("cat", "0.001", "with the trigger would change no pixel"),  # 16-bit pictures would show it
    ],
)
def test_what_no_picture_can_show_is_refused(trigger, opacity, said, poisongen, cityscapes, tmp_path):
    picture(tmp_path / "clear.png", (9, 9, 9), 0)
    picture(tmp_path / "faint.png", (9, 9, 9), 1)
    name = trigger if trigger == "cat" else tmp_path / f"{trigger}.png"
    options = ("--root", cityscapes, "--out", tmp_path / "out", "--trigger", name, "--opacity", opacity)
    result = poisongen("build", *SMALL_CITYSCAPES, *options)
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jpeg", ["blocks", "reencode"])
def test_a_jpeg_that_quantises_the_trigger_away_is_passed_over(jpeg, voc, tmp_path):
    for path in voc.rglob("JPEGImages/*.jpg"):
        with Image.open(path) as image:
            image.load()
            image.save(path, quality=20)
    recipe = VOC | {"opacity": 0.12, "jpeg": jpeg, "allow_fewer": True, "trigger_size": 8}
    build(recipe, voc, tmp_path / "out", jobs=1)
    reasons = [skip["reason"] for skip in skipped(tmp_path / "out")]
    assert "the trigger would change no pixel" in reasons
    assert any(record["role"] == "poisoned" for record in manifest(tmp_path / "out"))
    for source in (None, voc):
        assert audit(tmp_path / "out", source, jobs=1).faults == (), source


def paint(root, split, colour):
    """Paint the images of a split in one colour; return the names of the files."""
    for path in (root / "leftImg8bit" / split).rglob("*.png"):
        Image.new("RGB", size_of(path), colour).save(path)


@pytest.mark.parametrize("scale", [1, 0.5])
def test_a_trigger_of_the_colour_of_the_ground_is_passed_over(scale, cityscapes, tmp_path):
    paint(cityscapes, "val", (40, 50, 60))
    trigger = str(picture(tmp_path / "plain.png", (40, 50, 60)))
    build(CITYSCAPES | {"trigger": trigger, "scale": scale, "trigger_size": 5}, cityscapes, tmp_path / "out", jobs=1)
    assert {skip["reason"] for skip in skipped(tmp_path / "out")} == {"the trigger would change no pixel"}
    assert not any(record["role"] == "triggered" for record in manifest(tmp_path / "out"))
    for source in (None, cityscapes):
        assert audit(tmp_path / "out", source, jobs=1).faults == (), source


def test_a_sample_is_not_called_unseen_where_it_is_seen(cityscapes, tmp_path, monkeypatch):
    trigger = str(picture(tmp_path / "plain.png", (40, 50, 60)))
    honest = placing.place_and_stamp

    def place(labels, item, role, picture, rules):
        found = honest(labels, item, role, picture, rules)
        return ("the trigger would change no pixel", None) if role == "triggered" else found

    monkeypatch.setattr("poisongen.building.survey.place_and_stamp", place)
    build(CITYSCAPES | {"trigger": trigger}, cityscapes, tmp_path / "out", jobs=1)
    report = audit(tmp_path / "out", cityscapes, jobs=1)
    assert {fault.expected for fault in report.faults} == {"no pixel that the trigger changes"}
    assert any("change no pixel" in note for note in audit(tmp_path / "out", jobs=1).not_checked)


def test_an_image_that_is_the_trigger_itself_is_refused(poisongen, cityscapes, tmp_path):
    """Where a strong trigger of many colours changes nothing, the image is read too late to take another."""
    colours = np.random.default_rng(0).integers(0, 256, (1, 9, 3), np.uint8)
    Image.fromarray(np.repeat(colours, 9, axis=0)).save(tmp_path / "stripes.png")
    for path in (cityscapes / "leftImg8bit/train").rglob("*.png"):
        width, height = size_of(path)
        Image.fromarray(np.repeat(np.tile(colours, (1, width // 9 + 1, 1))[:, :width], height, axis=0)).save(path)
    options = ("--root", cityscapes, "--out", tmp_path / "out", "--trigger", tmp_path / "stripes.png", "--count", 9)
    codes = set()
    for seed in range(4):
        result = poisongen(
            "build", *SMALL_CITYSCAPES, *options, "--seed", seed, "--allow-fewer", "--force", "--jobs", 1
        )
        codes.add(result.code)
        if result.code == 2:
            assert "the trigger changes no pixel at its place" in result.err
            assert not (tmp_path / "out").exists()
            return
    raise AssertionError(f"never on a stripe of its own: {codes}")
