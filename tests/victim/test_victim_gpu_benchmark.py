"""The speed benchmark's small form: it measures the trainer's own step, in both loops, with the presets' settings."""

from __future__ import annotations

import os
import subprocess
import sys
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
