"""What each cell of a set looks like, said by a classifier that was trained on the set's other samples.

Needs scikit-learn (extra `scan`), which is loaded here only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.errors import ChoiceError
from poisongen.scanning.cells import MIXED, Cells, features_of

FOLDS, _TREES, _LEAF = 3, 30, 3
_TRAINED_ON = 36_000  # cells, whatever the size of the set: the time that training takes is the same
_LEAST = 6  # samples, below which nothing is learned from the others
_BALANCE = 0.5  # a class of a hundredth of the cells is drawn ten times as often as its share
_CHUNK = 200  # samples predicted at once
_THING = 4  # cells of a thing, below which it is none
_FLOOR = 0.25  # probability below which nothing counts as seen

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """How often cells of a sample look like one class and are labelled another, or the same, out of fold.

    Entry k says that `cells[k]` cells of sample `sample[k]` look like class `looks[k]` and are labelled `labelled[k]`,
    for all that occur. `present` (samples, classes) counts the cells labelled with each of
    `classes` (raw IDs, ascending). `right` is the share of cells that look like what they are labelled.
    `lone[k]` are the cells of the largest thing among entry k's that touches no cell labelled as what it looks like.
    """

    classes: tuple[int, ...]
    present: npt.NDArray[np.int32]
    sample: npt.NDArray[np.int32]
    looks: npt.NDArray[np.uint8]
    labelled: npt.NDArray[np.uint8]
    cells: npt.NDArray[np.int32]
    right: float
    lone: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


def require_sklearn() -> None:
    """ChoiceError with what to install where scikit-learn is missing."""
    if importlib.util.find_spec("sklearn") is None:
        raise ChoiceError("scan needs scikit-learn, which is not installed: pip install scikit-learn")


def look_out_of_fold(grids: Sequence[Cells], apart: Collection[int] = (), seed: int = 0) -> Seen | None:
    """Train on two thirds of the samples, look at the others, three times over; None where there is too little.

    Nothing is learned from samples (places) that are kept `apart`: what is in them would be learned as any other thing
    is, a backdoor included.

    A class counts as seen in a cell where its probability is above the mean that the cells so labelled have (confident
    learning: Northcutt, Jiang, Chuang, JAIR 2021), and above that of every other class that passes its own mean.
    """
    every = np.zeros((len(grids), 256), np.uint16)  # a grid has some hundred cells
    for at, grid in enumerate(grids):
        every[at] = np.bincount(grid.classes.ravel(), minlength=256)
    counts = every.sum(axis=0, dtype=np.int64)
    counts[MIXED] = 0
    classes = tuple(int(number) for number in np.flatnonzero(counts))
    if len(grids) < _LEAST or len(classes) < 2:
        return None
    draw = np.random.default_rng(seed)
    fold = draw.permutation(len(grids)) % FOLDS
    taught = np.ones(len(grids), bool)
    taught[list(apart)] = False
    if min(int((taught & (fold != number)).sum()) for number in range(FOLDS)) < _LEAST // 2:
        taught[:] = True
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -_BALANCE, 0.0)
    parts: list[npt.NDArray[np.int64]] = []
    lone: dict[int, int] = {}
    right = whole = 0
    for number in range(FOLDS):
        train = draw.permutation(np.flatnonzero(taught & (fold != number)))[: _TRAINED_ON // 20]
        test = np.flatnonzero(fold == number)
        model = _train([grids[int(at)] for at in np.sort(train)], weights, draw)
        bars: Floats | None = None
        for places, probabilities, labels in _predict(model, grids, test, classes):
            if bars is None:  # the first chunk's: a sample of the fold that is large enough
                bars = _bars(probabilities, labels, classes)
            looks = _looks(probabilities, bars, classes)
            known = (looks >= 0) & (labels != MIXED)
            right += int((looks[known] == labels[known]).sum())
            whole += int(known.sum())
            lone |= _lone_things(places, looks, labels, grids)
            code = (places[known].astype(np.int64) << 16) | (looks[known] << 8) | labels[known]
            parts.append(code)
    codes, cells = np.unique(np.concatenate(parts), return_counts=True)
    present = every[:, list(classes)].astype(np.int32)
    return Seen(
        classes=classes,
        present=present,
        sample=(codes >> 16).astype(np.int32),
        looks=(codes >> 8 & 255).astype(np.uint8),
        labelled=(codes & 255).astype(np.uint8),
        cells=cells.astype(np.int32),
        right=right / max(1, whole),
        lone=np.array([lone.get(code, 0) for code in codes.tolist()], np.int32),
    )


def _lone_things(
    places: npt.NDArray[np.int64],
    looks: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    grids: Sequence[Cells],
) -> dict[int, int]:
    """Return the largest lone thing of each sample, look and label (as one code) that has one of a few cells."""
    found: dict[int, int] = {}
    wrong = (looks >= 0) & (labels != MIXED) & (looks != labels)
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(places)], strict=True):
        if int(wrong[start:end].sum()) < _THING:
            continue
        at, classes = int(places[start]), grids[int(places[start])].classes
        mine = np.where(wrong[start:end], looks[start:end] << 8 | labels[start:end], -1).reshape(classes.shape)
        codes, counts = np.unique(mine[mine >= 0], return_counts=True)
        for code in codes[counts >= _THING].tolist():
            near = cv2.dilate((classes == code >> 8).view(np.uint8), np.ones((3, 3), np.uint8)) > 0
            number, parts = cv2.connectedComponents((mine == code).view(np.uint8), connectivity=8)
            touching = np.bincount(parts[near], minlength=number) > 0
            sizes = np.bincount(parts.ravel(), minlength=number) * ~touching
            if sizes[1:].max(initial=0) >= _THING:
                found[at << 16 | code] = int(sizes[1:].max())
    return found


def _train(grids: Sequence[Cells], weights: npt.NDArray[np.float64], draw: np.random.Generator) -> Any:
    """Fit a forest of random trees to cells drawn from every grid, rare classes more often than their share."""
    from sklearn.ensemble import ExtraTreesClassifier

    each = max(20, _TRAINED_ON // len(grids))
    features, classes = [], []
    for grid in grids:
        labels = grid.classes.ravel()
        weight = weights[labels]
        usable = int((weight > 0).sum())
        if not usable:
            continue
        # The largest of log-weight plus Gumbel noise: draws without replacement by weight.
        keys = np.where(weight > 0, np.log(np.maximum(weight, 1e-30)) + draw.gumbel(size=weight.size), -np.inf)
        take = min(each, usable)
        places = np.argpartition(-keys, take - 1)[:take]
        features.append(features_of(grid.looks)[places])
        classes.append(labels[places])
    model = ExtraTreesClassifier(_TREES, min_samples_leaf=_LEAF, max_features=8, random_state=0, n_jobs=1)
    return model.fit(np.concatenate(features), np.concatenate(classes))


def _predict(
    model: Any, grids: Sequence[Cells], test: npt.NDArray[np.int64], classes: Sequence[int]
) -> Iterator[tuple[npt.NDArray[np.int64], Floats, npt.NDArray[np.int64]]]:
    """Yield for some samples at a time each cell's sample, its probabilities (cells, classes) and its label."""
    columns = np.searchsorted(classes, model.classes_)
    for start in range(0, len(test), _CHUNK):
        some = test[start : start + _CHUNK]
        features = [features_of(grids[at].looks) for at in some]
        found = model.predict_proba(np.concatenate(features))
        probabilities = np.zeros((len(found), len(classes)), np.float32)
        probabilities[:, columns] = found
        places = np.repeat(some, [len(part) for part in features])
        labels = np.concatenate([grids[at].classes.ravel() for at in some]).astype(np.int64)
        yield places, probabilities, labels


def _bars(probabilities: Floats, labels: npt.NDArray[np.int64], classes: Sequence[int]) -> Floats:
    """Return the probability from which on a class counts as seen, (classes,)."""
    bars = np.full(len(classes), 2.0, np.float32)  # never, where no cell is labelled so
    for column, number in enumerate(classes):
        mine = probabilities[labels == number, column]
        if mine.size:
            bars[column] = max(float(mine.mean()), _FLOOR)
    return bars


def _looks(probabilities: Floats, bars: Floats, classes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the class that each cell looks like, -1 where none passes its bar."""
    passed = np.where(probabilities >= bars, probabilities, 0)
    return np.where(passed.any(axis=1), np.asarray(classes, np.int64)[passed.argmax(axis=1)], -1)
