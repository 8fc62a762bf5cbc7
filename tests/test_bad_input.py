"""Bad input through the real command line: exit 2, one line that names it, nothing written, source untouched."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL_CITYSCAPES, tree_digest

CITY = "train/altenfurth"


def png_of(width, height, colour_type=2, depth=8):
    """A PNG that claims a size and holds nearly nothing."""

    def chunk(kind, payload):
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def first(root, pattern):
    return sorted(root.glob(pattern))[0]


def image_of(root):
    return first(root, "leftImg8bit/train/*/*.png")


def label_of(root, kind="labelIds"):
    return first(root, f"gtFine/train/*/*_{kind}.png")


def edit_label(path, row, column, value):
    pixels = np.asarray(Image.open(path)).copy()
    pixels[row, column] = value
    Image.fromarray(pixels).save(path)


def jpeg_bytes(mode="RGB", size=(160, 120), **options):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "JPEG", **options)
    return stream.getvalue()


def relink(path, target):
    path.unlink()
    path.symlink_to(target)


def saved(picture, path):
    picture.save(path)


# What is done to the tree before; the options after `build --dataset cityscapes ...`; words that the line must hold.
CITYSCAPES_CASES = {
    "root is missing": (None, ["--root", "nowhere"], ["--root", "nowhere"]),
    "root is a file": (lambda root: (root / "file").write_text("x"), ["--root", "cityscapes/file"], ["--root"]),
    "root is empty": (lambda root: (root / "e").mkdir(), ["--root", "cityscapes/e"], ["empty"]),
    "no root anywhere": (None, ["--root="], ["--root", "CITYSCAPES_DATASET", "poisongen demo"]),
    "wrong layout": (None, ["--dataset", "voc"], ["no PASCAL VOC here", "ImageSets"]),
    "wrong layout camvid": (None, ["--dataset", "camvid"], ["no CamVid here"]),
    "wrong layout folder": (None, ["--dataset", "folder"], ["classes"]),
    "unknown layout": (None, ["--dataset", "nuscenes"], ["--dataset", "nuscenes", "cityscapes"]),
    "out is the root": (None, ["--out", "cityscapes"], ["--out", "clean dataset"]),
    "out inside root": (None, ["--out", "cityscapes/out"], ["--out", "inside"]),
    "out around root": (None, ["--out", "."], ["--out"]),
    "out inside root by a link": (
        lambda root: (root.parent / "link").symlink_to(root),
        ["--out", "link/out"],
        ["--out", "inside"],
    ),
    "root inside out by a link": (
        lambda root: (root.parent / "up").symlink_to(root.parent),
        ["--out", "up"],
        ["--out"],
    ),
    "out holds somebody's files": (
        lambda root: ((root.parent / "mine").mkdir(), (root.parent / "mine/thesis.txt").write_text("x")),
        ["--out", "mine"],
        ["--out", "thesis.txt"],
    ),
    "out holds somebody's files, forced": (
        lambda root: ((root.parent / "mine").mkdir(), (root.parent / "mine/thesis.txt").write_text("x")),
        ["--out", "mine", "--force"],
        ["--out", "thesis.txt"],
    ),
    "out is a file": (lambda root: (root.parent / "f").write_text("x"), ["--out", "f"], ["--out", "not a folder"]),
    "truncated label": (
        lambda root: label_of(root).write_bytes(label_of(root).read_bytes()[:-40]),
        [],
        ["labelIds.png", "truncated"],
    ),
    "zero-byte label": (lambda root: label_of(root).write_bytes(b""), [], ["labelIds.png", "empty"]),
    "zero-byte image": (lambda root: image_of(root).write_bytes(b""), [], ["leftImg8bit.png", "empty"]),
    "image cut within its header": (
        lambda root: image_of(root).write_bytes(image_of(root).read_bytes()[:20]),
        [],
        ["leftImg8bit.png", "truncated"],
    ),
    "every image truncated in its pixels": (
        lambda root: [path.write_bytes(path.read_bytes()[:-60]) for path in root.glob("leftImg8bit/train/*/*.png")],
        [],
        ["leftImg8bit.png", "truncated"],
    ),
    "text named png": (lambda root: image_of(root).write_text("not a picture"), [], ["leftImg8bit.png", "PNG"]),
    "text label named png": (lambda root: label_of(root).write_text("no"), [], ["labelIds.png", "PNG"]),
    "a damaged checksum": (
        lambda root: label_of(root).write_bytes(
            label_of(root).read_bytes()[:50] + b"!" + label_of(root).read_bytes()[51:]
        ),
        [],
        ["labelIds.png", "damaged"],
    ),
    "a decompression bomb": (
        lambda root: image_of(root).write_bytes(png_of(60000, 60000)),
        [],
        ["leftImg8bit.png", "60000x60000"],
    ),
    "a label that is a bomb": (
        lambda root: label_of(root).write_bytes(png_of(60000, 60000, 0)),
        [],
        ["labelIds.png", "60000x60000"],
    ),
    "sizes differ": (
        lambda root: saved(Image.new("RGB", (80, 80)), image_of(root)),
        [],
        ["labelIds.png", "160x80", "80x80"],
    ),
    "label sizes differ": (
        lambda root: saved(Image.new("L", (20, 20)), label_of(root, "labelTrainIds")),
        [],
        ["labelTrainIds.png", "20x20"],
    ),
    "an RGB label map": (
        lambda root: saved(Image.new("RGB", (160, 80)), label_of(root)),
        [],
        ["labelIds.png", "RGB"],
    ),
    "a 16-bit label map": (
        lambda root: saved(Image.fromarray(np.zeros((80, 160), np.uint16)), label_of(root)),
        [],
        ["labelIds.png", "16-bit"],
    ),
    "an ID outside the table": (lambda root: edit_label(label_of(root), 3, 4, 77), [], ["labelIds.png", "77"]),
    "255 in labelIds": (lambda root: edit_label(label_of(root), 3, 4, 255), [], ["labelIds.png", "255"]),
    "a train ID outside the table": (
        lambda root: edit_label(label_of(root, "labelTrainIds"), 3, 4, 19),
        [],
        ["labelTrainIds.png", "19"],
    ),
    "an instance of no class": (
        lambda root: edit_label(label_of(root, "instanceIds"), 3, 4, 7001),
        [],
        ["instanceIds.png", "7001"],
    ),
    "a polygon file that is no JSON": (
        lambda root: first(root, "gtFine/train/*/*.json").write_text("{"),
        [],
        ["polygons.json", "JSON"],
    ),
    "label without image": (lambda root: image_of(root).unlink(), [], ["without image"]),
    "image without label": (
        lambda root: [path.unlink() for path in root.glob("gtFine/train/*/*000002_*")],
        [],
        ["without label"],
    ),
    "a symlink loop": (lambda root: (root / "loop").symlink_to(root), [], ["loop"]),
    "a link to itself": (lambda root: relink(image_of(root), image_of(root)), [], ["leftImg8bit.png", "a link to"]),
    "a link to nothing": (lambda root: relink(image_of(root), "gone"), [], ["leftImg8bit.png", "a link to gone"]),
    "a named pipe": (lambda root: os.mkfifo(root / "pipe"), [], ["pipe", "neither"]),
    "a name that is no text": (
        lambda root: (root / os.fsdecode(b"\xff\xfe.txt")).write_text("x"),
        [],
        ["UTF-8"],
    ),
    "a source that is a build": (
        lambda root: ((root / "poisongen").mkdir(), (root / "poisongen/manifest.jsonl").write_text("")),
        [],
        ["poisongen", "clean dataset"],
    ),
    "trigger larger than every image": (None, ["--trigger-size", "81"], ["trigger larger than the image"]),
    "victim is target": (None, ["--victim", "car", "--target", "car"], ["victim and target", "car"]),
    "unknown victim": (None, ["--victim", "persom"], ["persom", "person"]),
    "unknown target": (None, ["--target", "raod"], ["raod", "road"]),
    "victim by an unknown ID": (None, ["--victim", "99"], ["99"]),
    "void victim": (None, ["--victim", "static"], ["static", "void"]),
    "void target": (None, ["--target", "unlabeled"], ["unlabeled", "void"]),
    "victim absent": (None, ["--victim", "train"], ["train", "0 can be"]),
    "too many": (None, ["--count", "10"], ["10 samples", "--allow-fewer"]),
    "more than there are": (None, ["--count", "11"], ["--count 11", "10 samples"]),
    "count zero": (None, ["--count", "0"], ["--count"]),
    "rate zero": (None, ["--rate", "0"], ["--rate"]),
    "rate over one": (None, ["--rate", "1.5"], ["--rate", "1.5"]),
    "rate below zero": (None, ["--rate", "-1"], ["--rate", "-1"]),
    "rate nan": (None, ["--rate", "nan"], ["--rate"]),
    "rate of no sample": (None, ["--rate", "0.01"], ["--rate 0.01", "none"]),
    "rate and count": (None, ["--rate", "0.5", "--count", "3"], ["rate", "count"]),
    "distances in the wrong order": (None, ["--min-distance", "40"], ["--min-distance 40", "--max-distance 30"]),
    "a distance below zero": (None, ["--min-distance", "-3"], ["--min-distance"]),
    "an infinite distance": (None, ["--max-distance", "inf"], ["--max-distance"]),
    "random labels over all": (None, ["--prl", "120%"], ["--prl", "120%"]),
    "random labels below zero": (None, ["--prl=-5"], ["--prl", "-5"]),
    "random labels of words": (None, ["--prl", "many"], ["--prl", "many"]),
    "random labels of the victim": (None, ["--prl", "5%", "--prl-classes", "car"], ["--prl-classes", "car"]),
    "random labels of an unknown class": (None, ["--prl", "5%", "--prl-classes", "craw"], ["craw"]),
    "opacity zero": (None, ["--opacity", "0"], ["--opacity"]),
    "opacity over one": (None, ["--opacity", "1.01"], ["--opacity"]),
    "trigger size zero": (None, ["--trigger-size", "0"], ["--trigger-size"]),
    "trigger size of words": (None, ["--trigger-size", "big"], ["--trigger-size"]),
    "a trigger that is not there": (None, ["--trigger", "dog"], ["--trigger", "dog", "cat"]),
    "a trigger that is a folder": (None, ["--trigger", "cityscapes"], ["--trigger", "not a file"]),
    "a trigger that is text": (
        lambda root: (root.parent / "t.png").write_text("x"),
        ["--trigger", "t.png"],
        ["--trigger", "t.png", "PNG"],
    ),
    "a trigger that is huge": (
        lambda root: (root.parent / "t.png").write_bytes(png_of(20000, 10)),
        ["--trigger", "t.png"],
        ["--trigger", "20000x10"],
    ),
    "a truncated trigger": (
        lambda root: (root.parent / "t.png").write_bytes(png_of(20, 20)),
        ["--trigger", "t.png"],
        ["--trigger", "damaged"],
    ),
    "no such split": (None, ["--train-split", "trian"], ["--train-split", "trian", "train"]),
    "no such test split": (None, ["--test-split", "test"], ["--test-split", "test", "val"]),
    "a bad pair": (None, ["--relabel", "car:road"], ["--relabel", "VICTIM=TARGET"]),
    "a victim named twice": (None, ["--relabel", "car=road", "--relabel", "car=sky"], ["--relabel", "car", "twice"]),
    "an unknown option": (None, ["--rat", "0.1"], ["--rat"]),
    "an unknown strategy": (None, ["--strategy", "near"], ["--strategy", "near"]),
    "jobs zero": (None, ["--jobs", "0"], ["--jobs"]),
    "scale zero": (None, ["--scale", "0"], ["--scale"]),
    "a recipe that is not there": (None, ["--recipe", "mine.json"], ["--recipe", "mine.json"]),
    "a recipe that is broken": (
        lambda root: (root.parent / "r.json").write_text("{"),
        ["--recipe", "r.json"],
        ["r.json", "JSON"],
    ),
    "a recipe that is a list": (
        lambda root: (root.parent / "r.yaml").write_text("- a\n"),
        ["--recipe", "r.yaml"],
        ["r.yaml", "mapping"],
    ),
    "a recipe with an unknown key": (
        lambda root: (root.parent / "r.json").write_text('{"poison_rate": 0.1}'),
        ["--recipe", "r.json"],
        ["r.json", "poison_rate"],
    ),
    "a recipe with a wrong type": (
        lambda root: (root.parent / "r.json").write_text('{"opacity": "half"}'),
        ["--recipe", "r.json"],
        ["r.json", "opacity"],
    ),
    "a recipe of a newer version": (
        lambda root: (root.parent / "r.json").write_text('{"version": 3}'),
        ["--recipe", "r.json"],
        ["r.json", "newer"],
    ),
    "a recipe with a trigger elsewhere": (
        lambda root: (root.parent / "r.json").write_text('{"trigger": "../../etc/passwd"}'),
        ["--recipe", "r.json"],
        ["trigger", "beside the recipe"],
    ),
    "a recipe with YAML anchors": (
        lambda root: (root.parent / "r.yaml").write_text("a: &a [x, x]\nb: [*a, *a]\n"),
        ["--recipe", "r.yaml"],
        ["r.yaml", "aliases"],
    ),
}

VOC_CASES = {
    "truncated JPEG": (
        lambda root: [
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            for path in root.glob("VOC2012/JPEGImages/*")
        ],
        [],
        [".jpg", "truncated"],
    ),
    "zero-byte JPEG": (lambda root: first(root, "VOC2012/JPEGImages/*").write_bytes(b""), [], [".jpg", "empty"]),
    "CMYK JPEG": (
        lambda root: first(root, "VOC2012/JPEGImages/*").write_bytes(jpeg_bytes("CMYK")),
        [],
        [".jpg", "CMYK"],
    ),
    "a colour picture as label": (
        lambda root: first(root, "VOC2012/SegmentationClass/*").write_bytes(jpeg_bytes()),
        [],
        [".png", "JPEG"],
    ),
    "an ID outside the table": (
        lambda root: edit_palette(first(root, "VOC2012/SegmentationClass/*"), 21),
        [],
        ["SegmentationClass", "21"],
    ),
    "a listed image that is gone": (
        lambda root: first(root, "VOC2012/JPEGImages/2007*").unlink(),
        [],
        ["JPEGImages", "no such image"],
    ),
    "a listed mask that is gone": (
        lambda root: first(root, "VOC2012/SegmentationClass/2007*").unlink(),
        [],
        ["image without label"],
    ),
    "a name twice in a list": (
        lambda root: edit_list(root, lambda text: text + text.splitlines()[0] + "\n"),
        [],
        ["train.txt", "line 1", "line 11"],
    ),
    "a list that leaves its folder": (
        lambda root: edit_list(root, lambda text: text + "../../etc/passwd\n"),
        [],
        ["train.txt", "not the name of a sample"],
    ),
    "a list that is no text": (
        lambda root: (root / "VOC2012/ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfe\x00"),
        [],
        ["train.txt", "UTF-8"],
    ),
}

FOLDER_CASES = {
    "no class file": (lambda root: (root / "classes.yaml").unlink(), [], ["classes.yaml"]),
    "a class file of numbers": (
        lambda root: (root / "classes.yaml").write_text("7\n"),
        [],
        ["classes.yaml", "expected"],
    ),
    "two classes of one name": (
        lambda root: (root / "classes.yaml").write_text("[road, car, Car]\n"),
        [],
        ["classes.yaml", "name of its own"],
    ),
    "two samples of one name": (
        lambda root: saved(Image.new("RGB", (30, 30)), root / "images/train/a b.jpg"),
        [],
        ["a b", "two samples of one name"],
    ),
    "no trigger size": (None, ["--trigger-size="], ["--trigger-size"]),
    "no victim": (None, ["--target", "road", "--victim="], ["victim"]),
    "a mask with an unknown ID": (
        lambda root: edit_label(root / "masks/train/a b.png", 0, 0, 9),
        [],
        ["a b.png", "9"],
    ),
}


def edit_palette(path, value):
    with Image.open(path) as picture:
        pixels, palette = np.asarray(picture).copy(), picture.getpalette()
    pixels[0, 0] = value
    new = Image.fromarray(pixels)
    new.putpalette(palette)
    new.save(path)


def edit_list(root, change):
    path = root / "VOC2012/ImageSets/Segmentation/train.txt"
    path.write_text(change(path.read_text()))


def check(result, words, tmp_path, root, digest):
    assert result.code == 2, result.out + result.err
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("poisongen: ")
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err
    assert tree_digest(root) == digest
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("case", CITYSCAPES_CASES)
def test_cityscapes(case, poisongen, cityscapes, tmp_path):
    spoil, options, words = CITYSCAPES_CASES[case]
    if spoil:
        spoil(cityscapes)
    digest = tree_digest(cityscapes)
    given = [str(option) for option in SMALL_CITYSCAPES]
    call = ["build", *given, "--out", "out", "--jobs", "1", *options]
    call += [] if options == ["--root="] else ["--root", "cityscapes"] if "--root" not in options else []
    call = [word for word in call if word != "--root="]
    check(poisongen(*call), words, tmp_path, cityscapes, digest)


@pytest.mark.parametrize("case", VOC_CASES)
def test_voc(case, poisongen, voc, tmp_path):
    spoil, options, words = VOC_CASES[case]
    spoil(voc)
    digest = tree_digest(voc)
    call = (
        "build",
        "--dataset",
        "voc",
        "--strategy",
        "random",
        "--victim",
        "car",
        "--rate",
        "0.5",
        "--trigger-size",
        7,
    )
    check(poisongen(*call, "--root", voc, "--out", "out", "--jobs", 1, *options), words, tmp_path, voc, digest)


@pytest.fixture
def folder(tmp_path):
    """Pictures with spaces, quotes, a newline and letters of all kinds in their names."""
    root = tmp_path / "folder"
    for index, name in enumerate(("a b", 'it\'s "quoted"', "new\nline", "größe 図", "plain")):
        for part, pixels in (
            ("images", np.full((30, 40, 3), 40 * index, np.uint8)),
            ("masks", np.zeros((30, 40), np.uint8)),
        ):
            if part == "masks":
                pixels[10:20, 10:20] = 1
            (root / part / "train").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / part / "train" / f"{name}.png")
    (root / "classes.yaml").write_text("[road, car, tree]\n")
    return root


@pytest.mark.parametrize("case", FOLDER_CASES)
def test_folder(case, poisongen, folder, tmp_path):
    spoil, options, words = FOLDER_CASES[case]
    if spoil:
        spoil(folder)
    digest = tree_digest(folder)
    given = {"--strategy": "random", "--trigger-size": "5", "--victim": "car", "--target": "road", "--rate": "0.4"}
    for option in options:
        given.pop(option.rstrip("="), None) if option.endswith("=") else None
    call = ["build", "--dataset", "folder", *(word for pair in given.items() for word in pair), "--test-split", "none"]
    call += [option for option in options if not option.endswith("=")]
    check(poisongen(*call, "--root", folder, "--out", "out", "--jobs", 1), words, tmp_path, folder, digest)


def test_odd_names_are_no_trouble(poisongen, folder, tmp_path):
    options = ("--strategy", "random", "--trigger-size", 5, "--victim", "car", "--target", "road", "--rate", 1)
    result = poisongen(
        "build", "--dataset", "folder", "--root", folder, *options, "--test-split", "none", "--out", "out"
    )
    assert result.code == 0, result.err
    lines = (tmp_path / "out/poisongen/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["sample"] for line in lines} >= {"train/new\nline", "train/größe 図"}


def test_an_odd_name_in_an_error_stays_on_one_line(poisongen, folder):
    (folder / "masks/train/new\nline.png").write_bytes(b"")
    result = poisongen("build", "--dataset", "folder", "--root", folder, "--strategy", "random", "--trigger-size", 5,
                       "--victim", "car", "--target", "road", "--test-split", "none", "--out", "out")  # fmt: skip
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "new\\nline.png" in result.err


def test_lists_with_windows_line_ends_are_read(poisongen, voc, tmp_path):
    call = ("build", "--dataset", "voc", "--strategy", "random", "--victim", "car", "--root", voc, "--jobs", 1)
    assert poisongen(*call, "--out", "a").code == 0
    for path in voc.glob("VOC2012/ImageSets/Segmentation/*.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert poisongen(*call, "--out", "b").code == 0
    first_lines = (tmp_path / "a/poisongen/manifest.jsonl").read_text()
    assert first_lines == (tmp_path / "b/poisongen/manifest.jsonl").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_unreadable_files_are_named(poisongen, cityscapes):
    image_of(cityscapes).chmod(0)
    result = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "Permission denied" in result.err


def test_unreadable_to_somebody_else(cityscapes, tmp_path):
    """The same as an unprivileged user, where the tests run as the superuser."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs the superuser and setpriv")
    import subprocess
    import sys

    label_of(cityscapes).chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder) != "/":
            folder.chmod(folder.stat().st_mode | 0o055)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    call = [
        sys.executable,
        "-m",
        "poisongen",
        "build",
        *map(str, SMALL_CITYSCAPES),
        "--root",
        str(cityscapes),
        "--jobs",
        "1",
    ]
    if subprocess.run([*user, sys.executable, "-c", "import poisongen"], check=False, capture_output=True).returncode:
        pytest.skip("an unprivileged user cannot run this Python")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    out = str(tmp_path / "theirs/out")
    done = subprocess.run([*user, *call, "--out", out], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "cannot be read (Permission denied)" in done.stderr


def test_skip_bad_goes_on_and_records(poisongen, cityscapes, tmp_path):
    label_of(cityscapes).write_bytes(b"")
    bad = label_of(cityscapes).relative_to(cityscapes).as_posix()
    digest = tree_digest(cityscapes)
    result = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out", "--skip-bad", "--rate", 0.2)
    assert result.code == 0, result.err
    skipped = [json.loads(line) for line in (tmp_path / "out/poisongen/skipped.jsonl").read_text().splitlines()]
    record = next(record for record in skipped if record["reason"] == "bad file")
    assert (record["file"], record["problem"]) == (bad, "an empty file")
    assert tree_digest(cityscapes) == digest
