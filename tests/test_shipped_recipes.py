"""Every recipe that comes with the package: what it says of itself, and that it builds on data of its layout."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from poisongen.datasets import find_layout
from poisongen.recipe.model import make_recipe, read_recipe_file, recipe_titles, shipped_recipes
from poisongen.recipe.settling import settle
from poisongen.scenes import synth
from tests.conftest import manifest, summary


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Scenes that hold what the recipes ask for: persons with and without cars, terrain, a road."""
    folder = tmp_path_factory.mktemp("recipes")
    synth(folder / "cityscapes", splits={"train": 24, "val": 8}, size=(256, 128), seed=3)
    synth(folder / "voc", layout="voc", splits={"train": 24, "val": 8}, size=(160, 120), seed=3)
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc/VOCdevkit"}


def contents(root):
    """Return every file's bytes by its path below a folder."""
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_builds(poisongen, scenes, tmp_path, name):
    choices = read_recipe_file(name)
    if choices.get("trigger_kind") == "wavelet":
        pytest.importorskip("pywt")
    small = ["--count", 2]
    small += ["--trigger-size", 9] if "trigger_size" in choices else []
    small += ["--max-distance", 40] if choices["strategy"] == "nn" else []
    small += ["--prl", "3%"] if "prl" in choices else []
    root = scenes[choices["dataset"]]
    result = poisongen("build", "--recipe", name, "--root", root, "--out", "out", *small, "--jobs", 1)
    assert result.code == 0, result.err
    roles = [record["role"] for record in manifest(tmp_path / "out") if record["split"] == "train"]
    assert roles.count("poisoned") == 2
    wanted = {None: 0, "100%": 2, "50%": 1}[choices.get("negatives")]
    assert roles.count("negative") == wanted
    counts = summary(tmp_path / "out")["counts"]
    assert counts["triggered"] > 0
    kept = json.loads((tmp_path / "out/poisongen/recipe.json").read_text(encoding="utf-8"))
    assert kept["version"] == choices["version"]
    assert kept["strategy"] == choices["strategy"]
    for source in ((), ("--source", root)):
        judged = poisongen("audit", "out", *source, "--jobs", 1)
        assert judged.code == 0, judged.out
    back = poisongen("restore", "out", "--source", root, "--out", "back", "--jobs", 1)
    assert back.code == 0, back.err
    assert contents(tmp_path / "back") == contents(root)
    again = poisongen("build", "--recipe", "out/poisongen/recipe.json", "--root", root, "--out", "two", "--jobs", 1)
    assert again.code == 0, again.err
    assert summary(tmp_path / "two")["fingerprint"] == summary(tmp_path / "out")["fingerprint"]


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_copy_of_a_shipped_recipe_is_the_same_recipe(tmp_path, name):
    """Also where its trigger is `line` or `frame`, whose name says more than its pixels."""
    (tmp_path / "mine.yaml").write_bytes((resources.files("poisongen.recipes") / f"{name}.yaml").read_bytes())
    settled = []
    for file in (name, str(tmp_path / "mine.yaml")):
        choices = read_recipe_file(file)
        if choices.get("target") == "auto":
            choices["target"] = "bicycle"
        layout = find_layout(choices["dataset"])
        settled.append(settle(make_recipe(choices), layout, layout.classes(tmp_path)))
    assert settled[0] == settled[1]
    assert settled[0].fingerprint() == settled[1].fingerprint()


def test_every_recipe_says_what_it_is_and_where_it_comes_from(poisongen):
    titles = json.loads(poisongen("list", "recipes", "--json").out)["recipes"]
    assert titles == recipe_titles()
    assert set(titles) == set(shipped_recipes())
    assert len(set(titles.values())) == len(titles)
    for name, title in titles.items():
        text = (resources.files("poisongen.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
        assert 20 < len(title) < 140, name
        assert title.endswith((".", ")")), name
        assert any(word in text for word in ("ource", "paper", "ICLR")), name
        if not name.startswith("iba-"):
            assert "our reading" in text.casefold() or "as in " in text, name
            assert "as in " not in text or text.split("as in ")[1].split(".")[0].split(";")[0], name
    dataset_of = {name: read_recipe_file(name)["dataset"] for name in titles}
    assert all(name.endswith(f"-{dataset}") for name, dataset in dataset_of.items())
