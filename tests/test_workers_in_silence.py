"""What helpers of the workers have to say when a command ends: nothing, whatever was left for them to clean up."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEFT = {
    "nothing": "",
    "a folder": "loky_tracker.register('/nowhere/folder', 'folder')",
    "a semaphore": "resource_tracker.register('/no-such-semaphore', 'semaphore')",
}
ENDS = {
    "when all is done": "list(results)",
    "with results not taken": "next(results)",
    "with results kept to the end": "next(results); sys.kept = results",
    "with results in a cycle": "next(results); kept = [results]; kept.append(kept); import gc; gc.disable(); del kept",
}


@pytest.mark.parametrize("warnings", ["default", "error"])
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("end", ENDS)
def test_helpers_of_workers_say_nothing(end, left, warnings, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", warnings)
    if warnings == "error" and end != "with results not taken":
        pytest.skip("one end is enough for each setting")
    code = (
        "import sys\n"
        "from multiprocessing import resource_tracker\n"
        "from joblib.externals.loky.backend import resource_tracker as loky_tracker\n"
        "from poisongen.parallel import end_workers, for_each\n"
        "results = for_each(abs, list(range(9)), 2)\n"
        f"{ENDS[end]}\n"
        f"{LEFT[left]}\n"
        "end_workers()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
