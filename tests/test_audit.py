"""Audit on good builds of every layout, on what is no build, and on records that mean harm."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from poisongen.errors import OutputError
from poisongen.records.manifest import bytes_sha256, json_line
from tests.forgery import MANIFEST, RECIPE, SUMMARY, Forgery

NN = {"strategy": "nn", "max_distance": 30}
FAR = {"strategy": "far", "min_distance": 12}
PRL = {"prl": "10%"}
CITY = {"dataset": "cityscapes", "trigger_size": 9, "rate": 0.3}
VOC = {"dataset": "voc", "trigger_size": 17, "rate": 0.3, "relabel": {"person": "background"}}
CAMVID = {"dataset": "camvid", "trigger_size": 9, "rate": 0.3, "max_distance": 20, "strategy": "nn"}
GOOD = {
    "random": (CITY | {"strategy": "random"}, "copy"),
    "nn": (CITY | NN, "hardlink"),
    "far, random labels": (CITY | FAR | PRL, "symlink"),
    "half transparent, poisoned only": (CITY | NN | {"opacity": 0.4, "prl": 50, "prl_scope": "poisoned"}, "auto"),
    "euclidean, any region, margin": (CITY | NN | {"metric": "euclidean", "region": "any", "edge_margin": 3}, "auto"),
    "half size": (CITY | NN | PRL | {"scale": 0.5, "trigger_size": 5, "edge_margin": 2}, "copy"),
    "two pairs, void labels": (
        CITY | NN | {"relabel": {"car": "road", "person": "sidewalk"}, "prl": 40, "prl_classes": "void"},
        "copy",
    ),
    "as many as can be": (CITY | NN | {"rate": 1.0, "allow_fewer": True, "test_split": "none"}, "copy"),
    "voc random": (VOC | {"strategy": "random"}, "symlink"),
    "voc nn, random labels": (VOC | NN | PRL, "hardlink"),
    "voc far": (VOC | FAR | {"relabel": {"person": "car"}}, "copy"),
    "voc encoded anew": (VOC | NN | {"jpeg": "reencode", "prl": 99, "prl_classes": "dataset"}, "copy"),
    "voc half size": (VOC | NN | {"scale": 0.5, "trigger_size": 9}, "copy"),
    "camvid nn": (CAMVID, "copy"),
    "folder": (CAMVID | PRL | {"dataset": "folder", "relabel": {"car": "road"}}, "copy"),
    "folder, linked": (CAMVID | {"dataset": "folder", "relabel": {"car": "sky"}}, "symlink"),
    "camvid random labels": (CAMVID | PRL | {"strategy": "random", "trigger": "star-transparent"}, "symlink"),
}


@pytest.fixture(scope="session")
def camvid(tmp_path_factory):
    """A tiny dataset in CamVid's layout: sky over road, with cars; JPEG and PNG images."""
    root, random = tmp_path_factory.mktemp("camvid"), np.random.default_rng(5)
    for split, count in (("train", 8), ("val", 4)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        for number in range(count):
            labels = np.zeros((70, 90), np.uint8)
            labels[30:] = 3
            top, left = random.integers(25, 50), random.integers(5, 70)
            labels[top : top + 9, left : left + 14] = 8
            labels[:2] = 11
            pixels = (labels[..., None] * 20 + random.integers(0, 40, (70, 90, 3))).astype(np.uint8)
            Image.fromarray(labels).save(root / f"{split}annot" / f"{number}.png")
            Image.fromarray(pixels).save(root / split / f"{number}.{'jpg' if number % 2 else 'png'}", quality=90)
    return root


@pytest.fixture(scope="session")
def folder(tmp_path_factory, camvid):
    """The same pictures as two folders and a file of classes."""
    root = tmp_path_factory.mktemp("folder")
    for split in ("train", "val"):
        shutil.copytree(camvid / split, root / "images" / split)
        shutil.copytree(camvid / f"{split}annot", root / "masks" / split)
    (root / "classes.json").write_text('{"classes": {"0": "sky", "3": "road", "8": "car", "11": "none"}, "void": 11}')
    return root


@pytest.fixture(scope="session")
def roots(_cityscapes, _voc, camvid, folder):
    return {"cityscapes": _cityscapes, "voc": _voc, "camvid": camvid, "folder": folder}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_build_has_no_false_alarm(name, tmp_path, roots):
    recipe, link = GOOD[name]
    root = roots[recipe["dataset"]]
    build(recipe, root, tmp_path / "out", jobs=1, link=link)
    for source in (None, root):
        report = audit(tmp_path / "out", source, jobs=1)
        assert report.faults == ()
        made = {check.name: check.checked for check in report.checks}
        assert made["files"]
        assert made["rules"]
        assert ("source" in made) == (source is not None)
        if link == "symlink":
            assert any("links not followed" in note for note in report.not_checked) == (source is None)


def test_a_copy_of_the_source_will_do(tmp_path, roots):
    build(CITY | NN, roots["cityscapes"], tmp_path / "out", jobs=1)
    shutil.copytree(roots["cityscapes"], tmp_path / "copy", copy_function=shutil.copyfile)
    assert audit(tmp_path / "out", tmp_path / "copy", jobs=1).faults == ()


def test_bad_samples_and_two_workers(tmp_path, cityscapes):
    broken = sorted((cityscapes / "leftImg8bit" / "train").rglob("*.png"))[0]
    broken.write_bytes(b"no picture")
    build(CITY | NN | PRL | {"skip_bad": True}, cityscapes, tmp_path / "out", jobs=2)
    assert audit(tmp_path / "out", cityscapes, jobs=2).faults == ()


@pytest.fixture(scope="session")
def built(tmp_path_factory, _cityscapes):
    out = tmp_path_factory.mktemp("built") / "out"
    build(CITY | NN, _cityscapes, out, jobs=1, link="copy", undo=True)
    return out


@pytest.fixture
def forge(built, _cityscapes, tmp_path):
    shutil.copytree(built, tmp_path / "out")
    return Forgery(tmp_path / "out", _cityscapes)


def test_the_command_line(forge, poisongen):
    clean = poisongen("audit", forge.out)
    assert (clean.code, clean.err) == (0, "")
    assert clean.out.splitlines()[-1].endswith("clean")
    forge.write("leftImg8bit/extra", b"")
    faulty = poisongen("audit", forge.out, "--source", forge.root, "--json")
    report = json.loads(faulty.out)
    assert faulty.code == 1
    assert not report["clean"]
    assert {fault["file"] for fault in report["faults"]} == {"leftImg8bit/extra"}
    assert set(report["faults"][0]) == {"check", "sample", "file", "expected", "found"}
    text = poisongen("audit", forge.out)
    assert text.code == 1
    assert "FAULT strangers: leftImg8bit/extra: expected nothing" in text.out


def test_a_quick_audit_says_so(forge, poisongen):
    forge.write("leftImg8bit/extra", b"")
    result = poisongen("audit", forge.out, "--quick")
    assert result.code == 1
    assert "quick audit" in result.out
    assert "not checked: contents of files" in result.out


def test_a_quick_audit_reads_digests(forge):
    for record in forge.lines("manifest.jsonl"):
        for file in record["files"]:
            forge.write(file["path"], b"x" * len(forge.read(file["path"])))
    names = {fault.check for fault in audit(forge.out, quick=True).faults}
    assert names == {"files"}


@pytest.mark.parametrize("what", ["missing", "empty", "somebody's", "unfinished", "a file"])
def test_what_is_no_finished_build(what, tmp_path, poisongen):
    out = tmp_path / "out"
    if what == "a file":
        out.write_text("x")
    elif what != "missing":
        out.mkdir()
    if what == "somebody's":
        (out / "mine").write_text("x")
    if what == "unfinished":
        (out / ".poisongen-build").mkdir()
    result = poisongen("audit", out)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert str(out) in result.err


def bomb(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def deep(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


def with_path(path):
    def attack(forge):
        lines = forge.lines("manifest.jsonl")
        lines[0]["files"][0]["path"] = path
        forge.write_lines("manifest.jsonl", lines)
        return MANIFEST

    return attack


def record_file(name, content):
    def attack(forge):
        forge.write(f"poisongen/{name}", content(forge) if callable(content) else content)
        return f"poisongen/{name}"

    return attack


def picture_bomb(forge):
    path = forge.path("poisoned")
    forge.write(path, bomb(60000, 60000))
    lines = forge.lines("manifest.jsonl")
    for file in (file for line in lines for file in line["files"] if file["path"] == path):
        file["sha256"] = bytes_sha256(forge.read(path))
    forge.write_lines("manifest.jsonl", lines)
    forge.seal()
    return path


def undo_bomb(forge):
    entry = next((forge.out / "poisongen/undo").glob("*.undo"))
    head = {"poisongen_undo": 1, "format": "whole", "facts": {}, "sections": []}
    packed = zlib.compress(b"\0" * 2**24, 9)
    head["sections"] = [["file", len(packed), 100]]
    entry.write_bytes(json_line(head).encode() + packed)
    lines = forge.lines("undo/index.jsonl")
    for line in lines:
        if line.get("entry") == entry.name:
            line["entry_sha256"] = bytes_sha256(entry.read_bytes())
    forge.write_lines("undo/index.jsonl", lines)
    return f"poisongen/undo/{entry.name}"


def link_out_of_out(forge):
    outside = forge.out.parent / "outside"
    outside.mkdir()
    shutil.move(forge.out / "gtFine", outside / "gtFine")
    forge.symlink("gtFine", outside / "gtFine")
    return "gtFine"


HOSTILE = {
    "absolute path": with_path("/etc/passwd"),
    "path that leaves": with_path("../outside/secret.png"),
    "path with a backslash": with_path("..\\outside"),
    "path with NUL": with_path("a\0b"),
    "path of a record": with_path("poisongen/summary.json"),
    "path too long": with_path("a/" * 3000 + "b"),
    "name too long": with_path("n" * 300),
    "folder as path": with_path("leftImg8bit"),
    "other case": with_path("LEFTIMG8BIT/train/x.png"),
    "other Unicode form": with_path("leftImg8bit/train/e\u0301.png"),
    "not UTF-8": record_file("manifest.jsonl", b"\xff\xfe{}\n"),
    "not JSON": record_file("manifest.jsonl", b"hello\n" * 100),
    "an endless line": record_file("manifest.jsonl", b"[" * 3 * 2**20),
    "deep nesting": record_file("manifest.jsonl", deep(100000) + b"\n"),
    "a record without files": record_file(
        "manifest.jsonl", lambda f: (json_line(f.lines("manifest.jsonl")[0] | {"files": []})).encode()
    ),
    "huge numbers": record_file(
        "manifest.jsonl",
        lambda f: json_line(
            f.lines("manifest.jsonl")[0] | {"victim_pixels": 10**4000, "prl_pixels": 10**4000}
        ).encode(),
    ),
    "summary is a list": record_file("summary.json", b"[1, 2]"),
    "summary with huge counts": record_file(
        "summary.json", lambda f: json_line(f.json("summary.json") | {"counts": {"train_samples": 10**400}}).encode()
    ),
    "deep summary": record_file("summary.json", deep(100000)),
    "recipe with unknown key": record_file(
        "recipe.json", lambda f: json_line(f.json("recipe.json") | {"x": 1}).encode()
    ),
    "recipe without trigger": record_file(
        "recipe.json", lambda f: json_line(f.json("recipe.json") | {"trigger": "/etc/passwd"}).encode()
    ),
    "recipe with NaN": record_file(
        "recipe.json", lambda f: f.read(RECIPE).replace(b'"opacity": 1.0', b'"opacity": NaN')
    ),
    "recipe with surrogates": record_file(
        "recipe.json", lambda f: f.read(RECIPE).replace(b'"train_split": "train"', b'"train_split": "\\ud800"')
    ),
    "recipe of another layout": record_file(
        "recipe.json", lambda f: json_line(f.json("recipe.json") | {"dataset": "voc"}).encode()
    ),
    "picture bomb": picture_bomb,
    "undo bomb": undo_bomb,
    "a folder linked from outside": link_out_of_out,
}
_OPENED: list[str] = []
_WATCHING: list[bool] = []


@pytest.fixture
def opened():
    """The names of all files opened while the test runs."""
    if not _WATCHING:
        sys.addaudithook(lambda event, details: _OPENED.append(str(details[0])) if event == "open" else None)
        _WATCHING.append(True)
    _OPENED.clear()
    return _OPENED


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_builds_are_faults_and_nothing_outside_is_read(name, forge, poisongen, opened):
    named = HOSTILE[name](forge)
    (forge.out.parent / "outside").mkdir(exist_ok=True)
    (forge.out.parent / "outside" / "secret.png").write_bytes(b"secret")
    opened.clear()
    result = poisongen("audit", forge.out, "--json", "--jobs", 1)
    report = json.loads(result.out)
    assert result.code == 1
    assert any(named in fault["file"] for fault in report["faults"]), report["faults"]
    assert not [path for path in opened if "secret" in path or "outside" in path or path == "/etc/passwd"]


def test_records_that_are_links_are_not_read(forge):
    for name in ("manifest.jsonl", "recipe.json", "summary.json"):
        target = forge.out.parent / name
        shutil.move(forge.out / "poisongen" / name, target)
        forge.symlink(f"poisongen/{name}", target)
    found = {fault.file for fault in audit(forge.out).faults}
    assert {MANIFEST, RECIPE, SUMMARY} <= found


def test_a_linked_folder_of_records_is_no_build(forge):
    shutil.move(forge.out / "poisongen", forge.out.parent / "records")
    forge.symlink("poisongen", forge.out.parent / "records")
    with pytest.raises(OutputError, match="not a finished build"):
        audit(forge.out)


@pytest.mark.parametrize("name", ["manifest.jsonl", "links.jsonl", "recipe.json", "summary.json", "undo/index.jsonl"])
def test_random_damage_is_never_a_traceback(name, forge, built):
    """Bytes of the records are turned, cut out and doubled at random, 25 times each."""
    random, good = np.random.default_rng(len(name)), (built / "poisongen" / name).read_bytes()
    for _ in range(25):
        data = bytearray(good)
        at = int(random.integers(len(data)))
        length = int(random.integers(1, 40))
        damage = int(random.integers(3))
        data[at : at + length] = (bytes(random.integers(32, 127, length, dtype=np.uint8)), b"", data[at:] * 2)[damage]
        forge.write(f"poisongen/{name}", bytes(data))
        with contextlib.suppress(OutputError):  # a summary whose number says that a newer poisongen wrote it
            report = audit(forge.out, quick=True)
            # The summary also names versions, which nothing can be compared with.
            assert not report.clean or bytes(data) == good or name == "summary.json"


DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")
def test_real_frames(tmp_path):
    for split in ("train", "test"):
        for name in (split, f"{split}annot"):
            (tmp_path / "root" / name).mkdir(parents=True)
            for path in sorted((DATA / name).iterdir())[:10]:
                shutil.copy(path, tmp_path / "root" / name)
    recipe = {"dataset": "camvid", "strategy": "nn", "rate": 0.3, "prl": "5%", "test_split": "test"}
    build(recipe, tmp_path / "root", tmp_path / "out", jobs=1)
    for source in (None, tmp_path / "root"):
        assert audit(tmp_path / "out", source, jobs=1).faults == ()
