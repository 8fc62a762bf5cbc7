"""Sweeps that do not mix: whatever determines a cell's figures is in its key, and what is wrong is said at once."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import yaml
from PIL import Image

from poisongen.errors import ChoiceError, DataError
from poisongen.victim.sweep_key import digest_of, make_jobs, read_content
from poisongen.victim.sweep_plan import read_sweep
from poisongen.victim.sweep_table import collect, markdown

BASE = {
    "dataset": "folder",
    "clean": True,
    "build": {"victim": "car", "target": "road", "trigger": "mark.png", "trigger_size": 9, "region": "any"},
    "train": {"model": "unet", "encoder": "tu-mobilenetv4_conv_small_050", "epochs": 1, "batch": 4},
    "evaluate": {"distances": "4-9", "test_on": {"strategy": "random"}},
    "grid": {"strategy": ["random", {"name": "near", "strategy": "nn", "max_distance": 9}], "seed": [0]},
}


@pytest.fixture
def place(folders, tmp_path, monkeypatch):
    """A folder with a clean dataset, a trigger, weights and a sweep file; `place.write(...)` changes the file."""
    monkeypatch.chdir(tmp_path)
    folders.write(tmp_path / "clean", {"train": 12, "val": 6})
    draw(tmp_path / "mark.png", 200)
    (tmp_path / "encoder.pth").write_bytes(b"weights")

    class Place:
        file, out, root = tmp_path / "grid.yaml", tmp_path / "out", tmp_path / "clean"

        @staticmethod
        def write(**changes):
            document = {**BASE, "root": str(tmp_path / "clean")}
            for key, value in changes.items():
                both = isinstance(value, dict) and isinstance(document.get(key), dict) and key != "grid"
                document[key] = {**document[key], **value} if both else value
            Place.file.write_text(yaml.safe_dump(document, sort_keys=False))
            return Place.file

    Place.write()
    return Place


def draw(path, colour):
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[..., 0], picture[..., 3] = colour, 255
    Image.fromarray(picture).save(path)


def keys(place):
    """Return the keys of model and figures of every cell, by the cell's words."""
    sweep = read_sweep(place.file)
    jobs = make_jobs(sweep, read_content(sweep.dataset, sweep.root, 1, False))
    return {job.cell.words: (job.cell.key, digest_of(job.figured_by)) for job in jobs}


def edit_label(place):
    """Another label: the file's size and time of change stay."""
    path = place.root / "masks/val/003.png"
    edit_keeping_size(path)


def edit_training_image(place):
    edit_keeping_size(place.root / "images/train/003.png")


def edit_keeping_size(path):
    facts, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def one_more_picture(place):
    for folder in ("images", "masks"):
        (place.root / folder / "val/100.png").write_bytes((place.root / folder / "val/003.png").read_bytes())


def other_classes(place):
    (place.root / "classes.yaml").write_text("classes: {0: street, 1: sky, 2: car}\nvoid: [255]\n")
    place.write(build={"target": "street"})


def other_root(place):
    from shutil import copytree

    copytree(place.root, place.root.parent / "copy")
    edit_keeping_size(place.root.parent / "copy/images/val/000.png")
    place.write(root=str(place.root.parent / "copy"))


@pytest.mark.parametrize("edit", [edit_label, edit_training_image, one_more_picture, other_classes, other_root])
def test_another_dataset_is_another_experiment(place, edit):
    before = keys(place)
    edit(place)
    after = keys(place)
    assert before.keys() == after.keys()
    assert all(before[words][0] != after[words][0] for words in before)


def test_another_trigger_is_another_experiment_but_not_another_clean_model(place):
    before = keys(place)
    draw(place.root.parent / "mark.png", 100)
    after = keys(place)
    for words in before:
        clean = words.startswith("strategy=clean")
        assert (before[words][0] == after[words][0]) == clean
        assert before[words][1] != after[words][1]


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"epochs": 2}},
        {"train": {"lr": 0.5}},
        {"train": {"amp": "off"}},
        {"train": {"encoder": "resnet18"}},
        {"train": {"weights": "encoder.pth"}},
        {"grid": {**BASE["grid"], "seed": [1]}},
    ],
)
def test_another_training_is_another_model(place, change):
    before = {key for pair in keys(place).values() for key in pair}
    place.write(**change)
    assert not before & {key for pair in keys(place).values() for key in pair}


def test_other_weights_under_the_same_name_are_another_model(place):
    place.write(train={"weights": "encoder.pth"})
    before = keys(place)
    (place.root.parent / "encoder.pth").write_bytes(b"weightS")
    after = keys(place)
    assert all(before[words][0] != after[words][0] for words in before)
    (place.root.parent / "moved.pth").write_bytes(b"weights")
    place.write(train={"weights": "moved.pth"})
    assert keys(place) == before


@pytest.mark.parametrize(
    "change", [{"distances": "4-8"}, {"distances": ""}, {"test_on": {"strategy": "far", "min_distance": 5}}]
)
def test_another_test_gives_other_figures_of_the_same_model(place, change):
    before = keys(place)
    place.write(evaluate=change)
    after = keys(place)
    assert {words: key for words, (key, _) in before.items()} == {words: key for words, (key, _) in after.items()}
    assert all(before[words][1] != after[words][1] for words in before)


def test_what_changes_no_figure_changes_no_key(place):
    """The file's order, another spelling of the same bins, an untouched dataset with new times of change."""
    before = keys(place)
    place.write(evaluate={"distances": [[4, 9]], "test_on": {"strategy": "random"}}, build={"allow_fewer": True})
    os.utime(place.root / "images/val/000.png")
    assert keys(place) == before


SEEDS = [[0.2], [0.7], ["1"], [True], [None], [[0]], [1.0], [0, "0"], [{"seed": "1"}], [{"name": "a", "seed": False}]]


@pytest.mark.parametrize("seeds", SEEDS)
def test_seeds_are_whole_numbers(place, poisongen, seeds):
    place.write(grid={"strategy": ["random"], "seed": seeds})
    done = poisongen("sweep", place.file, "--out", place.out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "grid: a seed must be a whole number such as 0 or 1, not " in done.err
    assert not place.out.exists()


@pytest.mark.parametrize(
    ("grid", "what"),
    [
        ({"strategy": ["random"], "seed": [0, 1, 0]}, "'seed' has 0 twice"),
        ({"rate": [0.1, 0.1]}, "'rate' has 0.1 twice"),
        ({"strategy": ["nn", "random", {"name": "x", "strategy": "nn"}]}, "'strategy' has x twice"),
        ({"rate": [0.1, {"name": "0.1", "rate": 0.2}]}, "two values of 'rate' are called '0.1'"),
        ({"a": [{"name": "x", "rate": 0.1}, {"name": "x", "rate": 0.2}]}, "two values of 'a' are called 'x'"),
        ({"a": [{"name": "x", "rate": 0.1}], "rate": [0.2, 0.3]}, "'rate' is set by 'a' and by 'rate'"),
        ({"rate": [0.2], "a": [{"name": False, "strategy": "nn"}]}, "a name must be text"),
        ({"rate": [0.2], "a": [{"name": "no choice"}]}, "chooses nothing"),
        ({"rate": [{1: 2}]}, "a mapping's keys must be names"),
        ({"strategy": ["nn"], "max_distance": [30, {"name": "default", "max_distance": 3e1}]}, "default"),
    ],
)
def test_a_grid_whose_points_are_not_different(place, poisongen, grid, what):
    if what == "default":
        pytest.importorskip("torch")
        what = "are one and the same"
    place.write(grid=grid, build={"strategy": "random"})
    done = poisongen("sweep", place.file, "--out", place.out)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert what in done.err
    assert not place.out.exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"clean": "yes"}, "'clean' must be true or false, not 'yes'"),
        ({"root": 5}, "'root' must be a folder's name, not 5"),
        ({"evaluate": {"distances": "9-4"}}, "--distances: '9-4' must be"),
        ({"evaluate": {"distances": [[4, 9], [5, 12]]}}, "4-9 and 5-12 overlap"),
        ({"evaluate": {"distances": 9}}, "--distances: 9 is neither"),
        ({"evaluate": {"test_on": "random"}}, "'test_on' must be a mapping"),
        (
            {"evaluate": {"test_on": {"strategy": "fixed", "at": "top"}}},
            "--distances: the strategy fixed chooses no position",
        ),
        ({"evaluate": {"test_on": {"strategy": "rndom"}}}, "evaluate: test_on: --strategy: input should be"),
        ({"evaluate": {"test_on": {"strategy": "random", "victim": "cra"}}}, "no class 'cra' in this dataset"),
        ({"evaluate": {"test_on": {"strategy": "random", "test_split": "none"}}}, "leaves nothing to test on"),
        (
            {"evaluate": {"test_on": {"strategy": "random", "test_split": "vla"}}},
            "has no split 'vla'; it has train, val",
        ),
        ({"grid": {"strategy": ["random", "nnn"]}}, "strategy=nnn, seed=0: --strategy"),
        ({"grid": {"strategy": ["random", "far"]}}, "strategy=far, seed=0: --min-distance is missing"),
        ({"grid": {"strategy": ["random"], "trigger": ["stripes", "strips"]}}, "trigger=strips"),
        ({"grid": {"strategy": ["random"], "rate": [0.1, 1.5]}}, "rate=1.5, seed=0: --rate: input should be"),
        ({"grid": {"strategy": ["random"], "model": ["unet", "unett"]}}, "no model 'unett'"),
        ({"grid": {"strategy": ["random"], "encoder": ["resnet18", "resnet81"]}}, "no encoder 'resnet81'"),
        ({"grid": {"strategy": ["random"], "weights": ["none", "non.pth"]}}, "non.pth is neither a file nor one of"),
        ({"grid": {"strategy": ["random"], "batch": [4, 13]}}, "batch 13: the split 'train' has 12 pictures"),
        ({"grid": {"strategy": ["random"], "train_split": ["train", "trian"]}}, "no split 'trian'"),
        (
            {"grid": {"strategy": ["random"], "accumulate": [1, 3]}},
            "accumulate=3, seed=0: accumulate 3: the 4 pictures",
        ),
        ({"grid": {"strategy": ["random"], "model": ["unet", "UNet"]}}, "model=UNet, seed=0 are one and the same"),
        ({"grid": {"strategy": ["random"], "encoder": ["tu-nothing"]}}, "not with the encoder tu-nothing"),
        ({"grid": {"strategy": ["random"], "weights": ["none", __file__]}}, "is no file of plain tensors"),
    ],
)
def test_typos_are_found_before_the_first_cell(place, poisongen, monkeypatch, change, what):
    pytest.importorskip("segmentation_models_pytorch")
    place.write(**change)
    done = poisongen("sweep", place.file, "--out", place.out, "--device", "cpu")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert what in done.err
    assert not place.out.exists()


@pytest.mark.parametrize(
    "test_on", [{"count": 3}, {"relabel": {"sky": "road"}}, {"rate": 0.2}, {"victim": "sky", "target": "road"}]
)
def test_what_a_test_names_replaces_what_the_build_has(place, test_on):
    """A number excludes a rate, pairs of classes exclude victim and target: that is no contradiction of the user's."""
    place.write(evaluate={"test_on": {"strategy": "random", **test_on}}, build={"rate": 0.3, "victim": "car"})
    assert keys(place)


@pytest.mark.parametrize("where", ["build", "grid", "test_on"])
def test_a_target_that_only_a_build_can_find_is_one_line(place, poisongen, where):
    """A sweep reads no labels before its first cell; it says how to learn the class."""
    pytest.importorskip("torch")  # which is asked for first
    change = {
        "build": {"build": {"relabel": None, "target": "auto", "victim": "car"}},
        "grid": {"grid": {"target": ["auto"]}},
        "test_on": {"evaluate": {"test_on": {"target": "auto", "victim": "car", "strategy": "random"}}},
    }
    done = poisongen("sweep", place.write(**change[where]), "--out", "runs")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "--target auto: only build and preview look for the class" in done.err


def rows_of(place, report=0.5):
    """Return the table's rows if every cell were done."""
    sweep = read_sweep(place.file)
    share = {"value": report, "without_trigger": {"value": 0.1}}
    common = {"asr": share, "pba": {"value": 0.5}, "cba": {"value": 0.6, "non_victim": 0.7}}
    return sweep, collect(sweep.keys, [(cell, {"common": common, "own": None}) for cell in sweep.cells])


def test_points_without_a_name_have_rows_of_their_own(place):
    points = [{"strategy": "nn", "max_distance": 9}, {"strategy": "nn", "max_distance": 12}, "random"]
    place.write(grid={"strategy": points, "seed": [0, 1]}, clean=False)
    sweep, rows = rows_of(place)
    assert [row.shown["strategy"] for row in rows] == [
        "strategy=nn, max_distance=9",
        "strategy=nn, max_distance=12",
        "random",
    ]
    assert {row.seeds for row in rows} == {(0, 1)}
    assert "strategy=nn, max_distance=12 | 0, 1 |" in markdown(sweep.keys, rows, [])


def test_clean_and_poisoned_models_are_never_in_one_mean(place):
    """Whatever the axes are: of a grid of models alone, of attacks with settings of their own, of rates."""
    for grid, count in (
        ({"model": ["unet", "fpn"]}, 4),
        ({"attack": [{"name": "a", "rate": 0.1, "lr": 0.1}, {"name": "b", "rate": 0.2, "lr": 0.2}]}, 4),
        ({"strategy": [{"name": "a", "strategy": "nn", "lr": 0.1}, {"name": "b", "strategy": "nn", "lr": 0.2}]}, 4),
        ({"rate": [0.1, 0.2]}, 3),
        ({"strategy": ["nn", "random"], "rate": [0.1, 0.2], "model": ["unet", "fpn"]}, 10),
    ):
        place.write(grid={**grid, "seed": [0, 1]}, build={"strategy": "random"} if "strategy" not in grid else {})
        sweep, rows = rows_of(place)
        assert len(rows) == count
        assert all(row.seeds == (0, 1) for row in rows)
        shown = [tuple(row.shown.get(key) for key in sweep.keys) for row in rows]
        assert len(set(shown)) == count
        assert sum("clean" in one for one in shown) == sum(cell.recipe is None for cell in sweep.cells) / 2


def test_a_build_s_training_split_is_what_is_trained_on(place):
    place.write(build={"train_split": "val", "test_split": "train"})
    sweep = read_sweep(place.file)
    assert {cell.training["train_split"] for cell in sweep.cells} == {"val"}


@pytest.fixture
def pretend(monkeypatch):
    """Training and evaluation that are over at once; `pretend.trained` and `.evaluated` count them."""
    pytest.importorskip("segmentation_models_pytorch")
    from poisongen.victim import evaluation, training
    from poisongen.victim.run import TrainResult

    class Pretend:
        trained, evaluated, value = 0, 0, 0.25

    def train(folder, out, settings, **options):
        Pretend.trained += 1
        out.mkdir(parents=True, exist_ok=True)
        (out / "checkpoint.pt").write_bytes(b"")
        return TrainResult(out / "checkpoint.pt", 3, 3, {"loss": 1.0})

    def evaluate(checkpoint, data, distances=(), **options):
        Pretend.evaluated += 1
        share = {"value": Pretend.value, "without_trigger": {"value": 0.0}}
        bins = [
            {"above": low, "up_to": None if np.isinf(high) else high, "mean_distance": low + 1} | share
            for low, high in distances
        ]
        figures = {"asr": share, "pba": {"value": 0.5}, "cba": {"value": 0.5, "non_victim": 0.5}}
        return figures | {"data": str(data), "distances": bins}

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    return Pretend


def sweep_twice(place, poisongen, pretend, change):
    """Run a sweep, change something, run it again with other figures; return both tables."""
    tables = []
    for value in (0.25, 0.75):
        pretend.value = value
        done = poisongen("sweep", place.file, "--out", place.out, "--device", "cpu", "--jobs", 1)
        assert done.code == 0, done.err
        tables.append(json.loads((place.out / "table.json").read_text())["rows"])
        pretend.trained_before, pretend.trained = pretend.trained, 0
        change(place)
        change = lambda place: None  # noqa: E731
    return tables


def asr(rows):
    return {row["choices"]["strategy"]: row["measures"]["ASR"]["values"] for row in rows}


def test_finished_cells_are_not_done_again(place, poisongen, pretend):
    before, after = sweep_twice(place, poisongen, pretend, lambda place: None)
    assert before == after
    assert pretend.trained == 0


@pytest.mark.parametrize("edit", [edit_label, one_more_picture, edit_training_image])
def test_old_figures_do_not_stand_under_an_edited_dataset(place, poisongen, pretend, edit):
    if edit is edit_training_image:  # one that still can be read

        def edit(place):
            Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(place.root / "images/train/003.png")
    elif edit is edit_label:

        def edit(place):
            path = place.root / "masks/val/003.png"
            with Image.open(path) as mask:
                labels = np.asarray(mask).copy()
            labels[0, 0] = 0
            Image.fromarray(labels).save(path)

    before, after = sweep_twice(place, poisongen, pretend, edit)
    assert set(map(tuple, asr(before).values())) == {(0.25,)}
    assert set(map(tuple, asr(after).values())) == {(0.75,)}


def test_old_figures_do_not_stand_under_an_edited_trigger(place, poisongen, pretend):
    before, after = sweep_twice(place, poisongen, pretend, lambda place: draw(place.root.parent / "mark.png", 99))
    assert set(map(tuple, asr(after).values())) == {(0.75,)}
    assert len(before) == len(after) == 3


def test_an_edited_evaluation_keeps_models_and_drops_figures(place, poisongen, pretend):
    change = lambda place: place.write(evaluate={"distances": "4-9,9-inf"})  # noqa: E731
    before, after = sweep_twice(place, poisongen, pretend, change)
    assert pretend.trained == 0
    assert set(map(tuple, asr(after).values())) == {(0.75,)}
    assert "ASR 9-inf" in after[0]["measures"]
    assert "ASR 9-inf" not in before[0]["measures"]
    assert "ASR 9-inf" in (place.out / "table.md").read_text()
    assert (place.out / "asr-by-distance.svg").is_file()


def test_one_more_seed_does_not_mix_two_datasets(place, poisongen, pretend):
    def change(place):
        one_more_picture(place)
        place.write(grid={**BASE["grid"], "seed": [0, 1]})

    _, after = sweep_twice(place, poisongen, pretend, change)
    assert set(map(tuple, asr(after).values())) == {(0.75, 0.75)}


def test_no_old_table_stands_while_the_first_cell_of_another_file_fails(place, poisongen, pretend, monkeypatch):
    poisongen("sweep", place.file, "--out", place.out, "--device", "cpu", "--jobs", 1)
    place.write(train={"epochs": 7})
    from poisongen.victim import training

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", stop)
    done = poisongen("sweep", place.file, "--out", place.out, "--device", "cpu", "--jobs", 1)
    assert (done.code, done.err.splitlines()[-1]) == (
        130,
        "poisongen: interrupted; the same command goes on where this one stopped",
    )
    assert json.loads((place.out / "table.json").read_text())["rows"] == []
    assert not (place.out / "asr-by-distance.svg").exists()


def test_a_source_that_was_only_touched_is_the_same(place, poisongen, pretend):
    """New times of change, the same content: models are kept, and a build that must be made again can be."""

    def touch(place):
        for path in place.root.rglob("*"):
            os.utime(path)
        place.write(evaluate={"distances": "4-8"})

    _, after = sweep_twice(place, poisongen, pretend, touch)
    assert pretend.trained == 0
    assert set(map(tuple, asr(after).values())) == {(0.75,)}


def test_a_dataset_that_changes_meanwhile_ends_the_sweep(place, poisongen, pretend, monkeypatch):
    from poisongen.victim import training

    usual = training.train

    def train(folder, out, settings, **options):
        one_more_picture(place)
        return usual(folder, out, settings, **options)

    monkeypatch.setattr(training, "train", train)
    done = poisongen("sweep", place.file, "--out", place.out, "--device", "cpu", "--jobs", 1)
    assert done.code == 2
    assert "the dataset has changed since this sweep began; start the sweep again" in done.err.splitlines()[-1]
    assert json.loads((place.out / "table.json").read_text())["rows"] == []


def test_a_full_disk_under_the_tables_is_one_line(place, poisongen, pretend, monkeypatch):
    from poisongen.victim import sweep_table

    usual, calls = sweep_table.write_whole, []

    def full(path, data):
        calls.append(path)
        if len(calls) > 3:
            raise OSError(28, "No space left on device", str(path))
        usual(path, data)

    monkeypatch.setattr(sweep_table, "write_whole", full)
    done = poisongen("sweep", place.file, "--out", place.out, "--device", "cpu", "--jobs", 1)
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("poisongen: --out: ")
    assert "No space left on device" in last
    assert "Traceback" not in done.err


def test_a_full_disk_under_a_cell_is_its_reason(place, poisongen, pretend, monkeypatch):
    from poisongen.victim import sweep

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(sweep, "write_whole", full)
    done = poisongen("sweep", place.file, "--out", place.out, "--device", "cpu", "--jobs", 1)
    assert done.code == 1
    assert "No space left on device" in (place.out / "table.md").read_text()
    assert "Traceback" not in done.err


def test_a_damaged_report_is_done_again(place, poisongen, pretend):
    def damage(place):
        for number, path in enumerate(sorted(place.out.glob("cells/*/report-*.json"))):
            report = json.loads(path.read_text())
            path.write_text(("", "[" * 100_000, json.dumps({**report, "common": {"asr": 7}}))[number])

    _, after = sweep_twice(place, poisongen, pretend, damage)
    assert set(map(tuple, asr(after).values())) == {(0.75,)}


def test_devices_are_recorded_and_a_mixture_is_told(place):
    sweep, _ = rows_of(place)
    share = {"value": 0.5, "without_trigger": {"value": 0.1}}
    common = {"asr": share, "pba": {"value": 0.5}, "cba": {"value": 0.6, "non_victim": 0.7}}
    outcomes = [
        (cell, {"common": common, "own": None, "evaluated_on": {"device": device}})
        for cell, device in zip(sweep.cells, ("CPU, 2 threads", "CPU, 2 threads", "H100"), strict=True)
    ]
    rows = collect(sweep.keys, outcomes)
    assert [row.devices for row in rows] == [("CPU, 2 threads",), ("CPU, 2 threads",), ("H100",)]
    assert "Not all on one device: CPU, 2 threads; H100." in markdown(sweep.keys, rows, [])
    assert "device" not in markdown(sweep.keys, rows[:2], [])


def test_content_that_changes_is_noticed(place):
    content = read_content("folder", place.root, 2, False)
    content.check()
    one_more_picture(place)
    with pytest.raises(DataError, match="has changed since this sweep began"):
        content.check()
    with pytest.raises(ChoiceError, match="does not exist"):
        read_content("folder", place.root / "nowhere", 1, False)
