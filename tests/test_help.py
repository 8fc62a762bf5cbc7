"""What `--help` and `list` print: examples as written, options in groups, classes under their dataset's name."""

from __future__ import annotations

import json
import shlex

import click
import pytest

from poisongen.cli import COMMANDS, group
from poisongen.cli.help import Command


def command_of(name):
    return group.get_command(click.Context(group), name)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_prints_as_it_is_written_and_can_be_called(name, poisongen):
    command = command_of(name)
    assert isinstance(command, Command)
    text = poisongen(name, "--help").out
    assert "\\b" not in text
    lines = text.splitlines()
    begin = lines.index("Example:")
    assert command.example
    assert [line.strip() for line in lines[begin + 1 : begin + 1 + len(command.example)]] == command.example
    for line in command.example:
        words = shlex.split(line)
        while words and words[0] != "poisongen":
            words.pop(0)  # torchrun ... -m poisongen
        assert words[1] == name
        command.make_context(name, words[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_many_options_stand_in_groups_each_once(name, poisongen):
    command = command_of(name)
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    named = [key for keys in command.sections.values() for key in keys]
    assert len(named) == len(set(named))
    assert set(named) <= {option.name for option in options}
    if len(options) > 12:
        assert set(named) == {option.name for option in options}
        assert len(command.sections) >= 3
    text = poisongen(name, "--help").out
    for title in command.sections:
        assert f"\n{title}:\n" in text
    for option in options:
        assert text.count(f"\n  {option.opts[0]} ") + text.count(f"\n  {option.opts[0]}\n") == 1, option.opts


def test_list_names_the_dataset_of_its_classes(poisongen):
    for call, dataset, a_class in (
        (("list",), "cityscapes", "ego vehicle"),
        (("list", "--dataset", "voc"), "voc", "aeroplane"),
        (("list", "--dataset", "camvid"), "camvid", "bicyclist"),
    ):
        lines = poisongen(*call).out.splitlines()
        at = lines.index(f"classes of {dataset}:")
        assert any(a_class in line for line in lines[at:])
    alone = poisongen("list", "classes")
    assert alone.err == "poisongen: classes of cityscapes; --dataset names another\n"
    assert alone.out.splitlines()[26].split() == ["26", "car"]
    assert json.loads(poisongen("list", "--json", "--dataset", "voc").out)["classes"]["15"] == "person"
