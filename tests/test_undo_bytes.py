"""Undo stores have the same bytes, however the work was shared and whatever was read before."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest

from poisongen.building.run import build
from poisongen.files import png
from poisongen.undo import delta_png

ENCODERS = [(9, 9, 0), (6, 8, 0), (1, 8, 1), (4, 9, 0)]


def encoded(data, level, memory, strategy):
    """Return a PNG of one 8-bit channel with its stream made by zlib with these parameters."""
    facts, pixels = png.parse(data, "picture"), png.decode(data, "picture")
    raw = np.concatenate([np.zeros((pixels.shape[0], 1), np.uint8), pixels], axis=1).tobytes()
    deflater = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    stream = deflater.compress(raw) + deflater.flush()
    out = [data[:33]]  # the signature and the header
    for kind, payload in (*(chunk for chunk in facts.chunks if chunk[0] != b"IDAT"), (b"IDAT", stream), (b"IEND", b"")):
        out.append(len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big"))
    return b"".join(out)


def test_an_entry_follows_from_its_file_alone():
    generator = np.random.default_rng(3)
    texture = generator.integers(0, 5, (64, 64), np.uint8).cumsum(axis=1).astype(np.uint8)
    flat = np.zeros((40, 40), np.uint8)
    files = [encoded(png.encode(part, None), *how) for part in (texture, flat) for how in ENCODERS]
    changed = []
    for data in files:
        pixels = png.decode(data, "picture").copy()
        pixels[3, 4] ^= 9
        changed.append(png.encode(pixels, png.parse(data, "picture")))
    entries = [delta_png.make(*pair) for pair in zip(files, changed, strict=True)]
    assert all(entries)
    for order in itertools.islice(itertools.permutations(range(len(files))), 0, None, 4999):
        assert {at: delta_png.make(files[at], changed[at]) for at in order} == dict(enumerate(entries))


@pytest.mark.parametrize("layout", ["voc", "cityscapes"])
def test_undo_stores_are_the_same_for_one_and_three_jobs(layout, request, tmp_path):
    root = request.getfixturevalue(layout)
    for number, path in enumerate(sorted(root.rglob("*.png"))):  # files of several encoders, as datasets have them
        if "SegmentationClass" in str(path):
            path.write_bytes(encoded(path.read_bytes(), *ENCODERS[number % len(ENCODERS)]))
    recipe = {"dataset": layout, "strategy": "random", "trigger_size": 9, "rate": 0.3, "prl": "27%"}
    for jobs in (1, 3):
        build(recipe, root, tmp_path / str(jobs), jobs=jobs, link="copy", undo=True)
    one, three = (sorted((tmp_path / str(jobs) / "poisongen/undo").iterdir()) for jobs in (1, 3))
    assert [path.name for path in one] == [path.name for path in three]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, three, strict=True))
