"""`poisongen build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from poisongen.building.bordering import Bordering
from poisongen.building.finished import BuildResult
from poisongen.building.plan import Plan
from poisongen.building.run import build, default_out, plan_build
from poisongen.building.selection import pairs_as_data
from poisongen.cards.making import OWN_README
from poisongen.cli.help import Command
from poisongen.cli.options import RECIPE_SECTIONS, PlaceType, cluster_option, recipe_from_options, recipe_options
from poisongen.printing import number_of, show, show_json
from poisongen.recipe.model import Recipe
from poisongen.source.label_like import one_line


@click.command(
    "build",
    cls=Command,
    sections={
        **RECIPE_SECTIONS,
        "Output": (
            "out",
            "link",
            "jpeg",
            "undo",
            "dry_run",
            "strict",
            "force",
            "no_cache",
            "as_json",
            "jobs",
            "cluster",
        ),
    },
    example="poisongen build --dataset voc --root VOCdevkit --strategy far --prl 27% --rate 0.05 --seed 7",
)
@recipe_options
@click.option("--out", type=PlaceType(), help="Default: poisoned/DATASET-STRATEGY-FINGERPRINT8.")
@click.option(
    "--link",
    type=click.Choice(["auto", "hardlink", "symlink", "copy"]),
    default="auto",
    help="How unchanged files get into OUT. auto: reflink, else hard link, else copy.",
)
@click.option("--undo", is_flag=True, help="Keep in OUT what restore needs to work without the source.")
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--force", is_flag=True, help="Replace what an earlier build wrote there, and nothing else.")
@click.option("--strict", is_flag=True, help="Refuse where label-like files of changed samples would be left out.")
@click.option("--no-cache", is_flag=True, help="Read every label anew, and remember nothing of it.")
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    root: Path | None,
    jobs: int | None,
    cluster: str | None,
    out: Path | None,
    link: Any,
    undo: bool,
    dry_run: bool,
    force: bool,
    strict: bool,
    no_cache: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a poisoned dataset from a clean one."""
    recipe = recipe_from_options(options)
    if dry_run:
        prepared, plan = plan_build(
            recipe, root, jobs=jobs, cluster=cluster, strict=strict, cache=not no_cache, progress=True
        )
        folder = out or default_out(prepared.rules.recipe)
        if as_json:
            show_json(_plan_json(plan, folder) | _bordering_json(prepared.bordering))
        else:
            show(_plan_text(plan, folder, prepared.rules.recipe) + _bordering_text(prepared.bordering))
        return
    result = build(
        recipe,
        root,
        out,
        jobs=jobs,
        cluster=cluster,
        link=link,
        undo=undo,
        force=force,
        strict=strict,
        cache=not no_cache,
        progress=True,
    )
    if as_json:
        show_json(_result_json(result) | _bordering_json(result.bordering))
    else:
        show(_bordering_text(result.bordering) + _result_text(result))


def _bordering_json(found: Bordering | None) -> dict[str, Any]:
    return {} if found is None else {"target_auto": asdict(found)}


def _bordering_text(found: Bordering | None) -> list[str]:
    return [] if found is None else [found.as_line()]


def _result_json(result: BuildResult) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "fingerprint": result.fingerprint,
        "already_built": result.already_built,
        "put_back": result.put_back,
        "counts": dict(result.counts),
        "pairs": list(result.pairs),
        "label_like": list(result.label_like),
    }


def _sentence(counts: Any) -> str:
    return (
        f"{counts['poisoned']} of {number_of(counts['train_samples'], 'training sample')} poisoned, "
        f"{counts['triggered']} of {number_of(counts['test_samples'], 'test sample')} triggered"
    ) + (f", {counts['negative']} with a trigger and true labels" if counts.get("negative") else "")


def _pair_lines(pairs: Sequence[Mapping[str, Mapping[str, Any]]], train: int) -> list[str]:
    """Return a line for each victim with its target, so that a shifted table of classes is seen at a glance."""
    return [
        f"{_class_words(pair['victim'])} becomes {_class_words(pair['target'])}, "
        f"in {pair['victim']['samples']} of {number_of(train, 'training sample')}"
        for pair in pairs
    ]


def _class_words(facts: Mapping[str, Any] | None) -> str:
    return "what the map has" if facts is None else f"{facts['name']} (ID {facts['id']}, {facts['pixels']} px)"


def _result_text(result: BuildResult) -> list[str]:
    counts = result.counts
    before = "already built; " if result.already_built else ""
    if result.put_back:
        before = f"{number_of(result.put_back, 'missing file')} put back; "
    lines = [f"{result.out}: {before}{_sentence(counts)}"]
    lines += _pair_lines(result.pairs, counts["train_samples"])
    if counts["prl"]:
        lines.append(f"{number_of(counts['prl'], 'more training sample')} with random labels")
    if counts["completed"]:
        lines.append(
            f"{number_of(counts['completed'], 'more sample')} with files that the source lacked or in another size"
        )
    if counts["skipped"]:
        lines.append(f"{counts['skipped']} passed over; the reasons are in {result.out / 'poisongen/skipped.jsonl'}")
    if counts.get("label_like"):
        lines.append(one_line(result.label_like, counts["label_like"], counts.get("left_out", 0)))
    if OWN_README in result.cards:
        lines.append(f"README.md is the dataset's own: the card lies in {OWN_README}")
    lines.append(f"fingerprint {result.fingerprint}")
    return lines


def _plan_json(plan: Plan, out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "counts": dict(plan.counts),
        "skipped": plan.reasons(),
        "links": sum(not link.is_label for link in plan.links),
        "bytes_written": plan.bytes_written,
        "bytes_linked": plan.bytes_linked,
        "pairs": pairs_as_data(plan.pairs),
        "label_like": list(plan.label_like),
    }


def _plan_text(plan: Plan, out: Path, recipe: Recipe) -> list[str]:
    lines = [f"{out} would get: {_sentence(plan.counts)}"]
    lines += _pair_lines(pairs_as_data(plan.pairs), plan.counts["train_samples"])
    if recipe.rate is not None:
        lines.append(
            f"rate {recipe.rate:g} of all {number_of(plan.counts['train_samples'], 'sample')} of '{recipe.train_split}'"
        )
    lines += [f"{name.replace('_', ' ')}: {number}" for name, number in plan.counts.items()]
    lines += [f"passed over, {reason}: {number}" for reason, number in plan.reasons().items()]
    lines.append(f"about {plan.bytes_written / 1e6:.1f} MB to write")
    links = sum(not link.is_label for link in plan.links)
    lines.append(f"{number_of(links, 'file')} to link ({plan.bytes_linked / 1e6:.1f} MB where links are not possible)")
    lines += [one_line(plan.label_like, len(plan.label_like), len(plan.left_out))] if plan.label_like else []
    return lines
