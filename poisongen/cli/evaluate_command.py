"""`poisongen evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from poisongen.cli.help import Command
from poisongen.cli.options import device_option
from poisongen.errors import ChoiceError
from poisongen.files.store import write_whole
from poisongen.printing import show, show_json
from poisongen.victim.alone import launched, require_alone
from poisongen.victim.evaluation import evaluate
from poisongen.victim.evaluation_text import as_text
from poisongen.victim.run_log import CHECKPOINT, disk_errors, require_file_place, require_outside


@click.command(
    "evaluate",
    cls=Command,
    sections={
        "Data": ("data", "clean", "distances", "predictions", "prediction_ids"),
        "Prediction": ("flip", "amp", "device", "batch", "jobs"),
        "Output": ("out", "as_json"),
    },
    example="poisongen evaluate runs/nn --data poisoned/cityscapes-nn-0123abcd --distances 0-60,60-120,120-inf",
)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder that build wrote.")
@click.option("--clean", type=click.Path(path_type=Path), help="The clean dataset. Default: what the build has.")
@click.option(
    "--distances",
    default="",
    metavar="L-U,...",
    help="Also with triggers at these distances (L < d <= U, 120-inf for 120 and more).",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Label maps of another trainer, in clean/, triggered/ and, if the build has negatives, negative/.",
)
@click.option(
    "--prediction-ids",
    type=click.Choice(["train", "raw"]),
    default="train",
    help="What these label maps hold: train IDs 0..K-1 (default), or the dataset's raw IDs.",
)
@device_option
@click.option("--batch", type=click.IntRange(min=1), help="Pictures at a time. Default: 8 (GPU), 4 (CPU).")
@click.option(
    "--amp",
    type=click.Choice(["auto", "bf16", "fp16", "off"]),
    default="auto",
    help="Autocast. Default: bf16, or fp16 on older GPUs.",
)
@click.option("--flip", is_flag=True, help="Average with the mirrored picture's prediction, as the official code does.")
@click.option("--jobs", type=click.IntRange(min=1), help="Threads that read. Default: all cores.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the whole report (JSON) to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as one JSON object.")
def command(
    checkpoint: Path | None,
    data: Path,
    clean: Path | None,
    distances: str,
    predictions: Path | None,
    prediction_ids: str,
    device: str | None,
    batch: int | None,
    amp: str,
    flip: bool,
    jobs: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure ASR, PBA and CBA of a checkpoint, or of label maps that another trainer wrote."""
    rank, _ = launched()
    if rank:
        raise click.exceptions.Exit(2)  # the first process says why
    require_alone("evaluate")
    if out is not None:
        for dataset in (data, clean or data):
            require_outside(out, dataset)
        if checkpoint is not None and out.resolve() in (checkpoint.resolve(), (checkpoint / CHECKPOINT).resolve()):
            raise ChoiceError(f"--out: {out} is the checkpoint itself; give the report another name")
        require_file_place(out)
    report = evaluate(
        checkpoint,
        data,
        clean=clean,
        distances=distances,
        predictions=predictions,
        prediction_ids=prediction_ids,
        device=device,
        batch=batch,
        amp=amp,
        flip=flip,
        jobs=jobs,
        progress=True,
    )
    text = json.dumps(report, allow_nan=False)
    try:
        if as_json:
            show_json(report)
        else:
            show(as_text(report).split("\n"))
    finally:  # neither a full disk nor a closed pipe costs more than its own part
        if out is not None:
            with disk_errors(out):
                write_whole(out, text.encode())
