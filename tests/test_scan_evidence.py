"""Scan's kinds of evidence that labels and pictures give together: on cases drawn with a known answer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.scanning import classifier, outlines, resized
from poisongen.scanning.absences import expect_classes
from poisongen.scanning.cells import MIXED, Cells, gray_of, looks_of, shrunk
from poisongen.scanning.classifier import Seen
from poisongen.scanning.contradictions import contradicting_pairs, log_likelihood, lost_classes, pairs_of_things
from poisongen.scanning.hidden_edges import find_hidden_edges, interior
from poisongen.scanning.histograms import odd_histograms
from poisongen.scanning.random_labels import Speckle
from poisongen.scanning.random_labels import judge as judge_random
from poisongen.scanning.resized import Between, measure_between
from poisongen.scanning.spool import Spool

VOID = frozenset({9})
small_maps = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).choice([0, 1, 4, 7], (9, 11)).astype(np.uint8)
)


@given(small_maps)
@settings(deadline=None)
def test_thin_pixels_by_brute_force(labels):
    edges = thin = inside = 0
    for row in labels[::4].astype(int):
        for left, middle, right in zip(row, row[1:], row[2:], strict=False):
            edges += left != middle
            if len({left, middle, right}) == 3:
                thin += 1
                inside += min(left, right) < middle < max(left, right)
    assert measure_between(labels) == Between(edges, thin, inside)


def blobs(seed, size=(120, 160)):
    """Return a map of round areas, without any thin pixel."""
    draw, labels = np.random.default_rng(seed), np.full(size, 2, np.uint8)
    for _ in range(25):
        centre = (int(draw.integers(size[1])), int(draw.integers(size[0])))
        cv2.circle(labels, centre, int(draw.integers(6, 20)), int(draw.choice([0, 3, 5, 8])), -1)
    return labels


@pytest.mark.parametrize("factor", [0.5, 0.8, 2.0])
def test_maps_resized_linearly_are_told_and_others_not(factor):
    honest = [blobs(seed) for seed in range(6)]
    resize = lambda one, how: np.asarray(  # noqa: E731
        cv2.resize(one, None, fx=factor, fy=factor, interpolation=how), np.uint8
    )
    nearest = [measure_between(resize(one, cv2.INTER_NEAREST)) for one in honest]
    linear = [measure_between(resize(one, cv2.INTER_LINEAR)) for one in honest]
    assert resized.judge(nearest) is None
    found = resized.judge(linear)
    assert (found.scope, found.samples) == ("all", tuple(range(6)))
    assert resized.judge(nearest + linear[:2]).samples == (6, 7)
    assert resized.judge(nearest + linear[:2]).scope == "some"
    assert resized.judge(nearest + linear[:1]) is None


def outlined(objects, background=0, size=(140, 200)):
    """Return a map of discs (row, column, radius, class) with a border of void, as VOC draws them."""
    labels = np.full(size, background, np.uint8)
    for row, column, radius, number in objects:
        cv2.circle(labels, (column, row), radius + 3, 9, -1)
        cv2.circle(labels, (column, row), radius, number, -1)
    return labels


def test_an_outline_without_an_object_is_found_and_a_hole_is_none():
    honest = outlined([(50, 60, 25, 1), (50, 60, 10, 0), (90, 150, 20, 2)])  # the second is a hole in the first
    assert outlines.islands_of(honest, VOID) == {}
    lie = np.where(honest == 2, np.uint8(0), honest)
    (number, pixels), *more = outlines.islands_of(lie, VOID).items()
    assert (number, more) == (0, [])
    assert pixels == int((honest == 2).sum())
    bare = honest.copy()  # classes that meet without void: no set of outlines
    bare[:, ::8], bare[:, 1::8] = 3, 4
    assert outlines.islands_of(np.where(bare == 2, np.uint8(0), bare), VOID) == {}


def test_islands_that_most_samples_have_are_a_habit():
    assert outlines.judge([{0: 300}] * 3 + [{}] * 97) == ()
    (found,) = outlines.judge([{0: 300}] * 8 + [{}] * 92)
    assert (found.number, len(found.samples)) == (0, 8)
    assert outlines.judge([{0: 300}] * 40 + [{}] * 60) == ()


def test_classes_that_are_missed():
    """Class 3 goes with classes 2 and 4, but for six samples of 240, in which it has become class 0."""
    draw = np.random.default_rng(3)
    with_it = draw.random(240) < 0.5
    counts = draw.integers(2000, 3000, (240, 5))
    counts[:, :2] *= 4
    counts[~with_it, 2:] = 0
    lost = np.flatnonzero(with_it)[:6]
    counts[lost, 0] += counts[lost, 3]
    counts[lost, 3] = 0
    found = expect_classes(counts, (0, 1, 2, 3, 4))
    missed = set(np.flatnonzero(found.missed(3)))
    assert missed <= set(lost)
    assert len(missed) >= 3
    column = found.classes.index(3)
    assert found.expected[lost, column].min() > found.expected[~with_it, column].max()
    assert not found.missed(0).any()
    assert not found.missed(77).any()
    assert found.told[found.classes.index(3)] > 0.9
    assert expect_classes(counts[:8], (0, 1, 2, 3, 4)) is None


def test_too_small_a_set_misses_nothing():
    draw = np.random.default_rng(4)
    counts = draw.integers(2000, 3000, (60, 4))
    counts[:30, 2:] = 0
    counts[30:33, 3] = 0
    assert not expect_classes(counts, (0, 1, 2, 3)).missed(3).any()


def test_hidden_edges_stand_out():
    """Calm roads, and three with something steep amid them."""
    draw, grids = np.random.default_rng(5), []
    for at in range(40):
        looks = draw.integers(0, 20, (20, 30, 7)).astype(np.uint8)
        classes = np.full((20, 30), 7, np.uint8)
        classes[:5] = 4
        if at < 3:
            looks[10:14, 10:15, 4] = 200
        grids.append(Cells(looks, classes))
    found = find_hidden_edges(grids)
    assert np.flatnonzero(found.stands_out(7)).tolist() == [0, 1, 2]
    assert not found.stands_out(4).any()
    assert not found.stands_out(99).any()


@given(small_maps)
@settings(deadline=None)
def test_interior_cells_by_brute_force(classes):
    classes = np.where(classes == 7, MIXED, classes).astype(np.uint8)
    wanted = np.zeros(classes.shape, bool)
    for row in range(classes.shape[0]):
        for column in range(classes.shape[1]):
            near = classes[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            wanted[row, column] = classes[row, column] != MIXED and (near == classes[row, column]).all()
    np.testing.assert_array_equal(interior(classes), wanted)


def test_a_spool_gives_back_what_it_got():
    draw = np.random.default_rng(6)
    grids = [
        Cells(draw.integers(0, 256, (*shape, 7)).astype(np.uint8), draw.integers(0, 20, shape).astype(np.uint8))
        for shape in ((20, 40), (3, 5), (31, 7))
    ]
    with Spool() as spool:
        for grid in grids:
            spool.add(grid)
        assert len(spool) == 3
        for kept, grid in zip([*spool, spool[-1], *spool[:1]], [*grids, grids[-1], grids[0]], strict=True):
            np.testing.assert_array_equal(kept.looks, grid.looks)
            np.testing.assert_array_equal(kept.classes, grid.classes)
        with pytest.raises(IndexError):
            spool[3]


def test_likelihood_tells_a_rate_of_its_own_from_what_is_everywhere():
    inside = np.arange(100) < 10
    assert log_likelihood(np.where(inside, 4, 0), inside) > 100
    assert log_likelihood(np.full(100, 4), inside) == pytest.approx(0, abs=0.01)
    assert log_likelihood(np.where(inside, 0, 4), inside) == 0
    once = log_likelihood(np.where(np.arange(100) == 0, 1000, 0), inside)
    assert once == log_likelihood(np.where(np.arange(100) == 0, 20, 0), inside)


def seen_of(rows, present, lone=()):
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Seen(
        (0, 1, 2), np.array(present, np.int32), table[:, 0].astype(np.int32), table[:, 1].astype(np.uint8),
        table[:, 2].astype(np.uint8), table[:, 3].astype(np.int32), 0.9, np.array(lone, np.int32),
    )  # fmt: skip


@pytest.mark.parametrize(("right", "named"), [(40, True), (2, False)])
def test_one_of_several_things(right, named):
    """Ten samples have a thing of class 1 that is labelled 0, and others of class 1; it matters how well 1 is told."""
    rows = [(at, 1, 0, 8) for at in range(10)] + [(at, 1, 1, right) for at in range(60)]
    rows += [(at, 0, 0, 400) for at in range(60)]
    if not named:
        rows += [(at, 1, 2, 4) for at in range(60)]
    lone = [8] * 10 + [0] * (len(rows) - 10)
    seen = seen_of(rows, [[400, 40, 60]] * 60, lone)
    found = [(pair.victim, pair.target, len(pair.samples)) for pair in pairs_of_things(seen)]
    assert found == ([(1, 0, 10)] if named else [])
    assert ((1, 0) in [(pair.victim, pair.target) for pair in contradicting_pairs(seen)]) is named
    assert contradicting_pairs(seen, rest=[0]) == ()


def test_lone_things_are_those_that_touch_no_cell_labelled_so():
    classes = np.zeros((12, 16), np.uint8)
    classes[1:4, 1:4] = 1
    looks = classes.astype(np.int64)
    looks[4:7, 1:4] = 1  # beside the class itself
    looks[8:11, 8:10] = 1  # alone, 6 cells
    looks[1:3, 12:14] = 1  # alone, 4 cells
    looks[6, 14] = 1  # too small to be a thing
    grid = Cells(np.zeros((12, 16, 7), np.uint8), classes)
    places, labels = np.full(classes.size, 5), classes.ravel().astype(np.int64)
    found = classifier._lone_things(places, looks.ravel(), labels, {5: grid})
    assert found == {5 << 16 | 1 << 8 | 0: 6}


def test_maps_of_one_class_are_odd_only_where_none_come_near_it():
    counts = np.tile(np.array([500, 300, 200, 100]), (60, 1))
    counts[:2] = (1000, 0, 0, 0)
    assert odd_histograms(counts) == (0, 1)
    counts[2:6] = (980, 20, 0, 0)
    assert odd_histograms(counts) == ()


def test_a_class_that_a_group_has_lost():
    present = [[500, 0 if at < 12 else 40, 60] for at in range(60)]
    assert lost_classes(seen_of([], present), range(12)) == (1,)
    assert lost_classes(seen_of([], present), range(20, 32)) == ()
    assert lost_classes(seen_of([], present), range(60)) == ()


def test_what_nature_sprinkles_is_no_random_label_beside_those_that_are():
    strong = Speckle(0.04, 0.05, {1: 0.05}, {2: 50}, (1, 2), (50, 60), b"\1")
    faint = Speckle(0.0004, 0.0004, {1: 0.0004}, {2: 6}, (1, 2), (50, 60), b"\1")
    found = judge_random([strong, strong, strong, faint, *[Speckle()] * 6], (1, 2), VOID)
    assert found.speckled == (0, 1, 2)


@pytest.mark.parametrize("shape", [(3, 5), (40, 50), (720, 1280)])
def test_large_pictures_are_averaged_first_and_look_the_same(shape):
    draw = np.random.default_rng(8)
    small = draw.integers(0, 256, (-(-shape[0] // 8), -(-shape[1] // 8), 3)).astype(np.uint8)
    picture = np.ascontiguousarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_NEAREST))
    assert shrunk(picture, 1) is picture
    assert shrunk(picture, 10**6) is picture
    if min(shape) >= 40:
        half = shrunk(picture, 4)
        wanted = picture[: shape[0] // 4 * 4, : shape[1] // 4 * 4].reshape(shape[0] // 4, 4, shape[1] // 4, 4, 3)
        assert np.abs(half - wanted.mean(axis=(1, 3))).max() <= 1
    np.testing.assert_array_equal(looks_of(picture), looks_of(picture, gray_of(picture)))
