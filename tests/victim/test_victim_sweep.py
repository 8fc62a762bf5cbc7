"""Sweeps: the grid, the table over seeds, the plots; a failed cell stops nothing, a finished one is not done again."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from poisongen.errors import ChoiceError
from poisongen.victim.sweep_plan import Cell, cell_settings, read_sweep
from poisongen.victim.sweep_plot import Line, paint_lines, write_plot
from poisongen.victim.sweep_table import as_csv, collect, markdown, write_tables

SWEEP = """
dataset: folder
root: {root}
clean: true
build: {{victim: car, target: road, trigger: stripes, trigger_size: 9, region: any, rate: 0.3}}
train: {{model: unet, encoder: tu-mobilenetv4_conv_small_050, epochs: 1, batch: 4, scale_range: [1, 1]}}
evaluate: {{distances: 4-9, test_on: {{strategy: random}}}}
grid:
  strategy: [random, {{name: near, strategy: nn, max_distance: 9}}]
  seed: [0]
"""


def sweep_file(path, root, text=SWEEP):
    path.write_text(text.format(root=root))
    return path


def test_the_cells_of_a_grid(tmp_path):
    text = SWEEP.replace("seed: [0]", "rate: [0.1, 0.2]\n  seed: [3, 4]")
    sweep = read_sweep(sweep_file(tmp_path / "grid.yaml", "data", text))
    assert len(sweep.cells) == 2 * 2 * 2 + 2
    assert [cell.recipe for cell in sweep.cells if cell.seed == 4].count(None) == 1
    near = [cell for cell in sweep.cells if cell.shown["strategy"] == "near"]
    assert {(cell.recipe["strategy"], cell.recipe["max_distance"]) for cell in near} == {("nn", 9)}
    assert {cell.recipe["rate"] for cell in near} == {0.1, 0.2}
    assert len({cell.label for cell in sweep.cells}) == len(sweep.cells)
    assert [cell.seed for cell in sweep.cells] == sorted(cell.seed for cell in sweep.cells)
    assert cell_settings(near[-1]).seed == 4
    assert cell_settings(near[-1]).scale_range == (1, 1)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("dataset: folder", "data: folder", "unknown key 'data'"),
        ("victim: car", "victom: car", "build: unknown key 'victom'"),
        ("epochs: 1", "epoch: 1", "train: unknown key 'epoch'"),
        ("epochs: 1", "epochs: many", "--epochs: input should be a valid integer, not 'many'"),
        ("epochs: 1", "preset: paper", "no preset 'paper'"),
        ("distances: 4-9", "distance: 4-9", "evaluate: unknown key 'distance'"),
        ("strategy: [random", "strategies: [random", "grid: unknown key 'strategies'"),
        ("seed: [0]", "seed: 0", "grid: 'seed' must be a list"),
    ],
)
def test_mistakes_in_a_sweep_file(tmp_path, old, new, what):
    path = sweep_file(tmp_path / "grid.yaml", "data", SWEEP.replace(old, new))
    with pytest.raises(ChoiceError, match=what):
        read_sweep(path)


def outcome(shown, seed, asr, near, recipe=None):
    """A cell's report with just the figures that the table shows."""
    share = {"value": asr, "without_trigger": {"value": 0.1}}
    group = {"above": 0.0, "up_to": 60.0, "value": near, "without_trigger": {"value": 0.1}}
    far = group | {"above": 60.0, "up_to": 120.0, "value": near / 2}
    common = {"asr": share, "pba": {"value": 0.5}, "cba": {"value": 0.6, "non_victim": 0.7}, "distances": [group, far]}
    return Cell(shown, recipe, {}, seed), {"common": common, "own": common}


def test_the_table_has_mean_and_spread_over_seeds(tmp_path):
    keys = ("strategy", "rate")
    outcomes = [
        outcome({"strategy": "nn", "rate": "0.1"}, 0, 0.4, 0.5),
        outcome({"strategy": "nn", "rate": "0.1"}, 1, 0.6, 0.7),
        outcome({"strategy": "nn", "rate": "0.2"}, 0, 0.8, 0.9),
    ]
    rows = collect(keys, outcomes)
    assert [row.seeds for row in rows] == [(0, 1), (0,)]
    assert rows[0].mean("ASR") == pytest.approx(0.5)
    assert rows[0].spread("ASR") == pytest.approx(0.02**0.5)
    assert rows[1].spread("ASR") is None
    text = markdown(keys, rows, [(outcomes[0][0], "no such trigger")])
    assert "| nn | 0.1 | 0, 1 | 50.0 ± 14.1 | 50.0 ± 14.1 | 10.0 ± 0.0 | 50.0 ± 0.0 |" in text
    assert "no such trigger" in text
    lines = list(csv.reader(io.StringIO(as_csv(keys, rows))))
    assert len({len(line) for line in lines}) == 1
    assert lines[1][lines[0].index("ASR 0-60 mean")] == "0.600000"
    write_tables(keys, outcomes, [], tmp_path)
    data = json.loads((tmp_path / "table.json").read_text())
    assert data["rows"][0]["measures"]["ASR"]["values"] == [0.4, 0.6]
    pytest.importorskip("matplotlib")
    for name in ("asr-by-rate", "asr-by-distance"):
        tree = ElementTree.fromstring((tmp_path / f"{name}.svg").read_text())
        assert "ASR, %" in {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 800
    write_tables(keys, outcomes[2:], [], tmp_path)
    assert not list(tmp_path.glob("asr-by-rate.*"))  # a point is no line
    assert len(list(tmp_path.glob("asr-by-distance.*"))) == 3


def test_a_sweep_without_matplotlib_has_its_tables(tmp_path, monkeypatch):
    from poisongen.victim import sweep_table

    monkeypatch.setattr(sweep_table, "can_plot", lambda: False)
    outcomes = [outcome({"strategy": "nn", "rate": rate}, 0, 0.4, 0.5) for rate in ("0.1", "0.2")]
    write_tables(("strategy", "rate"), outcomes, [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.json", "table.md"]


def test_a_plot_shows_every_line_with_its_values_and_spread():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    lines = [Line("a < b", ((0, 0, 0), (10, 98, 5))), Line("_$x$", ((5, 50, 2),)), Line("_$x$", ((6, 50, 2),))]
    paint_lines(figure, lines, "x", "y")
    axes = figure.axes[0]
    marks = [container.lines[0].get_xydata().tolist() for container in axes.containers]
    assert marks == [[[0, 0], [10, 98]], [[5, 50]], [[6, 50]]]
    bars = axes.containers[0].lines[2][0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [[0, 0], [93, 100]]  # no further than 100 %
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a < b", "$x$", "$x$"]


def test_the_same_plot_is_the_same_file_and_hostile_names_are_text(tmp_path):
    pytest.importorskip("matplotlib")
    lines = [Line("<script>&$\\frac", ((0, 0, 0), (10, 98, 5))), Line("\u5b57", ((1, 1, 0), (2, 2, 0)))]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_plot(tmp_path / folder, "plot", lines, "x", "y")
    for form in ("svg", "pdf", "png"):
        assert (tmp_path / f"one/plot.{form}").read_bytes() == (tmp_path / f"two/plot.{form}").read_bytes()
    tree = ElementTree.fromstring((tmp_path / "one/plot.svg").read_bytes())
    assert "<script>&$\\frac" in {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.slow
def test_a_sweep_runs_once_and_survives_a_failure(folders, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("segmentation_models_pytorch")
    from poisongen.victim import training
    from poisongen.victim.sweep import run_sweep

    root = folders.write(tmp_path / "clean", {"train": 12, "val": 6})
    text = SWEEP.replace(
        "{{name: near", "{{name: broken, strategy: nn, max_distance: 9, trigger_size: 60}}, {{name: near"
    )
    path = sweep_file(tmp_path / "grid.yaml", root, text)
    results = run_sweep(path, tmp_path / "out", jobs=1)
    assert [result.state for result in results] == ["done", "done", "failed", "done"]
    assert results[0].report["own"] is None
    assert results[1].report["own"] == results[1].report["common"]
    tested = {result.report["common"]["data"] for result in results if result.report}
    assert len(tested) == 1
    assert results[3].report["own"]["data"] not in tested
    assert "Failed: broken" in (tmp_path / "out/table.md").read_text()
    builds = [path for path in (tmp_path / "out/builds").iterdir() if path.is_dir()]
    clean = {
        (build / "images/val/000.png").stat().st_ino for build in builds if (build / "images/val/000.png").exists()
    }
    assert len(clean) == 1  # one file, linked by every build and the source

    def never(*arguments, **options):
        raise AssertionError("a finished cell was trained again")

    monkeypatch.setattr(training, "train", never)
    again = run_sweep(path, tmp_path / "out", jobs=1)
    assert [result.report for result in again] == [result.report for result in results]
