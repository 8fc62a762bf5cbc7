"""Kinds of triggers that are not the same to the last bit everywhere: what another machine's rounding explains."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from poisongen.auditing.against_source import _far_blocks
from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from poisongen.files import images
from tests.forgery import Forgery

CHOICES = {"dataset": "cityscapes", "rate": 0.3, "trigger_kind": "fourier"}


def measures(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    error = np.mean((before.astype(float) - after) ** 2)
    changed = float((before != after).any(axis=2).mean())
    return {"trigger__psnr": round(20 * math.log10(255) - 10 * math.log10(error), 4), "trigger__changed": changed}


@pytest.mark.parametrize(("levels", "found"), [(1, False), (2, True)])
def test_a_level_is_rounding_and_two_are_not(cityscapes, tmp_path, levels, found):
    out = tmp_path / "out"
    build(CHOICES, cityscapes, out, jobs=1)
    forgery = Forgery(out, cityscapes)
    record = forgery.records("poisoned")[0]
    image = forgery.file(record)
    pixels = forgery.pixels(image["path"])
    before = images.decode((cityscapes / image["source"]).read_bytes(), "before")
    at = np.s_[20:24, 30:40]
    pixels[at] = np.where(pixels[at] < 128, pixels[at] + levels, pixels[at] - levels)
    forgery.paint(image["path"], pixels)
    forgery.redigest(image["path"])
    forgery.change("poisoned", **measures(before, pixels))
    faults = audit(out, cityscapes, jobs=1).faults
    assert bool(faults) == found, faults
    assert {fault.check for fault in faults} <= {"image"}


@pytest.mark.parametrize(("quality", "subsampling"), [(95, 0), (95, 2), (70, 2), (100, 0)])
def test_blocks_of_a_jpeg_may_differ_by_rounding_alone(quality, subsampling):
    """A JPEG of pixels that are a level off passes; one pixel that somebody painted does not."""
    generator = np.random.default_rng(quality + subsampling)
    ramp = np.add.outer(np.arange(48) * 3, np.arange(64) * 2) % 200 + 20
    pixels = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)

    def encoded(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(array.astype(np.uint8)).save(stream, "JPEG", quality=quality, subsampling=subsampling)
        return stream.getvalue()

    wanted = encoded(pixels)
    for _ in range(5):
        assert not _far_blocks(encoded(pixels + generator.integers(-1, 2, pixels.shape)), wanted, 1, pixels.shape).any()
    painted = pixels.copy()
    painted[16:20, 24:28] = 255
    far = _far_blocks(encoded(painted), wanted, 1, pixels.shape)
    assert far[16:20, 24:28].all()
    assert not far[:16].any()
