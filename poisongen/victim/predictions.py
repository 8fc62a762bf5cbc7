"""Label maps that another program predicted: which file belongs to which picture, and what its values mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from poisongen.core.labels import class_counts
from poisongen.datasets.base import ClassTable
from poisongen.errors import ChoiceError, DataError
from poisongen.files.images import decode_labels
from poisongen.victim.classes import train_classes
from poisongen.victim.items import Item, read_ahead
from poisongen.victim.metrics import VOID, confusion_of
from poisongen.victim.scoring import bar
from poisongen.victim.zones import Counted, counted

LOOKED_AT = 32  # label maps that are read beforehand, to see what their values are
PLAUSIBLE, FAR_MORE = 0.2, 3.0  # the other meaning is believed from this share of right pixels and so many times more

Maps = npt.NDArray[np.uint8]


class PredictionFolder:
    """Label maps in DIR/clean, DIR/triggered and, for builds with negatives, DIR/negative: a PNG for each picture.

    A file may stand under the image's whole path or its last parts, with or without the image's usual ending
    (`_leftImg8bit`); its content is train IDs, or the dataset's raw IDs (`raw`), of the label's own size.
    """

    def __init__(self, folder: Path, table: ClassTable, ids: str) -> None:
        if not folder.is_dir():
            raise ChoiceError(f"--predictions: {folder} is not a folder; it holds clean/, triggered/ and negative/")
        if ids not in ("train", "raw"):
            raise ChoiceError(f"--prediction-ids: '{ids}' is neither train nor raw")
        self.folder, self.table, self.ids, self.classes = folder, table, ids, train_classes(table)
        self._known: dict[str, Mapping[str, list[Path]]] = {}

    def check(self, sets: Mapping[str, Sequence[Item]], jobs: int) -> None:
        """Look for every picture's file and at some of their values, before the work.

        ChoiceError or DataError for a file that is missing, belongs to two pictures or has a second one beside it, and
        for values that cannot be, or hardly are, what `ids` says.
        """
        for which, items in sets.items():
            taken: dict[Path, str] = {}
            for item in items:
                path = self.find(item, which)
                if path in taken:
                    raise ChoiceError(f"--predictions: {path} is the only file for {taken[path]} and for {item.name}")
                taken[path] = item.name
        if self.classes.ids != tuple(range(len(self.classes))):
            for which, items in sets.items():  # each by itself: another run may have written it
                chosen = sorted({*np.linspace(0, len(items) - 1, LOOKED_AT, dtype=int)})
                self._check_meaning([items[i] for i in chosen], which, jobs)

    def _check_meaning(self, items: Sequence[Item], which: str, jobs: int) -> None:
        """ChoiceError where the values, read the other way, agree with the labels far better than as `ids` says."""

        def look(item: Item) -> npt.NDArray[np.int64]:
            labels, stored = item.labels(), self._stored(item, which)
            self._check_size(item, which, labels, stored)
            kept = labels != VOID
            as_train, as_raw = (int((one == labels)[kept].sum()) for one in (stored, self.classes.from_raw[stored]))
            return np.array([as_train, as_raw, int(kept.sum()), *class_counts(stored)], dtype=np.int64)

        totals = sum(read_ahead(look, items, jobs), np.zeros(259, np.int64))
        right = {"train": totals[0] / max(1, totals[2]), "raw": totals[1] / max(1, totals[2])}
        other = "raw" if self.ids == "train" else "train"
        if right[other] >= PLAUSIBLE and right[other] >= FAR_MORE * right[self.ids]:
            claimed, better = (f"read as {_WORDS[ids]} {100 * right[ids]:.1f} %" for ids in (self.ids, other))
            raise ChoiceError(
                f"--prediction-ids {self.ids}: the label maps in {self.folder / which} look like {_WORDS[other]}: "
                f"they hold {_values(totals[3:])}; {better} of their pixels are right, {claimed}; "
                f"give --prediction-ids {other}"
            )

    def _files(self, which: str) -> Mapping[str, list[Path]]:
        """Return a set's PNGs by the last part of their names."""
        if which not in self._known:
            below = self.folder / which
            if not below.is_dir():
                raise ChoiceError(
                    f"--predictions: there is no folder {below}; predictions of the clean test split go to clean/, "
                    "those of OUT/triggered to triggered/, those of OUT/negative, where there is one, to negative/"
                )
            found: dict[str, list[Path]] = {}
            for path in sorted(below.rglob("*")):
                if path.suffix.lower() == ".png" and path.is_file():
                    found.setdefault(path.stem, []).append(path)
            self._known[which] = found
        return self._known[which]

    def find(self, item: Item, which: str) -> Path:
        """Return the file that holds an item's prediction; ChoiceError if none or several do.

        Files whose folders contradict the item's (another city's) are not its own; if it has no other, one that stands
        in a folder of any name will do.
        """
        image, name = PurePosixPath(item.file).with_suffix(""), PurePosixPath(item.name)
        files = self._files(which)
        called = [path for stem in dict.fromkeys((image.name, name.name)) for path in files.get(stem, ())]
        below = self.folder / which
        own = [
            path
            for path in called
            if any(
                _agree(path.relative_to(below).with_suffix("").parts, (*known.parent.parts, path.stem))
                for known in (image, name)
            )
        ]
        candidates = own or called
        if len(candidates) > 1:
            first, second = candidates[:2]
            raise ChoiceError(f"--predictions: two files for {item.name}: {first} and {second}; remove one")
        if not candidates:
            raise ChoiceError(
                f"--predictions: {below} has no file for {item.name} ({image.name}.png or {name.name}.png)"
            )
        return candidates[0]

    def _stored(self, item: Item, which: str) -> Maps:
        """Return the values in an item's file, (H, W) uint8; DataError for what is no 8-bit label map."""
        path = self.find(item, which)
        try:
            array = decode_labels(path.read_bytes(), path)
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from None
        if array.dtype != np.uint8:
            raise DataError(path, "a label map must be an 8-bit PNG of one channel, this one is 16-bit")
        return array

    def read(self, item: Item, which: str) -> Maps:
        """Return an item's predicted train IDs, 255 where no class was predicted. DataError for bad values."""
        stored = self._stored(item, which)
        legal = range(len(self.classes)) if self.ids == "train" else self.table.names
        counts = class_counts(stored)
        bad = [int(value) for value in np.flatnonzero(counts) if value != VOID and int(value) not in legal]
        if bad:
            word = f"train ID (0..{len(self.classes) - 1})" if self.ids == "train" else "raw ID of this dataset"
            other = "raw" if self.ids == "train" else "train"
            raise DataError(
                self.find(item, which),
                f"holds {bad[0]}, which is no {word}; its values are {_values(counts)}; "
                f"if these are {_WORDS[other]}, say --prediction-ids {other}",
            )
        return np.asarray(self.classes.from_raw[stored] if self.ids == "raw" else stored)

    def _check_size(self, item: Item, which: str, labels: Maps, guess: Maps) -> None:
        """DataError unless a prediction has its label map's size."""
        if labels.shape != guess.shape:
            (height, width), (high, wide) = guess.shape, labels.shape
            raise DataError(self.find(item, which), f"is {width}x{height} px, the label map {wide}x{high} px")

    def score(self, items: Sequence[Item], which: str, jobs: int, progress: bool) -> Iterator[Counted]:
        """Yield each item's counts."""

        def one(item: Item) -> Counted:
            views, guess = item.views(), self.read(item, which)
            self._check_size(item, which, views[0], guess)
            return counted(item.wanted, [confusion_of(labels, guess, len(self.classes)) for labels in views])

        yield from bar(read_ahead(one, items, jobs), len(items), which, progress)


_WORDS = {"train": "train IDs", "raw": "raw IDs"}


def _agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """Tell whether two paths may be one: the shorter is the end of the longer."""
    shared = min(len(one), len(other))
    return tuple(one[-shared:]) == tuple(other[-shared:])


def _values(counts: npt.NDArray[np.integer], most: int = 12) -> str:
    """Return the values that occur, as text."""
    values = [str(value) for value in np.flatnonzero(counts)]
    return ", ".join(values[:most]) + (", ..." if len(values) > most else "")
