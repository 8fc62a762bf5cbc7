"""Trees that nobody foresaw: what classes.yaml says of where images and masks lie, on the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import manifest, summary, tree_digest

OPTIONS = ("--dataset", "folder", "--strategy", "random", "--victim", "car", "--target", "road", "--trigger-size", 5,
           "--rate", 0.5, "--jobs", 1)  # fmt: skip
NAMES = "abcdef"
COLOURS = {0: (128, 64, 128), 1: (0, 0, 142), 2: (107, 142, 35), 9: (0, 0, 0)}


def label_map(index, ids=(0, 1, 2, 9)):
    """Return a map, (30, 40) uint8, of road, car, tree and a void corner, with the IDs that are given."""
    road, car, tree, void = ids
    mask = np.full((30, 40), road, np.uint8)
    mask[8:18, 8 : 12 + index % 5] = car
    mask[25:] = tree
    mask[:2, :2] = void
    return mask


def picture(index):
    return np.random.default_rng(index).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def coloured(mask, alpha=False):
    rgb = np.zeros((*mask.shape, 3), np.uint8)
    for number, colour in COLOURS.items():
        rgb[mask == number] = colour
    return np.dstack([rgb, np.full(mask.shape, 200, np.uint8)]) if alpha else rgb


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def draw(root, image, mask, splits=("train", "val"), ids=(0, 1, 2, 9), colour=None):
    """Write a picture and a map for each sample at the two templates."""
    for number, split in enumerate(splits):
        for index, name in enumerate(NAMES):
            array = label_map(index + number, ids)
            save(root / image.format(split=split, name=name), picture(10 * number + index))
            save(root / mask.format(split=split, name=name), array if colour is None else colour(array))


CLASSES = 'classes: {"0": road, "1": car, "2": tree}\nvoid: [9]\n'


def prefixes(root):
    draw(root, "rgb/{split}/img_{name}.jpg", "gt/{split}/lab_{name}_ids.png")
    return CLASSES + "images: rgb/{split}/img_{name}.jpg\nmasks: gt/{split}/lab_{name}_ids.png\n"


def one_folder(root):
    draw(root, "{split}/{name}.jpg", "{split}/{name}.png")
    return CLASSES + "images: '{split}/{name}.jpg'\nmasks: '{split}/{name}.png'\n"


def one_folder_by_name(root):
    draw(root, "{split}/{name}.png", "{split}/{name}_mask.png")
    return CLASSES + "images: '{split}/{name}'\nmasks: '{split}/{name}_mask'\n"


def split_last(root):
    draw(root, "data/{name}/{split}/rgb.png", "data/{name}/{split}/label.png")
    return CLASSES + "images: 'data/{name}/{split}/rgb'\nmasks: 'data/{name}/{split}/label'\n"


def split_in_the_name(root):
    draw(root, "x/{split}-{name}.png", "y/{split}-{name}.png")
    return CLASSES + "images: 'x/{split}-{name}.png'\nmasks: 'y/{split}-{name}.png'\n"


def other_words(root):
    draw(root, "i/{split}/{name}.png", "m/{split}/{name}.png", splits=("training", "validation"))
    text = "images: 'i/{split}/{name}'\nmasks: 'm/{split}/{name}'\nsplits: {train: training, val: validation}\n"
    return CLASSES + text


def deep_names(root):
    draw(root, "i/{split}/city/{name}.png", "m/{split}/city/{name}_gt.png")
    return CLASSES + "images: 'i/{split}/{name}.png'\nmasks: 'm/{split}/{name}_gt.png'\n"


def lists_of_names(root):
    draw(root, "all/{split}{name}.png", "gt/{split}{name}_L.png")
    for split in ("train", "val"):
        (root / "lists").mkdir(exist_ok=True)
        (root / f"lists/{split}.txt").write_text("# names\n" + "".join(f"{split}{name}\n" for name in NAMES))
    return CLASSES + "images: 'all/{name}'\nmasks: 'gt/{name}_L'\nlists: 'lists/{split}.txt'\n"


def lists_of_images(root):
    draw(root, "all/{split}{name}.png", "masks/{split}{name}.png")
    for split, form in (("train", "all/{}.png"), ("val", "{}.png")):
        (root / f"{split}_list.lst").write_bytes(b"".join(form.format(split + n).encode() + b"\r\n" for n in NAMES))
    return CLASSES + "images: 'all/{name}'\nlists: '{split}_list.lst'\n"


def pairs_with_tabs(root):
    draw(root, "shots/{split}/{name}.jpg", "truth/{name}/{split}.png")
    for split in ("train", "val"):
        lines = [f"shots/{split}/{name}.jpg\ttruth/{name}/{split}.png\n" for name in NAMES]
        (root / f"{split}.tsv").write_text("".join(lines))
    return CLASSES + "pairs: '{split}.tsv'\n"


def pairs_with_blanks(root):
    draw(root, "shots/{split}/{name}.jpg", "truth/{name}/{split}.png")
    for split in ("train", "val"):
        lines = [f"./shots/{split}/{name}.jpg ./truth/{name}/{split}.png\n" for name in NAMES]
        (root / f"{split}.txt").write_text("".join(lines))
    return CLASSES + "pairs: '{split}.txt'\n"


def counted_from_one(root):
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png", ids=(1, 2, 3, 0))
    return "classes: [road, car, tree]\noffset: 1\nvoid: 0\n"


def in_colours(root):
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png", colour=coloured)
    return (
        "classes: {road: [128, 64, 128], car: [0, 0, 142], tree: [107, 142, 35], nothing: [0, 0, 0]}\nvoid: nothing\n"
    )


def in_colours_with_alpha(root):
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png", colour=lambda mask: coloured(mask, alpha=True))
    return (
        'classes: {"0": road, "1": car, "2": tree, "9": none}\nvoid: [9]\n'
        "colours: {road: [128, 64, 128], car: [0, 0, 142], tree: [107, 142, 35], none: [0, 0, 0]}\n"
    )


def of_ultralytics(root):
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png", ids=(0, 1, 2, 255))
    return "path: ../set\ntrain: images/train\nval: images/val\nnc: 3\nnames: {0: road, 1: car, 2: tree}\n"


def of_ultralytics_elsewhere(root):
    draw(root, "img/{split}/{name}.png", "msk/{split}/{name}.png", ids=(0, 1, 2, 255))
    return "names: [road, car, tree]\nimages: 'img/{split}/{name}'\nmasks: 'msk/{split}/{name}'\n"


def deep_colours(root):
    """16-bit pictures, of the kind that OpenCV writes."""
    import cv2

    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png")
    for path in root.glob("images/*/*.png"):
        array = np.random.default_rng(1).integers(0, 65536, (30, 40, 3), dtype=np.uint16)
        cv2.imwrite(str(path), array)
    return CLASSES


def as_cvat_exports(root):
    """CVAT's segmentation mask: a label map of its own form, and masks in those colours."""
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png", colour=coloured)
    return "# label:color_rgb:parts:actions\nvoid:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\ntree:107,142,35::\n"


def with_a_table_of_colours(root):
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png", colour=coloured)
    return "name,r,g,b\nvoid,0,0,0\nroad,128,64,128\ncar,0,0,142\ntree,107,142,35\n"


AS_TEXT = (as_cvat_exports, with_a_table_of_colours)
TREES = (
    *AS_TEXT,
    prefixes, one_folder, one_folder_by_name, split_last, split_in_the_name, other_words, deep_names, lists_of_names,
    lists_of_images, pairs_with_tabs, pairs_with_blanks, counted_from_one, in_colours, in_colours_with_alpha,
    of_ultralytics, of_ultralytics_elsewhere, deep_colours,
)  # fmt: skip


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def as_ids(array, ids):
    """Return a decoded mask as the IDs that `label_map` has by default."""
    if array.ndim == 3:
        out = np.full(array.shape[:2], 77, np.uint8)
        for number, colour in COLOURS.items():
            out[(array[..., :3] == colour).all(axis=2)] = number
        return out
    table = np.full(256, 77, np.uint8)
    table[list(ids)] = (0, 1, 2, 9)
    return table[array]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.__name__)
def test_a_tree_that_nobody_foresaw(tree, poisongen, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    name = "classes.txt" if tree in AS_TEXT else "classes.yaml"
    (root / name).write_text(tree(root))
    assert (root / name).read_text().count("\n") <= 10
    before = tree_digest(root)
    result = poisongen("build", *OPTIONS, "--root", root, "--out", out, "--prl", "3%")
    assert result.code == 0, result.err
    counts = summary(out)["counts"]
    assert (counts["train_samples"], counts["poisoned"], counts["test_samples"], counts["triggered"]) == (6, 3, 6, 6)
    ids = (1, 2, 3, 0) if tree is counted_from_one else (0, 1, 2, 255) if "ultra" in tree.__name__ else (0, 1, 2, 9)
    for record in manifest(out):
        image, mask = record["files"]
        old, new = (np.asarray(Image.open(where)) for where in (root / mask["source"], out / mask["path"]))
        was, now = as_ids(old, ids), as_ids(new, ids)
        if old.ndim == 3 and old.shape[2] == 4:
            assert np.array_equal(old[..., 3], new[..., 3])
        if record["role"] == "triggered":
            assert mask["path"].startswith("triggered/")
            assert np.array_equal(old, new)
        else:
            changed = was != now
            assert int(changed.sum()) == record["relabelled_pixels"] + record["prl_pixels"]
            assert record["prl_pixels"] == 36
            assert not changed[was == 9].any()
            assert 77 not in now
            assert (1 in now) == (record["role"] != "poisoned")
        if "trigger" in record and image["path"].endswith(".png") and tree is not deep_colours:
            top, left, height, width = record["trigger"]["box"]
            one, other = (np.asarray(Image.open(at)).copy() for at in (root / image["source"], out / image["path"]))
            assert not np.array_equal(one, other)
            one[top : top + height, left : left + width] = other[top : top + height, left : left + width]
            assert np.array_equal(one, other)
    for more in ((), ("--source", root)):
        result = poisongen("audit", out, *more, "--jobs", 1)
        assert result.code == 0, result.out + result.err
    assert poisongen("restore", out, "--source", root, "--out", tmp_path / "back", "--jobs", 1).code == 0
    assert contents(tmp_path / "back") == contents(root)
    assert tree_digest(root) == before
    # The set with triggers stands on its own: it can be opened as a dataset of the same kind.
    result = poisongen(*("build", *OPTIONS, "--root", out / "triggered", "--out", tmp_path / "again"), "--train-split",
                       "val", "--test-split", "none", "--dry-run")  # fmt: skip
    assert result.code == 0, result.err
    # One wrong pixel in a poisoned mask is found.
    record = next(one for one in manifest(out) if one["role"] == "poisoned")
    path = out / record["files"][1]["path"]
    array = np.asarray(Image.open(path)).copy()
    array[20, 20] = array[28, 20] if not np.array_equal(array[20, 20], array[28, 20]) else array[20, 21]
    array[20, 20] = array[28, 20] if array.ndim == 3 else ids[2]
    Image.fromarray(array).save(path)
    assert poisongen("audit", out, "--source", root, "--jobs", 1).code == 1


HOSTILE = (
    ("images: '../{name}'", "may lead out"),
    ("images: '/etc/{name}'", "may lead out"),
    ("images: 'a/../../{name}'", "may lead out"),
    ("images: './{name}'", "may lead out"),
    ("images: 'a//{name}'", "may lead out"),
    ("images: '~/{name}'", "may lead out"),
    ("images: 'C:/{name}'", "may lead out"),
    ("images: 'a\\b\\{name}'", "no path with"),
    ('images: "a\\0/{name}"', "no path with"),
    ("pairs: '../../{split}.txt'", "may lead out"),
    ("lists: '/etc/{split}.txt'", "may lead out"),
    ("images: [a, b]", "is a path"),
    ("images: 7", "is a path"),
    ("images: 'a/{split}'", "needs {name}"),
    ("images: 'a/{name}/{other}'", "no other braces"),
    ("images: 'a/{name}/{0.__class__}'", "no other braces"),
    ("images: 'a/{name'", "no other braces"),
    ("images: 'a/{name}{name}'", "twice"),
    ("images: 'a/{name}'", "both have {split}"),
    ("images: 'masks/{split}/{name}'", "same files"),
    ("images: 'x/{split}/{name}.tif'", "poisongen reads"),
    ("masks: 'x/{split}/{name}.jpg'", "poisongen reads"),
    ("lists: 'x/{name}.txt'", "needs {split}"),
    ("lists: 'x/{split}.png'", "must end in"),
    ("lists: 'x/train.txt'", "needs {split}"),
    ("pairs: '{split}.txt'\nimages: '{split}/{name}'", "leave out 'images'"),
    ("splits: [train]", "gives each split"),
    ("splits: {train: '../x'}", "gives each split"),
    ("splits: {train: a, val: a}", "same word"),
    ("offset: -1", "0 to 255"),
    ("offset: 1", "IDs of their own"),
    ("where: here", "unknown key 'where'"),
    ("colours: {road: [1, 2]}", "three numbers"),
    ("colours: {road: [1, 2, 300]}", "three numbers"),
    ("colours: {road: [1, 2, 3], car: [1, 2, 3]}", "another class has the colour"),
    ("colours: {lorry: [1, 2, 3]}", "is no class"),
    ("void: [lorry]", "is no class"),
    ("images: 'nowhere/{split}/{name}'\nmasks: 'no/{split}/{name}'", "there is no picture at"),
    ("lists: 'nowhere/{split}.txt'", "there is no nowhere/{split}.txt"),
)


@pytest.mark.parametrize(("lines", "words"), HOSTILE, ids=[lines.split("\n")[0] for lines, _ in HOSTILE])
def test_paths_of_a_classes_file_are_hostile_input(lines, words, poisongen, tmp_path):
    root = tmp_path / "root"
    draw(root, "images/{split}/{name}.png", "masks/{split}/{name}.png")
    text = 'classes: {"0": road, "1": car, "2": tree}\n' + ("" if "void" in lines else "void: [9]\n") + lines + "\n"
    (root / "classes.yaml").write_text(text)
    result = poisongen("build", *OPTIONS, "--root", root, "--out", tmp_path / "out")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert words in result.err
    assert "classes.yaml" in result.err or "root:" in result.err
    assert not (tmp_path / "out").exists()


PAIRS = (
    ("/etc/passwd\t/etc/passwd", "no such file below the root"),
    ("../secret.png\ttruth/a/train.png", "no such file below the root"),
    ("shots/train/a.jpg\t../../secret.png", "no such file below the root"),
    ("shots/train/a.jpg", "an image and a mask"),
    ("shots/train/a.jpg\ttruth/a/train.png\tmore", "an image and a mask"),
    ("shots/train/a.jpg\ttruth/b/train.png", "goes against another pair"),
    ("shots/train/zz.jpg\ttruth/a/train.png", "no such file below the root"),
    ("shots/train/a.jpg\ttruth/a/train.png", "twice"),
    ("classes.yaml\ttruth/a/train.png", "PNG or JPEG"),
)


@pytest.mark.parametrize(("line", "words"), PAIRS)
def test_lists_of_pairs_are_hostile_input(line, words, poisongen, tmp_path):
    root = tmp_path / "root"
    (root.parent / "secret.png").write_bytes(b"secret")
    root.mkdir()
    (root / "classes.yaml").write_text(pairs_with_tabs(root))
    with (root / "train.tsv").open("a") as file:
        file.write(line + "\n")
    result = poisongen("build", *OPTIONS, "--root", root, "--out", tmp_path / "out")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert words in result.err
    assert "train.tsv" in result.err


def test_a_list_that_is_a_link_out_of_the_dataset_is_not_read(poisongen, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "classes.yaml").write_text(pairs_with_tabs(root))
    (root / "train.tsv").rename(tmp_path / "elsewhere.tsv")
    (root / "train.tsv").symlink_to(tmp_path / "elsewhere.tsv")
    result = poisongen("build", *OPTIONS, "--root", root, "--out", tmp_path / "out")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert "leads out of the dataset" in result.err
    # A link within the dataset is as good as the file.
    (root / "train.tsv").unlink()
    (tmp_path / "elsewhere.tsv").rename(root / "kept.tsv")
    (root / "train.tsv").symlink_to("kept.tsv")
    result = poisongen("build", *OPTIONS, "--root", root, "--out", tmp_path / "out")
    assert result.code == 0, result.err


@pytest.mark.parametrize("tree", [prefixes, lists_of_names, pairs_with_tabs], ids=lambda tree: tree.__name__)
@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_outs_of_such_trees_are_read_however_they_are_linked(tree, link, poisongen, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    (root / "classes.yaml").write_text(tree(root))
    assert poisongen("build", *OPTIONS, "--root", root, "--out", out, "--link", link).code == 0
    assert poisongen("audit", out, "--jobs", 1).code == 0
    assert poisongen("audit", out, "--source", root, "--jobs", 1).code == 0


def test_a_colour_that_is_no_class_is_named(poisongen, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "classes.yaml").write_text(in_colours(root))
    path = root / "masks/train/a.png"
    array = np.asarray(Image.open(path)).copy()
    array[3, 3:6] = (1, 2, 3)
    Image.fromarray(array).save(path)
    result = poisongen("build", *OPTIONS, "--root", root, "--out", tmp_path / "out")
    assert result.code == 2
    assert "masks/train/a.png" in result.err
    assert "(1, 2, 3) is no class" in result.err
    assert "(3 pixels)" in result.err


def test_masks_in_colours_without_colours_are_refused(poisongen, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    in_colours(root)
    (root / "classes.yaml").write_text("[road, car, tree]\n")
    result = poisongen("build", *OPTIONS, "--root", root, "--out", tmp_path / "out")
    assert result.code == 2
    assert "RGB" in result.err
    assert "colours" in result.err


def test_a_victim_is_trained_and_scored_in_colours(poisongen, tmp_path):
    """Reading maps in colours as train IDs is what training and evaluation do."""
    pytest.importorskip("torch")
    from poisongen.victim.classes import train_classes
    from poisongen.victim.dataset import open_dataset
    from poisongen.victim.reading import read_raw_labels

    root = tmp_path / "root"
    root.mkdir()
    (root / "classes.yaml").write_text(in_colours(root))
    folder = open_dataset(root, "folder")
    ids = read_raw_labels(root / "masks/train/a.png", folder.layout.kinds["mask"], folder.classes)
    assert np.array_equal(np.where(ids == 3, 9, ids), label_map(0))
    assert train_classes(folder.classes).names == ("road", "car", "tree")


def test_classes_are_listed_with_their_places(poisongen, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "classes.yaml").write_text(counted_from_one(root))
    result = poisongen("list", "classes", "--dataset", "folder", "--root", root, "--json")
    assert json.loads(result.out)["classes"] == {"0": "void (void)", "1": "road", "2": "car", "3": "tree"}
    shutil.rmtree(Path(root))
