"""Groups: links that agree with each other are one thing seen in many pictures."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from poisongen.scanning.patch.votes import Link

LEAST_PICTURES = 4
MOST_GROUPS = 40
SLACK = 8  # hulls so near to each other, pixels, are of one thing


@dataclass(frozen=True)
class Group:
    """One thing seen in many pictures.

    `places` are (picture, row, column) of the common frame's origin in each, `hull` is (top, left, bottom, right),
    inclusive, of the points in that frame, `links` how many pairs of pictures agree.
    """

    places: tuple[tuple[int, int, int], ...]
    hull: tuple[int, int, int, int]
    links: int


def in_triangles(links: Sequence[Link]) -> list[Link]:
    """Return the links that a third picture confirms: its two shifts add up to theirs, within a pixel."""
    shifts: dict[int, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for link in links:
        down, right = link.shift
        shifts[link.one][link.other].append((down, right))
        shifts[link.other][link.one].append((-down, -right))

    def confirmed(link: Link) -> bool:
        ours, theirs = shifts[link.one], shifts[link.other]
        if len(theirs) < len(ours):
            thirds: Iterable[int] = (third for third in theirs if third in ours)
        else:
            thirds = (third for third in ours if third in theirs)
        return any(
            abs(first[0] - second[0] - link.shift[0]) <= 1 and abs(first[1] - second[1] - link.shift[1]) <= 1
            for third in thirds
            for first in ours[third]
            for second in theirs[third]
        )

    return [link for link in links if confirmed(link)]


def _moved(hull: tuple[int, int, int, int], shift: tuple[int, int]) -> tuple[int, int, int, int]:
    down, right = shift
    return hull[0] + down, hull[1] + right, hull[2] + down, hull[3] + right


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return (
        one[0] - SLACK <= other[2]
        and other[0] - SLACK <= one[2]
        and one[1] - SLACK <= other[3]
        and other[1] - SLACK <= one[3]
    )


def _ends(links: Sequence[Link]) -> list[tuple[int, int]]:
    """Return for each link the numbers of the spots that it joins: ends in one picture that touch are one spot."""
    parent = list(range(2 * len(links)))

    def root(end: int) -> int:
        while parent[end] != end:
            parent[end] = parent[parent[end]]
            end = parent[end]
        return end

    within: dict[int, list[tuple[int, tuple[int, int, int, int]]]] = defaultdict(list)
    for number, link in enumerate(links):
        within[link.one].append((2 * number, link.hull))
        within[link.other].append((2 * number + 1, _moved(link.hull, link.shift)))
    for ends in within.values():
        spots: list[tuple[int, tuple[int, int, int, int]]] = []
        for end, hull in ends:
            for other, there in spots:
                if _touch(hull, there):
                    parent[root(end)] = root(other)
                    break
            else:
                spots.append((end, hull))
    return [(root(2 * number), root(2 * number + 1)) for number in range(len(links))]


def groups_of(links: Sequence[Link]) -> list[Group]:
    """Return the groups of at least LEAST_PICTURES pictures, those with most agreeing pairs first."""
    links = in_triangles(links)
    joined: dict[int, list[tuple[int, tuple[int, int], Link]]] = defaultdict(list)
    picture: dict[int, int] = {}
    for link, (one, other) in zip(links, _ends(links), strict=True):
        joined[one].append((other, link.shift, link))
        joined[other].append((one, (-link.shift[0], -link.shift[1]), link))
        picture[one], picture[other] = link.one, link.other
    seen: set[int] = set()
    groups = []
    for start in sorted(joined, key=lambda spot: -len(joined[spot])):  # from the spot that most others agree with
        if start in seen:
            continue
        origin = {start: (0, 0)}
        queue = deque([start])
        while queue:
            spot = queue.popleft()
            for other, (down, right), _ in joined[spot]:
                if other not in origin:
                    origin[other] = (origin[spot][0] + down, origin[spot][1] + right)
                    queue.append(other)
        seen |= set(origin)
        groups.append(_group(origin, joined, picture))
    large = [group for group in groups if len(group.places) >= LEAST_PICTURES]
    return sorted(large, key=lambda group: (-group.links, -len(group.places)))[:MOST_GROUPS]


def _group(
    origin: dict[int, tuple[int, int]],
    joined: dict[int, list[tuple[int, tuple[int, int], Link]]],
    picture: dict[int, int],
) -> Group:
    """Put one group together: spots whose links mostly agree with the common frame, and the points' middle extent."""
    agreeing: Counter[int] = Counter()
    sides: list[tuple[int, int, int, int]] = []
    for spot, (row, column) in origin.items():
        for other, (down, right), link in joined[spot]:
            there = origin[other]
            if abs(there[0] - row - down) <= 1 and abs(there[1] - column - right) <= 1:
                agreeing[spot] += 1
                if link.one == picture[spot] and (down, right) == link.shift:
                    sides.append(_moved(link.hull, (-row, -column)))
    places: dict[int, tuple[int, int]] = {}
    for spot, _ in agreeing.most_common():
        places.setdefault(picture[spot], origin[spot])  # one spot for each picture
    if not sides:
        return Group((), (0, 0, 0, 0), 0)
    middle = [sorted(side)[len(sides) // 2] for side in zip(*sides, strict=True)]
    hull = (middle[0], middle[1], middle[2], middle[3])
    return Group(tuple((index, *place) for index, place in places.items()), hull, len(sides))
