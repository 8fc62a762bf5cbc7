"""`poisongen scan`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from poisongen.cli.help import Command
from poisongen.cli.options import Named, cluster_option
from poisongen.datasets import layouts
from poisongen.printing import show, show_json
from poisongen.scanning.findings import Findings
from poisongen.scanning.scanner import ScanResult, scan
from poisongen.scanning.truth import Truth


@click.command(
    "scan",
    cls=Command,
    example="poisongen scan data/camvid --dataset camvid --out scan/findings.json --sheet scan/sheet.png",
)
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--dataset", cls=Named, names=layouts, required=True, metavar="LAYOUT", help="One of NAMES.")
@click.option("--split", default="train", help="The split to judge. Default: train.")
@click.option("--out", type=click.Path(path_type=Path), help="Write findings (JSON), the trigger and clean lists.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Draw the trigger and the suspects: a PNG.")
@click.option("--truth", is_flag=True, help="ROOT is a build of ours: score the findings against its manifest.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores.")
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    root: Path,
    dataset: str,
    split: str,
    out: Path | None,
    sheet: Path | None,
    truth: bool,
    jobs: int | None,
    cluster: str | None,
    as_json: bool,
) -> int:
    """Say of the dataset in ROOT, by its images and labels alone, whether and how it is poisoned.

    No manifest is read, nothing is written into ROOT, and no GPU or downloaded weights are needed. The exit status is
    0 where nothing was found, 1 where something was. Needs scikit-learn (the extra `scan`).
    """
    result = scan(
        root, dataset, split=split, out=out, sheet=sheet, truth=truth, jobs=jobs, cluster=cluster, progress=True
    )
    findings = result.findings
    if as_json:
        document = findings.as_json()
        show_json(document | ({"truth": result.truth.as_json()} if result.truth else {}))
    else:
        show(_lines(root, result))
    return 0 if findings.verdict == "clean" else 1


def _lines(root: Path, result: ScanResult) -> Iterable[str]:
    """Return the table, a line for each suspect, notes, and where files are."""
    findings = result.findings
    lines = [f"{root}, {findings.split}: {findings.verdict}", *_aligned(_table(findings))]
    for one in findings.suspects:
        box = f"box {list(one.box)}" if one.box else "no box"
        lines.append(f"suspect {one.sample}  {one.score:.2f}  {box}  {', '.join(one.evidence)}")
    lines += [f"note: {note}" for note in findings.notes]
    lines += _aligned(_truth_rows(result.truth)) if result.truth else []
    return lines + [f"{path}: written" for path in result.written]


def _table(findings: Findings) -> list[list[str]]:
    """Return what a person wants to know first."""
    trigger, prl = findings.trigger, findings.prl
    size = f"{trigger.size[1]}x{trigger.size[0]} px" if trigger and trigger.size else ""
    picture = f", picture in {trigger.picture}" if trigger and trigger.picture else ""
    what = f"{trigger.kind}, {trigger.words or size}{picture} ({trigger.confidence:.0%} sure)" if trigger else "none"
    pairs = "; ".join(
        f"{pair.victim or 'an object'} to {pair.target} ({pair.confidence:.0%} sure)" for pair in findings.pairs
    )
    random = "none"
    if prl:
        words = {"image": "classes of the map", "dataset": "any class", "void": "void"}
        shared = ", at positions that repeat" if prl.shared else ""
        drawn = words.get(prl.classes, prl.classes)
        random = f"{prl.share:.2%} of the map in {prl.scope} samples, drawn from {drawn}{shared}"
    kinds = ", ".join(f"{kind} {one.score:.2f} ({one.samples})" for kind, one in findings.evidence.items() if one.score)
    return [
        ["samples", str(findings.samples)],
        ["suspects", str(len(findings.suspects))],
        ["trigger", what],
        ["victim to target", pairs or "none"],
        ["random labels", random],
        ["evidence", kinds or "none"],
    ]


def _truth_rows(truth: Truth) -> list[list[str]]:
    """Return the score against the manifest."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    rows = [["against the manifest", "found", "recall", "false alarms", "of the clean"]]
    rows += [
        [kind, f"{one.found} of {truth.poisoned}", percent(one.recall), str(one.false_alarms), percent(one.false_share)]
        for kind, one in truth.evidence.items()
        if kind == "all" or one.found or one.false_alarms
    ]
    rows.append(["boxes", "median IoU", "-" if truth.iou is None else f"{truth.iou:.2f}", "IoU >= 0.7",
                 percent(truth.good_boxes)])  # fmt: skip
    rows.append(["pairs", "right" if truth.pairs_right else "wrong"])
    rows.append(["random labels", "share", percent(truth.prl_share), "found", percent(truth.prl_found)])
    rows.append(["scope", "right" if truth.scope_right else "wrong"])
    return rows


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return rows as lines with columns of one width."""
    widths = [max(len(row[at]) for row in rows if len(row) > at + 1) if any(len(row) > at + 1 for row in rows) else 0
              for at in range(max(map(len, rows)))]  # fmt: skip
    return ["  ".join(f"{word:{width}}" for word, width in zip(row, widths, strict=False)).rstrip() for row in rows]
