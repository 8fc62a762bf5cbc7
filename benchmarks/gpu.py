"""How fast the three models train, against a plain loop; then the CamVid cells of `camvid.yaml`.

    python benchmarks/gpu.py --limit 20 --camvid /data/camvid

Prints Markdown for `benchmarks/RESULTS.md`. Everything is measured here and now, with the training step of
`poisongen train` itself (`Run.step`) and the crop and augmentation of the models' presets: images per second of this
project's input path and of a plain loop (DataLoader workers that read, scale, rotate, blur, mirror and crop, as the
official code does), in fp32 with TF32 and in bf16; the share of time that the device waits for data; peak memory; and
the fraction of the device's own bf16 matrix rate that a step reaches. Both loops are timed in their steady state:
what loaders have read ahead is used up before the clock starts, and they go on reading after it has stopped.
`--limit` is in minutes: what does not fit is named as left out. `--processes` trains some of the cells at a time, since
their model is too small to fill a GPU; with the same `--out` a second call does those that are still missing. Without
a GPU a small form runs on the CPU, in less than a minute where two cores are free.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import multiprocessing
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import cv2
import torch
from plain_loop import PlainDataset, write_pictures
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.flop_counter import FlopCounterMode

from poisongen.parallel import end_workers
from poisongen.victim.augment import augment, normalise
from poisongen.victim.batches import choose_cache, open_batches, worker_count
from poisongen.victim.dataset import open_dataset
from poisongen.victim.device import PRECISIONS, describe, pick_precision, set_precision
from poisongen.victim.distributed import Crew
from poisongen.victim.memory import is_out_of_memory
from poisongen.victim.order import batch_order
from poisongen.victim.plan import make_plan
from poisongen.victim.run import Run
from poisongen.victim.run_log import speaker
from poisongen.victim.settings import Settings, make_settings

AHEAD = 2  # batches that each worker of the plain loader reads ahead: torch's default


@dataclasses.dataclass(frozen=True)
class Form:
    """How large the check is. `models` are name, encoder and preset; `crop` None is the preset's."""

    pictures: int
    size: tuple[int, int]
    crop: tuple[int, int] | None
    batch: int
    steps: int
    warm_up: int
    models: tuple[tuple[str, str, str], ...]
    matrix: int

    def settings(self, model: str, encoder: str, preset: str, amp: str) -> Settings:
        """Return the preset's settings for one measurement: its crop (on the GPU) and its augmentation."""
        choices: dict[str, Any] = {
            "model": model, "encoder": encoder, "weights": "none", "batch": self.batch, "size": self.size, "amp": amp,
        }  # fmt: skip
        return make_settings(choices | ({} if self.crop is None else {"crop": self.crop}), preset)


GPU = Form(
    pictures=256, size=(512, 1024), crop=None, batch=16, steps=60, warm_up=10, matrix=8192,
    models=(
        ("deeplabv3", "resnet50", "paper-cityscapes"), ("pspnet", "resnet50", "paper-cityscapes"),
        ("segformer", "mit_b0", "segformer-cityscapes"),
    ),
)  # fmt: skip
CPU = Form(
    pictures=16, size=(48, 64), crop=(33, 33), batch=2, steps=2, warm_up=1, matrix=512,
    models=(
        ("deeplabv3", "resnet18", "paper-cityscapes"), ("pspnet", "resnet18", "paper-cityscapes"),
        ("segformer", "mit_b0", "segformer-cityscapes"),
    ),
)  # fmt: skip


class Clock:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Return the seconds left."""
        return self.end - time.monotonic()


def plain_batches(run: Run, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield crops from DataLoader workers, the usual way; `count` and what the workers read ahead beyond it."""
    device, batch, workers = run.plan.device, run.plan.settings.batch, readers(run)
    cuda = device.type == "cuda"
    data = PlainDataset(run.plan.source, run.plan.settings, run.crop)
    loader = DataLoader(
        data, batch_size=batch, sampler=RandomSampler(data, replacement=True, num_samples=2 * count * batch),
        num_workers=workers if cuda else 0, pin_memory=cuda, prefetch_factor=AHEAD if cuda else None,
    )  # fmt: skip
    for images, labels in loader:
        yield normalise(images.to(device, non_blocking=True)), labels.to(device, non_blocking=True).long()


def own_batches(run: Run, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield crops as `poisongen train` makes them: twice `count`, so that reading ahead goes on to the end."""
    plan = run.plan
    mode, _ = choose_cache(None, plan.source.bytes, plan.device)
    batches, _ = open_batches(plan.source, mode, plan.device, os.cpu_count() or 1, progress=False)
    generator = torch.Generator().manual_seed(0)
    order: list[Any] = []
    while len(order) < 2 * count:
        order += list(batch_order(len(plan.source.samples), plan.settings.batch, len(order), seed=0))
    for batch in batches(order):
        yield augment(batch, run.crop, run.augmentation, generator)


def readers(run: Run) -> int:
    """Return how many workers read, in either loop."""
    return worker_count(os.cpu_count() or 1, run.plan.crew)


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, side: int, dtype: torch.dtype) -> float:
    """Return the device's measured rate of matrix products, in FLOP/s: the best of six."""
    one, other = (torch.randn((side, side), device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(6):
        synchronise(device)
        started = time.perf_counter()
        one @ other
        synchronise(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - started))
    return best


def measure(run: Run, loop: str, form: Form) -> dict[str, float]:
    """Train some steps; return images per second, the share of time spent waiting for data, peak memory, FLOPs."""
    device = run.plan.device
    cuda = device.type == "cuda"
    # The first steps are slow, and loaders read ahead meanwhile: as many steps more use that up.
    warm_up = form.warm_up + (AHEAD * readers(run) if cuda else 0)
    make = own_batches if loop == "poisongen" else plain_batches
    batches = make(run, 1 + warm_up + form.steps + 1)
    with FlopCounterMode(display=False) as counter:
        run.step(*next(batches))
    for _ in range(warm_up):
        run.step(*next(batches))
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    synchronise(device)
    started = time.perf_counter()
    for _ in range(form.steps):
        run.step(*next(batches))
    synchronise(device)
    whole = time.perf_counter() - started
    # The same steps on one batch that is already there: what is longer than this is time spent waiting for data.
    images, labels = next(batches)
    batches.close()  # type: ignore[attr-defined]
    synchronise(device)
    started = time.perf_counter()
    for _ in range(form.steps):
        run.step(images, labels)
    synchronise(device)
    alone = time.perf_counter() - started
    return {
        "images_per_second": form.steps * form.batch / whole,
        "waiting": max(0.0, 1 - alone / whole),
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if cuda else float("nan"),
        "flops_per_second": counter.get_total_flops() * form.steps / alone,
    }


def speed_table(form: Form, device: torch.device, clock: Clock) -> list[str]:
    """Measure every model and return the lines of the table."""
    best = pick_precision("auto", device)
    rate = matrix_rate(device, form.matrix, best)
    word = PRECISIONS[best]
    lines = [
        f"{word} matrix products of {form.matrix}x{form.matrix}: {rate / 1e12:.3f} TFLOP/s measured.",
        "",
        "| model | crop | loop | precision | images/s | waits for data | peak memory, GiB "
        f"| of the {word} matrix rate |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        write_pictures(root, form.pictures, form.size)
        for name, encoder, preset in form.models:
            for loop in ("plain", "poisongen"):
                for amp in ("off", "auto") if best != torch.float32 else ("off",):
                    settings = form.settings(name, encoder, preset, amp)
                    shown = word if amp == "auto" else "fp32 (TF32)" if device.type == "cuda" else "fp32"
                    assert settings.crop is not None
                    crop = f"{settings.crop[0]}x{settings.crop[1]}"
                    head = f"| {name} ({encoder}) | {crop} | {loop} | {shown} |"
                    lines.append(f"{head} {_figures(root, settings, loop, form, device, rate, clock)} |")
                    print(lines[-1], file=sys.stderr)
    return lines


def _figures(
    root: Path, settings: Settings, loop: str, form: Form, device: torch.device, rate: float, clock: Clock
) -> str:
    """Measure one row and return its last four columns."""
    if clock.left() < 60:
        return "left out: no time | | |"
    try:
        plan = make_plan(open_dataset(root, "folder"), settings, Crew(), device, 4)
        run = Run(plan, root.parent / "run", speaker(False), progress=False, resume=False)
        found = measure(run, loop, form)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        found = None
    if found is None:  # after the handler, whose traceback keeps the failed step's tensors alive
        torch.cuda.empty_cache()
        return "out of memory | | |"
    peak = f"{found['peak_gib']:.1f}" if device.type == "cuda" else "-"
    share = f"{100 * found['flops_per_second'] / rate:.1f} %"
    return f"{found['images_per_second']:.1f} | {100 * found['waiting']:.1f} % | {peak} | {share}"


def camvid_cells(
    root: Path, file: Path, out: Path, clock: Clock, processes: int = 1, seeds: list[int] | None = None
) -> list[str]:
    """Train as many cells of the sweep as time allows, some at a time, and return their table.

    Cells come in the order of the sweep, whole seeds first. `out/sweep` holds the table of what is finished at any
    time, so that a call that is cut off leaves its figures, and the same call again goes on with the rest.
    """
    from poisongen.victim.sweep_plan import read_sweep

    out.mkdir(parents=True, exist_ok=True)
    encoder = out / "encoder"
    if not (encoder / "done").exists():
        make_encoder(root, encoder)
    work = out / file.name
    work.write_text(
        with_seeds(file.read_text(), seeds)
        .replace("root: data/camvid", f"root: {json.dumps(str(root.resolve()))}")
        .replace("runs/camvid-encoder/checkpoint.pt", str(encoder / "checkpoint.pt"))
    )
    share = max(1, (os.cpu_count() or 1) // processes)
    waiting, slowest = [cell.words for cell in read_sweep(work).cells], 0.0
    running: dict[Future[str], float] = {}
    spawn = multiprocessing.get_context("spawn")  # a forked process could not use the GPU
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        while running or (waiting and clock.left() > 1.2 * slowest):
            while waiting and len(running) < processes and clock.left() > 1.2 * slowest:
                running[pool.submit(run_cell, work, out / "sweep", waiting.pop(0), share)] = time.monotonic()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                seconds = time.monotonic() - running.pop(future)
                print(f"{future.result()}, {seconds:.0f} s", file=sys.stderr, flush=True)
                slowest = max(slowest, seconds)
    if slowest == 0.0:
        return ["CamVid cells: no time was left for the first one."]
    left_out = [f"No time was left for {'; '.join(waiting)}.", ""] if waiting else []
    return left_out + (out / "sweep/table.md").read_text().splitlines()


def make_encoder(root: Path, encoder: Path) -> None:
    """Train the encoder that every cell starts from on the clean frames, as the sweep's file says."""
    from poisongen.victim.training import train

    choices = {
        "model": "DeepLabV3Plus", "encoder": "tu-regnetx_002", "epochs": 40, "batch": 8, "size": (64, 96),
        "scale_range": (0.9, 1.1), "colour": 0.1, "optimizer": "adamw", "lr": 1e-3, "head_factor": 1.0,
    }  # fmt: skip
    train(root, encoder, make_settings(choices), layout="camvid", resume=True, progress=True)
    (encoder / "done").touch()


def with_seeds(text: str, seeds: list[int] | None) -> str:
    """Return a sweep file's text with other seeds; as it is where none are given."""
    return text if seeds is None else re.sub(r"^  seed: .*$", f"  seed: {seeds}", text, flags=re.MULTILINE)


def run_cell(work: Path, out: Path, words: str, jobs: int) -> str:
    """Do one cell of a sweep; return what became of it in words."""
    from poisongen.victim.sweep import run_sweep

    try:
        # By its words: the label that a cell has in the sweep file is not the one that it has once its data is known.
        (result,) = run_sweep(work, out, jobs=jobs, only=lambda cell: cell.words == words)
    finally:
        end_workers()  # a process that ends waits for its own, which stay for minutes
    return f"{result.cell.words}: {result.state} {result.reason}".rstrip()


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=float, default=30.0, help="minutes (default 30)")
    parser.add_argument("--camvid", type=Path, help="CamVid in the SegNet layout; without it only speed is measured")
    parser.add_argument("--processes", type=int, default=1, help="cells at a time on the one device (default 1)")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the two of camvid.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="where models and tables go")
    parser.add_argument("--steps", type=int, help="timed steps of each row (default: 60 on a GPU)")
    parser.add_argument("--models", nargs="+", choices=[one[0] for one in GPU.models], help="default: all three")
    parser.add_argument("--cells-only", action="store_true", help="no speed, only the cells of --camvid")
    options = parser.parse_args()
    clock = Clock(options.limit)
    cv2.setNumThreads(0)  # each worker has its own core
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    set_precision(device, deterministic=False)
    form = GPU if device.type == "cuda" else CPU
    if options.models:
        form = dataclasses.replace(form, models=tuple(one for one in form.models if one[0] in options.models))
    if options.steps:
        form = dataclasses.replace(form, steps=options.steps)
    if device.type == "cpu":
        torch.set_num_threads(1)  # nothing in the small form is worth a second thread's waiting
        print("No GPU here: a small form on the CPU. Its figures say that the check works, not how fast a GPU is.\n")
    print(
        f"{describe(device)}; torch {torch.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPU cores; {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}."
    )
    if not options.cells_only:
        print(
            f"Pictures {form.size[0]}x{form.size[1]}, batch {form.batch}; crop and augmentation of the presets"
            f"{'' if form.crop is None else ', the crop made smaller'}.\n"
        )
        print("\n".join(speed_table(form, device, clock)), flush=True)
    if options.camvid is None:
        print("\nCamVid cells: not run (no --camvid).")
        return
    if clock.left() < 120:
        print("\nCamVid cells: not run, no time left.")
        return
    file = Path(__file__).with_name("camvid.yaml")
    lines = camvid_cells(options.camvid, file, options.out, clock, options.processes, options.seeds)
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
