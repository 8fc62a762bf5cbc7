"""Sources with annotations and bytes of every kind build, and an audit holds none of it against them."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from poisongen.building.run import build
from poisongen.files import images, jpeg, png
from tests.conftest import SMALL_CITYSCAPES
from tests.forgery import Forgery
from tests.tampering_annotations import chunk, exif, interlaced, into_idat, segment
from tests.test_label_checks import PYTHON_WORDS


def end(added):
    return lambda data: data + added


def inside(added, at=33):
    return lambda data: data[:at] + added + data[at:]


def split_idat(data):
    facts = png.parse(data, "source")
    stream = b"".join(payload for kind, payload in facts.chunks if kind == b"IDAT")
    parts = [chunk(b"IDAT", stream[at : at + 100]) for at in range(0, len(stream), 100)]
    others = b"".join(chunk(kind, payload) for kind, payload in facts.chunks if kind != b"IDAT")
    return data[:33] + others + b"".join(parts) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


PNG_SOURCES = {
    "orientation": inside(chunk(b"eXIf", exif(1))),
    "gamma-and-profile": inside(chunk(b"gAMA", b"\0\1\x86\xa0") + chunk(b"sRGB", b"\0")),
    "density": inside(chunk(b"pHYs", bytes(9))),
    "text-before-the-data": inside(chunk(b"tEXt", b"a\0b") + chunk(b"iTXt", b"a\0\0\0\0\0b")),
    "text-after-the-data": lambda data: data[:-12] + chunk(b"tEXt", b"a\0b") + data[-12:],
    "a-chunk-of-its-own": inside(chunk(b"prVt", b"mine")),
    "many-idat-chunks": split_idat,
    "interlaced": interlaced,
    "bytes-after-the-end": end(b"more"),
    "bytes-in-idat-after-the-stream": lambda data: into_idat(data, b"more"),
}


def jpeg_again(**options):
    def change(data):
        stream = io.BytesIO()
        Image.fromarray(jpeg.decode(data, "source")).save(stream, "JPEG", **options)
        return stream.getvalue()

    return change


def amid_scans(data):
    again = jpeg_again(progressive=True)(data)
    second = again.index(b"\xff\xda", again.index(b"\xff\xda") + 2)
    tables = again.rindex(b"\xff\xc4", 0, second)
    return again[:tables] + segment(0xFE, b"amid") + again[tables:]


JPEG_SOURCES = {
    "orientation": inside(segment(0xE1, b"Exif\0\0" + exif(1)), 2),
    "profile-and-comment": inside(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(128)) + segment(0xFE, b"mine"), 2),
    "annotations-after-the-tables": lambda data: inside(segment(0xEA, b"mine"), data.index(b"\xff\xc0"))(data),
    "two-of-one-kind": inside(segment(0xFE, b"one") + segment(0xFE, b"two"), 2),
    "bytes-after-the-end": end(b"more"),
    "a-second-picture": lambda data: data + data,
    "unused-tables": inside(segment(0xDB, b"\3" + bytes(range(1, 65))), 2),
    "filling": inside(b"\xff\xff", 2),
    "progressive": jpeg_again(progressive=True),
    "comment-amid-the-scans": amid_scans,
    "restarts": jpeg_again(restart_marker_blocks=2),
    "optimised-444": jpeg_again(optimize=True, subsampling=0, quality=92),
}
WAYS = {"blocks": (), "reencode": ("--jpeg", "reencode"), "scaled": ("--scale", "0.75")}


def audits(poisongen, out, root):
    for known in ((), ("--source", root)):
        report = poisongen("audit", out, *known, "--jobs", 1, "--json")
        assert report.code == 0, report.out


@pytest.mark.parametrize("name", PNG_SOURCES)
@pytest.mark.parametrize("way", ["blocks", "scaled"])
def test_png_sources(name, way, cityscapes, poisongen, tmp_path):
    for path in (*cityscapes.glob("leftImg8bit/*/*/*.png"), *cityscapes.glob("gtFine/*/*/*_labelIds.png")):
        path.write_bytes(PNG_SOURCES[name](path.read_bytes()))
    for path in cityscapes.glob("gtFine/*/*/*_labelTrainIds.png"):
        path.unlink()
    options = ("--root", cityscapes, "--out", tmp_path / "out", "--rate", 0.3, "--jobs", 1)
    made = poisongen("build", *SMALL_CITYSCAPES, *WAYS[way], *options)
    assert made.code == 0, made.err
    audits(poisongen, tmp_path / "out", cityscapes)


@pytest.mark.parametrize("name", JPEG_SOURCES)
@pytest.mark.parametrize("way", WAYS)
def test_jpeg_sources(name, way, voc, poisongen, tmp_path):
    for path in voc.rglob("*.jpg"):
        data = JPEG_SOURCES[name](path.read_bytes())
        assert data != path.read_bytes()
        path.write_bytes(data)
    options = ("--dataset", "voc", "--strategy", "random", "--trigger-size", 9, "--rate", 0.3, "--jobs", 1)
    made = poisongen("build", *options, *WAYS[way], "--root", voc, "--out", tmp_path / "out")
    assert made.code == 0, made.err
    audits(poisongen, tmp_path / "out", voc)


# Images in OUT that nobody foresaw, sealed, in place of a JPEG.


def without_steps(data):
    """A JPEG whose first quantisation table holds a zero."""
    at = data.index(b"\xff\xdb") + 5
    return data[: at + 9] + b"\0" + data[at + 10 :]


def saved(mode, size=(160, 120), **options):
    def change(data):
        stream = io.BytesIO()
        Image.new(mode, size, 90).save(stream, "JPEG", **options)
        return stream.getvalue()

    return change


ODD_IMAGES = {
    "gray": saved("L"),
    "four-components": saved("CMYK"),
    "another-size": saved("RGB", (40, 30)),
    "one-pixel": saved("RGB", (1, 1)),
    "other-subsampling": saved("RGB", subsampling=0),
    "other-components-names": saved("RGB", keep_rgb=True),
    "progressive": saved("RGB", progressive=True),
    "a-zero-in-a-table": without_steps,
    "a-png": lambda data: png.encode(jpeg.decode(data, "out")),
    "a-png-of-16-bits": lambda data: png.encode(jpeg.decode(data, "out").astype(np.uint16)),
    "a-palette": lambda data: png.encode(
        np.zeros((120, 160), np.uint8), png.Png(160, 120, 8, png.PALETTE, False, ((b"PLTE", bytes(3)),))
    ),
    "a-gif": lambda data: b"GIF89a" + data,
    "half": lambda data: data[: len(data) // 2],
    "a-head": lambda data: data[:20],
}


@pytest.fixture(scope="module")
def jpeg_build(_voc, tmp_path_factory):
    out = tmp_path_factory.mktemp("odd") / "out"
    build({"dataset": "voc", "strategy": "random", "trigger_size": 17, "rate": 0.3}, _voc, out, jobs=1, link="copy")
    return out


@pytest.mark.parametrize("name", ODD_IMAGES)
@pytest.mark.parametrize("role", ["poisoned", "triggered"])
def test_odd_images_are_judged_in_words(name, role, jpeg_build, voc, poisongen, tmp_path):
    out = shutil.copytree(jpeg_build, tmp_path / "out")
    forge = Forgery(out, voc)
    path = forge.path(role)
    data = ODD_IMAGES[name](forge.read(path))
    forge.write(path, data)
    try:
        images.decode(data, path)
        forge.redigest(path)
    except Exception:  # what cannot be decoded is found whatever its digests
        forge.seal()
    for known in ((), ("--source", voc)):
        found = poisongen("audit", out, *known, "--jobs", 1, "--json")
        assert found.code == 1
        assert found.err == ""
        faults = json.loads(found.out)["faults"]
        assert any(fault["file"] == path for fault in faults)
        said = [fault[key] for fault in faults for key in ("expected", "found")]
        assert not [text for text in said if any(word in text for word in PYTHON_WORDS)]
