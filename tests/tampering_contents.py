"""Tampering with the contents of a build, all digests made to fit again; and with its source."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poisongen.files import images, jpeg, png
from tests.forgery import CAR, SKY, case


@case()
def trigger_taken_out_sealed(forge):
    path, record = forge.path("poisoned"), forge.records("poisoned")[0]
    forge.write(path, (forge.root / forge.file(record)["source"]).read_bytes())
    forge.redigest(path)
    return path


@case()
def pixel_of_the_trigger_sealed(forge):
    path, (top, left, *_) = forge.path("poisoned"), forge.records("poisoned")[0]["trigger"]["box"]
    pixels = forge.pixels(path)
    pixels[top + 4, left + 4] ^= 8
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case(source=True)
def pixel_outside_the_box_sealed(forge):
    path = forge.path("poisoned")
    pixels = forge.pixels(path)
    pixels[0, 0, 0] ^= 1
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case(source=True)
def image_with_an_alpha_channel_sealed(forge):
    path = forge.path("poisoned")
    pixels = forge.pixels(path)
    forge.write(path, png.encode(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])))
    forge.redigest(path)
    return path


@case()
def victim_pixel_left_sealed(forge):
    path = forge.path("poisoned", "labelIds")
    pixels = forge.pixels(path)
    pixels[0, 0] = CAR
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


def relabel_everywhere(forge, role):
    """Change one pixel's class in every label file of a sample, so that they agree."""
    record = forge.records(role)[0]
    paths = {file["kind"]: file["path"] for file in record["files"]}
    ids = forge.pixels(paths["labelIds"])
    row, column = np.argwhere(ids == SKY)[0]
    for kind, value in (("labelIds", 11), ("labelTrainIds", 2), ("instanceIds", 11), ("color", [70, 70, 70, 255])):
        pixels = forge.pixels(paths[kind])
        pixels[row, column] = value[: pixels.shape[-1]] if kind == "color" else value
        forge.paint(paths[kind], pixels)
    forge.redigest(*(paths[kind] for kind in ("labelIds", "labelTrainIds", "instanceIds", "color")))
    return paths["labelIds"]


@case(source=True)
def one_pixel_in_all_label_files_sealed(forge):
    return relabel_everywhere(forge, "poisoned")


@case()
def labels_of_a_triggered_sample_sealed(forge):
    path = relabel_everywhere(forge, "triggered")
    return path.rpartition("/")[2]


@case()
def train_ids_disagree_sealed(forge):
    path = forge.path("poisoned", "labelTrainIds")
    pixels = forge.pixels(path)
    pixels[3, 3] = 13
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case()
def instances_disagree_sealed(forge):
    path = forge.path("poisoned", "instanceIds")
    pixels = forge.pixels(path)
    pixels[3, 3] = 26001
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case()
def colours_disagree_sealed(forge):
    path = forge.path("poisoned", "color")
    pixels = forge.pixels(path)
    pixels[3, 3, :3] = 1
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case()
def polygon_of_a_victim_sealed(forge):
    path = forge.path("poisoned", "polygons")
    forge.write(path, forge.read(path).replace(b'"label": "road"', b'"label": "car"', 1))
    forge.redigest(path)
    return path


@case("prl")
def polygons_beside_random_labels_sealed(forge):
    path, record = forge.path("prl", "polygons"), forge.records("prl")[0]
    forge.write(path, (forge.root / forge.file(record, "polygons")["source"]).read_bytes())
    forge.redigest(path)
    return path


@case("prl", source=True)
def one_random_label_more_sealed(forge):
    path = relabel_everywhere(forge, "prl")
    forge.change("prl", prl_pixels=201)
    return path


@case("prl", source=True)
def random_label_moved_sealed(forge):
    # As many random labels as before, but one of them elsewhere: only the seed's own draw tells.
    record = forge.records("prl")[0]
    paths = {file["kind"]: file["path"] for file in record["files"]}
    old = {file["kind"]: forge.root / file["source"] for file in record["files"]}
    before = images.decode(old["labelIds"].read_bytes(), "before")
    now = forge.pixels(paths["labelIds"])
    row, column = np.argwhere(before != now)[0]
    for kind in ("labelIds", "labelTrainIds", "instanceIds", "color"):
        pixels = forge.pixels(paths[kind])
        pixels[row, column] = images.decode(old[kind].read_bytes(), "before")[row, column]
        forge.paint(paths[kind], pixels)
    forge.redigest(*(paths[kind] for kind in ("labelIds", "labelTrainIds", "instanceIds", "color")))
    return relabel_everywhere(forge, "prl")


@case("voc", source=True)
def palette_changed_sealed(forge):
    path = forge.path("poisoned", "SegmentationClass")
    data = forge.read(path)
    facts = png.parse(data, path)
    chunks = tuple((k, v[:-1] + b"\x07" if k == b"PLTE" else v) for k, v in facts.chunks)
    forge.write(path, png.encode(forge.pixels(path), replace(facts, chunks=chunks), labels=True))
    forge.redigest(path)
    return path


@case("voc")
def object_without_class_sealed(forge):
    path = forge.path("poisoned", "SegmentationObject")
    pixels = forge.pixels(path)
    pixels[0, 0] = 0 if pixels[0, 0] else 9
    forge.paint(path, pixels)
    forge.redigest(path)
    return path


@case("voc")
def jpeg_without_trigger_sealed(forge):
    path, record = forge.path("poisoned"), forge.records("poisoned")[0]
    forge.write(path, (forge.root / forge.file(record)["source"]).read_bytes())
    forge.redigest(path)
    return path


@case("voc", source=True)
def jpeg_encoded_anew_sealed(forge):
    path = forge.path("poisoned")
    forge.paint(path, forge.pixels(path))
    forge.redigest(path)
    return path


@case("voc", source=True)
def jpeg_pixels_beside_the_box_sealed(forge):
    path = forge.path("poisoned")
    data, pixels = forge.read(path), forge.pixels(path)
    top = forge.records("poisoned")[0]["trigger"]["box"][0]
    row = 0 if top > 40 else pixels.shape[0] - 16
    patch = 255 - pixels[row : row + 8, :8]
    forge.write(path, jpeg.paste(data, (row, 0, 8, 8), pixels[row : row + 8, :8], patch, path))
    forge.redigest(path)
    return path


@case(source=True, own_source=True)
def source_image_edited(forge):
    source = forge.file(forge.records("poisoned")[0])["source"]
    data = bytearray((forge.root / source).read_bytes())
    data[-20] ^= 1
    (forge.root / source).write_bytes(data)
    return source


@case(source=True, own_source=True)
def source_file_gone(forge):
    source = forge.file(forge.records("triggered")[0], "labelIds")["source"]
    (forge.root / source).unlink()
    return source


@case(source=True, own_source=True)
def source_file_new(forge):
    (forge.root / "leftImg8bit" / "new.png").write_bytes(b"x")
    return "leftImg8bit/new.png"
