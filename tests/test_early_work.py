"""Samples are done on the occasion of the survey's read: each is read once, and the plan has the last word."""

from __future__ import annotations

import collections

import pytest

from poisongen import audit, build
from poisongen.building import placing, plan, sample, survey
from poisongen.errors import ChoiceError
from poisongen.records.standing import STAGING
from poisongen.source import derived, picture
from tests.conftest import manifest, summary

CITYSCAPES = {"dataset": "cityscapes", "strategy": "random", "trigger_size": 7, "rate": 0.3}
RECIPES = {
    "patch": {},
    "random labels": {"prl": "5%"},
    "random labels, poisoned": {"prl": 50, "prl_scope": "poisoned"},
    "scaled": {"scale": 0.5, "trigger_size": 5},
    "no train IDs": {"train_ids": "never"},
    "blend": {"trigger_kind": "blend", "strategy": "whole", "trigger_size": None},
    "negatives": {"only_if": ["present:person"], "negatives": "100%", "allow_fewer": True},
    "bad ones skipped": {"skip_bad": True},
}


def recipe(name):
    return {key: value for key, value in (CITYSCAPES | RECIPES[name]).items() if value is not None}


def contents(out):
    """Every file's bytes but the summary's, which holds the time."""
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*.*") if path.name != "summary.json"}


def without_train_ids(root):
    for path in root.rglob("*_labelTrainIds.png"):
        path.unlink()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("whole", [True, False])
def test_the_same_files_as_without_early_work(name, whole, cityscapes, tmp_path, monkeypatch):
    """Where the first candidates have no place others take their turn, whose labels were written otherwise already."""
    if not whole:
        without_train_ids(cityscapes)
        honest, first = placing.place_on, []

        def place_on(labels, item, role, rules):
            if role == "poisoned" and (not first or first[0] == item.name):
                first[:] = [item.name]
                return "no eligible position"
            return honest(labels, item, role, rules)

        monkeypatch.setattr(placing, "place_on", place_on)
    early = build(recipe(name), cityscapes, tmp_path / "early", jobs=1)
    real = plan.survey
    monkeypatch.setattr(plan, "survey", lambda *arguments: real(*arguments[:6]))
    late = build(recipe(name), cityscapes, tmp_path / "late", jobs=1)
    assert early.counts == late.counts
    assert early.counts["poisoned"] > 0
    assert early.fingerprint == late.fingerprint
    assert contents(tmp_path / "early") == contents(tmp_path / "late")
    if whole:
        assert audit(tmp_path / "early", cityscapes, jobs=1).clean


@pytest.mark.parametrize("kind", ["patch", "blend", "warp"])
def test_a_sample_is_read_once(kind, cityscapes, tmp_path, monkeypatch):
    labels, images = collections.Counter(), collections.Counter()
    real_read, real_decode = derived.read_labels, picture.open_picture

    def read(root, item, *arguments, **keywords):
        labels[item.name] += 1
        return real_read(root, item, *arguments, **keywords)

    def decode(data, path):
        images[path] += 1
        return real_decode(data, path)

    for module in (derived, sample, placing):
        monkeypatch.setattr(module, "read_labels", read)
    monkeypatch.setattr(picture, "open_picture", decode)
    without_train_ids(cityscapes)
    own = {} if kind == "patch" else {"trigger_kind": kind, "strategy": "whole", "trigger_size": None}
    chosen = {
        key: value for key, value in (CITYSCAPES | own | {"count": 10, "rate": None}).items() if value is not None
    }
    done = build(chosen | {"allow_fewer": True}, cityscapes, tmp_path / "out", jobs=1)
    assert done.counts["poisoned"] == done.counts["train_candidates"] > 7
    assert set(labels.values()) == {1}
    assert set(images.values()) == {1}
    assert len(images) == done.counts["train_samples"] + done.counts["test_samples"]


def test_a_build_that_cannot_be_planned_leaves_nothing(cityscapes, tmp_path):
    with pytest.raises(ChoiceError, match="9 can be"):
        build(CITYSCAPES | {"rate": 1.0}, cityscapes, tmp_path / "new/folder/out", jobs=1)
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ChoiceError, match="9 can be"):
        build(CITYSCAPES | {"rate": 1.0}, cityscapes, tmp_path / "mine/out", jobs=1)
    assert [*tmp_path.glob("mine/*")] == []


def test_what_an_interrupted_survey_has_done_is_not_done_again(cityscapes, tmp_path, monkeypatch):
    real, seen = survey.survey_sample, []

    def interrupted(errand, root, rules):
        if len(seen) == 8:
            raise KeyboardInterrupt
        seen.append(errand)
        return real(errand, root, rules)

    monkeypatch.setattr(survey, "survey_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(CITYSCAPES | {"prl": "5%"}, cityscapes, tmp_path / "out", jobs=1)
    lines = (tmp_path / "out" / STAGING / "journal.jsonl").read_text().splitlines()
    assert len(lines) >= 7
    monkeypatch.undo()
    done, do_task = [], sample.do_task
    monkeypatch.setattr("poisongen.building.early.do_task", lambda *given: done.append(given[0]) or do_task(*given))
    again = build(CITYSCAPES | {"prl": "5%"}, cityscapes, tmp_path / "out", jobs=1)
    assert len(done) == len(manifest(tmp_path / "out")) - len(lines)
    monkeypatch.undo()
    fresh = build(CITYSCAPES | {"prl": "5%"}, cityscapes, tmp_path / "fresh", jobs=1)
    assert again.fingerprint == fresh.fingerprint == summary(tmp_path / "out")["fingerprint"]
