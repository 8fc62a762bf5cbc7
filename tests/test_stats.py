"""`stats`: figures against a brute force, what could be poisoned against what a build poisons, and hostile trees."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.building.run import build, plan_build
from poisongen.core.placement import PlacementRules, eligible_boxes
from poisongen.core.room import classes_with_room
from poisongen.datasets import find_layout
from poisongen.errors import ChoiceError
from poisongen.source.listing import list_files
from tests.conftest import SMALL_CITYSCAPES, draw_cityscapes, draw_voc, tree_digest
from tests.test_target_auto import by_definition

NAMES = ("a", "b", "c", "void-like", "e")
needs_matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra `report`")


def blocks(seed, height=40, width=60, classes=(0, 1, 2, 4)):
    """Draw a label map of coarse blocks, so that some classes have room for a trigger and others have none."""
    random = np.random.default_rng(seed)
    small = random.choice(classes, size=(5, 6))
    labels = np.repeat(np.repeat(small, 8, axis=0), 10, axis=1).astype(np.uint8)
    labels[random.integers(0, height, 30), random.integers(0, width, 30)] = random.choice(classes, 30)
    return labels


def picture(labels, seed=0):
    noise = np.random.default_rng(seed).integers(0, 200, (*labels.shape, 3)).astype(np.uint8)
    return noise + labels[..., None] % 50


def write_folder(root, classes_text=None):
    for split, count in (("train", 7), ("val", 3)):
        for number in range(count):
            labels = blocks(100 * len(split) + number, classes=(0, 1, 2, 4, 9) if number else (0, 1))
            for folder, pixels in (("images", picture(labels)), ("masks", labels)):
                (root / folder / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / f"{folder}/{split}/{number}.png")
    (root / "classes.yaml").write_text(
        classes_text or "classes: {0: a, 1: b, 2: c, 3: d, 4: e, 9: nothing}\nvoid: [9]\n"
    )
    return root


def write_camvid(root):
    for split, count in (("train", 5), ("val", 2), ("test", 2)):
        for number in range(count):
            labels = blocks(7 * len(split) + number, classes=(0, 1, 3, 8, 11))
            for folder, pixels in ((split, picture(labels)), (f"{split}annot", labels)):
                (root / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / folder / f"0001TP_{number:06}.png")
    return root


TREES = {"cityscapes": draw_cityscapes, "voc": draw_voc, "camvid": write_camvid, "folder": write_folder}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return {name: draw(tmp_path_factory.mktemp(name)) for name, draw in TREES.items()}


def maps_of(root, dataset):
    """Return every split's label maps by sample, as PIL reads them."""
    layout = find_layout(dataset)
    index = layout.scan(root, [file.path for file in list_files(root)])
    found = {}
    for split, samples in index.samples.items():
        paths = [next(label.path for label in s.labels if layout.kinds[label.kind].semantic) for s in samples]
        found[split] = [np.asarray(Image.open(root / path)) for path in paths]
    return {split: maps for split, maps in found.items() if maps}, layout.classes(root)


@pytest.mark.parametrize("dataset", TREES)
def test_every_figure_is_that_of_a_brute_force(dataset, trees):
    found = package.stats(trees[dataset], {"dataset": dataset}, jobs=1)
    maps, classes = maps_of(trees[dataset], dataset)
    assert (found.dataset, set(found.splits)) == (dataset, set(maps))
    for split, facts in found.splits.items():
        mine = maps[split]
        assert facts.samples == len(mine)
        assert facts.pixels == sum(labels.size for labels in mine)
        assert dict(facts.sizes) == Counter(f"{labels.shape[1]}x{labels.shape[0]}" for labels in mine)
        borders = sum(by_definition(labels, classes.void, 8) for labels in mine)
        solid = sum(int((~np.isin(labels, list(classes.void))).sum()) for labels in mine)
        assert [row.id for row in facts.classes] == sorted(classes.names)
        for row in facts.classes:
            assert row.name == classes.names[row.id]
            assert row.pixels == sum(int((labels == row.id).sum()) for labels in mine)
            assert row.samples == sum(bool((labels == row.id).any()) for labels in mine)
            assert row.void == (row.id in classes.void)
            assert row.share == (None if row.void else pytest.approx(row.pixels / solid))
            beside = {classes.names[other]: int(borders[row.id, other]) for other in np.flatnonzero(borders[row.id])}
            assert dict(row.borders) == beside
            assert list(row.borders.values()) == sorted(beside.values(), reverse=True)
        pairs = {(pair.first, pair.second): (pair.samples, pair.border) for pair in facts.pairs}
        wanted = {}
        for one, other in itertools.combinations(sorted(classes.names), 2):
            both = sum(bool((labels == one).any() and (labels == other).any()) for labels in mine)
            if both:
                wanted[classes.names[one], classes.names[other]] = (both, int(borders[one, other]))
        assert pairs == wanted


PLACINGS = {
    "anywhere": {"trigger_size": 7},
    "no room in most classes": {"trigger_size": 12, "edge_margin": 3},
    "next to it": {"strategy": "nn", "trigger_size": 7, "max_distance": 9},
    "far": {"strategy": "far", "trigger_size": 5, "min_distance": 25},
    "any ground": {"trigger_size": 17, "region": "any"},
    "a fixed place": {"strategy": "fixed", "at": "centre", "trigger_size": 9},
    "on the victim": {"strategy": "on", "trigger_size": 9},
    "many pixels": {"trigger_size": 7, "min_victim_pixels": 300},
    "half size": {"trigger_size": 5, "scale": 0.5},
    "too large": {"trigger_size": 2000},
    "whole picture": {"trigger_kind": "sinusoid"},
    "faint": {"trigger_size": 7, "opacity": 0.01},
}


def by_building(root, choices, victim, target, split):
    """Return how many samples a build without limit poisons, and why it passes others over."""
    wanted = {"strategy": "random", **choices, "victim": victim, "target": target, "train_split": split, "rate": 1.0}
    if choices.get("trigger_kind"):
        del wanted["strategy"]
    wanted |= {"allow_fewer": True, "test_split": "none"}
    try:
        plan = plan_build(wanted, root, jobs=1)[1]
    except ChoiceError as error:
        if " 0 can be" in str(error):
            return 0, None
        raise
    return plan.counts["poisoned"], plan.reasons()


@pytest.mark.parametrize("what", PLACINGS)
@pytest.mark.parametrize("dataset", ["folder", pytest.param("camvid", marks=pytest.mark.slow)])
def test_what_could_be_poisoned_is_what_a_build_poisons(what, dataset, trees):
    choices = {"dataset": dataset, **PLACINGS[what]}
    found = package.stats(trees[dataset], choices, jobs=1)
    for split in ("train", "val"):
        facts = found.splits[split]
        assert facts.together is None
        for row in facts.classes:
            if row.void:
                assert (row.candidates, row.possible) == (None, None)
                continue
            target = next(other.name for other in facts.classes if not other.void and other is not row)
            assert row.possible == by_building(trees[dataset], choices, row.name, target, split)[0], (row.name, split)
            assert row.possible <= row.candidates <= row.samples


def test_the_real_layouts_as_well(trees):
    for dataset, size, victims in (("cityscapes", 9, ("car", "person")), ("voc", 15, ("person", "car"))):
        choices = {"dataset": dataset, "strategy": "nn", "trigger_size": size, "max_distance": 20}
        rows = {row.name: row for row in package.stats(trees[dataset], choices, jobs=1).splits["train"].classes}
        for victim in victims:
            target = "sky" if dataset == "cityscapes" else "background"
            assert rows[victim].possible == by_building(trees[dataset], choices, victim, target, "train")[0]


@pytest.mark.parametrize("what", ["next to it", "no room in most classes", "too large", "many pixels"])
def test_victims_together_with_reasons(what, trees):
    choices = {"dataset": "folder", **PLACINGS[what], "victim": ["a", "c"]}
    facts = package.stats(trees["folder"], choices, jobs=1, splits=["train"]).splits["train"]
    possible, reasons = by_building(trees["folder"], choices, ["a", "c"], "b", "train")
    assert facts.together.victims == ("a", "c")
    assert facts.together.possible == possible
    assert facts.together.candidates == possible + sum(facts.together.reasons.values())
    if reasons is not None:
        assert dict(facts.together.reasons) == reasons
    assert all(row.possible is None for row in facts.classes)


def test_conditions_and_rules_of_every_class_count(trees):
    root = trees["folder"]
    condition = {"dataset": "folder", "trigger_size": 5, "only_if": ["present:c"]}
    rows = {row.name: row for row in package.stats(root, condition, jobs=1).splits["train"].classes}
    assert 0 < rows["a"].possible < rows["a"].samples
    assert rows["a"].possible == by_building(root, condition, "a", "b", "train")[0]
    shift = package.stats(root, {"dataset": "folder", "trigger_size": 5, "labels": "shift"}, jobs=1)
    assert shift.splits["train"].together.possible == 7
    assert set(shift.splits["train"].together.victims) == {"a", "b", "c", "d", "e"}


@pytest.mark.parametrize("dataset", TREES)
def test_the_first_neighbour_is_what_target_auto_takes(dataset, trees):
    root, small = trees[dataset], {"trigger_size": 5, "strategy": "random", "test_split": "none", "rate": 1.0}
    rows = (
        package.stats(root, {"dataset": dataset, "trigger_size": 5}, jobs=1, splits=["train"]).splits["train"].classes
    )
    there = [row for row in rows if row.borders and row.possible]
    assert len(there) >= 2
    for row in there[:4]:
        choices = {"dataset": dataset, **small, "victim": row.name, "target": "auto", "allow_fewer": True}
        bordering = plan_build(choices, root, jobs=1)[0].bordering
        assert bordering.target == next(iter(row.borders))
        assert list(bordering.pixels.items()) == list(row.borders.items())


@pytest.mark.parametrize("seed", range(20))
def test_room_for_all_classes_at_once_is_room_for_each(seed):
    random = np.random.default_rng(seed)
    labels = blocks(seed, classes=(0, 1, 2, 255))[: random.integers(6, 40), : random.integers(6, 60)]
    tall, wide, margin = (int(number) for number in random.integers((1, 1, 0), (9, 9, 4)))
    rules = PlacementRules(tall, wide, margin, None, None, "chebyshev", "single", "uniform")
    room, nobody = classes_with_room(labels, rules), np.zeros(labels.shape, dtype=bool)
    for number in (0, 1, 2, 255):
        others = labels != number
        boxes = eligible_boxes(labels, nobody, others, np.zeros(labels.shape, np.float32), rules)
        assert (number in room) == bool(boxes.any())


def test_any_number_of_jobs_and_nothing_is_written(trees, tmp_path):
    before = tree_digest(trees["folder"])
    one, three = (
        package.stats(trees["folder"], {"dataset": "folder", "trigger_size": 7}, jobs=jobs) for jobs in (1, 3)
    )
    assert one == three
    only = package.stats(trees["folder"], {"dataset": "folder", "trigger_size": 7}, splits="val", jobs=1)
    assert only.splits == {"val": one.splits["val"]}
    assert tree_digest(trees["folder"]) == before


def test_the_table_and_the_json(poisongen, trees):
    call = ("stats", trees["folder"], "--dataset", "folder", "--jobs", 1)
    done = poisongen(*call, "--trigger-size", 7, "--split", "train")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"{trees['folder']}, train: 7 samples, 60x40 px (7)"
    assert lines[1].split()[:2] == ["ID", "class"]
    assert "not there: d" in lines
    assert lines[-1] == "can be poisoned: with that class as only victim, strategy random, trigger of 7 px"
    document = json.loads(poisongen(*call, "--trigger-size", 7, "--json").out)
    assert set(document["splits"]) == {"train", "val"}
    row = document["splits"]["train"]["classes"][0]
    text = next(line for line in lines if line.split()[:2] == ["0", "a"])
    assert text.split()[2] == str(row["pixels"])
    assert {"id", "name", "void", "pixels", "samples", "share", "borders", "candidates", "possible"} == set(row)
    named = poisongen(*call, "--victim", "b", "--strategy", "nn", "--max-distance", 9, "--trigger-size", 7)
    assert "b: " in named.out
    assert "candidates among 7 samples can be poisoned (strategy nn, trigger of 7 px)" in named.out
    assert "beside b" in named.out


def test_without_a_trigger_size_it_counts_all_the_same(poisongen, trees):
    done = poisongen("stats", trees["folder"], "--dataset", "folder", "--jobs", 1)
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("samples that could be poisoned: not known (--trigger-size is missing")
    asked = poisongen("stats", trees["folder"], "--dataset", "folder", "--strategy", "nn")
    assert asked.code == 2
    assert "is missing: the layout 'folder' has no default" in asked.err


def test_a_recipe_file_says_whom_and_where(poisongen, trees, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "dataset: folder\nstrategy: nn\nmax_distance: 9\ntrigger_size: 7\nvictim: b\ntarget: a\n"
    )
    done = json.loads(poisongen("stats", trees["folder"], "--recipe", "mine.yaml", "--json", "--jobs", 1).out)
    choices = {"dataset": "folder", "strategy": "nn", "max_distance": 9, "trigger_size": 7}
    assert (
        done["splits"]["train"]["together"]["possible"] == by_building(trees["folder"], choices, "b", "a", "train")[0]
    )


def test_a_build_counts_as_what_it_is(poisongen, cityscapes, tmp_path):
    """Of a poisoned dataset its own splits are counted, less cars in the poisoned samples; it knows its layout."""
    clean = package.stats(cityscapes, {"dataset": "cityscapes", "trigger_size": 9}, jobs=1).splits
    result = build(
        {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}, cityscapes, "out", jobs=1
    )
    assert result.counts["triggered"]
    done = json.loads(poisongen("stats", "out", "--trigger-size", 9, "--json", "--jobs", 1).out)["splits"]
    assert {split: facts["samples"] for split, facts in done.items()} == {"train": 10, "val": 4}
    cars = [next(row.samples for row in facts.classes if row.name == "car") for facts in (clean["train"], clean["val"])]
    after = [
        next(row["samples"] for row in done[split]["classes"] if row["name"] == "car") for split in ("train", "val")
    ]
    assert after == [cars[0] - result.counts["poisoned"], cars[1]]


@needs_matplotlib
@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_the_plot_by_its_suffix_and_the_same_each_time(suffix, magic, poisongen, trees):
    call = ("stats", trees["folder"], "--dataset", "folder", "--trigger-size", 7, "--jobs", 1, "--plot")
    for name in ("one", "two"):
        done = poisongen(*call, f"{name}.{suffix}")
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines()[-1] == f"{name}.{suffix}: look at it"
    data, again = (Path(f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert data == again
    assert data.startswith(magic)
    if suffix == "svg":
        text = data.decode()
        assert "of the samples with a class" in text
        assert text.count(">nothing<") == 0  # void


@pytest.mark.slow
@needs_matplotlib
def test_a_plot_of_odd_names_many_classes_and_nothing(poisongen, tmp_path):
    names = ["$x^$", "<b>&amp;", "\\frac{", "日本", "_", "%s{0}"]
    text = json.dumps({"classes": {str(n): names[n] for n in (0, 1, 2, 4, 5)} | {"9": "n"}, "void": [9]})
    root = write_folder(tmp_path / "odd", text)
    done = poisongen("stats", root, "--dataset", "folder", "--trigger-size", 7, "--plot", "odd.svg", "--jobs", 1)
    assert (done.code, done.err) == (0, "")
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.full((40, 60), 9, np.uint8)).save(path)
    empty = poisongen("stats", root, "--dataset", "folder", "--trigger-size", 7, "--plot", "void.pdf", "--jobs", 1)
    assert (empty.code, empty.err) == (0, "")
    many = np.arange(2400, dtype=np.int64).reshape(40, 60) % 60
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(many.astype(np.uint8)).save(path)
    (root / "classes.yaml").write_text(json.dumps({"classes": {str(n): f"c{n}" for n in range(60)}, "void": []}))
    done = poisongen("stats", root, "--dataset", "folder", "--trigger-size", 7, "--plot", "many.svg", "--jobs", 1)
    assert (done.code, done.err) == (0, "")
    assert "the 40 largest of 60 classes" in (tmp_path / "many.svg").read_text()


@needs_matplotlib
def test_a_plot_goes_nowhere_else(poisongen, trees, tmp_path):
    call = ("stats", trees["folder"], "--dataset", "folder", "--trigger-size", 7, "--jobs", 1, "--plot")
    (tmp_path / "target.png").write_bytes(b"mine")
    (tmp_path / "link.png").symlink_to("target.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    before = tree_digest(trees["folder"])
    for name in (
        "plot.gif",
        "plot",
        "link.png",
        "folder.png",
        "pipe.png",
        trees["folder"] / "plot.png",
        "target.png/x.png",
    ):
        done = poisongen(*call, name)
        assert done.code == 2, name
        assert done.err.startswith("poisongen: --plot: "), done.err
        assert done.err.count("\n") == 1
    assert (tmp_path / "target.png").read_bytes() == b"mine"
    assert tree_digest(trees["folder"]) == before


def test_without_matplotlib_one_line_says_so(poisongen, trees, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = poisongen("stats", trees["folder"], "--dataset", "folder", "--plot", "plot.png")
    assert done.code == 2
    assert "matplotlib" in done.err
    assert done.err.count("\n") == 1


def _no_picture(root):
    (root / "masks/train/1.png").write_bytes(b"no picture")


def _cut_off(root):
    path = root / "masks/train/1.png"
    path.write_bytes(path.read_bytes()[:-40])


def _other_size(root):
    Image.fromarray(np.zeros((39, 60), np.uint8)).save(root / "masks/train/1.png")


def _unknown_class(root):
    Image.fromarray(np.full((40, 60), 77, np.uint8)).save(root / "masks/train/1.png")


def _sixteen_bits(root):
    Image.fromarray(np.full((40, 60), 1, np.uint16)).save(root / "masks/train/1.png")


def _no_mask(root):
    (root / "masks/train/1.png").unlink()


def _broken_image(root):
    (root / "images/train/1.png").write_bytes(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "deed", [_no_picture, _cut_off, _other_size, _unknown_class, _sixteen_bits, _no_mask, _broken_image]
)
def test_bad_files_are_named_or_left_out(deed, poisongen, tmp_path):
    root = write_folder(tmp_path / "bad")
    deed(root)
    call = ("stats", root, "--dataset", "folder", "--trigger-size", 5)
    for jobs in (1, 2):
        done = poisongen(*call, "--jobs", jobs)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "train/1" in done.err
        assert "Traceback" not in done.err
    skipping = poisongen(*call, "--skip-bad", "--jobs", 1, "--json")
    assert skipping.code == 0, skipping.err
    facts = json.loads(skipping.out)["splits"]
    assert (facts["train"]["samples"], facts["val"]["samples"]) == (6, 3)
    assert [row[0] for row in facts["train"]["left_out"]] == ["train/1"]
    assert facts["val"]["left_out"] == []
    assert "left out: " in poisongen(*call, "--skip-bad", "--jobs", 1).out
    assert poisongen(*call, "--split", "val", "--jobs", 1).code == 0  # what is bad elsewhere does not matter


REFUSED = {
    "no such folder": (("nowhere", "--dataset", "folder"), "ROOT: nowhere does not exist"),
    "a file": (("file", "--dataset", "folder"), "ROOT: file is not a folder"),
    "an empty folder": (("empty", "--dataset", "folder"), "the folder is empty"),
    "no dataset": (("tree",), "--dataset is missing"),
    "an unknown layout": (("tree", "--dataset", "x"), "--dataset"),
    "another layout": (("tree", "--dataset", "cityscapes"), "tree"),
    "no such split": (("tree", "--dataset", "folder", "--split", "x"), "--split: the dataset has no split 'x'"),
    "no such victim": (("tree", "--dataset", "folder", "--trigger-size", 5, "--victim", "x"), "no class 'x'"),
    "no such target": (
        ("tree", "--dataset", "folder", "--trigger-size", 5, "--victim", "a", "--target", "x"),
        "no class 'x'",
    ),
    "void as victim": (("tree", "--dataset", "folder", "--trigger-size", 5, "--victim", "nothing"), "is void"),
    "every class a victim": (
        ("tree", "--dataset", "folder", "--trigger-size", 5, *(w for n in "abcde" for w in ("--victim", n))),
        "--victim: every class",
    ),
    "a strange recipe": (("tree", "--recipe", "file"), "file"),
    "no jobs": (("tree", "--dataset", "folder", "--jobs", 0), "--jobs"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_sense_is_one_line(what, poisongen, tmp_path):
    write_folder(tmp_path / "tree")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("[1, 2")
    call, words = REFUSED[what]
    done = poisongen("stats", *call)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert words in done.err


def test_one_class_all_void_and_control_characters(poisongen, tmp_path):
    root = write_folder(tmp_path / "one", "classes: {0: a}\nvoid: [1, 2, 4, 9]\n")
    done = poisongen("stats", root, "--dataset", "folder", "--trigger-size", 5, "--jobs", 1)
    assert done.code == 0, done.err
    assert "one class has no victim and target" in done.out
    text = json.dumps({"classes": {"0": "a\u001b[31m", "1": "b", "2": "c", "4": "e"}, "void": [9]})
    root = write_folder(tmp_path / "two", text)
    done = poisongen("stats", root, "--dataset", "folder", "--trigger-size", 5, "--jobs", 1)
    assert "\x1b" not in done.out + done.err
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.full((40, 60), 9, np.uint8)).save(path)
    (root / "classes.yaml").write_text("classes: {0: a, 1: b}\nvoid: [9]\n")
    document = json.loads(
        poisongen("stats", root, "--dataset", "folder", "--trigger-size", 5, "--json", "--jobs", 1).out
    )
    assert document["splits"]["train"]["classes"][0]["share"] is None


def test_it_finds_the_usual_place(poisongen, cityscapes, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(cityscapes))
    assert poisongen("stats", *SMALL_CITYSCAPES, "--jobs", 1).code == 0
