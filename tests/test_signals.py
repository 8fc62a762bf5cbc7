"""SIGTERM, SIGHUP and Ctrl-C: workers end with the command, its pipes are closed, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import SMALL_CITYSCAPES, summary


def start(*arguments, **options):
    call = [sys.executable, "-m", "poisongen", *map(str, arguments)]
    return subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def members(group):
    """The living processes of a group: its workers and helpers stay in it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, _, parent_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(parent_group) == group and state not in "ZX":
                found.append(int(folder.name))
    return found


def workers(group):
    """Those of a group that run joblib's workers."""
    found = []
    for number in members(group):
        try:
            if b"popen_loky" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(number)
        except OSError:
            continue
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("whom", ["the command", "everybody"])
@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_ends_the_command_and_its_workers(number, code, words, whom, cityscapes, tmp_path):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--prl", "2%", "--jobs", 2, "--out", tmp_path / "out")
    process = start(*call)
    assert wait_until(lambda: workers(process.pid) or process.poll() is not None)
    (os.kill if whom == "the command" else os.killpg)(process.pid, number)
    printed, said = process.communicate(timeout=60)  # it returns when the last holder of the pipes has gone
    assert (process.returncode, printed) == (code, ""), said
    assert said == f"poisongen: {words}; the same command goes on where this one stopped\n"
    assert wait_until(lambda: not members(process.pid), 10), members(process.pid)
    again = start(*call)
    printed, said = again.communicate(timeout=120)
    assert (again.returncode, said) == (0, "")
    assert len(summary(tmp_path / "out")["fingerprint"]) == 64


@pytest.mark.parametrize("command", ["synth", "audit", "restore", "report"])
def test_other_commands_with_workers_end_too(command, poisongen, cityscapes, tmp_path):
    if command == "synth":
        call = ("synth", tmp_path / "s", "--train", 200, "--jobs", 2)
    else:
        build = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", tmp_path / "out")
        assert poisongen(*build).code == 0
        places = {"restore": "back", "report": "back.html"}
        more = ("--out", tmp_path / places[command]) if command in places else ()
        call = (command, tmp_path / "out", "--source", cityscapes, "--jobs", 2, *more)
    process = start(*call)
    assert wait_until(lambda: workers(process.pid) or process.poll() is not None)
    process.terminate()
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed, said.count("\n")) == (143, "", 1), said
    assert wait_until(lambda: not members(process.pid), 10)
    assert not list(tmp_path.glob("back*"))


def test_workers_end_when_the_command_is_killed(tmp_path):
    """Nothing can be done in the killed process itself: the workers look after it."""
    process = start("synth", tmp_path / "s", "--train", 400, "--jobs", 2)
    assert wait_until(lambda: (tmp_path / "s/leftImg8bit").exists())
    process.kill()
    process.communicate(timeout=60)
    assert wait_until(lambda: not members(process.pid), 10), members(process.pid)


def test_a_command_under_nohup_outlives_its_terminal(cityscapes, tmp_path):
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom poisongen.cli import main; main()"
    call = ["build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 2, "--out", tmp_path / "out"]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, call)], start_new_session=True)
    assert wait_until(lambda: workers(process.pid) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(timeout=120) == 0
    assert summary(tmp_path / "out")["counts"]["poisoned"] == 1


def test_handlers_of_a_program_that_calls_the_command_line_stay(poisongen):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert poisongen("list", "strategies").code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_script_without_a_guard_may_use_workers(cityscapes, tmp_path):
    """Processes that are started anew import the main module, and would build once more without end."""
    script = tmp_path / "script.py"
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}
    script.write_text(
        "import multiprocessing, poisongen\n"
        "multiprocessing.set_start_method('spawn')\n"
        "print('once')\n"
        f"result = poisongen.build({choices!r}, {str(cityscapes)!r}, {str(tmp_path / 'out')!r}, jobs=2)\n"
        "print(result.counts['poisoned'])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n1\n", "")
