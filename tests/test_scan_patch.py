"""The search for recurring patches: its parts against brute force, planted patches, and clean pictures."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.scanning.patch.groups import groups_of, in_triangles
from poisongen.scanning.patch.matched import kernel_of, peaks, surrogates, threshold
from poisongen.scanning.patch.natural import agreement
from poisongen.scanning.patch.points import REACH, Pairs, blobs, corners, grey, pairs_of
from poisongen.scanning.patch.search import find_patches
from poisongen.scanning.patch.stack import crop, fit, outline
from poisongen.scanning.patch.votes import LEAST_VOTES, STILL, Link, vote

CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"


def scene(seed, height=120, width=160):
    """Return a picture that nothing recurs in: rectangles, discs and lines of many colours, blurred a little."""
    draw = np.random.default_rng(seed)
    picture = np.full((height, width, 3), draw.integers(40, 200, 3), np.uint8)
    for _ in range(40):
        colour = tuple(int(value) for value in draw.integers(0, 256, 3))
        at, to = (tuple(int(value) for value in draw.integers(0, width, 2)) for _ in range(2))
        kind = draw.integers(3)
        if kind == 0:
            size = draw.integers(5, 40, 2)
            cv2.rectangle(picture, at, (at[0] + int(size[0]), at[1] + int(size[1])), colour, -1)
        elif kind == 1:
            cv2.circle(picture, at, int(draw.integers(3, 25)), colour, -1)
        else:
            cv2.line(picture, at, to, colour, int(draw.integers(1, 4)))
    noise = draw.normal(0, 4, picture.shape)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.7) + noise, 0, 255).astype(np.uint8)


def artwork(size, seed=0):
    draw = np.random.default_rng((seed, 99))
    small = draw.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_NEAREST)


def planted(count, holders, patch, *, opacity=1.0, quality=None, scale=1.0, seed=0):
    """Return pictures, some of which hold a patch at a place of its own, and the boxes by picture."""
    draw = np.random.default_rng((seed, 7))
    pictures, boxes = [], {}
    for index in range(count):
        picture = scene((seed, index))
        if index in holders:
            height, width = patch.shape[:2]
            top, left = (
                int(draw.integers(0, side - size)) for side, size in zip((120, 160), (height, width), strict=True)
            )
            box = picture[top : top + height, left : left + width]
            box[:] = np.rint(opacity * patch + (1 - opacity) * box)
            boxes[index] = tuple(round(side * scale) for side in (top, left, height, width))
        if scale != 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if quality is not None:
            done = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            picture = cv2.imdecode(done, cv2.IMREAD_COLOR)
        pictures.append(picture)
    return pictures, boxes


def search(pictures):
    return find_patches(pictures.__getitem__, len(pictures), map)


def overlap(one, other):
    rows, columns = (max(0, min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k])) for k in (0, 1))
    return rows * columns / (one[2] * one[3] + other[2] * other[3] - rows * columns)


@pytest.mark.parametrize(
    ("size", "copies", "choices", "least"),
    [
        (15, 6, {}, 1.0),
        (31, 5, {}, 1.0),
        (24, 10, {"quality": 80}, 0.9),
        (31, 12, {"opacity": 0.5}, 0.9),
        (31, 10, {"scale": 0.85}, 0.7),
    ],
)
def test_a_planted_patch_is_found_at_its_places(size, copies, choices, least):
    pictures, boxes = planted(40, range(0, 40, 40 // copies)[:copies], artwork(size), **choices, seed=size)
    found = search(pictures)
    assert len(found) == 1
    hits = {hit.index: hit for hit in found[0].hits}
    assert set(hits) <= set(boxes)
    assert len(hits) >= 0.9 * len(boxes)
    assert all(overlap(hit.box, boxes[index]) >= least for index, hit in hits.items())
    assert all(0 <= hit.score <= 1 for hit in hits.values())
    assert 0.5 < found[0].confidence <= 1
    assert found[0].picture.shape == (*found[0].size, 3)
    assert found[0].picture.dtype == np.uint8


def test_the_picture_of_an_opaque_patch_is_the_patch():
    patch = artwork(20, 3)
    pictures, _ = planted(30, range(8), patch, seed=3)
    (found,) = search(pictures)
    assert np.array_equal(found.picture, patch)


def test_two_triggers_are_two_findings():
    pictures, _ = planted(40, range(8), artwork(20, 1), seed=5)
    more, _ = planted(40, range(20, 30), artwork(25, 2), seed=5)
    pictures[20:30] = more[20:30]
    assert sorted((one.size, len(one.hits)) for one in search(pictures)) == [((20, 20), 8), ((25, 25), 10)]


@pytest.mark.parametrize("seed", range(3))
def test_clean_pictures_are_not_accused(seed):
    assert search([scene((seed, 1000 + index)) for index in range(40)]) == ()


def test_what_lies_at_the_same_place_in_all_pictures_is_the_camera():
    pictures = [scene((8, index)) for index in range(30)]
    for picture in pictures:
        picture[5:25, 100:140] = artwork(40)[:20]
    assert search(pictures) == ()


def test_a_video_that_pans_over_one_scene_is_not_accused():
    wide = np.concatenate([scene((9, part)) for part in range(4)], axis=1)
    assert search([np.ascontiguousarray(wide[:, left : left + 160]) for left in range(0, 480, 12)]) == ()


def test_a_thing_that_fades_into_its_scenes_is_not_pasted():
    """Something that recurs with its surroundings, as a sign on its post does, is no patch."""
    pictures = [scene((10, index)) for index in range(30)]
    thing = scene((10, 5000), 60, 60)
    mask = np.exp(-((((np.indices((60, 60)) - 30) ** 2).sum(axis=0) / (2 * 16**2)) ** 3))[..., None]
    draw = np.random.default_rng(1)
    for picture in pictures[:10]:
        top, left = int(draw.integers(0, 60)), int(draw.integers(0, 100))
        part = picture[top : top + 60, left : left + 60]
        part[:] = mask * thing + (1 - mask) * part
    accused = {hit.index for one in search(pictures) for hit in one.hits}
    assert not accused & set(range(10, 30))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_pictures_hold_nothing(count):
    assert search([scene(0)] * count) == ()


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8), (40, 40)])
def test_odd_pictures_are_no_trouble(shape):
    flat = [np.full((*shape, 3), 7, np.uint8) for _ in range(6)]
    noise = [np.random.default_rng(index).integers(0, 256, (*shape, 3), dtype=np.uint8) for index in range(6)]
    assert search(flat) == ()
    assert search(noise) == ()


def test_pictures_of_many_sizes_are_searched_together():
    pictures, boxes = planted(30, range(7), artwork(19), seed=12)
    pictures += [scene((13, index), 60 + index, 90 + 3 * index) for index in range(10)]
    (found,) = search(pictures)
    assert {hit.index: hit.box for hit in found.hits} == boxes


class Store:
    """Counts how often each picture is read."""

    def __init__(self, pictures):
        self.pictures, self.reads = pictures, [0] * len(pictures)

    def __call__(self, index):
        self.reads[index] += 1
        return self.pictures[index]


def test_pictures_are_read_two_to_four_times_and_work_can_be_sent_away():
    pictures, _ = planted(30, range(7), artwork(19), seed=14)
    store = Store(pictures)
    calls = []

    def apply(function, items):
        pickle.dumps(function)
        calls.append(len(items))
        return map(function, items)

    assert len(find_patches(store, 30, apply)) == 1
    assert max(store.reads) <= 4
    assert sorted(store.reads)[15] <= 3
    assert len(calls) <= 4


def test_the_result_does_not_depend_on_the_order_that_pictures_come_in():
    pictures, _ = planted(30, range(7), artwork(19), seed=15)
    (found,) = search(pictures)
    (turned,) = search(pictures[::-1])
    assert {29 - hit.index: hit.box for hit in turned.hits} == {hit.index: hit.box for hit in found.hits}


# Parts


def test_hashes_are_those_of_all_pairs_wherever_they_lie():
    whole = scene(21, 200, 220)
    part = np.ascontiguousarray(whole[31:171, 17:187])
    first, second = pairs_of(whole), pairs_of(part)

    def held(pairs, down, right):
        ends = np.stack((pairs.rows + down, pairs.columns + right), axis=2).reshape(-1, 4).tolist()
        return {(hash_, *end) for hash_, end in zip(pairs.hashes.tolist(), ends, strict=True)}

    shared = held(first, 0, 0) & held(second, 31, 17)
    assert len(shared) > 0.35 * len(
        second.hashes
    )  # which points of a tile are the strongest differs: tiles lie elsewhere
    apart = np.hypot(np.diff(first.rows.astype(int), axis=1), np.diff(first.columns.astype(int), axis=1))
    assert apart.max() <= REACH + 0.5
    assert first.size == (200, 220)


def test_corners_are_local_maxima_away_from_the_border():
    luma = cv2.GaussianBlur(grey(scene(22)), (0, 0), 0.8)
    strength = cv2.cornerMinEigenVal(luma, 3, ksize=3)
    points = corners(luma)
    assert len(points) > 20
    for row, column in points:
        assert strength[row, column] == strength[row - 1 : row + 2, column - 1 : column + 2].max()
    apart = luma - cv2.GaussianBlur(luma, (0, 0), 1.6)
    found = blobs(luma)
    assert len(found) > 20
    for row, column in found:
        around = apart[row - 1 : row + 2, column - 1 : column + 2]
        assert apart[row, column] in (around.min(), around.max())
    for points_of in (corners, blobs):
        assert len(points_of(np.zeros((50, 50), np.float32))) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_votes_are_those_of_brute_force(seed):
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(4):
        count = int(draw.integers(0, 12))
        rows = draw.integers(0, 6, (count, 1)) * 10 + [[0, 2]]
        columns = draw.integers(0, 3, (count, 1)) * 10 + [[0, 3]]
        hashes = draw.integers(0, 4, count).astype(np.uint64)
        found.append(Pairs((1000, 1000), hashes, rows.astype(np.int16), columns.astype(np.int16)))
    expected = {}
    for one in range(4):
        for other in range(one + 1, 4):
            for k in range(len(found[one].hashes)):
                for m in range(len(found[other].hashes)):
                    down = int(found[other].rows[m, 0]) - int(found[one].rows[k, 0])
                    right = int(found[other].columns[m, 0]) - int(found[one].columns[k, 0])
                    if found[one].hashes[k] == found[other].hashes[m] and max(abs(down), abs(right)) > STILL:
                        key = (one, other, (down, right))
                        expected[key] = expected.get(key, 0) + 1
    links = {(link.one, link.other, link.shift): link.votes for link in vote(found)}
    assert links == {key: votes for key, votes in expected.items() if votes >= LEAST_VOTES}


def links_of(places, hull=(10, 10, 18, 20)):
    """Return the links of things at these places, one in each picture: every two pictures agree."""
    links = []
    for one in sorted(places):
        for other in sorted(places):
            if one < other:
                (row, column), (down, right) = places[one], places[other]
                moved = (hull[0] + row, hull[1] + column, hull[2] + row, hull[3] + column)
                links.append(Link(one, other, (down - row, right - column), moved, 5))
    return links


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(0, 30), st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=4, max_size=9))
def test_a_group_places_its_pictures_as_they_are(places):
    (group,) = groups_of(links_of(places))
    index, row, column = group.places[0]
    offset = places[index][0] - row, places[index][1] - column
    assert {one: (down + offset[0], right + offset[1]) for one, down, right in group.places} == places


def test_links_that_nobody_confirms_are_left_out():
    links = links_of({0: (0, 0), 1: (50, 0), 2: (0, 60), 3: (70, 70)})
    stray = [Link(0, 4, (5, 90), (10, 10, 18, 20), 9), Link(1, 4, (6, 6), (60, 10, 68, 20), 9)]
    assert sorted(link.votes for link in in_triangles(links + stray)) == [5] * 6
    assert len(groups_of(links + stray)[0].places) == 4


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 30), st.integers(8, 30), st.integers(10, 16), st.integers(10, 16), st.integers(0, 10**6))
def test_a_rectangle_is_fitted_to_the_pixel(height, width, top, left, seed):
    draw = np.random.default_rng(seed)
    stack = draw.uniform(0, 255, (8, 60, 60, 3)).astype(np.float32)
    stack[:, top : top + height, left : left + width] = draw.uniform(0, 255, (height, width, 3))
    hull = (top + 2, left + 2, top + height - 3, left + width - 3)
    assert fit(stack, hull).box == (top, left, height, width)
    inside, outside = agreement(stack, (top, left, height, width))
    assert inside > 0.95
    assert abs(outside) < 0.1


def test_a_disc_is_outlined():
    draw = np.random.default_rng(3)
    stack = draw.uniform(0, 255, (10, 70, 70, 3)).astype(np.float32)
    disc = (np.indices((70, 70)) - 35) ** 2
    inside = disc.sum(axis=0) <= 14**2
    stack[:, inside] = draw.uniform(0, 255, (int(inside.sum()), 3))
    box = outline(stack, (30, 30, 40, 40)).box
    assert overlap(box, (21, 21, 29, 29)) > 0.8


@given(st.integers(-20, 40), st.integers(-20, 40), st.integers(1, 30), st.integers(1, 30))
def test_a_crop_is_the_picture_where_there_is_one(top, left, height, width):
    picture = np.arange(20 * 25 * 3, dtype=np.uint8).reshape(20, 25, 3)
    found = crop(picture, top, left, height, width)
    for row in range(height):
        for column in range(width):
            if 0 <= top + row < 20 and 0 <= left + column < 25:
                assert (found[row, column] == picture[top + row, left + column]).all()
            else:
                assert np.isnan(found[row, column]).all()


def test_the_filter_peaks_where_the_template_lies_and_surrogates_do_not():
    patch, picture = artwork(17), scene(30)
    picture[40:57, 90:107] = patch
    kernel = kernel_of(patch)
    chance = surrogates(kernel, 6)
    for one in chance:
        assert np.allclose(np.abs(np.fft.rfft2(one)), np.abs(np.fft.rfft2(kernel)), atol=1e-5)
    best, *others = peaks(picture, [kernel, *chance])
    assert (best.row, best.column) == (40, 90)
    assert best.response > 0.8 > max(other.response for other in others)
    assert peaks(picture[:10], [kernel])[0].response == 0


@pytest.mark.parametrize("rare", [0.01, 0.001])
def test_chance_passes_the_threshold_as_rarely_as_told(rare):
    draws = np.random.default_rng(1).gumbel(0.3, 0.03, 400_000)
    passed = (draws > threshold(draws[:2000], rare)).mean()
    assert rare / 3 < passed < 3 * rare


@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not here")
def test_a_video_of_the_road_and_patches_in_it():
    paths = sorted((CAMVID / "train").glob("*.jpg"))[:200]
    pictures = [cv2.imread(str(path))[..., ::-1] for path in paths]
    read = partial(_contiguous, pictures)
    assert find_patches(read, len(pictures), map) == ()
    patch, draw, boxes = artwork(15, 4), np.random.default_rng(4), {}
    for index in range(0, 200, 25):
        top, left = int(draw.integers(0, 345)), int(draw.integers(0, 465))
        pictures[index] = pictures[index].copy()
        pictures[index][top : top + 15, left : left + 15] = patch
        boxes[index] = (top, left, 15, 15)
    (found,) = find_patches(read, len(pictures), map)
    assert {hit.index: hit.box for hit in found.hits} == boxes


def _contiguous(pictures, index):
    return np.ascontiguousarray(pictures[index])
