"""Restore gives the clean dataset back byte for byte, from its source or from the undo store, or refuses."""

from __future__ import annotations

import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.building.run import build
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.files import images, png
from poisongen.files.png_filters import filtered
from poisongen.undo import delta_png
from poisongen.undo.packed import pack, unpack
from poisongen.undo.restorer import restore
from poisongen.undo.store import make_entry, read_entry
from tests.forgery import Forgery

CITY = {"dataset": "cityscapes", "strategy": "nn", "max_distance": 30, "trigger_size": 9, "rate": 0.3}
VOC = {"dataset": "voc", "strategy": "nn", "trigger_size": 17, "rate": 0.4, "relabel": {"person": "background"}}
RECIPES = {
    "cityscapes": CITY,
    "random labels": CITY | {"prl": "20%", "seed": 2},
    "half size": CITY | {"scale": 0.5, "trigger_size": 5},
    "voc": VOC,
    "voc, random labels": VOC | {"prl": 300},
}


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def built(tmp_path_factory, _cityscapes, _voc):
    """Every recipe's build with an undo store, and its source."""
    folder, done = tmp_path_factory.mktemp("undo"), {}
    for name, recipe in RECIPES.items():
        root = _cityscapes if recipe["dataset"] == "cityscapes" else _voc
        result = build(recipe, root, folder / name, jobs=1, undo=True, link="copy" if name == "cityscapes" else "auto")
        done[name] = (folder / name, root, result.fingerprint)
    return done


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("by", ["undo", "source"])
def test_the_clean_dataset_comes_back_byte_for_byte(name, by, built, tmp_path):
    out, root, _ = built[name]
    before = content(out)
    result = restore(out, tmp_path / "clean", root if by == "source" else None, jobs=1)
    assert content(tmp_path / "clean") == content(root)
    assert content(out) == before
    assert (result.by, result.files) == (by, len(content(root)))


def test_a_copy_of_the_source_will_do(built, tmp_path):
    out, root, _ = built["cityscapes"]
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    restore(out, tmp_path / "clean", tmp_path / "copy", jobs=1)
    assert content(tmp_path / "clean") == content(root)


def test_undo_changes_no_fingerprint_and_is_small(built, tmp_path):
    out, root, fingerprint = built["cityscapes"]
    assert build(CITY, root, tmp_path / "plain", jobs=1).fingerprint == fingerprint
    store = sum(path.stat().st_size for path in (out / "poisongen/undo").glob("*.undo"))
    changed = [
        file["source"]
        for record in Forgery(out, root).lines("manifest.jsonl")
        if record["role"] == "poisoned"
        for file in record["files"]
    ]
    assert store < 0.5 * sum((root / path).stat().st_size for path in changed)


def test_undo_of_an_earlier_build_is_asked_for(built, tmp_path):
    root = built["cityscapes"][1]
    build(CITY, root, tmp_path / "plain", jobs=1)
    with pytest.raises(OutputError, match="without an undo store"):
        build(CITY, root, tmp_path / "plain", jobs=1, undo=True)
    build(CITY, root, tmp_path / "plain", jobs=1, undo=True, force=True)
    build(CITY, root, tmp_path / "plain", jobs=1, undo=True)
    build(CITY | {"seed": 1}, root, tmp_path / "plain", jobs=1, force=True)
    assert not (tmp_path / "plain/poisongen/undo").exists()
    with pytest.raises(OutputError, match="--link symlink"):
        build(CITY, root, tmp_path / "other", jobs=1, undo=True, link="symlink")


def test_the_command_line(built, tmp_path, poisongen):
    out, root, _ = built["cityscapes"]
    result = poisongen("restore", out, "--out", tmp_path / "clean", "--jobs", 1, "--json")
    assert (result.code, json.loads(result.out)["by"]) == (0, "undo")
    assert content(tmp_path / "clean") == content(root)
    again = poisongen("restore", out, "--out", tmp_path / "clean")
    assert again.code == 2
    assert "is not empty" in again.err


@pytest.fixture
def forge(built, tmp_path):
    """A copy of a build, and of its source."""
    out, root, _ = built["cityscapes"]
    shutil.copytree(out, tmp_path / "out")
    shutil.copytree(root, tmp_path / "root")
    return Forgery(tmp_path / "out", tmp_path / "root")


def changed_source(forge):
    path = forge.root / forge.file(forge.records("poisoned")[0])["source"]
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def changed_untouched_source(forge):
    path = forge.root / forge.lines("links.jsonl")[0]["source"]
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def missing_source(forge):
    (forge.root / forge.file(forge.records("poisoned")[0])["source"]).unlink()


def more_source(forge):
    (forge.root / "more").write_text("x")


def edited_manifest(forge):
    forge.change("poisoned", seal=False, victim_pixels=3)


def path_outside(forge):
    lines = forge.lines("links.jsonl")
    lines[0]["source"] = "../outside"
    forge.write_lines("links.jsonl", lines)


SOURCE_FAULTS = {
    changed_source: DataError,
    changed_untouched_source: DataError,
    missing_source: DataError,
    more_source: DataError,
    edited_manifest: OutputError,
    path_outside: OutputError,
}


@pytest.mark.parametrize("deed", SOURCE_FAULTS)
def test_a_source_that_does_not_fit_is_refused(deed, forge, tmp_path):
    deed(forge)
    with pytest.raises(SOURCE_FAULTS[deed]):
        restore(forge.out, tmp_path / "clean", forge.root, jobs=1)
    assert not (tmp_path / "clean").exists()


def changed_out(forge):
    path = forge.path("poisoned")
    pixels = forge.pixels(path)
    pixels[0, 0] ^= 1
    forge.paint(path, pixels)


def changed_link(forge):
    path = forge.lines("links.jsonl")[0]["path"]
    forge.write(path, forge.read(path) + b"x")


def changed_entry(forge):
    entry = next((forge.out / "poisongen/undo").glob("*.undo"))
    entry.write_bytes(entry.read_bytes() + b"x")


def changed_index(forge):
    forge.write_lines("undo/index.jsonl", forge.lines("undo/index.jsonl")[1:])


def planted_link(forge):
    path = forge.path("poisoned")
    target = forge.out.parent / "target.png"
    shutil.move(forge.out / path, target)
    forge.symlink(path, target)


def no_store(forge):
    summary = forge.json("summary.json")
    del summary["undo"]
    forge.write_json("summary.json", summary)


@pytest.mark.parametrize("deed", [changed_out, changed_link, changed_entry, changed_index, planted_link, no_store])
def test_an_undo_store_that_does_not_fit_is_refused(deed, forge, tmp_path):
    deed(forge)
    with pytest.raises((OutputError, ChoiceError), match="--source"):
        restore(forge.out, tmp_path / "clean", jobs=1)
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize("place", ["root/below", "out/below", ".", "root", "out"])
def test_the_new_folder_is_apart_from_both(place, forge, tmp_path):
    before = content(tmp_path)
    with pytest.raises(ChoiceError, match="--out"):
        restore(forge.out, tmp_path / place, forge.root, jobs=1)
    assert content(tmp_path) == before


def test_what_an_interrupted_restore_left_is_replaced(built, tmp_path):
    out, root, _ = built["voc"]
    (tmp_path / "clean/.poisongen-restore").mkdir(parents=True)
    (tmp_path / "clean/.poisongen-restore/part").write_text("x")
    restore(out, tmp_path / "clean", root, jobs=1)
    assert content(tmp_path / "clean") == content(root)


# ------------------------------------------------------------------------------------------------------ undo entries


def written_png(rows, depth, colour, filters, level, memory, strategy, window, split):
    """A PNG with chosen filters and zlib parameters; `rows` is (H, bytes) uint8."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    step = {0: 1, 2: 3, 3: 1, 6: 4}[colour] * max(1, depth // 8)
    raw = filtered(rows, filters, step).tobytes()
    deflater = zlib.compressobj(level, zlib.DEFLATED, window, memory, strategy)
    stream = deflater.compress(raw) + deflater.flush()
    width = rows.shape[1] * 8 // ({0: 1, 2: 3, 3: 1, 6: 4}[colour] * depth)
    pieces = [stream[at : at + split] for at in range(0, len(stream), split)]
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    return b"".join(
        [
            png.SIGNATURE,
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, rows.shape[0], depth, colour, 0, 0, 0)),
            chunk(b"tEXt", b"Comment\0kept"),
            palette,
            *(chunk(b"IDAT", piece) for piece in pieces),
            chunk(b"tIME", b"\x07\xe0\1\1\0\0\0"),
            chunk(b"IEND", b""),
        ]
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from([(8, 2), (8, 0), (16, 0), (8, 3), (8, 6), (4, 3), (1, 0), (16, 2)]),
    level=st.integers(0, 9),
    memory=st.sampled_from([8, 9]),
    strategy=st.integers(0, 4),
    window=st.sampled_from([9, 12, 15]),
    split=st.sampled_from([100, 8192]),
)
def test_a_png_comes_back_from_a_short_entry(seed, kind, level, memory, strategy, window, split):
    random = np.random.default_rng(seed)
    depth, colour = kind
    rows = np.cumsum(random.integers(0, 3, (40, 48)), axis=1).astype(np.uint8)
    if depth < 8:
        rows &= 0x33
    filters = random.integers(0, 5, 40).astype(np.uint8)
    source = written_png(rows, depth, colour, filters, level, memory, strategy, window, split)
    pixels = images.decode(source, "source")
    new_pixels = pixels.copy()
    new_pixels[5:9, 2:6] ^= 1
    new = png.encode(new_pixels, png.parse(source, "source"))
    entry, short = make_entry(source, new)
    assert short == (entry != pack("whole", {}, {"file": source}))
    assert read_entry(entry, new) == source
    # Short unless the whole file is as small: every stream of zlib's own can be told.
    assert short or len(pack("whole", {}, {"file": source})) < 1200


@pytest.mark.parametrize("kind", ["interlaced", "not zlib's", "another size"])
def test_a_png_that_cannot_be_told_is_kept_whole(kind):
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40), dtype=np.uint8)
    source = png.encode(pixels)
    new = png.encode(pixels[:20] if kind == "another size" else pixels ^ 1)
    if kind == "interlaced":
        header = source[12:28] + b"\1"
        source = source[:12] + header + struct.pack(">I", zlib.crc32(header)) + source[33:]
    if kind == "not zlib's":
        raw = filtered(pixels, np.zeros(40, np.uint8), 1).tobytes()
        stored = (
            b"\x78\x01"
            + b"".join(
                bytes([at + 100 >= len(raw)])
                + struct.pack("<HH", len(raw[at : at + 100]), 65535 - len(raw[at : at + 100]))
                + raw[at : at + 100]
                for at in range(0, len(raw), 100)
            )
            + struct.pack(">I", zlib.adler32(raw))
        )
        begin, end, _ = delta_png._idat(source)
        chunk = struct.pack(">I", len(stored)) + b"IDAT" + stored + struct.pack(">I", zlib.crc32(b"IDAT" + stored))
        source = source[:begin] + chunk + source[end:]
        assert np.array_equal(images.decode(source, "source"), pixels)
    entry, short = make_entry(source, new)
    assert not short
    assert read_entry(entry, None) == source


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_damaged_entry_is_an_error_and_no_traceback(data):
    pixels = np.arange(1600, dtype=np.uint8).reshape(40, 40)
    source, new = png.encode(pixels), png.encode(np.where(pixels == 7, 0, pixels).astype(np.uint8))
    facts = {"top": 0, "bottom": 1, "left": 0, "right": 1, "how": "xor", "level": 1, "memory": 8, "strategy": 3}
    sections = {"head": b"x", "tail": b"", "sizes": b"\0\0\0\0", "filters": b"\0" * 40, "content": b"\1"}
    entry = bytearray(
        data.draw(st.sampled_from([make_entry(source, new)[0], pack("png", facts | {"window": 15}, sections)]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        entry[data.draw(st.integers(0, len(entry) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = read_entry(bytes(entry), new)
    except ValueError:
        return
    assert isinstance(result, bytes)


def test_an_entry_inflates_to_what_it_says_and_no_further():
    packed = zlib.compress(b"\0" * 2**20)
    head = {"poisongen_undo": 1, "format": "whole", "facts": {}, "sections": [["file", len(packed), 1000]]}
    with pytest.raises(ValueError, match="longer or shorter"):
        unpack(json.dumps(head).encode() + b"\n" + packed)
    head["sections"] = [["file", len(packed), 2**40]]
    with pytest.raises(ValueError, match="not an undo entry"):
        unpack(json.dumps(head).encode() + b"\n" + packed)
