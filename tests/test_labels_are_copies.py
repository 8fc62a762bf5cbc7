"""Label files in OUT are never the source's own, however unchanged files are linked: who rewrites them stays in OUT."""

from __future__ import annotations

import os

import pytest

import poisongen as package
from poisongen.building import fill
from tests.conftest import SMALL_CITYSCAPES, manifest, tree_digest

VOC = ("--dataset", "voc", "--strategy", "random", "--victim", "car", "--target", "background", "--trigger-size", 9)
LINKS = ("auto", "hardlink", "symlink", "copy")


def own(path, source):
    """Whether nothing that is written into a file can reach the source."""
    return not path.is_symlink() and path.stat().st_nlink == 1 and not path.samefile(source)


@pytest.fixture(params=["cityscapes", "voc"])
def source(request):
    """A source with labels beyond those of its used samples, options to build from it, words, what OUT puts above."""
    root = request.getfixturevalue(request.param)
    if request.param == "voc":
        (root / "VOC2012/Annotations").mkdir(exist_ok=True)
        (root / "VOC2012/Annotations/classes.json").write_text("{}")
        return root, VOC, ("SegmentationClass/", "SegmentationObject/", "Annotations/"), "VOCdevkit/"
    coarse = root / "gtCoarse/train/aachen"
    coarse.mkdir(parents=True)
    (coarse / "aachen_000000_000019_gtCoarse_labelIds.png").write_bytes(b"not looked at")
    test = root / "gtFine/test/bonn"
    (root / "leftImg8bit/test/bonn").mkdir(parents=True)
    test.mkdir(parents=True)
    first = min(root.glob("gtFine/val/*/*_labelIds.png"))
    image = min(root.glob("leftImg8bit/val/*/*.png"))
    (test / "bonn_000000_000019_gtFine_labelIds.png").write_bytes(first.read_bytes())
    (root / "leftImg8bit/test/bonn/bonn_000000_000019_leftImg8bit.png").write_bytes(image.read_bytes())
    return root, (*SMALL_CITYSCAPES, "--rate", 0.2), ("gtFine/", "gtCoarse/"), ""


@pytest.mark.parametrize("link", LINKS)
def test_what_rewrites_labels_in_out_cannot_reach_the_source(link, source, poisongen, tmp_path):
    root, options, words, above = source
    out = tmp_path / "out"
    before = tree_digest(root)
    made = poisongen("build", *options, "--root", root, "--out", out, "--link", link, "--jobs", 1)
    assert made.code == 0, made.err
    shared = 0
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and any(word in name for word in words):
            assert own(out / above / name, path), name
        elif path.is_file() and (out / above / name).samefile(path):
            shared += 1
    assert bool(shared) == (link in ("hardlink", "symlink")) or link == "auto"
    for record in manifest(out):
        for file in record["files"]:
            if file["kind"] != "image" and file["source"]:
                assert own(out / file["path"], root / file["source"]), file["path"]
    assert poisongen("audit", out, "--source", root, "--jobs", 1).code == 0
    assert "already built" in poisongen("build", *options, "--root", root, "--out", out, "--jobs", 1).out
    for path in out.rglob("*"):
        if path.is_file() and any(word in path.relative_to(out).as_posix() for word in words):
            path.write_bytes(b"rewritten")  # into the file that is there, as many tools write
    assert tree_digest(root) == before


def test_an_undo_store_and_every_way_back_work_with_copied_labels(source, poisongen, tmp_path):
    root, options, *_ = source
    before = tree_digest(root)
    call = ("build", *options, "--root", root, "--out", tmp_path / "out", "--link", "hardlink", "--undo", "--jobs", 1)
    assert poisongen(*call).code == 0
    for name, more in (("a", ()), ("b", ("--source", root))):
        back = poisongen("restore", tmp_path / "out", "--out", tmp_path / name, *more, "--jobs", 1)
        assert back.code == 0, back.err
        for path in root.rglob("*"):
            if path.is_file():
                assert (tmp_path / name / path.relative_to(root)).read_bytes() == path.read_bytes()
    assert tree_digest(root) == before


def test_a_build_that_was_broken_off_with_linked_labels_goes_on_with_copies(cityscapes, tmp_path, monkeypatch):
    """An earlier version may have left hard links in the unfinished tree."""
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}

    def stop(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fill, "write_records", stop)
        with pytest.raises(KeyboardInterrupt):
            package.build(choices, cityscapes, tmp_path / "out", jobs=1)
    tree = tmp_path / "out/.poisongen-build/tree"
    linked = [path for path in tree.glob("gtFine/*/*/*_labelIds.png") if path.stat().st_size]
    for path in linked:
        source = cityscapes / path.relative_to(tree)
        if path.read_bytes() == source.read_bytes():
            path.unlink()
            os.link(source, path)
    package.build(choices, cityscapes, tmp_path / "out", jobs=1)
    for path in (tmp_path / "out").glob("gtFine/*/*/*"):
        assert path.stat().st_nlink == 1, path


def test_a_way_to_link_that_there_is_not_is_one_line(cityscapes, tmp_path):
    with pytest.raises(package.ChoiceError, match=r"--link: 'own' is none of auto, hardlink, symlink, copy"):
        package.build({"dataset": "cityscapes", "strategy": "nn"}, cityscapes, tmp_path / "out", link="own")
