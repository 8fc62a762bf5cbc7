"""Pictures of both formats: told apart by content, headers, digests, and a box replaced in any kind of picture."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poisongen.errors import DataError
from poisongen.files import images
from tests.oracle import (
    DEPTHS,
    SIGNATURE,
    jpeg_block_faults,
    png_annotations,
    png_chunk,
    png_facts,
    read_png,
    write_png,
)
from tests.oracle import pixels_sha256 as digest_by_hand

KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]


def make(colour, depth, size=(12, 15), seed=0, **more):
    rng = np.random.default_rng([colour, depth, seed])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    shape = size if channels == 1 else (*size, channels)
    array = rng.integers(0, 2**depth, shape).astype(np.uint16 if depth == 16 else np.uint8)
    if colour == 3:
        more["palette"] = rng.integers(0, 256, 3 * 2**depth).astype(np.uint8).tobytes()
    return array, write_png(array, depth, colour, **more)


def jpeg_of(height=24, width=30, **options):
    rng = np.random.default_rng(2)
    small = rng.integers(30, 220, (-(-height // 8), -(-width // 8), 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width]).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_headers_and_pixels_of_png(colour, depth, tmp_path):
    array, data = make(colour, depth)
    path = tmp_path / "picture.jpg"  # the content counts, not the name
    path.write_bytes(data)
    found = images.header(path)
    assert (found.format, found.width, found.height) == ("png", 15, 12)
    assert np.array_equal(images.decode(data, path), array)


def test_headers_of_jpeg_with_long_annotations(tmp_path):
    for size in (0, 10, 4000, 4096, 5000, 70_000, 3_000_000):
        path = tmp_path / "picture.png"
        path.write_bytes(jpeg_of(icc_profile=bytes(size)) if size else jpeg_of())
        assert (images.header(path).format, images.header(path).width, images.header(path).height) == ("jpeg", 30, 24)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x89", SIGNATURE, SIGNATURE + bytes(25), b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10"),
        *(b"GIF89a" + bytes(99), jpeg_of()[:100], jpeg_of()[:400], make(2, 8)[1][:30]),
        *(b"P6 1 1 255 abc", bytes(10_000)),
    ],
)
def test_headers_of_other_things_name_the_file(data, tmp_path, capfd):
    path = tmp_path / "odd name \n.png"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        images.header(path)
    assert "odd name" in str(caught.value)
    assert "\n" not in str(caught.value)
    for function in (images.decode, images.decode_labels):
        with pytest.raises(DataError):
            function(data, path)
    assert capfd.readouterr() == ("", "")


def test_headers_of_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(DataError, match="cannot be read"):
            images.header(path)


def test_headers_of_kinds_that_are_not_read(tmp_path):
    path = tmp_path / "x"
    cmyk = io.BytesIO()
    Image.new("CMYK", (9, 9)).save(cmyk, "JPEG")
    bits = bytearray(jpeg_of())
    bits[bits.index(b"\xff\xc0") + 4] = 12
    huge = bytearray(jpeg_of())
    at = huge.index(b"\xff\xc0")
    huge[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    head = struct.pack(">IIBBBBB", 2**20, 2**20, 8, 2, 0, 0, 0)
    bomb = SIGNATURE + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    for data, words in ((cmyk.getvalue(), "CMYK"), (bits, "12-bit"), (huge, "65000x65000"), (bomb, "1048576x1048576")):
        path.write_bytes(bytes(data))
        with pytest.raises(DataError, match=words):
            images.header(path)


def test_labels_must_be_one_channel_png():
    for colour, depth in KINDS:
        array, data = make(colour, depth)
        if colour in (0, 3):
            assert np.array_equal(images.decode_labels(data, "x"), array)
        else:
            with pytest.raises(DataError, match=r"^x.png: .*RGB|gray with alpha"):
                images.decode_labels(data, "x.png")
    with pytest.raises(DataError, match="JPEG would change"):
        images.decode_labels(jpeg_of(), "x.jpg")


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    wide=st.booleans(),
    order=st.sampled_from("CF"),
    swapped=st.booleans(),
)
def test_digests_of_pixels(shape, wide, order, swapped):
    dtype = np.uint16 if wide else np.uint8
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape) * 77, dtype=dtype, order=order)
    want = digest_by_hand(array)
    assert images.pixels_sha256(array) == want
    if swapped and wide:
        assert images.pixels_sha256(array.astype(">u2")) == want
    assert images.pixels_sha256(array[::-1][::-1]) == want


def test_the_digest_is_the_documented_line_and_bytes():
    array = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert images.pixels_sha256(array) == hashlib.sha256(b"1x2x3 uint8\n\1\2\3\4\5\6").hexdigest()
    wide = np.array([[256]], np.uint16)
    assert images.pixels_sha256(wide) == hashlib.sha256(b"1x1 uint16\n\0\1").hexdigest()


# -- boxes


def rgb_by_hand(data, array):
    """What a box looks like as RGB, from the PNG specification."""
    _, _, depth, colour, _ = png_facts(data)
    if colour == 3:
        palette = np.frombuffer({k: p for _, k, p in png_annotations(data)}[b"PLTE"], np.uint8).reshape(-1, 3)
        return palette[array]
    if colour in (2, 6):
        return array[..., :3]
    gray = array if colour == 0 else array[..., 0]
    if depth < 8:
        gray = (gray.astype(int) * 255 // (2**depth - 1)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_boxes_as_rgb_and_back(colour, depth):
    array, data = make(colour, depth)
    part = array[2:7, 3:9]
    rgb = images.to_rgb_box(data, part, "x")
    assert rgb.dtype == part.dtype
    assert np.array_equal(rgb, rgb_by_hand(data, part))
    assert np.array_equal(images.from_rgb_box(data, part, rgb, "x"), part)


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_new_content_of_a_box(colour, depth):
    array, data = make(colour, depth)
    part = array[2:7, 3:9]
    rng = np.random.default_rng(9)
    most = np.iinfo(part.dtype).max
    rgb = rng.integers(0, most, (5, 6, 3), endpoint=True).astype(part.dtype)
    rgb[0] = images.to_rgb_box(data, part, "x")[0]  # an unchanged row
    out = images.from_rgb_box(data, part, rgb, "x")
    assert out.shape == part.shape
    assert out.dtype == part.dtype
    assert np.array_equal(out[0], part[0])
    if colour in (2, 6):
        assert np.array_equal(out[..., :3], rgb)
        assert np.array_equal(out[..., 3:], part[..., 3:])
    elif colour == 3:
        palette = np.frombuffer({k: p for _, k, p in png_annotations(data)}[b"PLTE"], np.uint8)
        error = ((palette.reshape(1, 1, -1, 3).astype(int) - rgb[:, :, None].astype(int)) ** 2).sum(-1)
        got = np.take_along_axis(error, out[..., None].astype(int), -1)[..., 0]
        assert (got == error.min(-1)).all()
    else:
        luma = rgb[1:].astype(float) @ [0.299, 0.587, 0.114]
        gray = (out if colour == 0 else out[..., 0])[1:]
        assert (np.abs(gray - luma * (2**depth - 1) / most) <= (0.51 if depth >= 8 else 0.52)).all()
        if colour == 4:
            assert np.array_equal(out[..., 1], part[..., 1])


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_replace_box_changes_the_box_alone(colour, depth, interlaced):
    before = [] if colour == 3 else [(b"gAMA", struct.pack(">I", 45455)), (b"tEXt", b"a\0b")]
    array, data = make(colour, depth, interlaced=interlaced, before=before)
    for top, left, height, width in ((0, 0, 12, 15), (3, 4, 5, 5), (11, 14, 1, 1), (0, 8, 7, 7)):
        patch = make(colour, depth, (height, width), seed=5)[0]
        out, pixels = images.replace_box(
            data, images.open_picture(data, "x"), (top, left, height, width), patch, "x", "blocks"
        )
        want = array.copy()
        want[top : top + height, left : left + width] = patch
        assert np.array_equal(read_png(out), want)
        assert np.array_equal(pixels, want)
        assert png_annotations(out) == png_annotations(data)
        assert png_facts(out)[:4] == png_facts(data)[:4]


def test_replace_box_leaves_its_arguments_alone():
    array, data = make(2, 8)
    kept, patch = array.copy(), np.zeros((4, 4, 3), np.uint8)
    images.replace_box(data, images.open_picture(data, "x"), (1, 1, 4, 4), patch, "x", "blocks")
    assert np.array_equal(array, kept)
    assert not patch.any()


@pytest.mark.parametrize("gray", [False, True])
def test_replace_box_of_a_jpeg(gray):
    data = jpeg_of(40, 50, quality=92)
    if gray:
        stream = io.BytesIO()
        with Image.open(io.BytesIO(data)) as image:
            image.convert("L").save(stream, "JPEG")
        data = stream.getvalue()
    pixels = images.decode(data, "x")
    patch = 255 - pixels[9:29, 12:32]
    for mode in ("blocks", "reencode"):
        out, after = images.replace_box(data, images.open_picture(data, "x"), (9, 12, 20, 20), patch, "x", mode)
        assert np.array_equal(images.decode(out, "x"), after)
        assert after.shape == pixels.shape
        assert np.abs(after[9:29, 12:32].astype(int) - patch).mean() < 25
        assert mode == "reencode" or jpeg_block_faults(data, out, (9, 12, 20, 20)) == []


def test_encode_whole_takes_another_size():
    for colour, depth in KINDS:
        _, data = make(colour, depth)
        new = make(colour, depth, (5, 4), seed=3)[0]
        assert np.array_equal(read_png(images.encode_whole(data, new, "x")), new)
    new = np.full((5, 7, 3), 99, np.uint8)
    assert images.decode(images.encode_whole(jpeg_of(), new, "x"), "x").shape == (5, 7, 3)


def test_palette_entries_beyond_the_file_are_black():
    """Decoders differ on such files; what matters is that nothing crashes and the box keeps to the palette."""
    array = np.array([[0, 3], [1, 200]], np.uint8)
    data = write_png(array, 8, 3, palette=bytes([250, 0, 0, 0, 250, 0]))
    rgb = images.to_rgb_box(data, array, "x")
    assert rgb[1, 1].tolist() == [0, 0, 0]
    out = images.from_rgb_box(data, array, np.full((2, 2, 3), 255, np.uint8), "x")
    assert out.max() <= 1


def test_text_bombs_in_annotations_are_not_unpacked():
    bomb = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    for colour, depth, interlaced in ((2, 8, False), (0, 8, True), (0, 2, False)):
        array, data = make(colour, depth, before=[(b"zTXt", bomb)], interlaced=interlaced)
        assert np.array_equal(images.decode(data, "x"), array)
