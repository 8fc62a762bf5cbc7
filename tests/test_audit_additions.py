"""What trainers do to a build: files that they add are allowed by name, another encoding is told from a fault."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.auditing.auditor import audit
from tests.conftest import manifest

CHOICES = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "count": 3}
VOC = {"dataset": "voc", "strategy": "random", "relabel": {"car": "background"}, "trigger_size": 9, "count": 2}


@pytest.fixture(scope="module")
def good(_cityscapes, _voc, tmp_path_factory):
    """A build of each layout, and its source."""
    folder = tmp_path_factory.mktemp("good")
    package.build(CHOICES, _cityscapes, folder / "cityscapes", jobs=1, link="copy")
    package.build(VOC, _voc, folder / "voc", jobs=1, link="copy")
    return {"cityscapes": (folder / "cityscapes", _cityscapes), "voc": (folder / "voc", _voc)}


@pytest.fixture
def out(good, tmp_path):
    shutil.copytree(good["cityscapes"][0], tmp_path / "out")
    return tmp_path / "out"


def put(out, path, data=b"x"):
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_bytes(data)


def a_label(out, role="poisoned", kind="labelIds"):
    record = next(record for record in manifest(out) if record["role"] == role)
    return next(file["path"] for file in record["files"] if file["kind"] == kind)


@pytest.mark.parametrize("path", ["data.yaml", "labels/train.cache", "gtFine/train.cache", "a/b/c/x.npy"])
def test_additions_are_strangers_unless_they_are_allowed(path, out, good, poisongen):
    put(out, path)
    assert f"FAULT strangers: {path}" in poisongen("audit", out, "--jobs", 1).out
    allow = ("--allow", "data.yaml", "--allow", "*.cache", "--allow", "a/*")
    for more in ((), ("--source", good["cityscapes"][1]), ("--quick",)):
        audited = poisongen("audit", out, "--jobs", 1, *allow, *more)
        assert audited.code == 0, audited.out
        assert f"1 file is allowed: {path}" in audited.out
    told = json.loads(poisongen("audit", out, "--jobs", 1, *allow, "--json").out)
    assert (told["clean"], told["allowed"]) == (True, [path])
    assert audit(out, jobs=1, allow=[path]).clean
    other = poisongen("audit", out, "--jobs", 1, "--allow", "nothing*")
    assert other.code == 1


def changed_label(out):
    path = a_label(out)
    array = np.asarray(Image.open(out / path)).copy()
    array[:9] = 26
    Image.fromarray(array).save(out / path)


HIDDEN = {
    "a changed label": changed_label,
    "a missing label": lambda out: (out / a_label(out)).unlink(),
    "a changed record": lambda out: put(out, "poisongen/skipped.jsonl", b"{}\n"),
    "a new sample": lambda out: [
        shutil.copyfile(path, path.with_name(path.name.replace("_000019", "_999999").replace("_00000", "_10000", 1)))
        for path in [next(iter(sorted(out.glob("leftImg8bit/train/*/*.png"))))]
        for path in (path, *out.glob(f"gtFine/train/*/{path.name.removesuffix('leftImg8bit.png')}gtFine_labelIds.png"))
    ],
    "a new test sample": lambda out: [
        shutil.copyfile(path, out / "triggered" / path.relative_to(out))
        for path in (*out.glob("leftImg8bit/val/*/*.png"), *out.glob("gtFine/val/*/*_labelIds.png"))
        if not (out / "triggered" / path.relative_to(out)).exists()
    ],
    "a file among the records": lambda out: put(out, "poisongen/more.txt"),
    "a link": lambda out: (out / "cache").symlink_to(out / "gtFine"),
}


@pytest.mark.parametrize("deed", HIDDEN)
def test_no_pattern_hides_a_fault(deed, out, good):
    for source in (None, good["cityscapes"][1]):
        assert audit(out, source, jobs=1, allow=["*"]).clean
    HIDDEN[deed](out)
    for source in (None, good["cityscapes"][1]):
        assert not audit(out, source, jobs=1, allow=["*"]).clean


def encoded_anew(path, **options):
    """Save a PNG by another encoder: the same pixels in other bytes."""
    before = path.read_bytes()
    stream = io.BytesIO()
    with Image.open(path) as picture:
        picture.load()
        picture.info.clear()
        picture.save(stream, "PNG", compress_level=0, **options)
    path.write_bytes(stream.getvalue())
    assert path.read_bytes() != before


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("source", [False, True])
@pytest.mark.parametrize("layout", ["cityscapes", "voc"])
def test_another_encoding_of_the_same_pixels_is_told_and_no_fault(layout, source, quick, good, poisongen, tmp_path):
    """Every label of OUT, written and copied, of poisoned, untouched and triggered samples, and with the source images.

    Of an image that is the source's own, nobody can tell the pixels without the source.
    """
    original, root = good[layout]
    shutil.copytree(original, tmp_path / "out")
    labels = [path for path in (tmp_path / "out").rglob("*.png") if "poisongen" not in path.relative_to(tmp_path).parts]
    labels = [path for path in labels if source or "leftImg8bit" not in path.parts]
    for path in labels:
        encoded_anew(path)
    more = (("--source", root) if source else ()) + (("--quick",) if quick else ())
    audited = poisongen("audit", tmp_path / "out", "--jobs", 1, *more, "--json")
    report = json.loads(audited.out)
    assert report["faults"] == []
    assert audited.code == 0
    if not quick:
        assert len(report["reencoded"]) == len(labels)
        assert f"{len(labels)} files have other bytes and the same pixels: " in poisongen(
            "audit", tmp_path / "out", "--jobs", 1, *more
        ).out  # fmt: skip


def one_pixel(data):
    array = np.asarray(Image.open(io.BytesIO(data))).copy()
    array[0, 0] = 7 if array[0, 0] != 7 else 8
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def with_text(data):
    from tests.tampering_annotations import chunk

    return data[:-12] + chunk(b"tEXt", b"a\0b") + data[-12:]


FAULTY = {"one pixel": one_pixel, "a hidden text": with_text, "bytes after its end": lambda data: data + b"more"}


@pytest.mark.parametrize("deed", FAULTY)
@pytest.mark.parametrize("which", ["poisoned", "untouched"])
def test_what_is_more_than_another_encoding_is_a_fault(which, deed, out, good):
    if which == "poisoned":
        path = a_label(out)
    else:
        named = {file["path"] for record in manifest(out) for file in record["files"]}
        files = (path.relative_to(out).as_posix() for path in sorted(out.glob("gtFine/train/*/*_labelIds.png")))
        path = next(path for path in files if path not in named)
    (out / path).write_bytes(FAULTY[deed]((out / path).read_bytes()))
    for source in (None, good["cityscapes"][1]):
        for quick in (False, True):
            report = audit(out, source, jobs=1, quick=quick)
            assert path in {fault.file for fault in report.faults} or (quick and deed == "one pixel")
            assert path not in report.reencoded
