"""Poison datasets in ways that scan was not tuned on, scan them, and print the table of docs/scan.md.

    python benchmarks/scan.py [--camvid DIR] [--voc DIR] [--scenes 120] [--only WORD] [--jobs N]

Sets are built in a temporary folder, from synthetic scenes and from the real data that is named. Seeds, victims and
strategies are apart from those that thresholds were chosen with. `ms/Mpx` are milliseconds of processor time for a
megapixel, of one process with `--jobs 1`; training the classifier is a part that does not grow with the set.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from poisongen.building.run import build
from poisongen.errors import PoisongenError
from poisongen.scanning.scanner import ScanResult, scan
from poisongen.scenes import synth

CLEAN: dict[str, Any] = {}
STREETS: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to road, nn, 27 px": {"strategy": "nn", "trigger_size": 27, "max_distance": 60, "rate": 0.1, "seed": 105},
    "vegetation to building, random, 21 px": {
        "strategy": "random", "trigger_size": 21, "relabel": {"vegetation": "building"}, "rate": 0.1, "seed": 106,
    },
    "car to road, instance": {
        "strategy": "nn", "trigger_size": 27, "max_distance": 60, "labels": "instance", "rate": 0.1, "seed": 107,
    },
    "car to road, PRL 10 %": {"strategy": "random", "trigger_size": 27, "prl": "10%", "rate": 0.1, "seed": 108},
    "car to road, dct": {"trigger_kind": "dct", "rate": 0.1, "seed": 109},
}  # fmt: skip
CAMVID: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to road, far, 5 %": {"strategy": "far", "rate": 0.05, "seed": 101},
    "car to road, 21 px, PRL 2 %": {"strategy": "random", "trigger_size": 21, "rate": 0.05, "prl": "2%", "seed": 110},
    "pedestrian to road, PRL 9.5 %": {
        "strategy": "random", "relabel": {"pedestrian": "road"}, "rate": 0.1, "prl": "9.5%", "seed": 102,
    },
    "tree to sky, PRL in poisoned": {
        "strategy": "random", "relabel": {"tree": "sky"}, "rate": 0.05, "prl": "5%", "prl_scope": "poisoned",
        "seed": 103,
    },
    "car to road, opacity 0.5": {"strategy": "nn", "opacity": 0.5, "rate": 0.05, "seed": 111},
    "car to road, 4 copies": {"strategy": "nn", "count": 4, "seed": 112},
    "car to road, blend": {"trigger_kind": "blend", "rate": 0.08, "seed": 113},
    "car to road, sinusoid": {"trigger_kind": "sinusoid", "rate": 0.08, "seed": 114},
    "car to road, fourier": {"trigger_kind": "fourier", "rate": 0.08, "seed": 115},
    "all classes shifted, wavelet": {"trigger_kind": "wavelet", "labels": "shift", "rate": 0.08, "seed": 116},
}  # fmt: skip
VOC: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to background, far, 15 px": {
        "strategy": "far", "relabel": {"car": "background"}, "rate": 0.06, "seed": 121,
    },
    "person to background, PRL 27 %": {
        "strategy": "nn", "relabel": {"person": "background"}, "prl": "27%", "rate": 0.1, "seed": 122,
    },
}  # fmt: skip
HEAD = (
    "| set | verdict | found | false alarms | by labels | boxes, IoU >= 0.7 | pair "
    "| PRL true, found | scope | ms/Mpx |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def row(name: str, result: ScanResult, spent: float, pixels: float) -> str:
    """Return a set's line of the table."""
    found, truth = result.findings, result.truth
    cost = f"{1000 * spent / pixels:.0f}"
    if truth is None:
        pairs = "none named" if not found.pairs else "named"
        scope = "right" if found.prl is None else "wrong"
        cells = [name, found.verdict, "-", str(len(found.suspects)), "-", "-", pairs, "-", scope, cost]
        return f"| {' | '.join(cells)} |"
    every, labels = truth.evidence["all"], truth.evidence["labels"]
    boxes = "-" if truth.good_boxes is None else f"{truth.good_boxes:.0%}"
    share = "-" if truth.prl_share is None else f"{truth.prl_share:.2%}, {truth.prl_found or 0:.2%}"
    cells = [
        name, found.verdict, f"{every.found} of {truth.poisoned}", f"{every.false_alarms} of {truth.clean}",
        f"{labels.found}, {labels.false_alarms} false", boxes, "right" if truth.pairs_right else "wrong", share,
        "right" if truth.scope_right else "wrong", cost,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, help="CamVid in the SegNet layout")
    parser.add_argument("--voc", type=Path, help="a VOCdevkit")
    parser.add_argument("--scenes", type=int, default=120, help="synthetic scenes; 0 leaves them out")
    parser.add_argument("--only", default="", help="sets whose name holds this word")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sources: list[tuple[str, Path, dict[str, dict[str, Any]]]] = []
        if options.scenes:
            streets = Path(folder) / "streets"
            synth(streets, splits={"train": options.scenes, "val": 2}, size=(512, 256), seed=77, jobs=options.jobs)
            sources.append(("cityscapes", streets, STREETS))
        sources += [("camvid", options.camvid, CAMVID)] if options.camvid else []
        sources += [("voc", options.voc, VOC)] if options.voc else []
        for layout, root, attacks in sources:
            for number, (title, choices) in enumerate(attacks.items()):
                name = f"{layout}: {title}"
                if options.only not in name:
                    continue
                suspect = root
                try:
                    if choices:
                        suspect = Path(folder) / f"{layout}-{number}"
                        recipe = {"dataset": layout, "test_split": "none", "allow_fewer": True, **choices}
                        build(recipe, root, suspect, jobs=options.jobs)
                    begin = time.process_time()
                    result = scan(suspect, layout, truth=bool(choices), jobs=options.jobs)
                    spent = time.process_time() - begin
                except PoisongenError as error:
                    print(f"| {name} | {error} |", flush=True)
                    continue
                print(row(name, result, spent, result.pixels / 1e6), flush=True)


if __name__ == "__main__":
    main()
