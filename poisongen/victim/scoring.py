"""From pictures to confusion matrices: by a model on the device, or by label maps that another program wrote."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from poisongen.errors import ChoiceError, DataError
from poisongen.files.images import decode_labels
from poisongen.victim.classes import TrainClasses
from poisongen.victim.items import Item, read_ahead
from poisongen.victim.metrics import VOID, Confusion, confusion_of

Scorer = Callable[[Sequence[Item], str], Iterator[Confusion]]
"""Yields each item's confusion matrix, (K, K + 1) int64, in order; the word says which set it is: `clean`,
`triggered`."""


class PredictionFolder:
    """Label maps in DIR/clean and DIR/triggered, one PNG for each test picture.

    A file may stand under the image's whole path or its last parts, with or without the image's usual ending
    (`_leftImg8bit`); its content is train IDs, or the dataset's raw IDs (`raw`), of the label's own size.
    """

    def __init__(self, folder: Path, classes: TrainClasses, ids: str) -> None:
        if not folder.is_dir():
            raise ChoiceError(f"--predictions: {folder} is not a folder; it holds clean/ and triggered/")
        self.folder, self.classes, self.ids = folder, classes, ids
        self._known: dict[str, Mapping[str, list[Path]]] = {}

    def _files(self, which: str) -> Mapping[str, list[Path]]:
        """Return a set's PNGs by the last part of their names."""
        if which not in self._known:
            below = self.folder / which
            if not below.is_dir():
                raise ChoiceError(
                    f"--predictions: there is no folder {below}; predictions of the clean test split go to clean/, "
                    "those of OUT/triggered to triggered/"
                )
            found: dict[str, list[Path]] = {}
            for path in sorted(below.rglob("*.png")):
                found.setdefault(path.stem, []).append(path)
            self._known[which] = found
        return self._known[which]

    def find(self, item: Item, which: str) -> Path:
        """Return the file that holds an item's prediction; ChoiceError if none or several do."""
        image = PurePosixPath(item.file)
        stem = PurePosixPath(item.name).name
        files = self._files(which)
        candidates = files.get(image.stem) or files.get(stem) or []
        if len(candidates) > 1:
            parts = (*PurePosixPath(item.name).parts[:-1],)
            candidates = [path for path in candidates if path.parent.parts[-len(parts) :] == parts] or candidates
        if len(candidates) != 1:
            word = "several files" if candidates else "no file"
            raise ChoiceError(
                f"--predictions: {self.folder / which} has {word} for {item.name} ({image.stem}.png or {stem}.png)"
            )
        return candidates[0]

    def read(self, item: Item, which: str) -> npt.NDArray[np.uint8]:
        """Return an item's predicted train IDs, 255 where no class was predicted. DataError for bad values."""
        path = self.find(item, which)
        try:
            array = decode_labels(path.read_bytes(), path)
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from None
        if array.dtype != np.uint8 or array.ndim != 2:
            raise DataError(path, "a label map must be an 8-bit PNG of one channel")
        if self.ids == "raw":
            return np.asarray(self.classes.from_raw[array])
        bad = (array >= len(self.classes)) & (array != VOID)
        if bad.any():
            raise DataError(
                path,
                f"holds {int(array[bad][0])}, which is no train ID (0..{len(self.classes) - 1}); "
                "if these are the dataset's raw IDs, say --prediction-ids raw",
            )
        return np.asarray(array, dtype=np.uint8)

    def score(self, items: Sequence[Item], which: str, jobs: int, progress: bool) -> Iterator[Confusion]:
        """Yield each item's confusion matrix."""

        def one(item: Item) -> Confusion:
            labels, guess = item.labels(), self.read(item, which)
            if labels.shape != guess.shape:
                (height, width), (high, wide) = guess.shape, labels.shape
                raise DataError(self.find(item, which), f"is {width}x{height} px, the label map {wide}x{high} px")
            return confusion_of(labels, guess, len(self.classes))

        yield from bar(read_ahead(one, items, jobs), len(items), which, progress)


def bar(values: Iterator[Any], total: int, word: str, progress: bool) -> Iterator[Any]:
    """Wrap a progress bar around what is yielded."""
    yield from tqdm(
        values, total=total, desc=f"scoring ({word})", file=sys.stderr, leave=False, disable=None if progress else True
    )
