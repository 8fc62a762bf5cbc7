"""A finished build that has lost files: the same command puts them back, and never says that all is there."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.conftest import SMALL_CITYSCAPES, manifest, summary, tree_digest


@pytest.fixture
def built(poisongen, cityscapes, tmp_path):
    """A finished build, and the command that made it."""
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.3, "--undo", "--jobs", 1, "--out", "out")
    assert poisongen(*call).code == 0
    return tmp_path / "out", call


def written(out, role="poisoned"):
    return out / next(record for record in manifest(out) if record["role"] == role)["files"][0]["path"]


def names(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))


LOSSES = {
    "all images": lambda out: shutil.rmtree(out / "leftImg8bit"),
    "the triggered set": lambda out: shutil.rmtree(out / "triggered"),
    "one written file": lambda out: written(out).unlink(),
    "one linked file": lambda out: sorted(out.glob("leftImg8bit/val/*/*.png"))[0].unlink(),
    "the undo store": lambda out: shutil.rmtree(out / "poisongen/undo"),
    "the undo store's index": lambda out: (out / "poisongen/undo/index.jsonl").unlink(),
    "an entry of the undo store": lambda out: sorted(out.glob("poisongen/undo/*.undo"))[0].unlink(),
    "the list of skipped samples": lambda out: (out / "poisongen/skipped.jsonl").unlink(),
    "a file, whose name now leads nowhere": lambda out: (
        written(out).unlink(),
        written(out).symlink_to(out / "nothing"),
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_command_puts_back_what_is_missing(loss, built, poisongen, cityscapes):
    out, call = built
    whole, fingerprint, before = names(out), summary(out)["fingerprint"], tree_digest(cityscapes)
    LOSSES[loss](out)
    result = poisongen(*call, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert (report["already_built"], report["fingerprint"]) == (False, fingerprint)
    assert report["put_back"] > 0
    assert names(out) == whole
    assert tree_digest(cityscapes) == before
    assert poisongen("audit", out, "--source", cityscapes, "--jobs", 1).code == 0
    again = poisongen(*call)
    assert "already built" in again.out


def test_it_says_how_many_files_it_puts_back(built, poisongen):
    out, call = built
    for path in sorted(out.glob("leftImg8bit/val/*/*.png"))[:2]:
        path.unlink()
    assert poisongen(*call).out.startswith("out: 2 missing files put back; 3 of 10 training samples")


@pytest.mark.parametrize("which", ["written", "linked", "a folder"])
def test_a_file_of_another_size_is_named_with_the_way_to_mend_it(which, built, poisongen):
    out, call = built
    path = written(out) if which == "written" else sorted(out.glob("leftImg8bit/val/*/*.png"))[0]
    data = path.read_bytes()
    path.unlink()
    if which == "a folder":
        path.mkdir()
    else:
        path.write_bytes(data + b"x")
    result = poisongen(*call)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert path.name in result.err
    assert "remove it and give the same command again" in result.err
    path.rmdir() if which == "a folder" else path.unlink()
    assert poisongen(*call).code == 0
    assert path.read_bytes() == data


def test_records_that_are_gone_are_named(built, poisongen):
    out, call = built
    (out / "poisongen/manifest.jsonl").unlink()
    result = poisongen(*call)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "manifest.jsonl" in result.err
    assert "move out away and build again" in result.err


def test_somebodys_files_are_found_before_the_work(built, poisongen):
    out, call = built
    shutil.rmtree(out / "leftImg8bit")
    (out / "notes.txt").write_text("mine")
    result = poisongen(*call)
    assert result.code == 2
    assert "notes.txt was not written by poisongen" in result.err


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_links_count_with_what_they_lead_to(link, poisongen, cityscapes):
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--jobs", 1, "--link", link, "--out", "out")
    assert poisongen(*call).code == 0
    assert "already built" in poisongen(*call).out


def test_a_build_of_an_earlier_version_names_no_sizes(built, poisongen):
    out, call = built
    for record in (records := manifest(out)):
        for file in record["files"]:
            del file["size"]
    (out / "poisongen/manifest.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert "already built" in poisongen(*call).out
    written(out).unlink()
    assert "1 missing file put back" in poisongen(*call).out


def test_an_unfinished_build_that_has_lost_files_does_them_again(poisongen, cityscapes, tmp_path, monkeypatch):
    """What the journal knows as done must still lie in the tree."""
    from poisongen.building import fill

    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.3, "--jobs", 1, "--out", "out")

    def stop(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(fill, "_make_links", stop)
    assert poisongen(*call).code == 130
    monkeypatch.undo()
    os.chdir(tmp_path)
    assert (tmp_path / "out/.poisongen-build/journal.jsonl").read_text()
    shutil.rmtree(tmp_path / "out/.poisongen-build/tree/leftImg8bit")
    assert poisongen(*call).code == 0
    assert poisongen("audit", "out", "--source", cityscapes, "--jobs", 1).code == 0


def test_a_finished_tree_that_has_lost_files_is_not_passed_off(poisongen, cityscapes, tmp_path, monkeypatch):
    """A build killed while its files get their names, some of which are then removed."""
    from poisongen.building import staging

    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.3, "--jobs", 1, "--out", "out")

    def stop(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "rename_inside", stop)
    assert poisongen(*call).code == 130
    monkeypatch.undo()
    os.chdir(tmp_path)
    shutil.rmtree(tmp_path / "out/.poisongen-build/tree/leftImg8bit")
    first = poisongen(*call)
    assert (first.code, first.err.count("\n")) == (2, 1)
    assert "is missing; give the same command again" in first.err
    assert poisongen(*call).code == 0
    assert poisongen("audit", "out", "--source", cityscapes, "--jobs", 1).code == 0
