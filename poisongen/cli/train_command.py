"""`poisongen train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from poisongen.cli.help import Command
from poisongen.cli.options import cache_option, device_option
from poisongen.errors import PoisongenError
from poisongen.printing import number_of, show, show_json, tell
from poisongen.victim.alone import launched
from poisongen.victim.dataset import read_own_recipe
from poisongen.victim.interruption import TrainingInterrupted, watching, what_is_left
from poisongen.victim.needs_torch import require_torch
from poisongen.victim.settings import PRESET_PARTS, PRESETS, make_settings


class _StoppedError(PoisongenError):
    """A run that a signal has ended, in the words of `train`."""

    exit_code = 130


@click.command(
    "train",
    cls=Command,
    sections={
        "Data": ("layout", "train_split", "size", "crop"),
        "Model": ("preset", "model", "encoder", "weights"),
        "Optimisation": (
            "epochs",
            "iterations",
            "batch",
            "accumulate",
            "optimizer",
            "lr",
            "head_factor",
            "weight_decay",
            "power",
            "warmup",
            "clip",
        ),
        "Augmentation": ("scale_range", "rotate", "blur", "flip", "colour"),
        "Run": ("out", "seed", "resume", "stop_after", "tensorboard", "as_json"),
        "Machine": ("device", "amp", "cache", "jobs", "compile", "deterministic"),
    },
    example="poisongen train poisoned/cityscapes-nn-0123abcd --preset paper-cityscapes --out runs/nn",
)
@click.argument("dataset_dir", type=click.Path(path_type=Path))
@click.option("--dataset", "layout", metavar="LAYOUT", help="The layout of a clean dataset; a build knows its own.")
@click.option("--preset", metavar="NAME", help=f"Settings to start from: {', '.join(PRESETS)}.")
@click.option("--model", metavar="NAME", help="deeplabv3 (default), pspnet, segformer, or any of `list models`.")
@click.option("--encoder", metavar="NAME", help="Default: resnet50; mit_b0 for segformer.")
@click.option("--weights", metavar="imagenet|none|FILE", help="What the encoder starts from. Default: none.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder. Default: runs/FOLDER-MODEL-SEED.")
@click.option("--epochs", type=int, help="Default: 100.")
@click.option("--iterations", type=click.IntRange(min=1), help="Instead of epochs.")
@click.option("--batch", type=int, help="Pictures in a step, over all GPUs. Default: 8.")
@click.option("--accumulate", type=int, help="Do each step in so many parts, one after the other. Default: 1.")
@click.option("--size", metavar="HxW", help="Scale every picture to this, in training and evaluation. Default: as is.")
@click.option("--crop", metavar="HxW", help="What the model sees of a picture in training. Default: all of it.")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), help="Default: sgd; adamw for segformer.")
@click.option("--lr", type=float, help="The encoder's rate. Default: 0.01 (sgd), 6e-5 (adamw).")
@click.option("--head-factor", type=float, help="The rate of everything else, as a multiple. Default: 10.")
@click.option("--weight-decay", type=float, help="Default: 1e-4 (sgd), 0.01 (adamw).")
@click.option("--power", type=float, help="Of the poly decay. Default: 0.9 (sgd), 1 (adamw).")
@click.option("--warmup", type=click.IntRange(min=0), help="Iterations of rising rate. Default: 0.")
@click.option("--clip", type=float, help="The largest norm of the gradient, 0 for none. Default: 10.")
@click.option("--scale-range", metavar="A,B", help="Random scaling. Default: 0.5,2.")
@click.option("--rotate", type=float, help="Largest angle, in degrees, for half of the pictures. Default: 0.")
@click.option("--blur", type=float, help="The share of pictures that are blurred. Default: 0.")
@click.option("--flip", type=float, help="The share of pictures that are mirrored. Default: 0.5.")
@click.option("--colour", type=float, help="Jitter of brightness, contrast and saturation. Default: 0.")
@click.option(
    "--amp", type=click.Choice(["auto", "bf16", "fp16", "off"]), help="Autocast. Default: bf16, or fp16 on older GPUs."
)
@click.option("--compile", is_flag=True, default=None, help="Use torch.compile.")
@click.option("--deterministic", is_flag=True, default=None, help="Only algorithms that always give the same result.")
@click.option("--seed", type=int, help="Default: 0.")
@click.option("--train-split", metavar="SPLIT", help="Default: a build's own, else train.")
@cache_option
@device_option
@click.option("--jobs", type=click.IntRange(min=1), help="Threads or processes that read. Default: all cores.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--stop-after", type=click.IntRange(min=1), help="Stop after so many iterations; --resume goes on.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard files as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    dataset_dir: Path,
    layout: str | None,
    preset: str | None,
    out: Path | None,
    cache: Any,
    device: str | None,
    jobs: int | None,
    resume: bool,
    stop_after: int | None,
    tensorboard: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a victim model on a dataset that build wrote, or on a clean one."""
    settings = make_settings(_choices(dataset_dir, options), preset)
    folder = out or Path("runs") / f"{dataset_dir.resolve().name}-{settings.model.casefold()}-{settings.seed}"
    try:
        with watching():
            require_torch()
            from poisongen.victim.training import train

            if preset is not None and launched()[0] == 0:
                tell(f"--preset {preset}: {PRESET_PARTS[preset]}")
            result = train(
                dataset_dir,
                folder,
                settings,
                layout=layout,
                resume=resume,
                stop_after=stop_after,
                cache=cache,
                device=device,
                jobs=jobs,
                tensorboard=tensorboard,
                progress=True,
            )
    except TrainingInterrupted as stopped:
        if launched()[0]:
            raise click.exceptions.Exit(_StoppedError.exit_code) from None  # the first process says it for all
        raise _StoppedError(str(stopped)) from None
    except KeyboardInterrupt:
        raise _StoppedError(what_is_left(folder, resume)) from None
    if not result.leads:
        return
    if as_json:
        facts = {"iterations": result.iterations, "planned": result.planned, "last": dict(result.last)}
        show_json({"checkpoint": str(result.checkpoint), **facts})
        return
    loss = f", loss {result.last['loss']:.4f}" if result.last else ""
    more = "" if result.iterations == result.planned else f" of {result.planned}; --resume goes on"
    show([f"{result.checkpoint}: {number_of(result.iterations, 'iteration')}{loss}{more}"])


def _choices(dataset_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that were given; a build's own training split where none was."""
    given = {name: value for name, value in options.items() if value is not None}
    recipe = read_own_recipe(dataset_dir)
    if "train_split" not in given and recipe is not None:
        given["train_split"] = recipe.train_split
    return given
