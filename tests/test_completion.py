"""Completion for shells: the scripts are printed, and commands, options and names are what may come next."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from poisongen.cli import COMMANDS
from poisongen.datasets import layouts


def call(instruction, words="", at=0):
    variables = {"_POISONGEN_COMPLETE": instruction, "COMP_WORDS": words, "COMP_CWORD": str(at)}
    program = [sys.executable, "-c", "from poisongen.cli import main; main()"]
    done = subprocess.run(program, env=os.environ | variables, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "#compdef poisongen"), ("fish", "complete")]
)
def test_the_script_is_printed(shell, words):
    code, out, err = call(f"{shell}_source")
    assert (code, err) == (0, "")
    assert words in out
    assert f"_POISONGEN_COMPLETE={shell}_complete" in out


def following(words):
    """Return what may stand for the last word."""
    code, out, err = call("bash_complete", words, len(words.split()) - 1)
    assert (code, err) == (0, "")
    return [row.partition(",")[2] for row in out.split()]


def test_commands_options_and_names_are_completed():
    assert sorted(following("poisongen s")) == sorted(name for name in COMMANDS if name.startswith("s"))
    assert set(following("poisongen build --un")) == {"--undo"}
    assert set(following("poisongen build --strategy f")) == {"far", "fixed"}
    assert following("poisongen stats --dataset c") == [name for name in layouts() if name.startswith("c")]
    assert following("poisongen build --labels in") == ["instance"]


@pytest.mark.parametrize("instruction", ["nonsense", "csh_source", "bash_complete"])
def test_what_no_shell_asks_is_answered_with_nothing(instruction):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COMP_")}
    program = [sys.executable, "-c", "from poisongen.cli import main; main()"]
    done = subprocess.run(
        program, env=variables | {"_POISONGEN_COMPLETE": instruction}, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "")
