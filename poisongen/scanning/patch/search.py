"""The search for a patch that recurs in many pictures, at different places: the one entry of this folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.scanning.patch.groups import Group, groups_of
from poisongen.scanning.patch.matched import SURROGATES, Peak, apart, kernel_of, peaks, surrogates, threshold
from poisongen.scanning.patch.natural import recurs_unnaturally
from poisongen.scanning.patch.points import Pairs, pairs_of
from poisongen.scanning.patch.stack import Fitted, crop, fit, margin_of, outline
from poisongen.scanning.patch.votes import STILL, vote

Picture = npt.NDArray[np.uint8]
Read = Callable[[int], Picture]
Apply = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]

LAID_ON_EACH_OTHER = 32  # pictures of a group that its template is made of
SAMPLED = 64  # pictures that the surrogates are tried on
MOST_TEMPLATES = 4
OF_THE_MEMBERS = 0.55  # a hit responds at least so much as the group's own pictures do in the middle
LIKE = 1.3  # times the members' usual difference to the template: so near in colour a hit needs half the response
LARGER = 1.3  # times the rectangle within it: a disc, say
LEAST_HITS = 4
BATCH = 16_000_000  # pairs that are compared with each other: some 500 pictures of 1 megapixel, half a gigabyte
NEARBY = 16  # around a box that is measured anew, pixels


@dataclass(frozen=True)
class PatchHit:
    """One picture that holds the patch: its index, the box (top, left, height, width) in pixels, a score in 0 to 1."""

    index: int
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True, eq=False)
class PatchEvidence:
    """A patch: its size (height, width), its picture (uint8 RGB), how sure (0 to 1), and the pictures that hold it."""

    size: tuple[int, int]
    picture: Picture
    confidence: float
    hits: tuple[PatchHit, ...]


@dataclass(frozen=True, eq=False)
class _Template:
    """A template found: what the stack says, the group's pictures, the filter."""

    fitted: Fitted
    members: frozenset[int]
    kernel: npt.NDArray[Any]


def find_patches(read: Read, count: int, apply: Apply) -> tuple[PatchEvidence, ...]:
    """Return every patch that recurs in pictures 0 to `count` - 1 at different places, the surest first; () if none.

    `read(i)` decodes picture i as uint8 RGB of shape (H, W, 3); it can be pickled, and is called twice for each
    picture, a third time for few. `apply(function, items)` maps a function over items, in order, in as many processes
    as the caller likes.
    """
    if count < LEAST_HITS:
        return ()
    templates = _templates(read, _groups(read, count, apply), apply)
    if not templates:
        return ()
    evidence = _hits(read, count, apply, templates)
    sure = [one for one in (_anew(read, one, apply) for one in evidence) if one is not None]
    return tuple(sorted(sure, key=lambda one: -one.confidence))


def _groups(read: Read, count: int, apply: Apply) -> list[Group]:
    """Return the groups of all pictures, found in batches drawn from everywhere, so that memory stays flat."""
    order = [int(index) for index in np.random.default_rng(0).permutation(count)]
    groups: list[Group] = []
    batch: list[int] = []
    found: list[Pairs] = []
    for index, pairs in zip(order, apply(partial(_pairs, read), order), strict=True):
        batch.append(index)
        found.append(pairs)
        if index == order[-1] or sum(len(one.hashes) for one in found) > BATCH:
            for group in groups_of(vote(found)):
                places = tuple((batch[number], row, column) for number, row, column in group.places)
                groups.append(replace(group, places=places))
            batch, found = [], []
    return sorted(groups, key=lambda group: -group.links)


def _pairs(read: Read, index: int) -> Pairs:
    return pairs_of(read(index))


def _crops(
    read: Read, wanted: tuple[int, Sequence[tuple[int, int, int, int, int]]]
) -> list[tuple[int, npt.NDArray[Any]]]:
    """Return the crops wanted of one picture, each with its group's number, as float16: whole levels, and NaN."""
    picture = read(wanted[0])
    return [(group, crop(picture, *box).astype(np.float16)) for group, *box in wanted[1]]


def _templates(read: Read, groups: Sequence[Group], apply: Apply) -> list[_Template]:
    """Return the templates of the groups that pass for a patch, those of most agreeing pairs first."""
    frames = []
    for group in groups:
        margin = margin_of(group.hull)
        top, left, bottom, right = group.hull
        size = (bottom - top + 1 + 2 * margin, right - left + 1 + 2 * margin)
        places = [(index, row + top - margin, column + left - margin) for index, row, column in group.places]
        frames.append((places[:LAID_ON_EACH_OTHER], size))
    stacks = _stacks(read, frames, apply)
    templates: list[_Template] = []
    for number, group in enumerate(groups):
        margin = margin_of(group.hull)
        tall, wide = group.hull[2] - group.hull[0], group.hull[3] - group.hull[1]
        stack = stacks.pop(number).astype(np.float32)
        hull = (margin, margin, margin + tall, margin + wide)
        fitted = _fitted(stack, hull)
        if fitted is None or any(_same(fitted.picture, known) for known in templates):
            continue
        members = frozenset(index for index, _, _ in group.places)
        templates.append(_Template(fitted, members, kernel_of(fitted.picture)))
        if len(templates) == MOST_TEMPLATES:
            break
    return templates


def _stacks(
    read: Read, frames: Sequence[tuple[Sequence[tuple[int, int, int]], tuple[int, int]]], apply: Apply
) -> dict[int, npt.NDArray[Any]]:
    """Return the stacks (K, H, W, 3), float16, of frames: the places (picture, row, column) of one size each."""
    wanted: dict[int, list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for number, (places, size) in enumerate(frames):
        for index, row, column in places:
            wanted[index].append((number, row, column, *size))
    parts: dict[int, list[npt.NDArray[Any]]] = defaultdict(list)
    for crops in apply(partial(_crops, read), sorted(wanted.items())):
        for number, part in crops:
            parts[number].append(part)
    return {number: np.stack(part) for number, part in parts.items()}


def _fitted(stack: npt.NDArray[Any], hull: tuple[int, int, int, int]) -> Fitted | None:
    """Return the rectangle, or the clearly larger shape, that a patch fills in a stack; None if it holds no patch."""
    fits = [found for found in (fit(stack, hull), outline(stack, hull)) if recurs_unnaturally(found, stack)]
    sizes = [found.box[2] * found.box[3] for found in fits]
    if not fits:
        return None
    return fits[1] if len(fits) == 2 and sizes[1] > LARGER * sizes[0] else fits[0]


def _same(picture: Picture, known: _Template) -> bool:
    """Tell whether a template is one that was found before, or a part of it."""
    padded = np.pad(known.fitted.picture, [(size, size) for size in picture.shape[:2]] + [(0, 0)], mode="edge")
    return peaks(padded, [kernel_of(picture)])[0].response > 0.5


def _responses(
    read: Read,
    kernels: Sequence[npt.NDArray[Any]],
    artworks: Sequence[Picture],
    chance: dict[int, list[list[npt.NDArray[Any]]]],
    index: int,
) -> list[tuple[Peak, list[float], float]]:
    """Return for each template its peak in one picture, what its surrogates reach if tried there, and `apart`."""
    picture = read(index)
    found = []
    for number, kernel in enumerate(kernels):
        tried = chance[index][number] if index in chance else []
        best, *others = peaks(picture, [kernel, *tried])
        found.append((best, [peak.response for peak in others], apart(picture, artworks[number], best)))
    return found


def _hits(read: Read, count: int, apply: Apply, templates: Sequence[_Template]) -> list[PatchEvidence]:
    """Return for each template the pictures that hold it by the matched filter, where they are enough."""
    kernels = [template.kernel for template in templates]
    artworks = [template.fitted.picture for template in templates]
    members = frozenset[int]().union(*(template.members for template in templates))
    others = [index for index in range(count) if index not in members] or list(range(count))
    sample = {others[int(place)] for place in np.linspace(0, len(others) - 1, min(SAMPLED, len(others)))}
    chance = {index: [surrogates(kernel, SURROGATES, seed=index) for kernel in kernels] for index in sample}
    found = list(apply(partial(_responses, read, kernels, artworks, chance), range(count)))
    evidence = []
    for number, template in enumerate(templates):
        best = [responses[number][0] for responses in found]
        by_chance = np.array([value for responses in found for value in responses[number][1]])
        usual = float(np.median([best[index].response for index in template.members]))
        least = max(threshold(by_chance), OF_THE_MEMBERS * usual)
        height, width = template.fitted.picture.shape[:2]
        far = np.array([responses[number][2] for responses in found])
        like = LIKE * float(np.quantile(far[sorted(template.members)], 0.9))
        if like > float(np.median(far)) / 2:
            like = 0.0  # blended: colours do not tell
        hits = tuple(
            PatchHit(index, (peak.row, peak.column, height, width), _score(peak.response, least, usual))
            for index, peak in enumerate(best)
            if peak.response > least or (far[index] <= like and peak.response > least / 2)
        )
        if len(hits) >= LEAST_HITS and _moves([hit.box for hit in hits]):
            evidence.append(PatchEvidence((height, width), template.fitted.picture, 0.5, hits))
    return evidence


def _moves(boxes: Sequence[tuple[int, int, int, int]]) -> bool:
    """Tell whether a thing lies at different places: what lies at one in most pictures belongs to the camera."""
    places = np.array([box[:2] for box in boxes])
    still = (np.abs(places[:, None] - places[None]) <= STILL).all(axis=2).sum(axis=1)
    return bool(still.max() <= max(len(boxes) / 2, 2))


def _score(response: float, least: float, usual: float) -> float:
    """Return 0.5 for a response that is just enough, 1 for one as high as is usual."""
    return float(np.clip(0.5 + 0.5 * (response - least) / max(usual - least, 1e-6), 0.5, 1.0))


def _anew(read: Read, found: PatchEvidence, apply: Apply) -> PatchEvidence | None:
    """Return the evidence with its box measured anew on all pictures that hold the patch; None if they say otherwise.

    The group that a template came from is a part of them, and its box may be some pixels off.
    """
    height, width = found.size
    best = sorted(found.hits, key=lambda hit: -hit.score)[:LAID_ON_EACH_OTHER]
    places = [(hit.index, hit.box[0] - NEARBY, hit.box[1] - NEARBY) for hit in best]
    frame = (places, (height + 2 * NEARBY, width + 2 * NEARBY))
    stack = _stacks(read, [frame], apply)[0].astype(np.float32)
    hull = (NEARBY + height // 4, NEARBY + width // 4, NEARBY + height - height // 4, NEARBY + width - width // 4)
    fitted = _fitted(stack, hull)
    if fitted is None:
        return None
    top, left, tall, wide = fitted.box
    hits = tuple(
        PatchHit(hit.index, (hit.box[0] + top - NEARBY, hit.box[1] + left - NEARBY, tall, wide), hit.score)
        for hit in found.hits
    )
    sure = 1 - float(np.exp(-len(hits) * min(1.0, *fitted.sides)))
    return PatchEvidence((tall, wide), fitted.picture, sure, hits)
