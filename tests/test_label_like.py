"""Files beside a dataset that hold labels of its samples: every form that people leave there, and what is none."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.conftest import summary
from tests.test_what_is_learned import FOLDER, write_folder

OUTLINE = b"2 0.1 0.1 0.2 0.2 0.3 0.1\n"
POLYGON = b"<annotation><object><name>car</name><polygon><pt><x>1</x></pt></polygon></object></annotation>"
BOX = b"<annotation><object><name>car</name><bndbox><xmin>1</xmin></bndbox></object></annotation>"
MASK = None  # a copy of a0's mask

LABELS = {
    "gt/mask_a0.png": MASK,
    "gt/train/gt-a0.png": MASK,
    "other/train/label.a0.png": MASK,
    "other/a0Mask.png": MASK,
    "other/a0 mask.png": MASK,
    "other/a0_road_seg.png": MASK,
    "nuclei/a0/masks/0.png": MASK,
    "labelme/a0_json/label.png": MASK,
    "labels/a0": b"x",
    "labels/a0.exr": b"x",
    "labels/a0.npy.gz": b"x",
    "labels/a0.png.xz": b"x",
    "labels/a0.zst": b"x",
    "labels/a0.avif": b"x",
    "labels/a0.dcm": b"x",
    "labels/a0.rar": b"x",
    "arrays/a0.npz": b"x",
    "arrays/a0.nii": b"x",
    "arrays/a0.nii.gz": b"x",
    "arrays/a0.safetensors": b"x",
    "images/train/a0.txt": OUTLINE,
    "xml/a0.xml": POLYGON,
    "studio/a0.json": b'{"result": [{"type": "brushlabels"}]}',
    "via.json": b'{"a0.png": {"regions": [{"shape_attributes": {"name": "polygon"}}]}}',
    "cvat.xml": b'<annotations><image name="a0.png"><polygon points="1,2;3,4"/></image></annotations>',
    "masks_lmdb/data.mdb": b"x",
    "shards/train-000000.tar": b"x",
    "data/train-00000-of-00001.parquet": b"x",
    "train.tfrecord": b"x",
}
OTHERS = {
    "Annotations/a0.xml": BOX,
    "images/train/a0.json": b'{"focal": 2262}',
    "notes/a0.txt": b"2 cars and a road",
    "boxes/a0.txt": b"2 0.1 0.1 0.2 0.2\n",
    "captions_train.json": b'{"annotations": [{"image_id": "a0", "caption": "a street"}]}',
    "depth_a0.png": MASK,
    "gt/mask_nobody.png": MASK,
    "nuclei/a0/depth/0.png": MASK,
    "train_images.tar": b"x",
    "leftImg8bit_train.zip": b"x",
    "a0_thumb.png": MASK,
    "models/resnet.pth": b"x",
}


def put(root, files):
    """Write files below the root; those without bytes are copies of a mask."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if data is MASK:
            shutil.copyfile(root / "masks/train/a0.png", root / path)
        else:
            (root / path).write_bytes(data)


def test_labels_in_every_form_are_named_and_other_files_are_not(poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    put(root, LABELS | OTHERS)
    options = (*FOLDER, "--root", root, "--out", "out", "--rate", 1)
    dry = json.loads(poisongen("build", *options, "--dry-run", "--json").out)
    assert sorted(LABELS.keys() ^ set(dry["label_like"])) == []
    line = f"{len(LABELS)} label-like files of poisoned samples are left out: "
    for more in (("--dry-run",), ()):
        done = poisongen("build", *options, *more)
        assert done.code == 0, done.err
        assert done.out.count("label-like files") == done.out.count(line) == 1
        strict = poisongen("build", *options, *more, "--strict")
        assert (strict.code, strict.out, strict.err.count("\n")) == (2, "", 1)
        assert f"--strict: {len(LABELS)} label-like files" in strict.err
    assert summary(tmp_path / "out")["counts"]["label_like"] == len(LABELS)
    for more in ((), ("--source", root)):
        audited = poisongen("audit", "out", *more)
        assert audited.code == 0, audited.out
        assert audited.out.count(line) == 1
    lines = (tmp_path / "out/poisongen/left_out.jsonl").read_text().splitlines()
    assert [json.loads(text)["path"] for text in lines] == sorted(LABELS)
    assert not any((tmp_path / "out" / path).exists() for path in LABELS)
    assert all((tmp_path / "out" / path).is_file() for path in OTHERS)
    assert poisongen("restore", "out", "--source", root, "--out", "back").code == 0
    assert all((tmp_path / "back" / path).read_bytes() == (root / path).read_bytes() for path in LABELS)


@pytest.mark.parametrize("twin", ["masks/train/a0.PNG", "images/train/a0.PNG", "images/train/a0.jpg"])
def test_two_files_of_one_name_are_refused(twin, poisongen, tmp_path):
    root = write_folder(tmp_path / "root")
    shutil.copyfile(root / twin.rpartition("/")[0] / "a0.png", root / twin)
    result = poisongen("build", *FOLDER, "--root", root, "--out", "out", "--rate", 1)
    assert result.code == 2
    assert "of one name" in result.err
    assert not (tmp_path / "out").exists()
