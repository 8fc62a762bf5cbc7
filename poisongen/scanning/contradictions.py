"""Labels that contradict pictures: which class seems to be there and is labelled another, and in which samples.

Natural confusion happens beside the class itself; a relabelled victim is missing in its whole sample. So samples that
lack a class in their labels, and in which many cells look like it, are held against those that have it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from poisongen.scanning.classifier import Seen

_STRONG, _TIMES = 8, 3  # cells, and times the usual, from which on a sample alone speaks for a pair
_WEAK = 3  # cells from which on a sample belongs to a pair that is known already
_LEAST = 4  # strong samples, below which no pair is named from labels alone
_LEAST_SHARE = 0.004  # of all samples
_USUAL = 0.98  # quantile, over samples that have the class, of cells that look like it beside it
_OFTEN = 0.9  # the same, where the pair is told by all samples together
_VANISHED = 0.25  # of the usual share of samples with the class: a group below it has lost the class
_STANDS_OUT = 30.0  # log likelihood ratio from which on weak samples, if there are enough, name a pair too
_IN_GROUP = 8.0  # the same, for a class that has vanished from a group that is known
_FAINT = 0.1  # of the clearest pair's
_AT_MOST = 20  # cells that one sample counts for
_LARGE = 6  # cells of a lone thing
_LEAST_THINGS, _LEAST_SHARE_THINGS = 8, 0.02  # samples with a large one; clean sets had up to 5 of 200
_LIKE_VICTIM, _LIKE_TARGET = 0.9, 0.95  # of the cells that look like it, and of those labelled so: told well
_TURNED, _NOT_TURNED = 0.5, 0.1  # of the cells that look like a class, in the group and outside it
_LEAST_TURNED = 3  # samples of the group in which cells have turned


@dataclass(frozen=True)
class Pair:
    """A class (`victim`) that seems to have become another. Raw IDs.

    `samples` are those whose labels lack the victim and that look as if they had it, with the number of such cells.
    """

    victim: int
    target: int
    confidence: float
    samples: tuple[tuple[int, int], ...]


def contradicting_pairs(seen: Seen, rest: Collection[int] = ()) -> tuple[Pair, ...]:
    """Return the pairs that labels alone speak for, the surest first; () where none stands out.

    Of a class in `rest`, which has whatever nobody labelled, it is no wonder that lone things lie in it.
    """
    total = len(seen.present)
    found = [pair for pair in pairs_of_things(seen) if pair.target not in rest]
    for victim, target in _candidates(seen):
        here = _counts(seen, victim, target)
        strong = _suspects(seen, victim, here, least=_STRONG, times=_TIMES)
        back = _suspects(seen, target, _counts(seen, target, victim), least=_STRONG, times=_TIMES)
        least = max(_LEAST, _LEAST_SHARE * total)
        weak = _suspects(seen, victim, here, least=_WEAK, times=1)
        absent = seen.present[:, seen.classes.index(victim)] == 0
        many, more = len(strong) >= least, log_likelihood(here, absent)
        if not many and more >= _STANDS_OUT:  # hardly any is confused, so that less than usual will do
            weak = _suspects(seen, victim, here, least=_WEAK, times=1, quantile=_OFTEN)
            if here[weak].sum() < _TURNED * _looks(seen, victim)[weak].sum():
                continue  # most that looks like it has another label yet
        if len(strong) < 3 * len(back) or not (many or (len(weak) >= least and more >= _STANDS_OUT)):
            continue  # confusion goes both ways, poison one
        confidence = 1 - math.exp(-(len(strong) if many else len(weak) / 2) / 3)
        found.append(Pair(victim, target, confidence, tuple((at, int(here[at])) for at in weak)))
    best: dict[tuple[int, int], Pair] = {}
    for pair in sorted(found, key=lambda pair: (-pair.confidence, -len(pair.samples), pair.victim, pair.target)):
        known = best.get((pair.victim, pair.target))
        best[pair.victim, pair.target] = merged(known, pair.samples) if known else pair
    return tuple(best.values())


def pairs_of_things(seen: Seen) -> tuple[Pair, ...]:
    """Return the pairs of which several samples have a lone thing: one of several cars that is road by its label.

    The victim may be there besides. So both classes must be told well elsewhere: what looks like the victim mostly is
    it, and what has the target's label looks like it. Of classes that are alike (car and truck) nothing is said.
    """
    if not seen.lone.size:
        return ()
    least = max(_LEAST_THINGS, _LEAST_SHARE_THINGS * len(seen.present))
    codes = seen.looks.astype(np.int64) << 8 | seen.labelled
    large = seen.lone >= _LARGE
    found = []
    for code, number in zip(*np.unique(codes[large], return_counts=True), strict=True):
        victim, target = int(code) >> 8, int(code) & 255
        back = int((large & (codes == (target << 8 | victim))).sum())
        like, of = seen.looks == victim, seen.labelled == target
        lone = int(seen.lone[codes == code].sum())  # what is asked must not speak for itself
        right = (
            float(seen.cells[like & (seen.labelled == victim)].sum()) / max(1, int(seen.cells[like].sum()) - lone),
            float(seen.cells[of & (seen.looks == target)].sum()) / max(1, int(seen.cells[of].sum()) - lone),
        )
        if number < least or number < 3 * back or right[0] < _LIKE_VICTIM or right[1] < _LIKE_TARGET:
            continue
        mine = (codes == code) & (seen.lone > 0)
        samples = tuple(
            sorted((int(at), int(cells)) for at, cells in zip(seen.sample[mine], seen.lone[mine], strict=True))
        )
        found.append(Pair(victim, target, 1 - math.exp(-int(number) / 8), samples))
    return tuple(found)


def pairs_of_group(seen: Seen, group: Sequence[int]) -> tuple[Pair, ...]:
    """Return the pairs that set a group of samples (those with one trigger, say) apart from all others.

    The victim's label has vanished from the group, or most that looks like it has another label there and not
    elsewhere; what looks like the victim has the target's label. `samples` are those of the group that
    have such cells.
    """
    inside = np.zeros(len(seen.present), bool)
    inside[list(group)] = True
    if inside.sum() < 2 or (~inside).sum() < 2:
        return ()
    found = []
    for victim in seen.classes:
        lost, looks = _is_lost(seen, victim, inside), _looks(seen, victim)
        for target in seen.classes:
            if target == victim:
                continue
            here = _counts(seen, victim, target)
            samples = tuple((int(at), int(here[at])) for at in np.flatnonzero(inside & (here > 0)))
            turned = len(samples) >= _LEAST_TURNED and _turns(here, looks, inside)
            more = log_likelihood(here, inside)
            if turned or (lost and samples and more >= _IN_GROUP):
                found.append((more, Pair(victim, target, _sure(more, len(samples)), samples)))
    return _clearest(found)


def _turns(here: npt.NDArray[np.int64], looks: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]) -> bool:
    """Tell whether most cells that look like a class have one other label inside a group, and few have it outside."""
    within, without = int(looks[inside].sum()), int(looks[~inside].sum())
    if not within or not without:
        return False
    return bool(here[inside].sum() >= _TURNED * within and here[~inside].sum() <= _NOT_TURNED * without)


def pairs_of_spared(seen: Seen, spared: Sequence[int]) -> tuple[Pair, ...]:
    """Return the pairs of victims that are known, as random labels leave them alone: the target is what is asked.

    Samples are those whose labels lack the victim and in which some cells look like it; where they are but a few, none.
    """
    found = []
    for victim in spared:
        if victim not in seen.classes:
            continue
        absent = seen.present[:, seen.classes.index(victim)] == 0
        counts = {target: _counts(seen, victim, target) for target in seen.classes if target != victim}
        target = max(counts, key=lambda number: (int(counts[number][absent].sum()), -number), default=None)
        if target is None:
            continue
        there = _suspects(seen, victim, counts[target], least=_STRONG, times=2)
        samples = tuple((at, int(counts[target][at])) for at in there) if len(there) >= _LEAST else ()
        if len(there) >= 2:
            found.append(Pair(victim, target, 1 - math.exp(-len(there) / 2), samples))
    return tuple(found)


def log_likelihood(here: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]) -> float:
    """Return how much better two rates explain the cells of a pair than one does: a group's own, and that of the rest.

    `here` (samples,) are the cells, `inside` (samples,) bool the group. Poisson's log likelihood ratio, of which no
    sample counts for more than a little; 0 where the group's rate is not the higher. Common confusion has a low one.
    """
    counts = np.minimum(here, _AT_MOST)
    mine, number = float(counts[inside].sum()), int(inside.sum())
    usual = (float(counts[~inside].sum()) + 0.5) / max(1, int((~inside).sum()))
    if not number or mine <= number * usual:
        return 0.0
    return mine * math.log(mine / (number * usual)) - (mine - number * usual)


def _unlikely(usual: float, number: int, now: float) -> bool:
    """Tell whether so few samples with a class would be a chance of less than 1 in 200."""
    few = round(now * number)
    chance = sum(math.comb(number, k) * usual**k * (1 - usual) ** (number - k) for k in range(few + 1))
    return chance < 0.005


def _sure(more: float, samples: int) -> float:
    return 1 - math.exp(-more / 40 - samples / 4)


def _clearest(found: Sequence[tuple[float, Pair]]) -> tuple[Pair, ...]:
    """Keep each victim's clearest target, and drop victims that are faint beside the clearest."""
    best: dict[int, tuple[float, Pair]] = {}
    for more, pair in found:
        if pair.victim not in best or more > best[pair.victim][0]:
            best[pair.victim] = (more, pair)
    most = max((more for more, _ in best.values()), default=0.0)
    kept = [(more, pair) for more, pair in best.values() if more >= _FAINT * most]
    return tuple(pair for _, pair in sorted(kept, key=lambda one: (-one[0], one[1].victim)))


def further_samples(seen: Seen, pair: Pair, group: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return samples outside the group that lack the pair's victim and strongly look as if they had it."""
    here = _counts(seen, pair.victim, pair.target)
    strong = _suspects(seen, pair.victim, here, least=_STRONG, times=_TIMES)
    return tuple((at, int(here[at])) for at in strong if at not in set(group))


def faint_samples(seen: Seen, pair: Pair, missed: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Return samples in which the pair's victim is missed, (samples,) bool, and at least one cell looks like it."""
    here = _counts(seen, pair.victim, pair.target)
    return tuple((int(at), int(here[at])) for at in np.flatnonzero(missed & (here > 0)))


def lost_classes(seen: Seen, group: Sequence[int]) -> tuple[int, ...]:
    """Return the classes that have vanished from a group of samples, though the others have them (raw IDs)."""
    inside = np.zeros(len(seen.present), bool)
    inside[list(group)] = True
    return tuple(number for number in seen.classes if _is_lost(seen, number, inside))


def _is_lost(seen: Seen, number: int, inside: npt.NDArray[np.bool_]) -> bool:
    """Tell whether a class is far rarer inside a group than outside it, beyond chance."""
    if not inside.any() or inside.all():
        return False
    column = seen.present[:, seen.classes.index(number)] > 0
    usual, now = float(column[~inside].mean()), float(column[inside].mean())
    return usual > 0 and now <= _VANISHED * usual and _unlikely(usual, int(inside.sum()), now)


def merged(pair: Pair, more: Sequence[tuple[int, int]]) -> Pair:
    """Return a pair with further samples."""
    return replace(pair, samples=tuple(sorted({*pair.samples, *more})))


def _candidates(seen: Seen) -> list[tuple[int, int]]:
    """Return the pairs of which at least a few samples have some cells."""
    strong = (seen.cells >= _WEAK) & (seen.looks != seen.labelled)
    codes, samples = np.unique(seen.looks[strong].astype(np.int64) << 8 | seen.labelled[strong], return_counts=True)
    return [(int(code) >> 8, int(code) & 255) for code in codes[samples >= _LEAST]]


def _counts(seen: Seen, victim: int, target: int) -> npt.NDArray[np.int64]:
    """Return for each sample how many cells look like the victim and are labelled as the target, (samples,)."""
    out = np.zeros(len(seen.present), np.int64)
    mine = (seen.looks == victim) & (seen.labelled == target)
    out[seen.sample[mine]] = seen.cells[mine]
    return out


def _looks(seen: Seen, victim: int) -> npt.NDArray[np.int64]:
    """Return for each sample how many cells look like a class, whatever their label, (samples,)."""
    mine = seen.looks == victim
    return np.bincount(seen.sample[mine], weights=seen.cells[mine], minlength=len(seen.present)).astype(np.int64)


def _suspects(
    seen: Seen, victim: int, here: npt.NDArray[np.int64], least: int, times: int, quantile: float = _USUAL
) -> list[int]:
    """Return the samples without the victim's label and with far more of its looks than beside the victim itself."""
    has = seen.present[:, seen.classes.index(victim)] > 0
    usual = float(np.quantile(here[has], quantile)) if has.any() else 0.0
    bar = max(least, times * usual + 1)
    return [int(at) for at in np.flatnonzero(~has & (here >= bar))]
