"""The speed benchmark's small form: it measures the trainer's own step, in both loops, with the presets' settings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_small_form_measures_every_model_in_both_loops():
    """Under a minute where two cores are free; the limit here leaves room for a machine that is not."""
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--limit", "20"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "resnet18" in line]
    rows += [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "mit_b0" in line]
    assert [row[2] for row in rows] == ["plain", "poisongen"] * 3
    for row in rows:
        assert float(row[4]) > 0
        assert row[5].endswith(" %")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


def test_both_loops_call_the_trainers_step_as_often(benchmark, monkeypatch, tmp_path):
    """Run.step itself, on crops of one size and with all of the preset's augmentation; neither loop runs dry."""
    from poisongen.victim.run import Run

    form = benchmark.CPU
    benchmark.write_pictures(tmp_path / "pictures", form.pictures, form.size)
    seen, real, plans = [], Run.step, []

    def step(self, images, labels):
        seen.append((images.shape, labels.shape))
        plans.append(self.augmentation)
        return real(self, images, labels)

    monkeypatch.setattr(Run, "step", step)
    settings = form.settings("deeplabv3", "tu-mobilenetv4_conv_small_050", "paper-cityscapes", "off")
    cpu, clock = torch.device("cpu"), benchmark.Clock(9)
    counts = []
    for loop in ("plain", "poisongen"):
        seen.clear()
        found = benchmark._figures(tmp_path / "pictures", settings, loop, form, cpu, 1e9, clock)
        assert float(found.split(" | ")[0]) > 0
        counts.append(len(seen))
        assert set(seen) == {((2, 3, 33, 33), (2, 33, 33))}
    assert counts == [1 + form.warm_up + 2 * form.steps] * 2
    assert {(plan.scale, plan.rotate, plan.blur, plan.flip) for plan in plans} == {((0.5, 2.0), 10.0, 0.5, 0.5)}


def test_on_a_gpu_the_crops_are_the_presets(benchmark):
    crops = [benchmark.GPU.settings(*model, "off").crop for model in benchmark.GPU.models]
    assert crops == [(713, 713), (713, 713), (512, 512)]


def test_the_seeds_of_the_cells_can_be_others(benchmark, tmp_path):
    """All but the seeds stays as the file has it, and without any it is the file."""
    from poisongen.victim.sweep_plan import read_sweep

    text = (BENCHMARKS / "camvid.yaml").read_text()
    assert benchmark.with_seeds(text, None) == text
    (tmp_path / "cells.yaml").write_text(benchmark.with_seeds(text, [4, 7, 9]))
    cells, usual = read_sweep(tmp_path / "cells.yaml").cells, read_sweep(BENCHMARKS / "camvid.yaml").cells
    assert [cell.seed for cell in cells] == [4] * 5 + [7] * 5 + [9] * 5
    assert {cell.row for cell in cells} == {cell.row for cell in usual}


def rows_of(lines):
    """The names of a table's rows."""
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:]


@pytest.mark.slow
def test_cells_that_did_not_fit_are_named_and_done_by_the_next_call(benchmark, scenes, tmp_path, monkeypatch, capfd):
    """Every cell of the file is trained once, two at a time, and no process stays behind when the table is there."""
    from tests.victim.test_victim_sweep import SWEEP

    file = tmp_path / "cells.yaml"
    file.write_text(SWEEP.format(root=scenes))
    made = []
    monkeypatch.setattr(benchmark, "make_encoder", lambda root, encoder: made.append(encoder))

    class Clock:
        """Time for two cells: asked once at the start, and once before each cell that a process is free for."""

        asked = 0

        def left(self):
            Clock.asked += 1
            return 1e9 if self.asked <= 3 else -1.0

    out = tmp_path / "out"
    first = benchmark.camvid_cells(scenes, file, out, Clock(), processes=2)
    said = capfd.readouterr().err
    assert said.count("seed=0: done") == 2, said
    assert first[0] == "No time was left for strategy=near, seed=0."
    assert rows_of(first) == ["clean", "random"]
    trained = {path: path.stat().st_mtime_ns for path in out.glob("sweep/cells/*/trained.json")}
    assert len(trained) == 2
    started = time.monotonic()
    second = benchmark.camvid_cells(scenes, file, out, benchmark.Clock(9), processes=1)
    assert time.monotonic() - started < 200  # workers that nobody ends stay for 300 s
    assert rows_of(second) == ["clean", "random", "near"], second
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert made == [out / "encoder"] * 2
