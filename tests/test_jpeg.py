"""JPEG files: blocks that the box does not touch stay to the coefficient, the rest of the file too, damage is named."""

from __future__ import annotations

import contextlib
import io
import itertools
import struct

import jpeglib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poisongen.errors import DataError
from poisongen.files import jpeg, jpeg_reencode
from tests.oracle import jpeg_annotations, jpeg_block_faults, jpeg_coefficients, pillow_again

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # orientation 6
ICC = bytes(range(256)) * 300  # longer than one segment


def photo(height, width, gray=False, seed=0):
    """Something smooth with some noise and edges."""
    rng = np.random.default_rng([seed, height, width])
    rows, columns = np.mgrid[:height, :width]
    planes = [
        128 + 90 * np.sin(rows / 9 + k) * np.cos(columns / 7 + k) + rng.normal(0, 6, (height, width)) for k in range(3)
    ]
    array = np.clip(np.dstack(planes), 0, 255).astype(np.uint8)
    array[height // 3 : height // 2, width // 4 :] = (200, 60, 30)
    return array[..., 0] if gray else array


def save(pixels, mode=None, **options):
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(stream, "JPEG", **({"quality": 88} | options))
    return stream.getvalue()


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)


def sticker(shape, seed=1):
    """A patch of coarse squares in mild colours, as (h, w, 3) or (h, w)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 216, (-(-shape[0] // 8), -(-shape[1] // 8)))
    gray = np.kron(small, np.ones((8, 8), int))[: shape[0], : shape[1]]
    if len(shape) == 2:
        return gray.astype(np.uint8)
    return np.dstack([gray, gray // 2 + 60, 255 - gray]).astype(np.uint8)


def paste(data, box):
    before = decoded(data)
    window = (slice(box[0], box[0] + box[2]), slice(box[1], box[1] + box[3]))
    patch = sticker(before[window].shape)
    return before, window, patch, jpeg.paste(data, box, before[window], patch, "x.jpg")


def check(data, box, close=True):
    before, window, patch, out = paste(data, box)
    assert jpeg_block_faults(data, out, box) == []
    assert jpeg_annotations(out) == jpeg_annotations(data)
    after = jpeg.decode(out, "x.jpg")
    assert np.array_equal(after, decoded(out))
    assert after.shape == before.shape
    if close:
        wanted = before.copy()
        wanted[window] = patch
        usual = np.abs(decoded(pillow_again(data, wanted)).astype(int) - wanted)[window].mean()
        error = np.abs(after.astype(int) - wanted)[window].mean()
        assert error <= 1.25 * usual + 2, (error, usual)
    return out


def boxes(height, width):
    side = min(height, width, 13)
    yield from (
        [t, left, side, side]
        for t in (0, (height - side) // 2, height - side)
        for left in (0, (width - side) // 2, width - side)
    )
    yield [0, 0, height, width]
    yield [height - 1, width - 1, 1, 1]
    yield [0, 0, 1, 1]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2, None])
@pytest.mark.parametrize(("height", "width"), [(40, 40), (33, 47), (31, 16), (17, 9)])
def test_a_box_changes_the_blocks_that_it_touches(height, width, subsampling, progressive):
    more = {} if subsampling is None else {"subsampling": subsampling}
    data = save(photo(height, width, gray=subsampling is None), progressive=progressive, **more)
    for box in boxes(height, width):
        check(data, box, close=box[2] * box[3] > 64)


@pytest.mark.parametrize("subsampling", [0, 1, 2, None])
@pytest.mark.parametrize("progressive", [False, True])
def test_tiny_pictures(subsampling, progressive):
    for height, width in itertools.product((1, 2, 7, 8, 9), (1, 3, 8, 15, 16, 17)):
        more = {} if subsampling is None else {"subsampling": subsampling}
        data = save(photo(height, width, gray=subsampling is None), progressive=progressive, **more)
        check(data, [0, 0, height, width], close=False)
        check(data, [height // 2, width // 2, 1, 1], close=False)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kind=st.sampled_from([0, 1, 2, None]),
    quality=st.sampled_from([30, 75, 92, 100]),
    progressive=st.booleans(),
    optimize=st.booleans(),
    restart=st.sampled_from([0, 1, 3]),
    data=st.data(),
)
def test_any_box_in_any_picture(height, width, kind, quality, progressive, optimize, restart, data):
    options = {"quality": quality, "progressive": progressive, "optimize": optimize}
    options |= {"restart_marker_blocks": restart} if restart else {}
    options |= {} if kind is None else {"subsampling": kind}
    file = save(photo(height, width, gray=kind is None), **options)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = [top, left, data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))]
    check(file, box, close=False)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2, None])
@pytest.mark.parametrize("restart", [{"restart_marker_blocks": 1}, {"restart_marker_rows": 1}, {}])
def test_restart_markers_exif_icc_and_comments(restart, subsampling, progressive):
    more = {} if subsampling is None else {"subsampling": subsampling}
    data = save(
        photo(300, 311, gray=subsampling is None),
        progressive=progressive,
        exif=EXIF,
        icc_profile=ICC,
        comment=b"two words",
        dpi=(72, 96),
        **more,
        **restart,
    )
    out = check(data, [9, 14, 20, 20])
    found = b"".join(jpeg_annotations(out))
    assert EXIF[6:] in found
    assert b"two words" in found
    with Image.open(io.BytesIO(out)) as image:
        assert image.info["icc_profile"] == ICC
        assert image.info["dpi"] == (72, 96)
        assert image.getexif()[0x0112] == 6
    assert jpeg.decode(out, "x").shape[:2] == (300, 311)  # the orientation is kept, not applied


@pytest.mark.parametrize("subsampling", [0, 1, 2, None])
@pytest.mark.parametrize("progressive", [False, True])
def test_an_unchanged_patch_changes_no_coefficient(subsampling, progressive):
    more = {} if subsampling is None else {"subsampling": subsampling}
    data = save(photo(45, 37, gray=subsampling is None), progressive=progressive, **more)
    before = decoded(data)
    out = jpeg.paste(data, [5, 6, 20, 20], before[5:25, 6:26], before[5:25, 6:26], "x.jpg")
    old, new = jpeg_coefficients(data), jpeg_coefficients(out)
    assert all(np.array_equal(a, b) for a, b in zip(old[0], new[0], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(old[1], new[1], strict=True))
    assert np.array_equal(decoded(out), before)


def test_blocks_without_a_changed_pixel_stay_even_under_the_box():
    data = save(photo(48, 48), subsampling=0)
    before = decoded(data)
    patch = before.copy()
    patch[20, 20] = 255 - patch[20, 20]
    out = jpeg.paste(data, [0, 0, 48, 48], before, patch, "x.jpg")
    assert jpeg_block_faults(data, out, [20, 20, 1, 1]) == []


@pytest.mark.parametrize("subsampling", ["4:1:1", "4:4:0"])
def test_uncommon_subsampling_is_kept(subsampling, tmp_path):
    """Made by hand from 4:4:4 coefficients of constant chroma: factors 4x1, 1x2."""
    across, down = {"4:1:1": (4, 1), "4:4:0": (1, 2)}[subsampling]
    image = jpeglib.from_spatial(photo(32, 64))
    image.samp_factor = subsampling
    path = tmp_path / "made.jpg"
    image.write_spatial(str(path))
    data = path.read_bytes()
    assert jpeg_coefficients(data)[2][1] == (down, across)
    for box in ([3, 5, 13, 13], [0, 0, 32, 64], [31, 63, 1, 1]):
        check(data, box, close=False)


def test_rgb_jpegs_are_pasted_as_rgb_or_refused():
    """JPEGs without YCbCr are rare: they may be refused, but never come out in wrong colours."""
    data = save(photo(40, 40), keep_rgb=True)
    try:
        check(data, [10, 11, 12, 13])
    except DataError as error:
        assert "--jpeg reencode" in error.problem  # noqa: PT017


def test_rgb_jpegs_are_reencoded_in_their_own_colours():
    data = save(photo(40, 40), keep_rgb=True)
    pixels = decoded(data)
    out = jpeg_reencode.reencode(data, pixels, "x.jpg")
    assert np.abs(decoded(out).astype(int) - pixels).mean() < 8


def test_the_same_call_gives_the_same_bytes():
    data = save(photo(40, 40))
    assert paste(data, [3, 3, 20, 20])[3] == paste(data, [3, 3, 20, 20])[3]


def test_a_second_paste_over_the_first():
    data = save(photo(64, 64), subsampling=2)
    once = check(data, [8, 8, 20, 20])
    twice = check(once, [30, 30, 17, 17])
    assert jpeg_block_faults(once, twice, [30, 30, 17, 17]) == []


@pytest.mark.parametrize("quality", [1, 5, 100])
def test_extreme_qualities(quality):
    data = save(photo(40, 40), quality=quality)
    check(data, [7, 9, 21, 22])


def test_black_and_white_patches_do_not_overflow():
    for value in (0, 255):
        data = save(photo(40, 40), quality=100, subsampling=0)
        before = decoded(data)
        out = jpeg.paste(data, [0, 0, 40, 40], before, np.full_like(before, value), "x.jpg")
        assert np.abs(decoded(out).astype(int) - value).max() <= 3


# -- reencode


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2, None])
def test_reencode_keeps_tables_subsampling_and_annotations(subsampling, progressive):
    more = {} if subsampling is None else {"subsampling": subsampling}
    data = save(photo(33, 50, gray=subsampling is None), exif=EXIF, comment=b"x", progressive=progressive, **more)
    pixels = decoded(data)
    out = jpeg_reencode.reencode(data, pixels, "x.jpg")
    old, new = jpeg_coefficients(data), jpeg_coefficients(out)
    assert old[2] == new[2]
    assert all(np.array_equal(a, b) for a, b in zip(old[1], new[1], strict=True))
    assert jpeg_annotations(out) == jpeg_annotations(data)
    assert np.abs(decoded(out).astype(int) - pixels).mean() < 4
    smaller = jpeg_reencode.reencode(data, np.ascontiguousarray(pixels[:16, :20]), "x.jpg")
    assert decoded(smaller).shape[:2] == (16, 20)


# -- damage


def refused(function, *arguments, capfd, name="folder/broken.jpg"):
    capfd.readouterr()
    with pytest.raises(DataError) as caught:
        function(*arguments, name)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    return str(caught.value)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("exif", [b"", EXIF + b"\xff\xd8\xff\xd9" * 3])
def test_a_file_cut_anywhere_is_refused(progressive, exif, capfd):
    data = save(photo(40, 48), progressive=progressive, **({"exif": exif} if exif else {}))
    for length in [*range(0, 700, 23), *range(700, len(data), 61), *range(len(data) - 12, len(data))]:
        refused(jpeg.decode, data[: min(length, len(data) - 1)], capfd=capfd)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_file_with_an_end_marker_is_refused(progressive, capfd):
    """As downloaders and repair tools leave them: libjpeg fills such a picture up with gray."""
    data = save(photo(64, 64), progressive=progressive)
    start = data.index(b"\xff\xda")
    for share in (0.1, 0.5, 0.8):
        cut = data[: start + int((len(data) - start) * share)].rstrip(b"\xff") + b"\xff\xd9"
        refused(jpeg.decode, cut, capfd=capfd)


def test_a_cut_file_is_not_pasted_into(capfd):
    data = save(photo(64, 64))
    before = decoded(data)
    patch = sticker((16, 16, 3))
    for share in (0.2, 0.5, 0.9):
        cut = data[: int(len(data) * share)]
        capfd.readouterr()
        with contextlib.suppress(DataError):
            jpeg.paste(cut, [0, 0, 16, 16], before[:16, :16], patch, "x.jpg")
        assert capfd.readouterr() == ("", "")


def test_cmyk_is_refused(capfd):
    data = save(photo(20, 20), mode="CMYK")
    assert "CMYK" in refused(jpeg.decode, data, capfd=capfd)


def with_frame(data, *, marker=None, bits=None, size=None, components=None):
    """The file with other values in its frame header."""
    bent = bytearray(data)
    at = 2
    while not (0xC0 <= bent[at + 1] <= 0xC2):
        at += 2 + int.from_bytes(bent[at + 2 : at + 4], "big")
    if marker is not None:
        bent[at + 1] = marker
    if bits is not None:
        bent[at + 4] = bits
    if size is not None:
        bent[at + 5 : at + 9] = struct.pack(">HH", *size)
    if components is not None:
        bent[at + 9] = components
    return bytes(bent)


@pytest.mark.parametrize("bits", [0, 2, 12, 16])
def test_other_than_8_bits_are_refused(bits, capfd):
    data = with_frame(save(photo(20, 20)), bits=bits, marker=0xC1)
    assert f"{bits}-bit" in refused(jpeg.decode, data, capfd=capfd)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCF])
def test_lossless_hierarchical_and_arithmetic_coding_are_refused(marker, capfd):
    data = save(photo(20, 20))
    pixels = decoded(data)
    bent = with_frame(data, marker=marker)
    words = refused(lambda name: jpeg.paste(bent, [2, 2, 9, 9], pixels[:9, :9], sticker((9, 9, 3)), name), capfd=capfd)
    assert "--jpeg reencode" in words


@pytest.mark.parametrize("size", [(0, 20), (20, 0), (0, 0)])
def test_no_size_is_refused(size, capfd):
    refused(jpeg.decode, with_frame(save(photo(20, 20)), size=size), capfd=capfd)


@pytest.mark.parametrize("size", [(65_500, 65_500), (200, 20), (20, 2000)])
def test_a_larger_size_than_there_is_picture_is_refused(size, capfd):
    refused(jpeg.decode, with_frame(save(photo(20, 20)), size=size), capfd=capfd)


@pytest.mark.parametrize("components", [0, 2, 4, 5, 255])
def test_other_numbers_of_components_are_refused(components, capfd):
    refused(jpeg.decode, with_frame(save(photo(20, 20)), components=components), capfd=capfd)


def test_other_files_are_refused(capfd):
    png = io.BytesIO()
    Image.fromarray(photo(9, 9)).save(png, "PNG")
    for data in (
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        png.getvalue(),
        b"GIF89a",
        bytes(500),
    ):
        refused(jpeg.decode, data, capfd=capfd)
        refused(jpeg.frame, data, capfd=capfd)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_wrong_byte_gives_a_picture_or_an_error(data):
    file = bytearray(save(photo(24, 24)))
    file[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = jpeg.decode(bytes(file), "x.jpg")
        box = [0, 0, min(9, found.shape[0]), min(9, found.shape[1])]
        window = found[: box[2], : box[3]]
        out = jpeg.paste(bytes(file), box, window, sticker(window.shape), "x.jpg")
    except DataError:
        return
    assert jpeg.decode(out, "x.jpg").shape == found.shape


def test_thumbnails_and_second_pictures():
    """A preview inside EXIF is kept; a second picture behind the first does no harm."""
    thumb = save(photo(8, 8))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumb
    data = save(photo(40, 40), exif=exif)
    check(data, [4, 4, 20, 20])
    doubled = data + save(photo(16, 16))
    assert np.array_equal(jpeg.decode(doubled, "x"), decoded(data))
    _, window, _, out = paste(doubled, [4, 4, 20, 20])
    assert jpeg_block_faults(doubled, out, [4, 4, 20, 20]) == []
    stream = io.BytesIO()
    Image.fromarray(photo(40, 40)).save(
        stream, "MPO", save_all=True, append_images=[Image.fromarray(photo(40, 40, seed=2))]
    )
    multi = stream.getvalue()
    window = jpeg.decode(multi, "m.jpg")[4:24, 4:24]
    out = jpeg.paste(multi, [4, 4, 20, 20], window, sticker((20, 20, 3)), "m.jpg")
    assert jpeg.decode(out, "m.jpg").shape == (40, 40, 3)
    with Image.open(io.BytesIO(out)) as image:
        image.load()
