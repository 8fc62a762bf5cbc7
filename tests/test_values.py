"""Values as people write them: percentages, NumPy's numbers, tuples and paths; and what stays refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.errors import ChoiceError
from poisongen.recipe.model import make_recipe
from poisongen.victim.settings import make_settings
from tests.conftest import SMALL_CITYSCAPES, summary

BASE = {"dataset": "cityscapes", "strategy": "nn"}

SAME = {
    "a percentage": ({"rate": "10%"}, {"rate": 0.1}),
    "a percentage with blanks": ({"rate": " 10 % "}, {"rate": 0.1}),
    "a part of a percentage": ({"rate": "2.5%"}, {"rate": 0.025}),
    "a share as YAML leaves it": ({"rate": "1e-1"}, {"rate": 0.1}),
    "NumPy's whole numbers": (
        {"seed": np.int64(3), "trigger_size": np.int32(9), "count": np.uint8(2)},
        {"seed": 3, "trigger_size": 9, "count": 2},
    ),
    "NumPy's fractions": (
        {"opacity": np.float64(0.5), "max_distance": np.float32(30)},
        {"opacity": 0.5, "max_distance": 30},
    ),
    "NumPy's texts": ({"victim": np.str_("car"), "target": np.str_("road")}, {"victim": "car", "target": "road"}),
    "NumPy's array": ({"victim": np.array([26, 24]), "target": np.int64(7)}, {"victim": [26, 24], "target": 7}),
    "NumPy's truth": ({"allow_fewer": np.bool_(True)}, {"allow_fewer": True}),
    "a tuple of victims": ({"victim": ("car",), "target": "road"}, {"victim": ["car"], "target": "road"}),
    "one pair": ({"relabel": ("car", "road")}, {"relabel": {"car": "road"}}),
    "a list of pairs": (
        {"relabel": [("car", "road"), ("person", "sky")]},
        {"relabel": {"car": "road", "person": "sky"}},
    ),
    "pairs by NumPy's numbers": ({"relabel": {np.int64(26): np.int64(7)}}, {"relabel": {26: 7}}),
    "two pairs of numbers": ({"relabel": ((26, 7), (24, 7))}, {"relabel": {26: 7, 24: 7}}),
    "a number of pixels": ({"prl": np.int64(5)}, {"prl": 5}),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_the_same_recipe(case):
    written, meant = (make_recipe({**BASE, **choices}) for choices in SAME[case])
    assert written == meant
    assert written.fingerprint() == meant.fingerprint()
    assert written.model_dump_json() == meant.model_dump_json()


REFUSED = [
    *({name: True} for name in ("seed", "count", "trigger_size", "edge_margin", "min_victim_pixels", "prl", "rate")),
    *({name: np.bool_(True)} for name in ("seed", "count", "trigger_size", "rate", "victim")),
    *({"rate": word} for word in ("", "%", "x", "-5%", "120%", "0%", "0", "nan", "inf", "1e-999", "10 percent")),
    {"seed": 3.0},
    {"seed": np.float64(3)},
    {"seed": "3"},
    {"relabel": ("car",)},
    {"relabel": ("car", "road", "sky")},
    {"relabel": (("car", "road"), ("car", "sky"))},
    {"relabel": ((True, "road"),)},
    {"relabel": ()},
    {"victim": {"car"}},
]


@pytest.mark.parametrize("choices", REFUSED, ids=repr)
def test_what_stays_refused(choices):
    with pytest.raises(ChoiceError, match=f"--{next(iter(choices)).replace('_', '-')}|recipe: relabel"):
        make_recipe({**BASE, **choices})


def test_a_percentage_on_the_command_line(poisongen, cityscapes, tmp_path):
    for name, rate in (("a", "20%"), ("b", "0.2")):
        call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--rate", rate, "--out", name)
        assert poisongen(*call).code == 0
    assert summary(tmp_path / "a")["fingerprint"] == summary(tmp_path / "b")["fingerprint"]
    assert '"rate": 0.2,' in (tmp_path / "a/poisongen/recipe.json").read_text()
    for rate in ("200%", "a lot", "0%"):
        result = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", rate, "--out", "c")
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "--rate" in result.err


def test_functions_take_paths_and_numpy(cityscapes, tmp_path):
    Image.new("RGB", (20, 20), (255, 0, 200)).save(tmp_path / "mine.png")
    choices = {
        **BASE,
        "trigger": tmp_path / "mine.png",
        "trigger_size": np.int32(9),
        "max_distance": np.int64(30),
        "rate": np.float64(0.2),
        "seed": np.int64(3),
        "relabel": ("car", "road"),
    }
    result = package.build(choices, cityscapes, tmp_path / "out", jobs=np.int64(1))
    assert result.counts["poisoned"] == 2
    recipe = (tmp_path / "out/poisongen/recipe.json").read_text()
    assert '"name": "mine"' in recipe
    assert package.audit(str(tmp_path / "out"), str(cityscapes), jobs=np.int32(1)).clean
    sheet = package.preview(choices, str(cityscapes), str(tmp_path / "s.png"), samples=np.int64(2), jobs=np.int64(1))
    assert sheet == Path(tmp_path / "s.png")
    package.synth(tmp_path / "s", splits={"train": np.int64(1)}, size=np.array([64, 32]), seed=np.int64(3))
    package.synth(tmp_path / "t", splits={"train": 1}, size=(64, 32), seed=3)
    names = [path.relative_to(tmp_path / "t") for path in (tmp_path / "t").rglob("*.png")]
    assert names
    assert all((tmp_path / "s" / name).read_bytes() == (tmp_path / "t" / name).read_bytes() for name in names)


@pytest.mark.parametrize("jobs", [0, -1, True, 1.5, "2"])
def test_jobs_that_are_no_number(jobs, cityscapes, tmp_path):
    with pytest.raises(ChoiceError, match="--jobs"):
        package.build({**BASE, "trigger_size": 9}, cityscapes, tmp_path / "out", jobs=jobs)


def test_settings_of_a_training_run():
    settings = make_settings(
        {"batch": np.int64(4), "size": (np.int64(32), np.int32(64)), "lr": np.float32(0.5), "seed": np.int8(1)}
    )
    assert settings == make_settings({"batch": 4, "size": "32x64", "lr": 0.5, "seed": 1})
    assert make_settings({"weights": Path("w.pth")}).weights == "w.pth"
    for choices in ({"batch": True}, {"seed": np.bool_(True)}, {"epochs": 1.5}):
        with pytest.raises(ChoiceError, match=f"--{next(iter(choices))}"):
            make_settings(choices)


def test_allow_fewer_is_not_advised_where_it_was_given(poisongen, cityscapes):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--min-victim-pixels", 999999, "--out", "o")
    assert "--allow-fewer" not in poisongen(*call).err  # there is no sample that could be poisoned
    some = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--count", 10, "--out", "o")
    assert "give --allow-fewer" in poisongen(*some).err
    result = poisongen(*call, "--allow-fewer")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--allow-fewer" not in result.err
    assert "change the placement or the victims" in result.err


# Commands whose outputs are larger than the limit on files, which stands in for a full disk.
FULL = {
    "build": ("build", *SMALL_CITYSCAPES, "--root", "cityscapes", "--link", "copy", "--out", "o"),
    "preview": ("preview", *SMALL_CITYSCAPES, "--root", "cityscapes", "--out", "p.png"),
    "synth": ("synth", "s", "--train", 1),
    "restore": ("restore", "out", "--source", "cityscapes", "--out", "back"),
    "demo": ("demo",),
    "report": ("report", "out", "--no-audit", "--out", "r.html"),
}


@pytest.mark.parametrize("command", FULL)
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_for_every_command(command, jobs, poisongen, cityscapes, tmp_path):
    if command in ("restore", "report"):
        assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out").code == 0
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "from poisongen.cli import main; main()"
    )
    call = [sys.executable, "-c", limited, *map(str, FULL[command]), "--jobs", str(jobs)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "disk is full" in done.stderr or "File too large" in done.stderr
    assert not [path for path in tmp_path.rglob("*.part") if path.is_file()]
