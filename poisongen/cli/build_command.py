"""`poisongen build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from poisongen.builder import BuildResult, build, default_out, plan_build
from poisongen.cli.options import recipe_from_options, recipe_options
from poisongen.plan import Plan
from poisongen.printing import show, show_json


@click.command("build")
@recipe_options
@click.option("--out", type=click.Path(path_type=Path), help="Default: poisoned/DATASET-STRATEGY-FINGERPRINT8.")
@click.option(
    "--link",
    type=click.Choice(["auto", "hardlink", "symlink", "copy"]),
    default="auto",
    help="How unchanged files get into OUT. auto: reflink, else hard link, else copy.",
)
@click.option("--undo", is_flag=True, help="Keep in OUT what restore needs to work without the source.")
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--force", is_flag=True, help="Replace what an earlier build wrote there, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    root: Path | None,
    jobs: int | None,
    out: Path | None,
    link: Any,
    undo: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Write a poisoned dataset from a clean one.

    \b
        poisongen build --dataset cityscapes --strategy nn
        poisongen build --dataset voc --root VOCdevkit --strategy far --prl 27% --rate 0.05 --seed 7
    """
    recipe = recipe_from_options(options)
    if dry_run:
        prepared, plan = plan_build(recipe, root, jobs=jobs, progress=True)
        folder = out or default_out(prepared.rules.recipe)
        if as_json:
            show_json(_plan_json(plan, folder))
        else:
            show(_plan_text(plan, folder))
        return
    result = build(recipe, root, out, jobs=jobs, link=link, undo=undo, force=force, progress=True)
    if as_json:
        show_json(_result_json(result))
    else:
        show(_result_text(result))


def _result_json(result: BuildResult) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "fingerprint": result.fingerprint,
        "already_built": result.already_built,
        "put_back": result.put_back,
        "counts": dict(result.counts),
    }


def _sentence(counts: Any) -> str:
    return (
        f"{counts['poisoned']} of {counts['train_samples']} training samples poisoned, "
        f"{counts['triggered']} of {counts['test_samples']} test samples triggered"
    )


def _result_text(result: BuildResult) -> list[str]:
    counts = result.counts
    before = "already built; " if result.already_built else ""
    if result.put_back:
        before = f"{result.put_back} files that were missing are put back; "
    lines = [f"{result.out}: {before}{_sentence(counts)}"]
    if counts["prl"]:
        lines.append(f"{counts['prl']} more training samples with random labels")
    if counts["completed"]:
        lines.append(f"{counts['completed']} more samples with files that the source lacked or in another size")
    if counts["skipped"]:
        lines.append(f"{counts['skipped']} passed over; the reasons are in {result.out / 'poisongen/skipped.jsonl'}")
    lines.append(f"fingerprint {result.fingerprint}")
    return lines


def _plan_json(plan: Plan, out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "counts": dict(plan.counts),
        "skipped": plan.reasons(),
        "links": len(plan.links),
        "bytes_written": plan.bytes_written,
        "bytes_linked": plan.bytes_linked,
    }


def _plan_text(plan: Plan, out: Path) -> list[str]:
    lines = [f"{out} would get: {_sentence(plan.counts)}"]
    lines += [f"{name.replace('_', ' ')}: {number}" for name, number in plan.counts.items()]
    lines += [f"passed over, {reason}: {number}" for reason, number in plan.reasons().items()]
    lines.append(f"about {plan.bytes_written / 1e6:.1f} MB to write")
    lines.append(f"{len(plan.links)} files to link ({plan.bytes_linked / 1e6:.1f} MB where links are not possible)")
    return lines
