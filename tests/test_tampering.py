"""Many kinds of tampering, each done to a fresh copy of a good build: audit finds a fault that names the file.

In `sealed` cases the forger has made every digest fit again, so that only the content gives it away.
"""

from __future__ import annotations

import shutil

import pytest

from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from tests import tampering_annotations, tampering_contents, tampering_files, tampering_records, tampering_trust
from tests.forgery import CASES, Forgery

RECIPES = {
    "cityscapes": {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3},
    "prl": {"dataset": "cityscapes", "strategy": "random", "trigger_size": 9, "rate": 0.3, "prl": 200},
    "voc": {
        "dataset": "voc",
        "strategy": "far",
        "trigger_size": 17,
        "min_distance": 12,
        "rate": 0.3,
        "relabel": {"person": "background"},
        "trigger": "checkerboard",
    },
    "skips": {"dataset": "cityscapes", "strategy": "far", "trigger_size": 31, "min_distance": 30, "rate": 0.4},
    "scaled-bad": {"dataset": "cityscapes", "strategy": "random", "trigger_size": 5, "rate": 0.3, "scale": 0.5}
    | {"skip_bad": True},
}
_SMALL = {"trigger_size": 9, "max_distance": 30, "rate": 0.3}
RECIPES |= {
    "reencode": RECIPES["voc"] | {"jpeg": "reencode"},
    "scaled": {"dataset": "cityscapes", "strategy": "nn", "scale": 0.5} | _SMALL,
    "scaled-voc": RECIPES["voc"] | {"scale": 0.75, "min_distance": 8},
    "derived": {"dataset": "cityscapes", "strategy": "nn"} | _SMALL,
}


UNDO = ("cityscapes", "scaled-bad")


def broken(root, place):
    """Copy a dataset and cut the image of its first training sample short."""
    shutil.copytree(root, place)
    image = min((place / "leftImg8bit/train").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:900])
    return place


def make_builds(folder, cityscapes, voc):
    """Build every recipe below a folder; return each build's folder and source by name."""
    without = shutil.copytree(cityscapes, folder / "without-train-ids")
    for path in without.rglob("*_labelTrainIds.png"):
        path.unlink()
    roots = {name: voc if recipe["dataset"] == "voc" else cityscapes for name, recipe in RECIPES.items()}
    roots["derived"] = without
    roots["scaled-bad"] = broken(cityscapes, folder / "broken")
    for name, recipe in RECIPES.items():
        build(recipe, roots[name], folder / name, jobs=1, link="copy", undo=name in UNDO)
    return {name: (folder / name, roots[name]) for name in RECIPES}


@pytest.fixture(scope="session")
def builds(tmp_path_factory, _cityscapes, _voc):
    return make_builds(tmp_path_factory.mktemp("builds"), _cityscapes, _voc)


def test_there_are_many_cases():
    modules = (tampering_annotations, tampering_contents, tampering_files, tampering_records, tampering_trust)
    deeds = [vars(module) for module in modules]
    assert len(CASES) >= 120
    assert all(any(name in names for names in deeds) for name in CASES)


@pytest.mark.parametrize("name", CASES)
def test_tampering_is_found(name, builds, tmp_path):
    build_name, source, function, own_source = CASES[name]
    good, root = builds[build_name]
    shutil.copytree(good, tmp_path / "out")
    if own_source:
        root = shutil.copytree(root, tmp_path / "source")
    named = function(Forgery(tmp_path / "out", root))
    report = audit(tmp_path / "out", root if source else None, jobs=1)
    assert not report.clean
    assert any(named in fault.file or named in fault.sample for fault in report.faults), report.faults


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("source", [False, True])
def test_the_same_builds_are_clean(name, source, builds, tmp_path):
    good, root = builds[name]
    shutil.copytree(good, tmp_path / "out")
    Forgery(tmp_path / "out", root).seal()  # the forger's own tools break nothing
    assert audit(tmp_path / "out", root if source else None, jobs=1).faults == ()
