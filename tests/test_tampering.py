"""Many kinds of tampering, each done to a fresh copy of a good build: audit finds a fault that names the file.

In `sealed` cases the forger has made every digest fit again, so that only the content gives it away.
"""

from __future__ import annotations

import shutil

import pytest

from poisongen.auditor import audit
from poisongen.builder import build
from tests import tampering_contents, tampering_files, tampering_records, tampering_trust
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
    "scaled": {"dataset": "cityscapes", "strategy": "random", "trigger_size": 5, "rate": 0.3, "scale": 0.5}
    | {"skip_bad": True},
}
UNDO = ("cityscapes", "scaled")


def broken(root, place):
    """Copy a dataset and cut the image of its first training sample short."""
    shutil.copytree(root, place)
    image = min((place / "leftImg8bit/train").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:900])
    return place


@pytest.fixture(scope="session")
def builds(tmp_path_factory, _cityscapes, _voc):
    folder = tmp_path_factory.mktemp("builds")
    roots = dict.fromkeys(RECIPES, _cityscapes) | {"voc": _voc, "scaled": broken(_cityscapes, folder / "broken")}
    for name, recipe in RECIPES.items():
        build(recipe, roots[name], folder / name, jobs=1, link="copy", undo=name in UNDO)
    return {name: (folder / name, roots[name]) for name in RECIPES}


def test_there_are_many_cases():
    deeds = [vars(module) for module in (tampering_contents, tampering_files, tampering_records, tampering_trust)]
    assert len(CASES) >= 60
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
