"""Files taken apart: sound ones of every kind hold a picture and nothing else; what is added is named."""

from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poisongen.auditing.annotations import take_apart
from poisongen.errors import DataError
from poisongen.files import images, jpeg, png
from tests.tampering_annotations import chunk, interlaced, into_idat, segment

PICTURE = np.kron(np.random.default_rng(2).integers(0, 256, (7, 9, 3), np.uint8), np.ones((9, 7, 1), np.uint8))[:, :61]
OPTIONS = [{"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}, {"comment": b"of the source"}]
JPEGS = [
    (mode, subsampling, *chosen)
    for mode, subsampling in (("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", None))
    for number in (0, 1, 2, 4)
    for chosen in itertools.combinations(range(len(OPTIONS)), number)
]


def jpeg_of(mode="RGB", subsampling=2, *chosen):
    options = {key: value for number in chosen for key, value in OPTIONS[number].items()}
    if subsampling is not None:
        options["subsampling"] = subsampling
    stream = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(stream, "JPEG", dpi=(72, 72), **options)
    return stream.getvalue()


@pytest.mark.parametrize("how", JPEGS, ids=str)
def test_a_written_jpeg_has_the_annotations_of_its_source_and_nothing_more(how):
    source = jpeg_of(*how)
    whole, pixels = take_apart(source, "source"), jpeg.decode(source, "source")
    assert whole.surplus == (("restart intervals, which build does not write",) if 2 in how[2:] else ())
    assert whole.progressive == (0 in how[2:])
    assert [word for word, _ in whole.annotations] == ["APP0", "COM"][: 1 + (3 in how[2:])]
    for way in ("blocks", "reencode"):
        new, _ = images.replace_box(
            source, images.open_picture(source, "x"), (3, 3, 9, 9), 255 - pixels[3:12, 3:12], "new", way
        )
        parts = take_apart(new, "new")
        assert (parts.picture, parts.annotations, parts.surplus) == (whole.picture, whole.annotations, ())
        assert parts.progressive == (whole.progressive and way == "reencode")


PNGS = [
    PICTURE,
    PICTURE[..., 0],
    PICTURE[..., :2],
    np.dstack([PICTURE, PICTURE[..., 0]]),
    PICTURE.astype(np.uint16) * 257,
    np.zeros((1, 1), np.uint8),
    np.zeros((3, 70000 // 2), np.uint16),
]


@pytest.mark.parametrize("number", range(len(PNGS)))
def test_a_written_png_holds_a_picture_and_nothing_else(number):
    pixels = PNGS[number]
    parts = take_apart(png.encode(pixels), "new")
    assert (parts.annotations, parts.surplus) == ((("IDAT", b""),), ())


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("colour", [png.GRAY, png.PALETTE])
def test_packed_pngs_too(depth, colour):
    chunks = ((b"PLTE", bytes(3 * 2**depth)), (b"tRNS", b"\1"), (b"IDAT", b""), (b"tEXt", b"a\0b"))
    source = png.Png(13, 5, depth, colour, False, chunks[colour == png.GRAY :])
    pixels = np.random.default_rng(1).integers(0, 2**depth, (5, 13), np.uint8)
    parts = take_apart(png.encode(pixels, source, labels=True), "new")
    assert parts.surplus == ()
    assert parts.annotations == tuple((kind.decode(), payload) for kind, payload in source.chunks)


def added_after_start(added):
    return lambda data: data[:2] + added + data[2:]


SCAN = b"\xff\xda"
SURPLUS = {
    "bytes-after-the-end": (jpeg_of, lambda data: data + b"12345", "5 bytes after its end"),
    "a-second-picture": (jpeg_of, lambda data: data + data, "bytes after its end"),
    "comment-amid-the-picture": (jpeg_of, lambda data: data[:-2] + segment(0xFE, b"x") + data[-2:], "COM within its"),
    "orientation-amid-the-picture": (jpeg_of, lambda data: data[:-2] + segment(0xE1, b"x") + data[-2:], "APP1 within"),
    "a-second-scan": (jpeg_of, lambda data: data[:-2] + data[data.index(SCAN) :], "2 scans"),
    "the-same-scan-of-a-progressive-picture": (
        lambda: jpeg_of("RGB", 2, 0),
        lambda data: data[:-2] + data[data.rindex(SCAN) :],
        "a scan of what an earlier scan holds",
    ),
    "the-first-scan-of-a-progressive-picture-again": (
        lambda: jpeg_of("L", None, 0),
        lambda data: data[:-2] + data[data.index(SCAN) : data.index(SCAN, data.index(SCAN) + 2)] + data[-2:],
        "a scan of what an earlier scan holds",
    ),
    "quantisation-table-of-nothing": (
        jpeg_of,
        added_after_start(segment(0xDB, b"\3" + bytes(range(1, 65)))),
        "a table that nothing uses",
    ),
    "wide-quantisation-table-of-nothing": (
        jpeg_of,
        added_after_start(segment(0xDB, b"\x13" + bytes(range(1, 129)))),
        "a table that nothing uses",
    ),
    "quantisation-table-twice": (
        jpeg_of,
        added_after_start(segment(0xDB, b"\0" + bytes(range(1, 65)))),
        "a table that nothing uses",
    ),
    "code-table-of-nothing": (
        jpeg_of,
        added_after_start(segment(0xC4, b"\3\1" + bytes(15) + b"\0")),
        "a table that nothing uses",
    ),
    "reserved-segment": (jpeg_of, added_after_start(segment(0xF3, b"x")), "a segment 0xF3"),
    "arithmetic-conditions": (jpeg_of, added_after_start(segment(0xCC, b"\0\0")), "a segment 0xCC"),
    "number-of-lines": (jpeg_of, lambda data: data[:-2] + segment(0xDC, b"\0\1") + data[-2:], "a segment 0xDC"),
    "temporary-marker": (jpeg_of, added_after_start(b"\xff\x01"), "a segment 0x01"),
    "filling": (jpeg_of, added_after_start(b"\xff\xff\xff"), "3 bytes between its segments"),
    "garbage": (jpeg_of, added_after_start(b"abc"), "3 bytes between its segments"),
    "no-end": (jpeg_of, lambda data: data[:-2], "a picture without end"),
    "png-bytes-after-the-end": (lambda: png.encode(PICTURE), lambda data: data + b"1", "1 bytes after its end"),
    "png-bytes-in-the-end": (
        lambda: png.encode(PICTURE),
        lambda data: data[:-12] + chunk(b"IEND", b"12"),
        "2 bytes in its IEND chunk",
    ),
    "png-bytes-in-idat": (lambda: png.encode(PICTURE), lambda data: into_idat(data, b"123"), "3 bytes in IDAT after"),
    "png-interlaced": (lambda: png.encode(PICTURE), interlaced, "interlaced"),
    "png-surplus-rows": (
        lambda: png.encode(PICTURE),
        lambda data: data[:16] + chunk(b"IHDR", struct.pack(">II", 61, 62) + data[24:29])[8:] + data[33:],
        "more rows than it has",
    ),
}


@pytest.mark.parametrize("name", SURPLUS)
def test_what_is_added_is_named(name):
    make, change, words = SURPLUS[name]
    sound, changed = make(), change(make())
    assert take_apart(sound, name).surplus == ()
    assert any(words in text for text in take_apart(changed, name).surplus), take_apart(changed, name)


ANNOTATIONS = [
    *((jpeg_of, added_after_start(segment(marker, b"x")), f"APP{marker - 0xE0}") for marker in range(0xE0, 0xF0)),
    (jpeg_of, added_after_start(segment(0xFE, b"x")), "COM"),
    *(
        (lambda: png.encode(PICTURE), lambda data, k=kind: data[:33] + chunk(k, b"x") + data[33:], kind.decode())
        for kind in (b"eXIf", b"gAMA", b"cHRM", b"iCCP", b"sRGB", b"tRNS", b"pHYs", b"tEXt", b"iTXt", b"tIME", b"prVt")
    ),
]


@pytest.mark.parametrize("number", range(len(ANNOTATIONS)))
def test_annotations_are_told_from_the_picture(number):
    make, change, word = ANNOTATIONS[number]
    sound, changed = take_apart(make(), "sound"), take_apart(change(make()), "changed")
    assert (changed.picture, changed.surplus) == (sound.picture, sound.surplus)
    extra = (word, b"x")
    assert sorted(changed.annotations) == sorted((*sound.annotations, extra))


@settings(max_examples=300, deadline=None)
@given(
    which=st.sampled_from([jpeg_of(), jpeg_of("L", None, 0), png.encode(PICTURE[:9, :9])]),
    at=st.integers(0, 2000),
    drop=st.integers(0, 40),
    put=st.binary(max_size=40),
)
def test_damaged_files_are_taken_apart_or_refused(which, at, drop, put):
    data = which[:at] + put + which[at + drop :]
    try:
        parts = take_apart(data, "damaged")
    except DataError:
        return
    assert parts.picture[0] in ("JPEG", "PNG")
