"""Measure the search for recurring patches on builds that it was not tuned on, and on the clean sets themselves.

    python benchmarks/scan_patch.py [--camvid ROOT] [--voc ROOT] [--scenes N] [--cases WORD ...]

Each case is built, the training pictures of the build are searched, and what is found is compared with the manifest:
poisoned samples found, boxes with an IoU of at least 0.7 among these, clean samples accused, processor milliseconds for
each megapixel (decoding, which happens two to three times, included; one process). Cases of data that is not given are
left out. `resized` has every picture of a build scaled by 0.83 after it is read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import poisongen
from poisongen.building.run import build
from poisongen.scanning.patch.search import find_patches
from poisongen.scenes import synth

CAMVID = {"dataset": "camvid", "victim": ["Car"], "target": "Road", "test_split": "none"}
VOC = {"dataset": "voc", "victim": ["car"], "target": "person", "test_split": "none"}
SCENES = {"dataset": "cityscapes", "victim": ["car"], "target": "road", "test_split": "none"}


@dataclass(frozen=True)
class Case:
    """One build: its name, the choices of its recipe, the factor of a later resize.

    Without choices it is the clean set, all but one sample.
    """

    name: str
    choices: dict[str, object] | None
    scale: float = 1.0


def cases_of(usual: dict[str, object], prefix: str) -> list[Case]:
    """Return the cases of one dataset: what must be found first, then what is reported whatever it is."""

    def case(name: str, *, scale: float = 1.0, **choices: object) -> Case:
        return Case(f"{prefix} {name}", {**usual, **choices}, scale)

    return [
        Case(f"{prefix} clean", None),
        case("15 px, 5 %, near", strategy="nn", trigger="sign", trigger_size=15, rate=0.05, seed=101),
        case("21 px, 5 copies, random", strategy="random", trigger="cat", trigger_size=21, count=5, seed=102),
        case("17 px, 10 %, PRL", strategy="far", trigger="target", trigger_size=17, rate=0.1, prl="5%", seed=103),
        case("25 px, 5 %, reencode", strategy="nn", trigger="noise", trigger_size=25, rate=0.05, seed=104)
        if prefix == "scenes"
        else case(
            "25 px, 5 %, reencode",
            strategy="nn",
            trigger="noise",
            trigger_size=25,
            rate=0.05,
            seed=104,
            jpeg="reencode",
        ),
        case("15 px, 5 copies, random", strategy="random", trigger="flower", trigger_size=15, count=5, seed=105),
        case("27 px, opacity 0.5", strategy="random", trigger="cat", trigger_size=27, opacity=0.5, rate=0.1, seed=106),
        case("19 px, opacity 0.5", strategy="far", trigger="sign", trigger_size=19, opacity=0.5, rate=0.1, seed=107),
        case("31 px, opacity 0.2", strategy="nn", trigger="target", trigger_size=31, opacity=0.2, rate=0.1, seed=108),
        case("24x40 px, 5 %, far", strategy="far", trigger="flower", trigger_size="24x40", rate=0.05, seed=109),
        case("23 px, resized", strategy="random", trigger="cat", trigger_size=23, rate=0.05, seed=110, scale=0.83),
        case("19 px, 3 copies", strategy="random", trigger="target", trigger_size=19, count=3, seed=111),
        case("19 px, 4 copies", strategy="random", trigger="sign", trigger_size=19, count=4, seed=112),
        case("10 px, 5 %", strategy="random", trigger="cat", trigger_size=10, rate=0.05, seed=113),
        case("21 px, stripes", strategy="nn", trigger="stripes", trigger_size=21, rate=0.05, seed=114),
        case("21 px, plain white", strategy="nn", trigger="square-white", trigger_size=21, rate=0.05, seed=115),
        case("27 px, star", strategy="random", trigger="star-transparent", trigger_size=27, rate=0.05, seed=116),
        case("15 px, always the same place", strategy="fixed", trigger="cat", trigger_size=15, rate=0.05, seed=117),
    ]


@dataclass(frozen=True)
class Reader:
    """Decodes the i-th of some pictures as RGB, scaled."""

    paths: tuple[str, ...]
    scale: float

    def __call__(self, index: int) -> np.ndarray:
        """Return picture `index`."""
        pixels = cv2.imread(self.paths[index])
        if self.scale != 1:
            pixels = cv2.resize(pixels, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection of two boxes (top, left, height, width) over their union."""
    sides = [max(0.0, min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k])) for k in (0, 1)]
    shared = sides[0] * sides[1]
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def measure(case: Case, clean: Case | None, root: Path, folder: Path) -> str:
    """Build a case below `folder`, search it, and return its row of the table."""
    choices = case.choices if case.choices is not None else {**(clean.choices or {}), "rate": None, "count": 1}
    out = folder / case.name.replace(" ", "-").replace("%", "").replace(",", "")
    build({**choices, "allow_fewer": True}, root, out, jobs=1)
    samples = poisongen.load(out).splits["train"]
    boxes: dict[int, list[float]] = {}
    paths = []
    for number, sample in enumerate(samples):
        paths.append(str(sample.image_path))
        if sample.role == "poisoned":
            boxes[number] = [side * case.scale for side in sample.record.trigger.box]
    if case.choices is None:
        paths = [path for number, path in enumerate(paths) if number not in boxes]
        boxes = {}
    read = Reader(tuple(paths), case.scale)
    area = sum(np.prod(read(number).shape[:2]) for number in range(len(paths))) / 1e6
    begin = time.process_time()
    evidence = find_patches(read, len(paths), map)
    spent = (time.process_time() - begin) * 1e3 / area
    accused = {hit.index: hit.box for one in evidence for hit in one.hits}
    right = [number for number in accused if number in boxes]
    good = sum(overlap(accused[number], boxes[number]) >= 0.7 for number in right)
    false = len(accused) - len(right)
    return f"| {case.name} | {len(paths)} | {len(right)} of {len(boxes)} | {good} | {false} | {spent:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path)
    parser.add_argument("--voc", type=Path)
    parser.add_argument("--scenes", type=int, default=200, help="how many synthetic scenes; 0 for none")
    parser.add_argument("--cases", nargs="+", default=[], help="only cases whose name holds one of these")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print("| case | pictures | found | IoU >= 0.7 | clean accused | ms/MP |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        roots = {"CamVid": (options.camvid, CAMVID), "VOC": (options.voc, VOC)}
        if options.scenes:
            synth(folder / "scenes", splits={"train": options.scenes, "val": 0}, seed=9)
            roots["scenes"] = (folder / "scenes", SCENES)
        for prefix, (root, usual) in roots.items():
            if root is None:
                continue
            cases = cases_of(usual, prefix)
            for case in cases:
                if not options.cases or any(word in case.name for word in options.cases):
                    print(measure(case, cases[1], root, folder), flush=True)


if __name__ == "__main__":
    main()
