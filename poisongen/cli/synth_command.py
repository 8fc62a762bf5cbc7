"""`poisongen synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from poisongen.cli.help import Command
from poisongen.parallel import job_count
from poisongen.printing import number_of, show, show_json
from poisongen.scenes import synth


def _size(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    """Return width and height in pixels of WIDTHxHEIGHT."""
    width, cross, height = value.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"'{value}' must have the form WIDTHxHEIGHT, such as 1024x512", context, parameter)
    return int(width), int(height)


@click.command(
    "synth", cls=Command, example="poisongen synth data/synthetic --layout voc --train 100 --val 20 --size 512x384"
)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(["cityscapes", "voc"]), default="cityscapes", help="Default: cityscapes.")
@click.option("--train", type=click.IntRange(min=0), default=24, help="Number of training scenes. Default: 24.")
@click.option("--val", type=click.IntRange(min=0), default=8, help="Number of validation scenes. Default: 8.")
@click.option("--size", metavar="WIDTHxHEIGHT", default="512x256", callback=_size, help="Default: 512x256.")
@click.option("--no-train-ids", is_flag=True, help="Leave out labelTrainIds, as official downloads do.")
@click.option("--seed", type=int, default=0, help="Default: 0.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    out: Path,
    layout: Any,
    train: int,
    val: int,
    size: tuple[int, int],
    no_train_ids: bool,
    seed: int,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Make a small synthetic street-scene dataset in the folder OUT."""
    splits = {"train": train, "val": val}
    workers, train_ids = job_count(jobs), not no_train_ids
    synth(out, layout=layout, splits=splits, size=size, seed=seed, jobs=workers, train_ids=train_ids, progress=True)
    text = f"{out}: {train} training and {number_of(val, 'validation scene')}, {size[0]}x{size[1]} px, {layout} layout"
    if as_json:
        show_json({"out": str(out), "layout": layout, **splits})
    else:
        show([text])
