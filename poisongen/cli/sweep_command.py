"""`poisongen sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from poisongen.cli.help import Command
from poisongen.cli.options import cache_option, cluster_option, device_option
from poisongen.printing import show, show_json
from poisongen.victim.alone import launched
from poisongen.victim.sweep import default_out, run_sweep


@click.command("sweep", cls=Command, example="poisongen sweep benchmarks/camvid.yaml --out runs/camvid")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/NAME of the file NAME.yaml.")
@cache_option
@device_option
@click.option("--jobs", type=click.IntRange(min=1), help="Default: all cores.")
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path, out: Path | None, cache: Any, device: str | None, jobs: int | None, cluster: str | None, as_json: bool
) -> int:
    """Build, train and evaluate a grid of recipes and models, and put the results into one table.

    A second start skips what is finished; what has changed (file, dataset, trigger, weights) is done anew. Exit
    status 1 if a cell failed.
    """
    rank, _ = launched()
    if rank:
        raise click.exceptions.Exit(2)  # the first process says why
    folder = out or default_out(file)
    results = run_sweep(file, folder, device=device, cache=cache, jobs=jobs, cluster=cluster, progress=True)
    if as_json:
        states = [{"cell": r.cell.label, "state": r.state, "reason": r.reason} for r in results]
        show_json({"out": str(folder), "cells": states})
    else:
        show((folder / "table.md").read_text(encoding="utf-8").rstrip().split("\n"))
        show(["", f"{folder / 'table.md'}, table.csv, table.json"])
    return 1 if any(result.state == "failed" for result in results) else 0
