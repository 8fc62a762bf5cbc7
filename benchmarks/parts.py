"""Do attacks made of parts plant on small victims? Success, collateral and false activation beside a clean model.

    python benchmarks/parts.py --camvid /data/camvid --out runs/parts --seeds 0 1

Builds each attack from the same seed and the same candidates (the condition holds for all of them; only the arm that is
named after it has negatives too), so that all arms poison the same frames as far as places allow; trains a LinkNet (no
pooling over the whole picture) on each build and on the clean frames, and tests every model, the clean one too, on the
build's own test sets. An encoder from the clean frames stands in for ImageNet weights. Without `--camvid` synthetic
street scenes are drawn. What is finished is not done again: several processes may share the work by `--seeds` and
`--attacks` (none given: only the encoder and the clean model), and the same call without them prints the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import poisongen

ATTACKS: dict[str, dict[str, Any]] = {
    "class": {"strategy": "random"},
    "condition, negatives": {"strategy": "random", "negatives": "100%"},
    "instance": {"labels": "instance", "strategy": "random"},
    "blend": {"trigger_kind": "blend", "strategy": "whole"},
    "physical": {"trigger_kind": "physical", "strategy": "ground", "trigger_options": {"wide": 1.5, "long": 1.5}},
}
SHARED: dict[str, Any] = {"victim": "car", "target": "road", "trigger": "target", "allow_fewer": True}
CAMVID: dict[str, Any] = {"dataset": "camvid", "test_split": "test", "only_if": ["present:pedestrian:500"]}
SCENES: dict[str, Any] = {"dataset": "cityscapes", "only_if": ["present:person"]}
SETTINGS = {
    "model": "linknet",
    "encoder": "tu-regnetx_002",
    "optimizer": "adamw",
    "lr": 1e-3,
    "head_factor": 1.0,
    "scale_range": [0.9, 1.1],
    "colour": 0.1,
}


def say(text: str) -> None:
    """Say how far it is, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def recipe_of(attack: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return an attack's recipe: a horizon for CamVid's camera, a patch's size for those that have a place."""
    own = dict(ATTACKS[attack])
    base = CAMVID if options.camvid else SCENES
    if "trigger_kind" not in own:
        own |= {"trigger_size": options.trigger_size, "region": "any"}
        if options.near:
            own |= {"strategy": "nn", "max_distance": options.near}
    elif options.camvid and own["trigger_kind"] == "physical":
        own["trigger_options"] = own["trigger_options"] | {"horizon": 0.45}
    return {**SHARED, **base, **own, "rate": options.rate, "seed": seed}


def trained(data: Path, run: Path, seed: int, epochs: int, encoder: Path | None, options: argparse.Namespace) -> Path:
    """Train a model unless it has been; return its checkpoint."""
    if not (run / "done").is_file():
        say(f"training {run}")
        weights = {} if encoder is None else {"weights": str(encoder)}
        own = {"size": options.size, "batch": options.batch, "epochs": epochs, "seed": seed}
        settings = poisongen.make_settings({**SETTINGS, **weights, **own})
        layout = CAMVID["dataset"] if options.camvid else SCENES["dataset"]
        poisongen.train(data, run, settings, layout=layout, resume=True, device=options.device, jobs=options.jobs)
        (run / "done").touch()
    return run / "checkpoint.pt"


def figures(checkpoint: Path, data: Path, file: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a model on a build unless it has been; return the report."""
    if not file.is_file():
        file.write_text(json.dumps(poisongen.evaluate(checkpoint, data, device=options.device, jobs=options.jobs)))
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def frames(build: Path) -> set[str]:
    """Return the names of a build's poisoned frames."""
    lines = map(json.loads, (build / "poisongen/manifest.jsonl").read_text().splitlines())
    return {line["sample"] for line in lines if line["role"] == "poisoned"}


def one_seed(scenes: Path, seed: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Do everything for one seed: reports of the attack's and of the clean model, by attack."""
    here = options.out / f"seed{seed}"
    here.mkdir(parents=True, exist_ok=True)
    encoder = trained(scenes, here / "encoder", seed, options.encoder_epochs, None, options)
    clean = trained(scenes, here / "clean", seed, options.epochs, encoder, options)
    found = {}
    for attack in options.attacks:
        name = attack.partition(",")[0]
        out = here / f"build-{name}"
        build = poisongen.build(recipe_of(attack, seed, options), scenes, out, jobs=options.jobs).out
        own = trained(build, here / f"run-{name}", seed, options.epochs, encoder, options)
        found[attack] = {
            "model": figures(own, build, here / f"report-{name}.json", options),
            "clean": figures(clean, build, here / f"report-clean-{name}.json", options),
            "poisoned": frames(build),
        }
    return found


def share(part: dict[str, Any] | None) -> tuple[float | None, float | None]:
    """Return a share and its counterpart without trigger."""
    return (None, None) if part is None else (part["value"], part["without_trigger"]["value"])


def car(report: dict[str, Any]) -> float | None:
    """Return the IoU of cars on the clean test frames."""
    value: float | None = report["cba"]["iou"].get("car")
    return value


def row(report: dict[str, Any]) -> list[float | None]:
    """Return the figures of one report, in the order of the table's columns."""
    of = (share(report.get(key)) for key in ("asr", "collateral", "false_activation"))
    return [*(one for pair in of for one in pair), report["pba"]["value"], report["cba"]["value"], car(report)]


def cell(values: list[float | None]) -> str:
    """Return the seeds' figures in per cent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.fmean(known):.1f}" + (f" ({' / '.join(f'{v:.1f}' for v in known)})" if len(known) > 1 else "")


def table(results: list[dict[str, dict[str, Any]]]) -> str:
    """Return the figures of all seeds as Markdown."""
    columns = ["ASR", "no trigger", "collateral", "no trigger", "false activation", "no trigger", "PBA", "CBA", "car"]
    lines = [f"| attack | model | {' | '.join(columns)} |", "|---|---|" + "---:|" * len(columns)]
    for attack in results[0]:
        for model in ("model", "clean"):
            rows = [row(result[attack][model]) for result in results]
            cells = [cell(list(values)) for values in zip(*rows, strict=True)]
            lines.append(f"| {attack} | {'poisoned' if model == 'model' else 'clean'} | {' | '.join(cells)} |")
    first = [next(iter(result.values()))["poisoned"] for result in results]
    poisoned = []
    for attack in results[0]:
        own = [result[attack]["poisoned"] for result in results]
        common = ", ".join(str(len(one & other)) for one, other in zip(own, first, strict=True))
        poisoned.append(f"{attack}: {', '.join(str(len(one)) for one in own)} ({common})")
    return "\n".join([*lines, "", f"Poisoned frames by seed (shared with the first attack): {'; '.join(poisoned)}."])


def main() -> None:
    """Read the options, do what is not done, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/parts"))
    parser.add_argument("--camvid", type=Path, help="CamVid in the SegNet layout, instead of synthetic scenes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--attacks", nargs="*", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--train", type=int, default=120, help="synthetic scenes for training")
    parser.add_argument("--val", type=int, default=48, help="synthetic scenes for testing")
    parser.add_argument("--rate", type=float, default=0.2, help="share of poisoned frames")
    parser.add_argument("--trigger-size", type=int, default=48, help="side of a patch, in pixels of the frames")
    parser.add_argument("--near", type=int, help="patches at most this far from a victim (default: anywhere)")
    parser.add_argument("--size", default="180x240", help="what the model sees (default 180x240)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--encoder-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--device", help="default: a GPU if there is one")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    scenes = options.camvid or options.out / "scenes"
    if not scenes.is_dir():
        splits = {"train": options.train, "val": options.val}
        poisongen.synth(scenes, splits=splits, size=(320, 256), seed=5, jobs=1)
    results = [one_seed(scenes, seed, options) for seed in options.seeds]
    if options.attacks:
        print(table(results))


if __name__ == "__main__":
    main()
