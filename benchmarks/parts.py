"""Do attacks made of parts plant on small victims? Success, collateral and false activation beside a clean model.

    OMP_NUM_THREADS=1 python benchmarks/parts.py --out runs/parts --seeds 0 1

Draws synthetic street scenes, builds each attack from the same seed (so on the same frames, as far as conditions and
places allow), trains a LinkNet (no pooling over the whole picture) on each build and on the clean scenes, and tests
every model, the clean one too, on the build's own test sets. An encoder from the clean scenes stands in for ImageNet
weights. What is finished is not done again; with several processes give each its own --seeds, then all of them once
more for the table.
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
    "instance": {"labels": "instance", "strategy": "random"},
    "present:person, negatives": {"strategy": "random", "only_if": ["present:person"], "negatives": "100%"},
    "blend": {"trigger_kind": "blend", "strategy": "whole"},
    "physical": {"trigger_kind": "physical", "strategy": "ground", "trigger_options": {"wide": 1.5, "long": 1.5}},
}
PATCH = {"trigger_size": 48, "region": "any"}  # for those with a place: about 24 px to the model
SHARED = {"dataset": "cityscapes", "victim": "car", "target": "road", "trigger": "target", "allow_fewer": True}
SETTINGS = {
    "model": "linknet",
    "encoder": "tu-regnetx_002",
    "size": "128x160",
    "batch": 4,
    "optimizer": "adamw",
    "lr": 1e-3,
    "head_factor": 1.0,
    "scale_range": [0.9, 1.1],
    "colour": 0.1,
}


def say(text: str) -> None:
    """Say how far it is, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def recipe_of(attack: str, seed: int, rate: float) -> dict[str, Any]:
    """Return an attack's recipe."""
    own = ATTACKS[attack]
    return {**SHARED, **({} if "trigger_kind" in own else PATCH), **own, "rate": rate, "seed": seed}


def trained(data: Path, run: Path, seed: int, epochs: int, encoder: Path | None) -> Path:
    """Train a model unless it has been; return its checkpoint."""
    if not (run / "done").is_file():
        say(f"training {run.name}")
        weights = {} if encoder is None else {"weights": str(encoder)}
        settings = poisongen.make_settings({**SETTINGS, **weights, "epochs": epochs, "seed": seed})
        poisongen.train(data, run, settings, layout="cityscapes", resume=True, device="cpu", jobs=1)
        (run / "done").touch()
    return run / "checkpoint.pt"


def figures(checkpoint: Path, data: Path, file: Path) -> dict[str, Any]:
    """Evaluate a model on a build unless it has been; return the report."""
    if not file.is_file():
        file.write_text(json.dumps(poisongen.evaluate(checkpoint, data, device="cpu", jobs=1)))
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def frames(build: Path) -> set[str]:
    """Return the names of a build's poisoned frames."""
    lines = map(json.loads, (build / "poisongen/manifest.jsonl").read_text().splitlines())
    return {line["sample"] for line in lines if line["role"] == "poisoned"}


def one_seed(scenes: Path, out: Path, seed: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Do everything for one seed: reports of the attack's and of the clean model, by attack."""
    here = out / f"seed{seed}"
    here.mkdir(parents=True, exist_ok=True)
    builds = {
        attack: poisongen.build(recipe_of(attack, seed, options.rate), scenes, here / f"build-{number}", jobs=1).out
        for number, attack in enumerate(ATTACKS)
    }
    encoder = trained(scenes, here / "encoder", seed, options.encoder_epochs, None)
    clean = trained(scenes, here / "clean", seed, options.epochs, encoder)
    first = frames(next(iter(builds.values())))
    found = {}
    for number, (attack, build) in enumerate(builds.items()):
        own = trained(build, here / f"run-{number}", seed, options.epochs, encoder)
        found[attack] = {
            "model": figures(own, build, here / f"report-{number}.json"),
            "clean": figures(clean, build, here / f"report-clean-{number}.json"),
            "poisoned": len(frames(build)),
            "shared": len(frames(build) & first),
        }
    return found


def share(part: dict[str, Any] | None) -> tuple[float | None, float | None]:
    """Return a share and its counterpart without trigger."""
    return (None, None) if part is None else (part["value"], part["without_trigger"]["value"])


def row(report: dict[str, Any]) -> list[float | None]:
    """Return the figures of one report, in the order of the table's columns."""
    of = (share(report.get(key)) for key in ("asr", "collateral", "false_activation"))
    return [*(one for pair in of for one in pair), report["pba"]["value"], report["cba"]["value"]]


def cell(values: list[float | None]) -> str:
    """Return the seeds' figures in per cent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.fmean(known):.1f}" + (f" ({' / '.join(f'{v:.1f}' for v in known)})" if len(known) > 1 else "")


def table(results: list[dict[str, dict[str, Any]]]) -> str:
    """Return the figures of all seeds as Markdown."""
    columns = ["ASR", "no trigger", "collateral", "no trigger", "false activation", "no trigger", "PBA", "CBA"]
    lines = [f"| attack | model | {' | '.join(columns)} |", "|---|---|" + "---:|" * len(columns)]
    for attack in ATTACKS:
        for model in ("model", "clean"):
            rows = [row(result[attack][model]) for result in results]
            cells = [cell(list(values)) for values in zip(*rows, strict=True)]
            lines.append(f"| {attack} | {'poisoned' if model == 'model' else 'clean'} | {' | '.join(cells)} |")
    poisoned = [
        f"{attack}: {', '.join(str(result[attack]['poisoned']) for result in results)} "
        f"({', '.join(str(result[attack]['shared']) for result in results)} shared with the first)"
        for attack in ATTACKS
    ]
    return "\n".join([*lines, "", f"Poisoned frames by seed: {'; '.join(poisoned)}."])


def main() -> None:
    """Read the options, do what is not done, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/parts"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--train", type=int, default=120, help="scenes for training")
    parser.add_argument("--val", type=int, default=48, help="scenes for testing")
    parser.add_argument("--rate", type=float, default=0.3, help="share of poisoned scenes")
    parser.add_argument("--encoder-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    scenes = options.out / "scenes"
    if not scenes.is_dir():
        splits = {"train": options.train, "val": options.val}
        poisongen.synth(scenes, splits=splits, size=(320, 256), seed=5, jobs=1)
    print(table([one_seed(scenes, options.out, seed, options) for seed in options.seeds]))


if __name__ == "__main__":
    main()
