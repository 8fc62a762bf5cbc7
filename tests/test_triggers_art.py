from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "triggers"
FILES = sorted(FOLDER.glob("*.png"))
NAMES = {
    "cat",
    "checkerboard",
    "flower",
    "frame",
    "line",
    "noise",
    "sign",
    "square-white",
    "star-transparent",
    "stripes",
    "target",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("draw_triggers", FOLDER / "draw.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    folders = [tmp_path_factory.mktemp("art") for _ in range(2)]
    for folder in folders:
        module.main(folder)
    return folders


def pixels(path):
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        return np.asarray(image).astype(int)


def test_all_triggers_are_there():
    assert {path.stem for path in FILES} == NAMES


def test_the_drawing_is_repeatable(drawn):
    for name in NAMES:
        first, second = (folder / f"{name}.png" for folder in drawn)
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_are_what_the_code_draws(path, drawn):
    stored, fresh = pixels(path), pixels(drawn[0] / path.name)
    assert stored.shape == fresh.shape == (256, 256, 4)
    # Another version of Pillow may treat edges a little differently.
    assert np.mean(np.abs(stored - fresh)) < 1.0
    assert path.stat().st_size < 60_000


def test_the_cat_is_nearly_opaque_and_bright():
    cat = pixels(FOLDER / "cat.png")
    assert np.mean(cat[..., 3] == 255) > 0.98
    colours = cat[..., :3][cat[..., 3] == 255]
    assert np.mean(colours.max(axis=1) - colours.min(axis=1)) > 100  # saturated
    small = np.asarray(Image.fromarray(cat.astype(np.uint8)).resize((15, 15), Image.Resampling.BILINEAR)).astype(int)
    assert small[..., :3].std(axis=(0, 1)).min() > 40  # not a grey blur at the size for VOC


def test_the_noise_survives_reduction():
    with Image.open(FOLDER / "noise.png") as picture:
        small = np.asarray(picture.resize((31, 31), Image.Resampling.BILINEAR)).astype(int)
    assert small[..., :3].std() > 45


def test_the_star_has_clear_and_half_transparent_pixels():
    alpha = pixels(FOLDER / "star-transparent.png")[..., 3]
    assert np.mean(alpha == 0) > 0.1
    assert np.mean((alpha > 0) & (alpha < 255)) > 0.1
    assert np.mean(alpha == 255) > 0.1


def test_the_readme_shows_every_trigger():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r'<img src="([a-z-]+)\.png" width="96"', text)) == NAMES
