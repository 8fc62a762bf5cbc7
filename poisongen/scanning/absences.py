"""Classes that are absent where the rest of the map makes them expected: co-occurrence, learned from the set itself.

Streets with pavements, signs and poles have cars. Each class's presence is foretold from the shares that the other
classes have in a map, by logistic regression on the other samples. That a class is absent all the same is nothing by
itself: clean sets have such maps as well. It lends weight to cells that look like the class.

Needs scikit-learn (extra `scan`), which is loaded here only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FOLDS = 3
EXPECTED = 0.8  # probability from which on an absent class is missed
_THERE = 5e-4  # share of a map from which on a class is present
_LEAST = 12  # samples, and of these with the class and without it a quarter, below which nothing is learned
_TOLD = 0.6  # area under the curve, below which the other classes say nothing of one
_ENOUGH = 200  # samples, below which what was learned may tell of the set, and accuses nobody
_MILD = 0.3  # scikit-learn's C: the less, the nearer to the class's mere frequency
_TAUGHT = 5000  # samples at most


@dataclass(frozen=True)
class Absences:
    """How expected each class is. `told` (classes,) is how well presence is foretold: the area under the curve, 0.5 for

    not at all. `expected` (samples, classes) float32 is its probability by the other classes;

    `absent` (samples, classes) bool tells where it is missing. `classes` are raw IDs.
    """

    classes: tuple[int, ...]
    expected: npt.NDArray[np.float32]
    absent: npt.NDArray[np.bool_]
    told: tuple[float, ...]

    def excess(self, number: int) -> float:
        """Return how many more samples lack an expected class than its probabilities say, in standard deviations."""
        column = self.classes.index(number)
        sure = self.expected[:, column] >= EXPECTED
        chance = 1 - self.expected[sure, column].astype(np.float64)
        more = float(self.absent[sure, column].sum() - chance.sum())
        return more / float(np.sqrt((chance * (1 - chance)).sum() + 1))

    def missed(self, number: int) -> npt.NDArray[np.bool_]:
        """Tell in which samples a class is absent and expected, (samples,) bool; in none for a class unknown here."""
        if number not in self.classes:
            return np.zeros(len(self.expected), bool)
        column = self.classes.index(number)
        if self.told[column] < _TOLD or len(self.expected) < _ENOUGH:
            return np.zeros(len(self.expected), bool)
        return np.asarray(self.absent[:, column] & (self.expected[:, column] >= EXPECTED), bool)


def expect_classes(
    counts: npt.NDArray[np.integer], classes: Sequence[int], apart: Collection[int] = (), seed: int = 0
) -> Absences | None:
    """Return how expected each class is in each sample, out of fold; None where there is too little to learn from.

    `counts` (samples, classes) are the pixels of each of `classes` (raw IDs). Samples kept `apart` teach nothing.
    """
    pixels = counts.astype(np.float64)
    used = pixels.sum(axis=0) > 0
    pixels, known = pixels[:, used], tuple(np.asarray(classes)[used].tolist())
    if len(pixels) < _LEAST or len(known) < 3:
        return None
    shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    there = shares >= _THERE
    draw = np.random.default_rng(seed)
    fold = draw.permutation(len(pixels)) % FOLDS
    taught = np.ones(len(pixels), bool)
    taught[list(apart)] = False
    roots = np.sqrt(shares)
    expected = np.zeros(shares.shape, np.float32)
    for column in range(len(known)):
        others = np.delete(roots, column, axis=1)
        others = (others - others.mean(axis=0)) / (others.std(axis=0) + 1e-6)
        for number in range(FOLDS):
            teach = draw.permutation(np.flatnonzero(taught & (fold != number)))[:_TAUGHT]
            told = there[teach, column]
            mine = fold == number
            if min(told.sum(), (~told).sum()) < _LEAST // 4:
                expected[mine, column] = 0.0 if not told.size else min(float(told.mean()), EXPECTED - 0.01)
                continue
            expected[mine, column] = _foretold(others[teach], told, others[mine])
    told = tuple(_area(expected[:, column], there[:, column]) for column in range(len(known)))
    return Absences(known, expected, ~there, told)


def _area(expected: npt.NDArray[np.float32], there: npt.NDArray[np.bool_]) -> float:
    """Return the chance that a sample with the class has the higher probability of two, one with it and one without."""
    number, rest = int(there.sum()), int((~there).sum())
    if not number or not rest:
        return 0.5
    values, place = np.unique(expected, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[there].sum() - number * (number + 1) / 2) / (number * rest))


def _foretold(
    features: npt.NDArray[np.float64], told: npt.NDArray[np.bool_], asked: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the probability of each row that is asked for, (rows,)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=_MILD, max_iter=300).fit(features, told)
    return np.asarray(model.predict_proba(asked)[:, 1], np.float64)
