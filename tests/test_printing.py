"""What comes from a file is shown escaped, and streams that are full, closed or gone are no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from poisongen.printing import number_of, show, show_json, tell
from poisongen.victim.evaluation_text import as_text
from poisongen.victim.sweep_plan import Cell
from poisongen.victim.sweep_table import markdown
from tests.conftest import SMALL_CITYSCAPES

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp.\u2066\x9b31m\u200b\r\nfingerprint 0\x7f"
"""Escape sequences, bidirectional controls, a C1 control, an invisible character, line ends."""


def check_plain(text):
    assert all(character.isprintable() or character == "\n" for character in text), repr(text)


def check_one_line(result):
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    check_plain(result.err)


@pytest.fixture
def out(poisongen, cityscapes, tmp_path):
    assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out").code == 0
    return tmp_path / "out"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


BAD_SUMMARIES = {
    "a hostile fingerprint": {"fingerprint": HOSTILE},
    "a long fingerprint": {"fingerprint": "0" * 65},
    "a fingerprint with a line end": {"fingerprint": "0" * 64 + "\n"},
    "a fingerprint that is no text": {"fingerprint": 7},
    "a hostile recipe": {"recipe_sha256": HOSTILE},
    "no counts": {"counts": {}},
    "counts that are no numbers": {"counts": dict.fromkeys(["poisoned", "train_samples", "prl", "skipped"], HOSTILE)},
    "counts that are no object": {"counts": [1]},
    "a count that is true": {
        "counts": dict.fromkeys(
            ["train_samples", "test_samples", "poisoned", "prl", "triggered", "completed", "skipped"], True
        )
    },
}


@pytest.mark.parametrize("case", BAD_SUMMARIES)
def test_a_summary_is_checked_when_it_is_read(case, out, poisongen):
    change(out / "poisongen/summary.json", **BAD_SUMMARIES[case])
    call = ("build", *SMALL_CITYSCAPES, "--root", "cityscapes", "--jobs", 1, "--out", "out")
    for more in ([], ["--force"]):
        result = poisongen(*call, *more)
        check_one_line(result)
        assert result.out == ""
    assert (out / "leftImg8bit").is_dir()


def hostile_classes(root):
    """A dataset of the layout `folder` whose class has a hostile name."""
    from PIL import Image

    for name in ("images/train", "masks/train", "images/val", "masks/val"):
        (root / name).mkdir(parents=True)
    for split in ("train", "val"):
        Image.new("RGB", (40, 40)).save(root / f"images/{split}/a.png")
        Image.new("L", (40, 40), 1).save(root / f"masks/{split}/a.png")
    classes = {"classes": {0: "road", 1: HOSTILE, 2: "car"}}
    (root / "classes.yaml").write_text(yaml.safe_dump(classes))


def test_class_names(poisongen, tmp_path):
    hostile_classes(tmp_path / "d")
    listed = poisongen("list", "classes", "--dataset", "folder", "--root", "d")
    assert listed.code == 0
    check_plain(listed.out)
    plain = poisongen("list", "classes", "--dataset", "folder", "--root", "d", "--json")
    check_plain(plain.out)
    assert listed.out.count("\n") == len(json.loads(plain.out)["classes"])
    call = ("build", "--dataset", "folder", "--root", "d", "--strategy", "random", "--trigger-size", 5)
    result = poisongen(*call, "--victim", "nothing like it", "--target", "road", "--out", "o")
    check_one_line(result)


RECIPES = {
    "an unknown key": {HOSTILE: 1},
    "a value": {"strategy": HOSTILE},
    "a dataset": {"dataset": HOSTILE},
    "a victim": {"victim": HOSTILE, "target": "road"},
    "a pair": {"relabel": {HOSTILE: "road"}},
    "a trigger": {"trigger": HOSTILE},
    "a split": {"train_split": HOSTILE},
    "an amount": {"prl": HOSTILE},
    "a share": {"rate": HOSTILE},
}


@pytest.mark.parametrize("case", RECIPES)
def test_values_of_a_recipe(case, poisongen, cityscapes, tmp_path):
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, **RECIPES[case]}
    (tmp_path / "r.json").write_text(json.dumps(choices))
    check_one_line(poisongen("build", "--recipe", "r.json", "--root", cityscapes, "--out", "o"))


def test_faults_and_names_of_an_audit(out, poisongen):
    lines = (out / "poisongen/manifest.jsonl").read_text().splitlines()
    record = json.loads(lines[0]) | {"sample": HOSTILE}
    (out / "poisongen/manifest.jsonl").write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")
    (out / HOSTILE.replace("/", "")).write_text("x")
    for more in ([], ["--json"]):
        result = poisongen("audit", out, "--jobs", 1, *more)
        assert result.code == 1
        check_plain(result.out + result.err)
    assert "\\x1b" in poisongen("audit", out, "--jobs", 1).out


def test_a_folder_with_a_hostile_name(poisongen, cityscapes):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out" + HOSTILE)
    for more in ([], ["--json"], ["--dry-run"]):
        result = poisongen(*call, *more)
        assert result.code == 0
        check_plain(result.out + result.err)


def test_tables_of_evaluate_and_sweep():
    part = {"value": 0.5, "without_trigger": {"value": 0.1}}
    report = {
        "data": HOSTILE,
        "pairs": {HOSTILE: HOSTILE},
        "images": {"triggered": 1, "clean": 1},
        "asr": part,
        "asr_per_image": {"triggered": {}, "without_trigger": {}},
        "pba": {"value": 0.5, "without_trigger": 0.5, "absent": [HOSTILE], "iou": {HOSTILE: 0.5}},
        "cba": {"value": 0.5, "non_victim": 0.5, "absent": [], "iou": {HOSTILE: 0.5}},
        "asr_by_distance": [],
        "asr_by_victim_area": [],
        "victims_became": {HOSTILE: {"triggered": {HOSTILE: 1}, "without_trigger": {HOSTILE: 1}}},
    }
    check_plain(as_text(report))
    assert not any(line.startswith("fingerprint 0") for line in as_text(report).split("\n"))
    cell = Cell({"name": HOSTILE}, None, {}, 0)
    table = markdown(["name"], [], [(cell, HOSTILE)])
    check_plain(table)
    assert table.count("\n") == 4


def test_the_door_itself(capfd):
    show([HOSTILE, "\udc80"])
    show_json({HOSTILE: HOSTILE, "\udc80": "\x7f"})
    tell(HOSTILE)
    captured = capfd.readouterr()
    check_plain(captured.out + captured.err)
    assert (captured.out.count("\n"), captured.err.count("\n")) == (3, 1)
    assert json.loads(captured.out.split("\n")[2])[HOSTILE] == HOSTILE


def run(arguments, prelude="", redirect="", **options):
    """Run the command line in a process of its own, by way of a shell for odd streams."""
    words = " ".join(f"'{argument}'" for argument in [sys.executable, "-m", "poisongen", *map(str, arguments)])
    return subprocess.run(
        ["/bin/sh", "-c", f"{prelude}{words} {redirect}"], capture_output=True, text=True, check=False, **options
    )


BUILD = ("build", *SMALL_CITYSCAPES, "--root", "cityscapes", "--out", "o")
COMMANDS = {
    "list": ("list",),
    "help": ("--help",),
    "version": ("--version",),
    "build": (*BUILD, "--jobs", 1),
    "build --json": (*BUILD, "--jobs", 1, "--json"),
    "build, two jobs": (*BUILD, "--jobs", 2),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_standard_output_is_one_line(command, cityscapes, tmp_path):
    done = run(COMMANDS[command], redirect=">/dev/full", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "No space left on device" in done.stderr
    if "build" in command:
        assert (tmp_path / "o/poisongen/summary.json").is_file()


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("command", ["list", "build", "build, two jobs"])
def test_streams_that_are_closed(command, streams, cityscapes, tmp_path):
    done = run(COMMANDS[command], redirect=streams, cwd=tmp_path)
    assert done.returncode == (2 if "full" in streams else 0), done.stderr
    assert done.stderr == ""
    if command != "list":
        summary = json.loads((tmp_path / "o/poisongen/summary.json").read_text())
        assert len(summary["fingerprint"]) == 64
    bad = run(("build", "--dataset", "nothing"), redirect=streams, cwd=tmp_path)
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == (0 if "2>" in streams else 1), bad.stderr


def test_a_reader_that_has_gone(cityscapes, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    call = [sys.executable, "-m", "poisongen", "list"]
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_encoding_that_lacks_a_letter(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run(("build", "--strategy", "nn", "--dataset", "caf\u00e9"), cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "caf\\xe9" in done.stderr


def test_functions_work_where_there_are_no_streams(cityscapes, tmp_path):
    """As under pythonw, or in a daemon: sys.stdout and sys.stderr are None."""
    code = (
        "import sys; sys.stdout = sys.stderr = None\nimport poisongen\n"
        "choices = {'dataset': 'cityscapes', 'strategy': 'nn', 'trigger_size': 9, 'max_distance': 30}\n"
        "for jobs in (1, 2):\n"
        "    poisongen.build(choices, 'cityscapes', f'o{jobs}', jobs=jobs, progress=True)\n"
        "assert poisongen.audit('o1', 'cityscapes', jobs=2, progress=True).clean\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "file", "0 files"),
        (1, "file", "1 file"),
        (2, "file", "2 files"),
        (1, "fault", "1 fault"),
        (12, "more sample", "12 more samples"),
    ],
)
def test_numbers_agree_with_their_nouns(number, noun, words):
    assert number_of(number, noun) == words


def test_commands_say_one_file_and_one_fault(poisongen, cityscapes, tmp_path):
    call = ("build", "--dataset", "cityscapes", "--root", cityscapes, "--strategy", "random", "--trigger-size", 5)
    assert poisongen(*call, "--count", 1, "--out", "out", "--jobs", 1).code == 0
    (tmp_path / "out/stranger").write_bytes(b"x")
    found = poisongen("audit", "out", "--jobs", 1)
    assert found.out.splitlines()[-1].endswith(" 1 fault") or ", 1 fault" in found.out, found.out
    assert not re.search(r"\b1 (files|faults|samples|pixels|training samples|test samples)\b", found.out)
