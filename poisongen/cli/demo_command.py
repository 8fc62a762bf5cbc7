"""`poisongen demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from poisongen.cli.help import Command
from poisongen.demonstration import DemoResult, demo
from poisongen.printing import number_of, show, show_json


@click.command("demo", cls=Command, example="poisongen demo --out demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), help="Default: demo.")
@click.option("--seed", type=int, default=0, help="Default: 0.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(out: Path, seed: int, jobs: int | None, as_json: bool) -> None:
    """Run synth, build, audit and report in one go: the first thing to try."""
    result = demo(out, seed=seed, jobs=jobs, progress=True)
    if as_json:
        show_json(_as_json(result))
    else:
        show(_as_text(result))


def _as_json(result: DemoResult) -> dict[str, Any]:
    return {
        "clean": str(result.clean),
        "poisoned": str(result.poisoned.out),
        "sheet": str(result.sheet),
        "page": None if result.page is None else str(result.page),
        "faults": result.audit.fault_count,
        "fingerprint": result.poisoned.fingerprint,
        "counts": dict(result.poisoned.counts),
    }


def _as_text(result: DemoResult) -> list[str]:
    counts, out = result.poisoned.counts, result.poisoned.out
    rows = [
        ("clean scenes", f"{counts['train_samples']} train, {counts['test_samples']} val", str(result.clean)),
        ("poisoned dataset", f"{counts['poisoned']} train samples: cars are road", str(out)),
        ("triggered test set", f"{counts['triggered']} val samples, true labels", str(out / "triggered")),
        ("what was done", "one line for every changed sample", str(out / "poisongen" / "manifest.jsonl")),
        (
            "audit",
            f"{number_of(result.audit.files, 'file')}, "
            + (number_of(result.audit.fault_count, "fault") if result.audit.fault_count else "no faults"),
            f"poisongen audit {out}",
        ),
        ("contact sheet", "a few samples before and after", str(result.sheet)),
    ]
    if result.page is not None:
        rows.append(("report", "what it did to the pictures: look here first", str(result.page)))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:{widths[0]}}  {what:{widths[1]}}  {where}" for name, what, where in rows]
    if result.page is None:
        call = f"poisongen report {out} --source {result.clean} --out {result.sheet.with_name('report.html')}"
        lines.append(f"for a page of pictures and figures: pip install jinja2 matplotlib, then {call}")
    lines += [
        f"fingerprint {result.poisoned.fingerprint}",
        "next, with your own data: poisongen build --dataset cityscapes --root YOUR/CITYSCAPES --strategy nn",
    ]
    return lines
