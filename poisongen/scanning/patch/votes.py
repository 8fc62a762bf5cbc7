"""Votes: two pictures that share hashes of pairs at one displacement are linked there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.scanning.patch.points import Pairs

Array = npt.NDArray[Any]

ALL_PAIRS = 64  # a hash held by no more pictures than this votes for every two of them, else for neighbours in rank
NEIGHBOURS = 8
LEAST_VOTES = 2
STILL = 3  # a displacement up to this in both directions is no move: what lies at the same place belongs to the camera
VIEW = 0.4  # of a picture's height or width: what two pictures share over more than that is no patch
MOST_VOTES = 40_000_000  # in one batch: where there would be more, fewer are taken of hashes that many hold
MOST_LINKS = 64  # of one picture, those with most votes: links with many others come by chance


@dataclass(frozen=True, eq=False)
class Link:
    """Two pictures with the same thing in them.

    `one` < `other` are indices, `shift` (rows, columns) leads from a place in the first to that in the second, `hull`
    is (top, left, bottom, right), inclusive, of the points in the first, `votes` the number of pairs.
    """

    one: int
    other: int
    shift: tuple[int, int]
    hull: tuple[int, int, int, int]
    votes: int


def _chains(counts: Array, neighbours: int) -> tuple[Array, Array]:
    """Return first and second members of all votes of buckets with so many members, as places in the sorted list."""
    starts = np.cumsum(counts) - counts
    firsts, seconds = [], []
    for step in range(1, int(min(counts.max(initial=1), neighbours + 1))):
        long = counts > step
        others = counts[long] - step
        base = np.repeat(starts[long] - (np.cumsum(others) - others), others) + np.arange(others.sum())
        firsts.append(base)
        seconds.append(base + step)
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *firsts]), np.concatenate([empty, *seconds])


def vote(found: Sequence[Pairs]) -> list[Link]:
    """Return the links between pictures, given each picture's pairs in order; those with most votes first."""
    hashes = np.concatenate([pairs.hashes for pairs in found])
    owner = np.repeat(np.arange(len(found)), [len(pairs.hashes) for pairs in found])
    rows = np.concatenate([pairs.rows for pairs in found]).astype(np.int32)
    columns = np.concatenate([pairs.columns for pairs in found]).astype(np.int32)
    order = np.argsort(hashes << np.uint64(24) | owner.astype(np.uint64))
    hashes, owner, rows, columns = hashes[order], owner[order], rows[order], columns[order]
    counts = _runs(hashes)[1]
    most = ALL_PAIRS
    while most > NEIGHBOURS and (np.minimum(counts, most) * counts).sum() > 2 * MOST_VOTES:
        most //= 2
    pieces = []
    for few, neighbours in ((counts <= most, most), (counts > most, NEIGHBOURS)):
        where = np.flatnonzero(np.repeat(few, counts))
        first, second = _chains(counts[few], neighbours)
        pieces.append((where[first], where[second]))
    first, second = (np.concatenate([piece[side] for piece in pieces]) for side in (0, 1))
    down = rows[second, 0] - rows[first, 0]
    right = columns[second, 0] - columns[first, 0]
    real = (owner[first] != owner[second]) & ((abs(down) > STILL) | (abs(right) > STILL))
    first, second, down, right = first[real], second[real], down[real], right[real]
    span = 1 << 15
    moved = (down + span // 2).astype(np.int64) * span + right + span // 2
    key = (owner[first] * len(found) + owner[second]) * span * span + moved
    order = np.argsort(key)
    key, first = key[order], first[order]
    begin, votes = _runs(key)
    enough = votes >= LEAST_VOTES
    links = []
    for start, held in zip(begin[enough].tolist(), votes[enough].tolist(), strict=True):
        part = first[start : start + held]
        hull = (rows[part].min(), columns[part].min(), rows[part].max(), columns[part].max())
        both, step = divmod(int(key[start]), span * span)
        one, other = divmod(both, len(found))
        shift = (step // span - span // 2, step % span - span // 2)
        links.append(Link(one, other, shift, tuple(int(side) for side in hull), held))  # type: ignore[arg-type]
    return _thinned(sorted(links, key=lambda link: -link.votes), [pairs.size for pairs in found])


def _thinned(links: Sequence[Link], sizes: Sequence[tuple[int, int]]) -> list[Link]:
    """Leave out pictures that show one scene twice (what they share is a large part of either), and links in plenty."""

    def large(link: Link) -> bool:
        height = min(sizes[link.one][0], sizes[link.other][0])
        width = min(sizes[link.one][1], sizes[link.other][1])
        return link.hull[2] - link.hull[0] > VIEW * height or link.hull[3] - link.hull[1] > VIEW * width

    views = {(link.one, link.other) for link in links if large(link)}
    had: Counter[int] = Counter()
    kept = []
    for link in links:
        if (link.one, link.other) not in views and min(had[link.one], had[link.other]) < MOST_LINKS:
            kept.append(link)
            had.update((link.one, link.other))
    return kept


def _runs(ordered: Array) -> tuple[Array, Array]:
    """Return where each run of equal values begins, and how long it is."""
    begin = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)])
    return begin, np.diff(np.append(begin, len(ordered)))
