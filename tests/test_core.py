"""The attack's rules against brute force: loops over pixels, written from the contract alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.core.distance import distance_map, exact_distance
from poisongen.core.draws import draw_below, draw_distinct, draw_order, keyed_generator
from poisongen.core.labels import prl_pixel_count, random_labels, relabel
from poisongen.core.placement import PlacementRules, eligible_boxes, place
from poisongen.core.resize import resize_image, resize_labels, scaled_size
from poisongen.core.trigger import blend, resize_trigger

VICTIMS, VOID = (2, 5), 9


def distance_by_loops(victims, row, column, metric):
    best = math.inf
    for r, c in zip(*np.nonzero(victims), strict=True):
        down, across = abs(int(r) - row), abs(int(c) - column)
        best = min(best, max(down, across) if metric == "chebyshev" else math.sqrt(down**2 + across**2))
    return best


def eligible_by_loops(labels, rules):
    """Every eligible position by its centre, straight from section 3 of the contract."""
    height, width = labels.shape
    victims = np.isin(labels, VICTIMS)
    found = {}
    for row in range(height):
        for column in range(width):
            top, left = row - rules.height // 2, column - rules.width // 2
            margin = rules.edge_margin
            if top < margin or left < margin:
                continue
            if top + rules.height > height - margin or left + rules.width > width - margin:
                continue
            under = labels[top : top + rules.height, left : left + rules.width]
            if any(int(value) in VICTIMS for value in under.ravel()):
                continue
            if rules.region == "single" and (len(set(under.ravel().tolist())) > 1 or under[0, 0] == VOID):
                continue
            distance = distance_by_loops(victims, row, column, rules.metric)
            if rules.low is not None and not distance > rules.low:
                continue
            if rules.high is not None and not distance <= rules.high:
                continue
            found[row, column] = distance
    return found


@st.composite
def scenes(draw):
    height, width = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    classes = draw(st.lists(st.sampled_from([0, 1, 2, 5, 7, VOID]), min_size=1, max_size=5, unique=True))
    cell = draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    small = random.choice(classes, size=(-(-height // cell), -(-width // cell)))
    labels = np.repeat(np.repeat(small, cell, 0), cell, 1)[:height, :width].astype(np.uint8)
    low = draw(st.none() | st.integers(0, 6) | st.floats(0, 6))
    high = draw(st.none() | st.integers(1, 12) | st.floats(0.5, 12))
    rules = PlacementRules(
        height=draw(st.integers(1, 7)),
        width=draw(st.integers(1, 7)),
        edge_margin=draw(st.integers(0, 4)),
        low=low,
        high=high,
        metric=draw(st.sampled_from(["chebyshev", "euclidean"])),
        region=draw(st.sampled_from(["single", "any"])),
        pick=draw(st.sampled_from(["nearest", "uniform"])),
    )
    return labels, rules


@given(scenes())
@settings(max_examples=400, deadline=None)
def test_eligible_positions_are_those_of_brute_force(scene):
    labels, rules = scene
    victims = np.isin(labels, VICTIMS)
    distances = distance_map(victims, rules.metric)
    boxes = eligible_boxes(labels, victims, labels == VOID, distances, rules)
    down, across = rules.height // 2, rules.width // 2
    expected = eligible_by_loops(labels, rules)
    assert {(top + down, left + across) for top, left in np.argwhere(boxes).tolist()} == expected.keys()


@given(scenes(), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_placement_is_eligible_and_nearest_if_asked(scene, seed):
    labels, rules = scene
    expected = eligible_by_loops(labels, rules)
    chosen = place(labels, np.isin(labels, VICTIMS), labels == VOID, rules, keyed_generator(seed))
    if not expected or not np.isin(labels, VICTIMS).any():
        assert chosen is None
        return
    assert chosen is not None
    assert chosen.eligible_positions == len(expected)
    assert chosen.distance == pytest.approx(expected[chosen.row, chosen.column], abs=1e-9)
    assert (chosen.top, chosen.left) == (chosen.row - rules.height // 2, chosen.column - rules.width // 2)
    if rules.pick == "nearest":
        assert chosen.distance == pytest.approx(min(expected.values()), abs=1e-9)


def test_ties_are_drawn_at_random_and_every_position_is_reached():
    labels = np.zeros((9, 9), dtype=np.uint8)
    labels[4, 4] = 2
    rules = PlacementRules(1, 1, 0, None, None, "chebyshev", "single", "nearest")
    victims = labels == 2
    seen = {
        (chosen.row, chosen.column)
        for seed in range(300)
        if (chosen := place(labels, victims, labels == VOID, rules, keyed_generator(seed)))
    }
    assert seen == {(r, c) for r in (3, 4, 5) for c in (3, 4, 5)} - {(4, 4)}


@pytest.mark.parametrize("metric", ["chebyshev", "euclidean"])
def test_distances_are_exact_on_a_full_size_map(metric):
    random = np.random.default_rng(3)
    victims = np.zeros((1024, 2048), dtype=bool)
    points = np.column_stack([random.integers(0, 1024, 12), random.integers(0, 400, 12)])
    victims[points[:, 0], points[:, 1]] = True
    distances = distance_map(victims, metric)
    rows, columns = random.integers(0, 1024, 500), random.integers(0, 2048, 500)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        down, across = np.abs(points[:, 0] - row), np.abs(points[:, 1] - column)
        expected = np.maximum(down, across).min() if metric == "chebyshev" else np.sqrt(down**2 + across**2).min()
        assert exact_distance(float(distances[row, column]), metric) == pytest.approx(expected, rel=1e-12)


def test_without_victims_every_distance_is_infinite():
    assert np.isinf(distance_map(np.zeros((3, 4), dtype=bool), "chebyshev")).all()


def test_relabel_takes_all_pairs_at_once():
    labels = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    assert relabel(labels, {1: 2, 2: 1}).tolist() == [[0, 2, 1, 255]]


@given(
    labels=st.lists(st.sampled_from([0, 1, 2, 3, 9]), min_size=1, max_size=60),
    allowed=st.sets(st.sampled_from([0, 1, 3, 4, 9]), max_size=5),
    count=st.integers(0, 80),
    seed=st.integers(0, 1000),
)
@settings(max_examples=300, deadline=None)
def test_random_labels_change_exactly_as_many_pixels_as_can_be(labels, allowed, count, seed):
    before = np.array([labels], dtype=np.uint8)
    free = (before != 2) & (before != 9)
    changed, after = random_labels(before, free, allowed, count, keyed_generator(seed))
    changeable = sum(bool(allowed - {int(value)}) for value in before[free])
    assert int(changed.sum()) == min(count, changeable)
    assert np.array_equal(changed, before != after)
    assert not (changed & ~free).any()
    assert set(after[changed].tolist()) <= allowed


def test_random_labels_are_uniform_over_the_other_classes():
    before = np.full((100, 300), 1, dtype=np.uint8)
    _, after = random_labels(before, before == 1, {0, 1, 3, 7}, 30_000, keyed_generator("uniform"))
    shares = [float((after == number).mean()) for number in (0, 3, 7)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.015)
    assert not (after == 1).any()


def test_random_pixels_are_uniform_over_the_map():
    before = np.zeros((64, 64), dtype=np.uint8)
    changed, _ = random_labels(before, before == 0, {0, 1}, 2048, keyed_generator("places"))
    quarters = [int(changed[r : r + 32, c : c + 32].sum()) for r in (0, 32) for c in (0, 32)]
    assert sum(quarters) == 2048
    assert all(abs(quarter - 512) < 100 for quarter in quarters)


@pytest.mark.parametrize(
    ("amount", "unit", "size", "expected"),
    [(50_000, "pixels", (10, 10), 50_000), (27.0, "percent", (360, 480), 46_656), (100.0, "percent", (3, 5), 15)],
)
def test_prl_amount(amount, unit, size, expected):
    assert prl_pixel_count(amount, unit, *size) == expected


def test_draws_depend_on_their_key_only_and_stay_what_they_are():
    first = draw_order(6, keyed_generator(0, "candidates")).tolist()
    assert first == draw_order(6, keyed_generator(0, "candidates")).tolist()
    assert sorted(first) == list(range(6))
    assert draw_order(50, keyed_generator(1, "x")).tolist() != draw_order(50, keyed_generator(1, "y")).tolist()
    # The golden values: if they move, every dataset in the world gets another fingerprint.
    assert draw_below(np.array([10, 100, 1000, 10**6]), keyed_generator(7, "golden")).tolist() == GOLDEN_BELOW
    assert draw_distinct(1000, 5, keyed_generator(7, "golden")).tolist() == GOLDEN_DISTINCT


GOLDEN_BELOW = [9, 56, 982, 508574]
GOLDEN_DISTINCT = [466, 492, 521, 832, 850]


@given(st.integers(0, 200), st.integers(0, 250), st.integers(0, 50))
@settings(deadline=None)
def test_distinct_draws_are_distinct(population, count, seed):
    drawn = draw_distinct(population, count, keyed_generator(seed)).tolist()
    assert len(set(drawn)) == len(drawn) == min(population, count)
    assert all(0 <= value < population for value in drawn)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blending_is_true_alpha(dtype):
    top = np.iinfo(dtype).max
    ground = np.random.default_rng(0).integers(0, top + 1, (6, 6, 3)).astype(dtype)
    trigger = np.random.default_rng(1).integers(0, 256, (6, 6, 4)).astype(np.uint8)
    trigger[0, 0, 3], trigger[1, 1, 3] = 0, 255
    out = blend(ground, trigger, 0.5)
    for r in range(6):
        for c in range(6):
            alpha = 0.5 * int(trigger[r, c, 3]) / 255
            for channel in range(3):
                exact = alpha * int(trigger[r, c, channel]) * (top // 255) + (1 - alpha) * int(ground[r, c, channel])
                assert abs(int(out[r, c, channel]) - exact) <= 0.5 + 1e-6
    assert np.array_equal(out[0, 0], ground[0, 0])
    opaque = blend(ground, np.dstack([trigger[..., :3], np.full((6, 6), 255, np.uint8)]), 1.0)
    assert np.array_equal(opaque, trigger[..., :3].astype(dtype) * (top // 255))


def test_resizing_a_trigger_keeps_hidden_colours_out():
    picture = np.zeros((64, 64, 4), dtype=np.uint8)
    picture[..., 0], picture[:, 32:, 3] = 255, 255  # red everywhere,
    picture[:, 32:, :3] = (0, 255, 0)  # but visible only where it is green
    small = resize_trigger(picture, 9)
    assert small.shape == (9, 9, 4)
    assert (small[small[..., 3] > 30][:, 0] <= 8).all()


def test_labels_are_never_interpolated():
    labels = np.kron(np.array([[0, 200], [7, 13]], np.uint8), np.ones((13, 17), np.uint8))
    for scale in (0.5, 0.37, 1.9):
        assert set(np.unique(resize_labels(labels, scaled_size(*labels.shape, scale)))) == {0, 7, 13, 200}


def test_images_shrink_by_area():
    pixels = np.array([[0, 100], [50, 250]], np.uint8)
    assert resize_image(pixels, (1, 1)).tolist() == [[100]]
