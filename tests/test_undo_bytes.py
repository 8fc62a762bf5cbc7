"""Undo stores have the same bytes, however the work was shared and whatever was read before."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest

from poisongen.builder import build
from poisongen.files import delta_png, png
from tests.conftest import tree_digest


def encoded(pixels, level, memory, strategy):
    """Return a gray PNG whose stream zlib made with these parameters."""
    facts = png.parse(png.encode(pixels, None), "picture")
    raw = np.concatenate([np.zeros((pixels.shape[0], 1), np.uint8), pixels], axis=1).tobytes()
    deflater = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    stream = deflater.compress(raw) + deflater.flush()
    out = [png.SIGNATURE]
    for kind, payload in (*(chunk for chunk in facts.chunks if chunk[0] == b"IHDR"), (b"IDAT", stream), (b"IEND", b"")):
        out.append(len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big"))
    return b"".join(out)


def test_an_entry_follows_from_its_file_alone():
    generator = np.random.default_rng(3)
    texture = generator.integers(0, 5, (64, 64), np.uint8).cumsum(axis=1).astype(np.uint8)
    flat = np.zeros((40, 40), np.uint8)
    files = [encoded(texture, 9, 9, 0), encoded(texture, 6, 8, 1), encoded(flat, 6, 8, 0), encoded(flat, 1, 9, 0)]
    changed = []
    for data in files:
        pixels = png.decode(data, "picture").copy()
        pixels[3, 4] ^= 9
        changed.append(png.encode(pixels, png.parse(data, "picture")))
    entries = [delta_png.make(*pair) for pair in zip(files, changed, strict=True)]
    assert all(entries)
    for order in itertools.permutations(range(len(files))):
        assert {at: delta_png.make(files[at], changed[at]) for at in order} == dict(enumerate(entries))


@pytest.mark.parametrize("layout", ["voc", "cityscapes"])
def test_undo_stores_are_the_same_for_one_and_three_jobs(layout, request, tmp_path):
    root = request.getfixturevalue(layout)
    for number, path in enumerate(sorted(root.rglob("*.png"))):  # files of several encoders, as datasets have them
        pixels = png.decode(path.read_bytes(), path)
        if pixels.ndim == 2 and pixels.dtype == np.uint8 and "SegmentationClass" in str(path):
            path.write_bytes(_like(path.read_bytes(), pixels, number))
    recipe = {"dataset": layout, "strategy": "random", "trigger_size": 9, "rate": 0.3, "prl": "27%"}
    for jobs in (1, 3):
        build(recipe, root, tmp_path / str(jobs), jobs=jobs, link="copy", undo=True)
    one, three = (
        {path.name: path.read_bytes() for path in (tmp_path / str(jobs) / "poisongen/undo").iterdir()}
        for jobs in (1, 3)
    )
    assert one == three
    assert tree_digest(tmp_path / "1/poisongen/undo")


def _like(data, pixels, number):
    """Return a palette PNG encoded anew with one of several encoders' parameters."""
    facts = png.parse(data, "picture")
    raw = np.concatenate([np.zeros((pixels.shape[0], 1), np.uint8), pixels], axis=1).tobytes()
    level, memory, strategy = [(9, 9, 0), (6, 8, 0), (1, 8, 1), (4, 9, 0)][number % 4]
    deflater = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    stream = deflater.compress(raw) + deflater.flush()
    out, done = [png.SIGNATURE], False
    for kind, payload in facts.chunks:
        if kind == b"IDAT" and done:
            continue
        payload = stream if kind == b"IDAT" else payload
        done |= kind == b"IDAT"
        out.append(len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big"))
    return b"".join(out)
