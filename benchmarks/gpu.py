"""How fast the three models train, against a plain loop; then the CamVid cells of `camvid.yaml`.

    python benchmarks/gpu.py --limit 20 --camvid /data/camvid

Prints Markdown for `benchmarks/RESULTS.md`. Everything is measured here and now: images per second of this project's
input path and of a plain loop (DataLoader workers that read, scale and crop), in fp32 with TF32 and in bf16; the share
of time that the device waits for data; peak memory; and the fraction of the device's own bf16 matrix rate that a
training step reaches. `--limit` is in minutes: what does not fit is named as left out. Without a GPU a small form
runs on the CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from poisongen.victim.augment import Augmentation, augment, normalise
from poisongen.victim.canvas import Batch, choose_cache, find_source, open_batches
from poisongen.victim.classes import train_classes
from poisongen.victim.dataset import open_dataset
from poisongen.victim.device import autocast, describe, is_out_of_memory, set_precision, wants_bf16
from poisongen.victim.loss import segmentation_loss
from poisongen.victim.models import build_model, make_spec
from poisongen.victim.optimise import make_optimizer
from poisongen.victim.order import batch_order
from poisongen.victim.settings import make_settings


@dataclasses.dataclass(frozen=True)
class Form:
    """How large the check is."""

    pictures: int
    size: tuple[int, int]
    crop: tuple[int, int]
    batch: int
    steps: int
    warm_up: int
    models: tuple[tuple[str, str], ...]
    matrix: int


GPU = Form(
    pictures=256, size=(512, 1024), crop=(512, 512), batch=16, steps=40, warm_up=10, matrix=8192,
    models=(("deeplabv3", "resnet50"), ("pspnet", "resnet50"), ("segformer", "mit_b0")),
)  # fmt: skip
CPU = Form(
    pictures=16, size=(96, 128), crop=(64, 64), batch=4, steps=4, warm_up=1, matrix=1024,
    models=(("deeplabv3", "resnet18"), ("pspnet", "resnet18"), ("segformer", "mit_b0")),
)  # fmt: skip
SCALES = (0.5, 2.0)


class Clock:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Return the seconds left."""
        return self.end - time.monotonic()


def write_pictures(root: Path, form: Form) -> None:
    """Write a training set of noise over flat shapes: decoders and crops do not care what they see."""
    generator = np.random.default_rng(0)
    height, width = form.size
    (root / "images/train").mkdir(parents=True)
    (root / "masks/train").mkdir(parents=True)
    names = ", ".join(f"{number}: class{number}" for number in range(19))
    (root / "classes.yaml").write_text(f"classes: {{{names}}}\nvoid: [255]\n")
    for number in range(form.pictures):
        blocks = generator.integers(0, 19, (height // 16, width // 16)).astype(np.uint8)
        labels = np.repeat(np.repeat(blocks, 16, 0), 16, 1)
        image = labels[..., None] * np.array([12, 9, 7]) + generator.integers(0, 20, (height, width, 3))
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(
            root / f"images/train/{number}.png", compress_level=1
        )
        Image.fromarray(labels).save(root / f"masks/train/{number}.png", compress_level=1)


class PlainDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What a training script usually has: read, scale, crop and mirror one picture in a worker."""

    def __init__(self, source: Any, crop: tuple[int, int]) -> None:
        self.source, self.crop = source, crop

    def __len__(self) -> int:
        return len(self.source.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = self.source.read(index)
        generator = np.random.default_rng()
        height, width = (
            max(round(side * factor), low)
            for side, low, factor in zip(labels.shape, self.crop, [generator.uniform(*SCALES)] * 2, strict=True)
        )
        picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        mask = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
        top, left = (
            int(generator.integers(0, side - low + 1)) for side, low in zip((height, width), self.crop, strict=True)
        )
        box = (left, top, left + self.crop[1], top + self.crop[0])
        pixels, ids = np.asarray(picture.crop(box)), np.asarray(mask.crop(box))
        if generator.random() < 0.5:
            pixels, ids = pixels[:, ::-1], ids[:, ::-1]
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(ids.copy())


def forever(make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield from one iterator after the other."""
    while True:
        yield from make()


def plain_batches(source: Any, form: Form, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield crops from DataLoader workers, the usual way."""
    cuda = device.type == "cuda"
    loader = DataLoader(
        PlainDataset(source, form.crop), batch_size=form.batch, shuffle=True, drop_last=True,
        num_workers=(os.cpu_count() or 1) if cuda else 0, pin_memory=cuda, persistent_workers=cuda,
    )  # fmt: skip
    for images, labels in forever(lambda: iter(loader)):
        yield normalise(images.to(device, non_blocking=True)), labels.to(device, non_blocking=True).long()


def own_batches(source: Any, form: Form, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield crops as `poisongen train` makes them."""
    mode, _ = choose_cache(None, source.bytes, device)
    batches, _ = open_batches(source, mode, device, os.cpu_count() or 1, progress=False)
    generator = torch.Generator().manual_seed(0)
    epochs = iter(range(10**9))

    def epoch() -> Iterator[Batch]:
        return batches(list(batch_order(len(source.samples), form.batch, next(epochs), seed=0)))

    for batch in forever(epoch):
        yield augment(batch, form.crop, Augmentation(scale=SCALES), generator)


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


def measure(
    spec: Any, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], form: Form, device: torch.device, bf16: bool
) -> dict[str, float]:
    """Train some steps; return images per second, the share of time spent waiting for data, peak memory, FLOPs."""
    cuda = device.type == "cuda"
    layout: Any = torch.channels_last if cuda else torch.contiguous_format
    model = build_model(spec).to(device)
    model.to(memory_format=layout).train()
    optimizer = make_optimizer(model, make_settings({"model": spec.name}))

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, bf16):
            output = model(images.contiguous(memory_format=layout))
        segmentation_loss(output, labels).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step(*next(batches))
    for _ in range(form.warm_up):
        step(*next(batches))
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    synchronise(device)
    started = time.perf_counter()
    for _ in range(form.steps):
        step(*next(batches))
    synchronise(device)
    whole = time.perf_counter() - started
    # The same steps on one batch that is already there: what is longer than this is time spent waiting for data.
    images, labels = next(batches)
    synchronise(device)
    started = time.perf_counter()
    for _ in range(form.steps):
        step(images, labels)
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
    dtype, word = (torch.bfloat16, "bf16") if device.type == "cuda" else (torch.float32, "fp32")
    rate = matrix_rate(device, form.matrix, dtype)
    lines = [
        f"{word} matrix products of {form.matrix}x{form.matrix}: {rate / 1e12:.3f} TFLOP/s measured.",
        "",
        f"| model | loop | precision | images/s | waits for data | peak memory, GiB | of the {word} matrix rate |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        write_pictures(root, form)
        opened = open_dataset(root, "folder")
        classes = train_classes(opened.classes)
        source = find_source(opened, opened.samples("train", "--train-split"), None, classes.from_raw, 4)
        for name, encoder in form.models:
            spec = make_spec(name, encoder, len(classes))
            for loop, make in (("plain", plain_batches), ("poisongen", own_batches)):
                for bf16 in (False, True) if wants_bf16("auto", device) else (False,):
                    precision = "bf16" if bf16 else "fp32 (TF32)" if device.type == "cuda" else "fp32"
                    head = f"| {name} ({encoder}) | {loop} | {precision} |"
                    if clock.left() < 60:
                        lines.append(f"{head} left out: no time | | | |")
                        continue
                    try:
                        found = measure(spec, make(source, form, device), form, device, bf16)
                    except (RuntimeError, MemoryError) as error:
                        if not is_out_of_memory(error):
                            raise
                        lines.append(f"{head} out of memory | | | |")
                        torch.cuda.empty_cache()
                        continue
                    peak = f"{found['peak_gib']:.1f}" if device.type == "cuda" else "-"
                    share = f"{100 * found['flops_per_second'] / rate:.1f} %"
                    lines.append(
                        f"{head} {found['images_per_second']:.1f} | {100 * found['waiting']:.1f} % | {peak} | {share} |"
                    )
                    print(lines[-1], file=sys.stderr)
    return lines


def camvid_cells(root: Path, file: Path, out: Path, clock: Clock) -> list[str]:
    """Train as many cells of the sweep as time allows, and return their table."""
    from poisongen.victim.settings import make_settings as settings_of
    from poisongen.victim.sweep import run_sweep
    from poisongen.victim.sweep_plan import read_sweep
    from poisongen.victim.training import train

    work = out / file.name
    out.mkdir(parents=True, exist_ok=True)
    encoder = out / "encoder"
    if not (encoder / "done").exists():
        choices = {
            "model": "DeepLabV3Plus", "encoder": "tu-regnetx_002", "epochs": 40, "batch": 8, "size": (64, 96),
            "scale_range": (0.9, 1.1), "colour": 0.1, "optimizer": "adamw", "lr": 1e-3, "head_factor": 1.0,
        }  # fmt: skip
        train(root, encoder, settings_of(choices), layout="camvid", resume=True, progress=True)
        (encoder / "done").touch()
    text = file.read_text().replace("root: data/camvid", f"root: {json.dumps(str(root.resolve()))}")
    text = text.replace("runs/camvid-encoder/checkpoint.pt", str(encoder / "checkpoint.pt"))
    work.write_text(text)
    slowest = 0.0
    for cell in read_sweep(work).cells:
        if clock.left() < 1.2 * slowest:
            break
        started = time.monotonic()
        run_sweep(work, out / "sweep", progress=True, only=lambda other, cell=cell: other.label == cell.label)
        slowest = max(slowest, time.monotonic() - started)
    return (out / "sweep/table.md").read_text().splitlines()


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=float, default=30.0, help="minutes (default 30)")
    parser.add_argument("--camvid", type=Path, help="CamVid in the SegNet layout; without it only speed is measured")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="where models and tables go")
    options = parser.parse_args()
    clock = Clock(options.limit)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    set_precision(device, deterministic=False)
    form = GPU if device.type == "cuda" else CPU
    if device.type == "cpu":
        print("No GPU here: a small form on the CPU. Its figures say that the check works, not how fast a GPU is.\n")
    print(
        f"{describe(device)}; torch {torch.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPU cores; {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}.\n"
        f"Pictures {form.size[0]}x{form.size[1]}, crop {form.crop[0]}x{form.crop[1]}, batch {form.batch}.\n"
    )
    print("\n".join(speed_table(form, device, clock)), flush=True)
    if options.camvid is None:
        print("\nCamVid cells: not run (no --camvid).")
        return
    if clock.left() < 120:
        print("\nCamVid cells: not run, no time left.")
        return
    print("\n" + "\n".join(camvid_cells(options.camvid, Path(__file__).with_name("camvid.yaml"), options.out, clock)))


if __name__ == "__main__":
    main()
