"""What builds remember of labels: never worse than a read, never used where a file is another, and gone when asked."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from poisongen.building import survey
from poisongen.building.run import build, plan_build
from poisongen.core.labels import joint_counts
from poisongen.errors import DataError
from poisongen.files import png
from poisongen.source.memory import Memory, cache_folder

CHOICES = {"strategy": "random", "trigger_size": 9, "rate": 0.3, "test_split": "none", "allow_fewer": True, "seed": 4}
CITY = {"dataset": "cityscapes", **CHOICES}
VOC = {"dataset": "voc", "relabel": {"car": "background"}, **CHOICES}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "poisongen"


def contents(root):
    """Every file below a folder, by path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def age(root):
    """Make every file of a tree an hour old: younger ones are not remembered."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(1_700_000_000_000_000_000, path.stat().st_mtime_ns - 3600 * 10**9))
    return root


@pytest.fixture
def read(monkeypatch):
    """The names of the samples that are read, in order."""
    names, real = [], survey.survey_sample
    monkeypatch.setattr(
        survey, "survey_sample", lambda errand, **more: names.append(errand.sample.name) or real(errand, **more)
    )
    return names


@pytest.mark.parametrize("tree", ["cityscapes", "voc"])
def test_what_was_read_before_is_not_read_again(tree, read, request):
    root, choices = age(request.getfixturevalue(tree)), CITY if tree == "cityscapes" else VOC
    first = plan_build(choices, root, jobs=1)[1]
    assert len(read) >= 10
    read.clear()
    assert plan_build(choices, root, jobs=1)[1] == first
    assert read == []


@pytest.mark.parametrize("tree", ["cityscapes", "voc"])
def test_a_build_is_the_same_with_and_without(tree, read, request, tmp_path):
    root, choices = age(request.getfixturevalue(tree)), CITY if tree == "cityscapes" else VOC
    build(choices, root, tmp_path / "plain", jobs=1, cache=False)
    assert not cache_folder().exists()
    everything = len(read)
    for name, more in (("first", {}), ("second", {}), ("other", {"seed": 5}), ("third", {})):
        read.clear()
        build(choices | more, root, tmp_path / name, jobs=1)
        assert len(read) == everything if name == "first" else len(read) < everything
    build(choices | {"seed": 5}, root, tmp_path / "other plain", jobs=1, cache=False)
    for name in ("first", "second", "third"):
        assert contents(tmp_path / name) == contents(tmp_path / "plain")
    assert contents(tmp_path / "other") == contents(tmp_path / "other plain")


def test_another_victim_is_counted_in_what_is_known(cityscapes, read):
    age(cityscapes)
    plan_build(CITY, cityscapes, jobs=1)
    read.clear()
    choices = CITY | {"relabel": {"person": "sidewalk"}, "train_ids": "never"}
    remembered = plan_build(choices, cityscapes, jobs=1)[1]
    assert len(read) < 10
    assert remembered == plan_build(choices, cityscapes, jobs=1, cache=False)[1]


def test_a_file_that_is_another_is_read_again(cityscapes, read):
    age(cityscapes)
    plan_build(CITY, cityscapes, jobs=1)
    masks = sorted(cityscapes.glob("gtFine/train/*/*labelIds.png"))
    stamp = masks[0].stat()
    pixels = png.decode(masks[0].read_bytes(), "x")
    masks[0].write_bytes(png.encode(np.where(pixels == 26, 7, pixels).astype(np.uint8), None, labels=True))
    os.utime(masks[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # only its size tells
    os.utime(masks[1], ns=(0, 10**18))  # only its time
    copy = masks[2].with_suffix(".copy")
    shutil.copy2(masks[2], copy)
    copy.rename(masks[2])  # only its inode
    read.clear()
    plan = plan_build(CITY, cityscapes, jobs=1)[1]
    assert len(read) == 3
    assert plan == plan_build(CITY, cityscapes, jobs=1, cache=False)[1]


def test_young_files_are_not_remembered(cityscapes, read):
    for path in cityscapes.rglob("*.png"):
        os.utime(path)
    plan_build(CITY, cityscapes, jobs=1)
    read.clear()
    plan_build(CITY, cityscapes, jobs=1)
    assert len(read) >= 10


def test_a_bad_file_is_remembered_as_bad_until_it_is_another(cityscapes):
    age(cityscapes)
    mask = sorted(cityscapes.glob("gtFine/train/*/*labelIds.png"))[0]
    good, stamp = mask.read_bytes(), mask.stat()
    mask.write_bytes(good[:60])
    os.utime(mask, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    told = []
    for _ in range(2):
        with pytest.raises(DataError) as found:
            plan_build(CITY | {"rate": 0.11}, cityscapes, jobs=1)
        told.append(str(found.value))
    assert told[0] == told[1]
    mask.write_bytes(good)
    plan_build(CITY, cityscapes, jobs=1)


def damage_whole(path):
    path.write_bytes(b"no database" * 100)


def damage_end(path):
    path.write_bytes(path.read_bytes()[:5000])


def damage_page(path):
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(reversed(data[4096:]))
    path.write_bytes(data)


def change_rows(path, told):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE reads SET told = ?", (told,))


def change_counts(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE reads SET told = replace(told, '\"size\":[80', '\"size\":[90')")


@pytest.mark.parametrize(
    "damage",
    [damage_whole, damage_end, damage_page, change_counts]
    + [lambda path, told=told: change_rows(path, told) for told in ("", "[]", "{}", '{"size":[1,1]}', "[" * 9999)],
)
def test_a_damaged_cache_is_no_worse_than_none(damage, cityscapes, cache):
    age(cityscapes)
    first = plan_build(CITY, cityscapes, jobs=1)[1]
    damage(next(cache.glob("reads-*.sqlite")))
    assert plan_build(CITY, cityscapes, jobs=1)[1] == first
    assert plan_build(CITY, cityscapes, jobs=1)[1] == first


@pytest.mark.parametrize("told", ["{}", '{"size":[80,160],"joint":[["a",1]],"odd":[],"digests":null}', '{"problem":3}'])
def test_a_row_of_another_form_is_read_anew(told, cityscapes, monkeypatch):
    age(cityscapes)
    first = plan_build(CITY, cityscapes, jobs=1)[1]
    row = json.loads(told)
    monkeypatch.setattr(Memory, "recall", lambda *arguments: row)
    assert plan_build(CITY, cityscapes, jobs=1)[1] == first


def test_without_a_place_to_keep_it_builds_go_on(cityscapes, monkeypatch, tmp_path):
    age(cityscapes)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    first = plan_build(CITY, cityscapes, jobs=1)[1]
    assert plan_build(CITY, cityscapes, jobs=1)[1] == first


def test_several_builds_at_once(cityscapes, tmp_path):
    age(cityscapes)
    call = [sys.executable, "-m", "poisongen", "build", "--dataset", "cityscapes", "--root", str(cityscapes)]
    call += ["--strategy", "random", "--trigger-size", "9", "--test-split", "none", "--allow-fewer", "--jobs", "1"]
    runs = [subprocess.Popen([*call, "--out", str(tmp_path / f"out{number}")]) for number in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert contents(tmp_path / "out0") == contents(tmp_path / "out1") == contents(tmp_path / "out2")


def test_no_cache_and_clear_on_the_command_line(cityscapes, poisongen, cache):
    age(cityscapes)
    call = ("build", "--dataset", "cityscapes", "--root", cityscapes, "--strategy", "random", "--trigger-size", "9")
    call += ("--test-split", "none", "--allow-fewer", "--dry-run")
    assert poisongen(*call, "--no-cache").code == 0
    assert not cache.exists()
    assert poisongen(*call).code == 0
    assert any(cache.iterdir())
    assert str(cache) in poisongen("cache").out
    cleared = poisongen("cache", "clear")
    assert cleared.code == 0
    assert "bytes removed" in cleared.out
    assert not cache.exists()
    assert poisongen("cache", "clear").code == 0
    assert poisongen("cache", "burn").code == 2


def test_joint_counts_are_those_of_every_pixel():
    rng = np.random.default_rng(2)
    one, two = (rng.integers(0, 5, (9, 7)).astype(np.uint8) for _ in range(2))
    two[0] = 255
    assert sum(count for *_, count in joint_counts([one])) == one.size
    for first, second, count in joint_counts([one, two]):
        assert count == sum(a == first and b == second for a, b in zip(one.ravel(), two.ravel(), strict=True))
    assert sum(row[2] for row in joint_counts([one, two])) == one.size
    assert joint_counts([one, one, one]) is None
