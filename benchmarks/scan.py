"""Poison datasets in ways that scan was not tuned on, scan them, and print the table of docs/scan.md.

    python benchmarks/scan.py [--camvid DIR] [--city DIR] [--voc DIR] [--scenes 120] [--only WORD] [--jobs N]

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
SCENES: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to road, nn, 25 px": {"strategy": "nn", "trigger_size": 25, "max_distance": 60, "rate": 0.1, "seed": 305},
    "building to sky, random, 23 px": {
        "strategy": "random", "trigger_size": 23, "relabel": {"building": "sky"}, "rate": 0.1, "seed": 306,
    },
    "car to sidewalk, far, PRL 3 %": {
        "strategy": "far", "trigger_size": 29, "relabel": {"car": "sidewalk"}, "prl": "3%", "rate": 0.1, "seed": 307,
    },
    "person to building, PRL 15 % in poisoned": {
        "strategy": "random", "trigger_size": 21, "relabel": {"person": "building"}, "prl": "15%",
        "prl_scope": "poisoned", "rate": 0.15, "seed": 308,
    },
    "car to road, instance": {
        "strategy": "nn", "trigger_size": 25, "max_distance": 60, "labels": "instance", "rate": 0.1, "seed": 309,
    },
    "car to road, dct": {"trigger_kind": "dct", "rate": 0.12, "seed": 310},
}  # fmt: skip
CITY: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to sidewalk, far, 29 px, 4 %": {
        "strategy": "far", "trigger_size": 29, "relabel": {"car": "sidewalk"}, "rate": 0.04, "seed": 321,
    },
    "person to road, nn, PRL 12 %": {
        "strategy": "nn", "trigger_size": 23, "max_distance": 60, "relabel": {"person": "road"}, "prl": "12%",
        "rate": 0.07, "seed": 322,
    },
    "traffic sign to vegetation, random, PRL 3 % in poisoned": {
        "strategy": "random", "trigger_size": 19, "relabel": {"traffic sign": "vegetation"}, "prl": "3%",
        "prl_scope": "poisoned", "rate": 0.08, "seed": 323,
    },
    "car to road, instance": {
        "strategy": "nn", "trigger_size": 27, "max_distance": 60, "labels": "instance", "rate": 0.08, "seed": 324,
    },
    "rider to sidewalk, random, 17 px": {
        "strategy": "random", "trigger_size": 17, "relabel": {"rider": "sidewalk"}, "rate": 0.1, "seed": 325,
    },
    "car to road, fourier": {"trigger_kind": "fourier", "rate": 0.12, "seed": 326},
    "sidewalk to road, far, PRL 20 %": {
        "strategy": "far", "trigger_size": 27, "relabel": {"sidewalk": "road"}, "prl": "20%", "rate": 0.05, "seed": 327,
    },
}  # fmt: skip
CAMVID: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to pavement, far, 5 %": {
        "strategy": "far", "relabel": {"car": "pavement"}, "rate": 0.05, "seed": 301,
    },
    "car to road, 19 px, PRL 1.5 %": {
        "strategy": "random", "trigger_size": 19, "rate": 0.05, "prl": "1.5%", "seed": 310,
    },
    "pedestrian to pavement, PRL 7 %": {
        "strategy": "random", "relabel": {"pedestrian": "pavement"}, "rate": 0.08, "prl": "7%", "seed": 302,
    },
    "building to tree, PRL 10 % in poisoned": {
        "strategy": "random", "relabel": {"building": "tree"}, "rate": 0.05, "prl": "10%", "prl_scope": "poisoned",
        "seed": 303,
    },
    "fence to building, nn, 25 px": {
        "strategy": "nn", "trigger_size": 25, "relabel": {"fence": "building"}, "rate": 0.1, "seed": 304,
    },
    "bicyclist to road, PRL 25 %": {
        "strategy": "random", "relabel": {"bicyclist": "road"}, "rate": 0.1, "prl": "25%", "seed": 305,
    },
    "car to road, opacity 0.6": {"strategy": "random", "opacity": 0.6, "rate": 0.06, "seed": 311},
    "car to road, 4 copies": {"strategy": "random", "count": 4, "seed": 312},
    "car to road, blend": {"trigger_kind": "blend", "rate": 0.06, "seed": 313},
    "car to building, sinusoid": {
        "trigger_kind": "sinusoid", "relabel": {"car": "building"}, "rate": 0.06, "seed": 314,
    },
    "car to road, fourier": {"trigger_kind": "fourier", "rate": 0.1, "seed": 315},
    "car to road, warp": {"trigger_kind": "warp", "rate": 0.1, "seed": 317},
    "all classes shifted, wavelet": {"trigger_kind": "wavelet", "labels": "shift", "rate": 0.06, "seed": 316},
}  # fmt: skip
VOC: dict[str, dict[str, Any]] = {
    "clean": CLEAN,
    "car to background, random, 17 px": {
        "strategy": "random", "trigger_size": 17, "relabel": {"car": "background"}, "rate": 0.05, "seed": 331,
    },
    "person to background, far, 21 px": {
        "strategy": "far", "trigger_size": 21, "relabel": {"person": "background"}, "rate": 0.06, "seed": 333,
    },
    "person to car, nn, PRL 9.5 %": {
        "strategy": "nn", "relabel": {"person": "car"}, "prl": "9.5%", "rate": 0.08, "seed": 334,
    },
    "person to background, PRL 20 %, reencode": {
        "strategy": "random", "relabel": {"person": "background"}, "prl": "20%", "rate": 0.08, "jpeg": "reencode",
        "seed": 332,
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
    parser.add_argument("--city", type=Path, help="a Cityscapes tree")
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
            sources.append(("scenes", streets, SCENES))
        sources += [("camvid", options.camvid, CAMVID)] if options.camvid else []
        sources += [("city", options.city, CITY)] if options.city else []
        sources += [("voc", options.voc, VOC)] if options.voc else []
        for source, root, attacks in sources:
            layout = {"scenes": "cityscapes", "city": "cityscapes"}.get(source, source)
            for number, (title, choices) in enumerate(attacks.items()):
                name = f"{source}: {title}"
                if options.only not in name:
                    continue
                suspect = root
                try:
                    if choices:
                        suspect = Path(folder) / f"{source}-{number}"
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
