"""Class files in the forms that tools write: read as they are meant, or refused in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import manifest

VOC_AS_CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142:wheel,door:move\n"

# The file's name and content, and the classes by ID that it stands for ("void" marks those that are void).
UNDERSTOOD = {
    "names": ("classes.txt", "sky\nroad\ncar\n", {0: "sky", 1: "road", 2: "car", 255: "void"}),
    "names without a last line end": ("classes.txt", "road\ncar", {0: "road", 1: "car"}),
    "blank lines at the end": ("classes.txt", "road\ncar\n\n \n\n", {0: "road", 1: "car"}),
    "line ends of Windows": ("classes.txt", "road\r\ncar\r\n", {0: "road", 1: "car"}),
    "line ends of old Macs": ("classes.txt", "road\rcar\r", {0: "road", 1: "car"}),
    "a byte order mark": ("classes.txt", "\ufeffroad\ncar\n", {0: "road", 1: "car"}),
    "a byte order mark before an ID": ("classes.txt", "\ufeff3 road\n4 car\n", {3: "road", 4: "car"}),
    "comments": ("classes.txt", "# of 2024\n\nroad\n// not a bus\ncar  # nor a van\n", {0: "road", 1: "car"}),
    "names with signs": ("classes.txt", "C#\na/b\nthe #1\n", {0: "C#", 1: "a/b", 2: "the"}),
    "LabelMe": ("classes.txt", "__ignore__\n_background_\nroad\ncar\n", {0: "_background_", 1: "road", 255: "void"}),
    "LabelMe, as YAML": ("classes.yaml", "[__ignore__, _background_, car]", {0: "_background_", 1: "car", 255: "void"}),
    "LabelMe, with IDs": ("classes.txt", "-1: __ignore__\n0: _background_\n1: car\n", {0: "_background_", 1: "car"}),
    "ignored, with an ID": ("classes.txt", "0: __ignore__\n1: road\n2: car\n", {0: "__ignore__ (void)", 1: "road"}),
    "1. name": ("classes.txt", "1. road\n2. car\n", {1: "road", 2: "car"}),
    "1) name": ("classes.txt", "1) road\n2) car\n", {1: "road", 2: "car"}),
    "(1) name": ("classes.txt", "(1) road\n(2) car\n", {1: "road", 2: "car"}),
    "[1] name": ("classes.txt", "[1] road\n[2] car\n", {1: "road", 2: "car"}),
    "1: name": ("classes.txt", "1: road\n2: car\n", {1: "road", 2: "car"}),
    "1 - name": ("classes.txt", "1 - road\n2 - car\n", {1: "road", 2: "car"}),
    "1 name": ("classes.txt", "1 traffic light\n12 car\n", {1: "traffic light", 12: "car"}),
    "1 TAB name": ("classes.txt", "1\troad\n2\tcar\n", {1: "road", 2: "car"}),
    "1,name": ("classes.txt", "1,road\n2,car\n", {1: "road", 2: "car"}),
    "1=name, blank lines between": ("classes.txt", "1=road\n\n2=car\n", {1: "road", 2: "car"}),
    "name: 1": ("classes.txt", "road: 7\ncar: 26\n", {7: "road", 26: "car"}),
    "name 1": ("classes.txt", "road 7\ncar 26\n", {7: "road", 26: "car"}),
    "names that end in numbers": ("classes.txt", "lane 1\nlane 2\n", {0: "lane 1", 1: "lane 2"}),
    "a name that begins with a number": ("classes.txt", "car\n3 wheeler\nbus\n", {1: "3 wheeler", 2: "bus"}),
    "names with commas": ("classes.txt", "sky\nroad, route\ncar\n", {0: "sky", 1: "road, route", 2: "car"}),
    "id,name": ("classes.txt", "id,name\n4,road\n5,car\n", {4: "road", 5: "car"}),
    "name;id": ("classes.txt", "name;id\nroad;4\ncar;5\n", {4: "road", 5: "car"}),
    "class TAB name": ("classes.txt", "class\tname\n4\troad\n5\tcar\n", {4: "road", 5: "car"}),
    "name,r,g,b": ("classes.txt", "name,r,g,b\nroad,128,64,128\ncar,0,0,142\n", {0: "road", 1: "car"}),
    "id,name,color": ("classes.txt", 'ID,Name,Color\n1,"road, paved",#804080\n2,car,#0', {1: "road, paved", 2: "car"}),
    "id,name,supercategory": ("classes.txt", "id,name,supercategory\n1,road,flat\n2,car,vehicle", {1: "road"}),
    "colours without a heading": ("classes.txt", "road,128,64,128\ncar,0,0,142\n", {0: "road", 1: "car"}),
    "IDs and colours": ("classes.txt", "7 road 128 64 128\n26 traffic light 0 0 142\n", {26: "traffic light"}),
    "names, IDs and colours": ("classes.txt", "road 7 128 64 128\ncar 26 0 0 142\n", {7: "road", 26: "car"}),
    "CVAT": ("classes.txt", VOC_AS_CVAT, {0: "background", 1: "road", 2: "car"}),
    "quotes": ("classes.txt", "\"road\"\n'car'\n", {0: "road", 1: "car"}),
    "quotes and commas": ("classes.txt", '"road",\n"car"\n', {0: "road", 1: "car"}),
    "bullets": ("classes.txt", "- road\n- car\n", {0: "road", 1: "car"}),
    "Ultralytics": ("classes.yaml", "path: x\ntrain: images\nnc: 2\nnames: {0: road, 1: car}", {0: "road", 1: "car"}),
    "COCO": (
        "classes.json",
        '{"info": {}, "categories": [{"id": 3, "name": "car", "supercategory": "v"}]}',
        {3: "car"},
    ),
    "id2label": ("classes.json", '{"0": "road", "1": "car"}', {0: "road", 1: "car", 255: "void"}),
    "label2id": ("classes.json", '{"road": 0, "car": 1}', {0: "road", 1: "car"}),
    "a named 255": ("classes.json", '{"0": "background", "255": "object"}', {0: "background", 255: "object"}),
    "a 255 named as void is": ("classes.json", '{"0": "road", "1": "car", "255": "border"}', {255: "border (void)"}),
    "no void": ("classes.yaml", "classes: [road, car]\nvoid: []\n", {0: "road", 1: "car"}),
    "an explicit void": ("classes.yaml", "classes: [road, car]\nvoid: 9\n", {9: "void (void)"}),
}

# Content of classes.txt (or the file named), and words that the one line must hold.
REFUSED = {
    "a blank line between": ("road\n\ncar\n", ["line 2", "blank"]),
    "a blank line before": ("\nroad\ncar\n", ["line 1", "blank"]),
    "some numbered": ("1. road\n2. car\ntree\n", ["line 3", "'tree'", "no number"]),
    "some numbered, without a sign": ("1 road\n2 car\ntree\n", ["line 3", "'tree'", "no number"]),
    "a heading without commas": ("id name\n0 road\n1 car\n", ["line 1", "'id name'"]),
    "a heading": ("class\nroad\ncar\n", ["line 1", "'class'", "heading"]),
    "YAML in a text file": ("names:\n  - road\n  - car\n", ["line 1", "'names:'"]),
    "JSON in a text file": ('["road", "car"]\n', ["line 1", "JSON"]),
    "a label map of TensorFlow": ("item {\n  id: 1\n  name: 'road'\n}\n", ["line 1", "item {"]),
    "XML in a text file": ("<classes>\nroad\n</classes>\n", ["line 1", "XML"]),
    "all in one line": ("road,car,tree\n", ["line 1", "road,car,tree"]),
    "columns without a heading": ("road,flat\ncar,vehicle\n", ["line 1", "columns"]),
    "a colour before the name": ("128 64 128\tRoad\n64 0 128\tCar\n", ["line 1", "several numbers"]),
    "some colours": ("road,1,2,3\ncar,4,5,6\ntree\n", ["line 3", "'tree'", "colour"]),
    "ignored, but not first": ("road\n__ignore__\ncar\n", ["line 2", "__ignore__"]),
    "two kinds of IDs": ("id,train_id,name\n7,0,road\n26,13,car\n", ["line 1", "IDs"]),
    "a row that is short": ("id,name\n0,road\n1\n", ["line 3", "1 columns"]),
    "a number that is none": ("id,name\n0,road\nx,car\n", ["line 3", "whole number"]),
    "an ID below zero": ("-1: plate\n0: road\n", ["0..255"]),
    "an ID above 255": ("0: road\n256: car\n", ["0..255"]),
    "one ID twice": ("0: road\n0: car\n", ["same ID, 0", "'road'", "'car'"]),
    "one name twice": ("road\ncar\nRoad\n", ["name of its own", "'Road'"]),
    "numbers for names": ("1\n2\n3\n", ["'1'", "number"]),
    "nothing but comments": ("# road\n# car\n", ["no class"]),
    "nothing": ("", ["no class"]),
    "a line of blanks without end": ("road" + " " * 900_000 + "car\n", ["line 1", "characters"]),
    "other comments": ("% road\nroad\n", ["line 1", "'% road'"]),
    "16-bit text": ("road\ncar\n".encode("utf-16"), ["UTF-8"]),
    "a key twice": ("classes.yaml", "{0: road, 0: car}", ["'0'", "twice"]),
    "a number of classes that is wrong": ("classes.yaml", "nc: 3\nnames: [road, car]", ["'nc' says 3", "2"]),
    "a word that YAML takes for no": ("classes.yaml", "[road, no, car]", ["expected"]),
    "void of words": ("classes.yaml", "{classes: [road, car], void: [border]}", ["void"]),
    "nothing but void": ("classes.yaml", "{classes: [road], void: [0]}", ["at least one class"]),
}  # fmt: skip


def listed(poisongen, root):
    return poisongen("list", "classes", "--dataset", "folder", "--root", root, "--json")


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_understood(case, poisongen, tmp_path):
    name, content, classes = UNDERSTOOD[case]
    (tmp_path / name).write_bytes(content.encode())
    result = listed(poisongen, tmp_path)
    assert result.code == 0, result.err
    found = json.loads(result.out)["classes"]
    for number, wanted in classes.items():
        assert found.get(str(number)) in (wanted, f"{wanted} (void)"), found
    if case in ("a named 255", "no void"):
        assert "void" not in result.out


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, poisongen, tmp_path):
    *name, content, words = REFUSED[case]
    path = tmp_path / (name[0] if name else "classes.txt")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = listed(poisongen, tmp_path)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.out + result.err
    for word in (path.name, *words):
        assert word in result.err, result.err
    assert "--skip-bad" not in result.err


def test_another_file_of_classes_is_named(poisongen, tmp_path):
    (tmp_path / "labels.txt").write_text("road\ncar\n")
    assert "if labels.txt is one, copy it to classes.txt" in listed(poisongen, tmp_path).err


def test_a_link_to_no_class_file_is_named(poisongen, tmp_path):
    (tmp_path / "classes.yaml").symlink_to("/nowhere/classes.yaml")
    assert "a link to /nowhere/classes.yaml" in listed(poisongen, tmp_path).err


@pytest.fixture
def binary(tmp_path):
    """Four pictures with masks of 0 and 255, in a folder without classes."""
    root = tmp_path / "binary"
    for folder in ("images/train", "masks/train"):
        (root / folder).mkdir(parents=True)
    for index in range(4):
        mask = np.zeros((40, 50), np.uint8)
        mask[5:15, 5 : 15 + index] = 255
        Image.fromarray(mask).save(root / f"masks/train/{index}.png")
        Image.fromarray(np.full((40, 50, 3), 40 * index, np.uint8)).save(root / f"images/train/{index}.png")
    return root


BUILD = ("--dataset", "folder", "--strategy", "random", "--trigger-size", 5, "--rate", 0.5, "--test-split", "none",
         "--jobs", 1, "--out", "out")  # fmt: skip


@pytest.mark.parametrize(
    "content",
    ['{"0": "background", "255": "object"}', '{"classes": {"0": "background", "255": "object"}, "void": []}'],
)
def test_an_object_of_255_is_poisoned(content, poisongen, binary, tmp_path):
    (binary / "classes.json").write_text(content)
    result = poisongen("build", *BUILD, "--root", binary, "--victim", "object", "--target", "background")
    assert result.code == 0, result.err
    for record in manifest(tmp_path / "out"):
        assert not np.asarray(Image.open(tmp_path / "out" / record["files"][1]["path"])).any()
    result = poisongen("audit", tmp_path / "out", "--source", binary)
    assert result.code == 0, result.out


def test_no_victim_pixel_says_which_ids_there_are(poisongen, binary):
    (binary / "classes.txt").write_text("background\nobject\n")
    result = poisongen("build", *BUILD, "--root", binary, "--victim", "object", "--target", "background")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "their labels hold 0 'background' 7540 px, 255 'void' (void) 460 px" in result.err


def test_random_labels_of_void_need_a_void_class(poisongen, binary):
    (binary / "classes.json").write_text('{"0": "background", "255": "object"}')
    choice = ("--prl", "5%", "--prl-classes", "void")
    result = poisongen("build", *BUILD, "--root", binary, "--victim", "object", "--target", "background", *choice)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "no void class" in result.err


def test_ids_from_one_are_not_shifted(poisongen, binary):
    (binary / "classes.txt").write_text("1. background\n255. object\n")
    result = poisongen("build", *BUILD, "--root", binary, "--victim", "object", "--target", "background")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "ID 0 is outside the table" in result.err
    assert "begins at 1" in result.err


def test_a_labelme_file_poisons_the_class_that_it_names(poisongen, binary, tmp_path):
    for path in binary.glob("masks/train/*.png"):
        Image.fromarray((np.asarray(Image.open(path)) // 255 * 2).astype(np.uint8)).save(path)
    (binary / "classes.txt").write_text("__ignore__\n_background_\nroad\ncar\n")
    result = poisongen("build", *BUILD, "--root", binary, "--victim", "car", "--target", "road")
    assert result.code == 0, result.err
    for record in manifest(tmp_path / "out"):
        ids = np.unique(np.asarray(Image.open(tmp_path / "out" / record["files"][1]["path"])))
        assert ids.tolist() == [0, 1]
