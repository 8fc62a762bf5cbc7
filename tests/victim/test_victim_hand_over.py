"""What the README shows for other trainers is run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_plain_script_trains_on_a_build_and_its_label_maps_are_scored(tmp_path):
    from poisongen import build, synth
    from poisongen.victim.evaluation import evaluate

    synth(tmp_path / "clean", splits={"train": 4, "val": 2}, size=(128, 64), seed=3)
    recipe = {"dataset": "cityscapes", "strategy": "random", "trigger_size": 7, "count": 1, "region": "any"}
    out = build(recipe, tmp_path / "clean", tmp_path / "out", jobs=1).out
    script = README.read_text(encoding="utf-8").partition("```python\n# plain.py")[2].partition("```")[0]
    (tmp_path / "plain.py").write_text("#" + script)
    command = [sys.executable, "plain.py", str(out), "maps", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    assert report["images"]["clean"] == 2
    assert report["asr"]["victim_pixels"] > 0
    assert 0 <= report["cba"]["value"] < 1
