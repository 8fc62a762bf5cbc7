"""Presets say which of their parts are published and which are ours; their crops are what the official models take."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.cli.train_command import command  # noqa: E402
from poisongen.victim.models import build_model, input_size, make_spec  # noqa: E402
from poisongen.victim.settings import PRESET_PARTS, PRESETS, make_settings  # noqa: E402


def test_every_preset_says_what_is_ours(folders, tmp_path):
    assert PRESET_PARTS.keys() == PRESETS.keys()
    root = folders.write(tmp_path / "few", {"train": 4, "val": 2})
    for name, parts in PRESET_PARTS.items():
        settings = make_settings({}, name)
        assert f"batch {settings.batch}" in parts
        assert f"crop {settings.crop[0]}" in parts
        assert f"{settings.epochs} epochs" in parts
        assert ("half-size" in parts) is (settings.size == (512, 1024))
        assert "ours: " in parts
        options = ["--dataset", "folder", "--preset", name, "--weights", "none", "--model", "unet"]
        small = ["--encoder", "tu-mobilenetv4_conv_small_050", "--batch", "2", "--size", "32", "--crop", "32"]
        out = ["--out", str(tmp_path / name), "--stop-after", "1"]
        done = CliRunner().invoke(command, [str(root), *options, *small, *out], catch_exceptions=False)
        assert f"poisongen: --preset {name}: {parts}\n" in done.stderr
        assert "--preset" not in done.stdout


@pytest.mark.parametrize("name", ["paper-cityscapes", "paper-voc"])
@pytest.mark.parametrize("model", ["pspnet", "deeplabv3"])
def test_the_papers_crops_need_no_rim(name, model):
    crop = make_settings({}, name).crop
    assert input_size(build_model(make_spec(model, "resnet18", 3)), crop) == crop
