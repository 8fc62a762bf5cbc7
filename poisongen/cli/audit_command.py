"""`poisongen audit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from poisongen.auditing.auditor import AuditReport, audit
from poisongen.cli.help import Command
from poisongen.cli.options import PlaceType, cluster_option
from poisongen.printing import number_of, show, show_json
from poisongen.source.label_like import one_line

_SHOWN_FAULTS = 50
_SHOWN_NAMES = 3


@click.command("audit", cls=Command, example="poisongen audit poisoned/cityscapes-nn-0123abcd --source data/cityscapes")
@click.argument("out", type=PlaceType())
@click.option("--source", type=PlaceType(), help="The clean dataset: compare every file with it.")
@click.option("--quick", is_flag=True, help="Check structure, and the digests of a few files only.")
@click.option(
    "--allow",
    multiple=True,
    metavar="PATTERN",
    help="Files that a trainer may have added, such as '*.cache' or data.yaml; * stands for '/', too. Repeatable.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    out: Path,
    source: Path | None,
    quick: bool,
    allow: tuple[str, ...],
    jobs: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Check the poisoned dataset in OUT against its manifest, and against its source if that is given.

    Exit status 0: no fault; 1: faults were found; 2: OUT is no finished build.
    """
    report = audit(out, source, quick=quick, allow=allow, jobs=jobs, cluster=cluster, progress=True)
    if as_json:
        show_json(report.as_json())
    else:
        show(_as_text(report))
    context.exit(0 if report.clean else 1)


def _first_of(found: Sequence[str], what: str) -> str:
    """Return what is said of files that are no faults: their number, and the first of them."""
    more = f" and {len(found) - _SHOWN_NAMES} more" if len(found) > _SHOWN_NAMES else ""
    return f"{number_of(len(found), 'file')} {what}: {', '.join(found[:_SHOWN_NAMES])}{more}"


def _as_text(report: AuditReport) -> list[str]:
    """Return the table of checks, the faults, and the verdict."""
    number = max((len(str(check.checked)) for check in report.checks), default=1)
    lines = [f"{'check':12} {'made':>{number + 2}} {'faults':>7}  what it shows"]
    lines += [
        f"{check.name:12} {check.checked:>{number + 2}} {check.faults:>7}  {check.proves}" for check in report.checks
    ]
    for fault in report.faults[:_SHOWN_FAULTS]:
        sample = f" ({fault.sample})" if fault.sample else ""
        lines.append(f"FAULT {fault.check}: {fault.file}{sample}: expected {fault.expected}; found {fault.found}")
    if report.fault_count > _SHOWN_FAULTS:
        lines.append(f"... and {report.fault_count - _SHOWN_FAULTS} more faults (--json names the first thousand)")
    lines += [f"not checked: {note}" for note in report.not_checked]
    if report.source is None:
        lines.append("not checked: anything against the source (give --source)")
    if report.label_like:
        lines.append(one_line(report.label_like, len(report.label_like), report.left_out))
    for found, verbs, what in (
        (report.reencoded, ("has", "have"), "other bytes and the same pixels"),
        (report.allowed, ("is", "are"), "allowed"),
    ):
        if found:
            lines.append(_first_of(found, f"{verbs[len(found) != 1]} {what}"))
    verdict = "clean" if report.clean else number_of(report.fault_count, "fault")
    kind = "quick audit" if report.quick else "audit"
    lines.append(f"{kind} of {report.out}: {number_of(report.files, 'file')}, {verdict}")
    return lines
