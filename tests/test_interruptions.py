"""Builds that are killed, starved of disk, disturbed or run twice: never a torn file, and the same command finishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import poisongen
from poisongen.building.run import build
from poisongen.building.staging import STAGING, open_staging
from poisongen.errors import OutputError, PoisongenError
from tests.conftest import REAL_DATA, summary, tree_digest

CHOICES = {
    "dataset": "cityscapes",
    "strategy": "nn",
    "trigger_size": 9,
    "max_distance": 30,
    "rate": 0.4,
    "prl": "2%",
}


def command(root, out, *more, choices=CHOICES):
    options = [str(word) for name, value in choices.items() for word in (f"--{name.replace('_', '-')}", value)]
    return [sys.executable, "-m", "poisongen", "build", *options, "--root", str(root), "--out", str(out), *more]


def check_final_names(out: Path) -> None:
    """Everything under a final name must be whole: pictures decode, and there are no leftovers of writing."""
    for folder, below, names in os.walk(out):
        if STAGING in below:
            below.remove(STAGING)
        for name in names:
            assert not name.endswith(".part"), name
            if name.endswith((".png", ".jpg")):
                with Image.open(Path(folder) / name) as picture:
                    picture.load()


def kill_until_done(call, out, rng, longest, most=40):
    """Start the command and kill it with all its workers after random times, until one run gets through."""
    kills = 0
    while kills < most:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=rng.uniform(0.2, longest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            check_final_names(out)
        else:
            assert process.returncode == 0
            if kills:
                return kills
            shutil.rmtree(out)  # too quick for us: once more
    done = subprocess.run(call, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return kills


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_at_random_moments_and_finished_by_the_same_command(cityscapes, tmp_path, jobs):
    whole = build(CHOICES, cityscapes, tmp_path / "whole", jobs=1)
    digest = tree_digest(cityscapes)
    begin = time.perf_counter()
    subprocess.run(command(cityscapes, tmp_path / "timed", "--jobs", jobs), check=True, capture_output=True)
    usual = time.perf_counter() - begin
    kills = kill_until_done(
        command(cityscapes, tmp_path / "out", "--jobs", jobs), tmp_path / "out", random.Random(jobs), usual, most=4
    )
    assert kills
    assert summary(tmp_path / "out")["fingerprint"] == whole.fingerprint
    assert not (tmp_path / "out" / STAGING).exists()
    assert tree_digest(cityscapes) == digest
    names = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")}
    assert names == {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real data is not here")
@pytest.mark.parametrize("layout", ["cityscapes", "voc", "camvid"])
def test_a_hundred_kills_on_real_data(layout, tmp_path):
    clean = tmp_path / "clean"
    choices = {"strategy": "random", "trigger_size": 15, "rate": 0.3, "prl": "1%", "dataset": layout}
    if layout == "camvid":
        for split in ("train", "val"):
            for folder in (split, f"{split}annot"):
                (clean / folder).mkdir(parents=True)
                for path in sorted((REAL_DATA / "camvid" / folder).iterdir())[:12]:
                    shutil.copyfile(path, clean / folder / path.name)
        root = clean
    else:
        script = REAL_DATA / f"make_{layout}.py"
        subprocess.run([sys.executable, script, clean, "--limit", "12"], check=True, capture_output=True)
        root = clean if layout == "cityscapes" else clean / "VOCdevkit"
    if layout == "voc":
        choices["victim"] = "car"
    whole = build(choices, root, tmp_path / "whole", jobs=1)
    digest, rng, kills, builds = tree_digest(root), random.Random(layout), 0, 0
    begin = time.perf_counter()
    subprocess.run(command(root, tmp_path / "timed", choices=choices), check=True, capture_output=True)
    usual = time.perf_counter() - begin
    while kills < 34:
        out = tmp_path / f"out{builds}"
        kills += kill_until_done(command(root, out, choices=choices), out, rng, usual, most=1)
        assert summary(out)["fingerprint"] == whole.fingerprint
        report = poisongen.audit(out, root, jobs=1)
        assert not report.faults
        assert tree_digest(root) == digest
        shutil.rmtree(out)
        builds += 1


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(cityscapes, tmp_path):
    whole = build(CHOICES, cityscapes, tmp_path / "whole", jobs=1)
    for jobs in ("1", "2"):
        out = tmp_path / f"out{jobs}"
        call = command(cityscapes, out, "--jobs", jobs)
        process = subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while not (out / STAGING / "tree").exists() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        printed, said = process.communicate(timeout=60)
        if process.returncode:  # it may have been quicker than we were
            assert process.returncode == 130, said
            assert said == "poisongen: interrupted; the same command goes on where this one stopped\n"
            assert printed == ""
        check_final_names(out)
        subprocess.run(call, check=True, capture_output=True)
        assert summary(out)["fingerprint"] == whole.fingerprint


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(cityscapes, tmp_path):
    """A limit on the size of files stands in for a full disk: writing fails half way through a file."""
    whole = build(CHOICES, cityscapes, tmp_path / "whole", jobs=1)
    largest = max(path.stat().st_size for path in (tmp_path / "whole/leftImg8bit").rglob("*.png"))
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest - 1}, {largest - 1}))\n"
        "from poisongen.cli import main; main(sys.argv[1:])"
    )
    call = command(cityscapes, tmp_path / "out", "--jobs", "1", "--link", "copy")
    done = subprocess.run([sys.executable, "-c", limited, *call[3:]], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "disk is full" in done.stderr
    check_final_names(tmp_path / "out")
    assert not (tmp_path / "out/poisongen").exists()
    subprocess.run(call, check=True, capture_output=True)
    assert summary(tmp_path / "out")["fingerprint"] == whole.fingerprint


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs the superuser to mount a tmpfs")
def test_a_really_full_disk(cityscapes, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        call = command(cityscapes, small / "out", "--jobs", "1")
        done = subprocess.run(call, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "the disk is full" in done.stderr
        check_final_names(small / "out")
        subprocess.run(["mount", "-o", "remount,size=60m", small], check=True)
        subprocess.run(call, check=True, capture_output=True)
        assert summary(small / "out")["fingerprint"] == build(CHOICES, cityscapes, tmp_path / "whole").fingerprint
    finally:
        subprocess.run(["umount", small], check=False)


def test_a_killed_worker_is_one_line_and_the_same_command_goes_on(cityscapes, tmp_path, monkeypatch):
    whole = build(CHOICES, cityscapes, tmp_path / "whole", jobs=1)
    out = tmp_path / "out"
    call = command(cityscapes, out, "--jobs", "2")
    process = subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    killed = False
    while process.poll() is None and not killed:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            with_loky = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"popen_loky" in with_loky or b"loky.backend.popen" in with_loky:
                os.kill(int(child), signal.SIGKILL)
                killed = True
        time.sleep(0.01)
    _, said = process.communicate(timeout=120)
    assert killed
    if process.returncode:
        assert process.returncode == 2, said
        assert said.count("\n") == 1, said
        assert "a worker was killed" in said
    subprocess.run(call, check=True, capture_output=True)
    assert summary(out)["fingerprint"] == whole.fingerprint


def test_two_builds_into_one_folder(cityscapes, tmp_path):
    out = tmp_path / "out"
    recipe_sha256 = build(CHOICES, cityscapes, tmp_path / "other", jobs=1)
    del recipe_sha256
    with open_staging(out, summary(tmp_path / "other")["recipe_sha256"]):
        done = subprocess.run(command(cityscapes, out), check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "another build is at work" in done.stderr
    subprocess.run(command(cityscapes, out), check=True, capture_output=True)


def test_a_dead_builds_lock_holds_nobody_up(cityscapes, tmp_path):
    out = tmp_path / "out"
    holder = (
        "import os, signal; from poisongen.building.staging import open_staging; from pathlib import Path\n"
        f"with open_staging(Path({str(out)!r}), 'x'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", holder], check=False)
    assert (out / STAGING / "lock").exists()
    assert build(CHOICES, cityscapes, out, jobs=1).counts["poisoned"] == 4


def test_a_source_that_changes_while_building(cityscapes, tmp_path, monkeypatch):
    from poisongen.building import fill

    victim = sorted(cityscapes.glob("leftImg8bit/val/*/*.png"))[0]
    original = fill._make_links

    def disturb(*arguments, **keywords):
        victim.write_bytes(victim.read_bytes() + b"x")
        return original(*arguments, **keywords)

    monkeypatch.setattr(fill, "_make_links", disturb)
    with pytest.raises(OutputError, match="the source has changed while it was read"):
        build(CHOICES, cityscapes, tmp_path / "out", jobs=1)
    check_final_names(tmp_path / "out")
    monkeypatch.setattr(fill, "_make_links", original)
    victim.write_bytes(victim.read_bytes()[:-1])
    build(CHOICES, cityscapes, tmp_path / "out", jobs=1)
    fresh = build(CHOICES, cityscapes, tmp_path / "fresh", jobs=1)
    assert summary(tmp_path / "out")["fingerprint"] == fresh.fingerprint


@pytest.mark.parametrize("moment", ["plan.survey", "fill._do_tasks"])
def test_a_source_file_that_disappears_while_building(moment, cityscapes, tmp_path, monkeypatch):
    from poisongen.building import fill, plan

    module, name = ({"plan": plan, "fill": fill}[moment.partition(".")[0]], moment.partition(".")[2])
    victim = sorted(cityscapes.glob("leftImg8bit/train/*/*.png"))[-1]
    kept = victim.read_bytes()
    original = getattr(module, name)

    def disturb(*arguments, **keywords):
        victim.unlink()
        return original(*arguments, **keywords)

    monkeypatch.setattr(module, name, disturb)
    with pytest.raises(PoisongenError, match=r"(?s)leftImg8bit\.png.*(cannot be read|disappeared)|source has changed"):
        build(CHOICES, cityscapes, tmp_path / "out", jobs=1)
    check_final_names(tmp_path / "out")
    monkeypatch.setattr(module, name, original)
    victim.write_bytes(kept)
    build(CHOICES, cityscapes, tmp_path / "out", jobs=1)
    fresh = build(CHOICES, cityscapes, tmp_path / "fresh", jobs=1)
    assert summary(tmp_path / "out")["fingerprint"] == fresh.fingerprint


def test_an_unfinished_build_of_another_recipe_is_not_touched(cityscapes, tmp_path):
    out = tmp_path / "out"
    with open_staging(out, "another recipe") as staging:
        staging.begin()
    with pytest.raises(OutputError, match="unfinished build of another recipe"):
        build(CHOICES, cityscapes, out, jobs=1)
    assert build(CHOICES, cityscapes, out, jobs=1, force=True).counts["poisoned"] == 4


def test_force_replaces_a_build_and_nothing_else(cityscapes, tmp_path):
    out = tmp_path / "out"
    build(CHOICES, cityscapes, out, jobs=1)
    other = {**CHOICES, "seed": 1, "test_split": "none"}
    with pytest.raises(OutputError, match="build of another recipe"):
        build(other, cityscapes, out, jobs=1)
    (out / "gtFine/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt was not written by poisongen"):
        build(other, cityscapes, out, jobs=1, force=True)
    assert (out / "triggered").is_dir()
    (out / "gtFine/notes.txt").unlink()
    build(other, cityscapes, out, jobs=1, force=True)
    assert not (out / "triggered").exists()
    fresh = build(other, cityscapes, tmp_path / "fresh", jobs=1)
    assert summary(out)["fingerprint"] == fresh.fingerprint
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "fresh").iterdir()}
