"""Groups: links that agree with each other are one thing seen in many pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from poisongen.scanning.patch.votes import MOST_LINKS, Link

Hull = tuple[int, int, int, int]
Shift = tuple[int, int]

LEAST_PICTURES = 4
MOST_GROUPS = 150
MOST_SEEDS = 20_000
WITNESSES = 2  # members whose links to a picture must agree before it joins
DENSE = 0.25  # of the links that a group could have it has this share: what is alike by chance has fewer
SLACK = 3  # pixels that a hull is widened by, where two are compared
ALIKE = 3  # hulls of one thing differ in size at most by this factor, and 16 pixels


@dataclass(frozen=True)
class Group:
    """One thing seen in many pictures.

    `places` are (picture, row, column) of the common frame's origin in each, `hull` is (top, left, bottom, right),
    inclusive, of the points in that frame, `links` how many pairs of pictures agree.
    """

    places: tuple[tuple[int, int, int], ...]
    hull: Hull
    links: int


def in_triangles(links: Sequence[Link]) -> list[Link]:
    """Return the links that a third picture confirms, by shifts that add up to within a pixel; most votes first."""
    shifts: dict[int, dict[int, list[Shift]]] = defaultdict(lambda: defaultdict(list))
    for link in links:
        down, right = link.shift
        shifts[link.one][link.other].append((down, right))
        shifts[link.other][link.one].append((-down, -right))

    def confirmed(link: Link) -> bool:
        ours, theirs = shifts[link.one], shifts[link.other]
        fewer, more = (theirs, ours) if len(theirs) < len(ours) else (ours, theirs)
        return any(
            abs(first[0] - second[0] - link.shift[0]) <= 1 and abs(first[1] - second[1] - link.shift[1]) <= 1
            for third in fewer
            if third in more
            for first in ours[third]
            for second in theirs[third]
        )

    return sorted((link for link in links if confirmed(link)), key=lambda link: -link.votes)


def moved(hull: Hull, shift: Shift) -> Hull:
    """Return a hull moved by (rows, columns)."""
    down, right = shift
    return hull[0] + down, hull[1] + right, hull[2] + down, hull[3] + right


def _same_spot(one: Hull, other: Hull) -> bool:
    """Tell whether two hulls in one frame may be of one thing: they lie on each other and are not too unlike."""
    if one[0] - other[2] >= 2 * SLACK or other[0] - one[2] >= 2 * SLACK:
        return False
    if one[1] - other[3] >= 2 * SLACK or other[1] - one[3] >= 2 * SLACK:
        return False
    size, beside = max(one[2] - one[0], one[3] - one[1]), max(other[2] - other[0], other[3] - other[1])
    return size <= ALIKE * beside + 16 and beside <= ALIKE * size + 16


def groups_of(links: Sequence[Link]) -> list[Group]:
    """Return the groups of at least LEAST_PICTURES pictures, those with most agreeing pairs first.

    A group begins with one link and grows by pictures that two of its members, at least, place in the same way.
    """
    links = in_triangles(links)[:MOST_SEEDS]
    around: dict[int, list[tuple[Link, int, Shift, Hull]]] = defaultdict(list)
    for link in links:
        around[link.one].append((link, link.other, link.shift, link.hull))
        back = (-link.shift[0], -link.shift[1])
        around[link.other].append((link, link.one, back, moved(link.hull, link.shift)))
    used: set[int] = set()  # their links, by id
    groups = []
    for link in links:
        if id(link) not in used:
            used.add(id(link))
            group = _grown(link, around, used)
            if len(group.places) >= LEAST_PICTURES and group.links >= DENSE * _most_links(len(group.places)):
                groups.append(group)
    return sorted(groups, key=lambda group: (-group.links, -len(group.places)))[:MOST_GROUPS]


def _most_links(pictures: int) -> float:
    """Return how many links so many pictures of one thing have among them, if all were found."""
    return pictures * min(pictures - 1, MOST_LINKS) / 2


def _grown(seed: Link, around: dict[int, list[tuple[Link, int, Shift, Hull]]], used: set[int]) -> Group:
    """Return the group that grows from a link. The links that it takes up are added to `used`."""
    places: dict[int, Shift] = {seed.one: (0, 0), seed.other: seed.shift}
    hull, hulls, taken = seed.hull, [seed.hull], set[int]()
    fresh = list(places)
    offers: dict[int, Counter[Shift]] = defaultdict(Counter)
    told: dict[int, list[Shift]] = defaultdict(list)
    while fresh:
        for member in fresh:
            down, right = places[member]
            for link, other, shift, there in around[member]:
                here = moved(there, (-down, -right))
                if id(link) not in taken and _same_spot(hull, here):
                    taken.add(id(link))
                    place = (down + shift[0], right + shift[1])
                    if other not in places:
                        offers[other][place] += link.votes
                        told[other].append(place)
                        hulls.append(here)
                    elif abs(place[0] - places[other][0]) <= 1 and abs(place[1] - places[other][1]) <= 1:
                        hulls.append(here)
        fresh = []
        for other, counted in offers.items():
            if other in places:
                continue
            place, _ = counted.most_common(1)[0]
            near = [one for one in told[other] if abs(one[0] - place[0]) <= 1 and abs(one[1] - place[1]) <= 1]
            if len(near) >= WITNESSES:
                places[other] = place
                fresh.append(other)
        sides = [sorted(side)[len(hulls) // 2] for side in zip(*hulls, strict=True)]
        hull = (sides[0], sides[1], max(sides[2], sides[0]), max(sides[3], sides[1]))
    if len(places) >= LEAST_PICTURES:
        used |= taken
    return Group(tuple((index, *place) for index, place in places.items()), hull, len(hulls))
