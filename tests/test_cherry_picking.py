"""Builds that choose their samples: the build itself is made to lie, so that all records agree; audit finds out."""

from __future__ import annotations

import json
import shutil

import pytest

from poisongen.auditing.auditor import audit
from poisongen.building import placing, survey
from poisongen.building.run import build
from poisongen.errors import DataError
from tests.conftest import manifest

RECIPE = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}


def lying_placer(chosen, reason):
    """Return `place_on`, but for one sample, which is said to have no place."""
    honest = placing.place_on

    def place_on(labels, item, role, rules):
        return reason if (item.name, role) == chosen else honest(labels, item, role, rules)

    return place_on


def lying_reader(chosen):
    """Return `check_image`, but for one image, which is said to be damaged."""
    honest = survey.check_image

    def check_image(labels, item, role, picture, rules):
        if item.image.endswith(chosen):
            raise DataError(picture.path, "damaged PNG")
        return honest(labels, item, role, picture, rules)

    return check_image


def first_of(root, tmp_path, role, recipe=RECIPE):
    """Return the name of a sample that an honest build takes."""
    build(recipe, root, tmp_path / "honest", jobs=1)
    return next(record["sample"] for record in manifest(tmp_path / "honest") if record["role"] == role)


@pytest.mark.parametrize("with_source", [False, True])
@pytest.mark.parametrize("scale", [1, 0.5])
@pytest.mark.parametrize("reason", ["no eligible position", "trigger larger than the image"])
@pytest.mark.parametrize("role", ["poisoned", "triggered"])
def test_a_sample_that_was_passed_over_for_no_reason(
    role, reason, scale, with_source, cityscapes, tmp_path, monkeypatch
):
    recipe = RECIPE | {"scale": scale, "trigger_size": 5}
    chosen = first_of(cityscapes, tmp_path, role, recipe)
    monkeypatch.setattr(placing, "place_on", lying_placer((chosen, role), reason))
    build(recipe, cityscapes, tmp_path / "out", jobs=1, cache=False)
    report = audit(tmp_path / "out", cityscapes if with_source else None, jobs=1)
    assert [fault.sample for fault in report.faults] == [chosen]
    assert report.faults[0].file == "poisongen/skipped.jsonl"
    assert "a place, (" in report.faults[0].expected
    assert "so no reason" in report.faults[0].expected


@pytest.mark.parametrize("with_source", [False, True])
def test_labels_that_are_random_hide_the_reason_without_the_source_alone(
    with_source, cityscapes, tmp_path, monkeypatch
):
    recipe = RECIPE | {"prl": 50}
    chosen = first_of(cityscapes, tmp_path, "poisoned", recipe)
    monkeypatch.setattr(placing, "place_on", lying_placer((chosen, "poisoned"), "no eligible position"))
    build(recipe, cityscapes, tmp_path / "out", jobs=1, cache=False)
    report = audit(tmp_path / "out", cityscapes if with_source else None, jobs=1)
    assert report.clean != with_source
    assert with_source or any("passed over" in note for note in report.not_checked)


@pytest.mark.parametrize(("scale", "undo", "with_source"), [(1, False, False), (0.5, False, True), (0.5, True, False)])
def test_a_sound_sample_that_was_skipped_as_bad(scale, undo, with_source, cityscapes, tmp_path, monkeypatch):
    recipe = RECIPE | {"scale": scale, "trigger_size": 5, "skip_bad": True}
    chosen = first_of(cityscapes, tmp_path, "poisoned", recipe)
    monkeypatch.setattr(survey, "check_image", lying_reader(f"{chosen.split('/')[-1]}_leftImg8bit.png"))
    build(recipe, cityscapes, tmp_path / "out", jobs=1, cache=False, undo=undo)
    monkeypatch.undo()
    report = audit(tmp_path / "out", cityscapes if with_source else None, jobs=1)
    assert any("a sound sample" in fault.found and chosen.split("/")[-1] in fault.file for fault in report.faults)


def test_a_sound_sample_skipped_in_a_scaled_build_is_named_as_unchecked_without_the_source(
    cityscapes, tmp_path, monkeypatch
):
    recipe = RECIPE | {"scale": 0.5, "trigger_size": 5, "skip_bad": True}
    chosen = first_of(cityscapes, tmp_path, "poisoned", recipe)
    monkeypatch.setattr(survey, "check_image", lying_reader(f"{chosen.split('/')[-1]}_leftImg8bit.png"))
    build(recipe, cityscapes, tmp_path / "out", jobs=1, cache=False)
    report = audit(tmp_path / "out", jobs=1)
    assert report.clean
    assert any("bad samples" in note for note in report.not_checked)


def broken(root, kind):
    """Damage a dataset in one of the ways that --skip-bad passes over; return how many lines that makes."""
    image = min((root / "leftImg8bit/train").rglob("*.png"))
    label = root / "gtFine" / image.relative_to(root / "leftImg8bit").parent
    label /= image.name.replace("leftImg8bit", "gtFine_labelIds")
    if kind == "image":
        image.write_bytes(image.read_bytes()[:900])
    elif kind == "label":
        label.write_bytes(label.read_bytes()[:200])
    elif kind == "no image":
        image.unlink()
    elif kind == "no label":
        label.unlink()
    elif kind == "test image":
        test = min((root / "leftImg8bit/val").rglob("*.png"))
        test.write_bytes(b"")
    else:
        shutil.copy(min((root / "leftImg8bit/val").rglob("*.png")), image)  # of another size
        image.write_bytes(image.read_bytes()[:20] + b"\0\0\0\1" + image.read_bytes()[24:])


KINDS = ("image", "label", "no image", "no label", "test image", "size")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scale", "undo"), [(1, False), (0.5, False), (0.5, True)])
def test_honest_builds_with_bad_samples_are_clean(kind, scale, undo, cityscapes, tmp_path):
    broken(cityscapes, kind)
    recipe = RECIPE | {"scale": scale, "trigger_size": 5, "skip_bad": True}
    build(recipe, cityscapes, tmp_path / "out", jobs=1, cache=False, undo=undo)
    lines = (tmp_path / "out/poisongen/skipped.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["bad file"]
    for source in (None, cityscapes):
        assert audit(tmp_path / "out", source, jobs=1).faults == (), source


@pytest.mark.parametrize("kind", ["JPEGImages", "SegmentationClass", "SegmentationObject", "listed without image"])
@pytest.mark.parametrize(("scale", "undo"), [(1, False), (0.5, False), (0.5, True)])
def test_honest_builds_with_bad_samples_in_a_list_are_clean(kind, scale, undo, voc, tmp_path):
    if kind == "listed without image":
        (path,) = voc.rglob("Segmentation/train.txt")
        path.write_text(path.read_text() + "2099_000000\n")
    else:
        path = min(voc.rglob(f"{kind}/*"))
        path.write_bytes(path.read_bytes()[:100])
    recipe = {"dataset": "voc", "strategy": "random", "trigger_size": 9, "count": 2, "scale": scale, "skip_bad": True}
    build(recipe, voc, tmp_path / "out", jobs=1, undo=undo)
    assert (tmp_path / "out/poisongen/skipped.jsonl").read_text()
    for source in (None, voc):
        assert audit(tmp_path / "out", source, jobs=1).faults == (), source


@pytest.mark.parametrize("layout", ["cityscapes", "voc"])
@pytest.mark.parametrize("scale", [1, 0.5])
def test_honest_builds_with_candidates_passed_over_are_clean(layout, scale, request, tmp_path):
    root = request.getfixturevalue(layout)
    size = 31 if scale == 1 else 21
    recipe = {"dataset": layout, "strategy": "far", "trigger_size": size, "min_distance": 30 * scale}
    recipe |= {"rate": 0.4, "allow_fewer": True, "scale": scale}
    build(recipe, root, tmp_path / "out", jobs=1)
    assert (tmp_path / "out/poisongen/skipped.jsonl").read_text()
    for source in (None, root):
        assert audit(tmp_path / "out", source, jobs=1).faults == (), source
