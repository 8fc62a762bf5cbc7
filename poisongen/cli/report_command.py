"""`poisongen report`."""

from __future__ import annotations

from pathlib import Path

import click

from poisongen.cli.help import Command
from poisongen.printing import show, show_json
from poisongen.reporting.reporter import MOST_SAMPLES, SAMPLES, report


@click.command(
    "report",
    cls=Command,
    example="poisongen report poisoned/cityscapes-nn-0123abcd --source data/cityscapes --out report.html",
)
@click.argument("poisoned", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--source", type=click.Path(path_type=Path), help="The clean dataset: what samples were before.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("report.html"), help="Default: report.html.")
@click.option(
    "--samples",
    type=click.IntRange(1, MOST_SAMPLES),
    default=SAMPLES,
    help=f"Samples shown with pictures. Default: {SAMPLES}.",
)
@click.option("--run", type=click.Path(path_type=Path), help="A run of train: its predictions and measures as well.")
@click.option("--audit/--no-audit", "audited", default=True, help="Audit it for the verdict. Default: yes.")
@click.option("--quick", is_flag=True, help="The quick audit: structure, and the digests of a few files only.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    poisoned: Path,
    source: Path | None,
    out: Path,
    samples: int,
    run: Path | None,
    audited: bool,
    quick: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Write one HTML page that shows a person what the poisoned dataset in OUT is: pictures, figures, verdict.

    Faults that the audit finds stand in the page, and are no error here. Needs jinja2 and matplotlib.
    """
    result = report(
        poisoned,
        source,
        out,
        samples=samples,
        run=run,
        audited=audited,
        quick=quick,
        jobs=jobs,
        progress=True,
    )
    faults = None if result.audit is None else result.audit.fault_count
    if as_json:
        show_json({"page": str(result.page), "bytes": result.bytes, "samples": result.samples, "faults": faults})
        return
    verdict = "not audited" if faults is None else f"audit: {faults or 'no'} fault{'' if faults == 1 else 's'}"
    show([f"{result.page}: {result.samples} samples, {result.bytes / 1e6:.1f} MB; {verdict}"])
