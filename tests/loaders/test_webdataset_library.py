"""webdataset reads the tars of `poisongen export`."""

from __future__ import annotations

import numpy as np

import poisongen as package
from poisongen.exporting.keys import key_of
from poisongen.records.manifest import SampleRecord
from tests.loaders import need

LIBRARY, GIVEN = "webdataset", "`poisongen export --webdataset` of `cityscapes`, `voc`, `camvid`, `folder`"
RESULT = "image, every label file and the record of each sample come under one key"

webdataset = need("webdataset")


def test_every_sample_under_its_key(any_out, tmp_path):
    result = package.export_webdataset(any_out, tmp_path / "tars", shards=2, jobs=1)
    data = package.load(any_out)
    for name, shards in result.shards.items():
        urls = [str(tmp_path / "tars" / shard) for shard in shards]
        found = {row["__key__"]: row for row in webdataset.WebDataset(urls, shardshuffle=False).decode("pil")}
        assert sorted(found) == sorted(map(key_of, data[name]))
        for sample in data[name]:
            row = found[key_of(sample)]
            image = next(value for key, value in row.items() if key.startswith("image."))
            assert np.array_equal(image.convert("RGB"), sample.image)
            for kind, path in sample.label_paths.items():
                value = row[f"{kind.lower()}{path.suffix}"]
                if path.suffix == ".json":
                    assert value == sample.read(kind)
                else:  # decoding to RGB is the library's own choice; the bytes are the file's
                    assert value.size == sample.label.shape[::-1]
            assert row["json"]["sample"] == sample.name
            record = row["json"]["record"]
            assert (None if record is None else SampleRecord.model_validate(record, strict=False)) == sample.record
        raw = {row["__key__"]: row for row in webdataset.WebDataset(urls, shardshuffle=False)}
        for sample in data[name]:
            for kind, path in sample.label_paths.items():
                assert raw[key_of(sample)][f"{kind.lower()}{path.suffix}"] == path.read_bytes()
