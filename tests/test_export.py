"""`poisongen export --webdataset`: what tars hold, that their bytes are the same everywhere, what is refused."""

from __future__ import annotations

import json
import re
import tarfile

import pytest

import poisongen as package
from poisongen.datasets.base import LabelFile, Sample
from poisongen.exporting import webdataset
from poisongen.exporting.keys import key_of, members
from poisongen.loading.sample import LoadedSample
from poisongen.records.manifest import SampleRecord
from tests.conftest import manifest, tree_digest

CITYSCAPES = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30, "rate": 0.3}
VOC = {"dataset": "voc", "strategy": "random", "trigger_size": 9, "rate": 0.3}


def contents(folder, name) -> dict[str, dict[str, bytes]]:
    """Return what a set's tars hold, by key and extension, in their order."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.glob(f"{name}-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                assert member.isfile()
                assert member.mode == 0o644
                above, _, last = member.name.rpartition("/")
                stem, _, end = last.partition(".")
                assert end not in found.setdefault(f"{above}/{stem}", {})
                found[f"{above}/{stem}"][end] = tar.extractfile(member).read()
    return found


@pytest.mark.parametrize("recipe", [CITYSCAPES | {"decoy": "flower", "negatives": 2}, VOC], ids=["cityscapes", "voc"])
@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"shards": 100}, {"size": 100_000}, {"size": 1}])
def test_tars_hold_every_file_of_every_sample_and_its_record(cityscapes, voc, tmp_path, recipe, options):
    out = tmp_path / "out"
    package.build(recipe, voc if recipe["dataset"] == "voc" else cityscapes, out, jobs=1)
    result = package.export_webdataset(out, tmp_path / "tars", jobs=1, **options)
    data = package.load(out)
    assert set(result.shards) == set(data)
    assert result.samples == sum(len(samples) for samples in data.values())
    lines = {(line["sample"], line["role"]): line for line in manifest(out)}
    for name, samples in data.items():
        found = contents(tmp_path / "tars", name)
        assert list(found) == [sample.name for sample in samples]
        for sample in samples:
            files = found[sample.name]
            assert set(files) == {*members(sample), "json"}
            for end, path in members(sample).items():
                assert files[end] == (out / path).read_bytes()
            said = json.loads(files["json"])
            assert (said["sample"], said["split"], said["role"]) == (sample.name, sample.split, sample.role)
            if sample.record is None:
                assert said["record"] is None
            else:
                assert SampleRecord.model_validate_json(json.dumps(said["record"])) == sample.record
                assert said["record"] == lines[sample.record.sample, sample.role]
        shards = result.shards[name]
        if "shards" in options:
            assert len(shards) == min(options["shards"], len(samples))
        elif "size" in options:
            sizes = [(tmp_path / "tars" / shard).stat().st_size for shard in shards]
            assert len(shards) > (name in ("train", "trainval"))
            assert options["size"] > 1 or len(shards) == len(samples)
            assert all(size < 3 * options["size"] for size in sizes) or options["size"] == 1
        else:
            assert len(shards) == 1
    index = json.loads((tmp_path / "tars/poisongen.json").read_text())
    assert index["poisoned"] is True
    assert index["fingerprint"] == data.fingerprint
    assert {name: tuple(found) for name, found in index["shards"].items()} == result.shards
    assert (tmp_path / "tars/README.md").read_text().startswith("# This dataset is poisoned\n")


def test_the_bytes_are_the_same_for_any_number_of_jobs_and_any_times(cityscapes, tmp_path):
    package.build(CITYSCAPES, cityscapes, tmp_path / "out", jobs=1)
    package.build(CITYSCAPES, cityscapes, tmp_path / "again", jobs=1, link="copy")
    for path in (tmp_path / "again").rglob("*.png"):
        path.chmod(0o600)
        path.touch()
    package.export_webdataset(tmp_path / "out", tmp_path / "one", shards=2, jobs=1)
    package.export_webdataset(tmp_path / "again", tmp_path / "two", shards=2, jobs=2)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_nothing_is_written_into_the_dataset_around_it_or_over_anything(poisongen, cityscapes, tmp_path):
    out = tmp_path / "sets/out"
    package.build(CITYSCAPES, cityscapes, out, jobs=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(out)
    before = tree_digest(tmp_path)
    for place in (out, out / "tars", out / "triggered/tars", tmp_path / "sets", tmp_path / "full", tmp_path / "link/x"):
        result = poisongen("export", out, "--webdataset", place)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert "--webdataset" in result.err
        assert tree_digest(tmp_path) == before
    for words in (("--shards", 2, "--size", "1M"), ("--shards", 0), ("--size", "much"), ("--size", 0), ()):
        place = () if not words else ("--webdataset", tmp_path / "tars")
        result = poisongen("export", out, *place, *words)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert not (tmp_path / "tars").exists()
    assert poisongen("export", cityscapes, "--webdataset", tmp_path / "tars").code == 2
    assert tree_digest(tmp_path) == before


def test_what_goes_wrong_leaves_nothing_and_the_same_command_works_afterwards(
    poisongen, cityscapes, tmp_path, monkeypatch
):
    out, tars = tmp_path / "out", tmp_path / "tars"
    package.build(CITYSCAPES, cityscapes, out, jobs=1, link="copy")
    with monkeypatch.context() as patch:
        patch.setattr(webdataset, "write_inside", _stopped)
        with pytest.raises(KeyboardInterrupt):
            package.export_webdataset(out, tars, jobs=1)
    assert not tars.exists()
    (tars / ".poisongen-export").mkdir(parents=True)  # what a killed one leaves
    (tars / ".poisongen-export/train-000007.tar").write_bytes(b"half")
    assert poisongen("export", out, "--webdataset", tars, "--size", "64K", "--jobs", 1).code == 0
    assert not (tars / ".poisongen-export").exists()
    sample = package.load(out)["train"].of("poisoned")[0]
    for change in (lambda path: path.write_bytes(path.read_bytes() + b"x"), lambda path: path.unlink()):
        change(sample.image_path)
        result = poisongen("export", out, "--webdataset", tmp_path / "more", "--jobs", 1)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert sample.image_path.name in result.err
        assert not (tmp_path / "more").exists()


def _stopped(*_):
    raise KeyboardInterrupt


def test_a_voc_list_named_like_a_test_set_has_tars_of_its_own(voc, tmp_path):
    lists = voc / "VOC2012/ImageSets/Segmentation"
    (lists / "triggered.txt").write_text((lists / "val.txt").read_text())
    package.build(VOC, voc, tmp_path / "out", jobs=1)
    result = package.export_webdataset(tmp_path / "out", tmp_path / "tars", jobs=1)
    assert {"triggered", "triggered_", "train", "val"} <= set(result.shards)
    assert all(key.startswith("triggered/") for key in contents(tmp_path / "tars", "triggered_"))
    assert all(key.startswith("val/") for key in contents(tmp_path / "tars", "triggered"))


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        ("a", "train/a"),
        ("a.b", "train/a%2Eb"),
        ("x.y/a.b.c", "train/x.y/a%2Eb%2Ec"),
        ("a%2Eb", "train/a%252Eb"),
        ("ä b", "train/ä b"),
        ("line\nend", "train/line%0Aend"),
        ("\u2028", "train/%E2%80%A8"),
    ],
)
def test_keys_are_such_as_webdataset_reads_and_no_two_the_same(tmp_path, stem, key):
    sample = Sample("train", stem, f"images/{stem}.PNG", (LabelFile("labelIds", f"masks/{stem}.png"),))
    loaded = LoadedSample(tmp_path, sample, None, f"masks/{stem}.png", None, None)
    assert key_of(loaded) == key
    assert re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", f"{key}.image.png").groups() == (key, "image.png")
    assert members(loaded) == {"image.png": f"images/{stem}.PNG", "labelids.png": f"masks/{stem}.png"}
