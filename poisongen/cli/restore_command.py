"""`poisongen restore`."""

from __future__ import annotations

from pathlib import Path

import click

from poisongen.cli.help import Command
from poisongen.cli.options import PlaceType, cluster_option
from poisongen.printing import number_of, show, show_json
from poisongen.undo.restorer import restore


@click.command(
    "restore",
    cls=Command,
    example="poisongen restore poisoned/cityscapes-nn-0123abcd --out clean --source data/cityscapes",
)
@click.argument("poisoned", metavar="OUT", type=PlaceType())
@click.option("--out", required=True, type=PlaceType(), help="Where the clean dataset goes: a new folder.")
@click.option("--source", type=PlaceType(), help="The clean dataset that OUT was built from.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    poisoned: Path, out: Path, source: Path | None, jobs: int | None, cluster: str | None, as_json: bool
) -> None:
    """Give back the clean dataset that the poisoned one in OUT was built from, byte for byte.

    Without --source this needs a build with --undo.
    """
    result = restore(poisoned, out, source, jobs=jobs, cluster=cluster, progress=True)
    facts = {"out": str(result.out), "files": result.files, "bytes": result.bytes, "by": result.by}
    megabytes = result.bytes / 1e6
    files = number_of(result.files, "file")
    text = f"{result.out}: {files} ({megabytes:.1f} MB) restored, each with its digest, by {result.by}"
    if as_json:
        show_json(facts)
    else:
        show([text])
