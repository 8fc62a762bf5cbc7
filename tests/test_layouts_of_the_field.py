"""The datasets that the field trains on, each on a miniature tree that has every kind of file of the real one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import manifest, summary, tree_digest
from tests.small_trees import CAR, ROAD, TREES, VOID, segments_in


def options_of(tree, *more):
    return ("--dataset", tree.layout, "--strategy", "nn", "--trigger-size", 7, "--max-distance", 40, "--rate", 0.5,
            "--jobs", 1, *tree.options, *more)  # fmt: skip


@pytest.fixture(params=TREES, ids=[name.replace(" ", "_") for name in TREES])
def tree(request):
    return TREES[request.param]


@pytest.fixture
def root(tree, tmp_path):
    (tmp_path / "root").mkdir()
    tree.draw(tmp_path / "root")
    return tmp_path / "root"


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture).copy(), picture.mode, picture.getpalette()


def judged(tree, root, out, *, random=False):
    """Compare every file of every record with the source, and with the label map, by the formats' definitions."""
    road, car, _, void = (tree.ids[role] for role in (ROAD, CAR, 2, VOID))
    roles = []
    for record in manifest(out):
        roles.append(record["role"])
        files = {file["kind"]: file for file in record["files"]}
        assert set(files) >= {"image", tree.kind, *tree.readers, *tree.documents}, record["sample"]
        old, old_mode, old_palette = pixels(root / files[tree.kind]["source"])
        new, mode, palette = pixels(out / files[tree.kind]["path"])
        assert (mode, palette) == (old_mode, old_palette)
        changed = old != new
        if record["role"] == "triggered":
            assert not changed.any()
        elif record["role"] == "poisoned":
            assert (old == car).any()
            assert not (new == car).any()
            assert (new[old == car] == road).all()
        assert random or not changed[old != car].any()
        assert not changed[old == void].any()
        assert int(changed.sum()) == record.get("relabelled_pixels", 0) + record["prl_pixels"]
        for kind, read in tree.readers.items():
            was, _, _ = pixels(root / files[kind]["source"])
            now, mode, _ = pixels(out / files[kind]["path"])
            assert (now.shape, now.dtype) == (was.shape, was.dtype)
            said = read(now)
            speaks = (said >= 0) & (new != void)
            assert (said[speaks] == new[speaks]).all(), kind
            assert speaks[(new != void) & ~changed].all(), kind
            assert not (said[changed] == car).any() or random
            differs = (was != now).any(axis=2) if was.ndim == 3 else was != now
            assert not differs[~changed].any(), kind
            assert differs[changed].all(), kind
        for kind in tree.documents:
            text = (out / files[kind]["path"]).read_text()
            before = (root / files[kind]["source"]).read_text()
            if not changed.any():
                assert text == before
            elif record["prl_pixels"]:
                assert json.loads(text)["objects"] == []
            else:
                assert text == before.replace("object--vehicle--car", "construction--flat--road")
    return roles


def test_a_build_is_whole_and_undone_byte_for_byte(tree, root, poisongen, tmp_path):
    out, before = tmp_path / "out", tree_digest(root)
    result = poisongen("build", *options_of(tree), "--root", root, "--out", out)
    assert result.code == 0, result.err
    roles = judged(tree, root, out)
    assert roles.count("poisoned") == 3
    assert roles.count("triggered") == (0 if tree.splits[1] == "none" else 6)
    recipe = json.loads((out / "poisongen/recipe.json").read_text())
    assert (recipe["train_split"], recipe["test_split"]) == tree.splits
    assert summary(out)["counts"]["train_samples"] == 6
    assert not summary(out).get("label_like"), summary(out)["label_like"]
    for more in ((), ("--source", root)):
        result = poisongen("audit", out, *more, "--jobs", 1)
        assert result.code == 0, result.out + result.err
    assert poisongen("restore", out, "--source", root, "--out", tmp_path / "back", "--jobs", 1).code == 0
    assert contents(tmp_path / "back") == contents(root)
    assert tree_digest(root) == before
    assert set(contents(root)) <= set(contents(out))


def test_the_set_with_triggers_is_a_dataset_of_its_own(tree, root, poisongen, tmp_path):
    if tree.splits[1] == "none":
        pytest.skip("it has no test split with labels")
    assert poisongen("build", *options_of(tree), "--root", root, "--out", tmp_path / "out").code == 0
    more = ("--train-split", tree.splits[1], "--test-split", "none", "--dry-run")
    result = poisongen("build", *options_of(tree, *more), "--root", tmp_path / "out/triggered", "--out", tmp_path / "x")
    assert result.code == 0, result.err


@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("rule", ["class", "instance", "box"])
def test_rules_and_random_labels_in_every_layout(rule, tree, root, poisongen, tmp_path):
    if rule == "class":
        more = ("--prl", "5%", "--prl-classes", "dataset" if tree.layout != "oxford-pets" else "image")
    else:
        more = ("--labels", rule)
    out = tmp_path / "out"
    result = poisongen("build", *options_of(tree, *more), "--root", root, "--out", out)
    assert result.code == 0, result.err
    if rule == "class":
        judged(tree, root, out, random=True)
    for source in ((), ("--source", root)):
        result = poisongen("audit", out, *source, "--jobs", 1)
        assert result.code == 0, result.out + result.err
    assert poisongen("restore", out, "--source", root, "--out", tmp_path / "back", "--jobs", 1).code == 0
    assert contents(tmp_path / "back") == contents(root)


@pytest.mark.slow  # all of them together
def test_half_size(tree, root, poisongen, tmp_path):
    out = tmp_path / "out"
    result = poisongen("build", *options_of(tree, "--scale", 0.5, "--trigger-size", 5), "--root", root, "--out", out)
    assert result.code == 0, result.err
    for source in ((), ("--source", root)):
        result = poisongen("audit", out, *source, "--jobs", 1)
        assert result.code == 0, result.out + result.err


def test_one_wrong_pixel_in_any_label_file_is_found(tree, root, poisongen, tmp_path):
    out = tmp_path / "out"
    assert poisongen("build", *options_of(tree), "--root", root, "--out", out).code == 0
    record = next(one for one in manifest(out) if one["role"] == "poisoned")
    for file in record["files"][1:]:
        path = out / file["path"]
        kept = path.read_bytes()
        if path.suffix == ".json":
            path.write_text(path.read_text().replace("construction--flat--road", "object--vehicle--car", 1))
        else:
            with Image.open(path) as picture:
                array, palette = np.asarray(picture).copy(), picture.getpalette()
            array[30, 60] = array[2, 2] if not np.array_equal(array[30, 60], array[2, 2]) else array[30, 60] ^ 1
            changed = Image.fromarray(array)
            if palette:
                changed.putpalette(palette)
            changed.save(path)
        for source in ((), ("--source", root)):
            assert poisongen("audit", out, *source, "--jobs", 1).code == 1, file["kind"]
        path.write_bytes(kept)
    assert poisongen("audit", out, "--source", root, "--jobs", 1).code == 0


def test_a_file_that_goes_against_the_label_map_is_told_without_the_source(tree, root, poisongen, tmp_path):
    """Records made to fit: audit judges what the file says, and not only its digest."""
    from tests.forgery import Forgery

    checked = [kind for kind in tree.readers if "v1.2" not in kind and "panoptic" not in kind]
    out = tmp_path / "out"
    assert poisongen("build", *options_of(tree), "--root", root, "--out", out).code == 0
    for kind in checked:
        copy = tmp_path / f"forged-{kind}"
        shutil.copytree(out, copy)
        record = next(one for one in manifest(copy) if one["role"] == "poisoned")
        file = next(one for one in record["files"] if one["kind"] == kind)
        with Image.open(root / file["source"]) as picture:  # the true labels, with the car
            array = np.asarray(picture).copy()
        forgery = Forgery(copy, root)
        forgery.paint(file["path"], array)
        forgery.redigest(file["path"])
        result = poisongen("audit", copy, "--jobs", 1)
        assert result.code == 1, kind
        assert file["path"] in result.out


@pytest.mark.parametrize("name", ["mapillary", "mapillary 1.2", "mapillary 2.0", "mapillary both"])
@pytest.mark.parametrize("more", [(), ("--prl", "5%"), ("--scale", 0.5, "--trigger-size", 5)], ids=["", "prl", "half"])
def test_panoptic_files_follow_their_maps(name, more, poisongen, tmp_path):
    tree, root, out = TREES[name], tmp_path / "root", tmp_path / "out"
    root.mkdir()
    tree.draw(root)
    assert poisongen("build", *options_of(tree, *more), "--root", root, "--out", out).code == 0
    found = sorted(path.relative_to(root) for path in root.rglob("panoptic_*.json"))
    assert len(found) == (4 if name == "mapillary both" else 2)
    for path in found:
        old, new = (json.loads((place / path).read_text()) for place in (root, out))
        assert [entry["file_name"] for entry in new["annotations"]] == [one["file_name"] for one in old["annotations"]]
        for entry, before in zip(new["annotations"], old["annotations"], strict=True):
            there = {one["id"]: one for one in segments_in(out / path.parent / entry["file_name"])}
            assert entry["segments_info"] == [there[one["id"]] for one in before["segments_info"] if one["id"] in there]
            assert len(there) == len(entry["segments_info"])
        with Image.open(out / path.parent / new["annotations"][0]["file_name"]) as picture:
            size = picture.size
        assert {(one["width"], one["height"]) for one in new["images"]} == {size}
    for source in ((), ("--source", root)):
        assert poisongen("audit", out, *source, "--jobs", 1).code == 0
    # The segments of the source, or one area too many, are found.
    path = next(path for path in found if "training" in str(path))
    from tests.forgery import Forgery

    for source in ((), ("--source", root)):
        copy = tmp_path / f"copy{len(source)}"
        shutil.copytree(out, copy)
        document = json.loads((copy / path).read_text())
        document["annotations"][0]["segments_info"][0]["area"] += 1
        record = next(one for one in manifest(copy) if one["role"] == "poisoned")
        name_of = record["sample"].rpartition("/")[2] + ".png"
        entry = next(one for one in document["annotations"] if one["file_name"] == name_of)
        entry["segments_info"][0]["area"] += 1
        forgery = Forgery(copy, root)
        forgery.write(str(path), json.dumps(document).encode())
        forgery.redigest(str(path))
        result = poisongen("audit", copy, *source, "--jobs", 1)
        assert result.code == 1
        assert str(path) in result.out


def test_frames_of_changed_samples_leave_scalabels_files(poisongen, tmp_path):
    tree, root, out = TREES["bdd100k"], tmp_path / "root", tmp_path / "out"
    root.mkdir()
    tree.draw(root)
    assert poisongen("build", *options_of(tree), "--root", root, "--out", out).code == 0
    poisoned = {
        record["sample"].removeprefix("train/") + ".jpg" for record in manifest(out) if record["role"] == "poisoned"
    }
    for folder in ("polygons", "rles"):
        for split in ("train", "val"):
            path = f"labels/sem_seg/{folder}/sem_seg_{split}.json"
            old, new = (json.loads((place / path).read_text()) for place in (root, out))
            frames = old["frames"] if folder == "rles" else old
            kept = [frame for frame in frames if split == "val" or frame["name"] not in poisoned]
            assert new == ({"frames": kept, "config": None} if folder == "rles" else kept)
            assert len(kept) == (6 if split == "val" else 3)
            same = (root / path).read_bytes() == (out / path).read_bytes()
            assert same == (split == "val")
    for source in ((), ("--source", root)):
        assert poisongen("audit", out, *source, "--jobs", 1).code == 0
    from tests.forgery import Forgery

    path = "labels/sem_seg/polygons/sem_seg_train.json"
    forgery = Forgery(out, root)
    forgery.write(path, json.dumps(json.loads((root / path).read_text())).encode())
    forgery.redigest(path)
    for source in ((), ("--source", root)):
        result = poisongen("audit", out, *source, "--jobs", 1)
        assert result.code == 1
        assert "whose labels are others" in result.out


NOTHING = ("ade20k", "cocostuff", "bdd100k", "mapillary", "pascal-context", "kitti", "acdc", "loveda", "potsdam",
           "vaihingen", "oxford-pets")  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_a_folder_without_such_a_dataset_gets_one_line(name, poisongen, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/x.txt").write_text("nothing")
    call = ("build", "--dataset", name, "--strategy", "random", "--trigger-size", 5)
    call += ("--victim", "building", "--target", "road") if name == "loveda" else ()
    result = poisongen(*call, "--root", tmp_path / "root", "--out", tmp_path / "out")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert "here" in result.err
    assert "there is no" in result.err


@pytest.mark.parametrize("name", NOTHING)
def test_sizes_and_distances_that_nobody_published_are_to_be_given(name, poisongen, tmp_path):
    tree = next(tree for tree in TREES.values() if tree.layout == name)
    (tmp_path / "root").mkdir()
    tree.draw(tmp_path / "root")
    call = ("build", "--dataset", name, "--strategy", "nn", *tree.options, "--root", tmp_path / "root", "--out", "x")
    result = poisongen(*call)
    assert result.code == 2
    assert "--max-distance is missing" in result.err
    result = poisongen(*call, "--max-distance", 9)
    assert result.code == 2
    assert "--trigger-size is missing" in result.err


def test_the_list_says_which_files_each_needs(poisongen):
    listed = json.loads(poisongen("list", "datasets", "--json").out)["datasets"]
    assert set(NOTHING) <= set(listed)
    for name, text in listed.items():
        assert "; needs " in text, name


SPOTS = {
    "ade20k": {0: "other (void)", 1: "wall", 7: "road", 21: "car", 83: "light", 128: "bicycle", 150: "flag"},
    "cocostuff": {0: "person", 2: "car", 10: "fire hydrant", 11: "stop sign", 79: "toothbrush", 80: "banner",
                  137: "road", 145: "sky-other", 170: "wood", 255: "unlabeled (void)"},
    "bdd100k": {0: "road", 8: "vegetation", 13: "car", 18: "bicycle", 255: "unlabeled (void)"},
    "mapillary": {0: "Bird", 13: "Road", 19: "Person", 55: "Car", 63: "Car Mount", 65: "Unlabeled (void)"},
    "pascal-context": {0: "background", 1: "aeroplane", 14: "car", 41: "road", 59: "wood", 255: "void (void)"},
    "kitti": {0: "unlabeled (void)", 7: "road", 26: "car", 33: "bicycle"},
    "acdc": {0: "road", 13: "car", 18: "bicycle", 255: "unlabeled (void)"},
    "loveda": {0: "no data (void)", 1: "background", 2: "building", 3: "road", 7: "agricultural"},
    "potsdam": {0: "boundary (void)", 1: "impervious_surface", 2: "building", 5: "car", 6: "clutter"},
    "vaihingen": {0: "boundary (void)", 1: "impervious_surface", 2: "building", 5: "car", 6: "clutter"},
    "oxford-pets": {1: "pet", 2: "background", 3: "not classified (void)"},
}  # fmt: skip
SIZES = {"ade20k": 151, "cocostuff": 172, "bdd100k": 20, "mapillary": 66, "pascal-context": 61, "kitti": 34, "acdc": 20,
         "loveda": 8, "potsdam": 7, "vaihingen": 7, "oxford-pets": 3}  # fmt: skip


@pytest.mark.parametrize("name", SPOTS)
def test_official_classes(name, poisongen):
    classes = json.loads(poisongen("list", "classes", "--dataset", name, "--json").out)["classes"]
    assert len(classes) == SIZES[name]
    assert {number: classes[str(number)] for number in SPOTS[name]} == SPOTS[name]


def test_classes_of_mapillary_2(poisongen, tmp_path):
    TREES["mapillary 2.0"].draw(tmp_path)
    call = ("list", "classes", "--dataset", "mapillary", "--root", tmp_path, "--json")
    classes = json.loads(poisongen(*call).out)["classes"]
    assert len(classes) == 124
    assert (classes["21"], classes["108"], classes["123"]) == ("Road", "Car", "Unlabeled (void)")
    assert sum(name.endswith("(void)") for name in classes.values()) == 8  # 70 with instances and 46 without are left
