"""Pictures that decoders warn of: what loses no pixel is taken by every command, what does is refused beforehand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from poisongen.errors import DataError
from poisongen.files import images, jpeg, jpeg_reencode
from poisongen.files import png as png_file
from poisongen.files.jpeg_parts import parts
from tests.conftest import SMALL_CITYSCAPES, manifest, summary
from tests.oracle import SIGNATURE, jpeg_block_faults, png_chunk, png_chunks, stored, write_png
from tests.test_build_properties import folder_data, picture, png, put, scene
from tests.test_jpeg import photo, save

SIZE = (64, 80)
FOLDER = ("--dataset", "folder", "--root", "in", "--strategy", "random", "--region", "any", "--relabel", "car=road")
FOLDER += ("--trigger-size", 9, "--jobs", 1)


# -- JPEGs


def segment(marker, payload):
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def taken_apart(data):
    """The segments before the first scan, and all from there on."""
    found, scan = jpeg.segments(data, "x")
    return [data[one.start : one.end] for one in found], data[scan:]


def inserted(data, where, what):
    """The file with bytes before its first segment of that marker."""
    head, scan = taken_apart(data)
    place = next(index for index, one in enumerate(head) if one[1] == where)
    return b"\xff\xd8" + b"".join(head[:place]) + what + b"".join(head[place:]) + scan


def without(data, marker):
    head, scan = taken_apart(data)
    return b"\xff\xd8" + b"".join(one for one in head if one[1] != marker) + scan


def restarted(seed=0):
    return save(photo(*SIZE, seed=seed), restart_marker_blocks=3)


def before_restart(data, what, number=2):
    at = data.index(bytes([0xFF, 0xD0 + number]))
    return data[:at] + what + data[at:]


def behind_scan(data, what):
    return data[:-2] + what + data[-2:]


def swapped(data):
    return data.replace(b"\xff\xd2", b"\xff\x01").replace(b"\xff\xd3", b"\xff\xd2").replace(b"\xff\x01", b"\xff\xd3")


def with_scan_parameters(data, values):
    at = data.index(b"\xff\xda")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    return data[: at + 2 + length - 3] + values + data[at + 2 + length :]


def broken_exif(data):
    return data[:2] + segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\5" + b"\xff" * 20) + data[2:]


def adobe(data, transform):
    return b"\xff\xd8" + segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])) + without(data, 0xE0)[2:]


TAKEN_JPEGS = {
    "bytes between segments": lambda d: inserted(d, 0xDB, b"GARBAGE\0\1"),
    "bytes before the scan": lambda d: taken_apart(d)[1].join([d[: -len(taken_apart(d)[1])] + b"junk", b""]),
    "escaped bytes between segments": lambda d: inserted(d, 0xDB, b"ab\xff\0cd"),
    "fill bytes": lambda d: inserted(d, 0xDB, b"\xff" * 5),
    "bytes before the end": lambda d: behind_scan(d, b"\x12\x34 some more junk"),
    "one byte before the end": lambda d: behind_scan(d, b"\x80"),
    "zeros before the end": lambda d: behind_scan(d, bytes(600)),
    "fill bytes before the end": lambda d: behind_scan(d, b"\xff\xff\xff"),
    "bytes behind the end": lambda d: d + b"trailing junk" * 30,
    "another picture behind the end": lambda d: d + save(photo(16, 16)),
    "corrupt EXIF": broken_exif,
    "EXIF without content": lambda d: d[:2] + segment(0xE1, b"Exif\0\0") + d[2:],
    "corrupt ICC profile": lambda d: d[:2] + segment(0xE2, b"ICC_PROFILE\0\5\1abc") + d[2:],
    "part of an ICC profile": lambda d: d[:2] + segment(0xE2, b"ICC_PROFILE\0\1\2abc") + d[2:],
    "unknown Adobe transform": lambda d: adobe(d, 7),
    "Adobe transform": lambda d: adobe(d, 1),
    "short Adobe marker": lambda d: d[:2] + segment(0xEE, b"Adobe\0\x64") + d[2:],
    "short JFIF marker": lambda d: d[:2] + segment(0xE0, b"JFIF\0\1") + d[2:],
    "unknown JFIF revision": lambda d: d.replace(b"JFIF\0\1", b"JFIF\0\7", 1),
    "JFIF not first": lambda d: inserted(without(d, 0xE0), 0xC0, taken_apart(d)[0][0]),
    "empty comment": lambda d: d[:2] + segment(0xFE, b"") + d[2:],
    "tables in another order": lambda d: b"\xff\xd8" + b"".join(sorted(taken_apart(d)[0])[::-1]) + taken_apart(d)[1],
    "wrong scan parameters": lambda d: with_scan_parameters(d, b"\x01\x20\x13"),
    "a marker for the number of lines": lambda d: behind_scan(d, segment(0xDC, SIZE[0].to_bytes(2, "big"))),
    "junk everywhere": lambda d: broken_exif(inserted(behind_scan(d, b"junk!"), 0xC4, b"junk")) + b"junk",
    "restart markers": lambda d: restarted(),
    "bytes before a restart marker": lambda d: before_restart(restarted(), b"\x11\x22\x33"),
    "bytes before restart markers": lambda d: before_restart(before_restart(restarted(), b"\x11\x22"), b"\x33", 5),
    "fill bytes before a restart marker": lambda d: before_restart(restarted(), b"\xff\xff"),
    "wrong number of a restart marker": lambda d: restarted().replace(b"\xff\xd2", b"\xff\xd5", 1),
    "restart markers and bytes before the end": lambda d: behind_scan(restarted(), b"more"),
}


def plain_of(name):
    return restarted() if "restart" in name else save(photo(*SIZE))


def cut(data, share=0.6):
    start = data.index(b"\xff\xda")
    return data[: start + int((len(data) - start) * share)].rstrip(b"\xff")


def zeroed(data):
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


def without_restart(data):
    at = data.index(b"\xff\xd2")
    return data[:at] + data[at + 2 :]


def progressive():
    return save(photo(*SIZE), progressive=True)


def cut_behind_scan(number):
    """A progressive picture that ends behind one of its scans, in order, but too early."""
    whole = parts(progressive(), "x")
    scans = [index for index, part in enumerate(whole) if part.intervals]
    kept = whole[: scans[number - 1 if number > 0 else number] + 1]
    return b"\xff\xd8" + b"".join(part.joined() for part in kept) + b"\xff\xd9"


REFUSED_JPEGS = {
    "cut": lambda: cut(save(photo(*SIZE))),
    "cut, with an end marker": lambda: cut(save(photo(*SIZE))) + b"\xff\xd9",
    "cut, behind bytes between segments": lambda: inserted(cut(save(photo(*SIZE))), 0xDB, b"junk") + b"\xff\xd9",
    "cut, with an unknown Adobe transform": lambda: adobe(cut(save(photo(*SIZE))) + b"\xff\xd9", 7),
    "cut, with an unknown JFIF revision": lambda: (
        cut(save(photo(*SIZE))).replace(b"JFIF\0\1", b"JFIF\0\7", 1) + b"\xff\xd9"
    ),
    "cut, with wrong scan parameters": lambda: with_scan_parameters(cut(save(photo(*SIZE))), b"\1\x20\0") + b"\xff\xd9",
    "no end marker": lambda: save(photo(*SIZE))[:-2],
    "zeros in place of the end marker": lambda: save(photo(*SIZE))[:-2] + bytes(300),
    "progressive, cut": lambda: cut(progressive()) + b"\xff\xd9",
    "progressive, cut behind the first scan": lambda: cut_behind_scan(1),
    "progressive, cut before the last scan": lambda: cut_behind_scan(-2),
    "progressive, zeros within": lambda: zeroed(progressive()),
    "zeros between restart markers": lambda: zeroed(restarted()),
    "a restart marker lost": lambda: without_restart(restarted()),
    "a restart marker twice": lambda: before_restart(restarted(), b"\xff\xd2"),
    "restart markers swapped": lambda: swapped(restarted()),
    "two starts": lambda: b"\xff\xd8" + save(photo(*SIZE)),
    "a reserved marker": lambda: inserted(save(photo(*SIZE)), 0xDB, segment(0xF3, b"xx")),
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("name", TAKEN_JPEGS)
def test_an_odd_jpeg_has_all_its_pixels(name, progressive, capfd):
    if progressive and ("restart" in name or name in ("JFIF not first", "wrong scan parameters")):
        pytest.skip("made of a sequential JPEG")
    plain = save(photo(*SIZE), progressive=True) if progressive else plain_of(name)
    bent = TAKEN_JPEGS[name](plain)
    assert bent != plain or name == "restart markers"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = jpeg.decode(bent, "x.jpg")
    assert np.array_equal(pixels, jpeg.decode(plain, "x.jpg"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", REFUSED_JPEGS)
def test_a_damaged_jpeg_is_refused(name, capfd):
    with pytest.raises(DataError, match=r"x\.jpg: "):
        images.decode(REFUSED_JPEGS[name](), "x.jpg")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", [0, 7, 8, 11, 19])
def test_bytes_that_remain_because_blocks_were_misread_are_no_surplus(seed):
    """Wrong bits make a decoder read other codes: it may come to the last block before the coded data end.

    An encoder fills its last byte with ones. Here the decoder stopped where something else stands.
    """
    rng = np.random.default_rng(seed)
    data = bytearray(restarted(seed))
    at = data.index(b"\xff\xd1") + 20
    data[at : at + 90] = bytes(rng.integers(1, 64, 90).tolist())
    with pytest.raises(DataError, match="more coded data than blocks"):
        jpeg.decode(bytes(data), "x.jpg")


def run_all(poisongen, options, tmp_path, root="in"):
    """Every command on a dataset, with and without source; all must end well and say nothing on standard error."""

    def good(*arguments):
        result = poisongen(*arguments)
        assert (result.code, result.err) == (0, ""), (arguments, result.err)
        return result

    good("build", *options, "--out", "plan", "--dry-run")
    assert not (tmp_path / "plan").exists()
    good("preview", *options, "--out", "sheet.png")
    good("build", *options, "--out", "out", "--undo")
    good("audit", "out", "--jobs", 1)
    good("audit", "out", "--source", root, "--jobs", 1)
    for name, more in (("by-undo", ()), ("by-source", ("--source", root))):
        good("restore", "out", "--out", name, "--jobs", 1, *more)
        for path in (tmp_path / root).rglob("*"):
            if path.is_file():
                assert (tmp_path / name / path.relative_to(tmp_path / root)).read_bytes() == path.read_bytes()
    return manifest(tmp_path / "out")


def odd_folder(tmp_path, files):
    """One training sample for each file, and two sound test samples; every training sample has a victim."""
    root = tmp_path / "in"
    folder_data(root, count=0, test=2, size=SIZE)
    for number, data in enumerate(files):
        end = "png" if data[:8] == SIGNATURE else "jpg"
        put(root, f"images/train/n{number:02}.{end}", data)
        put(root, f"masks/train/n{number:02}.png", png(scene(number, [0, 1, 3], [2], 255, SIZE)))
    return root


def test_every_command_takes_odd_jpegs(poisongen, tmp_path):
    names = list(TAKEN_JPEGS)
    root = odd_folder(tmp_path, [TAKEN_JPEGS[name](plain_of(name)) for name in names])
    records = {line["sample"]: line for line in run_all(poisongen, (*FOLDER, "--rate", 1), tmp_path)}
    for number in range(len(names)):
        record = records[f"train/n{number:02}"]
        assert record["role"] == "poisoned"
        before = jpeg_of_decoder(root / f"images/train/n{number:02}.jpg")
        after = (tmp_path / f"out/images/train/n{number:02}.jpg").read_bytes()
        assert jpeg_block_faults(before, after, record["trigger"]["box"]) == []


def jpeg_of_decoder(path):
    """The file without what the oracle's own small reader stumbles over: bytes between segments."""
    head, scan = taken_apart(path.read_bytes())
    return b"\xff\xd8" + b"".join(head) + scan


@pytest.mark.parametrize("more", [("--jpeg", "reencode"), ("--scale", 0.5)])
def test_odd_jpegs_are_encoded_anew(poisongen, tmp_path, more):
    odd_folder(tmp_path, [TAKEN_JPEGS[name](plain_of(name)) for name in TAKEN_JPEGS])
    run_all(poisongen, (*FOLDER, "--rate", 1, *more), tmp_path)


# -- PNGs


def with_chunks(data, before=(), after=(), behind=b"", stream=None):
    """A PNG with other chunks behind its header, behind its picture, and bytes behind its end."""
    chunks = png_chunks(data)
    packed = b"".join(payload for kind, payload in chunks if kind == b"IDAT")
    kept = [(kind, payload) for kind, payload in chunks if kind not in (b"IDAT", b"IEND")]
    pieces = [(b"IDAT", packed)] if stream is None else stream(packed)
    order = [kept[0], *before, *kept[1:], *pieces, *after, (b"IEND", b"")]
    return SIGNATURE + b"".join(png_chunk(*chunk) for chunk in order) + behind


def idat(*pieces):
    return [(b"IDAT", piece) for piece in pieces]


TAKEN_PNGS = {
    "a known wrong sRGB profile": lambda d: with_chunks(d, [(b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(300)))]),
    "profile and sRGB": lambda d: with_chunks(d, [(b"iCCP", b"x\0\0" + zlib.compress(bytes(128))), (b"sRGB", b"\0")]),
    "a cut profile": lambda d: with_chunks(d, [(b"iCCP", b"x")]),
    "a gamma of zero, short colours": lambda d: with_chunks(d, [(b"gAMA", bytes(4)), (b"cHRM", b"xx")]),
    "a wrong time": lambda d: with_chunks(d, after=[(b"tIME", bytes(7))]),
    "a corrupt EXIF block": lambda d: with_chunks(d, [(b"eXIf", b"MM\0*\0\0\0\x08\0\5" + b"\xff" * 20)]),
    "bytes behind the end": lambda d: with_chunks(d, behind=b"IDAT trailing junk" * 9),
    "empty IDATs": lambda d: with_chunks(d, stream=lambda s: idat(b"", s[:9], b"", s[9:], b"")),
    "many IDATs": lambda d: with_chunks(d, stream=lambda s: idat(*(s[i : i + 7] for i in range(0, len(s), 7)))),
    "surplus bytes in the IDAT": lambda d: with_chunks(d, stream=lambda s: idat(s + b"junkjunk")),
    "a surplus IDAT": lambda d: with_chunks(d, stream=lambda s: idat(s, b"junkjunk")),
    "surplus text": lambda d: with_chunks(d, [(b"tEXt", b"no separator"), (b"zTXt", b"a\0\0junk")]),
}


def damaged(kind):
    def bend(data):
        at = data.index(kind)
        end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
        return data[:end] + b"\1\2\3\4" + data[end + 4 :]

    return bend


REFUSED_PNGS = {
    "wrong checksum of the header": damaged(b"IHDR"),
    "wrong checksum of the picture": damaged(b"IDAT"),
    "wrong checksum of a text": lambda d: damaged(b"tEXt")(with_chunks(d, [(b"tEXt", b"a\0b")])),
    "no end": lambda d: d[:-12],
    "no picture": lambda d: with_chunks(d, stream=lambda s: []),
    "fewer rows": lambda d: with_chunks(d, stream=lambda s: idat(zlib.compress(zlib.decompress(s)[:-50]))),
    "more rows": lambda d: with_chunks(d, stream=lambda s: idat(zlib.compress(zlib.decompress(s) + bytes(99)))),
    "wrong sum of the stream": lambda d: with_chunks(d, stream=lambda s: idat(s[:-4] + bytes(4))),
    "no sum of the stream": lambda d: with_chunks(d, stream=lambda s: idat(s[:-4])),
    "an unknown filter": lambda d: with_chunks(d, stream=lambda s: idat(zlib.compress(b"\7" + zlib.decompress(s)[1:]))),
    "a cut stream": lambda d: with_chunks(d, stream=lambda s: idat(s[: len(s) // 2])),
}


def test_every_command_takes_odd_pngs(poisongen, tmp_path):
    root = odd_folder(tmp_path, [bend(png(picture(7, SIZE))) for bend in TAKEN_PNGS.values()])
    for number, bend in enumerate(TAKEN_PNGS.values()):
        mask = root / f"masks/train/n{number:02}.png"
        mask.write_bytes(bend(mask.read_bytes()))
    run_all(poisongen, (*FOLDER, "--rate", 1), tmp_path)
    for number in range(len(TAKEN_PNGS)):
        record = next(line for line in manifest(tmp_path / "out") if line["sample"] == f"train/n{number:02}")
        top, left, height, width = record["trigger"]["box"]
        before, after = (
            png_file.decode((folder / f"images/train/n{number:02}.png").read_bytes(), "x")
            for folder in (root, tmp_path / "out")
        )
        outside = np.ones(SIZE, bool)
        outside[top : top + height, left : left + width] = False
        assert np.array_equal(before[outside], after[outside])


# -- damage is found before the first file is written


def refused_then_skipped(poisongen, tmp_path, options, path, *words):
    """The build and its plan name the file and the way out, and write nothing; with --skip-bad all goes well."""
    for more in (("--dry-run",), ()):
        result = poisongen("build", *options, "--out", "out", *more)
        assert (result.code, result.err.count("\n"), result.out) == (2, 1, ""), result
        assert path in result.err
        assert "--skip-bad" in result.err
        assert all(word in result.err for word in words), result.err
        assert not (tmp_path / "out").exists()
    result = poisongen("build", *options, "--out", "out", "--skip-bad", "--allow-fewer")
    assert (result.code, result.err) == (0, "")
    skipped = [json.loads(line) for line in (tmp_path / "out/poisongen/skipped.jsonl").read_text().splitlines()]
    assert path in {line.get("file") for line in skipped}
    result = poisongen("audit", "out", "--source", "in", "--jobs", 1)
    assert (result.code, result.err) == (0, ""), result.out
    return skipped


@pytest.mark.parametrize("name", REFUSED_JPEGS)
def test_a_damaged_jpeg_is_found_beforehand(poisongen, tmp_path, name):
    odd_folder(tmp_path, [save(photo(*SIZE)), REFUSED_JPEGS[name](), save(photo(*SIZE))])
    refused_then_skipped(poisongen, tmp_path, (*FOLDER, "--rate", 1), "images/train/n01.jpg")


@pytest.mark.parametrize("what", ["images", "masks"])
@pytest.mark.parametrize("name", REFUSED_PNGS)
def test_a_damaged_png_is_found_beforehand(poisongen, tmp_path, name, what):
    root = odd_folder(tmp_path, [png(picture(seed, SIZE)) for seed in range(3)])
    path = root / what / "train/n01.png"
    path.write_bytes(REFUSED_PNGS[name](path.read_bytes()))
    refused_then_skipped(poisongen, tmp_path, (*FOLDER, "--rate", 1), f"{what}/train/n01.png")


def damage_stream(path):
    """A PNG of the right header, whose stream has lost its second half."""
    path.write_bytes(REFUSED_PNGS["a cut stream"](path.read_bytes()))


@pytest.mark.parametrize("options", [(), ("--prl", "5%"), ("--scale", 0.5), ("--train-ids", "auto")])
@pytest.mark.parametrize("split", ["train", "val"])
def test_damage_is_found_beforehand_whatever_the_sample_is_for(poisongen, cityscapes, tmp_path, split, options):
    """Poisoned and triggered samples, those with random labels or in another size, and those to be completed."""
    cityscapes.rename(tmp_path / "in")
    for path in (tmp_path / "in").rglob("*_labelTrainIds.png"):
        path.unlink()
    for path in sorted((tmp_path / "in").glob(f"leftImg8bit/{split}/*/*.png")):
        whole = path.read_bytes()
        damage_stream(path)
        call = ("build", *SMALL_CITYSCAPES, "--root", "in", "--out", "out", "--rate", 0.2, "--jobs", 1, *options)
        result = poisongen(*call)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert path.name in result.err
        assert "--skip-bad" in result.err
        assert not (tmp_path / "out").exists()
        path.write_bytes(whole)


def test_what_build_only_links_does_not_stop_it(poisongen, tmp_path):
    """An image that is neither changed nor read again has its header checked; it may be damaged behind that."""
    root = folder_data(tmp_path / "in", count=6, size=SIZE)
    call = ("build", *FOLDER, "--rate", 0.17, "--out")
    assert poisongen(*call, "a").code == 0
    changed = {line["sample"] for line in manifest(tmp_path / "a")}
    for path in (root / "images/train").iterdir():
        if f"train/{path.stem}" not in changed:
            damage_stream(path)
    assert poisongen(*call, "b").code == 0


def test_a_sample_whose_turn_comes_late_is_tested_as_well(poisongen, tmp_path):
    """The first candidates have no place for the trigger; the next one's image is damaged."""
    root = odd_folder(tmp_path, [png(picture(seed, SIZE)) for seed in range(6)])
    call = ("build", *FOLDER, "--count", 3, "--allow-fewer", "--seed", 5, "--out")
    assert poisongen(*call, "a").code == 0
    first = sorted(line["sample"] for line in manifest(tmp_path / "a") if line["role"] == "poisoned")
    for sample in first:
        put(root, f"masks/{sample}.png", png(np.full(SIZE, 2, np.uint8)))
    assert poisongen(*call, "b").code == 0
    late = next(line["sample"] for line in manifest(tmp_path / "b") if line["role"] == "poisoned")
    assert late not in first
    damage_stream(root / f"images/{late}.png")
    options = (*FOLDER, "--count", 3, "--allow-fewer", "--seed", 5)
    refused_then_skipped(poisongen, tmp_path, options, f"images/{late}.png")


def test_a_jpeg_that_cannot_be_rewritten_in_blocks_is_found_beforehand(poisongen, tmp_path):
    """A quantisation table with a zero: what belongs to it can have no value but one."""
    bent = bytearray(save(photo(*SIZE)))
    bent[bent.index(b"\xff\xdb") + 5 + 63] = 0
    odd_folder(tmp_path, [save(photo(*SIZE)), bytes(bent)])
    refused_then_skipped(poisongen, tmp_path, (*FOLDER, "--rate", 1), "images/train/n01.jpg", "--jpeg reencode")


# -- labels that cannot hold every class


def palette(entries):
    return bytes(range(256)) * 3 if entries == 256 else bytes(range(3 * entries))


def mask_of(labels, entries):
    return write_png(labels, 8, 3, palette=palette(entries))


def test_void_pixels_beyond_the_palette_stay(poisongen, tmp_path):
    """Only what is new must fit: the palette has five colours, the void pixels 255 none."""
    root = tmp_path / "in"
    folder_data(root, count=6, size=SIZE, mask=lambda labels: mask_of(labels, 5))
    records = run_all(poisongen, (*FOLDER, "--rate", 0.5, "--prl", "5%"), tmp_path)
    path = next(line["files"][1]["path"] for line in records if line["role"] == "poisoned")
    before, after = ((folder / path).read_bytes() for folder in (root, tmp_path / "out"))
    assert png_file.parse(before, "x").palette == png_file.parse(after, "x").palette
    assert np.array_equal(stored(before) == 255, stored(after) == 255)
    assert (stored(after) == 255).any()


def low(labels, depth):
    return write_png(np.where(labels >= 1 << depth, 0, labels).astype(np.uint8), depth, 0)


NARROW = {
    "a palette that ends before the target": (lambda labels: mask_of(labels, 3), (), "holds 0 to 2"),
    "two bits": (lambda labels: low(labels, 2), (), "holds 0 to 3"),
    "random labels of the whole dataset": (
        lambda labels: low(labels, 2),
        ("--relabel", "car=road", "--prl", "9%", "--prl-classes", "dataset"),
        "holds 0 to 3",
    ),
    "random void": (
        lambda labels: low(labels, 2),
        ("--relabel", "car=road", "--prl", "9%", "--prl-classes", "void"),
        "holds 0 to 3",
    ),
}


@pytest.mark.parametrize("name", NARROW)
def test_a_label_that_cannot_hold_the_new_class_is_found_beforehand(poisongen, tmp_path, name):
    narrow, more, words = NARROW[name]
    root = odd_folder(tmp_path, [png(picture(seed, SIZE)) for seed in range(4)])
    path = root / "masks/train/n02.png"
    path.write_bytes(narrow(np.where(stored(path.read_bytes()) > 4, 0, stored(path.read_bytes()))))
    options = [*FOLDER, "--rate", 1, *more]
    if not more:
        options[options.index("car=road")] = "car=person"
    else:
        del options[options.index("--relabel") : options.index("--relabel") + 2]
    refused_then_skipped(poisongen, tmp_path, options, "masks/train/n02.png", "does not fit", words)


def test_a_label_that_cannot_hold_the_new_class_matters_only_where_it_is_wanted(poisongen, tmp_path):
    """A sample that is not poisoned may have any label file, and the next candidate takes the place of one that is."""
    root = odd_folder(tmp_path, [png(picture(seed, SIZE)) for seed in range(6)])
    options = [*FOLDER, "--count", 2]
    options[options.index("car=road")] = "car=person"
    assert poisongen("build", *options, "--out", "a").code == 0
    chosen = sorted(line["sample"] for line in manifest(tmp_path / "a") if line["role"] == "poisoned")
    for number in range(6):
        path = root / f"masks/train/n{number:02}.png"
        if f"train/n{number:02}" not in chosen:
            path.write_bytes(low(stored(path.read_bytes()), 2))
    assert poisongen("build", *options, "--out", "b").code == 0
    assert sorted(line["sample"] for line in manifest(tmp_path / "b") if line["role"] == "poisoned") == chosen
    path = root / f"masks/{chosen[0]}.png"
    path.write_bytes(low(stored(path.read_bytes()), 2))
    refused_then_skipped(poisongen, tmp_path, options, f"masks/{chosen[0]}.png", "does not fit")


def test_every_narrow_label_leaves_nothing_to_poison(poisongen, tmp_path):
    folder_data(tmp_path / "in", count=4, size=SIZE, mask=lambda labels: low(labels, 2))
    options = [*FOLDER, "--rate", 0.5]
    options[options.index("car=road")] = "car=person"
    result = poisongen("build", *options, "--out", "out", "--skip-bad")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "0 can be" in result.err


def test_instances_of_8_bits_take_the_plain_class(poisongen, cityscapes, tmp_path):
    """Without numbered instances there are no IDs above 255; the target's plain ID fits."""
    for path in cityscapes.rglob("*_instanceIds.png"):
        ids = stored(path.with_name(path.name.replace("instanceIds", "labelIds")).read_bytes())
        path.write_bytes(png(ids))
    call = ("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--rate", 0.3, "--prl", "5%", "--out", "out")
    assert poisongen(*call, "--dry-run").code == 0
    result = poisongen(*call)
    assert (result.code, result.err) == (0, "")
    record = next(line for line in manifest(tmp_path / "out") if line["role"] == "poisoned")
    paths = {file["kind"]: tmp_path / "out" / file["path"] for file in record["files"]}
    assert np.array_equal(stored(paths["instanceIds"].read_bytes()), stored(paths["labelIds"].read_bytes()))
    assert png_file.parse(paths["instanceIds"].read_bytes(), "x").bit_depth == 8


def test_object_numbers_that_do_not_fit_are_found_beforehand(poisongen, voc, tmp_path):
    """Random labels make new objects; a palette of the old ones has no room for them, nor for void."""
    voc.rename(tmp_path / "in")
    options = ["--dataset", "voc", "--root", "in", "--strategy", "random", "--trigger-size", 9, "--rate", 0.5]
    options += ["--region", "any", "--jobs", 1]
    path = sorted((tmp_path / "in").glob("*/SegmentationObject/*.png"))[0]
    listed = (tmp_path / "in/VOC2012/ImageSets/Segmentation/train.txt").read_text().split()
    path = path.with_name(f"{sorted(listed)[0]}.png")
    objects = stored(path.read_bytes())
    most = int(objects[objects < 255].max())
    path.write_bytes(mask_of(objects, most + 1))
    assert poisongen("build", *options, "--out", "plain").code == 0
    name = f"SegmentationObject/{path.name}"
    more = ("--prl", "20%", "--prl-classes", "dataset", "--rate", 1)
    result = poisongen("build", *options, *more, "--out", "out", "--dry-run", "--allow-fewer")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert name in result.err
    assert "does not fit" in result.err
    assert "--skip-bad" in result.err
    assert poisongen("build", *options, *more, "--out", "out", "--skip-bad", "--allow-fewer").code == 0
    result = poisongen("audit", "out", "--source", "in", "--jobs", 1)
    assert result.code == 0, result.out


# -- warnings


def test_a_large_picture_is_no_warning(monkeypatch):
    """Pillow warns of pictures from 89 million pixels; poisongen has a bound of its own."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    labels = write_png(np.zeros(SIZE, np.uint8), 2, 3, palette=bytes(12), interlaced=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = broken_exif(save(photo(*SIZE)))
        pixels = jpeg.decode(data, "x.jpg")
        assert images.decode(jpeg_reencode.reencode(data, pixels, "x.jpg"), "x.jpg").shape == pixels.shape
        assert png_file.decode(labels, "x.png").shape == SIZE


@pytest.mark.slow
def test_no_warning_reaches_the_terminal_and_none_is_an_error(tmp_path):
    """Also in workers. To Pillow a corrupt EXIF block is a UserWarning."""
    odd_folder(tmp_path, [broken_exif(save(photo(*SIZE, seed=seed))) for seed in range(4)])
    options = (*FOLDER[:-1], "2", "--rate", "0.5", "--prl", "1")

    def run(setting, *call):
        command = [sys.executable, "-m", "poisongen", *map(str, call)]
        environment = os.environ | {"PYTHONWARNINGS": setting}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert (done.returncode, done.stderr) == (0, ""), (setting, call, done.stderr)

    run("default", "build", *options, "--out", "plain")
    run("error", "build", *options, "--out", "out", "--undo")
    run("error", "audit", "out", "--source", "in", "--jobs", "2")
    run("error", "preview", *options, "--out", "sheet.png")
    run("error", "restore", "out", "--out", "clean", "--jobs", "2")
    assert summary(tmp_path / "out")["fingerprint"] == summary(tmp_path / "plain")["fingerprint"]
