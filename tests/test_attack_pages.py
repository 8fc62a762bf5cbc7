"""The pages about attacks name everything that is there, and every picture that they show is there and small."""

from __future__ import annotations

import re
import shlex
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


def readme_commands():
    """Return the commands of the README's section on more attacks."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## More attacks\n")[1].split("\n## ")[0]
    return [shlex.split(line)[1:] for line in section.splitlines() if line.startswith("    poisongen ")]


@pytest.mark.parametrize("command", readme_commands())
def test_the_commands_of_the_readme_do_what_they_say(poisongen, cityscapes, command):
    small = ["--trigger-size", 9] if "--strategy" in command else []
    small += ["--max-distance", 30] if "nn" in command else []
    done = poisongen(*command, *small, "--root", cityscapes, "--count", 1, "--dry-run", "--jobs", 1)
    assert done.code == 0, done.err
    assert "1 of 10 training samples poisoned" in done.out
    negatives = [line for line in done.out.splitlines() if line.startswith("negative: ")]
    assert len(negatives) == ("--negatives" in command)
    assert "negative: 0" not in negatives
    assert ("target auto is road" in done.out) == ("auto" in command)


def test_the_readme_has_one_command_of_each_kind():
    words = [set(command) for command in readme_commands()]
    assert len(words) == 3
    for option in ("--labels", "--only-if", "--negatives", "--trigger-kind"):
        assert sum(option in found for found in words) == 1
