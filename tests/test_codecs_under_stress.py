"""Faults that a review of `poisongen/files` found: threads, odd tables, odd palettes, sizes, edges and memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from poisongen.errors import DataError
from poisongen.files import images, jpeg, jpeg_reencode, png
from poisongen.files.quiet import quiet
from tests.oracle import (
    SIGNATURE,
    jpeg_coefficients,
    pillow_again,
    png_chunk,
    png_stream,
    read_png,
    write_png,
)


def jpeg_of(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_threads_that_overlap_leave_standard_error_as_it_was():
    inside, leave, before = threading.Event(), threading.Event(), os.fstat(2)

    def second():
        with quiet():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=second)
    with quiet():
        thread.start()
        inside.wait(0.3)
    leave.set()
    thread.join()
    after = os.fstat(2)
    assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)


def test_threads_do_not_answer_for_each_other():
    array = noise(30, 30)
    head = struct.pack(">IIBBBBB", 30, 25, 8, 0, 0, 0, 0)
    surplus = SIGNATURE + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(png_stream(array, 8, False)))
    surplus += png_chunk(b"IEND", b"")
    good = png.encode(noise(256, 256))

    def accepted(data):
        try:
            png.decode(data, "x.png")
        except DataError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(accepted, [good, surplus] * 300))
    assert found == [True, False] * 300


def test_words_of_others_on_standard_error_do_not_condemn_a_picture(capfd):
    array, done = noise(500, 500, 3), threading.Event()
    data = png.encode(array)

    def chatter():
        while not done.wait(0.0005):
            os.write(2, b"progress\n")

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        for _ in range(20):
            assert np.array_equal(png.decode(data, "x.png"), array)
    finally:
        done.set()
        thread.join()
    capfd.readouterr()


def test_decoding_without_standard_error():
    code = "import numpy as np; from poisongen.files import png; png.decode(png.encode(np.ones((9, 9), np.uint8)), 'x')"
    assert subprocess.run(["/bin/sh", "-c", f'"{sys.executable}" -c "{code}" 2>&-'], check=False).returncode == 0


def test_instance_maps_of_16_bits_stay_small():
    rows, columns = np.mgrid[:256, :512]
    array = (26_000 + rows // 40 * 7 + columns // 60).astype(np.uint16)
    out = png.encode(array, labels=True)
    assert np.array_equal(read_png(out), array)
    assert len(out) < array.nbytes / 50


def with_table_numbers(data, numbers):
    """The JPEG with its quantisation tables called by other numbers."""
    out, at = bytearray(data), 2
    while out[at + 1] != 0xDA:
        length = int.from_bytes(out[at + 2 : at + 4], "big")
        if out[at + 1] == 0xDB:
            for place in range(at + 4, at + 2 + length, 65):
                out[place] = numbers[out[place]]
        if out[at + 1] in (0xC0, 0xC2):
            for place in range(at + 12, at + 12 + 3 * out[at + 9], 3):
                out[place] = numbers[out[place]]
        at += 2 + length
    return bytes(out)


@pytest.mark.parametrize("numbers", [(0, 1), (0, 2), (1, 0), (1, 3), (2, 3)])
def test_reencode_gives_each_component_its_own_table(numbers):
    data = with_table_numbers(jpeg_of(noise(40, 40, 3), quality=60, subsampling=0), numbers)
    old, new = jpeg_coefficients(data), jpeg_coefficients(jpeg_reencode.reencode(data, noise(40, 40, 3), "x.jpg"))
    assert not np.array_equal(old[1][0], old[1][1])
    assert all(np.array_equal(a, b) for a, b in zip(old[1], new[1], strict=True))


@pytest.mark.parametrize("side", [11_800, 14_000])
def test_a_whole_jpeg_of_too_many_pixels_is_refused(side):
    data = jpeg_of(np.zeros((16, 16), np.uint8))
    at = data.index(b"\xff\xc0")
    with pytest.raises(DataError, match=f"claims {side}x{side}"):
        jpeg.decode(data[: at + 5] + struct.pack(">HH", side, side) + data[at + 9 :], "x.jpg")


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize(("height", "width"), [(33, 47), (45, 41), (57, 50)])
def test_a_box_at_the_edge_is_as_good_as_in_a_whole_encoding(height, width, subsampling):
    data = jpeg_of(np.full((height, width, 3), 230, np.uint8), quality=75, subsampling=subsampling)
    before = jpeg.decode(data, "x.jpg")
    wanted = before.copy()
    wanted[-20:, -20:] = (20, 60, 40)
    box = (height - 20, width - 20, 20, 20)
    out = jpeg.decode(jpeg.paste(data, box, before[-20:, -20:], wanted[-20:, -20:], "x.jpg"), "x.jpg")
    usual = images.decode(pillow_again(data, wanted), "x.jpg")
    error, least = (np.abs(a.astype(int) - wanted)[-16:, -16:].mean() for a in (out, usual))
    assert error <= 1.2 * least + 0.3


def test_a_palette_longer_than_the_bit_depth_gives_only_entries_that_can_be_stored():
    array = noise(6, 6) % 16
    data = write_png(array, 4, 3, palette=noise(768, seed=1).tobytes())
    new = images.from_rgb_box(data, array, noise(6, 6, 3, seed=2), "x.png")
    assert new.max() < 16
    assert np.array_equal(
        read_png(images.replace_box(data, images.open_picture(data, "x"), (0, 0, 6, 6), new, "x.png", "blocks")[0]), new
    )


@pytest.mark.parametrize("palette", [b"", b"ab"])
def test_a_palette_without_a_colour_is_named(palette):
    data = write_png(np.zeros((6, 6), np.uint8), 8, 3, palette=palette)
    with pytest.raises(DataError, match=r"x\.png: .*palette"):
        images.from_rgb_box(data, np.zeros((6, 6), np.uint8), noise(6, 6, 3), "x.png")


def test_a_palette_of_too_many_colours_can_be_looked_up():
    data = write_png(noise(6, 6), 8, 3, palette=bytes(771))
    assert images.to_rgb_box(data, noise(6, 6), "x.png").shape == (6, 6, 3)


def test_a_large_box_in_a_palette_picture_takes_little_memory():
    data = write_png(np.zeros((6, 6), np.uint8), 8, 3, palette=noise(768).tobytes())
    old, rgb = np.zeros((200, 200), np.uint8), noise(200, 200, 3)
    tracemalloc.start()
    try:
        images.from_rgb_box(data, old, rgb, "x.png")
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
