"""PNG files: stored samples bit for bit, kinds and chunks kept, damage named. Oracles: pure Python, and Pillow."""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poisongen.errors import DataError
from poisongen.files import png
from tests.oracle import (
    CHANNELS,
    DEPTHS,
    SIGNATURE,
    png_annotations,
    png_chunk,
    png_chunks,
    png_facts,
    png_stream,
    read_png,
    write_png,
)

KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]
SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (7, 8), (8, 8), (9, 17), (4, 33)]


def samples_of(colour, depth, size, seed=0, most=None):
    rng = np.random.default_rng([colour, depth, *size, seed])
    shape = size if CHANNELS[colour] == 1 else (*size, CHANNELS[colour])
    return rng.integers(0, most or 2**depth, shape).astype(np.uint16 if depth == 16 else np.uint8)


def colours(depth, count=None):
    return np.random.default_rng(5).integers(0, 256, 3 * (count or 2**depth)).astype(np.uint8).tobytes()


def picture(colour, depth, size=(7, 9), **more):
    array = samples_of(colour, depth, size)
    if colour == 3:
        more.setdefault("palette", colours(depth))
    return array, write_png(array, depth, colour, **more)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_decode_gives_the_stored_samples(colour, depth, size, interlaced):
    array, data = picture(colour, depth, size, interlaced=interlaced, cut=11)
    assert np.array_equal(read_png(data), array)
    found = png.decode(data, "x.png")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert np.array_equal(found, array)
    facts = png.parse(data, "x.png")
    assert (facts.width, facts.height, facts.bit_depth, facts.colour_type, facts.interlaced) == png_facts(data)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_encode_keeps_the_kind_and_holds_the_samples(colour, depth, interlaced, labels):
    _, data = picture(colour, depth, interlaced=interlaced)
    new = samples_of(colour, depth, (7, 9), seed=1)
    out = png.encode(new, png.parse(data, "x.png"), labels=labels)
    assert png_facts(out)[:4] == png_facts(data)[:4]
    assert np.array_equal(read_png(out), new)
    assert np.array_equal(png.decode(out, "y.png"), new)
    with Image.open(io.BytesIO(out)) as image:
        image.load()
        if depth == 8 or (colour == 0 and depth == 16):
            assert np.array_equal(np.asarray(image), new)


def test_rows_of_every_width_of_packed_bits_survive():
    for depth, width in itertools.product((1, 2, 4), range(1, 20)):
        array = samples_of(0, depth, (3, width))
        data = write_png(array, depth, 0)
        again = png.encode(png.decode(data, "x"), png.parse(data, "x"))
        assert np.array_equal(read_png(again), array)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    interlaced=st.booleans(),
    filters=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    cut=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_round_trips(kind, height, width, interlaced, filters, cut, seed):
    colour, depth = kind
    array = samples_of(colour, depth, (height, width), seed)
    palette = colours(depth) if colour == 3 else None
    data = write_png(array, depth, colour, palette=palette, interlaced=interlaced, filters=tuple(filters), cut=cut)
    facts = png.parse(data, "x.png")
    assert np.array_equal(png.decode(data, "x.png", facts), array)
    again = png.encode(array, facts)
    assert np.array_equal(read_png(again), array)
    assert np.array_equal(png.decode(again, "x.png"), array)
    assert png.encode(array, facts) == again


CHUNKS_FIRST = (
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    (b"gAMA", struct.pack(">I", 100_000)),
    (b"iCCP", b"profile\0\0" + zlib.compress(bytes(range(200)))),
    (b"sBIT", b"\5\5\5"),
)
CHUNKS_MIDDLE = (
    (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    (b"tEXt", b"Comment\0caf\xe9"),
    (b"zTXt", b"Long\0\0" + zlib.compress(b"x" * 5000)),
    (b"prVt", b"anything at all"),
)
CHUNKS_LAST = (
    (b"iTXt", b"Title\0\0\0de\0Titel\0\xc3\xbc"),
    (b"tIME", struct.pack(">HBBBBB", 2024, 1, 2, 3, 4, 5)),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    (b"tEXt", b"Comment\0again"),
)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_chunk_stays_and_stays_in_its_place(colour, depth, interlaced):
    before = [*CHUNKS_FIRST]
    if colour == 3:
        before += [(b"PLTE", colours(depth)), (b"tRNS", bytes(range(2**depth))), (b"hIST", bytes(2 * 2**depth))]
    elif colour in (0, 2):
        before += [(b"tRNS", b"\0\1" * CHANNELS[colour])]
    before += CHUNKS_MIDDLE
    array, data = picture(colour, depth, before=before, after=CHUNKS_LAST, interlaced=interlaced, cut=9)
    assert np.array_equal(png.decode(data, "x.png"), array)
    out = png.encode(samples_of(colour, depth, (7, 9), seed=4), png.parse(data, "x.png"))
    assert png_annotations(out) == png_annotations(data)
    kinds = [kind for kind, _ in png_chunks(out)]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert kinds.count(b"IEND") == 1
    first, last = kinds.index(b"IDAT"), len(kinds) - kinds[::-1].index(b"IDAT")
    assert set(kinds[first:last]) == {b"IDAT"}


def test_a_suggested_palette_of_rgb_stays():
    array, data = picture(2, 8, before=[(b"PLTE", colours(8, 16))])
    assert np.array_equal(png.decode(data, "x"), array)
    assert png_annotations(png.encode(array, png.parse(data, "x"))) == png_annotations(data)


def test_palettes_of_few_colours_and_transparency_are_not_applied():
    array = samples_of(3, 8, (6, 6), most=5)
    before = [(b"PLTE", colours(8, 5)), (b"tRNS", b"\0\x80")]
    data = write_png(array, 8, 3, before=before)
    assert np.array_equal(png.decode(data, "x.png"), array)
    assert png.parse(data, "x").palette == colours(8, 5)


def test_gray_with_a_transparent_value_keeps_its_samples():
    for depth in (1, 2, 4, 8, 16):
        array = samples_of(0, depth, (6, 7))
        for interlaced in (False, True):
            data = write_png(array, depth, 0, before=[(b"tRNS", b"\0\1")], interlaced=interlaced)
            assert np.array_equal(png.decode(data, "x.png"), array), (depth, interlaced)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pillows_files_are_read_as_pillow_reads_them(mode):
    rng = np.random.default_rng(3)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (21, 13)).astype(np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (21, 13, 3)).astype(np.uint8)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    found = png.decode(stream.getvalue(), "x.png")
    want = np.asarray(image)
    assert np.array_equal(found, want.astype(found.dtype))


def test_encode_without_a_source():
    for shape, dtype in itertools.product([(5, 6), (5, 6, 2), (5, 6, 3), (5, 6, 4)], [np.uint8, np.uint16]):
        array = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
        out = png.encode(array)
        assert np.array_equal(read_png(out), array)
        assert png.encode(np.asfortranarray(array)) == out
        assert png.encode(array[::-1][::-1]) == out


def test_encode_refuses_what_does_not_fit():
    _, data = picture(3, 4)
    facts = png.parse(data, "x")
    with pytest.raises(ValueError, match="16"):
        png.encode(np.full((7, 9), 16, np.uint8), facts)
    with pytest.raises(ValueError, match="fit"):
        png.encode(np.zeros((7, 9, 3), np.uint8), facts)
    with pytest.raises(ValueError, match="fit"):
        png.encode(np.zeros((7, 9), np.uint16), facts)


# -- damage


def refused(data, capfd, name="folder/broken.png"):
    """The picture must be refused with an error that names it, and without a word on standard error."""
    capfd.readouterr()
    with pytest.raises(DataError) as caught:
        png.decode(data, name)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_a_file_cut_anywhere_is_refused(colour, depth, interlaced, capfd):
    _, data = picture(colour, depth, (5, 6), interlaced=interlaced, after=[(b"tEXt", b"a\0b")], cut=13)
    for length in range(0, len(data), 1 if colour in (0, 3) else 7):
        refused(data[:length], capfd)


def rebuilt(data, stream):
    """The file with another picture stream, all checksums right."""
    chunks = [chunk for chunk in png_chunks(data) if chunk[0] != b"IDAT"]
    out = SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks[:-1])
    return out + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(6, 7), (40, 41)])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_a_stream_cut_short_is_refused_though_its_checksums_are_right(colour, depth, size, interlaced, capfd):
    array, data = picture(colour, depth, size, interlaced=interlaced)
    stream = b"".join(payload for kind, payload in png_chunks(data) if kind == b"IDAT")
    refused(rebuilt(data, b""), capfd)
    for share in (0.1, 0.5, 0.9):
        refused(rebuilt(data, stream[: int(len(stream) * share)]), capfd)
    refused(rebuilt(data, stream[:-5]), capfd)  # the check value and a bit more
    rows = png_stream(array, depth, interlaced)
    refused(rebuilt(data, zlib.compress(rows[:-1])), capfd)
    refused(rebuilt(data, zlib.compress(rows[: len(rows) // 2])), capfd)


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_a_stream_of_garbage_is_refused(colour, depth, capfd):
    array, data = picture(colour, depth, (12, 12))
    stream = b"".join(payload for kind, payload in png_chunks(data) if kind == b"IDAT")
    refused(rebuilt(data, b"\x78\x9c" + bytes(range(100))), capfd)
    refused(rebuilt(data, b"not zlib at all"), capfd)
    bent = bytearray(stream)
    bent[len(bent) // 2] ^= 0xFF
    bent[len(bent) // 2 + 1] ^= 0xFF
    refused(rebuilt(data, bytes(bent)), capfd)
    refused(rebuilt(data, zlib.compress(b"\x09" + png_stream(array, depth, False)[1:])), capfd)  # no such filter


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_wrong_adler_checksum_is_refused(interlaced, capfd):
    _, data = picture(2, 8, (12, 12), interlaced=interlaced)
    stream = b"".join(payload for kind, payload in png_chunks(data) if kind == b"IDAT")
    refused(rebuilt(data, stream[:-1] + bytes([stream[-1] ^ 1])), capfd)


@pytest.mark.parametrize("change", [-1, 1, 30])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (0, 8), (3, 4), (2, 8), (6, 16)])
def test_fewer_or_more_rows_than_the_header_says_are_refused(colour, depth, interlaced, change, capfd):
    array = samples_of(colour, depth, (9, 11))
    palette = [(b"PLTE", colours(depth))] if colour == 3 else []
    head = struct.pack(">IIBBBBB", 11, 9 + change, depth, colour, 0, 0, interlaced)
    data = SIGNATURE + png_chunk(b"IHDR", head) + b"".join(png_chunk(*chunk) for chunk in palette)
    data += png_chunk(b"IDAT", zlib.compress(png_stream(array, depth, interlaced))) + png_chunk(b"IEND", b"")
    refused(data, capfd)


def test_every_wrong_checksum_is_refused(capfd):
    _, data = picture(3, 8, before=[(b"PLTE", colours(8)), *CHUNKS_MIDDLE], after=CHUNKS_LAST)
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        bent = bytearray(data)
        bent[end - 1] ^= 1
        refused(bytes(bent), capfd)
        at = end


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_wrong_byte_is_refused_or_changes_nothing(data):
    kind = data.draw(st.sampled_from([(0, 4), (3, 8), (2, 8), (6, 16)]))
    array, file = picture(*kind, size=(6, 6), after=[(b"tEXt", b"a\0b")])
    bent = bytearray(file)
    at = data.draw(st.integers(0, len(file) - 1))
    bent[at] ^= data.draw(st.integers(1, 255))
    try:
        found = png.decode(bytes(bent), "x.png")
    except DataError:
        return
    assert np.array_equal(found, array)


@settings(max_examples=100, deadline=None)
@given(junk=st.binary(max_size=300), head=st.booleans())
def test_junk_is_refused(junk, head):
    with pytest.raises(DataError):
        png.decode((SIGNATURE if head else b"") + junk, "x.png")


@pytest.mark.parametrize(
    ("width", "height"),
    [(0, 5), (5, 0), (2**31 - 1, 1), (1, 2**31 - 1), (60_000, 60_000), (2**32 - 1, 2**32 - 1), (65_536, 2)],
)
def test_sizes_that_no_picture_has_are_refused_at_once(width, height, capfd):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = SIGNATURE + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(b"\0" * 99))
    refused(data + png_chunk(b"IEND", b""), capfd)


@pytest.mark.parametrize(
    "fields",
    [
        (3, 0, 0, 0, 0),
        (8, 1, 0, 0, 0),
        (8, 5, 0, 0, 0),
        (16, 3, 0, 0, 0),
        (4, 2, 0, 0, 0),
        (8, 0, 1, 0, 0),
        (8, 0, 0, 1, 0),
        (8, 0, 0, 0, 2),
        (0, 0, 0, 0, 0),
        (8, 255, 0, 0, 0),
    ],
)
def test_headers_that_are_not_legal_are_refused(fields, capfd):
    head = struct.pack(">IIBBBBB", 4, 4, *fields)
    data = SIGNATURE + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(b"\0" * 99))
    refused(data + png_chunk(b"IEND", b""), capfd)


def test_oddities_of_the_container_are_refused(capfd):
    array, data = picture(3, 8)
    without_palette = write_png(array, 8, 3)
    refused(without_palette, capfd)
    animated = write_png(array, 8, 0, before=[(b"acTL", struct.pack(">II", 2, 0))])
    refused(animated, capfd)
    refused(b"", capfd)
    refused(SIGNATURE, capfd)
    refused(SIGNATURE + png_chunk(b"IEND", b""), capfd)
    refused(SIGNATURE + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""), capfd)
    refused(SIGNATURE + png_chunk(b"IHDR", b"short") + png_chunk(b"IEND", b""), capfd)
    refused(data[: data.index(b"IDAT") - 4] + png_chunk(b"IEND", b""), capfd)  # no picture at all
    refused(SIGNATURE + struct.pack(">I4s", 2**31, b"IHDR") + bytes(60), capfd)
    palette_after = [chunk for chunk in png_chunks(data) if chunk[0] != b"PLTE"]
    palette_after.insert(-1, (b"PLTE", colours(8)))
    late = SIGNATURE + b"".join(png_chunk(*chunk) for chunk in palette_after)
    found = None
    with contextlib.suppress(DataError):
        found = png.decode(late, "x.png")
    assert found is None or np.array_equal(found, array)


def test_a_bomb_of_zeros_is_refused_without_filling_memory(capfd):
    head = struct.pack(">IIBBBBB", 4, 4, 1, 3, 0, 0, 1)
    bomb = zlib.compress(bytes(200_000_000), 9)
    data = SIGNATURE + png_chunk(b"IHDR", head) + png_chunk(b"PLTE", bytes(6)) + png_chunk(b"IDAT", bomb)
    refused(data + png_chunk(b"IEND", b""), capfd)


def test_bytes_after_the_end_do_not_matter():
    array, data = picture(2, 8)
    assert np.array_equal(png.decode(data + b"trailing junk", "x.png"), array)
