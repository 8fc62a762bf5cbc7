"""The pages about attacks name everything that is there, and every picture that they show is there and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from poisongen.attack.conditions import conditions
from poisongen.attack.label_rules import label_rules
from poisongen.attack.triggers import trigger_kinds
from poisongen.records.manifest import SampleRecord, TriggerRecord

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
PICTURES = sorted(re.findall(r"!\[[^\]]+\]\((images/attacks/[^)]+)\)", PAGE))


@pytest.mark.parametrize("kind", trigger_kinds().parts)
def test_every_kind_of_trigger_has_a_sentence_a_picture_and_its_figures(kind):
    assert f"\n**`{kind}`**: " in PAGE
    assert any(re.fullmatch(rf"images/attacks/kind-{kind}(-\w+)?\.jpg", picture) for picture in PICTURES)
    assert re.search(rf"\n\| `{kind}`[^|]*\| +\d+\.\d+ dB +\|[^|]+\| +\d\.\d\d +\|", PAGE)
    for option in set(trigger_kinds().parts[kind].options) - {"opacity", "border", "key", "noise"}:
        assert f"`{option}" in PAGE, option


@pytest.mark.parametrize("rule", label_rules().parts)
def test_every_label_rule_has_a_sentence_and_a_picture_and_is_defined(rule):
    assert f"\n**`{rule}`**: " in PAGE
    assert f"images/attacks/rule-{rule}.jpg" in PICTURES
    rules = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    assert f"\n| `{rule}` | " in rules
    for option in label_rules().parts[rule].options:
        assert f"`{option}" in PAGE, option
        assert f"`{option}" in rules, option


def test_every_condition_is_told():
    for condition in conditions().parts.values():
        assert f"\n| `{condition.form}` | " in PAGE


def test_pictures_are_there_small_and_all_shown():
    there = sorted(f"images/attacks/{path.name}" for path in (ROOT / "docs/images/attacks").iterdir())
    assert there == PICTURES
    for picture in there:
        path = ROOT / "docs" / picture
        assert path.stat().st_size < 60_000, picture
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert image.width > 900


def test_every_key_of_a_record_is_told():
    formats = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", formats))
    known = set(SampleRecord.model_fields) | set(TriggerRecord.model_fields)
    assert not known - told - {"sample", "split", "center"}  # the examples show these
