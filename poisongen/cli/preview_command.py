"""`poisongen preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from poisongen.cli.help import Command
from poisongen.cli.options import RECIPE_SECTIONS, recipe_from_options, recipe_options
from poisongen.previewing.previewer import preview
from poisongen.printing import show, show_json


@click.command(
    "preview",
    cls=Command,
    sections={**RECIPE_SECTIONS, "Output": ("out", "samples", "jpeg", "as_json", "jobs")},
    example="poisongen preview --dataset cityscapes --root data/cityscapes --strategy nn --out preview.png",
)
@recipe_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("preview.png"), help="Default: preview.png.")
@click.option("--samples", type=click.IntRange(1, 64), default=4, help="Rows of the sheet. Default: 4.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(root: Path | None, jobs: int | None, out: Path, samples: int, as_json: bool, **options: Any) -> None:
    """Draw one PNG contact sheet of what a recipe would do, without writing a dataset."""
    path = preview(recipe_from_options(options), root, out, samples=samples, jobs=jobs, progress=True)
    if as_json:
        show_json({"out": str(path)})
    else:
        show([f"{path}: look at it"])
