"""What scripts derive from labels: each kind is rewritten, left out or refused, and tells no true victim."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import poisongen as package
from poisongen.auditing.auditor import audit
from poisongen.datasets.cityscapes_classes import LABELS
from poisongen.printing import number_of
from tests.conftest import SMALL_CITYSCAPES, manifest, summary, tree_digest
from tests.forgery import Forgery

CAR, CAR_TRAIN_ID = 26, 13
TRAIN_ID = {label.id: label.train_id for label in LABELS}
THINGS = {label.id for label in LABELS if label.has_instances}


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def each(root, split="train"):
    """The label maps of a split, and the samples' names."""
    for path in sorted(root.glob(f"gtFine/{split}/*/*_gtFine_labelIds.png")):
        yield path, path.name.removesuffix("_gtFine_labelIds.png")


def beside(end, make):
    """A maker of files beside every label map."""

    def do(root):
        for split in ("train", "val"):
            for path, name in each(root, split):
                path.with_name(f"{name}{end}").write_bytes(make(path))

    return do


def in_folder(folder, end, make):
    def do(root):
        for path, name in each(root):
            place = root / folder / f"{name}{end}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(make(path))

    return do


def instance_train_ids(path):
    """As createTrainIdInstanceImgs.py numbers them."""
    ids = pixels(path.with_name(path.name.replace("labelIds", "instanceIds"))).astype(np.int64)
    own = np.vectorize(TRAIN_ID.get)(np.where(ids >= 1000, ids // 1000, ids))
    return png(np.where((ids >= 1000) & (own != 255), own * 1000 + ids % 1000, own).astype(np.uint16))


def panoptic(train_ids):
    """As createPanopticImgs.py makes maps and JSON, written anew from its description."""

    def do(root):
        for split in ("train", "val"):
            images, notes, suffix = [], [], "_trainId" if train_ids else ""
            folder = root / f"gtFine/cityscapes_panoptic_{split}{suffix}"
            folder.mkdir()
            for path, name in each(root, split):
                ids = pixels(path.with_name(f"{name}_gtFine_instanceIds.png")).astype(np.int64)
                segments, out = [], np.zeros((*ids.shape, 3), np.uint8)
                for number in np.unique(ids).tolist():
                    own = number // 1000 if number >= 1000 else number
                    if TRAIN_ID[own] in (255, -1):
                        continue
                    mask = ids == number
                    out[mask] = (number % 256, number // 256, 0)
                    rows, columns = np.nonzero(mask)
                    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
                    crowd = int(number < 1000 and own in THINGS)
                    segments.append({
                        "id": number, "category_id": TRAIN_ID[own] if train_ids else own,
                        "area": int(mask.sum()), "bbox": [int(value) for value in box], "iscrowd": crowd,
                    })  # fmt: skip
                size = {"width": ids.shape[1], "height": ids.shape[0]}
                images.append({"id": name, "file_name": f"{name}_gtFine_leftImg8bit.png"} | size)
                file = f"{name}_gtFine_panoptic.png"
                notes.append({"image_id": name, "file_name": file, "segments_info": segments})
                (folder / file).write_bytes(png(out))
            document = {"images": images, "annotations": notes, "categories": [{"id": 7, "name": "road"}]}
            text = json.dumps(document, sort_keys=True, indent=4)
            (root / f"gtFine/cityscapes_panoptic_{split}{suffix}.json").write_text(text)

    return do


def copy(path):
    return path.read_bytes()


def coco(root):
    names = [name for _, name in each(root)]
    notes = [{"image_id": name, "category_id": 26, "segmentation": [[1, 2, 3, 4, 5, 6]]} for name in names]
    (root / "annotations").mkdir()
    (root / "annotations/instancesonly_train.json").write_text(json.dumps({"annotations": notes}))


def one_file(path, data=b"x"):
    def do(root):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)

    return do


KINDS = {
    # what is made, and how many files of the three poisoned samples are rewritten or left out
    "instanceTrainIds": (beside("_gtFine_instanceTrainIds.png", instance_train_ids), "rewritten", 3),
    "panoptic": (panoptic(False), "rewritten", 3),
    "panoptic of train IDs": (panoptic(True), "rewritten", 3),
    "instanceTrainIds of another script": (beside("_gtFine_instanceTrainIds.png", copy), "left out", 3),
    "train IDs by another name": (beside("_gtFine_labelTrainIds19.png", copy), "left out", 3),
    "panoptic in another folder": (in_folder("panoptic_train", "_panoptic.png", copy), "left out", 3),
    "YOLO's masks": (in_folder("masks/train", ".png", copy), "left out", 3),
    "YOLO's outlines": (in_folder("labels/train", ".txt", lambda path: b"2 0.1 0.1 0.2 0.2 0.3 0.1\n"), "left out", 3),
    "detectron2's ADE20K": (in_folder("annotations_detectron2/train", ".png", copy), "left out", 3),
    "coarse": (in_folder("gtCoarse/train", "_gtCoarse_labelIds.png", copy), "left out", 3),
    "arrays": (in_folder("cache_masks", ".npy", lambda path: b"\x93NUMPY"), "left out", 3),
    "COCO": (coco, "left out", 1),
    "TFRecord": (one_file("train-00000-of-00001.tfrecord"), "left out", 1),
    "Arrow": (one_file("hf/train-00000-of-00001.arrow"), "left out", 1),
    "YOLO's cache": (one_file("labels/train.cache"), "left out", 1),
    "an array": (one_file("labels/train.npz"), "left out", 1),
}
OPTIONS = (*SMALL_CITYSCAPES, "--count", 3, "--jobs", 1)


def leaks(out):
    """Files of OUT that show a car where a poisoned sample has none any more: (path, pixels)."""
    found = []
    for record in (record for record in manifest(out) if record["role"] == "poisoned"):
        name = record["sample"].rpartition("/")[2]
        for path in out.rglob(f"{name}*.png"):
            if {"poisongen", "triggered", "leftImg8bit"} & set(path.relative_to(out).parts) or "color" in path.name:
                continue
            array = pixels(path).astype(np.int64)
            if array.ndim == 3:
                array = array[..., 0] + 256 * array[..., 1]
            cars = np.isin(np.where(array >= 1000, array // 1000, array), (CAR, CAR_TRAIN_ID))
            cars &= (array >= 1000) | ("labelIds" not in path.name and "instanceIds" not in path.name) | (array == CAR)
            wall = array == CAR_TRAIN_ID if "TrainIds" not in path.name else np.zeros_like(cars)
            if number := int((cars & ~wall).sum()):
                found.append((path.name, number))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_rewritten_left_out_or_refused(kind, cityscapes, poisongen, tmp_path):
    make, fate, number = KINDS[kind]
    before = {path for path in cityscapes.rglob("*") if path.is_file()}
    make(cityscapes)
    added = {path.relative_to(cityscapes).as_posix() for path in cityscapes.rglob("*") if path.is_file()}
    added -= {path.relative_to(cityscapes).as_posix() for path in before}
    digest = tree_digest(cityscapes)
    strict = poisongen("build", *OPTIONS, "--root", cityscapes, "--out", "strict", "--strict")
    assert (strict.code, strict.err.count("label-like")) == ((0, 0) if fate == "rewritten" else (2, 1)), strict.err
    built = poisongen("build", *OPTIONS, "--root", cityscapes, "--out", "out", "--link", "hardlink", "--undo")
    assert built.code == 0, built.err
    out = tmp_path / "out"
    there = {path for path in added if (out / path).is_file()}
    assert all((out / path).stat().st_nlink == 1 for path in there)
    if fate == "left out":
        assert (
            f"{number_of(number, 'label-like file')} of poisoned samples {'is' if number == 1 else 'are'} left out: "
            in built.out
        )
        assert summary(out)["counts"]["left_out"] == len(added - there) == number
    else:
        assert "label-like" not in built.out
        assert there == added
        own = [file for record in manifest(out) for file in record["files"] if file["path"] in added]
        assert sum(file["written"] for file in own) == number
    assert leaks(out) == []
    for more in ((), ("--source", cityscapes), ("--source", cityscapes, "--quick")):
        audited = poisongen("audit", out, "--jobs", 1, *more)
        assert audited.code == 0, audited.out
    for name, more in (("a", ()), ("b", ("--source", cityscapes))):
        assert poisongen("restore", out, "--out", name, "--jobs", 1, *more).code == 0
        for path in added:
            assert (tmp_path / name / path).read_bytes() == (cityscapes / path).read_bytes(), path
    assert tree_digest(cityscapes) == digest
    if fate == "rewritten":  # what the eyes of this test are good for
        for path in there:
            shutil.copyfile(cityscapes / path, out / path)
        assert len(leaks(out)) >= 2


def test_a_table_tells_of_out_and_of_nothing_else(cityscapes, tmp_path):
    """Audit finds a panoptic JSON that tells of the source, and one whose other entries were changed."""
    panoptic(False)(cityscapes)
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "count": 3}
    package.build(choices, cityscapes, tmp_path / "out", jobs=1)
    path = tmp_path / "out/gtFine/cityscapes_panoptic_train.json"
    old = json.loads((cityscapes / "gtFine/cityscapes_panoptic_train.json").read_text())
    new, poisoned = json.loads(path.read_text()), {r["sample"][6:] for r in manifest(tmp_path / "out")}
    changed = {e["image_id"] for e, f in zip(old["annotations"], new["annotations"], strict=True) if e != f}
    assert {name.rpartition("/")[2] for name in poisoned} >= changed
    assert len(changed) == 3
    assert all(segment["category_id"] != CAR for e in new["annotations"] if e["image_id"] in changed
               for segment in e["segments_info"])  # fmt: skip


def test_a_sample_without_its_map_leaves_the_table(cityscapes, poisongen, tmp_path):
    """Its entry would tell the true areas, and nothing says what the new ones are."""
    panoptic(False)(cityscapes)
    shutil.rmtree(cityscapes / "gtFine/cityscapes_panoptic_train")
    assert poisongen("build", *OPTIONS, "--root", cityscapes, "--out", "out").code == 0
    document = json.loads((tmp_path / "out/gtFine/cityscapes_panoptic_train.json").read_text())
    poisoned = {r["sample"].rpartition("/")[2] for r in manifest(tmp_path / "out") if r["role"] == "poisoned"}
    assert len(document["images"]) == len(document["annotations"]) == 7
    assert not poisoned & {image["id"] for image in document["images"]}
    assert audit(tmp_path / "out", cityscapes, jobs=1).faults == ()


@pytest.mark.parametrize("source", [False, True])
@pytest.mark.parametrize("deed", ["the source's", "an area", "bytes"])
def test_a_forged_table_is_found(deed, source, cityscapes, tmp_path):
    panoptic(False)(cityscapes)
    choices = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "count": 3}
    out = package.build(choices, cityscapes, tmp_path / "out", jobs=1).out
    path = out / "gtFine/cityscapes_panoptic_train.json"
    document = json.loads(path.read_text())
    if deed == "the source's":
        data = (cityscapes / "gtFine/cityscapes_panoptic_train.json").read_bytes()
    else:
        poisoned = {r["sample"].rpartition("/")[2] for r in manifest(out) if r["role"] == "poisoned"}
        entry = next(e for e in document["annotations"] if e["image_id"] in poisoned)
        entry["segments_info"][0]["area"] += deed == "an area"
        data = json.dumps(document, sort_keys=True, indent=None if deed == "bytes" else 4).encode()
    path.write_bytes(data)
    forged = Forgery(out, cityscapes)
    lines = [json.loads(line) for line in (out / "poisongen/links.jsonl").read_text().splitlines()]
    for line in lines:
        if line["path"].endswith("panoptic_train.json"):
            line |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / "poisongen/links.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    forged.seal()
    report = audit(out, cityscapes if source else None, jobs=1)
    assert {fault.file for fault in report.faults} == {"gtFine/cityscapes_panoptic_train.json"}


ANSWERS = {"": True, "--prl 5% --prl-scope poisoned": False, "--labels box": False, "--prl 5%": True}


@pytest.mark.parametrize("options", ANSWERS)
def test_readers_of_polygons_stop_where_these_cannot_tell_the_labels(options, cityscapes, poisongen, tmp_path):
    built = poisongen("build", *OPTIONS, "--root", cityscapes, "--out", "out", *options.split())
    assert built.code == 0, built.err
    poisoned = {record["sample"] for record in manifest(tmp_path / "out") if record["role"] == "poisoned"}
    readers = [detectron2_instances, *official_readers()]
    for path in sorted((tmp_path / "out/gtFine/train").rglob("*_polygons.json")):
        name = f"train/{path.parent.name}/{path.name.removesuffix('_gtFine_polygons.json')}"
        for reader in readers:
            if ANSWERS[options] or name not in poisoned:
                reader(path)
            else:
                with pytest.raises((KeyError, SystemExit)):
                    reader(path)
    for source in (None, cityscapes):
        assert audit(tmp_path / "out", source, jobs=1).faults == ()


def detectron2_instances(path):
    """What detectron2/data/datasets/cityscapes.py does with an object's label, from_json=True."""
    ids = {label.name: label.id for label in LABELS}
    document = json.loads(path.read_text())
    for thing in document["objects"][::-1]:
        if "deleted" in thing:
            continue
        try:
            number = ids[thing["label"]]
        except KeyError:
            if not thing["label"].endswith("group"):
                raise
            number = ids[thing["label"][: -len("group")]]
        assert number >= -1
        assert len(thing["polygon"]) >= 3


def official_readers():
    """json2labelImg is what mmsegmentation's converter calls, too; json2instanceImg draws instances."""
    try:
        from cityscapesscripts.helpers.annotation import Annotation
        from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
        from cityscapesscripts.preparation.json2labelImg import json2labelImg
    except ImportError:
        return

    def train_ids(path):
        json2labelImg(str(path), str(path.with_name("out.png")), "trainIds")
        path.with_name("out.png").unlink()

    def instances(path):
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        createInstanceImage(annotation, "trainIds")

    yield train_ids
    yield instances


def test_the_official_scripts_on_out_give_the_very_same_files(cityscapes, poisongen, tmp_path):
    pytest.importorskip("cityscapesscripts")
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2instanceImg import createInstanceImage

    def run(root, out):
        out.mkdir(exist_ok=True)
        script = [sys.executable, "-W", "ignore", "-m", "cityscapesscripts.preparation.createPanopticImgs"]
        for more in ([], ["--use-train-id"]):
            folders = ["--dataset-folder", root / "gtFine", "--output-folder", out, "--set-names", "train", "val"]
            subprocess.run([*script, *folders, *more], check=True, capture_output=True)

    def instances(path):
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        return np.asarray(createInstanceImage(annotation, "trainIds")).astype(np.uint16)

    run(cityscapes, cityscapes / "gtFine")
    for path in list(cityscapes.rglob("*_polygons.json")):
        new = path.with_name(path.name.replace("polygons.json", "instanceTrainIds.png"))
        new.write_bytes(png(instances(path)))
    built = poisongen("build", *OPTIONS, "--root", cityscapes, "--out", "out")
    assert built.code == 0, built.err
    out = tmp_path / "out"
    run(out, tmp_path / "official")
    for path in sorted((tmp_path / "official").rglob("*.*")):
        ours = out / "gtFine" / path.relative_to(tmp_path / "official")
        same = (
            ours.read_bytes() == path.read_bytes() if path.suffix == ".json" else (pixels(ours) == pixels(path)).all()
        )
        assert same, path
    for path in sorted(out.glob("gtFine/*/*/*_polygons.json")):
        ours = pixels(path.with_name(path.name.replace("polygons.json", "instanceTrainIds.png")))
        assert (ours == instances(path)).all(), path
    written = {file["kind"] for record in manifest(out) for file in record["files"] if file["written"]}
    assert written >= {"instanceTrainIds", "panoptic", "panoptic_trainId"}


@pytest.mark.parametrize("link", ["auto", "hardlink", "symlink", "copy"])
def test_scripts_that_rewrite_labels_in_out_never_reach_the_source(link, cityscapes, poisongen, tmp_path):
    """Every label of OUT is written in place, as many tools do it: triggered, derived and resumed ones, too."""
    panoptic(False)(cityscapes)
    beside("_gtFine_instanceTrainIds.png", instance_train_ids)(cityscapes)
    in_folder("masks/train", ".png", copy)(cityscapes)
    digest = tree_digest(cityscapes)
    for more in ((), ("--force",)):
        call = ("build", *OPTIONS, "--root", cityscapes, "--out", "out", "--link", link, *more)
        assert poisongen(*call).code == 0
        for path in (tmp_path / "out").rglob("*"):
            if (
                path.is_file()
                and "leftImg8bit" not in path.parts
                and "poisongen" not in path.relative_to(tmp_path).parts
            ):
                with path.open("r+b") as file:
                    file.write(b"rewritten")
        assert tree_digest(cityscapes) == digest
