"""What a store, a record or a link may say: restore refuses what audit refuses, and honest oddities are no faults."""

from __future__ import annotations

import json

import pytest

from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from poisongen.files.documents import parse_json, parse_yaml
from poisongen.records.manifest import bytes_sha256
from tests.forgery import Forgery
from tests.tampering_trust import UNDO_DEEDS
from tests.test_tampering import broken

RECIPE = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}


@pytest.mark.parametrize("deed", UNDO_DEEDS)
def test_restore_refuses_what_the_records_do_not_explain(deed, poisongen, cityscapes, tmp_path):
    build(RECIPE, cityscapes, tmp_path / "out", jobs=1, link="copy", undo=True)
    deed(Forgery(tmp_path / "out", cityscapes))
    result = poisongen("restore", tmp_path / "out", "--out", tmp_path / "clean")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "--source" in result.err
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize("scale", [1, 0.5])
def test_restore_gives_back_what_a_build_with_bad_samples_left_out(scale, poisongen, cityscapes, tmp_path):
    root = broken(cityscapes, tmp_path / "source")
    recipe = RECIPE | {"scale": scale, "trigger_size": 5, "skip_bad": True}
    build(recipe, root, tmp_path / "out", jobs=1, undo=True)
    assert poisongen("restore", tmp_path / "out", "--out", tmp_path / "clean").code == 0
    assert poisongen("audit", tmp_path / "out").code == 0
    assert poisongen("audit", tmp_path / "out", "--source", root).code == 0
    clean, source = (
        sorted(path for path in place.rglob("*") if path.is_file()) for place in (tmp_path / "clean", root)
    )
    assert [path.read_bytes() for path in clean] == [path.read_bytes() for path in source]


@pytest.mark.parametrize("link", ["symlink", "hardlink"])
@pytest.mark.parametrize("relative", [False, True])
def test_links_as_build_makes_them_are_right(link, relative, poisongen, cityscapes, tmp_path):
    root = "cityscapes" if relative else cityscapes
    build(RECIPE, cityscapes, tmp_path / "out", jobs=1, link=link)
    assert poisongen("audit", tmp_path / "out", "--source", root).code == 0
    (tmp_path / "other").symlink_to(cityscapes)
    assert poisongen("audit", tmp_path / "out", "--source", tmp_path / "other").code == 0


def test_hard_links_have_the_permissions_of_the_source(poisongen, cityscapes, tmp_path):
    """In a shared folder files are often set-group-ID and executable; build's own files are neither."""
    for path in cityscapes.rglob("*.*"):
        path.chmod(0o2775)
    build(RECIPE, cityscapes, tmp_path / "out", jobs=1, link="hardlink")
    assert poisongen("audit", tmp_path / "out", "--source", cityscapes).code == 0
    result = poisongen("audit", tmp_path / "out")
    assert result.code == 0
    assert "set-group-ID" in result.out


def test_a_file_system_without_permissions_is_no_fault(poisongen, cityscapes, tmp_path):
    build(RECIPE, cityscapes, tmp_path / "out", jobs=1, link="copy")
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        path.chmod(0o777)
    result = poisongen("audit", tmp_path / "out", "--source", cityscapes)
    assert result.code == 0
    assert "executable bits" in result.out


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 2, "a": 1}}]', '{"a": ' + "9" * 101 + "}"])
@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_a_text_has_one_meaning(text, parse):
    with pytest.raises(Exception, match=r"twice|digits"):
        parse(text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.json", '{"dataset": "cityscapes", "strategy": "nn", "strategy": "far"}', "'strategy' stands twice"),
        ("r.yaml", "dataset: cityscapes\nstrategy: nn\nseed: 1\nseed: 2\n", "'seed' stands twice"),
        ("r.json", '{"dataset": "cityscapes", "strategy": "nn", "seed": ' + "9" * 4400 + "}", "100 digits"),
        ("r.yaml", "dataset: cityscapes\nstrategy: nn\nseed: 0x" + "f" * 4400, "100 digits"),
    ],
)
def test_a_recipe_has_one_meaning(name, text, said, poisongen, cityscapes, tmp_path):
    (tmp_path / name).write_text(text)
    result = poisongen("build", "--recipe", tmp_path / name, "--root", cityscapes, "--out", tmp_path / "out")
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1


DOUBLE = {"manifest.jsonl": "sample", "links.jsonl": "path", "skipped.jsonl": "sample", "undo/index.jsonl": "path"}


@pytest.mark.parametrize("name", DOUBLE)
@pytest.mark.parametrize("command", ["audit", "restore", "rebuild", "report"])
def test_no_reader_takes_a_key_twice(name, command, poisongen, cityscapes, tmp_path):
    out = tmp_path / "out"
    build(RECIPE, cityscapes, out, jobs=1, undo=True)
    line = json.dumps({"sample": "x", "split": "val", "role": "triggered", "reason": "no eligible position"})
    text = (out / "poisongen" / name).read_text() or line + "\n"
    (out / "poisongen" / name).write_text(text.replace("{", '{"' + DOUBLE[name] + '": "x", ', 1))
    calls = {
        "audit": ("audit", out),
        "restore": ("restore", out, "--out", tmp_path / "clean"),
        "rebuild": ("build", "--recipe", "r.json", "--root", cityscapes, "--out", out, "--force"),
        "report": ("report", out, "--no-audit", "--jobs", 1),
    }
    (tmp_path / "r.json").write_text(json.dumps(RECIPE | {"seed": 1}))
    if command == "rebuild" and name == "skipped.jsonl":
        return  # names no file of OUT
    result = poisongen(*calls[command])
    if command == "report" and name == "undo/index.jsonl":  # all else can be shown
        assert result.code == 0
        assert "The records have" in (tmp_path / "report.html").read_text(encoding="utf-8")
        return
    assert result.code == (1 if command == "audit" else 2)
    assert name in result.out + result.err


def test_the_poisoned_sample_among_links_is_found_without_a_store(cityscapes, tmp_path):
    build(RECIPE, cityscapes, tmp_path / "out", jobs=1, link="copy")
    forge = Forgery(tmp_path / "out", cityscapes)
    links = forge.lines("links.jsonl")
    link = next(link for link in links if link["path"].startswith("leftImg8bit/train/"))
    data = forge.read(link["path"])
    new = forge.read(forge.path("poisoned"))[: len(data)].ljust(len(data), b"\0")
    forge.write(link["path"], new)
    link["sha256"] = bytes_sha256(new)
    forge.write_lines("links.jsonl", links)
    forge.seal()
    report = audit(tmp_path / "out", cityscapes, jobs=1)
    assert [(fault.check, fault.file) for fault in report.faults] == [("source", link["path"])]
