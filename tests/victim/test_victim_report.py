"""The report with a trained model: its predictions in the page are those that its measures count."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from poisongen.errors import ChoiceError
from poisongen.reporting.measured import measured_in_words
from poisongen.reporting.reporter import report
from tests.page import Page
from tests.victim.conftest import CAR, ROAD


@pytest.mark.slow
def test_predictions_in_the_page_are_those_that_are_measured(built, scenes, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("segmentation_models_pytorch")
    from poisongen.victim.evaluation import evaluate
    from poisongen.victim.settings import make_settings
    from poisongen.victim.training import train

    encoder = "tu-mobilenetv4_conv_small_050"
    settings = make_settings({"model": "unet", "encoder": encoder, "epochs": 2, "batch": 8, "scale_range": (1, 1)})
    train(built, tmp_path / "run", settings, device="cpu", jobs=1)
    report(built, scenes, tmp_path / "report.html", run=tmp_path / "run", samples=500, audited=False, jobs=1)
    page, figures = Page(tmp_path / "report.html"), evaluate(tmp_path / "run", built, jobs=1)
    assert len(figures["samples"]) > 3
    for sample in figures["samples"]:
        name = sample["sample"]
        true, wanted = (
            page.picture(f"{name} (triggered): labels, {word}") for word in ("true", "wanted by the attacker")
        )
        victims = (true == CAR) & (wanted == ROAD)
        assert victims.sum() == sample["victim_pixels"]
        for word, key in (("with trigger", "hits"), ("without trigger", "hits_without_trigger")):
            guess = page.picture(f"{name} (triggered): prediction, {word}")
            assert set(np.unique(guess)) <= {0, 1, 2}
            assert (guess[victims] == ROAD).sum() == sample[key], (name, word)
    for name, stamped, plain in measured_in_words(figures).rows:
        assert f"{name}\n" in page.text()
        assert plain in page.text("td")
        assert stamped in page.text("td")
    assert page.text("pre").startswith(str(built))


def test_a_run_that_is_none_is_one_line(built, tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(ChoiceError, match="nowhere"):
        report(built, None, tmp_path / "report.html", run=tmp_path / "nowhere", audited=False, jobs=1)
    assert not (tmp_path / "report.html").exists()


def test_without_torch_a_run_is_refused_in_one_line_and_all_else_works(built, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from poisongen.cli import main; "
        "main(['report', sys.argv[1], '--no-audit', '--samples', '2', '--jobs', '1', *sys.argv[2:]])"
    )
    call = [sys.executable, "-c", code, built]
    done = subprocess.run([*call, "--run", "run"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "torch" in done.stderr
    done = subprocess.run(call, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
