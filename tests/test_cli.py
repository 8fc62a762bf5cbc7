"""The command line as a user calls it: output, exit status, help and the API behind it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import poisongen as package
from tests.conftest import SMALL_CITYSCAPES, manifest, summary


def test_build_says_what_it_did_and_again_that_it_is_there(poisongen, cityscapes, tmp_path):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.2, "--out", "out", "--jobs", 1)
    first = poisongen(*call)
    assert (first.code, first.err) == (0, "")
    lines = first.out.splitlines()
    assert lines[0].startswith("out: 2 of 10 training samples poisoned, ")
    assert lines[-1] == f"fingerprint {summary(tmp_path / 'out')['fingerprint']}"
    again = poisongen(*call)
    assert again.code == 0
    assert again.out.startswith("out: already built; 2 of 10")
    assert again.out.splitlines()[-1] == lines[-1]


def test_out_has_a_name_of_its_own(poisongen, cityscapes, tmp_path):
    result = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--json")
    report = json.loads(result.out)
    assert report["out"].startswith("poisoned/cityscapes-nn-")
    assert report["out"].endswith(summary(tmp_path / report["out"])["recipe_sha256"][:8])
    assert report["counts"]["poisoned"] == 1


def test_dry_run_tells_the_plan_and_writes_nothing(poisongen, cityscapes, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.3, "--dry-run")
    assert result.code == 0
    assert "would get: 3 of 10 training samples poisoned" in result.out
    assert "MB to write" in result.out
    assert sorted(tmp_path.iterdir()) == before
    plan = json.loads(poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--dry-run", "--json").out)
    assert plan["counts"]["train_samples"] == 10
    assert sorted(tmp_path.iterdir()) == before


def test_dry_run_counts_what_is_linked_and_what_takes_room(poisongen, cityscapes, tmp_path):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", tmp_path / "out")
    plan = json.loads(poisongen(*call, "--dry-run", "--json").out)
    assert poisongen(*call, "--link", "hardlink").code == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "poisongen" not in path.parts]
    linked = [path.stat().st_size for path in files if path.stat().st_nlink > 1]
    written = [path.stat().st_size for path in files if path.stat().st_nlink == 1]
    assert (plan["links"], plan["bytes_linked"]) == (len(linked), sum(linked))
    assert plan["bytes_written"] == pytest.approx(sum(written), rel=0.25)


def test_root_comes_from_environment_and_usual_place(poisongen, cityscapes, tmp_path, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(cityscapes))
    assert poisongen("build", *SMALL_CITYSCAPES, "--out", "a").code == 0
    monkeypatch.delenv("CITYSCAPES_DATASET")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cityscapes").symlink_to(cityscapes)
    assert poisongen("build", *SMALL_CITYSCAPES, "--out", "b").code == 0
    assert summary(tmp_path / "a")["fingerprint"] == summary(tmp_path / "b")["fingerprint"]


def test_a_recipe_of_an_earlier_build_rebuilds_it(poisongen, cityscapes, tmp_path):
    poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--seed", 5, "--prl", "3%", "--out", "a")
    again = poisongen("build", "--recipe", "a/poisongen/recipe.json", "--root", cityscapes, "--out", "b")
    assert again.code == 0
    assert summary(tmp_path / "a")["fingerprint"] == summary(tmp_path / "b")["fingerprint"]
    other = poisongen("build", "--recipe", "a/poisongen/recipe.json", "--root", cityscapes, "--seed", 6, "--out", "c")
    assert other.code == 0
    assert summary(tmp_path / "a")["fingerprint"] != summary(tmp_path / "c")["fingerprint"]


def test_a_recipe_file_in_yaml_and_options_that_win(poisongen, cityscapes, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "dataset: cityscapes\nstrategy: far\nmin_distance: 5\ntrigger_size: 7\nrate: 0.5\nrelabel: {person: road}\n"
    )
    call = ("build", "--recipe", "mine.yaml", "--root", cityscapes, "--count", 1, "--victim", "car", "--out", "out")
    assert poisongen(*call).code == 0
    recipe = json.loads((tmp_path / "out/poisongen/recipe.json").read_text())
    assert (recipe["count"], recipe["rate"], recipe["relabel"]) == (1, None, {"car": "road"})
    assert (recipe["min_distance"], recipe["strategy"]) == (5.0, "far")
    assert summary(tmp_path / "out")["counts"]["poisoned"] == 1


@pytest.mark.parametrize("name", ["iba-baseline", "iba-nni", "iba-prl"])
@pytest.mark.parametrize("dataset", ["cityscapes", "voc"])
def test_shipped_recipes_carry_the_papers_settings(poisongen, request, name, dataset):
    root = request.getfixturevalue(dataset)
    small = () if dataset == "voc" else ("--trigger-size", 9)
    call = ("build", "--recipe", name, "--dataset", dataset, "--root", root, *small, "--dry-run", "--json")
    result = poisongen(*call)
    assert result.code == 0, result.err
    assert json.loads(result.out)["counts"]["poisoned"] == 1


def test_victims_by_name_and_by_id_are_the_same(poisongen, cityscapes, tmp_path):
    poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--victim", "car", "--target", "road", "--out", "a")
    poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--victim", 26, "--target", 7, "--out", "b")
    poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--relabel", "Car=ROAD", "--out", "c")
    assert len({summary(tmp_path / name)["fingerprint"] for name in "abc"}) == 1


def test_a_trigger_file_of_the_users_own(poisongen, cityscapes, tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 20), (255, 0, 200)).save(tmp_path / "mine.png")
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--trigger", "mine.png", "--out", "out")
    assert poisongen(*call).code == 0
    record = next(record for record in manifest(tmp_path / "out") if record["role"] == "poisoned")
    top, left, height, width = record["trigger"]["box"]
    image = Image.open(tmp_path / "out" / record["files"][0]["path"])
    assert image.crop((left, top, left + width, top + height)).getcolors() == [(width * height, (255, 0, 200))]


def test_preview_draws_a_sheet_and_no_dataset(poisongen, cityscapes, tmp_path):
    from PIL import Image

    before = {path.name for path in tmp_path.iterdir()}
    result = poisongen("preview", *SMALL_CITYSCAPES, "--root", cityscapes, "--prl", "4%", "--samples", 3)
    assert (result.code, result.out) == (0, "preview.png: look at it\n")
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.width > 1500
        assert sheet.height > 600
    assert {path.name for path in tmp_path.iterdir()} - before == {"preview.png"}


def test_demo_runs_from_nothing_and_twice(poisongen, tmp_path):
    first = poisongen("demo", "--jobs", 1)
    assert first.code == 0, first.err
    assert (tmp_path / "demo/sheet.png").is_file()
    assert "poisoned dataset" in first.out
    second = poisongen("demo", "--jobs", 1, "--json")
    assert json.loads(second.out)["fingerprint"] in first.out


def test_synth_through_the_command_line(poisongen, tmp_path):
    call = ("synth", "s", "--layout", "voc", "--train", 2, "--val", 1, "--size", "96x64", "--seed", 9, "--jobs", 1)
    assert poisongen(*call).code == 0
    assert len(list((tmp_path / "s/VOCdevkit/VOC2012/JPEGImages").iterdir())) == 3
    bad = poisongen("synth", "t", "--size", "96by64")
    assert bad.code == 2
    assert "WIDTHxHEIGHT" in bad.err


def test_list_names_everything(poisongen):
    everything = json.loads(poisongen("list", "--json").out)
    assert everything["classes"]["26"] == "car"
    assert everything["classes"]["0"] == "unlabeled (void)"
    assert set(everything["datasets"]) >= {"ade20k", "camvid", "cityscapes", "folder", "mapillary", "voc"}
    assert "cat" in everything["triggers"]
    assert "iba-nni-voc" in everything["recipes"]
    assert poisongen("list", "classes", "--dataset", "voc").out.splitlines()[15].split() == ["15", "person"]


def test_help_is_quick_and_needs_no_numpy():
    code = (
        "import sys, poisongen.cli\ntry: poisongen.cli.group.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'pydantic', 'torch', 'scipy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert time.perf_counter() - begin < 5  # 0.1 s on an idle machine; what counts is the list of modules above
    assert "preview" in done.stdout


def test_python_dash_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "poisongen", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == f"poisongen, version {package.__version__}"


def test_the_package_offers_its_functions(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    for name in set(package.__all__) - {"train", "TrainResult"}:
        assert getattr(package, name) is not None
    monkeypatch.delitem(vars(package), "train", raising=False)
    with pytest.raises(
        package.ChoiceError, match=r"need torch, which is not installed: pip install 'poisongen\[train\]'"
    ):
        _ = package.train
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        _ = package.bild


def test_build_is_a_function_too(cityscapes, tmp_path):
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.2}
    result = package.build(choices, cityscapes, tmp_path / "out", jobs=1)
    assert result.counts["poisoned"] == 2
    assert result.fingerprint == summary(tmp_path / "out")["fingerprint"]
    with pytest.raises(package.ChoiceError, match="no class 'cra' in this dataset; did you mean car"):
        package.build({**choices, "victim": "cra"}, cityscapes, tmp_path / "other")
