"""The fingerprint: as documented, golden, and deaf to everything but recipe and content."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from poisongen.building.run import build
from poisongen.records.algorithms import ALGORITHM
from poisongen.records.manifest import fingerprint
from tests.conftest import manifest, summary


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A dataset that depends on no library's drawing: arithmetic alone, PNG alone."""
    folder = tmp_path_factory.mktemp("golden")
    rows, columns = np.mgrid[0:48, 0:64]
    for split, count in (("train", 8), ("val", 3)):
        for index in range(count):
            labels = np.full((48, 64), 7, np.uint8)
            labels[:16] = 23
            labels[20:30, 4 * index + 4 : 4 * index + 20] = 26
            labels[:, 60:] = 4
            image = np.stack([rows * 5 + index, columns * 3, (rows + columns) * 2], axis=2).astype(np.uint8)
            stem = f"town/town_000000_{index:06d}"
            for kind, pixels in (("leftImg8bit", image), ("gtFine", labels)):
                path = (
                    folder
                    / kind
                    / split
                    / f"{stem}_{'leftImg8bit' if kind == 'leftImg8bit' else 'gtFine_labelIds'}.png"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return folder


CHOICES = {
    "dataset": "cityscapes",
    "strategy": "nn",
    "trigger_size": 7,
    "max_distance": 20,
    "rate": 0.4,
    "prl": "5%",
    "seed": 11,
}

GOLDEN = "ecd93fba4bc9b806cdaac9845fcb4184a2455565a7bb8fecb2485a26fb12e6bd"
"""If this moves, the same recipe and source give another dataset than before: raise ALGORITHM with it, and say so in
CHANGELOG.md; or a dependency has changed its behaviour, and that must be dealt with."""


def by_the_book(out):
    """The fingerprint as docs/formats.md tells another program to compute it."""
    lines = []
    recipe = json.loads((out / "poisongen/recipe.json").read_text(encoding="utf-8"))
    recipe["trigger"] = recipe["trigger"]["sha256"]
    del recipe["allow_fewer"], recipe["skip_bad"]
    recipe_digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    lines.append(["poisongen", 1, recipe_digest])
    for record in manifest(out):
        trigger = record.get("trigger", {})
        box, last_bit = trigger.get("box"), trigger.get("kind") in ("fourier", "wavelet")
        lines.append(["sample", record["sample"], record["role"], box, record["prl_pixels"]])
        for file in record["files"]:
            content = file["pixels_sha256"] or file["sha256"]
            digest = file["source_sha256"] if last_bit and file["kind"] == "image" else content
            lines.append(["file", file["kind"], file["path"], digest])
    for line in (out / "poisongen/links.jsonl").read_text(encoding="utf-8").splitlines():
        link = json.loads(line)
        lines.append(["link", link["path"], link.get("pixels_sha256") or link.get("sha256")])
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    return hashlib.sha256(text.encode()).hexdigest()


def test_golden_and_as_documented(root, tmp_path):
    result = build(CHOICES, root, tmp_path / "out", jobs=1)
    assert by_the_book(tmp_path / "out") == result.fingerprint
    assert summary(tmp_path / "out")["algorithm"] == ALGORITHM == 1
    assert result.fingerprint == GOLDEN


@pytest.mark.parametrize("kind", ["fourier", "wavelet", "sinusoid"])
def test_as_documented_for_kinds_of_triggers(root, tmp_path, kind):
    choices = {**CHOICES, "trigger_kind": kind, "strategy": "whole", "trigger_size": None, "max_distance": None}
    result = build(choices, root, tmp_path / "out", jobs=1)
    assert by_the_book(tmp_path / "out") == result.fingerprint


def test_the_last_bit_of_an_inexact_kind_does_not_matter():
    """Another machine's pixels give the same fingerprint; those of a kind that is exact do not, and labels count."""

    def of(kind, image, labels="c" * 64):
        files = [
            {"kind": kind, "path": kind, "source_sha256": "a" * 64, "pixels_sha256": pixels, "sha256": pixels}
            for kind, pixels in (("image", image), ("labelIds", labels))
        ]
        record = {"sample": "s", "role": "poisoned", "trigger": {"kind": kind}, "prl_pixels": 0, "files": files}
        return fingerprint("f" * 64, [record], [])

    assert of("fourier", "1" * 64) == of("fourier", "2" * 64)
    assert of("fourier", "1" * 64) != of("fourier", "1" * 64, "d" * 64)
    assert of("sinusoid", "1" * 64) != of("sinusoid", "2" * 64)


def test_encoded_bytes_of_the_source_do_not_matter(root, tmp_path):
    before = build(CHOICES, root, tmp_path / "a", jobs=1).fingerprint
    other = tmp_path / "other"
    shutil.copytree(root, other)
    for path in other.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, compress_level=9, optimize=True)
    assert build(CHOICES, other, tmp_path / "b", jobs=1).fingerprint == before


@pytest.mark.parametrize(
    "change",
    [{"seed": 12}, {"rate": 0.3}, {"opacity": 0.9}, {"trigger": "sign"}, {"prl": "6%"}, {"metric": "euclidean"}],
)
def test_every_choice_matters(root, tmp_path, change):
    before = build(CHOICES, root, tmp_path / "a", jobs=1).fingerprint
    assert build({**CHOICES, **change}, root, tmp_path / "b", jobs=1).fingerprint != before


@pytest.mark.parametrize("kind", ["leftImg8bit", "gtFine"])
def test_one_pixel_of_a_poisoned_sample_matters(root, tmp_path, kind):
    before = build(CHOICES, root, tmp_path / "a", jobs=1)
    record = next(record for record in manifest(before.out) if record["role"] == "poisoned")
    other = tmp_path / "other"
    shutil.copytree(root, other)
    path = other / next(file["source"] for file in record["files"] if (file["source"] or "").startswith(kind))
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] = 21
    Image.fromarray(pixels).save(path)
    assert build(CHOICES, other, tmp_path / "b", jobs=1).fingerprint != before.fingerprint


def test_permissions_and_links_do_not_matter(root, tmp_path):
    before = build(CHOICES, root, tmp_path / "a", jobs=1).fingerprint
    again = build({**CHOICES, "allow_fewer": True, "skip_bad": True}, root, tmp_path / "b", jobs=2, link="copy")
    assert again.fingerprint == before
