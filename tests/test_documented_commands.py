"""Every command line of README and docs is run against small stand-ins, or it is said here why not and what is checked.

`poisongen` lines run as they stand, with paths of datasets led to small synthetic trees (`STAND_INS`) and with triggers
that fit those. What trains or scores models (`PARSED`) is parsed by its command: every option exists and takes what it
is given. Lines of other programs stand in `OTHERS` with what is checked of them; blocks that are no commands in
`NOT_COMMANDS`. A line that none of these knows fails.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from poisongen.building.run import build
from poisongen.cli import COMMANDS, group
from tests.conftest import draw_cityscapes, draw_voc
from tests.documented import PAGES, ROOT, Line, blocks, inline
from tests.small_trees import ade20k
from tests.test_stats import write_camvid

STAND_INS = {
    "/data/cityscapes": "data/cityscapes",
    "/data/VOCdevkit": "data/VOCdevkit",
    "/data/ADEChallengeData2016": "data/ade20k",
    "YOUR/CITYSCAPES": "data/cityscapes",
    "ROOT": "data/cityscapes",
    "OUT": "OUT",
    "$OUT": "OUT",
    "poisoned/cityscapes-nn-0123abcd": "OUT",
}
"""Where paths of the pages lie in the tests' folder, which holds `data/` as well. CLEAN is a new folder each time."""

PARSED = ("train", "evaluate", "sweep")
"""Commands that need PyTorch and time. tests/victim calls them."""

FINDS = ("scan",)
"""Commands whose exit status is 1 where they find something: what they are shown with may be poisoned."""

NOT_COMMANDS = (
    "recipe -> source -> building",  # the rooms
    "[project.entry-points.",  # TOML
    "OUT/ ",  # a tree of files
    '["poisongen",ALGORITHM,',  # lines of the fingerprint
)

SHELL = [line for block in blocks() if not block.lines[0].text.startswith(NOT_COMMANDS) for line in block.lines]


def is_ours(line: Line) -> bool:
    return shlex.split(line.text, comments=True)[0] == "poisongen"


def words_of(line: Line) -> list[str]:
    return shlex.split(line.text, comments=True)[1:]


OURS = [line for line in SHELL if is_ours(line)]
RUN = [line for line in OURS if words_of(line)[0] not in PARSED]
TRAINED = [line for line in OURS if words_of(line)[0] in PARSED]


def _a_target_of_the_makefile(line):
    for target in words_of(line):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def _extras_that_there_are(line):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words_of(line)[1:]:
        assert re.fullmatch(r"\.(\[[\w,]+\])?", word), "install what is here: no registry has the package"
        assert set(re.findall(r"[\w]+", word)) <= set(extras)


def _a_script_that_there_is(line):
    script = words_of(line)[0]
    if script != "plain.py":  # stands in the README; tests/victim/test_victim_hand_over.py runs it
        ast.parse((ROOT / script).read_text(encoding="utf-8"))
    else:
        assert "# plain.py: python plain.py OUT maps 100" in (ROOT / "README.md").read_text(encoding="utf-8")


def _prints_a_script(line):
    call = ["bash", "-c", f"{line.text} && complete -p poisongen"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(call, env={"PATH": path}, check=False, capture_output=True, text=True)
    assert "_poisongen_completion" in done.stdout, done.stderr


def _nothing(line):
    """Nothing of it can be checked here."""


OTHERS = {
    r"git clone <this repository> && cd poisongen": _nothing,  # has no address
    r"make \w[\w -]*": _a_target_of_the_makefile,
    r"\. \.venv/bin/activate": _nothing,  # what make has made
    r"pip install .*": _extras_that_there_are,
    r"python -m build": _nothing,  # run by tests/test_package.py
    r"python -m twine check --strict dist/\*": _nothing,  # run by the workflow
    r"python [\w/.]+\.py\b.*": _a_script_that_there_is,
    r'eval "\$\(_POISONGEN_COMPLETE=bash_source poisongen\)"': _prints_a_script,
    r"(export )?\w+=\S+( +#.*)?": _nothing,  # a variable
    r"mim (train|test) mmsegmentation .*": _nothing,  # needs mmsegmentation and a GPU
    r"yolo semantic train data=OUT/data.yaml .*": _nothing,  # tests/loaders/ loads it by that file
}


def test_pages_have_commands():
    assert {"README.md", "docs/audit.md", "docs/victims.md", "docs/stats.md"} <= {line.page for line in OURS}
    assert len(RUN) >= 15
    assert len(TRAINED) >= 5
    assert len(PAGES) >= 12


def test_no_line_is_lost_on_the_way():
    """What looks like a call of poisongen, indented or between fences, is among the lines that are run or parsed."""
    known = {(line.page, line.number) for line in OURS}
    for page in PAGES:
        fenced, name = False, page.relative_to(ROOT).as_posix()
        for number, row in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            fenced ^= row.lstrip().startswith("```")
            if re.match(r"\s*(\$ )?poisongen [a-z]", row) and (fenced or row.startswith("    ")):
                assert (name, number) in known, f"{name}:{number}: {row}"


@pytest.mark.parametrize("start", NOT_COMMANDS)
def test_blocks_without_commands_are_still_there(start):
    assert sum(block.lines[0].text.startswith(start) for block in blocks()) == 1


@pytest.mark.parametrize("line", [line for line in SHELL if not is_ours(line)], ids=str)
def test_lines_of_other_programs_are_known(line):
    checks = [check for pattern, check in OTHERS.items() if re.fullmatch(pattern, line.text)]
    assert checks, f"{line}: '{line.text}' is neither run nor known to {Path(__file__).name}; say there what is checked"
    for check in checks:
        check(line)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with small datasets where the pages say that they are, and a build."""
    folder = tmp_path_factory.mktemp("pages")
    draw_cityscapes(folder / "data")
    draw_voc(folder)
    (folder / "voc/VOCdevkit").rename(folder / "data/VOCdevkit")
    write_camvid(folder / "data/camvid")
    ade20k(folder / "data/ade20k")
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}
    build(choices, folder / "data/cityscapes", folder / "OUT", jobs=1, undo=True)
    return folder


def as_run(line: Line) -> list[str]:
    """Return the words of a line as they are run: paths led to stand-ins, triggers small, one process."""
    name, *words = [STAND_INS.get(word, word) for word in words_of(line)]
    words = [f"clean-{line.page.replace('/', '-')}-{line.number}" if word == "CLEAN" else word for word in words]
    options = {option for parameter in command_of(name).params for option in parameter.opts}
    if "--trigger-size" in options:
        placed = "--trigger-kind" not in words
        if "--trigger-size" in words:
            words[words.index("--trigger-size") + 1] = "9"
        words += ["--trigger-size", "9"] if placed and "--trigger-size" not in words else []
        words += ["--max-distance", "30"] if "nn" in words or "iba-nni" in words else []
        words += ["--min-distance", "10"] if "far" in words else []
        words += ["--allow-fewer"] if "--allow-fewer" in options else []
    return [name, *words, *(["--jobs", "1"] if "--jobs" in options and "--jobs" not in words else [])]


def command_of(name):
    command = group.get_command(click.Context(group), name)
    assert command is not None, f"there is no command {name}"
    return command


@pytest.mark.parametrize("line", RUN, ids=str)
def test_what_the_pages_show_runs(line, poisongen, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    done = poisongen(*as_run(line))
    codes = (0, 1) if words_of(line)[0] in FINDS else (0,)
    assert done.code in codes, f"{line}: {line.text}: {done.err}"
    assert done.err == "", f"{line}: {line.text}: {done.err}"
    assert done.out


@pytest.mark.parametrize("line", TRAINED, ids=str)
def test_what_needs_pytorch_is_parsed(line):
    name, *words = words_of(line)
    command_of(name).make_context(name, words)


@pytest.mark.parametrize("line", inline(), ids=str)
def test_calls_between_backticks_name_what_there_is(line):
    words = shlex.split(line.text.removeprefix("python -m "))[1:]
    if words[0].startswith("--") or words[0] == "COMMAND":
        assert words in (["--version"], ["COMMAND", "--help"], ["--help"])
        return
    assert words[0] in COMMANDS
    command = command_of(words[0])
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in words[1:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"{line}: {word}"
    if words[0] == "list":
        command.make_context("list", words[1:])


def test_the_reference_of_commands_is_current():
    """`python docs/make_commands.py` writes it."""
    done = subprocess.run([sys.executable, ROOT / "docs/make_commands.py", "--check"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_the_reference_names_every_command_and_option():
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        part = text.split(f"\n## poisongen {name}\n")[1].split("\n## ")[0]
        rows = [row for row in part.splitlines() if row.startswith("| `--")]
        options = [one for one in command_of(name).params if isinstance(one, click.Option)]
        assert len(rows) == len(options)
        for option in options:
            starts = tuple(f"| `{option.opts[0]}{end}" for end in (" ", "`", ", --no-"))
            assert sum(row.startswith(starts) for row in rows) == 1
