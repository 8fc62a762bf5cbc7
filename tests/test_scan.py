"""`scan` as a user calls it: clean sets, poisoned ones, hostile trees; nothing but images and labels is read."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.building.run import build
from poisongen.errors import ChoiceError
from poisongen.scanning import cells, classifier, scanner
from poisongen.scanning.findings import Findings
from poisongen.scenes import synth
from tests.conftest import manifest, tree_digest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs the extra `scan`")

ACCUSED = 2
"""Clean samples that the small forest of these tests may accuse, of 37 or more; benchmarks/scan.py has the real one."""

ATTACK = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 15, "max_distance": 40, "test_split": "none"}


@pytest.fixture(autouse=True)
def _small_forest(monkeypatch):
    """Train little, so that the tests are quick."""
    monkeypatch.setattr(classifier, "_TREES", 16)
    monkeypatch.setattr(classifier, "_TRAINED_ON", 9000)
    monkeypatch.setattr(cells, "CELLS", 500)


@pytest.fixture(scope="session")
def streets(tmp_path_factory):
    """Clean scenes."""
    root = tmp_path_factory.mktemp("scan") / "clean"
    synth(root, splits={"train": 46, "val": 2}, size=(224, 112), seed=21)
    return root


@pytest.fixture(scope="session")
def poisoned(streets, tmp_path_factory):
    """A build of a fifth of them, with random labels of 4 % in all."""
    out = tmp_path_factory.mktemp("scan") / "out"
    build({**ATTACK, "rate": 0.2, "prl": "4%", "seed": 5}, streets, out, jobs=1)
    return out


@dataclass(frozen=True)
class Hit:
    index: int
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True)
class Patch:
    size: tuple[int, int]
    picture: np.ndarray
    confidence: float
    hits: tuple[Hit, ...]


def no_patches(*_):
    return ()


@pytest.fixture
def without_patches(monkeypatch):
    monkeypatch.setattr(scanner, "search_patches", no_patches)


@pytest.fixture
def with_patches(monkeypatch, poisoned):
    """A search that finds what the manifest says: what scan makes of it is the matter here."""

    def search(suspect, jobs, progress=False):
        places = {sample.name: at for at, sample in enumerate(suspect.samples)}
        boxes = {one["sample"]: one["trigger"]["box"] for one in manifest(poisoned) if one["role"] == "poisoned"}
        hits = tuple(Hit(places[name], tuple(box), 0.97) for name, box in boxes.items())
        return (Patch((15, 15), np.full((15, 15, 3), 200, np.uint8), 0.95, hits),)

    monkeypatch.setattr(scanner, "search_patches", search)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def findings_of(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("layout", ["cityscapes", "voc"])
def test_a_clean_set_is_clean(layout, poisongen, streets, tmp_path, without_patches):
    root = streets
    if layout == "voc":
        synth(tmp_path / "voc", layout="voc", splits={"train": 40, "val": 2}, size=(200, 150), seed=8)
        root = tmp_path / "voc/VOCdevkit"
    done = poisongen("scan", root, "--dataset", layout, "--jobs", 1, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["verdict"] == "clean"
    assert (found["trigger"], found["pairs"], found["prl"], found["suspects"]) == (None, [], None, [])


def test_random_labels_and_the_pair_are_named(poisongen, poisoned, without_patches):
    before = tree_digest(poisoned)
    done = poisongen(
        "scan", poisoned, "--dataset", "cityscapes", "--out", "here/findings.json", "--sheet", "here/sheet.png",
        "--truth", "--jobs", 1,
    )  # fmt: skip
    assert (done.code, done.err) == (1, "")
    assert tree_digest(poisoned) == before
    found = findings_of(Path("here/findings.json"))
    assert found["verdict"] == "poisoned"
    assert found["prl"]["share"] == pytest.approx(0.04, rel=0.1)
    assert (found["prl"]["scope"], found["prl"]["classes"]) == ("all", "image")
    assert [(pair["victim"], pair["target"]) for pair in found["pairs"]] == [("car", "road")]
    assert Path("here/sheet.png").read_bytes()[:4] == b"\x89PNG"
    guilty = {one["sample"] for one in manifest(poisoned) if one["role"] == "poisoned"}
    named = {one["sample"] for one in found["suspects"]}
    assert len(named - guilty) <= ACCUSED
    assert len(named) >= len(guilty) / 3
    lines = Path("here/clean.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 46 - len(named)
    assert all((poisoned / path).is_file() for line in lines for path in line.split(" "))
    assert Findings.model_validate(found).as_json() == found
    assert "against the manifest" in done.out


def test_a_patch_and_labels_together(poisongen, poisoned, with_patches):
    done = poisongen(
        "scan", poisoned, "--dataset", "cityscapes", "--out", "findings.json", "--sheet", "sheet.png",
        "--truth", "--json", "--jobs", 1,
    )  # fmt: skip
    assert done.code == 1
    found, written = json.loads(done.out), findings_of(Path("findings.json"))
    truth = found.pop("truth")
    assert found == written
    assert found["trigger"]["picture"] == "trigger.png"
    assert read(Path("trigger.png")).shape == (15, 15, 3)
    assert found["trigger"]["size"] == [15, 15]
    assert found["trigger"]["confidence"] > 0.95
    assert [(pair["victim"], pair["target"]) for pair in found["pairs"]] == [("car", "road")]
    assert truth["evidence"]["all"]["recall"] == 1
    assert truth["evidence"]["all"]["false_alarms"] == 0
    assert (truth["iou"], truth["good_boxes"], truth["pairs_right"], truth["scope_right"]) == (1, 1, True, True)


def test_a_patch_that_no_label_speaks_for_is_not_sure(poisongen, streets, monkeypatch):
    hits = tuple(Hit(at, (5, 5, 15, 15), 0.8) for at in range(0, 46, 7))
    patch = Patch((15, 15), np.zeros((15, 15, 3), np.uint8), 0.6, hits)
    monkeypatch.setattr(scanner, "search_patches", lambda *_: (patch,))
    done = poisongen("scan", streets, "--dataset", "cityscapes", "--jobs", 1, "--json")
    found = json.loads(done.out)
    assert (done.code, found["verdict"], found["pairs"]) == (1, "unsure", [])
    assert any("badge" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("choices", "scope", "classes"),
    [
        ({"prl": "2%", "prl_scope": "poisoned"}, "some", "image"),
        ({"prl": "10%", "prl_classes": "dataset"}, "all", "dataset"),
        ({"prl": "5%", "prl_classes": "void"}, "all", "void"),
        ({"prl": "5%", "prl_classes": "sky"}, "all", "sky"),
    ],
)
def test_random_labels_of_every_kind(choices, scope, classes, poisongen, streets, tmp_path, without_patches):
    build({**ATTACK, "rate": 0.15, "seed": 9, **choices}, streets, tmp_path / "out", jobs=1)
    result = package.scan(tmp_path / "out", "cityscapes", truth=True, jobs=1)
    assert result.findings.verdict == "poisoned"
    prl = result.findings.prl
    assert (prl.scope, prl.classes) == (scope, classes)
    assert prl.share == pytest.approx(result.truth.prl_share, rel=0.1)
    assert result.truth.scope_right
    assert result.truth.evidence["all"].false_alarms <= ACCUSED
    if scope == "some":
        assert result.truth.evidence["random-labels"].recall == 1


def test_companions_that_were_forgotten(poisongen, streets, tmp_path, without_patches):
    """Somebody edits labelIds and trainIds of five samples and no other file."""
    root = tmp_path / "edited"
    shutil.copytree(streets, root)
    edited = 0
    for path in sorted(root.glob("gtFine/train/*/*_labelIds.png")):
        ids = read(path)
        if edited < 5 and (ids == 26).sum() > 300:
            edited += 1
            Image.fromarray(np.where(ids == 26, 7, ids).astype(np.uint8)).save(path)
    done = poisongen("scan", root, "--dataset", "cityscapes", "--jobs", 1, "--json")
    found = json.loads(done.out)
    assert (done.code, found["verdict"]) == (1, "poisoned")
    assert len(found["suspects"]) == edited == 5
    assert all("companions" in one["evidence"] for one in found["suspects"])
    assert (found["pairs"][0]["victim"], found["pairs"][0]["target"]) == ("car", "road")


@pytest.mark.slow
def test_poisongens_own_folder_is_never_read(poisongen, poisoned, tmp_path, without_patches):
    """Taken away, or full of lies, loops and things that are no files: the findings are the same."""
    told = package.scan(poisoned, "cityscapes", jobs=1).findings.as_json()
    for name in ("bare", "lies"):
        root = tmp_path / name
        shutil.copytree(poisoned, root)
        shutil.rmtree(root / "poisongen")
        for card in ("README.md", "croissant.json", "metadata-train.jsonl"):
            (root / card).unlink(missing_ok=True)
        if name == "lies":
            (root / "poisongen").mkdir()
            (root / "poisongen/manifest.jsonl").write_text("{}\n")
            (root / "poisongen/loop").symlink_to(root)
            (root / "triggered").mkdir()
            (root / "triggered/loop").symlink_to(root)
            (root / "README.md").write_text("this set is clean")
        assert package.scan(root, "cityscapes", jobs=1).findings.as_json() == told


def test_jobs_do_not_matter(cityscapes, monkeypatch):
    monkeypatch.undo()  # workers know nothing of it
    monkeypatch.setattr(scanner, "search_patches", no_patches)
    assert package.scan(cityscapes, "cityscapes", jobs=1) == package.scan(cityscapes, "cityscapes", jobs=2)


def test_voc_gets_a_list_of_its_own(poisongen, voc, tmp_path, without_patches):
    result = package.scan(voc, "voc", out=tmp_path / "found/findings.json", jobs=1)
    names = (tmp_path / "found/clean/VOC2012/ImageSets/Segmentation/train.txt").read_text().split()
    suspects = {one.sample.removeprefix("train/") for one in result.findings.suspects}
    own = (voc / "VOC2012/ImageSets/Segmentation/train.txt").read_text().split()
    assert names == [name for name in sorted(own) if name not in suspects]


def damage(root, name):
    image = next(root.glob("leftImg8bit/train/*/*.png"))
    label = next(root.glob("gtFine/train/*/*_labelIds.png"))
    if name == "broken image":
        image.write_bytes(image.read_bytes()[:200])
    elif name == "no label":
        label.unlink()
    elif name == "other size":
        Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(image)
    elif name == "foreign class":
        ids = read(label).copy()
        ids[0, 0] = 99
        Image.fromarray(ids).save(label)
    elif name == "empty label":
        label.write_bytes(b"")
    elif name == "loop":
        (root / "leftImg8bit/loop").symlink_to(root)
    elif name == "nothing":
        shutil.rmtree(root)
        root.mkdir()
    elif name == "gone":
        shutil.rmtree(root)


@pytest.mark.parametrize(
    "name",
    ["broken image", "no label", "other size", "foreign class", "empty label", "loop", "nothing", "gone"],
)
def test_hostile_trees_get_one_line(name, poisongen, cityscapes, without_patches):
    damage(cityscapes, name)
    done = poisongen("scan", cityscapes, "--dataset", "cityscapes", "--jobs", 1, "--out", "findings.json")
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert not Path("findings.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--dataset"),
        (("--dataset", "cityscape"), "cityscapes"),
        (("--dataset", "voc"), "no PASCAL VOC here"),
        (("--dataset", "cityscapes", "--split", "trian"), "no split 'trian'"),
        (("--dataset", "cityscapes", "--out", "ROOT/findings.json"), "inside the dataset"),
        (("--dataset", "cityscapes", "--sheet", "ROOT/deep/sheet.png"), "inside the dataset"),
        (("--dataset", "cityscapes", "--out", "findings.txt"), ".json"),
        (("--dataset", "cityscapes", "--sheet", "sheet.jpg"), ".png"),
        (("--dataset", "cityscapes", "--jobs", "0"), "--jobs"),
        (("--dataset", "cityscapes", "--truth"), "not a finished build"),
    ],
)
def test_bad_calls_get_one_line(arguments, said, poisongen, cityscapes):
    before = tree_digest(cityscapes)
    done = poisongen("scan", cityscapes, *(str(word).replace("ROOT", str(cityscapes)) for word in arguments))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert tree_digest(cityscapes) == before


def test_without_scikit_learn_it_says_what_to_install(poisongen, cityscapes, monkeypatch):
    usual = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "sklearn" else usual(name, *more)
    )
    done = poisongen("scan", cityscapes, "--dataset", "cityscapes")
    assert done.code == 2
    assert "pip install scikit-learn" in done.err
    with pytest.raises(ChoiceError):
        package.scan(cityscapes, "cityscapes")


def test_a_handful_of_samples_is_judged_by_what_can_be(poisongen, tmp_path, without_patches):
    synth(tmp_path / "few", splits={"train": 3, "val": 1}, size=(160, 80), seed=1)
    done = poisongen("scan", tmp_path / "few", "--dataset", "cityscapes", "--jobs", 1)
    assert done.code == 0
    assert "too few samples" in done.out
