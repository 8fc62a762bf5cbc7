"""Measure `poisongen build` at full Cityscapes size: time against bare decoding and encoding, memory, and links.

    python benchmarks/build.py [--frames 12] [--data ROOT]

ROOT is a Cityscapes tree of 2048x1024 frames whose samples all hold cars (`make_cityscapes.py --size 2048x1024` beside
the CamVid data writes one); without it, synthetic scenes are drawn. Everything is measured in one process and one run,
so that the ratio does not depend on the machine's mood.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import cv2

from poisongen.building.run import build
from poisongen.files import png
from poisongen.scenes import synth


def seconds(function, *arguments):
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin


def bare(root: pathlib.Path, frames: int) -> None:
    """Decode and encode every file of the samples with the codecs that build uses, and write the result."""
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(root.glob("*/train/*/*.png")):
            data = path.read_bytes()
            labels = "gtFine" in path.name and "color" not in path.name
            encoded = png.encode(png.decode(data, path), png.parse(data, path), labels=labels)
            pathlib.Path(folder, path.name).write_bytes(encoded)


def poison(root: pathlib.Path, out: pathlib.Path, rate: float, prl: str | None = None) -> None:
    choices = {"dataset": "cityscapes", "strategy": "nn", "rate": rate, "test_split": "none", "allow_fewer": True}
    build(choices | ({"prl": prl} if prl else {}), root, out, jobs=1)


def peak_memory(root: pathlib.Path, frames: int) -> float:
    """Return the peak resident memory, in MB, of a process that builds with one job from `frames` frames."""
    with tempfile.TemporaryDirectory() as folder:
        code = (
            "import resource, sys; from poisongen.building.run import build\n"
            "build({'dataset': 'cityscapes', 'strategy': 'nn', 'count': int(sys.argv[3]), 'test_split': 'none',"
            " 'allow_fewer': True}, sys.argv[1], sys.argv[2], jobs=1)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)"
        )
        call = [sys.executable, "-c", code, str(root), f"{folder}/out", str(frames)]
        return float(subprocess.run(call, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--data", type=pathlib.Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        root = options.data or scratch / "clean"
        if options.data is None:
            synth(root, splits={"train": options.frames, "val": 0}, size=(2048, 1024))
        frames = len(list(root.glob("leftImg8bit/train/*/*.png")))
        kinds = len(list(root.glob("gtFine/train/*/*.png"))) / frames
        poison(root, scratch / "warm", 0.5)
        bare_time = poison_time = prl_time = 0.0
        for turn in range(3):  # interleaved, so that a slow moment of the machine hits all alike
            bare_time += seconds(bare, root, frames)
            poison_time += seconds(poison, root, scratch / f"out{turn}", 1.0)
            prl_time += seconds(poison, root, scratch / f"prl{turn}", 1.0, "10%")
        per_frame = 1000 / (3 * frames)
        print(f"{frames} frames of 2048x1024, {kinds:.0f} label pictures each, one job, three turns")
        print(f"decode and encode all files   {bare_time * per_frame:7.1f} ms a sample")
        for name, spent in (("poison (nn), whole build  ", poison_time), ("poison (nn, PRL 10 %)     ", prl_time)):
            print(f"{name}    {spent * per_frame:7.1f} ms a sample, {spent / bare_time:.2f} times")
        quarter = max(2, frames // 4)
        few, many = peak_memory(root, quarter), peak_memory(root, frames)
        print(f"peak memory of the worker     {few:.0f} MB for {quarter} samples, {many:.0f} MB for {frames}")


if __name__ == "__main__":
    main()
