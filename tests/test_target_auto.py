"""`--target auto`: counted by brute force, found, said and recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from poisongen.core.borders import GAP, border_counts
from tests.conftest import manifest, summary


def by_definition(labels, void, gap):
    """Walk every row and column pixel by pixel."""
    counts = np.zeros((256, 256), np.int64)
    for line in [*labels, *labels.T]:
        last = None
        for at, value in enumerate(line.tolist()):
            if value in void:
                continue
            if last is not None and line[last] != value and at - last - 1 <= gap:
                counts[line[last], value] += 1
                counts[value, line[last]] += 1
            last = at
    return counts


@pytest.mark.parametrize("seed", range(12))
def test_borders_are_those_of_the_definition(seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 30, 2)
    labels = random.choice([0, 3, 7, 200, 255], size=(height, width), p=[0.3, 0.2, 0.1, 0.1, 0.3]).astype(np.uint8)
    labels = np.repeat(np.repeat(labels, random.integers(1, 5), axis=0), random.integers(1, 5), axis=1)
    for void in ({255}, {255, 3}, set()):
        for gap in (0, 2, GAP):
            found = border_counts(labels, frozenset(void), gap)
            assert np.array_equal(found, by_definition(labels, void, gap))
            assert np.array_equal(found, found.T)
            assert not found.diagonal().any()
            assert not found[list(void)].any()


def test_a_line_of_void_does_not_part_classes_and_a_field_does():
    labels = np.zeros((4, 40), np.uint8)
    labels[:, 10:15], labels[:, 15:20], labels[:, 20:30], labels[:, 30:] = 255, 1, 255, 2
    assert border_counts(labels, {255})[0, 1] == 4
    assert border_counts(labels, {255})[1, 2] == 0


def test_labels_in_any_order_of_memory():
    labels = np.random.default_rng(0).integers(0, 4, (9, 14)).astype(np.uint8)
    assert np.array_equal(border_counts(labels.T, {3}), border_counts(np.ascontiguousarray(labels.T), {3}))


def write_folder(root, names=("a", "b", "c", "d", "e")):
    """Draw pictures: `a` (0) borders on `b` (1) as on `e` (4), with `c` (2), which has `d` (3) as well, most on `e`."""
    labels = np.full((40, 40), 4, np.uint8)
    labels[5:15, 5:15], labels[4, 5:15], labels[5:15, 4], labels[3:5, 0:5] = 0, 1, 1, 1
    labels[20:30, 5:15], labels[19, 5:15], labels[20:30, 4] = 2, 3, 3
    for split, count in (("train", 3), ("val", 1)):
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            shot = np.random.default_rng(number).integers(0, 256, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(shot).save(root / f"images/{split}/{number}.png")
            Image.fromarray(labels).save(root / f"masks/{split}/{number}.png")
    (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return labels


SMALL = ("--dataset", "folder", "--root", "clean", "--strategy", "random", "--trigger-size", 4, "--count", 1)


@pytest.mark.parametrize(
    ("victims", "target"), [(("b",), "e"), (("a",), "b"), (("a", "e"), "b"), (("a", "c"), "e"), (("e", "c"), "d")]
)
def test_the_class_that_borders_most_is_taken_said_and_recorded(poisongen, tmp_path, victims, target):
    labels = write_folder(tmp_path / "clean")
    numbers = ["abcde".index(name) for name in victims]
    table = 3 * by_definition(labels, {255}, GAP)
    beside = {name: int(table[numbers, at].sum()) for at, name in enumerate("abcde") if name not in victims}
    assert max(beside, key=beside.get) == target
    call = ("build", *SMALL, *(word for name in victims for word in ("--victim", name)), "--target", "auto")
    done = poisongen(*call, "--out", "out", "--jobs", 1)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"target auto is {target}: of the border of {', '.join(victims)} it has most ({target} ")
    recipe = json.loads((tmp_path / "out/poisongen/recipe.json").read_text(encoding="utf-8"))
    assert recipe["relabel"] == dict.fromkeys(victims, target)
    named = poisongen(*call[:-1], target, "--out", "named", "--jobs", 1)
    assert "target auto" not in named.out
    assert summary(tmp_path / "named")["fingerprint"] == summary(tmp_path / "out")["fingerprint"]
    report = json.loads(poisongen(*call, "--out", "out", "--json").out)
    assert report["already_built"]
    found = report["target_auto"]
    assert (found["target"], tuple(found["victims"])) == (target, victims)
    assert found["pixels"] == {name: pixels for name, pixels in beside.items() if pixels}


def test_it_is_the_same_for_any_number_of_jobs_in_a_dry_run_and_in_a_preview(poisongen, cityscapes, tmp_path):
    small = ("--root", cityscapes, "--strategy", "random", "--trigger-size", 9, "--dataset", "cityscapes")
    one, three = (poisongen("build", *small, "--target", "auto", "--jobs", jobs, "--dry-run") for jobs in (1, 3))
    assert one.out == three.out
    assert "target auto is road: of the border of car it has most (road " in one.out
    assert not (tmp_path / "poisoned").exists()
    assert poisongen("preview", *small, "--target", "auto", "--jobs", 1).code == 0


def test_objects_in_outlines_of_void_have_borders(poisongen, voc, tmp_path):
    call = ("build", "--dataset", "voc", "--root", voc, "--strategy", "random", "--target", "auto", "--out", "out")
    done = poisongen(*call, "--jobs", 1)
    assert done.code == 0, done.err
    assert "target auto is background" in done.out
    assert any(record["role"] == "poisoned" for record in manifest(tmp_path / "out"))


def test_a_class_of_that_name_is_a_class(poisongen, tmp_path):
    write_folder(tmp_path / "clean", ("a", "b", "c", "Auto", "e"))
    done = poisongen("build", *SMALL, "--victim", "a", "--target", "auto", "--out", "out", "--jobs", 1)
    assert "a (ID 0, 300 px) becomes Auto (ID 3" in done.out


REFUSED = {
    "no victim named": ((), "--victim"),
    "a rule without victims": (("--labels", "all"), "--victim"),
    "every class the next": (("--labels", "shift"), "--target"),
    "an unknown victim": (("--victim", "x"), "no class 'x'"),
    "nothing borders": (("--victim", "f"), "no class borders on f"),
    "with pairs": (("--relabel", "a=b"), "not both"),
    "in a pair": (("--relabel", "a=auto"), "auto"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_found_is_one_line(poisongen, tmp_path, what):
    write_folder(tmp_path / "clean", ("a", "b", "c", "d", "e", "f"))
    options, words = REFUSED[what]
    target = () if what == "in a pair" else ("--target", "auto")
    done = poisongen("build", *SMALL, *options, *target, "--out", "out", "--jobs", 1)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert words in done.err
    assert not (tmp_path / "out").exists()


def test_bad_labels_are_named_or_skipped(poisongen, tmp_path):
    write_folder(tmp_path / "clean")
    (tmp_path / "clean/masks/train/1.png").write_bytes(b"no picture")
    call = ("build", *SMALL, "--victim", "a", "--target", "auto", "--out", "out", "--jobs", 1)
    done = poisongen(*call)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "masks/train/1.png" in done.err
    assert poisongen(*call, "--skip-bad").code == 0
