"""Tampering with what decoders pass over and trainers need not: annotations, surplus bytes, formatting, companions."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
from PIL import Image

from poisongen.files import png
from poisongen.records.manifest import bytes_sha256
from tests.forgery import case


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def exif(orientation: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def rewrite(forge, path, change):
    """Give a file other bytes and make all digests fit."""
    data = forge.read(path)
    changed = change(data)
    assert changed != data
    forge.write(path, changed)
    forge.redigest(path)
    return path


def before_data(added: bytes):
    """A change that puts bytes before a PNG's picture data."""
    return lambda data: data[: data.index(b"IDAT") - 4] + added + data[data.index(b"IDAT") - 4 :]


def after_start(added: bytes):
    """A change that puts bytes after a JPEG's first marker."""
    return lambda data: data[:2] + added + data[2:]


def into_idat(data: bytes, added: bytes) -> bytes:
    """Put bytes after the stream in a PNG's last IDAT chunk."""
    facts = png.parse(data, "forged")
    last = max(at for at, (kind, _) in enumerate(facts.chunks) if kind == b"IDAT")
    chunks = [(k, p + added if at == last else p) for at, (k, p) in enumerate(facts.chunks)]
    return data[:33] + b"".join(chunk(k, p) for k, p in chunks) + chunk(b"IEND", b"")


def interlaced(data: bytes) -> bytes:
    """Write a PNG's very samples once more, in Adam7's order: rows of each pass, none of them filtered."""
    facts, pixels = png.parse(data, "forged"), png.decode(data, "forged")
    assert facts.bit_depth == 8
    steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [row.tobytes() for top, left, down, across in steps for row in pixels[top::down, left::across]]
    stream = zlib.compress(b"".join(b"\0" + row for row in rows if row))
    head = data[16:28] + b"\1"
    others = b"".join(chunk(k, p) for k, p in facts.chunks if k != b"IDAT")
    return data[:8] + chunk(b"IHDR", head) + others + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


@case("voc", source=True)
def orientation_of_a_poisoned_jpeg_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), after_start(segment(0xE1, b"Exif\0\0" + exif(3))))


@case("voc", source=True)
def profile_of_a_triggered_jpeg_sealed(forge):
    return rewrite(forge, forge.path("triggered"), after_start(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(128))))


@case("voc", source=True)
def density_of_a_poisoned_jpeg_sealed(forge):
    def change(data):
        at = data.index(b"JFIF\0") + 8
        return data[:at] + b"\1\0\x48" + data[at + 3 :]

    return rewrite(forge, forge.path("poisoned"), change)


@case("voc", source=True)
def comment_in_a_triggered_jpeg_sealed(forge):
    return rewrite(forge, forge.path("triggered"), after_start(segment(0xFE, b"poisoned")))


@case("voc")
def restart_intervals_of_a_jpeg_sealed(forge):
    """An interval of none changes nothing in the picture, and can stand there as often as somebody likes."""
    return rewrite(forge, forge.path("poisoned"), after_start(segment(0xDD, b"\0\0")))


@case("voc", source=True)
def colour_transform_of_a_poisoned_jpeg_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), after_start(segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")))


@case("reencode", source=True)
def orientation_of_a_jpeg_encoded_anew_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), after_start(segment(0xE1, b"Exif\0\0" + exif(6))))


@case("scaled-voc", source=True)
def comment_in_a_scaled_jpeg_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), after_start(segment(0xFE, b"poisoned")))


@case("scaled-voc")
def bytes_after_a_scaled_jpeg_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), lambda data: data + b"poisoned")


@case("voc")
def bytes_after_a_jpeg_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), lambda data: data + b"poisoned")


@case("voc")
def comment_after_the_picture_of_a_jpeg_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), lambda data: data[:-2] + segment(0xFE, b"poisoned") + data[-2:])


@case("voc")
def second_scan_of_a_jpeg_sealed(forge):
    # Some decoders take the first scan, some the last; those that the project uses refuse it.
    path = forge.path("triggered")
    data, lines = forge.read(path), forge.lines("manifest.jsonl")
    forge.write(path, data[:-2] + data[data.index(b"\xff\xda") :])
    for file in (file for line in lines for file in line["files"] if file["path"] == path):
        file["sha256"] = bytes_sha256(forge.read(path))
    forge.write_lines("manifest.jsonl", lines)
    forge.seal()
    return path


@case("voc")
def table_that_no_component_uses_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), after_start(segment(0xDB, b"\3" + bytes(range(1, 65)))))


@case("voc")
def filling_before_a_marker_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), after_start(b"\xff" * 7))


@case()
def bytes_after_a_png_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), lambda data: data + b"poisoned")


@case()
def bytes_in_the_end_of_a_png_sealed(forge):
    return rewrite(forge, forge.path("triggered"), lambda data: data[:-12] + chunk(b"IEND", b"poisoned"))


@case()
def bytes_after_the_stream_of_a_png_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), lambda data: into_idat(data, b"poisoned"))


@case()
def bytes_after_the_stream_of_a_label_file_sealed(forge):
    return rewrite(forge, forge.path("poisoned", "labelIds"), lambda data: into_idat(data, b"poisoned"))


@case()
def interlaced_image_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), interlaced)


@case()
def interlaced_label_file_sealed(forge):
    return rewrite(forge, forge.path("poisoned", "labelIds"), interlaced)


@case(source=True)
def orientation_of_a_png_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), before_data(chunk(b"eXIf", exif(3))))


@case(source=True)
def gamma_of_a_png_sealed(forge):
    return rewrite(forge, forge.path("triggered"), before_data(chunk(b"gAMA", struct.pack(">I", 100000))))


@case(source=True)
def transparent_colour_of_a_png_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), before_data(chunk(b"tRNS", bytes(6))))


@case(source=True)
def text_after_the_data_of_a_png_sealed(forge):
    text = chunk(b"tEXt", b"Comment\0poisoned")
    return rewrite(forge, forge.path("poisoned"), lambda data: data[:-12] + text + data[-12:])


@case("voc", source=True)
def transparency_of_a_mask_sealed(forge):
    return rewrite(forge, forge.path("poisoned", "SegmentationClass"), before_data(chunk(b"tRNS", b"\0")))


@case("scaled", source=True)
def density_of_a_scaled_png_sealed(forge):
    return rewrite(forge, forge.path("poisoned"), before_data(chunk(b"pHYs", bytes(9))))


@case("derived")
def text_in_a_derived_file_sealed(forge):
    text = chunk(b"tEXt", b"Comment\0poisoned")
    return rewrite(forge, forge.path("completed", "labelTrainIds"), before_data(text))


@case("derived")
def palette_of_a_derived_file_sealed(forge):
    path = forge.path("poisoned", "labelTrainIds")
    palette = (b"PLTE", bytes(range(256)) * 3)

    def change(data):
        facts = replace(png.parse(data, path), colour_type=png.PALETTE)
        return png.encode(forge.pixels(path), replace(facts, chunks=(palette, *facts.chunks)), labels=True)

    return rewrite(forge, path, change)


@case(source=True)
def label_file_written_anew_sealed(forge):
    # A file that nothing changes in, encoded otherwise: the source's own bytes are not what lies in OUT.
    path = forge.path("triggered", "labelIds")

    def change(data):
        stream = io.BytesIO()
        Image.fromarray(forge.pixels(path)).save(stream, "PNG", compress_level=9)
        return stream.getvalue()

    rewrite(forge, path, change)
    lines = forge.lines("manifest.jsonl")
    for file in (file for line in lines for file in line["files"] if file["path"] == path):
        file["written"] = True
    forge.write_lines("manifest.jsonl", lines)
    forge.seal()
    return path


def polygons(forge, change, build_role="poisoned"):
    """Change the text of a polygon file."""
    path = forge.path(build_role, "polygons")
    return rewrite(forge, path, lambda data: change(data.decode()).encode())


@case()
def polygon_key_twice_sealed(forge):
    return polygons(forge, lambda text: text.replace('"label": "road"', '"label": "car",\n "label": "road"', 1))


@case(source=True)
def polygon_flag_true_for_one_sealed(forge):
    def change(text):
        document = json.loads(text)
        document["objects"][0] |= {"deleted": True}
        return json.dumps(document, indent=4)

    return polygons(forge, change)


@case()
def polygons_formatted_otherwise_sealed(forge):
    return polygons(forge, lambda text: json.dumps(json.loads(text)))


@case()
def polygons_with_a_line_feed_more_sealed(forge):
    return polygons(forge, lambda text: text + "\n")


def first_point_moved(text):
    document = json.loads(text)
    document["objects"][0]["polygon"][0][0] += 1
    return json.dumps(document, indent=4)


@case(source=True)
def polygon_point_moved_sealed(forge):
    return polygons(forge, first_point_moved)


@case("scaled", source=True)
def polygon_point_moved_in_a_scaled_dataset_sealed(forge):
    return polygons(forge, first_point_moved)


@case("scaled", source=True)
def polygon_renamed_in_a_scaled_dataset_sealed(forge):
    return polygons(forge, lambda text: text.replace('"label": "sky"', '"label": "building"', 1), "completed")


@case("scaled")
def polygon_size_in_a_scaled_dataset_sealed(forge):
    return polygons(forge, lambda text: text.replace('"imgHeight": 40', '"imgHeight": 80'))


@case("voc", source=True)
def object_number_swapped_sealed(forge):
    path = forge.path("poisoned", "SegmentationObject")
    pixels = forge.pixels(path)
    number = next(n for n in np.unique(pixels).tolist() if n not in (0, 255))
    pixels[pixels == number] = number + 1
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case(source=True)
def instance_number_swapped_sealed(forge):
    path = forge.path("poisoned", "instanceIds")
    pixels = forge.pixels(path)
    number = next(n for n in np.unique(pixels).tolist() if n >= 1000)
    pixels[pixels == number] = number + 500
    forge.paint(path, pixels)
    forge.redigest(path)
    return path
