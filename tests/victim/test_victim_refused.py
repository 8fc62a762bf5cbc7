"""Checkpoints, weights and places that are refused in one line, before they can do harm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

MODEL = ("--model", "unet", "--encoder", "tu-mobilenetv4_conv_small_050", "--batch", 4, "--device", "cpu", "--jobs", 1)


@pytest.fixture(scope="module")
def place(scenes, built, tmp_path_factory):
    """The scenes (clean), their build (built), and a run of one step on it (run)."""
    from poisongen.victim.settings import make_settings
    from poisongen.victim.training import train

    folder = tmp_path_factory.mktemp("refused")
    for name, original in (("clean", scenes), ("built", built)):
        shutil.copytree(original, folder / name)
    settings = make_settings({"model": "unet", "encoder": MODEL[3], "batch": 4, "iterations": 2})
    train(folder / "built", folder / "run", settings, stop_after=1, device="cpu", jobs=1)
    return folder


HOSTILE = {
    "a picture of no height": {"size": (0, 8)},
    "a picture of negative width": {"size": (8, -5)},
    "a picture of a million rows": {"size": (10**6, 10**6)},
    "a size of three": {"size": (8, 8, 8)},
    "less than no iteration": {"iteration": -3},
    "tensors among the settings": {"settings": {"lr": torch.zeros(2)}},
    "tensors in what it was trained on": {"data": {"folder": "clean", "content": torch.zeros(2)}},
    "a setting that is no number": {"settings": {"lr": float("nan")}},
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_a_hostile_checkpoint_is_one_line(place, poisongen, tmp_path, what, command):
    content = torch.load(place / "run/checkpoint.pt", weights_only=True)
    (tmp_path / "run").mkdir()
    torch.save(content | HOSTILE[what], tmp_path / "run/checkpoint.pt")
    if command == "evaluate":
        done = poisongen("evaluate", "run", "--data", place / "built", "--device", "cpu", "--jobs", 1, "--json")
    else:
        done = poisongen("train", place / "built", *MODEL, "--iterations", 2, "--out", "run", "--resume")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "a damaged checkpoint" in done.err


def test_a_run_that_is_further_than_its_end_is_damaged(place, poisongen, tmp_path):
    content = torch.load(place / "run/checkpoint.pt", weights_only=True)
    (tmp_path / "run").mkdir()
    torch.save(content | {"iteration": 10**9}, tmp_path / "run/checkpoint.pt")
    done = poisongen("train", place / "built", *MODEL, "--iterations", 2, "--out", "run", "--resume")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "holds 1000000000 iterations of 2" in done.err


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_started_from(place, poisongen, tmp_path, value):
    content = torch.load(place / "run/checkpoint.pt", weights_only=True)
    name = next(n for n in content["model"] if n.startswith("encoder.") and n.endswith("running_var"))
    content["model"][name] = torch.full_like(content["model"][name], value)
    torch.save(content, tmp_path / "weights.pth")
    done = poisongen(
        "train", place / "built", *MODEL, "--iterations", 1, "--weights", tmp_path / "weights.pth", "--out", "run"
    )
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "1 of its tensors hold numbers that are not finite" in done.err
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_weights_that_the_last_step_has_broken_do_not_replace_good_ones(place, poisongen, tmp_path, monkeypatch):
    """The loss of a step is looked at before its update is made: the update, too, may leave no numbers."""
    from poisongen.victim.run import Run

    shutil.copytree(place / "run", tmp_path / "run")
    good = (tmp_path / "run/checkpoint.pt").read_bytes()
    usual = Run.step

    def step(self, images, labels):
        loss = usual(self, images, labels)
        with torch.no_grad():
            next(self.model.parameters()).view(-1)[0] = float("nan")
        return loss

    monkeypatch.setattr(Run, "step", step)
    done = poisongen("train", place / "built", *MODEL, "--iterations", 2, "--out", "run", "--resume")
    assert (done.code, done.out) == (2, "")
    assert "its weights are not finite; lower --lr" in done.err.splitlines()[-1]
    assert "the last good checkpoint is run/checkpoint.pt" in done.err.splitlines()[-1]
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == good


@pytest.mark.parametrize(
    ("dataset", "out"),
    [("built", "built"), ("built", "built/images/run"), ("built", "link/run"), ("clean", "clean/run")],
)
def test_a_run_is_not_written_into_a_dataset(place, poisongen, tmp_path, dataset, out):
    for name in ("clean", "built"):
        shutil.copytree(place / name, tmp_path / name)
    (tmp_path / "link").symlink_to("built")
    before = sorted(os.walk(dataset))
    layout = () if dataset == "built" else ("--dataset", "folder")
    done = poisongen("train", dataset, *layout, *MODEL, "--iterations", 1, "--out", out)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"--out: {out} lies in the dataset {dataset}" in done.err
    assert sorted(os.walk(dataset)) == before


@pytest.mark.parametrize("out", ["built/report.json", "built/poisongen/summary.json", "link/x/report.json", "clean/r"])
def test_a_report_is_not_written_into_a_dataset(place, poisongen, tmp_path, out):
    for name in ("clean", "built"):
        shutil.copytree(place / name, tmp_path / name)
    (tmp_path / "link").symlink_to("built")
    before = sorted(os.walk("built")), sorted(os.walk("clean")), Path("built/poisongen/summary.json").read_bytes()
    done = poisongen("evaluate", place / "run", "--data", "built", "--clean", "clean", "--out", out, "--device", "cpu")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"--out: {out} lies in the dataset" in done.err
    assert (sorted(os.walk("built")), sorted(os.walk("clean"))) == before[:2]
    assert Path("built/poisongen/summary.json").read_bytes() == before[2]


@pytest.mark.parametrize(
    ("checkpoint", "out"),
    [("run", "run/checkpoint.pt"), ("run/checkpoint.pt", "run/../run/checkpoint.pt"), ("run", "link.json")],
)
def test_a_report_does_not_replace_the_checkpoint(place, poisongen, tmp_path, checkpoint, out):
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "link.json").symlink_to("run/checkpoint.pt")
    before = (tmp_path / "run/checkpoint.pt").read_bytes()
    done = poisongen("evaluate", checkpoint, "--data", place / "built", "--device", "cpu", "--jobs", 1, "--out", out)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"--out: {out} is the checkpoint itself" in done.err
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_another_clean_dataset_of_the_same_names_is_refused(place, poisongen, tmp_path, kind):
    """Its pictures would stand for those without trigger, and its labels would say where triggers may lie."""
    shutil.copytree(place / "clean", tmp_path / "other")
    command = ("evaluate", place / "run", "--data", place / "built", "--clean", "other", "--device", "cpu", "--jobs", 1)
    assert poisongen(*command).code == 0
    files = sorted((tmp_path / "other" / kind / "val").iterdir())
    shutil.copyfile(files[1], files[0])
    done = poisongen(*command)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"--clean: other/{kind}/val/{files[0].name} is not the file that the build's val/" in done.err


def test_other_ids_of_as_many_classes_are_named(place, poisongen, tmp_path):
    """Three classes here and three there would explain nothing."""
    content = torch.load(place / "run/checkpoint.pt", weights_only=True)
    content["classes"] = {**content["classes"], "ids": [0, 1, 7]}
    torch.save(content, tmp_path / "other.pt")
    done = poisongen("evaluate", "other.pt", "--data", place / "built", "--device", "cpu")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "with other names or IDs (car is 7, car is 2)" in done.err
