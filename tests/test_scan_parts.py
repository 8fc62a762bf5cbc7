"""Scan's parts on arrays: against brute force where there is one, and on cases that are drawn with a known answer."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.datasets import find_layout
from poisongen.files.images import decode
from poisongen.scanning import companions, random_labels, whole_image
from poisongen.scanning.cells import MIXED, Cells, classes_of, features_of, gray_of, grid_of, looks_of
from poisongen.scanning.classifier import Seen
from poisongen.scanning.contradictions import contradicting_pairs, pairs_of_group
from poisongen.scanning.histograms import odd_histograms
from poisongen.scanning.random_labels import isolated_pixels, judge, majority, measure
from poisongen.scanning.reading import open_suspect, read_maps
from poisongen.scanning.truth import iou
from poisongen.source.labels import LabelContents

VOID = frozenset({9})
small_maps = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).choice([0, 1, 2, 7], (9, 11), p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
)


@given(small_maps)
@settings(deadline=None)
def test_isolated_pixels_by_brute_force(labels):
    wanted = np.zeros(labels.shape, bool)
    for row in range(1, labels.shape[0] - 1):
        for column in range(1, labels.shape[1] - 1):
            around = {
                int(labels[row - 1, column]),
                int(labels[row + 1, column]),
                int(labels[row, column - 1]),
                int(labels[row, column + 1]),
            }
            wanted[row, column] = len(around) == 1 and int(labels[row, column]) not in around
    np.testing.assert_array_equal(isolated_pixels(labels), wanted)


@given(small_maps)
@settings(deadline=None, max_examples=30)
def test_majority_by_brute_force(labels):
    padded = np.pad(labels, 2, mode="symmetric")
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            counts = np.bincount(padded[row : row + 5, column : column + 5].ravel(), minlength=256)
            assert majority(labels)[row, column] == counts.argmax()


def scene(seed, size=(200, 300), classes=(0, 1, 2, 4, 9)):
    """Draw a label map of large blocks with a slanted edge; class 9 is void."""
    draw = np.random.default_rng(seed)
    rows, columns = draw.integers(30, 70, 2)
    down, across = np.arange(size[0])[:, None], np.arange(size[1])[None]
    at = (down + across // 7) // rows * 3 + (across + down // 5) // columns
    return np.asarray(classes, np.uint8)[(at + seed) % len(classes)]


def sprinkle(labels, share, drawn, seed, spared=()):
    """Give so large a share of a map's pixels (of those that may be touched) other classes of `drawn`."""
    draw = np.random.default_rng(seed)
    out = labels.copy()
    free = np.flatnonzero(~np.isin(labels, [9, *spared]))
    number = min(round(share * labels.size), free.size)
    places = draw.choice(free, number, replace=False)
    table = np.array([[one for one in drawn if one != number] + [0] * (number in drawn) for number in range(10)])
    allowed = np.array([len(drawn) - (number in drawn) for number in range(10)])
    old = labels.flat[places]
    out.flat[places] = table[old, draw.integers(0, 2**31, number) % allowed[old]]
    return out, number / labels.size


@pytest.mark.parametrize(
    ("share", "spared"), [(0.002, ()), (0.01, ()), (0.05, ()), (0.2, ()), (0.4, ()), (0.01, (2,)), (0.2, (2,))]
)
def test_the_share_of_random_labels_is_measured(share, spared):
    for seed in range(3):
        labels, true = sprinkle(scene(seed), share, (0, 1, 4), seed, spared)
        assert measure(labels, VOID).share == pytest.approx(true, rel=0.1 if share > 0.005 else 0.2)


def test_what_annotators_leave_is_no_random_label():
    for seed in range(5):
        labels, draw = scene(seed), np.random.default_rng(seed)
        assert not measure(labels, VOID).is_speckled
        row, column = draw.integers(20, 150, 2)  # dots that pile up in one place
        labels[row + draw.integers(0, 40, 60), column + draw.integers(0, 40, 60)] = 1
        assert not measure(labels, VOID).is_speckled


PRESENT = (0, 1, 2, 4)


@pytest.mark.parametrize(
    ("drawn", "wanted"), [(PRESENT, "image"), ((0, 1, 2, 3, 4, 5, 6, 7, 8), "dataset"), ((9,), "void"), ((3,), 3)]
)
@pytest.mark.parametrize("scope", ["all", "some"])
def test_scope_and_classes_are_told(drawn, wanted, scope):
    found = []
    for seed in range(12):
        labels = scene(seed, classes=(*PRESENT, 9))
        if scope == "all" or seed % 3 == 0:
            labels, _ = sprinkle(labels, 0.05, drawn, seed)
        found.append(measure(labels, VOID))
    told = judge(found, range(9), VOID)
    assert (told.scope, told.classes, told.shared) == (scope, wanted, False)
    assert told.speckled == tuple(range(0, 12, 1 if scope == "all" else 3))


def test_spared_classes_and_repeated_positions_are_told():
    found = [measure(sprinkle(scene(seed), 0.05, (0, 1, 4), 0, (2,))[0], VOID) for seed in range(8)]
    assert judge(found, range(9), VOID).spared == (2,)
    noise = np.random.default_rng(0).random((200, 300)) < 0.05
    same = []
    for seed in range(6):
        labels = scene(seed)
        labels[noise & (labels != 9)] = (labels[noise & (labels != 9)] + 1) % 4
        same.append(measure(labels, VOID))
    assert judge(same, range(9), VOID).shared


def test_nothing_is_said_of_one_map_or_none():
    clean = [measure(scene(seed), VOID) for seed in range(4)]
    assert judge(clean, range(9), VOID) is None
    assert judge([*clean, measure(sprinkle(scene(9), 0.1, PRESENT, 1)[0], VOID)], range(9), VOID) is None
    assert not measure(np.zeros((1, 1), np.uint8), VOID).is_speckled
    assert not measure(np.full((40, 50), 9, np.uint8), VOID).is_speckled


@pytest.mark.parametrize("shape", [(3, 3), (5, 400), (97, 131), (360, 480)])
def test_grids_of_any_shape(shape):
    draw = np.random.default_rng(1)
    picture, labels = draw.integers(0, 256, (*shape, 3)).astype(np.uint8), scene(0, shape)
    rows, columns = grid_of(*shape)
    looks, classes = looks_of(picture), classes_of(labels, VOID)
    assert looks.shape == (rows, columns, 7)
    assert classes.shape == (rows, columns)
    assert features_of(looks).shape[0] == rows * columns
    assert np.isfinite(features_of(looks)).all()


def test_a_cell_has_the_class_that_most_of_it_has():
    labels = np.full((100, 200), 3, np.uint8)
    labels[:, :95] = 5
    labels[40:, 120:] = 9  # void
    classes = classes_of(labels, VOID)
    rows, columns = classes.shape
    for row in range(rows):
        for column in range(columns):
            part = labels[
                row * 100 // rows : (row + 1) * 100 // rows, column * 200 // columns : (column + 1) * 200 // columns
            ]
            counts = np.bincount(part.ravel(), minlength=256) / part.size
            if counts.max() >= 0.95:
                wanted = counts.argmax()
                assert classes[row, column] == (MIXED if wanted == 9 else wanted)


def seen_of(table, present):
    """Return counts from rows (sample, looks, labelled, cells) and cells labelled by (sample, class)."""
    rows = np.array(table, np.int64).reshape(-1, 4)
    return Seen((0, 1, 2), np.array(present, np.int64), rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3], 0.9)


def test_a_pair_stands_out_where_the_victim_is_gone():
    """Of 60 samples 10 have no class 1 and look like it where 0 is labelled; in all others there is some confusion."""
    present = [[500, 0 if at < 10 else 40, 60] for at in range(60)]
    rows = [(at, 1, 0, 30) for at in range(10)] + [(at, 1, 0, at % 3) for at in range(10, 60) if at % 3]
    (pair,) = contradicting_pairs(seen_of(rows, present))
    assert (pair.victim, pair.target) == (1, 0)
    assert [at for at, _ in pair.samples] == list(range(10))
    assert pair.confidence > 0.9


@pytest.mark.parametrize("kind", ["few", "both ways", "beside the class"])
def test_confusion_is_no_pair(kind):
    present = [[500, 0 if at < 10 else 40, 0 if 20 <= at < 30 else 60] for at in range(60)]
    rows = [(at, 1, 2, 30) for at in range(3 if kind == "few" else 10)]
    if kind == "both ways":
        rows += [(at, 2, 1, 30) for at in range(20, 30)]
    if kind == "beside the class":
        rows += [(at, 1, 2, 25) for at in range(10, 60)]
    assert contradicting_pairs(seen_of(rows, present)) == ()


def test_a_group_tells_its_pair_even_if_part_of_the_class_is_left():
    present = [[500, 20, 60] for _ in range(40)]
    rows = [(at, 1, 0, 15) for at in range(6)] + [(at, 1, 1, 5) for at in range(6)]
    rows += [(at, 1, 1, 20) for at in range(6, 40)]
    (pair,) = pairs_of_group(seen_of(rows, present), range(6))
    assert (pair.victim, pair.target) == (1, 0)
    assert pairs_of_group(seen_of(rows, present), range(20, 26)) == ()
    assert pairs_of_group(seen_of(rows, present), [0]) == ()


def test_histograms_that_jump():
    draw = np.random.default_rng(0)
    counts = np.zeros((40, 4), np.int64)
    counts[:, :4] = draw.integers(80, 120, (40, 4))
    assert odd_histograms(counts) == ()
    counts[7, :4] = (400, 0, 0, 0)
    assert odd_histograms(counts) == (7,)
    counts[:, :4] = 0
    counts[np.arange(40), draw.integers(0, 4, 40)] = 400  # maps of one class are what the set has
    assert odd_histograms(counts) == ()


boxes = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8))


@given(boxes, boxes)
def test_iou_by_counting_pixels(one, other):
    masks = np.zeros((2, 24, 24), bool)
    for mask, (top, left, height, width) in zip(masks, (one, other), strict=True):
        mask[top : top + height, left : left + width] = True
    assert iou(one, other) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def noise(seed, size=(192, 288)):
    draw = np.random.default_rng(seed)
    parts = [cv2.GaussianBlur(draw.normal(0, 1, (*size, 3)), (0, 0), sigma) * sigma for sigma in (1.5, 4.0, 12.0)]
    return 120 + 60 * sum(parts)


def test_triggers_on_whole_pictures():
    """A wave, a mark and a picture mixed in are found in just the pictures that have them; in none of clean ones."""
    pictures = [noise(seed) for seed in range(80)]
    as_bytes = lambda values: np.clip(np.rint(values), 0, 255).astype(np.uint8)  # noqa: E731
    clean = [whole_image.spectrum_of(as_bytes(one)) for one in pictures]
    assert whole_image.judge(clean) == ()
    chosen = list(range(0, 80, 7))
    other = noise(1000)
    mixed = [as_bytes(0.6 * one + 0.4 * other if at in chosen else one) for at, one in enumerate(pictures)]
    (found,) = whole_image.judge([whole_image.spectrum_of(one) for one in mixed])
    assert (found.kind, [at for at, _ in found.samples]) == ("blend", chosen)
    wave = 30 * np.sin(2 * np.pi * np.arange(288) * 15 / 288)[None, :, None]
    waved = [as_bytes(one + wave if at in chosen else one) for at, one in enumerate(pictures)]
    kinds = {
        one.kind: [at for at, _ in one.samples] for one in whole_image.judge([*map(whole_image.spectrum_of, waved)])
    }
    assert set(kinds["sinusoid"]) == set(chosen)


def test_companions_tell_what_the_map_hides(cityscapes):
    """Cars become road in labelIds alone: every other file of the sample says so."""
    layout = find_layout("cityscapes")
    suspect = open_suspect(cityscapes, "cityscapes")
    told = set()
    for index in range(len(suspect.samples)):
        labels = read_maps(suspect, index)
        assert companions.disagreements(labels, layout.kinds, suspect.classes) == []
        ids = labels.maps[0].copy()
        cars = int((ids == 26).sum())
        ids[ids == 26] = 7
        lie = LabelContents(labels.raw, {**labels.arrays, labels.first: ids}, labels.semantic)
        found = companions.disagreements(lie, layout.kinds, suspect.classes)
        assert all((one.says, one.labelled) == (26, 7) for one in found)
        if cars > 200:
            told |= {one.kind for one in found}
    assert told == {kind for kind in suspect.layout.kinds if kind in labels.raw} - {"labelIds"}


def test_objects_of_voc_tell_that_something_was_there(voc):
    suspect = open_suspect(voc, "voc")
    found = []
    for index in range(len(suspect.samples)):
        labels = read_maps(suspect, index)
        assert companions.disagreements(labels, suspect.layout.kinds, suspect.classes) == []
        ids = np.where(labels.maps[0] == 255, 255, 0).astype(np.uint8)
        lie = LabelContents(labels.raw, {**labels.arrays, labels.first: ids}, labels.semantic)
        found.append(companions.disagreements(lie, suspect.layout.kinds, suspect.classes))
    figures = companions.judge(found)
    assert figures.pairs[0][:2] == (None, 0)
    assert figures.kinds == {"SegmentationObject": len(figures.samples)}


def test_the_same_picture_with_other_labels(cityscapes):
    suspect = open_suspect(cityscapes, "cityscapes")
    sample = suspect.samples[0]
    picture = decode((cityscapes / sample.image).read_bytes(), "x")
    looks = looks_of(np.ascontiguousarray(picture[..., :3]))
    classes = classes_of(read_maps(suspect, 0).maps[0], suspect.classes.void)
    number = int(np.bincount(classes[classes != MIXED]).argmax())
    other = np.where(classes == number, np.uint8(99), classes)
    codes = [companions.fingerprint_of(gray_of(np.ascontiguousarray(picture[..., :3])))] * 2
    true, lie = Cells(looks, classes), Cells(looks, other)
    assert companions.same_pictures(codes, [true, true]) == []
    assert companions.same_pictures(codes, [true, lie]) == [(0, 1)]
    assert companions.same_pictures([0, 1], [true, lie]) == []


def test_polygons_that_are_none_say_nothing():
    suspect_classes = find_layout("cityscapes").classes(None)
    for data in (b"", b"[]", b"{}", json.dumps({"imgHeight": 4, "imgWidth": 4, "objects": [{"label": 3}]}).encode()):
        assert companions._painted(data, (4, 4), suspect_classes) is None


def test_gate_of_random_labels_is_below_what_attacks_leave():
    assert random_labels._GATE < 8.7e-4 / 10
