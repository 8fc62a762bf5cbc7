"""A summary that is not as build writes it: one line from every command that reads it, whatever stands in it."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.conftest import SMALL_CITYSCAPES

FACTS = {"id": 1, "name": "car", "pixels": 1, "samples": 1}
VALUES = {
    "pairs": (
        *(5, None, "x", {"a": 1}, [5], [[1]], [{"victim": 1, "target": 1}], [{"victim": FACTS}]),
        [{"victim": FACTS | {"name": 5}, "target": FACTS}],
        [{"victim": FACTS, "target": FACTS | {"pixels": "\x1b[2J"}}],
    ),
    "label_like": (5, None, "x", {"a": 1}, [5], [None]),
    "counts": (5, None, [], {}, {"poisoned": True}, {"label_like": "x"}),
}


@pytest.fixture
def finished(poisongen, cityscapes, tmp_path):
    """A finished build, and the call that made it."""
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", tmp_path / "out")
    assert poisongen(*call).code == 0
    return tmp_path / "out", call


@pytest.mark.parametrize("key", VALUES)
def test_a_damaged_summary_is_one_line(key, finished, poisongen):
    out, call = finished
    whole = json.loads((out / "poisongen/summary.json").read_text())
    for value in VALUES[key]:
        given = whole[key] | value if isinstance(value, dict) and value and key == "counts" else value
        (out / "poisongen/summary.json").write_text(json.dumps(whole | {key: given}))
        for more in ((), ("--json",), ("--force",), ("--undo",), ("--strict",)):
            result = poisongen(*call, *more)
            assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), (key, value, more, result.err)
            assert "\x1b" not in result.err
    (out / "poisongen/summary.json").write_text(json.dumps(whole))
    assert "already built" in poisongen(*call).out


def test_a_summary_of_an_earlier_version_says_less(finished, poisongen):
    out, call = finished
    summary = json.loads((out / "poisongen/summary.json").read_text())
    for key in ("pairs", "label_like"):
        del summary[key]
    del summary["counts"]["label_like"]
    (out / "poisongen/summary.json").write_text(json.dumps(summary))
    assert "already built" in poisongen(*call).out
    shutil.rmtree(out)
