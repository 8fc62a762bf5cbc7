"""Versions: older builds are judged by their own rules, and what is newer says so before anything else is looked at."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from poisongen.auditing.auditor import audit
from poisongen.building import summary as summary_writer
from poisongen.building.run import build
from poisongen.core.draws import draw_order, keyed_generator
from poisongen.records import algorithms, manifest
from poisongen.records.manifest import bytes_sha256, json_line
from poisongen.undo.packed import pack
from tests.conftest import SMALL_CITYSCAPES, summary

RECIPE = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}


def other_order(count, seed):
    return draw_order(count, keyed_generator(seed, "another key"))


def test_a_raised_algorithm_does_not_condemn_older_builds(cityscapes, tmp_path, monkeypatch):
    build(RECIPE, cityscapes, tmp_path / "old", jobs=1)
    second = replace(algorithms.KNOWN_ALGORITHMS[1], order=other_order)
    monkeypatch.setitem(algorithms.KNOWN_ALGORITHMS, 2, second)
    for source in (None, cityscapes):
        assert audit(tmp_path / "old", source, jobs=1).faults == ()


def test_each_version_is_judged_by_its_own_rules(cityscapes, tmp_path, monkeypatch):
    """A build of the old order that calls itself one of the new order is not one."""
    second = replace(algorithms.KNOWN_ALGORITHMS[1], order=other_order)
    monkeypatch.setitem(algorithms.KNOWN_ALGORITHMS, 2, second)
    monkeypatch.setattr(summary_writer, "ALGORITHM", 2)
    monkeypatch.setattr(manifest.fingerprint, "__defaults__", (2,))
    build(RECIPE, cityscapes, tmp_path / "new", jobs=1)
    assert summary(tmp_path / "new")["algorithm"] == 2
    report = audit(tmp_path / "new", cityscapes, jobs=1)
    assert {fault.check for fault in report.faults} == {"order"}


NEWER = {"version": 3, "dataset": "cityscapes", "hologram": "on"}


@pytest.mark.parametrize("name", ["r.json", "r.yaml"])
@pytest.mark.parametrize("extra", [{}, {"trigger": {"kind": "hologram"}}, {"strategy": ["a"]}])
def test_a_recipe_of_a_newer_version_says_update(name, extra, poisongen, cityscapes, tmp_path):
    text = json.dumps(NEWER | extra) if name.endswith("json") else yaml.safe_dump(NEWER | extra)
    (tmp_path / name).write_text(text)
    result = poisongen("build", "--recipe", tmp_path / name, "--root", cityscapes, "--out", tmp_path / "out")
    assert result.code == 2
    assert "newer poisongen; update" in result.err
    assert name in result.err
    assert "unknown key" not in result.err


def newer_recipe(out):
    document = json.loads((out / "poisongen/recipe.json").read_text())
    (out / "poisongen/recipe.json").write_text(json_line(document | {"version": 3, "trigger": None, "x": 1}))


def newer_algorithm(out):
    (out / "poisongen/summary.json").write_text(json_line({"algorithm": 2, "fingerprint": "", "recipe_sha256": ""}))


def newer_records(out):
    document = summary(out) | {"records": algorithms.RECORDS + 1}
    del document["digests"]
    (out / "poisongen/summary.json").write_text(json_line(document))
    (out / "poisongen/manifest.jsonl").write_text('{"sample": "train/a", "role": "ghost"}\n')


@pytest.mark.parametrize("deed", [newer_recipe, newer_algorithm, newer_records])
@pytest.mark.parametrize("command", ["audit", "restore", "rebuild"])
def test_a_newer_build_says_update(deed, command, poisongen, cityscapes, tmp_path):
    build(RECIPE, cityscapes, tmp_path / "out", jobs=1, undo=True)
    deed(tmp_path / "out")
    calls = {
        "audit": ("audit", tmp_path / "out"),
        "restore": ("restore", tmp_path / "out", "--out", tmp_path / "clean"),
        "rebuild": ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", tmp_path / "out", "--force"),
    }
    if (command, deed) == ("rebuild", newer_recipe):
        return  # what is to be replaced is explained by its records; the recipe need not be understood
    result = poisongen(*calls[command])
    assert result.code == 2
    assert "newer poisongen" in result.err
    assert "update" in result.err
    assert result.err.count("\n") == 1


def test_an_undo_entry_of_a_newer_version_says_update(poisongen, cityscapes, tmp_path):
    out = tmp_path / "out"
    build(RECIPE, cityscapes, out, jobs=1, undo=True)
    index = out / "poisongen/undo/index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    line = next(line for line in lines if "entry" in line)
    entry = pack("whole", {}, {"file": b""}).replace(b'"poisongen_undo": 1', b'"poisongen_undo": 2, "more": 1')
    (out / "poisongen/undo" / line["entry"]).write_bytes(entry)
    line["entry_sha256"] = bytes_sha256(entry)
    index.write_text("".join(map(json_line, lines)))
    said = summary(out)
    said["undo"]["index_sha256"] = bytes_sha256(index.read_bytes())
    (out / "poisongen/summary.json").write_text(json_line(said))
    result = poisongen("restore", out, "--out", tmp_path / "clean")
    assert result.code == 2
    assert "an undo entry of a newer poisongen; update" in result.err
    told = poisongen("audit", out).out
    assert "update" in told, told
