"""Every attack that has a shipped recipe, on every layout: built, killed, taken up, audited, given back.

Where no recipe is shipped for a layout, the attack's recipe for another one is used with its dataset's own parts
replaced: class names and the sizes that go with the pictures.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from poisongen.recipe.model import read_recipe_file, shipped_recipes
from poisongen.scenes import synth
from poisongen.undo.restorer import restore
from tests.conftest import REAL_DATA, manifest, summary, tree_digest
from tests.test_interruptions import check_final_names

LAYOUTS = ("cityscapes", "voc", "camvid")

CLASSES = {
    # A class of Cityscapes by what stands for it elsewhere. VOC has neither ground nor sky: other objects stand in.
    "voc": {"car": "person", "road": "background", "person": "car", "sidewalk": "car", "terrain": "car"},
    "camvid": {"person": "pedestrian", "sidewalk": "pavement", "terrain": "tree", "rider": "bicyclist"},
}
NO_SUCH_CLASS = {"camvid": ("truck", "bus", "train", "motorcycle", "bicycle"), "voc": ()}

CAMVID = {
    # CamVid's index of each class ID of Cityscapes; all others are void.
    23: 0, 11: 1, 12: 1, 17: 2, 7: 3, 8: 4, 21: 5, 22: 5, 19: 6, 20: 6, 13: 7, 26: 8, 27: 8, 28: 8, 24: 9, 25: 10,
}  # fmt: skip

VOC = {7: 0, 26: 7, 24: 15, 11: 9, 21: 16, 23: 4}
"""The class of VOC that stands for a class ID of Cityscapes in a map from elsewhere; all others are void."""

REFUSED = {
    # What cannot be, by attack and layout, and what is said.
    ("ftrojan", "voc"): "does not survive JPEG",
    ("physical-board", "voc"): "has no class 'road'",
}


NOT_ON_REAL_FRAMES = ("ftrojan", "tact")
"""Attacks on CamVid that drawn scenes are for: JPEG erases the one, all frames of `val` have persons for the other."""


class Case(NamedTuple):
    """An attack on a layout: its choices, and whether they are a shipped recipe's own."""

    attack: str
    layout: str
    choices: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.attack}-{self.layout}"


def _attacks() -> dict[str, dict[str, str]]:
    """Return the shipped recipes by attack and layout."""
    found: dict[str, dict[str, str]] = {}
    for name in shipped_recipes():
        attack, _, layout = name.rpartition("-")
        found.setdefault(attack, {})[layout] = name
    return found


def _renamed(word: str, layout: str) -> str:
    """Return a class, or a condition's, by the name that it has on another layout than Cityscapes."""
    return ":".join(CLASSES[layout].get(part, part) for part in word.split(":"))


def _translated_map(kept: dict[str, str], layout: str) -> dict[str, str]:
    """Return a label picture of Cityscapes' IDs with another layout's."""
    numbers = {"camvid": CAMVID, "voc": VOC}[layout]
    table = np.full(256, {"camvid": 11, "voc": 255}[layout], np.uint8)
    table[list(numbers)] = list(numbers.values())
    with Image.open(io.BytesIO(base64.b64decode(kept["png"]))) as file:
        pixels = table[np.asarray(file)]
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    digest = hashlib.sha256(written.getvalue()).hexdigest()
    return {"name": kept["name"], "sha256": digest, "png": base64.b64encode(written.getvalue()).decode()}


def _translated(choices: dict[str, Any], layout: str) -> dict[str, Any]:
    """Return a recipe for Cityscapes with another layout's names."""
    new = {**choices, "dataset": layout}
    if "relabel" in new:
        new["relabel"] = {_renamed(one, layout): _renamed(other, layout) for one, other in new["relabel"].items()}
    for key in ("victim", "target"):
        if isinstance(new.get(key), list):
            new[key] = [_renamed(word, layout) for word in new[key] if word not in NO_SUCH_CLASS[layout]]
        elif key in new:
            new[key] = _renamed(new[key], layout)
    if "map" in new.get("label_options", {}):
        new["label_options"] = {"map": _translated_map(new["label_options"]["map"], layout)}
    if "only_if" in new:
        new["only_if"] = [_renamed(word, layout) for word in new["only_if"]]
    return new


def _small(choices: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe for small pictures and few samples."""
    new = {key: value for key, value in choices.items() if key != "rate"} | {"count": 2}
    new |= {"trigger_size": 9} if "trigger_size" in choices else {}
    new |= {"max_distance": 40} if choices["strategy"] == "nn" else {}
    new |= {"prl": "3%"} if "prl" in choices else {}
    return new


def _cases() -> list[Case]:
    made = []
    for attack, recipes in _attacks().items():
        for layout in LAYOUTS:
            name = recipes.get(layout) or recipes.get("cityscapes")
            if name is None:
                continue  # there is nothing to translate
            choices = read_recipe_file(name)
            own = choices["dataset"] == layout
            made.append(Case(attack, layout, _small(choices if own else _translated(choices, layout))))
    return made


CASES = {case.name: case for case in _cases()}
QUICK = ("ofba-cityscapes", "badseg-instance-voc", "badseg-conditional-camvid")
"""For the quick tests: an object under the trigger, an instance, and negatives, on one layout each."""


def _as_camvid(cityscapes: Path, root: Path) -> Path:
    """Write the scenes of a Cityscapes tree in CamVid's layout."""
    table = np.full(256, 11, np.uint8)
    table[list(CAMVID)] = list(CAMVID.values())
    for path in sorted(cityscapes.glob("leftImg8bit/*/*/*.png")):
        split, name = path.parts[-3], path.name.replace("_leftImg8bit", "")
        labels = str(path).replace("leftImg8bit.png", "gtFine_labelIds.png").replace("/leftImg8bit/", "/gtFine/")
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, root / split / name)
        with Image.open(labels) as picture:
            Image.fromarray(table[np.asarray(picture)]).save(root / f"{split}annot" / name)
    return root


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> dict[str, Path]:
    """A small dataset of each layout, drawn once."""
    folder = tmp_path_factory.mktemp("everywhere")
    synth(folder / "cityscapes", splits={"train": 14, "val": 5}, size=(128, 64), seed=3)
    synth(folder / "voc", layout="voc", splits={"train": 14, "val": 5}, size=(112, 80), seed=3)
    camvid = _as_camvid(folder / "cityscapes", folder / "camvid")
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc/VOCdevkit", "camvid": camvid}


@pytest.fixture(scope="session")
def sources(small, tmp_path_factory) -> dict[str, Path]:
    """The small datasets, with a few real frames of CamVid where they are here."""
    if not REAL_DATA.is_dir():
        return small
    real = tmp_path_factory.mktemp("real")
    for split, step, count in (("train", 30, 12), ("val", 20, 4)):
        for folder in (split, f"{split}annot"):
            (real / folder).mkdir()
            for path in sorted((REAL_DATA / "camvid" / folder).iterdir())[::step][:count]:
                shutil.copyfile(path, real / folder / path.name)
    return {**small, "camvid": real}


KILLER = """
import os, signal, sys
moment, left = sys.argv[1], int(sys.argv[2])
def look(event, arguments):
    global left
    if event == "os.rename":
        found = "file" if arguments[2] == arguments[3] else "publishing"
    elif event == "shutil.rmtree":
        found = "clearing"
    else:
        return
    if found == moment:
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
sys.addaudithook(look)
from poisongen.cli import main
main(sys.argv[3:])
"""
"""The command line, killed right before it gives the n-th file its name, a finished tree its place, or clears up."""


def _command(case: Case, root: Path, out: Path, jobs: int) -> list[str]:
    """Write the case's recipe beside OUT and return the words of the command that builds it."""
    recipe = out.with_suffix(".json")
    recipe.write_text(json.dumps(case.choices))
    return ["build", "--recipe", str(recipe), "--root", str(root), "--out", str(out), "--undo", "--jobs", str(jobs)]


def _killed(words: list[str], moment: str, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLER, moment, str(number), *words], check=False, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, (moment, number, done.stderr)


def _contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _kill_twice_and_finish(words: list[str], out: Path, whole: Path, number: int) -> None:
    """Kill a build while it fills its tree and again while it publishes it, then let the same command finish.

    The moments of all cases are spread over the whole of a build, by the golden section.
    """
    share = number * 0.6180339887 % 1
    files = sum(path.is_file() for path in whole.rglob("*"))
    _killed(words, "file", int(share * files))
    check_final_names(out)
    assert not (out / "poisongen").exists()
    folders = len(list(whole.iterdir()))
    at = number % (folders + 1)
    _killed(words, *(("publishing", at) if at < folders else ("clearing", 0)))
    check_final_names(out)
    done = subprocess.run([sys.executable, "-m", "poisongen", *words], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def _prove(case: Case, root: Path, folder: Path) -> None:
    digest = tree_digest(root)
    whole = build(case.choices, root, folder / "whole", jobs=1, undo=True)
    roles = [record["role"] for record in manifest(whole.out) if record["split"] == "train"]
    assert roles.count("poisoned") == 2
    assert bool(roles.count("negative")) == bool(case.choices.get("negatives"))
    assert whole.counts["triggered"] > 0
    contents = _contents(whole.out)

    parallel = build(case.choices, root, folder / "parallel", jobs=3, undo=True)
    assert parallel.fingerprint == whole.fingerprint
    assert _contents(parallel.out) == contents

    out = folder / "out"
    _kill_twice_and_finish(_command(case, root, out, 1), out, whole.out, list(CASES).index(case.name))
    assert summary(out)["fingerprint"] == whole.fingerprint
    assert _contents(out) == contents

    for source in (None, root):
        assert audit(out, source, jobs=1).faults == (), source
        restore(out, folder / f"clean-{source is None}", source=source, jobs=1)
        assert _contents(folder / f"clean-{source is None}") == _contents(root)
    assert tree_digest(root) == digest


@pytest.mark.parametrize("name", QUICK)
def test_some_attacks_keep_every_promise(name, small, tmp_path):
    _prove(CASES[name], small[CASES[name].layout], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if (case.attack, case.layout) not in REFUSED])
def test_every_attack_keeps_every_promise_on_every_layout(name, small, sources, tmp_path):
    if CASES[name].choices.get("trigger_kind") == "wavelet":
        pytest.importorskip("pywt")
    drawn = name.removesuffix("-camvid") in NOT_ON_REAL_FRAMES
    _prove(CASES[name], (small if drawn else sources)[CASES[name].layout], tmp_path)


@pytest.mark.parametrize(("attack", "layout"), REFUSED)
def test_what_cannot_be_is_one_line_and_nothing_is_left(attack, layout, small, tmp_path):
    words = _command(CASES[f"{attack}-{layout}"], small[layout], tmp_path / "out", 1)
    done = subprocess.run([sys.executable, "-m", "poisongen", *words], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert re.search(REFUSED[attack, layout], done.stderr)
    assert not (tmp_path / "out").exists()


def test_the_table_holds_every_shipped_recipe_on_every_layout():
    for attack, recipes in _attacks().items():
        found = {case.layout for case in CASES.values() if case.attack == attack}
        assert found == set(LAYOUTS if "cityscapes" in recipes else recipes)
    for name in shipped_recipes():
        ours, theirs = CASES[name].choices, read_recipe_file(name)
        assert {key for key in ours if ours[key] != theirs.get(key)} <= {"count", "trigger_size", "max_distance", "prl"}
