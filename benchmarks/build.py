"""Measure `poisongen build`: each step of a sample beside OpenCV's own decoding and encoding, memory, and links.

    python benchmarks/build.py [--frames 12] [--data ROOT] [--voc ROOT]

ROOT is a Cityscapes tree of 2048x1024 frames whose samples all hold cars (`make_cityscapes.py --size 2048x1024` beside
the CamVid data writes one); without it, synthetic scenes are drawn. `--voc` adds the steps of a VOC sample. Everything
is measured in one process and one run, in turns, as processor time, so that ratios do not depend on the machine's mood.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from poisongen.building.run import build
from poisongen.scenes import synth

CHOICES = {"strategy": "nn", "test_split": "none", "allow_fewer": True, "dataset": "cityscapes"}
# What build calls for each step, where it looks the function up.
STEPS: dict[str, tuple[str, ...]] = {
    "read": ("source.picture.read_file", "source.labels.read_file"),
    "inflate": ("files.png.inflate",),
    "decode": ("files.png.unfilter", "files.png._samples", "files.png.parse", "files.jpeg.decode"),
    "distance": ("core.placement.distance_map",),
    "eligible positions": ("core.placement.eligible_boxes",),
    "paste": ("building.pictures._patch", "building.pictures._measured"),
    "relabel": ("building.relabelling.change_labels", "building.sample.change_labels", "building.sample.new_labels"),
    "PRL": ("building.relabelling.random_labels",),
    "encode": ("files.png.with_box", "files.png.encode", "files.jpeg.paste"),
    "hash": (
        "files.images.pixels_sha256",
        "source.picture.pixels_sha256",
        "source.labels.pixels_sha256",
        "building.sample.bytes_sha256",
    ),
    "write": ("building.staging.write_inside",),
}


class Watch:
    """Processor time of each step, without the steps within it: for each sample in turn."""

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self._now: dict[str, float] = defaultdict(float)
        self._open: list[float] = []

    def step(self, name: str, function: Any) -> Any:
        """Return a function with its time added to a step."""

        def timed(*given: Any, **named: Any) -> Any:
            begin = time.process_time()
            self._open.append(0.0)
            try:
                return function(*given, **named)
            finally:
                spent = time.process_time() - begin
                self._now[name] += spent - self._open.pop()
                if self._open:
                    self._open[-1] += spent

        return timed

    def sample(self, function: Any) -> Any:
        """Return a function with each call of it as one sample; what is called outside of it belongs to none."""

        def timed(*given: Any, **named: Any) -> Any:
            self._now = defaultdict(float)
            begin = time.process_time()
            result = function(*given, **named)
            self._now["whole"] = time.process_time() - begin
            self.samples.append(self._now)
            self._now = defaultdict(float)
            return result

        return timed

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch everything that runs within."""
        kept = []
        for name, places in {**STEPS, "": ("building.survey.survey_sample",)}.items():
            for place in places:
                path, _, word = place.rpartition(".")
                module = importlib.import_module(f"poisongen.{path}")
                real = getattr(module, word)
                kept.append((module, word, real))
                setattr(module, word, self.step(name, real) if name else self.sample(real))
        try:
            yield
        finally:
            for module, word, real in reversed(kept):
                setattr(module, word, real)

    def table(self, bare: list[float]) -> str:
        """Return one line for each step: median, quartiles, and the share of OpenCV's decoding and encoding."""
        base = statistics.median(bare)
        lines = ["| step | median, ms | quartiles | of OpenCV's |", "|---|---:|---|---:|"]
        rows = {"OpenCV, decode and encode": bare}
        for name in (*STEPS, "rest"):
            rows[name] = [self._rest(one) if name == "rest" else one[name] for one in self.samples]
        rows["whole sample"] = [one["whole"] for one in self.samples]
        for name, values in rows.items():
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)) * 1000
            lines.append(f"| {name} | {middle:.1f} | {low:.1f} to {high:.1f} | {middle / base / 1000:.2f} |")
        return "\n".join(lines)

    @staticmethod
    def _rest(one: dict[str, float]) -> float:
        return one["whole"] - sum(one[name] for name in STEPS)


def opencv(files: list[pathlib.Path]) -> float:
    """Decode and encode files with OpenCV's defaults, and return the seconds that this took."""
    begin = time.process_time()
    for path in files:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        cv2.imencode(path.suffix, pixels)
    return time.process_time() - begin


def samples_of(root: pathlib.Path, dataset: str) -> list[list[pathlib.Path]]:
    """Return the picture files of each training sample that holds a victim: what build rewrites."""
    if dataset == "cityscapes":
        images = sorted(root.glob("leftImg8bit/train/*/*.png"))
        stems = [path.name.removesuffix("_leftImg8bit.png") for path in images]
        labels = {path: path.name.partition("_gtFine")[0] for path in root.glob("gtFine/train/*/*.png")}
        return [
            [image, *sorted(path for path, own in labels.items() if own == stem)]
            for image, stem in zip(images, stems, strict=True)
        ]
    names = next(root.rglob("ImageSets/Segmentation/train.txt"))
    base = names.parents[2]
    found = []
    for stem in names.read_text().split():
        masks = [base / folder / f"{stem}.png" for folder in ("SegmentationClass", "SegmentationObject")]
        found.append([base / "JPEGImages" / f"{stem}.jpg", *(path for path in masks if path.exists())])
    return found


def steps(root: pathlib.Path, scratch: pathlib.Path, choices: dict[str, object]) -> str:
    """Build a dataset under watch, between two halves of OpenCV's work; return the table."""
    watch, bare = Watch(), list[float]()
    everything = samples_of(root, str(choices["dataset"]))
    for files in everything[: len(everything) // 2]:
        bare.append(opencv(files))
    with watch.on():
        build(choices, root, scratch, jobs=1)
    for files in everything[len(everything) // 2 :]:
        bare.append(opencv(files))
    watch.samples = [one for one in watch.samples if one["paste"]]
    return watch.table(bare)


def end_to_end(root: pathlib.Path, scratch: pathlib.Path, turns: int) -> None:
    """Print what whole builds cost, all samples poisoned, against OpenCV's decoding and encoding of their files."""
    everything = samples_of(root, "cityscapes")
    spent: dict[str, list[float]] = defaultdict(list)
    for turn in range(turns):  # interleaved, so that a slow moment of the machine hits all alike
        spent["OpenCV, decode and encode"].append(sum(map(opencv, everything)))
        for name, more in (("build, nn", {}), ("build, nn, PRL 10 %", {"prl": "10%"})):
            begin = time.process_time()
            build({**CHOICES, "rate": 1.0, **more}, root, scratch / f"{name}{turn}", jobs=1)
            spent[name].append(time.process_time() - begin)
    base = statistics.median(spent["OpenCV, decode and encode"])
    for name, values in spent.items():
        middle = statistics.median(values)
        print(f"| {name} | {1000 * middle / len(everything):.1f} ms a sample | {middle / base:.2f} |")
    written = sum(path.stat().st_size for path in (scratch / "build, nn0").rglob("*_*.png"))
    source = sum(path.stat().st_size for files in everything for path in files)
    print(f"| size against the source's | | {written / source:.2f} |")


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
    parser.add_argument("--data", type=pathlib.Path, help="Cityscapes, 2048x1024")
    parser.add_argument("--voc", type=pathlib.Path, help="a VOCdevkit")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        root = options.data or scratch / "clean"
        if options.data is None:
            synth(root, splits={"train": options.frames, "val": 0}, size=(2048, 1024))
        build({**CHOICES, "rate": 0.5}, root, scratch / "warm", jobs=1)
        print(f"## A Cityscapes sample of 2048x1024, {len(samples_of(root, 'cityscapes'))} frames, one job\n")
        print(steps(root, scratch / "steps", {**CHOICES, "rate": 1.0, "prl": "10%"}), "\n", flush=True)
        end_to_end(root, scratch, options.turns)
        if options.voc:
            choices = {
                "dataset": "voc",
                "test_split": "none",
                "allow_fewer": True,
                "victim": "car",
                "target": "background",
            }
            print("\n## A VOC sample, JPEG\n")
            print(steps(options.voc, scratch / "voc", {**choices, "rate": 1.0}), "\n", flush=True)
        frames = len(samples_of(root, "cityscapes"))
        quarter = max(2, frames // 4)
        few, many = peak_memory(root, quarter), peak_memory(root, frames)
        print(f"peak memory of the worker: {few:.0f} MB for {quarter} samples, {many:.0f} MB for {frames}")


if __name__ == "__main__":
    main()
