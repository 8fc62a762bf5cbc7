"""What goes wrong around an evaluation is one line, before the work where that can be, and costs no figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from poisongen.errors import ChoiceError
from poisongen.files.documents import parse_yaml
from poisongen.victim.evaluation import open_target
from poisongen.victim.settings import make_settings


@pytest.fixture
def maps(built, tmp_path):
    """Perfect label maps for the build."""
    target = open_target(built)
    for which, items in (("clean", target.clean_items()), ("triggered", target.triggered_items())):
        (tmp_path / "maps" / which).mkdir(parents=True)
        for item in items:
            Image.fromarray(item.labels()).save(tmp_path / "maps" / which / f"{item.name.rpartition('/')[2]}.png")
    return tmp_path / "maps"


@pytest.mark.parametrize(
    ("out", "what"),
    [
        ("folder", "is a folder; give a file's name"),
        (".", "is a folder"),
        ("file/report.json", "is not a folder, so nothing can be written to"),
        ("file/deep/report.json", "is not a folder"),
        ("dangling/report.json", "is not a folder"),
        ("pipe", "is no plain file"),
        ("n" * 300 + "/report.json", "--out: "),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(poisongen, tmp_path, out, what):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    done = poisongen("evaluate", "--predictions", "no-maps", "--data", "no-build", "--out", out)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert done.err.startswith("poisongen: --out: ")
    assert what in done.err


def test_figures_are_printed_even_if_the_file_cannot_be_written(poisongen, built, maps, tmp_path, monkeypatch):
    from poisongen.cli import evaluate_command

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(evaluate_command, "write_whole", full)
    done = poisongen("evaluate", "--predictions", maps, "--data", built, "--out", tmp_path / "report.json", "--json")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "No space left on device" in done.err
    assert json.loads(done.out)["cba"]["value"] == 1.0


def test_the_file_is_written_even_if_nothing_can_be_printed(built, maps, tmp_path):
    report = tmp_path / "new/report.json"
    command = ["evaluate", "--predictions", str(maps), "--data", str(built), "--out", str(report), "--jobs", "1"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "poisongen", *command], stdout=full, stderr=subprocess.PIPE, check=False, timeout=120
        )
    assert done.returncode != 0
    assert json.loads(report.read_text())["cba"]["value"] == 1.0


LAUNCHED = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}


@pytest.mark.parametrize("command", [["evaluate", "run", "--data", "out"], ["sweep", "grid.yaml", "--out", "runs"]])
def test_torchrun_is_refused_by_what_is_not_shared(poisongen, tmp_path, monkeypatch, command):
    """One line from the first process, none from the others, and nothing is begun."""
    (tmp_path / "grid.yaml").write_text("dataset: folder\nroot: clean\ngrid: {rate: [0.1]}\n")
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    done = poisongen(*command)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"{command[0]} is not shared among processes, and torchrun has started 2" in done.err
    monkeypatch.setenv("RANK", "1")
    done = poisongen(*command)
    assert (done.code, done.err, done.out) == (2, "", "")
    assert not (tmp_path / "runs").exists()


def test_the_functions_refuse_torchrun_too(monkeypatch, tmp_path):
    from poisongen import evaluate, run_sweep

    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    for call in (lambda: evaluate("run", "out"), lambda: run_sweep("grid.yaml", tmp_path / "out")):
        with pytest.raises(ChoiceError, match="start it without torchrun"):
            call()


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("lr: 1e-3", "lr", 0.001),
        ("lr: 1E-3", "lr", 0.001),
        ("lr: 1.e-3", "lr", 0.001),
        ("lr: .1e-2", "lr", 0.001),
        ("lr: +1e-3", "lr", 0.001),
        ("weight_decay: 1e2", "weight_decay", 100.0),
        ("amp: off", "amp", "off"),
        ("amp: no", "amp", "off"),
        ("amp: 'off'", "amp", "off"),
        ("iterations: 4e4", "iterations", 40000),
        ("warmup: 1e3", "warmup", 1000),
        ("size: 96x128", "size", (96, 128)),
        ("scale_range: 5e-1,2", "scale_range", (0.5, 2.0)),
        ("scale_range: [5e-1, 2e0]", "scale_range", (0.5, 2.0)),
    ],
)
def test_yaml_means_what_people_write(text, name, value):
    found = getattr(make_settings(parse_yaml(text)), name)
    assert (found, type(found)) == (value, type(value))


def test_a_recipe_file_means_it_too(poisongen, scenes, tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "{dataset: folder, strategy: nn, victim: car, target: road, trigger: stripes, trigger_size: 9, rate: 2e-1, "
        "max_distance: 1e1, region: any}"
    )
    done = poisongen("build", "--recipe", "recipe.yaml", "--root", scenes, "--out", "out", "--dry-run", "--json")
    assert (done.code, json.loads(done.out)["counts"]["poisoned"]) == (0, 19)


@pytest.mark.parametrize("text", ["lr: 1e-3x", "lr: e-3", "amp: yes", "amp: 1", "epochs: 1.5e0", "epochs: 1e-3"])
def test_yaml_that_means_nothing(text):
    with pytest.raises(ChoiceError, match=r"--(lr|amp|epochs): input should be"):
        make_settings(parse_yaml(text))


def test_numbers_and_paths_of_python(tmp_path):
    import numpy as np

    made = make_settings(
        {"lr": np.float32(0.5), "batch": np.int64(3), "crop": (np.int64(3), 4), "size": np.array([5, 6])}
        | {"weights": tmp_path / "w.pth", "flip": np.float64(0.25), "scale_range": (1, np.int32(2))}
    )
    assert (made.lr, made.batch, made.crop, made.size, made.flip) == (0.5, 3, (3, 4), (5, 6), 0.25)
    assert made.weights == str(tmp_path / "w.pth")


def test_what_needs_no_torch_does_not_load_it():
    """Building, and everything about a sweep, an evaluation or a run until the first model, comes without torch."""
    modules = (
        "building.run building.sample cli.build_command cli.evaluate_command cli.sweep_command cli.train_command "
        "victim.sweep victim.sweep_key victim.evaluation victim.predictions victim.distances "
        "victim.interruption victim.run_log"
    )
    code = (
        "".join(f"import poisongen.{name}\n" for name in modules.split())
        + "import sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
