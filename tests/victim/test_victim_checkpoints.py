"""Evaluation of checkpoints: their figures are those of the label maps that they predict."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.errors import ChoiceError, PoisongenError  # noqa: E402
from poisongen.victim.evaluation import evaluate, open_target  # noqa: E402
from poisongen.victim.metrics import confusion_of  # noqa: E402


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """A model after two steps: it knows nothing, but its figures must still add up."""
    from poisongen.victim.settings import make_settings
    from poisongen.victim.training import train

    settings = make_settings({"model": "unet", "encoder": "tu-mobilenetv4_conv_small_050", "epochs": 1})
    out = tmp_path_factory.mktemp("run") / "run"
    return train(scenes, out, settings, layout="folder", stop_after=2).checkpoint


def test_the_same_figures_as_from_its_label_maps(run, built, tmp_path):
    """A checkpoint's report is that of the label maps that it predicts, scored as another trainer's."""
    from poisongen.victim.checkpoint import load_checkpoint
    from poisongen.victim.items import triggered_item
    from poisongen.victim.predictor import make_predictor

    report = evaluate(run, built, jobs=1, batch=5, distances="4-9", device="cpu")
    target = open_target(built)
    predictor = make_predictor(load_checkpoint(run), run, torch.device("cpu"), torch.float32, 1, 1, False)
    for which, items in (
        ("clean", [target.clean.item(sample) for sample in target.clean.samples]),
        ("triggered", [triggered_item(target.folder, s, target.classes.from_raw) for s in target.triggered]),
    ):
        (tmp_path / which).mkdir()
        for item in items:
            guess = predictor.predict([item.image()], item.labels().shape)[0].numpy().astype(np.uint8)
            Image.fromarray(guess).save(tmp_path / which / f"{item.name.rpartition('/')[2]}.png")
    again = evaluate(None, built, predictions=tmp_path, jobs=1)
    for key in ("asr", "asr_per_image", "pba", "cba", "confusion", "samples", "victims_became"):
        assert report[key] == again[key], key
    group = report["distances"][0]
    assert (group["above"], group["up_to"]) == (4, 9)
    assert group["images"] > 0
    assert 4 < group["mean_distance"] <= 9
    assert 0 <= group["value"] <= 1


def test_counting_on_the_device_is_counting_in_numpy():
    from poisongen.victim.predictor import count_confusions

    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 2, 255], (3, 7, 9)).astype(np.uint8)
    guess = generator.integers(0, 3, (3, 7, 9))
    counts = count_confusions(torch.from_numpy(labels), torch.from_numpy(guess), 3).numpy()
    assert np.array_equal(counts, [confusion_of(one, other, 3) for one, other in zip(labels, guess, strict=True)])


def test_logits_are_upsampled_before_the_best_class_is_taken(built):
    """A model at half size answers at the label's size: not the class map, its logits are enlarged."""
    from poisongen.victim.predictor import Predictor

    class Ramp(torch.nn.Module):
        encoder = torch.nn.Identity()

        def forward(self, images):
            ramp = torch.linspace(-1, 1, images.shape[-1]).expand(images.shape[0], 1, *images.shape[-2:])
            return torch.cat([ramp, 0.5 - ramp], dim=1)

    predictor = Predictor(Ramp(), 2, (32, 32), torch.device("cpu"), torch.float32, 1, 1, False)
    guess = predictor.predict([np.zeros((128, 128, 3), np.uint8)], (128, 128))[0]
    edges = (guess[0, 1:] != guess[0, :-1]).nonzero().flatten() + 1
    # The two logits cross at ramp 0.25: column 19.4 of 32. Enlarged by four that is column 79.1, which no
    # enlarged class map (whose edges lie at multiples of four) can have.
    assert edges.tolist() == [79]


def test_another_datasets_model(run, folders, tmp_path):
    root = folders.write(tmp_path / "clean", {"train": 6, "val": 3})
    (root / "classes.yaml").write_text("classes: {0: road, 1: sky, 2: car, 3: tree}\nvoid: [255]\n")
    out = folders.build(root, tmp_path / "out")
    with pytest.raises(ChoiceError, match=r"a model of 3 classes of 'folder', but .* has 4 of 'folder'"):
        evaluate(run, out)


def test_the_commands(scenes, built, run, tmp_path, capsys):
    """train, evaluate: results on standard output, whole reports as JSON, errors as PoisongenError."""
    from poisongen.cli.evaluate_command import command as evaluate_command
    from poisongen.cli.train_command import command as train_command

    out = tmp_path / "run"
    options = ["--model", "Unet", "--encoder", "tu-mobilenetv4_conv_small_050", "--batch", "4", "--epochs", "1"]
    arguments = [str(built), *options, "--out", str(out), "--stop-after", "2", "--scale-range", "0.8,1.2"]
    trained = CliRunner().invoke(train_command, arguments, catch_exceptions=False)
    assert trained.output.splitlines()[-1].endswith("of 24; --resume goes on")
    report = tmp_path / "report.json"
    scored = CliRunner().invoke(
        evaluate_command, [str(out), "--data", str(built), "--json", "--out", str(report)], catch_exceptions=False
    )
    found = json.loads(scored.output.splitlines()[-1])
    assert found == json.loads(report.read_text())
    assert found["model"]["trained_on"]["fingerprint"] == found["fingerprint"]
    shown = CliRunner().invoke(evaluate_command, [str(out), "--data", str(built)], catch_exceptions=False)
    assert "IoU by class" in shown.output
    refused = CliRunner().invoke(train_command, [str(scenes), "--out", str(tmp_path / "other")])
    assert isinstance(refused.exception, PoisongenError)
    assert "name its layout with --dataset" in str(refused.exception)
