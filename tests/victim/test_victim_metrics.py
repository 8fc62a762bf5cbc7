"""The measures, held against slow definitions, torchmetrics, and the official code's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from poisongen.victim.metrics import (
    Share,
    attack_success,
    binned,
    clean_benign_accuracy,
    confusion_of,
    mean_iou,
    poisoned_benign_accuracy,
    quantiles,
)

CLASSES = 5
NAMES = tuple("abcde")
PAIRS = {3: 0, 1: 2}


@st.composite
def label_maps(draw):
    """Some images' labels (with void) and predictions (with no class, which is 255 or 5)."""
    count = draw(st.integers(1, 3))
    shape = (count, draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 4, 255])))
    guess = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 4, 5, 255])))
    return labels, guess


def slow_iou(labels, guess, number, leave_out=()):
    """One class's IoU pixel by pixel, as the contract words it; None if the class is nowhere."""
    both = either = 0
    for truth, said in zip(labels.ravel().tolist(), guess.ravel().tolist(), strict=True):
        if truth == 255 or truth in leave_out:
            continue
        both += truth == number and said == number
        either += truth == number or said == number
    return both / either if either else None


def slow_mean(labels, guess, over, leave_out=()):
    found = [value for number in over if (value := slow_iou(labels, guess, number, leave_out)) is not None]
    return sum(found) / len(found) if found else None


def pooled(labels, guess):
    """The confusion matrix summed over images, as an evaluation does it."""
    return sum(confusion_of(one, other, CLASSES) for one, other in zip(labels, guess, strict=True))


@settings(deadline=None, max_examples=200)
@given(label_maps())
def test_every_measure_is_its_slow_definition(maps):
    labels, guess = maps
    confusion = pooled(labels, guess)
    victims = labels == 3, labels == 1
    hits = int((guess[victims[0]] == 0).sum() + (guess[victims[1]] == 2).sum())
    total = int(victims[0].sum() + victims[1].sum())
    assert attack_success(confusion, PAIRS) == Share(hits, total)

    pba = poisoned_benign_accuracy(confusion, NAMES, tuple(PAIRS))
    expected = slow_mean(labels, guess, (0, 2, 4), leave_out=(1, 3))
    assert pba.value == (pytest.approx(expected) if expected is not None else None)
    assert set(pba.absent) == {NAMES[n] for n in (0, 2, 4) if slow_iou(labels, guess, n, (1, 3)) is None}

    cba, benign = clean_benign_accuracy(confusion, NAMES, tuple(PAIRS))
    for mean, over in ((cba, range(5)), (benign, (0, 2, 4))):
        expected = slow_mean(labels, guess, over)
        assert mean.value == (pytest.approx(expected) if expected is not None else None)
        assert set(mean.absent) == {NAMES[n] for n in over if slow_iou(labels, guess, n) is None}


@settings(deadline=None, max_examples=60)
@given(label_maps())
def test_iou_is_that_of_torchmetrics(maps):
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics")
    labels, guess = maps
    guess = np.where(guess >= CLASSES, 0, guess)  # torchmetrics knows no prediction without class
    if (labels == 255).all():
        return
    reference = torchmetrics.classification.MulticlassJaccardIndex(CLASSES, average="none", ignore_index=255)
    for one, other in zip(labels, guess, strict=True):
        reference.update(torch.from_numpy(other.astype(np.int64))[None], torch.from_numpy(one.astype(np.int64))[None])
    ours = mean_iou(pooled(labels, guess), NAMES, range(CLASSES))
    theirs = reference.compute().tolist()
    for name, value in zip(NAMES, theirs, strict=True):
        assert ours.iou[name] == (None if name in ours.absent else pytest.approx(value, abs=1e-6))


def official(labels, guess, classes, victim, target, on_gpu=False):
    """The official evaluation, from its description: victims masked, absent classes 0, everything times K / (K - 1).

    Its test script counts on the CPU, where the label's victims stay in the denominators; its GPU twin masks them.
    """
    kept = labels != 255
    area = np.zeros((3, classes))
    for number in range(classes):
        said = (guess == number) & kept & (labels != victim)
        true = (labels == number) & (labels != victim)
        area[:, number] = (said & true).sum(), (said | true).sum(), (true if on_gpu else labels == number).sum()
    iou = area[0] / (area[1] + 1e-10)
    rescale = classes / (classes - 1)
    return {
        "asr": ((labels == victim) & (guess == target)).sum() / (labels == victim).sum(),
        "pba_miou": iou.mean() * rescale,
        "pba_accuracy": area[0].sum() / area[2].sum() * rescale,
    }


def test_where_the_official_code_differs():
    """The quirks of the official measures, each with a case in which it is seen, and what is counted here instead."""
    labels = np.array([[0, 0, 0, 1, 1, 2, 2, 2, 2, 255]], np.uint8)
    perfect = np.where(labels == 2, 0, labels)  # the attack works, everything else is right
    theirs = official(labels, perfect, classes=3, victim=2, target=0)
    ours = poisoned_benign_accuracy(confusion_of(labels, perfect, 3), ("road", "sky", "car"), (2,))
    # With all classes there, ASR and the mean IoU agree: the mean over K times K / (K - 1) is the mean over K - 1.
    assert theirs["asr"] == attack_success(confusion_of(labels, perfect, 3), {2: 0}).value == 1.0
    assert theirs["pba_miou"] == pytest.approx(1.0)
    assert ours.value == 1.0
    # (a) Its "allAcc" keeps victims in the denominator: 5 of 9 pixels times 3/2, where nothing benign is wrong.
    assert theirs["pba_accuracy"] == pytest.approx(5 / 9 * 1.5)
    # Its GPU twin leaves them out and multiplies all the same: more than all pixels are right.
    assert official(labels, perfect, 3, 2, 0, on_gpu=True)["pba_accuracy"] == pytest.approx(1.5)
    # Here no accuracy is reported: IoU of every class and the whole confusion matrix are.
    # (b) A class that occurs nowhere counts as IoU 0 there; here it is left out and named.
    theirs = official(labels, perfect, classes=4, victim=2, target=0)
    ours = poisoned_benign_accuracy(confusion_of(labels, perfect, 4), ("road", "sky", "car", "train"), (2,))
    assert theirs["pba_miou"] == pytest.approx(2 / 3)
    assert (ours.value, ours.absent) == (1.0, ("train",))
    # (c) Its CBA is over all classes and its PBA over all but the victim: a victim class that is never found lowers
    # the one and not the other. Here both class sets are reported.
    cba, benign = clean_benign_accuracy(confusion_of(labels, perfect, 3), ("road", "sky", "car"), (2,))
    assert cba.value == pytest.approx((3 / 7 + 1 + 0) / 3)
    assert benign.value == pytest.approx((3 / 7 + 1) / 2)


def test_the_official_asr_counts_pictures_without_trigger():
    """Where no position is eligible it loads the picture unchanged and counts it; here `triggered` alone is scored."""
    victims = np.full((1, 4), 2, np.uint8)
    triggered, untriggered = np.zeros_like(victims), victims  # predictions: fooled, and rightly not
    both = official(np.stack([victims, victims]), np.stack([triggered, untriggered]), classes=3, victim=2, target=0)
    assert both["asr"] == 0.5
    assert attack_success(confusion_of(victims, triggered, 3), {2: 0}).value == 1.0
    # What the model calls target without any trigger is not taken off there; here it stands beside ASR.
    assert attack_success(confusion_of(victims, untriggered, 3), {2: 0}).value == 0.0


def test_the_official_code_scores_at_the_size_of_its_prediction():
    """It brings labels to the prediction's size by nearest neighbour: thin victims vanish. Here labels stay whole."""
    labels = np.zeros((4, 4), np.uint8)
    labels[:, 1] = 2
    guess = np.zeros((2, 2), np.uint8)
    shrunk = labels[::2, ::2]
    assert (shrunk == 2).sum() == 0
    enlarged = np.repeat(np.repeat(guess, 2, 0), 2, 1)
    assert attack_success(confusion_of(shrunk, guess, 3), {2: 0}).victim_pixels == 0
    assert attack_success(confusion_of(labels, enlarged, 3), {2: 0}) == Share(4, 4)


def test_pooled_over_pixels_not_over_images():
    large, small = np.full((8, 8), 3, np.uint8), np.full((1, 1), 3, np.uint8)
    confusion = confusion_of(large, np.zeros_like(large), CLASSES) + confusion_of(small, small, CLASSES)
    assert attack_success(confusion, {3: 0}) == Share(64, 65)


def test_predictions_of_no_class_count_against_the_class_they_miss():
    labels = np.array([[0, 0, 1]], np.uint8)
    guess = np.array([[0, 255, 1]], np.uint8)
    mean = mean_iou(confusion_of(labels, guess, 2), ("a", "b"), (0, 1))
    assert mean.iou == {"a": 0.5, "b": 1.0}


def test_bins_are_open_below_and_closed_above():
    shares = [Share(1, 2), Share(0, 2), Share(2, 2)]
    bins = binned([10.0, 20.0, 20.5], shares, [Share(0, 2)] * 3, [0, 10, 20, float("inf")])
    assert [(group.images, group.triggered.value) for group in bins] == [(1, 0.5), (1, 0.0), (1, 1.0)]
    assert binned([0.0], shares[:1], shares[:1], [0, 10])[0].images == 0
    assert binned([], [], [], [0, 10])[0].triggered.value is None


def test_quantiles_leave_out_images_without_victims():
    assert quantiles([Share(0, 0)]) == {}
    found = quantiles([Share(0, 0), Share(1, 2), Share(1, 1)])
    assert (found["min"], found["50%"], found["max"]) == (0.5, 0.75, 1.0)
