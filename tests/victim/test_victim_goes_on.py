"""A run goes on with its own data or not at all, saves when it is stopped, and broken weights have no figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.errors import ChoiceError, DataError, OutputError, PoisongenError  # noqa: E402
from poisongen.victim.checkpoint import load_checkpoint, require_finite, save_checkpoint  # noqa: E402
from poisongen.victim.interruption import TrainingInterrupted  # noqa: E402
from poisongen.victim.loading_errors import loading_errors  # noqa: E402
from poisongen.victim.run import Run  # noqa: E402
from poisongen.victim.run_log import cut_log  # noqa: E402
from poisongen.victim.settings import make_settings  # noqa: E402
from poisongen.victim.training import train  # noqa: E402

SMALL = {
    "model": "unet",
    "encoder": "tu-mobilenetv4_conv_small_050",
    "optimizer": "adamw",
    "lr": 3e-3,
    "scale_range": (1.0, 1.0),
    "batch": 4,
    "epochs": 2,
}


@pytest.fixture
def few(folders, tmp_path):
    """A clean dataset of eight samples."""
    return folders.write(tmp_path / "few", {"train": 8, "val": 2})


def go(root, out, **options):
    """Train on the CPU with the settings above."""
    return train(root, out, make_settings(SMALL), **({"layout": "folder", "device": "cpu", "jobs": 1} | options))


# Resuming


def another_seed(few, folders):
    return folders.write(few.parent / "other", {"train": 8, "val": 2}, seed=9)


def one_label(few, folders):
    path = few / "masks/train/002.png"
    with Image.open(path) as mask:
        labels = np.asarray(mask).copy()
    labels[0, 0] = 0
    Image.fromarray(labels).save(path)
    return few


def one_image(few, folders):
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(few / "images/train/005.png")
    return few


def other_names(few, folders):
    for folder in ("images", "masks"):
        (few / folder / "train/000.png").rename(few / folder / "train/900.png")
    return few


@pytest.mark.parametrize("change", [another_seed, one_label, one_image, other_names])
def test_another_dataset_with_as_many_pictures_is_refused(few, folders, tmp_path, change):
    go(few, tmp_path / "run", stop_after=1)
    with pytest.raises(ChoiceError, match=r"--resume: the run in .*run was trained on another dataset \(.*few"):
        go(change(few, folders), tmp_path / "run", resume=True)


def test_the_same_dataset_in_another_place_is_not(few, tmp_path):
    """A moved copy, another test picture, new times of change: the training set is what it was."""
    go(few, tmp_path / "run", stop_after=1)
    few.rename(tmp_path / "moved")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "moved/images/val/000.png")
    os.utime(tmp_path / "moved/images/train/000.png")
    assert go(tmp_path / "moved", tmp_path / "run", resume=True).iterations == 4


def test_a_checkpoint_without_a_digest_still_goes_on(few, tmp_path):
    path = go(few, tmp_path / "run", stop_after=1).checkpoint
    found = load_checkpoint(path)
    data = {key: value for key, value in found.data.items() if key != "content"}
    save_checkpoint(path, replace(found, data=data))
    assert go(few, tmp_path / "run", resume=True).iterations == 4


def test_a_damaged_log_costs_its_own_lines_only(few, tmp_path):
    go(few, tmp_path / "run", stop_after=2)
    log = tmp_path / "run/log.jsonl"
    whole = log.read_text()
    log.write_bytes(whole.encode() + b'{"iteration": 99}\n[]\n{"iteration": "x"}\n\xff\n{"epoch": 2, "iterat')
    cut_log(tmp_path / "run", 2)
    assert log.read_text() == whole
    go(few, tmp_path / "run", resume=True)
    assert [json.loads(line)["iteration"] for line in log.read_text().splitlines()] == [2, 4]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_log_is_a_plain_file(few, tmp_path, kind):
    """What lies in the place of log.jsonl is neither followed nor waited for."""
    go(few, tmp_path / "run", stop_after=1)
    log = tmp_path / "run/log.jsonl"
    log.unlink()
    (tmp_path / "elsewhere").write_text("")
    log.symlink_to(tmp_path / "elsewhere") if kind == "link" else os.mkfifo(log)
    from poisongen.victim.run_log import RunLog, disk_errors

    with (
        pytest.raises(OutputError, match=r"log\.jsonl"),
        disk_errors(tmp_path / "run"),
        RunLog(log.parent, False, True) as lines,
    ):
        lines.write({"iteration": 1})
    assert (tmp_path / "elsewhere").read_text() == ""


# Weights and logits that are no numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_have_no_figures(few, folders, tmp_path, poisongen, value):
    out = folders.build(few, tmp_path / "out")
    path = go(out, tmp_path / "run", stop_after=1, layout=None).checkpoint
    found = load_checkpoint(path)
    name = next(name for name, tensor in found.model.items() if tensor.is_floating_point())
    found.model[name].view(-1)[0] = value
    save_checkpoint(path, found)
    done = poisongen("evaluate", path, "--data", out, "--device", "cpu")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert f"1 of its tensors hold numbers that are not finite ({name}, ...)" in done.err
    with pytest.raises(DataError, match="not finite"):
        go(out, tmp_path / "run", resume=True, layout=None)


def test_logits_that_become_nan_have_no_figures(few, folders, tmp_path, poisongen):
    """Finite weights that are too large: the answer overflows, and argmax of NaN would be class 0, the target."""
    out = folders.build(few, tmp_path / "out")
    path = go(out, tmp_path / "run", stop_after=1, layout=None).checkpoint
    found = load_checkpoint(path)
    for name, tensor in found.model.items():
        if tensor.is_floating_point() and name.endswith("weight"):
            found.model[name] = torch.full_like(tensor, 1e30)
    save_checkpoint(path, found)
    done = poisongen("evaluate", path, "--data", out, "--device", "cpu")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "the model answers with numbers that are not finite" in done.err


def test_one_pixel_is_enough():
    logits = torch.zeros(2, 3, 4, 4)
    require_finite(logits)
    logits[1, 2, 3, 3] = float("nan")
    with pytest.raises(PoisongenError, match="not finite"):
        require_finite(logits)


# Signals

COMMAND = [
    *(sys.executable, "-m", "poisongen", "train", "few", "--dataset", "folder", "--model", "unet", "--encoder"),
    *("tu-mobilenetv4_conv_small_050", "--batch", "4", "--epochs", "3000", "--device", "cpu", "--out", "run"),
]


def stopped(few, number, *options, group=False):
    """Start a run, send a signal when its first epoch is over, and return status, standard error and the seconds."""
    log = few.parent / "run/log.jsonl"
    before = log.read_text() if log.exists() else ""
    process = subprocess.Popen(
        [*COMMAND, *options],
        cwd=few.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and len(log.read_text()) > len(before):
                break
            time.sleep(0.05)
        (os.killpg if group else os.kill)(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "options", "group"),
    [
        (signal.SIGINT, (), False),
        (signal.SIGTERM, (), False),
        (signal.SIGHUP, (), False),
        (signal.SIGINT, ("--cache", "none", "--jobs", "2"), True),
        (signal.SIGTERM, ("--cache", "none", "--jobs", "2"), False),
    ],
)
def test_a_signal_saves_and_says_how_to_go_on(few, number, options, group):
    code, err = stopped(few, number, *options, group=group)
    assert code == 130
    last = err.splitlines()[-1]
    assert "of 6000 iterations, which run/checkpoint.pt holds; the same command with --resume goes on" in last
    assert "Traceback" not in err
    found = load_checkpoint(few.parent / "run/checkpoint.pt")
    assert f"interrupted after {found.iteration} of" in last
    assert found.iteration > 0
    resumed = go_on(few, found.iteration)
    assert resumed > found.iteration


def go_on(few, iteration):
    """Resume the run for a step and return how far it is then."""
    command = [*COMMAND, "--resume", "--stop-after", "1", "--json"]
    done = subprocess.run(command, cwd=few.parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["iterations"]


def interrupt(monkeypatch, at, number=signal.SIGINT, times=1):
    """Send this process a signal in a run's step number `at`."""
    real, calls = Run.step, []

    def step(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return real(self, *arguments)

    monkeypatch.setattr(Run, "step", step)
    return calls


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_step_in_hand_is_finished(few, tmp_path, monkeypatch, number):
    """And the run that goes on ends where one that was never stopped does."""
    whole = go(few, tmp_path / "whole")
    calls = interrupt(monkeypatch, 3, number)
    with pytest.raises(TrainingInterrupted, match=r"interrupted after 3 of 4 iterations, which .*checkpoint\.pt holds"):
        go(few, tmp_path / "run")
    assert len(calls) == 3
    assert signal.getsignal(number) is not None
    result = go(few, tmp_path / "run", resume=True)
    one, other = load_checkpoint(whole.checkpoint), load_checkpoint(result.checkpoint)
    assert all(torch.equal(value, other.model[name]) for name, value in one.model.items())


def test_handlers_are_as_they_were(few, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    go(few, tmp_path / "run")
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_a_second_signal_ends_it_at_once(few, tmp_path, monkeypatch):
    interrupt(monkeypatch, 2, times=2)
    with pytest.raises(
        TrainingInterrupted, match="interrupted; nothing was saved yet, and the same command begins anew"
    ):
        go(few, tmp_path / "run")
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_a_signal_in_the_last_step_is_too_late(few, tmp_path, monkeypatch):
    interrupt(monkeypatch, 4)
    assert go(few, tmp_path / "run").iterations == 4


def test_before_the_first_step_nothing_is_saved_and_that_is_said(few, tmp_path, monkeypatch, poisongen):
    from poisongen.victim import training

    def stop(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(training, "open_batches", stop)
    done = poisongen("train", few, "--dataset", "folder", "--model", "unet", "--batch", 4, "--out", "run")
    assert done.code == 130
    assert (
        done.err.splitlines()[-1] == "poisongen: interrupted; nothing was saved yet, and the same command begins anew"
    )


def test_an_interrupted_cell_ends_the_sweep(few, tmp_path, monkeypatch, poisongen):
    (tmp_path / "grid.yaml").write_text(
        f"dataset: folder\nroot: {few}\n"
        "build: {strategy: random, victim: car, target: road, trigger_size: 9, region: any}\n"
        "train: {model: unet, encoder: tu-mobilenetv4_conv_small_050, epochs: 2, batch: 4}\n"
        "grid: {rate: [0.3, 0.6]}\n"
    )
    interrupt(monkeypatch, 2)
    done = poisongen("sweep", "grid.yaml", "--out", "sweep", "--device", "cpu", "--jobs", 1)
    assert (done.code, done.err.splitlines()[-1]) == (
        130,
        "poisongen: interrupted; the same command goes on where this one stopped",
    )
    assert not list((tmp_path / "sweep/cells").glob("*/report-*.json"))
    assert len(list((tmp_path / "sweep/cells").glob("*/run/checkpoint.pt"))) == 1


# Loading workers


def test_a_damaged_picture_with_two_workers_is_one_line(few, poisongen):
    path = few / "images/train/003.png"
    path.write_bytes(path.read_bytes()[:90])
    done = poisongen(
        *("train", few, "--dataset", "folder", "--model", "unet", "--encoder", SMALL["encoder"], "--batch", 4),
        *("--cache", "none", "--jobs", 2, "--device", "cpu", "--out", "run"),
    )
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith(f"poisongen: {path}: cannot be read as a PNG or JPEG")
    assert "Traceback" not in done.err


BUS = (
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit."
)
FULL = (
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  ...\n"
    "RuntimeError: unable to write to file </torch_7_1_0>: No space left on device (28)\n"
)
KILLED = "DataLoader worker (pid(s) 7) exited unexpectedly"


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (RuntimeError(BUS), "shared memory (/dev/shm) is too small"),
        (RuntimeError(FULL), "shared memory (/dev/shm) is too small"),
        (OSError(28, "No space left on device"), "shared memory (/dev/shm) is too small"),
        (RuntimeError(KILLED), "a loading worker ended, most likely for want of memory"),
        (OSError(24, "Too many open files"), "a loading worker ended"),
    ],
)
def test_what_workers_meet_is_one_line(monkeypatch, error, what):
    """As torch says it, from within torch's loader."""
    from torch.utils.data import dataloader

    def fail(*arguments):
        raise error

    monkeypatch.setattr(dataloader._SingleProcessDataLoaderIter, "_next_data", fail)
    with pytest.raises(PoisongenError) as caught, loading_errors():
        list(dataloader.DataLoader([1, 2]))
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("a mistake of ours"), OSError(28, "No space left on device")])
def test_other_errors_are_left_alone(error):
    with pytest.raises(type(error)) as caught, loading_errors():
        raise error
    assert caught.value is error
