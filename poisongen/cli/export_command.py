"""`poisongen export`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from poisongen.cli.help import Command
from poisongen.exporting.webdataset import export_webdataset
from poisongen.printing import show, show_json

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


class _Size(click.ParamType[int]):
    """A number of bytes, or one with K, M or G behind it."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"\s*(\d{1,15})\s*([KMG]?)(?:i?B)?\s*", str(value), re.IGNORECASE)
        if match is None or int(match[1]) == 0:
            self.fail(
                f"'{value}' is no size; give bytes, or a number with K, M or G behind it, such as 256M", param, ctx
            )
        return int(match[1]) * _UNITS[match[2].upper()]


@click.command(
    "export",
    cls=Command,
    example="poisongen export poisoned/cityscapes-nn-0123abcd --webdataset shards --size 256M",
)
@click.argument("poisoned", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--webdataset",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the tars go: a new folder, outside OUT.",
)
@click.option("--shards", type=click.IntRange(min=1), help="So many tars for each split and test set.")
@click.option("--size", type=_Size(), help="As many tars as are filled by so many bytes, such as 256M. Default: 512M.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    poisoned: Path, folder: Path, shards: int | None, size: int | None, jobs: int | None, as_json: bool
) -> None:
    """Write the poisoned dataset in OUT as WebDataset tars: image, labels and record of a sample under one key."""
    result = export_webdataset(poisoned, folder, shards=shards, size=size, jobs=jobs, progress=True)
    if as_json:
        shown = {name: list(names) for name, names in result.shards.items()}
        show_json({"out": str(result.out), "shards": shown, "samples": result.samples, "bytes": result.bytes})
        return
    show([f"{result.out}: {result.samples} samples ({result.bytes / 1e6:.1f} MB), the dataset is poisoned"])
    show(
        [
            f"{name}: {len(names)} tar{'s' if len(names) > 1 else ''} from {names[0]}"
            for name, names in result.shards.items()
        ]
    )
