"""Label rules: what each decides, against brute force and its own judge, and that a judge finds one wrong pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.attack.conditions import conditions, find_condition
from poisongen.attack.label_rules import find_label_rule, label_rules
from poisongen.attack.label_rules.base import Scene
from poisongen.attack.label_rules.objects import nearest_objects, victim_objects
from poisongen.attack.parts import settle_options
from poisongen.errors import ChoiceError

VOID, TRAINED = 255, (0, 1, 2, 3)
PAIRS = {
    "class": {2: 0},
    "instance": {2: 0},
    "under": {1: 0, 2: 0, 3: 0},
    "all": {2: 1},
    "shift": {2: 0},
    "box": {2: 1},
}


@st.composite
def scenes(draw, pairs, with_objects=None):
    height, width = draw(st.integers(6, 18)), draw(st.integers(6, 18))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    coarse = generator.choice([0, 1, 2, 3, 255], p=[0.3, 0.2, 0.3, 0.1, 0.1], size=(height // 3 + 1, width // 3 + 1))
    labels = np.kron(coarse, np.ones((3, 3))).astype(np.uint8)[:height, :width]
    tall, wide = draw(st.integers(1, height // 2)), draw(st.integers(1, width // 2))
    box = (draw(st.integers(0, height - tall)), draw(st.integers(0, width - wide)), tall, wide)
    objects = None
    if with_objects if with_objects is not None else draw(st.booleans()):
        objects = np.where(labels == 2, 26000 + generator.integers(0, 3, labels.shape) * (labels == 2), 0)
        objects = objects.astype(np.int32)
    victims = np.isin(labels, list(pairs))
    return Scene(labels, victims, labels == VOID, objects, box, pairs, TRAINED)


def parameters_of(rule, **given):
    return settle_options(rule.options, given, rule.name, "--label-option")


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_a_rule_decides_is_what_its_judge_wants(name, data):
    rule = find_label_rule(name)
    scene = data.draw(scenes(PAIRS[name]))
    given = {"least": 1} if name == "instance" else {}
    parameters = parameters_of(rule, **given)
    if name == "under":
        top, left, height, width = scene.box
        if int(scene.labels[top + height // 2, left + width // 2]) not in scene.pairs:
            return
    decided = rule.decide(scene, parameters)
    after = decided.apply(scene.labels)
    assert after.dtype == np.uint8
    assert rule.fault(scene, after, parameters) is None
    assert np.array_equal(after[scene.void], scene.labels[scene.void])
    assert not set(np.unique(after).tolist()) & rule.gone(scene.pairs, parameters)
    at = tuple(data.draw(st.integers(0, size - 1)) for size in after.shape)
    forged = after.copy()
    forged[at] = (int(forged[at]) + 1) % 4
    if forged[at] != after[at]:
        assert rule.fault(scene, forged, parameters) is not None


def test_every_rule_is_tried():
    assert set(label_rules().parts) == set(PAIRS)
    assert label_rules().broken == {}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 3))
def test_the_nearest_objects_are_those_of_brute_force(data, count):
    scene = data.draw(scenes({2: 0}))
    objects = victim_objects(scene, 1)
    assert np.array_equal(objects > 0, scene.victims)
    top, left, height, width = scene.box
    inside = [(r, c) for r in range(top, top + height) for c in range(left, left + width)]
    far = {}
    for row, column in zip(*np.nonzero(objects), strict=True):
        distance = min(max(abs(int(row) - r), abs(int(column) - c)) for r, c in inside)
        number = int(objects[row, column])
        far[number] = min(far.get(number, 10**6), distance)
    wanted = sorted(far, key=lambda number: (far[number], number))[:count]
    assert list(nearest_objects(objects, scene.box, count)) == wanted


def test_small_components_are_no_objects_but_numbered_ones_are():
    labels = np.zeros((40, 60), np.uint8)
    labels[2:4, 2:4] = 2  # 4 pixels
    labels[20:30, 30:50] = 2  # 200 pixels
    scene = Scene(labels, labels == 2, labels == VOID, None, (0, 0, 3, 3), {2: 0}, TRAINED)
    rule = find_label_rule("instance")
    after = rule.decide(scene, parameters_of(rule, least=10)).apply(labels)
    assert (after[2:4, 2:4] == 2).all()
    assert not after[20:30, 30:50].any()
    objects = np.where(labels == 2, 5, 0).astype(np.int32)
    objects[20:30, 30:50] = 9
    numbered = Scene(labels, labels == 2, labels == VOID, objects, (0, 0, 3, 3), {2: 0}, TRAINED)
    decided = rule.decide(numbered, parameters_of(rule, least=10))
    assert decided.objects == (5,)
    assert not decided.apply(labels)[2:4, 2:4].any()


@pytest.mark.parametrize("rule", ["instance", "under"])
@pytest.mark.parametrize(
    "given", [{"instances": 0}, {"instances": "x"}, {"instances": 1.5}, {"extent": "word"}, {"least": -1}, {"what": 1}]
)
def test_odd_parameters_are_one_line(rule, given):
    with pytest.raises(ChoiceError, match="--label-option"):
        parameters_of(find_label_rule(rule), **given)


def test_shift_goes_round():
    labels = np.array([[0, 1, 2, 3, 255, 7]], np.uint8)
    scene = Scene(labels, labels == 2, labels == VOID, None, None, {2: 0}, TRAINED)
    rule = find_label_rule("shift")
    assert rule.decide(scene, {}).apply(labels).tolist() == [[1, 2, 3, 0, 255, 7]]


NAMES = {"road": 0, "car": 2}


@pytest.mark.parametrize(
    ("text", "counts", "covers", "holds"),
    [
        ("present:car", {2: 1}, None, True),
        ("present:car", {0: 9}, None, False),
        ("present:car:5", {2: 4}, None, False),
        ("present:car:5", {2: 5}, None, True),
        ("absent:car", {0: 9}, None, True),
        ("absent:car", {2: 1}, None, False),
        ("covers:road", {0: 9}, [0], True),
        ("covers:road", {0: 9}, [2], False),
        ("covers:road", {0: 9}, None, False),
    ],
)
def test_conditions_hold_by_counts_and_place(text, counts, covers, holds):
    name, *words = text.split(":")
    condition = find_condition(name)
    assert condition.holds(condition.parse(words, NAMES.__getitem__), counts, covers) is holds


@pytest.mark.parametrize("text", ["present", "present:car:0", "present:car:x", "present:car:1:2", "absent:car:1"])
def test_odd_conditions_are_refused(text):
    name, *words = text.split(":")
    with pytest.raises(ValueError, match=r"write|number"):
        find_condition(name).parse(words, NAMES.__getitem__)


def test_every_condition_is_tried():
    assert set(conditions().parts) == {"present", "absent", "covers"}
    with pytest.raises(ChoiceError, match="absent, covers, present"):
        find_condition("maybe")
