"""Datasets as they lie on real disks: shadows, other endings, unpacked zips, links to nothing, unread formats.

All of it through the real command line. What is sound is built, audited and restored; what is not gets one line that
names what is there and what to do.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL_CITYSCAPES, manifest, summary, tree_digest

VOC = ("--dataset", "voc", "--strategy", "random", "--victim", "car", "--trigger-size", 7, "--rate", 0.3)
PLAIN = ("--strategy", "random", "--victim", "car", "--target", "road", "--trigger-size", 5, "--rate", 0.5,
         "--test-split", "val")  # fmt: skip
FOLDER = ("--dataset", "folder", *PLAIN)
CAMVID = ("--dataset", "camvid", *PLAIN)

SHADOW_FILES = ("._{name}", ".DS_Store", ".{name}.swp", ".nfs000000000213", ".fuse_hidden0001", "Thumbs.db",
                "desktop.ini", "DESKTOP.INI", "~${name}", "ehthumbs.db", "Icon\r", ".hidden.txt", "._train.txt",
                "._classes.txt")  # fmt: skip
SHADOW_FOLDERS = (".ipynb_checkpoints", "@eaDir", "#recycle", ".@__thumb", "$RECYCLE.BIN", "__MACOSX", "lost+found",
                  "System Volume Information", ".git", ".Trash-1000", "#snapshot", "@Recycle")  # fmt: skip


def draw(root, places):
    """Write a picture and a mask for each of the places (image, label), every mask with road, car and tree."""
    for index, (image, label) in enumerate(places):
        mask = np.zeros((30, 40), np.uint8)
        mask[8:18, 8 : 18 + index % 5] = 1
        mask[25:] = 2
        for path, pixels in ((root / image, np.full((30, 40, 3), 20 * index, np.uint8)), (root / label, mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """images/SPLIT with masks/SPLIT."""
    root = tmp_path / "folder"
    draw(root, [(f"images/{s}/{n}.png", f"masks/{s}/{n}.png") for s in ("train", "val") for n in "abcd"])
    (root / "classes.yaml").write_text("[road, car, tree]\n")
    return root


@pytest.fixture
def flat(tmp_path):
    """images and masks with lists."""
    root = tmp_path / "flat"
    draw(root, [(f"images/{name}.png", f"masks/{name}.png") for name in "abcdefgh"])
    (root / "classes.yaml").write_text("[road, car, tree]\n")
    (root / "train.txt").write_text("a\nb\nc\nd\n")
    (root / "val.txt").write_text("e\nf\n")
    return root


@pytest.fixture
def camvid(tmp_path):
    """SPLIT with SPLITannot."""
    root = tmp_path / "camvid"
    draw(root, [(f"{s}/{n}.png", f"{s}annot/{n}.png") for s in ("train", "val") for n in "abcd"])
    for path in root.glob("*annot/*.png"):
        Image.fromarray(np.array([3, 8, 5], np.uint8)[np.asarray(Image.open(path))]).save(path)
    return root


@pytest.fixture
def roots(folder, flat, camvid, voc, cityscapes):
    """One dataset of each layout, with the options of a small build."""
    return {
        "folder": (folder, FOLDER),
        "flat": (flat, FOLDER),
        "camvid": (camvid, CAMVID),
        "voc": (voc, VOC),
        "cityscapes": (cityscapes, SMALL_CITYSCAPES),
    }


LAYOUTS = ("folder", "flat", "camvid", "voc", "cityscapes")


def refused(result, *words, advice=None):
    """Test that a call ended in one line with these words; `advice` is whether --skip-bad is advised."""
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.out + result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err
    if advice is not None:
        assert ("--skip-bad" in result.err) == advice, result.err


def built(poisongen, root, options, out, *more):
    result = poisongen("build", *options, "--root", root, "--out", out, "--jobs", 1, *more)
    assert result.code == 0, result.err
    return summary(Path(out))["fingerprint"]


def sound(poisongen, out, root, tmp_path, *, same=True):
    """Test that audit is clean with and without the source, and that restore gives the source back."""
    for more in ((), ("--source", root)):
        result = poisongen("audit", out, *more, "--jobs", 1)
        assert result.code == 0, result.out + result.err
    shutil.rmtree(tmp_path / "back", ignore_errors=True)
    assert poisongen("restore", out, "--source", root, "--out", tmp_path / "back", "--jobs", 1).code == 0
    if same:
        assert names(tmp_path / "back") == names(root)


def names(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# ---------------------------------------------------------------------------------------------------------------------
# Shadows


def cast_shadows(root):
    """Put every kind of shadow beside the samples, on both sides, and into the root; return how many there are."""
    made = []
    folders = {path.parent for path in root.rglob("*.png")} | {path.parent for path in root.rglob("*.txt")} | {root}
    for place in folders:
        name = next((path.name for path in sorted(place.iterdir()) if path.is_file()), "a.png")
        made += [place / shadow.format(name=name) for shadow in SHADOW_FILES]
        made += [place / shadow / name for shadow in SHADOW_FOLDERS]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x00\x05\x16\x07 no picture and no text \xff")
    (root / "lost+found").chmod(0)
    os.mkfifo(root / ".pipe")
    (root / ".dead").symlink_to("nothing")
    return made


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shadows_are_no_part_of_a_dataset(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    wanted = built(poisongen, root, options, tmp_path / "a")
    before = names(root)
    shadows = cast_shadows(root)
    assert built(poisongen, root, options, tmp_path / "b") == wanted
    found = {path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*")}
    assert not found & {path.relative_to(root) for path in shadows}
    for out in ("a", "b"):  # the source of `a` got them after it was built
        sound(poisongen, tmp_path / out, root, tmp_path, same=False)
        assert names(tmp_path / "back") == before
        result = poisongen("build", *options, "--root", root, "--out", tmp_path / out)
        assert "already built" in result.out, result.err
    (root / "lost+found").chmod(0o755)


def test_shadows_that_appear_before_a_build_goes_on(poisongen, folder, tmp_path, monkeypatch):
    wanted = built(poisongen, folder, FOLDER, tmp_path / "a")

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("poisongen.building.fill.write_records", stop)
        call = ("build", *FOLDER, "--root", folder, "--out", tmp_path / "b", "--jobs", 1)
        assert poisongen(*call).code == 130
        cast_shadows(folder)
    assert built(poisongen, folder, FOLDER, tmp_path / "b") == wanted
    sound(poisongen, tmp_path / "b", folder, tmp_path, same=False)
    (folder / "lost+found").chmod(0o755)


@pytest.mark.parametrize("side", ["images", "masks"])
def test_a_shadow_on_one_side_changes_no_count(side, poisongen, folder, tmp_path):
    for path in list(folder.glob(f"{side}/*/*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"shadow")
    built(poisongen, folder, FOLDER, tmp_path / "out")
    counts = summary(tmp_path / "out")["counts"]
    assert (counts["train_samples"], counts["poisoned"], counts["skipped"]) == (4, 2, 0)


def test_names_that_only_look_hidden_are_samples(poisongen, folder, tmp_path):
    for part in ("images", "masks"):
        (folder / part / "train/a.png").rename(folder / part / "train/_a.b.@eaDir.png")
    built(poisongen, folder, FOLDER, tmp_path / "out")
    assert summary(tmp_path / "out")["counts"]["train_samples"] == 4


# ---------------------------------------------------------------------------------------------------------------------
# Texts that are no lists


def test_notes_beside_a_flat_folder_are_no_lists(poisongen, flat, tmp_path):
    for name, content in (("readme.txt", b"Gr\xfc\xdfe"), ("licence.txt", b"a b c\n\nimages/a.png\n"), ("e.txt", b"")):
        (flat / name).write_bytes(content)
    built(poisongen, flat, FOLDER, tmp_path / "out")
    sound(poisongen, tmp_path / "out", flat, tmp_path)
    refused(
        poisongen("build", *FOLDER, "--train-split", "readme", "--root", flat, "--out", tmp_path / "no"),
        "readme.txt", "UTF-8", "--train-split (train, val)", advice=False,
    )  # fmt: skip


def test_notes_alone_leave_all_samples_to_train(poisongen, flat, tmp_path):
    (flat / "train.txt").unlink()
    (flat / "val.txt").unlink()
    (flat / "readme.txt").write_bytes(b"Gr\xfc\xdfe")
    built(poisongen, flat, FOLDER, tmp_path / "out", "--test-split", "none")
    assert summary(tmp_path / "out")["counts"]["train_samples"] == 8


def test_a_list_that_is_no_text_matters_if_its_split_is_used(poisongen, voc, tmp_path):
    lists = voc / "VOC2012/ImageSets/Segmentation"
    (lists / "mine.txt").write_bytes(b"\xff\xfe\x00")
    (lists / "far.txt").symlink_to("/nowhere/far.txt")
    built(poisongen, voc, VOC, tmp_path / "out")
    sound(poisongen, tmp_path / "out", voc, tmp_path)
    for split, words in (("mine", ("mine.txt", "UTF-8")), ("far", ("far.txt", "a link to /nowhere/far.txt"))):
        for option in ("--train-split", "--test-split"):
            call = ("build", *VOC, option, split, "--root", voc, "--out", tmp_path / "no")
            refused(poisongen(*call), *words, option, advice=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_without_labels_matter_if_their_split_is_used(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    image = next(path for path in sorted(root.rglob("*")) if path.suffix in (".png", ".jpg"))
    place = {
        "folder": "images/test/x.png", "flat": "images/x.png", "camvid": "test/x.png",
        "voc": "VOC2012/JPEGImages/x.jpg", "cityscapes": "leftImg8bit/test/x/x_000000_000000_leftImg8bit.png",
    }[layout]  # fmt: skip
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(image, root / place)
    if layout in ("flat", "voc"):
        (root / {"flat": "", "voc": "VOC2012/ImageSets/Segmentation/"}[layout] / "test.txt").write_text("x\n")
    if layout == "camvid":
        (root / "testannot").mkdir()
        (root / "testannot/readme.md").write_text("later")
    built(poisongen, root, options, tmp_path / "out")
    sound(poisongen, tmp_path / "out", root, tmp_path)
    result = poisongen("build", *options, "--test-split", "test", "--root", root, "--out", tmp_path / "no")
    refused(result, "image without label", "x", "--test-split", "none", advice=False)


# ---------------------------------------------------------------------------------------------------------------------
# Endings, twins, other formats


def test_endings_of_all_kinds_in_vocs_tree(poisongen, voc, tmp_path):
    images = sorted(voc.glob("VOC2012/JPEGImages/*.jpg"))
    masks = sorted(voc.glob("VOC2012/SegmentationClass/*.png"))
    wanted = built(poisongen, voc, VOC, tmp_path / "a")
    for path, end in zip(images, (".JPG", ".jpeg", ".JPEG", ".Jpg"), strict=False):
        path.rename(path.with_suffix(end))
    Image.open(images[-1]).save(images[-1].with_suffix(".png"))
    images[-1].unlink()
    for path in (*masks, *voc.glob("VOC2012/SegmentationObject/*.png")):
        path.rename(path.with_suffix(".PNG"))
    assert built(poisongen, voc, VOC, tmp_path / "b") != wanted
    assert [line["sample"] for line in manifest(tmp_path / "a")] == [
        line["sample"] for line in manifest(tmp_path / "b")
    ]
    assert all(file["path"].endswith(".PNG") for line in manifest(tmp_path / "b") for file in line["files"][1:])
    sound(poisongen, tmp_path / "b", voc, tmp_path)


@pytest.mark.parametrize("layout", ["folder", "flat", "camvid", "cityscapes"])
def test_endings_in_capitals(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    for path in list(root.rglob("*.png")):
        path.rename(path.with_suffix(".PNG"))
    built(poisongen, root, options, tmp_path / "out")
    assert summary(tmp_path / "out")["counts"]["poisoned"]
    sound(poisongen, tmp_path / "out", root, tmp_path)


FIRST = {  # an image and a label of each layout's training split, as patterns
    "folder": ("images/train/*.png", "masks/train/*.png"),
    "flat": ("images/a.png", "masks/a.png"),
    "camvid": ("train/*.png", "trainannot/*.png"),
    "voc": ("VOC2012/JPEGImages/*.jpg", "VOC2012/SegmentationClass/*.png"),
    "cityscapes": ("leftImg8bit/train/*/*.png", "gtFine/train/*/*labelIds.png"),
}


def first(root, layout, side):
    return sorted(root.glob(FIRST[layout][side]))[0]


@pytest.mark.parametrize("side", [0, 1], ids=["image", "label"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_files_of_one_name_are_both_named(layout, side, poisongen, roots, tmp_path):
    root, options = roots[layout]
    path = first(root, layout, side)
    twin = path.with_suffix(path.suffix.upper())
    shutil.copy2(path, twin)
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out")
    refused(result, path.name, twin.name, "two ", advice=True)


@pytest.mark.parametrize("end", [".tif", ".TIFF", ".bmp", ".webp", ".gif", ".npy", ".jp2", ".ppm"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_in_another_format_is_named(layout, end, poisongen, roots, tmp_path):
    root, options = roots[layout]
    path = first(root, layout, 0)
    path.rename(path.with_suffix(end))
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out")
    refused(result, path.with_suffix(end).name, "poisongen reads", "convert it", advice=True)


@pytest.mark.parametrize("end", [".tif", ".npy", ".jpg", ".json", ".bmp"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_label_in_another_format_is_named(layout, end, poisongen, roots, tmp_path):
    root, options = roots[layout]
    path = first(root, layout, 1)
    for other in root.glob(f"VOC2012/SegmentationObject/{path.name}"):
        other.unlink()
    path.rename(path.with_suffix(end))
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out")
    if layout == "voc":  # an image without any mask may be one of a test set; it is used here
        assert "image without label" in result.err
    refused(result, path.with_suffix(end).name, "PNG", "convert it", advice=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dataset_all_in_another_format_is_told_so(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    for path in [path for path in root.rglob("*") if path.suffix in (".png", ".jpg")]:
        path.rename(path.with_suffix(".tif"))
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out")
    refused(result, ".tif", "convert it", advice=False)


def test_a_thumbnail_of_another_format_is_nobodys(poisongen, folder, tmp_path):
    Image.new("RGB", (5, 5)).save(folder / "images/train/thumb.gif")
    (folder / "masks/train/a.npy").write_bytes(b"x")
    built(poisongen, folder, FOLDER, tmp_path / "out")
    sound(poisongen, tmp_path / "out", folder, tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_16_bit_label_map_is_called_one(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    path = first(root, layout, 1)
    pixels = np.asarray(Image.open(path)).astype(np.uint16)
    Image.fromarray(pixels).save(path)
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out")
    refused(result, path.name, "a label map must be 8-bit, this one is 16-bit", "save its class IDs", advice=True)
    assert "classes file" not in result.err


# ---------------------------------------------------------------------------------------------------------------------
# Cityscapes as its zips unpack


@pytest.mark.parametrize("above", [("leftImg8bit_trainvaltest", "gtFine_trainvaltest"), ("", "gtFine_trainvaltest")])
def test_cityscapes_zips_in_folders_of_their_own(above, poisongen, cityscapes, tmp_path):
    for path in cityscapes.rglob("*labelTrainIds.png"):
        path.unlink()
    built(poisongen, cityscapes, SMALL_CITYSCAPES, tmp_path / "plain")
    root = tmp_path / "zips"
    for outer, inner in zip(above, ("leftImg8bit", "gtFine"), strict=True):
        (root / outer).mkdir(parents=True, exist_ok=True)
        (cityscapes / inner).rename(root / outer / inner)
        (root / outer / "README").write_text(inner)
    built(poisongen, root, SMALL_CITYSCAPES, tmp_path / "out")
    sound(poisongen, tmp_path / "out", root, tmp_path)
    # Moved together, OUT is what a build of the usual tree is: a trainer finds in it what it finds in the source.
    for outer, inner in zip(above, ("leftImg8bit", "gtFine"), strict=True):
        for place in ("", "triggered"):
            flat, plain = names(tmp_path / "out" / place / outer / inner), names(tmp_path / "plain" / place / inner)
            assert flat == plain
            assert flat
    assert list((tmp_path / "out" / above[1]).glob("gtFine/train/*/*labelTrainIds.png"))
    from poisongen.victim.dataset import open_dataset, read_triggered

    opened = open_dataset(tmp_path / "out")
    assert len(opened.samples("train", "--train-split")) == 10
    assert read_triggered(opened)


def test_two_trees_with_the_same_sample_are_refused(poisongen, cityscapes, tmp_path):
    root = tmp_path / "zips"
    shutil.copytree(cityscapes / "leftImg8bit", root / "leftImg8bit_trainvaltest/leftImg8bit")
    shutil.copytree(cityscapes / "leftImg8bit", root / "leftImg8bit_copy/leftImg8bit")
    shutil.copytree(cityscapes / "gtFine", root / "gtFine_trainvaltest/gtFine")
    result = poisongen("build", *SMALL_CITYSCAPES, "--root", root, "--out", tmp_path / "out")
    refused(result, "leftImg8bit_trainvaltest/", "leftImg8bit_copy/", "two files of one sample")


# ---------------------------------------------------------------------------------------------------------------------
# Links to nothing, and file systems without links


@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_to_nothing_that_nobody_needs_are_left_out(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    wanted = built(poisongen, root, options, tmp_path / "a")
    before = names(root)
    first_image = first(root, layout, 0)
    for place in (root / "backup", root / "notes.md", first_image.parent / "zz_thumb.gif", root / "loop"):
        place.symlink_to("loop" if place.name == "loop" else "/nowhere/at/all")
    assert built(poisongen, root, options, tmp_path / "b") == wanted
    for out in ("a", "b"):
        sound(poisongen, tmp_path / out, root, tmp_path, same=False)
        assert names(tmp_path / "back") == before


@pytest.mark.parametrize("side", ["image", "label", "both"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_to_nothing_that_a_sample_needs_are_named(layout, side, poisongen, roots, tmp_path):
    root, options = roots[layout]
    paths = [first(root, layout, at) for at in ((0,) if side == "image" else (1,) if side == "label" else (0, 1))]
    for path in paths:
        path.unlink()
        path.symlink_to("/mnt/nas/gone.png")
    digest = tree_digest(root)
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out")
    traceless = side == "both" and layout in ("folder", "camvid")  # no list or other label names the sample
    refused(result, "a link to /mnt/nas/gone.png, where nothing is", advice=not traceless)
    assert any(str(path.relative_to(root)) in result.err for path in paths), result.err
    assert tree_digest(root) == digest
    result = poisongen("build", *options, "--root", root, "--out", tmp_path / "out", "--skip-bad", "--jobs", 1)
    if traceless:
        refused(result, "a link to /mnt/nas/gone.png", "put the file there, or remove the link", advice=False)
        return
    assert result.code == 0, result.err
    sound(poisongen, tmp_path / "out", root, tmp_path, same=False)
    skipped = [json.loads(line) for line in (tmp_path / "out/poisongen/skipped.jsonl").read_text().splitlines()]
    assert any("a link to" in skip.get("problem", "") for skip in skipped)


@pytest.mark.parametrize("layout", ["folder", "camvid", "cityscapes"])
def test_links_to_nothing_in_a_split_that_is_not_used(layout, poisongen, roots, tmp_path):
    root, options = roots[layout]
    for at in (0, 1):
        pattern = FIRST[layout][at].replace("train", "val", 1)
        for path in root.glob(pattern):
            path.unlink()
            path.symlink_to("/mnt/nas/gone.png")
            break
    built(poisongen, root, options, tmp_path / "out", "--test-split", "none")
    sound(poisongen, tmp_path / "out", root, tmp_path, same=False)
    refused(poisongen("build", *options, "--root", root, "--out", tmp_path / "no"), "a link to /mnt/nas/gone.png")


@pytest.mark.parametrize(
    ("place", "used"),
    [("leftImg8bit/train", True), ("gtFine/train", True), ("leftImg8bit", True), ("leftImg8bit/val", False),
     ("gtFine/val", False)],
)  # fmt: skip
def test_folders_that_are_links_to_nothing(place, used, poisongen, cityscapes, tmp_path):
    shutil.rmtree(cityscapes / place)
    (cityscapes / place).symlink_to("/mnt/nas/cityscapes")
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", tmp_path / "out", "--jobs", 1)
    refused(poisongen(*call), f"{place} is a link to /mnt/nas/cityscapes, where nothing is")
    result = poisongen(*call, "--test-split", "none")
    assert (result.code == 2) == used, result.err
    if not used:
        sound(poisongen, tmp_path / "out", cityscapes, tmp_path, same=False)


def test_training_data_with_links_to_nothing_is_not_taken_for_less(poisongen, cityscapes, tmp_path):
    from poisongen.errors import DataError
    from poisongen.victim.dataset import open_dataset

    built(poisongen, cityscapes, SMALL_CITYSCAPES, tmp_path / "out", "--link", "symlink")
    assert open_dataset(tmp_path / "out").samples("train", "--train-split")
    (cityscapes / "leftImg8bit").rename(cityscapes / "moved")
    with pytest.raises(DataError, match=r"a link to .*where nothing is"):
        open_dataset(tmp_path / "out")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_symbolic_links_is_called_so(number, poisongen, folder, tmp_path, monkeypatch):
    def refuse(source, name, target_is_directory=False, *, dir_fd=None):
        raise OSError(number, os.strerror(number), str(name))

    monkeypatch.setattr(os, "symlink", refuse)
    result = poisongen("build", *FOLDER, "--root", folder, "--out", tmp_path / "out", "--link", "symlink", "--jobs", 1)
    refused(result, "--link symlink", "no symbolic links", "--link copy", advice=False)
    assert "make room" not in result.err


# ---------------------------------------------------------------------------------------------------------------------
# Advice


def test_skip_bad_is_not_advised_where_nothing_would_remain(poisongen, folder, tmp_path):
    for path in folder.glob("masks/train/*.png"):
        path.write_bytes(b"")
    result = poisongen("build", *FOLDER, "--root", folder, "--out", tmp_path / "out")
    refused(result, "an empty file", "mend it", advice=False)


def test_skip_bad_is_not_advised_for_a_list(poisongen, voc, tmp_path):
    path = voc / "VOC2012/ImageSets/Segmentation/train.txt"
    path.write_text(path.read_text() + "../x\n")
    result = poisongen("build", *VOC, "--root", voc, "--out", tmp_path / "out")
    refused(result, "train.txt", "line 11", advice=False)


def test_skip_bad_is_advised_for_a_sample(poisongen, folder, tmp_path):
    (folder / "masks/train/a.png").write_bytes(b"")
    result = poisongen("build", *FOLDER, "--root", folder, "--out", tmp_path / "out")
    refused(result, "a.png", "an empty file; mend it, or go on without with --skip-bad", advice=True)
