"""Nothing outside the folder that a command was given is written, emptied or waited for, whatever lies in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from poisongen.errors import OutputError
from poisongen.files import inside
from poisongen.files.store import place_link, write_whole
from tests.conftest import SMALL_CITYSCAPES, summary, tree_digest


@pytest.fixture(autouse=True)
def no_waiting():
    """A command that waits for a pipe's other end fails rather than hangs."""

    def late(number, frame):
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of somebody's, with a file and a copy of what could be overwritten."""
    folder = tmp_path / "elsewhere"
    for name in ("thesis.txt", "leftImg8bit/thesis.txt", "tree/thesis.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("years of work")
    return folder


@pytest.fixture
def staging(poisongen, cityscapes, tmp_path):
    """The staging folder of a build that stopped after its first steps, and the command that goes on with it."""
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.3, "--jobs", 1)
    assert poisongen(*call, "--out", tmp_path / "other").code == 0
    folder = tmp_path / "out/.poisongen-build"
    (folder / "tree").mkdir(parents=True)
    state = {"recipe_sha256": summary(tmp_path / "other")["recipe_sha256"]}
    (folder / "state.json").write_text(json.dumps(state))
    shutil.rmtree(tmp_path / "other")
    return folder, (*call, "--out", tmp_path / "out")


def linked(path, target):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def other_state(folder):
    (folder / "state.json").write_text('{"recipe_sha256": "another"}')


def hard(path, target):
    path.unlink(missing_ok=True)
    path.hardlink_to(target)


def piped(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


# What is done to the staging folder, given it, the source and somebody's folder.
STAGING_CASES = {
    "the folder is a link": lambda f, s, e: linked(f, e),
    "the folder is a dangling link": lambda f, s, e: linked(f, e / "new"),
    "the folder is a file": lambda f, s, e: (shutil.rmtree(f), f.write_text("x")),
    "the folder is a pipe": lambda f, s, e: (shutil.rmtree(f), os.mkfifo(f)),
    "tree is a link": lambda f, s, e: linked(f / "tree", e),
    "tree is a link, another recipe": lambda f, s, e: (linked(f / "tree", e), other_state(f)),
    "tree is a link to the source": lambda f, s, e: linked(f / "tree", s),
    "tree is a dangling link": lambda f, s, e: linked(f / "tree", e / "new"),
    "tree is a file": lambda f, s, e: ((f / "tree").rmdir(), (f / "tree").write_text("x")),
    "images are the source's": lambda f, s, e: linked(f / "tree/leftImg8bit", s / "leftImg8bit"),
    "labels are the source's": lambda f, s, e: linked(f / "tree/gtFine", s / "gtFine"),
    "a deep folder is the source's": lambda f, s, e: linked(
        f / "tree/leftImg8bit/train/altenfurth", s / "leftImg8bit/train/altenfurth"
    ),
    "lock is a link": lambda f, s, e: linked(f / "lock", e / "thesis.txt"),
    "lock is a dangling link": lambda f, s, e: linked(f / "lock", e / "new"),
    "lock is a hard link": lambda f, s, e: hard(f / "lock", e / "thesis.txt"),
    "lock is a pipe": lambda f, s, e: piped(f / "lock"),
    "lock is a folder": lambda f, s, e: (f / "lock").mkdir(),
    "state is a link": lambda f, s, e: linked(f / "state.json", e / "thesis.txt"),
    "state is a pipe": lambda f, s, e: piped(f / "state.json"),
    "state is a device": lambda f, s, e: linked(f / "state.json", "/dev/zero"),
    "journal is a link": lambda f, s, e: linked(f / "journal.jsonl", e / "thesis.txt"),
    "journal is a hard link": lambda f, s, e: hard(f / "journal.jsonl", e / "thesis.txt"),
    "journal is a pipe": lambda f, s, e: piped(f / "journal.jsonl"),
    "journal is a device": lambda f, s, e: linked(f / "journal.jsonl", "/dev/zero"),
    "ready is a link": lambda f, s, e: linked(f / "ready", e / "new"),
    "ready is a pipe": lambda f, s, e: piped(f / "ready"),
    "old is a link": lambda f, s, e: linked(f / "old", e),
    "a line of the journal is no JSON": lambda f, s, e: (f / "journal.jsonl").write_text("{\n{}\n"),
    "a line of the journal is another thing": lambda f, s, e: (f / "journal.jsonl").write_text('[1]\n{"record": 3}\n'),
    "a line of the journal is no text": lambda f, s, e: (f / "journal.jsonl").write_bytes(b"\xff\xfe\n{}\n"),
}


@pytest.mark.parametrize("case", STAGING_CASES)
def test_a_staging_folder_that_is_not_ours_is_refused(case, poisongen, staging, cityscapes, elsewhere, tmp_path):
    folder, call = staging
    STAGING_CASES[case](folder, cityscapes, elsewhere)
    before = tree_digest(cityscapes), tree_digest(elsewhere)
    result = poisongen(*call, *(["--force"] if "another recipe" in case else []))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert ".poisongen-build" in result.err
    assert (tree_digest(cityscapes), tree_digest(elsewhere)) == before
    assert not (tmp_path / "out/poisongen").exists()
    assert poisongen(*call[:-1], tmp_path / "fresh").code == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_follow_no_link_either(jobs, poisongen, staging, cityscapes, elsewhere):
    folder, call = staging
    linked(folder / "tree/triggered", elsewhere)
    before = tree_digest(elsewhere)
    result = poisongen(*call[:-4], "--jobs", jobs, *call[-2:])
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert tree_digest(elsewhere) == before


def test_what_is_harmless_goes_on(poisongen, staging, elsewhere, tmp_path):
    folder, call = staging
    (folder / "journal.jsonl").write_text('{"record": {"sample": "cut sh')
    for name in ("stray", "poisongen", "triggered/stray"):
        linked(folder / "tree" / name, elsewhere)
    linked(folder / "tree/leftImg8bit/stray", elsewhere / "thesis.txt")
    before = tree_digest(elsewhere)
    assert poisongen(*call).code == 0
    assert tree_digest(elsewhere) == before
    assert not os.path.lexists(tmp_path / "out/stray")


def test_leaf_links_are_replaced_not_written_through(poisongen, staging, cityscapes, elsewhere, tmp_path):
    """An interrupted build with --link symlink leaves such links; without it the files take their places."""
    folder, call = staging
    for path in cityscapes.rglob("*.*"):
        if path.is_file():
            linked(folder / "tree" / path.relative_to(cityscapes), elsewhere / "thesis.txt")
    before = tree_digest(elsewhere), tree_digest(cityscapes)
    assert poisongen(*call).code == 0
    assert (tree_digest(elsewhere), tree_digest(cityscapes)) == before
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_out_may_be_a_link_that_the_user_made(poisongen, cityscapes, tmp_path):
    (tmp_path / "big disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "big disk")
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out")
    assert poisongen(*call).code == 0
    assert (tmp_path / "big disk/poisongen/summary.json").is_file()
    assert "already built" in poisongen(*call).out
    assert poisongen(*call, "--force").code == 0
    assert (tmp_path / "out").is_symlink()


def swapped(out, name, elsewhere):
    """Move a folder of OUT away and put a link in its place."""
    (out / name).rename(elsewhere / "moved")
    (out / name).symlink_to(elsewhere / "moved")


# What is done to a finished build before it is to be replaced with --force; given OUT and somebody's folder.
FORCE_CASES = {
    "a folder leads elsewhere": lambda o, e: swapped(o, "leftImg8bit", e),
    "a deep folder leads elsewhere": lambda o, e: swapped(o, "gtFine/train", e),
    "the triggered set leads elsewhere": lambda o, e: swapped(o, "triggered", e),
    "the records lead elsewhere": lambda o, e: swapped(o, "poisongen", e),
    "the manifest is a pipe": lambda o, e: piped(o / "poisongen/manifest.jsonl"),
    "the links are a pipe": lambda o, e: piped(o / "poisongen/links.jsonl"),
    "the summary is a pipe": lambda o, e: piped(o / "poisongen/summary.json"),
    "the summary is a link": lambda o, e: linked(o / "poisongen/summary.json", e / "thesis.txt"),
}


@pytest.mark.parametrize("case", FORCE_CASES)
def test_force_neither_empties_nor_fills_another_folder(case, poisongen, cityscapes, elsewhere, tmp_path):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out")
    assert poisongen(*call).code == 0
    FORCE_CASES[case](tmp_path / "out", elsewhere)
    before = tree_digest(cityscapes), tree_digest(elsewhere)
    result = poisongen(*call, "--seed", 4, "--force")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert (tree_digest(cityscapes), tree_digest(elsewhere)) == before


READERS = {
    "audit": lambda out: ("audit", out),
    "restore": lambda out: ("restore", out, "--out", "back"),
    "report": lambda out: ("report", out, "--jobs", 1),
    "build": lambda out: ("build", *SMALL_CITYSCAPES, "--root", "cityscapes", "--out", out),
    "build from its recipe": lambda out: (
        "build", "--recipe", out / "poisongen/recipe.json", "--root", "cityscapes", "--out", "n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["summary.json", "recipe.json", "manifest.jsonl", "links.jsonl", "skipped.jsonl"])
def test_nobody_waits_for_a_pipe_in_the_place_of_a_record(reader, name, poisongen, cityscapes, tmp_path):
    assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out").code == 0
    piped(tmp_path / "out/poisongen" / name)
    result = poisongen(*READERS[reader](tmp_path / "out"))
    if reader == "audit" and result.code == 1:
        assert "FAULT" in result.out
    elif reader == "build from its recipe" and name != "recipe.json":
        assert result.code == 0
    else:
        assert (result.code, result.err.count("\n")) == (2, 1), result.err


# Commands that write, with what stands in the way of their output; each is refused in one line.
def restore_into(out):
    return ("restore", "out", "--source", "cityscapes", "--jobs", 1, "--out", out)


OUTPUT_CASES = {
    "restore, staging is a link": (restore_into("back"), lambda t, e: linked(t / "back/.poisongen-restore", e)),
    "restore, staging is a pipe": (
        restore_into("back"),
        lambda t, e: ((t / "back").mkdir(), os.mkfifo(t / "back/.poisongen-restore")),
    ),
    "restore, a dangling link": (restore_into("back"), lambda t, e: linked(t / "back", e / "new")),
    "preview, a link": (
        ("preview", *SMALL_CITYSCAPES, "--root", "cityscapes", "--out", "p.png"),
        lambda t, e: linked(t / "p.png", e / "thesis.txt"),
    ),
    "preview, a dangling link": (
        ("preview", *SMALL_CITYSCAPES, "--root", "cityscapes", "--out", "p.png"),
        lambda t, e: linked(t / "p.png", e / "new"),
    ),
    "preview, a pipe": (
        ("preview", *SMALL_CITYSCAPES, "--root", "cityscapes", "--out", "p.png"),
        lambda t, e: os.mkfifo(t / "p.png"),
    ),
    "demo, unfinished scenes lead elsewhere": (("demo",), lambda t, e: linked(t / "demo/clean.part", e)),
    "demo, scenes lead elsewhere": (("demo",), lambda t, e: linked(t / "demo/clean", e)),
    "demo, the build leads elsewhere": (("demo",), lambda t, e: linked(t / "demo/poisoned", e)),
    "demo, the sheet leads elsewhere": (("demo",), lambda t, e: linked(t / "demo/sheet.png", e / "thesis.txt")),
    "demo, the sheet is a pipe": (("demo",), lambda t, e: ((t / "demo").mkdir(), os.mkfifo(t / "demo/sheet.png"))),
    "demo, the page leads elsewhere": (("demo",), lambda t, e: linked(t / "demo/report.html", e / "thesis.txt")),
    "report, a link": (("report", "out"), lambda t, e: linked(t / "report.html", e / "thesis.txt")),
    "report, a dangling link": (("report", "out"), lambda t, e: linked(t / "report.html", e / "new")),
    "report, a pipe": (("report", "out"), lambda t, e: os.mkfifo(t / "report.html")),
    "synth, a dangling link": (("synth", "s", "--train", 1), lambda t, e: linked(t / "s", e / "new")),
    "synth, a pipe": (("synth", "s", "--train", 1), lambda t, e: os.mkfifo(t / "s")),
    "synth, a link in it": (("synth", "s", "--train", 1), lambda t, e: linked(t / "s/leftImg8bit", e)),
}


@pytest.mark.parametrize("case", OUTPUT_CASES)
def test_outputs_of_other_commands(case, poisongen, cityscapes, elsewhere, tmp_path):
    call, deed = OUTPUT_CASES[case]
    if call[0] in ("restore", "report"):
        assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out").code == 0
    deed(tmp_path, elsewhere)
    before = tree_digest(cityscapes), tree_digest(elsewhere)
    result = poisongen(*call)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert (tree_digest(cityscapes), tree_digest(elsewhere)) == before
    assert not (elsewhere / "new").exists()


def test_restore_leaves_what_it_refuses(poisongen, cityscapes, tmp_path):
    assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--out", "out").code == 0
    (tmp_path / "back").mkdir()
    os.mkfifo(tmp_path / "back/.poisongen-restore")
    assert poisongen(*restore_into("back")).code == 2
    assert (tmp_path / "back/.poisongen-restore").is_fifo()


def test_a_name_for_the_time_of_writing_that_is_taken(tmp_path, elsewhere, monkeypatch):
    """The name beside is guessed by a stranger: a link there is removed, never written through."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with inside.beside(folder, "file") as (handle, part):
        inside.create(handle, part).close()
    source = tmp_path / "source"
    source.write_text("new")
    for deed in (
        lambda: write_whole(folder / "file", b"new"),
        lambda: place_link(source, folder, "file", "copy"),
        lambda: place_link(source, folder, "file", "auto"),
    ):
        (folder / "file").unlink(missing_ok=True)
        (folder / part).symlink_to(elsewhere / "thesis.txt")
        deed()
        assert (folder / "file").read_text() == "new"
        assert (elsewhere / "thesis.txt").read_text() == "years of work"
        assert not os.path.lexists(folder / part)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//b", "./x", "a/."])
def test_a_path_that_leaves_its_folder_is_refused(path, tmp_path):
    (tmp_path / "folder/a").mkdir(parents=True)
    with pytest.raises(OutputError, match="leaves its folder"):
        inside.write_inside(tmp_path / "folder", path, b"x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/.."])
def test_the_name_of_a_file_must_be_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError):
        write_whole(Path(name), b"x")
