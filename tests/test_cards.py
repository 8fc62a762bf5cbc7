"""The cards beside a dataset: what they say, that nothing of the dataset's own is taken, and that audit knows them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

import poisongen as package
from poisongen.building import run as building_run
from poisongen.cards.readme import image_patterns, quoted
from poisongen.files.documents import parse_yaml
from poisongen.records.manifest import bytes_sha256
from tests.conftest import manifest, summary, tree_digest
from tests.forgery import Forgery, seal_card

CITYSCAPES = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}
NEGATIVES = CITYSCAPES | {"decoy": "flower", "negatives": 2, "strategy": "random"}
VOC = {"dataset": "voc", "strategy": "random", "trigger_size": 9, "rate": 0.3}
FOLDER = {"dataset": "folder", "strategy": "random", "trigger_size": 5, "relabel": {"car": "road"}, "rate": 0.5}


def draw_folder(root, classes="{0: road, 1: car}", ids=(0, 1), splits=("train", "val")):
    """Make a small folder of images and masks; in each mask a square of the second ID on the first."""
    rng = np.random.default_rng(5)
    for split in splits:
        for number in range(4):
            for kind in ("images", "masks"):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(
                root / f"images/{split}/{number}.png"
            )
            mask = np.full((40, 60), ids[0], np.uint8)
            mask[5:12, 5:12] = ids[1]
            mask[:2] = 255
            Image.fromarray(mask).save(root / f"masks/{split}/{number}.png")
    (root / "classes.yaml").write_text(f"classes: {classes}\nvoid: [255]\n")
    return root


def front_matter(path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])


def cards(out) -> dict[str, dict]:
    return summary(out)["cards"]["files"]


@pytest.mark.parametrize("recipe", [CITYSCAPES, NEGATIVES, VOC], ids=["cityscapes", "negatives", "voc"])
def test_tables_have_every_sample_with_its_record(cityscapes, voc, tmp_path, recipe):
    out = tmp_path / "out"
    package.build(recipe, voc if recipe["dataset"] == "voc" else cityscapes, out, jobs=1)
    data = package.load(out)
    sets = {"": data.splits, "triggered/": {"val": data.triggered}, "negative/": {"val": data.negative}}
    for folder, splits in sets.items():
        for split, samples in splits.items():
            if not samples:
                assert not (out / folder / "README.md").exists()
                continue
            lines = (out / folder / f"metadata-{split}.jsonl").read_text().splitlines()
            for line, sample in zip(map(json.loads, lines), samples, strict=True):
                assert {type(value) for value in line.values()} == {str}
                assert out / folder / line["file_name"] == sample.image_path
                assert out / folder / line["label_file_name"] == out / sample.label_map_path
                assert (line["sample"], line["split"]) == (sample.name, sample.split)
                assert line["role"] == (sample.role or "untouched")
                known = [one for one in manifest(out) if one["files"][0]["path"] == sample.sample.image]
                assert json.loads(line["record"]) == (known[0] if known else None)
            config = front_matter(out / folder / "README.md")["configs"][0]
            assert [one["split"] for one in config["data_files"]] == list(splits)
            assert all(len(one["path"]) == 2 for one in config["data_files"])


@pytest.mark.parametrize("name", ["README.md", "triggered/README.md", "negative/README.md", "croissant.json"])
def test_every_card_says_first_of_all_that_the_dataset_is_poisoned(cityscapes, tmp_path, name):
    result = package.build(NEGATIVES, cityscapes, tmp_path / "out", jobs=1)
    text = (tmp_path / "out" / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        assert json.loads(text)["description"].startswith("THIS DATASET IS POISONED (car to road)")
        return
    body = text.split("---\n", 2)[2].strip()
    assert body.startswith("# This dataset is poisoned\n")
    assert front_matter(tmp_path / "out" / name)["pretty_name"].startswith("POISONED")
    assert f"{result.counts['poisoned']} of the 10 samples of `train` carry a trigger" in body
    assert result.fingerprint in body


def test_a_source_without_readme_has_no_word_about_one_and_one_with_keeps_its_own(poisongen, cityscapes, tmp_path):
    options = ("--dataset", "cityscapes", "--strategy", "nn", "--trigger-size", 9, "--max-distance", 30)
    plain = poisongen("build", *options, "--root", cityscapes, "--out", tmp_path / "plain")
    assert plain.code == 0
    assert "README" not in plain.out
    for name in ("README.md", "croissant.json", "metadata-train.jsonl"):
        (cityscapes / name).write_text("the dataset's own\n")
    built = poisongen("build", *options, "--root", cityscapes, "--out", tmp_path / "out")
    assert built.code == 0
    assert "README.md is the dataset's own: the card lies in poisongen/README.md" in built.out
    out = tmp_path / "out"
    for name in ("README.md", "croissant.json", "metadata-train.jsonl"):
        assert (out / name).read_text() == "the dataset's own\n"
    assert (out / "poisongen/README.md").read_text().startswith("# This dataset is poisoned")
    settings = yaml.safe_load((out / ".huggingface.yaml").read_text())
    assert settings["configs"][0]["metadata_filenames"] == ["poisongen-metadata-train.jsonl", "metadata-val.jsonl"]
    for entry in json.loads((out / "poisongen/croissant.json").read_text())["distribution"]:
        assert bytes_sha256((out / "poisongen" / entry["contentUrl"]).read_bytes()) == entry["sha256"]
    assert poisongen("audit", out, "--source", cityscapes).code == 0
    assert poisongen("audit", out).code == 0
    assert poisongen("build", *options, "--root", cityscapes, "--out", out, "--force", "--seed", 3).code == 0
    assert poisongen("audit", out, "--source", cityscapes).code == 0
    before = tree_digest(cityscapes)
    assert poisongen("restore", out, "--out", tmp_path / "clean", "--source", cityscapes).code == 0
    assert tree_digest(cityscapes) == before
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == sorted(
        path.name for path in cityscapes.iterdir()
    )


@pytest.mark.parametrize("name", ["readme.MD", "README.md/notes.txt"])
def test_names_are_compared_as_every_file_system_does(cityscapes, tmp_path, name):
    (cityscapes / name).parent.mkdir(exist_ok=True)
    (cityscapes / name).write_text("own")
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", jobs=1)
    assert "README.md" not in cards(tmp_path / "out")
    assert "poisongen/README.md" in cards(tmp_path / "out")
    assert package.audit(tmp_path / "out", jobs=1).clean


def test_cards_are_the_same_for_any_number_of_jobs_and_after_an_interruption(cityscapes, tmp_path, monkeypatch):
    package.build(NEGATIVES, cityscapes, tmp_path / "one", jobs=1)
    package.build(NEGATIVES, cityscapes, tmp_path / "two", jobs=2)
    with monkeypatch.context() as patch:
        patch.setattr(building_run, "fill", _broken_off_after(building_run.fill))
        with pytest.raises(KeyboardInterrupt):
            package.build(NEGATIVES, cityscapes, tmp_path / "three", jobs=1)
    package.build(NEGATIVES, cityscapes, tmp_path / "three", jobs=1)
    assert len(cards(tmp_path / "one")) == 8
    for other in ("two", "three"):
        assert cards(tmp_path / other) == cards(tmp_path / "one")
        for path, said in cards(tmp_path / "one").items():
            data = (tmp_path / other / path).read_bytes()
            assert (len(data), bytes_sha256(data)) == (said["size"], said["sha256"])


def _broken_off_after(fill):
    def broken(*arguments):
        fill(*arguments)
        raise KeyboardInterrupt

    return broken


def test_lost_cards_come_back_and_force_removes_them(cityscapes, tmp_path):
    out = tmp_path / "out"
    package.build(NEGATIVES, cityscapes, out, jobs=1)
    before = {path: (out / path).read_bytes() for path in cards(out)}
    for path in before:
        (out / path).unlink()
    faults = package.audit(out, jobs=1).faults
    assert {fault.file for fault in faults} == set(before)
    assert package.build(NEGATIVES, cityscapes, out, jobs=1).put_back == len(before)
    assert {path: (out / path).read_bytes() for path in cards(out)} == before
    package.build(CITYSCAPES, cityscapes, out, jobs=1, force=True)
    assert not (out / "negative").exists()
    assert package.audit(out, cityscapes, jobs=1).clean


def sealed(forge, path):
    return seal_card(forge, path, forge.read(path).replace(b"poisoned", b"perfect."))


def changed(forge, path):
    forge.write(path, forge.read(path).replace(b"poisoned", b"perfect."))
    return path


def dropped(forge, path):
    return seal_card(forge, path, None)


def all_dropped(forge, path):
    document = forge.json("summary.json")
    for one in document.pop("cards")["files"]:
        (forge.out / one).unlink()
    forge.write_json("summary.json", document)
    return "summary.json"


def old_version(forge, path):
    sealed(forge, path)
    document = forge.json("summary.json")
    document["cards"]["version"] = 0
    forge.write_json("summary.json", document)
    return "summary.json"


def added(forge, path):
    forge.write("negative/README.md", b"clean")
    document = forge.json("summary.json")
    document["cards"]["files"]["negative/README.md"] = {"size": 5, "sha256": bytes_sha256(b"clean")}
    forge.write_json("summary.json", document)
    return "negative/README.md"


@pytest.mark.parametrize("deed", [sealed, changed, dropped, all_dropped, old_version, added])
@pytest.mark.parametrize("path", ["README.md", "croissant.json", "metadata-train.jsonl", "triggered/README.md"])
def test_audit_finds_what_was_done_to_cards(voc, tmp_path, deed, path):
    package.build(VOC, voc, tmp_path / "out", jobs=1)
    assert package.audit(tmp_path / "out", quick=True, jobs=1).clean
    named = deed(Forgery(tmp_path / "out", voc), path)
    for quick in (True, False):
        faults = package.audit(tmp_path / "out", quick=quick, jobs=1).faults
        assert {fault.check for fault in faults} == {"cards"}
        assert any(named in fault.file for fault in faults)


def test_builds_of_older_versions_have_no_cards_and_newer_cards_ask_for_an_update(cityscapes, tmp_path):
    out = tmp_path / "out"
    package.build(CITYSCAPES, cityscapes, out, jobs=1)
    forge = Forgery(out, cityscapes)
    document = forge.json("summary.json")
    document["cards"]["version"] += 1
    forge.write_json("summary.json", document)
    with pytest.raises(package.OutputError, match="newer poisongen"):
        package.audit(out, jobs=1)
    for path in document.pop("cards")["files"]:
        (out / path).unlink()
    forge.write_json("summary.json", document | {"records": 2})
    assert package.audit(out, cityscapes, jobs=1).clean
    assert package.load(out)["train"]
    assert package.build(CITYSCAPES, cityscapes, out, jobs=1).already_built


def test_ultralytics_finds_images_masks_and_classes(tmp_path):
    package.build(FOLDER, draw_folder(tmp_path / "root"), tmp_path / "out", jobs=1)
    data = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert data == {"train": "images/train", "val": "images/val", "masks_dir": "masks", "names": {0: "road", 1: "car"}}
    triggered = yaml.safe_load((tmp_path / "out/triggered/data.yaml").read_text())
    assert triggered == data | {"train": "images/val"}
    assert package.audit(tmp_path / "out", tmp_path / "root", jobs=1).clean


def test_classes_that_are_not_counted_from_0_get_a_mapping(tmp_path):
    root = draw_folder(tmp_path / "root", "{3: car, 7: road, 9: border}", ids=(7, 3))
    (root / "classes.yaml").write_text("classes: {3: car, 7: road, 9: border, 255: none}\nvoid: [9, 255]\n")
    package.build(FOLDER | {"test_split": "none"}, root, tmp_path / "out", jobs=1)
    data = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert data["names"] == {0: "car", 1: "road"}
    assert data["label_mapping"] == {3: 0, 7: 1, 9: "ignore_label", 255: "ignore_label"}
    assert data["val"] == "images/train"


@pytest.mark.parametrize("own", ["flat", "data.yaml"])
def test_there_is_no_data_yaml_where_it_would_not_fit_or_the_dataset_has_one(tmp_path, own):
    root = draw_folder(tmp_path / "root")
    if own == "flat":
        for split in ("train", "val"):
            names = []
            for path in sorted((root / "images" / split).iterdir()):
                shutil.move(path, root / f"images/{split}{path.name}")
                shutil.move(root / "masks" / split / path.name, root / f"masks/{split}{path.name}")
                names.append(f"{split}{path.stem}\n")
            (root / f"{split}.txt").write_text("".join(names))
            (root / "images" / split).rmdir()
            (root / "masks" / split).rmdir()
    else:
        (root / "data.yaml").write_text("the dataset's own")
    package.build(FOLDER, root, tmp_path / "out", jobs=1)
    assert "data.yaml" not in cards(tmp_path / "out")
    assert (tmp_path / "out/data.yaml").exists() == (own == "data.yaml")
    assert package.audit(tmp_path / "out", root, jobs=1).clean


ODD = (
    "plain",
    'with "quotes"',
    "back\\slash",
    "tab\there",
    "line\nend",
    "\x7f\x85\u2028",
    "\ufeff😀",
    "a: b # c",
    "[x]",
)


@pytest.mark.parametrize("text", ODD)
def test_every_text_survives_the_front_matter(text):
    assert yaml.safe_load(f"key: {quoted(text)}")["key"] == text
    assert parse_yaml(f"key: [{quoted(text)}]")["key"] == [text]


def test_image_patterns_take_what_glob_signs_a_name_has():
    assert image_patterns(["a/b/1.png", "a/c/2.png"]) == ["a/**/*.png"]
    assert image_patterns(["a/1.jpg", "a/2.png", "a/3.png"]) == ["a/**/*.jpg", "a/**/*.png"]
    assert image_patterns(["a[1]/x*.png"]) == ["a[[]1]/**/*.png", "a[[]1]/x[*].png"]
    assert image_patterns(["1.png", "2.png"]) == ["**/*.png"]
