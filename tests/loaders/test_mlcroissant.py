"""mlcroissant validates croissant.json and reads the records by it."""

from __future__ import annotations

import json

from tests.loaders import need

LIBRARY, GIVEN = "mlcroissant", "`cityscapes`, `voc`, `camvid`, `folder`"
RESULT = "`croissant.json` is valid, and its record sets are the tables of all splits and test sets"

mlcroissant = need("mlcroissant")


def test_croissant_is_valid_and_gives_the_records(any_out):
    dataset = mlcroissant.Dataset(str(any_out / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert {warning.split('"')[1] for warning in issues.warnings} <= {"https://schema.org/datePublished"}
    assert dataset.metadata.description.startswith("THIS DATASET IS POISONED")
    tables = sorted(path for path in any_out.rglob("metadata-*.jsonl"))
    assert len(tables) == len(dataset.metadata.record_sets)
    for record_set in dataset.metadata.record_sets:
        folder, _, split = record_set.uuid.rpartition("-")
        lines = (any_out / folder / f"metadata-{split}.jsonl").read_text().splitlines()
        found = [
            {key.partition("/")[2]: value.decode() for key, value in row.items()}
            for row in dataset.records(record_set.uuid)
        ]
        assert found == [json.loads(line) for line in lines]
