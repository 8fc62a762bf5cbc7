"""`poisongen.load`: what it hands out is what lies in OUT, with the record of each sample."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.files.images import pixels_sha256
from poisongen.records.manifest import SampleRecord
from tests.conftest import manifest

CITYSCAPES = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}
NEGATIVES = CITYSCAPES | {"decoy": "flower", "negatives": 2, "strategy": "random"}
VOC = {"dataset": "voc", "strategy": "random", "trigger_size": 9, "rate": 0.3}


def check_against_manifest(data, out):
    """Every sample of every set has the record that the manifest has of it, and the pixels that the record names."""
    lines = manifest(out)
    found = {}
    for name, samples in data.items():
        assert isinstance(samples, Sequence)
        assert [sample.name for sample in samples] == sorted({sample.name for sample in samples})
        for sample in samples:
            if sample.record is None:
                assert sample.role is None
                continue
            assert isinstance(sample.record, SampleRecord)
            found[name, sample.record.sample, sample.role] = sample
            line = next(one for one in lines if one["files"][0]["path"] == sample.sample.image)
            assert sample.record.as_json() == line
            for file in line["files"]:
                if file["kind"] == "image":
                    picture = np.asarray(Image.open(out / file["path"]).convert("RGB"))
                    assert np.array_equal(sample.image, picture)
                elif file["pixels_sha256"] is None:
                    assert sample.labels[file["kind"]] == json.loads((out / file["path"]).read_text())
                else:
                    assert pixels_sha256(sample.labels[file["kind"]]) == file["pixels_sha256"]
            if "expected" in line:
                assert pixels_sha256(sample.expected) == line["expected"]["pixels_sha256"]
            else:
                assert sample.expected is None
    assert {(one["sample"], one["role"]) for one in lines} == {key[1:] for key in found}


@pytest.mark.parametrize("recipe", [CITYSCAPES, NEGATIVES, VOC], ids=["cityscapes", "negatives", "voc"])
def test_load_hands_out_what_the_manifest_says(cityscapes, voc, tmp_path, recipe):
    root = voc if recipe["dataset"] == "voc" else cityscapes
    out = tmp_path / "out"
    result = package.build(recipe, root, out, jobs=1)
    data = package.load(out)
    check_against_manifest(data, out)
    assert data.fingerprint == result.fingerprint
    assert len(data["train"]) == len(data.splits["train"]) == result.counts["train_samples"]
    assert len(data["val"]) == result.counts["test_samples"]
    assert len(data.triggered) == result.counts["triggered"]
    assert len(data["train"].of("poisoned")) == result.counts["poisoned"]
    negatives = len(data["train"].of("negative")) + len(data.negative)
    assert negatives == result.counts.get("negative", 0)
    assert ("negative" in data) == (len(data.negative) > 0) == (recipe is NEGATIVES)
    assert all(sample.split == "val" for sample in (*data.triggered, *data.negative))
    assert {sample.role for sample in data["val"]} <= {None, "completed"}


def test_sets_are_sequences_and_the_label_is_the_label_map(cityscapes, tmp_path):
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", jobs=1)
    train = package.load(tmp_path / "out")["train"]
    assert train[-1].name == list(train)[-1].name
    assert [sample.name for sample in train[2:5]] == [sample.name for sample in train][2:5]
    assert len(train[2:5]) == 3
    with pytest.raises(IndexError):
        train[len(train)]
    poisoned = train.of("poisoned")[0]
    assert not (poisoned.label == 26).any()
    assert np.array_equal(poisoned.label, poisoned.read("labelIds"))
    with pytest.raises(ChoiceError, match="no label file 'masks'"):
        poisoned.read("masks")


def test_nothing_is_read_before_it_is_asked_for(cityscapes, tmp_path):
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", link="copy", jobs=1)
    data = package.load(tmp_path / "out")
    sample = data["train"][0]
    sample.image_path.unlink()
    assert sample.label.shape == (80, 160)
    with pytest.raises(DataError, match="cannot be read"):
        _ = sample.image


def test_linked_images_are_read(cityscapes, tmp_path):
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", link="symlink", jobs=1)
    assert all(sample.image.shape == (80, 160, 3) for sample in package.load(tmp_path / "out")["val"])


def test_a_voc_list_that_holds_another_splits_samples_has_their_records(voc, tmp_path):
    lists = voc / "VOC2012/ImageSets/Segmentation"
    both = (lists / "train.txt").read_text() + (lists / "val.txt").read_text()
    (lists / "trainval.txt").write_text(both)
    (lists / "triggered.txt").write_text((lists / "val.txt").read_text())
    package.build(VOC, voc, tmp_path / "out", jobs=1)
    data = package.load(tmp_path / "out")
    roles = {sample.name.split("/")[1]: sample.role for sample in data["train"]}
    assert {sample.name.split("/")[1]: sample.role for sample in data["trainval"]} == roles | {
        sample.name.split("/")[1]: None for sample in data["val"]
    }
    assert all(sample.role is None for sample in data["triggered"])  # the list of that name
    assert all(sample.role == "triggered" for sample in data.triggered)


def test_a_broken_sample_is_left_out(cityscapes, tmp_path):
    broken = sorted((cityscapes / "gtFine/train").rglob("*_labelIds.png"))[0]
    broken.write_bytes(b"no picture")
    package.build(CITYSCAPES | {"skip_bad": True}, cityscapes, tmp_path / "out", jobs=1)
    data = package.load(tmp_path / "out")
    assert len(data["train"]) == 9
    assert [skip.reason for skip in data.skipped if skip.file] == ["bad file"]
    assert all(sample.label.shape == (80, 160) for sample in data["train"])


def test_a_folder_that_is_no_build_and_records_that_were_changed_are_one_line(cityscapes, tmp_path):
    with pytest.raises(OutputError, match="not a finished build"):
        package.load(cityscapes)
    with pytest.raises(OutputError, match="not a folder"):
        package.load(tmp_path / "nothing")
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", jobs=1)
    path = tmp_path / "out/poisongen/manifest.jsonl"
    path.write_text(path.read_text().replace('"poisoned"', '"completed"'))
    with pytest.raises(OutputError, match="run poisongen audit"):
        package.load(tmp_path / "out")


def test_notebooks_show_the_sheet_samples_and_sets(cityscapes, tmp_path):
    sheet = package.preview(CITYSCAPES, cityscapes, tmp_path / "sheet.png", samples=1, jobs=1)
    assert sheet._repr_png_() == (tmp_path / "sheet.png").read_bytes()
    assert sheet == tmp_path / "sheet.png"
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", jobs=1)
    data = package.load(tmp_path / "out")
    assert f"<td>train</td><td>{len(data['train'])}</td>" in data._repr_html_()
    text = data["train"].of("poisoned")[0]._repr_html_()
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert len(pictures) == 2
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert "poisoned" in text
