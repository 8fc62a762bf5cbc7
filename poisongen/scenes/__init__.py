"""Synthetic street scenes with exact labels, as a Cityscapes or VOC dataset: for tests, demonstrations and learning."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from poisongen.errors import ChoiceError, OutputError
from poisongen.parallel import for_each
from poisongen.scenes.layouts import VOC_YEARS, write_cityscapes, write_voc, write_voc_lists
from poisongen.scenes.scene import Scene, draw_scene

__all__ = ["Scene", "SynthLayout", "draw_scene", "scene_generator", "synth"]

SynthLayout = Literal["cityscapes", "voc"]

SMALLEST, LARGEST = (64, 32), (4096, 4096)  # width and height
MOST_SCENES = 1_000_000  # per split; the numbers in file names have six digits
DEFAULT_SPLITS: Mapping[str, int] = MappingProxyType({"train": 24, "val": 8})


def scene_generator(seed: int, split: str, number: int) -> np.random.Generator:
    """Return the generator that draws scene `number` of `split`: it depends on these three values only."""
    digest = hashlib.sha256(f"{seed}/{split}/{number}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def synth(
    out: Path,
    *,
    layout: SynthLayout = "cityscapes",
    splits: Mapping[str, int] = DEFAULT_SPLITS,
    size: tuple[int, int] = (512, 256),
    seed: int = 0,
    jobs: int = 1,
    progress: bool = False,
    train_ids: bool = True,
) -> list[Path]:
    """Write a dataset of synthetic street scenes to the folder `out` and return its pictures' paths.

    `splits`: how many scenes each split has. `size`: (width, height) in pixels, 64x32 to 4096x4096; VOC's pictures
    vary round it. The same seed gives the same scenes, whatever the number of scenes and `jobs` (processes).
    `train_ids`: write Cityscapes' labelTrainIds files too (the official download has none). The paths are ordered
    by split, as given, and number.

    Raises ChoiceError for impossible values, and OutputError if `out` is a file, holds anything, or cannot be written.
    """
    _check(layout, splits, size, seed, jobs)
    folder = Path(out)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder}: not an empty folder; synth writes only to a new or an empty one")
        folder.mkdir(parents=True, exist_ok=True)
        tasks = [(split, number) for split, count in splits.items() for number in range(count)]
        work = functools.partial(
            _write_scene, folder=folder, layout=layout, size=(int(size[0]), int(size[1])), seed=int(seed), ids=train_ids
        )
        paths = list(for_each(work, tasks, int(jobs), "scenes" if progress else None))
        if layout == "voc":
            write_voc_lists(folder, splits)
    except OSError as error:
        what = f"{error.filename or folder}: {error.strerror or error}"
        raise OutputError(f"{folder}: the dataset could not be written: {what}") from None
    return paths


def _write_scene(
    task: tuple[str, int], *, folder: Path, layout: SynthLayout, size: tuple[int, int], seed: int, ids: bool
) -> Path:
    """Draw and write scene `number` of a split, both given by `task`; return its picture's path."""
    split, number = task
    rng = scene_generator(seed, split, number)
    if layout == "cityscapes":
        return write_cityscapes(folder, split, number, draw_scene(rng, size), train_ids=ids)
    factor = float(rng.uniform(0.75, 1.0))
    width, height = (max(least, round(side * factor)) for side, least in zip(size, SMALLEST, strict=True))
    # As in VOC, one side is as long as allowed and the other one varies.
    picture = (size[0], height) if rng.random() < 0.75 else (width, size[1])
    return write_voc(folder, split, number, draw_scene(rng, picture, close=True))


def _check(layout: str, splits: Mapping[str, int], size: tuple[int, int], seed: int, jobs: int) -> None:
    """Raise ChoiceError if a value is impossible."""
    if layout not in get_args(SynthLayout):
        raise ChoiceError(f"layout {layout!r}: synth writes {' or '.join(get_args(SynthLayout))}")
    if not splits or not all(_whole(count) and 0 <= count <= MOST_SCENES for count in splits.values()):
        raise ChoiceError(f"splits: each needs a number of scenes from 0 to {MOST_SCENES}")
    if sum(splits.values()) == 0:
        raise ChoiceError("splits: there is nothing to draw, all of them have 0 scenes")
    for split in splits:
        if layout == "voc" and split not in VOC_YEARS:
            raise ChoiceError(f"split {split!r}: VOC has {', '.join(VOC_YEARS)}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", split):
            raise ChoiceError(f"split {split!r}: use letters, digits, _ and -")
    if len(size) != 2 or not all(
        _whole(side) and low <= side <= high for side, low, high in zip(size, SMALLEST, LARGEST, strict=False)
    ):
        least, most = ("x".join(map(str, limit)) for limit in (SMALLEST, LARGEST))
        raise ChoiceError(f"size {'x'.join(map(str, size))}: width x height must lie between {least} and {most} px")
    if not _whole(seed):
        raise ChoiceError(f"seed {seed!r}: must be a whole number")
    if not _whole(jobs) or jobs < 1:
        raise ChoiceError(f"jobs {jobs!r}: must be a whole number of at least 1")


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
