"""Measure what a sample costs with each kind of trigger, against the patch: 2048x1024, one thread, end to end.

    python benchmarks/kinds.py [--frames 3] [--turns 3]

Every sample of a synthetic Cityscapes tree (four label pictures each) is poisoned: the whole build (every file read,
checked, stamped, relabelled, encoded and written), and the work on one sample alone, which leaves out the reading that
comes before any file is written. Figures are processor seconds of one process, so that a busy machine counts little;
kinds take turns, and the quickest turn of each counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2

from poisongen.building.run import build, plan_build
from poisongen.building.sample import do_task
from poisongen.scenes import synth

WHOLE = {"strategy": "whole"}
KINDS = {
    "patch": {"strategy": "random"},
    "blend": {**WHOLE, "trigger_kind": "blend"},
    "sinusoid": {**WHOLE, "trigger_kind": "sinusoid"},
    "warp": {**WHOLE, "trigger_kind": "warp"},
    "fourier": {**WHOLE, "trigger_kind": "fourier"},
    "wavelet": {**WHOLE, "trigger_kind": "wavelet"},
    "dct": {**WHOLE, "trigger_kind": "dct"},
    "colour (gotham)": {**WHOLE, "trigger_kind": "colour"},
    "colour (kelvin)": {**WHOLE, "trigger_kind": "colour", "trigger_options": {"style": "kelvin"}},
    "weather (rain)": {**WHOLE, "trigger_kind": "weather"},
    "weather (fog)": {**WHOLE, "trigger_kind": "weather", "trigger_options": {"style": "fog"}},
    "physical": {"strategy": "ground", "trigger_kind": "physical"},
}


def spent(choices: dict, root: Path, out: Path) -> tuple[float, float, int]:
    """Return the processor seconds of a whole build and of the work on its samples alone, and how many there are."""
    recipe = {"dataset": "cityscapes", "rate": 1.0, "allow_fewer": True, "test_split": "none", **choices}
    begin = time.process_time()
    poisoned = build(recipe, root, out, jobs=1).counts["poisoned"]
    whole = time.process_time() - begin
    prepared, plan = plan_build(recipe, root, jobs=1)
    tasks = [task for task in plan.tasks if task.role == "poisoned"]
    begin = time.process_time()
    for task in tasks:
        do_task(task, root, prepared.rules)
    return whole, time.process_time() - begin, poisoned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    best: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clean"
        synth(root, splits={"train": options.frames, "val": 0}, size=(2048, 1024), seed=11)
        for turn in range(options.turns):
            for number, (name, choices) in enumerate(KINDS.items()):
                whole, alone, poisoned = spent(choices, root, Path(folder) / f"{turn}-{number}")
                figures = (whole / poisoned, alone / poisoned)
                best[name] = tuple(map(min, best.get(name, figures), figures))
    print(f"{options.frames} frames of 2048x1024, one thread, best of {options.turns} turns; ms of processor a sample")
    for name, (whole, alone) in best.items():
        ratios = whole / best["patch"][0], alone / best["patch"][1]
        print(f"{name:16} build {1000 * whole:7.0f} {ratios[0]:5.2f}    work {1000 * alone:7.0f} {ratios[1]:5.2f}")


if __name__ == "__main__":
    main()
