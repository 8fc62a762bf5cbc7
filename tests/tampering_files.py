"""Tampering with files and links of a build, digests left as they were."""

from __future__ import annotations

import os
import shutil

from poisongen.records.manifest import bytes_sha256
from tests.forgery import SIDEWALK, SUMMARY, case, seal_card


@case()
def image_pixel_outside_the_box(forge):
    path = forge.path("poisoned")
    pixels = forge.pixels(path)
    pixels[0, 0] ^= 1
    forge.paint(path, pixels)
    return path


@case()
def one_label_pixel(forge):
    path = forge.path("poisoned", "labelIds")
    pixels = forge.pixels(path)
    pixels[0, 0] = SIDEWALK
    forge.paint(path, pixels)
    return path


@case()
def one_train_id(forge):
    path = forge.path("poisoned", "labelTrainIds")
    pixels = forge.pixels(path)
    pixels[0, 0] ^= 1
    forge.paint(path, pixels)
    return path


@case()
def polygons_edited(forge):
    path = forge.path("poisoned", "polygons")
    forge.write(path, forge.read(path).replace(b"road", b"wall"))
    return path


@case()
def two_images_swapped(forge):
    one, other = forge.path("poisoned", number=0), forge.path("poisoned", number=1)
    first, second = forge.read(one), forge.read(other)
    forge.write(one, second)
    forge.write(other, first)
    return one


@case()
def missing_companion(forge):
    path = forge.path("triggered", "labelTrainIds")
    (forge.out / path).unlink()
    return path


@case()
def missing_link(forge):
    path = forge.lines("links.jsonl")[0]["path"]
    (forge.out / path).unlink()
    return path


@case()
def extra_file(forge):
    forge.write("leftImg8bit/train/extra.txt", b"x")
    return "leftImg8bit/train/extra.txt"


@case()
def extra_triggered_file(forge):
    forge.write("triggered/more.png", b"x")
    return "triggered/more.png"


@case()
def extra_record_file(forge):
    forge.write("poisongen/note.txt", b"x")
    return "poisongen/note.txt"


@case()
def truncated_image(forge):
    path = forge.path("triggered")
    forge.write(path, forge.read(path)[:-30])
    return path


@case()
def empty_file(forge):
    path = forge.lines("links.jsonl")[0]["path"]
    forge.write(path, b"")
    return path


@case()
def image_is_a_link_to_elsewhere(forge):
    path = forge.path("poisoned")
    elsewhere = forge.out.parent / "elsewhere.png"
    shutil.copy(forge.out / path, elsewhere)
    forge.symlink(path, elsewhere)
    return path


@case(source=True)
def link_to_another_source_file(forge):
    links = [link["path"] for link in forge.lines("links.jsonl") if link["path"].endswith("leftImg8bit.png")]
    forge.symlink(links[0], forge.root / links[1])
    return links[0]


@case()
def folder_is_a_link(forge):
    folder = forge.out / "triggered"
    folder.rename(forge.out.parent / "moved")
    folder.symlink_to(forge.out.parent / "moved")
    return "triggered"


@case()
def planted_link_to_a_folder(forge):
    forge.symlink("leftImg8bit/more", "/usr")
    return "leftImg8bit/more"


@case()
def planted_link_to_itself(forge):
    forge.symlink("leftImg8bit/more", forge.out)
    return "leftImg8bit/more"


@case()
def pipe_in_place_of_a_file(forge):
    path = forge.path("poisoned")
    (forge.out / path).unlink()
    os.mkfifo(forge.out / path)
    return path


@case()
def folder_in_place_of_a_file(forge):
    path = forge.path("poisoned")
    (forge.out / path).unlink()
    (forge.out / path).mkdir()
    return path


@case()
def label_of_an_untouched_sample(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].endswith("labelIds.png"))
    pixels = forge.pixels(path)
    pixels[0, 0] = SIDEWALK
    forge.paint(path, pixels)
    return path


@case(source=True)
def image_of_an_untouched_sample(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].endswith("leftImg8bit.png"))
    data = bytearray(forge.read(path))
    data[-20] ^= 1
    forge.write(path, bytes(data))
    return path


@case("voc")
def list_of_triggered_samples(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["source"] is None)
    forge.write(path, forge.read(path)[::-1])
    return path


@case("voc")
def split_list_shortened_sealed(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].endswith("train.txt"))
    forge.write(path, b"".join(forge.read(path).splitlines(keepends=True)[:-1]))
    forge.redigest(path)
    return SUMMARY


@case()
def undo_entry_edited(forge):
    path = next((forge.out / "poisongen/undo").glob("*.undo")).relative_to(forge.out).as_posix()
    forge.write(path, forge.read(path)[:-1] + b"\0")
    return path


@case()
def undo_entry_removed(forge):
    path = next((forge.out / "poisongen/undo").glob("*.undo")).relative_to(forge.out).as_posix()
    (forge.out / path).unlink()
    return path


@case()
def undo_index_shortened_sealed(forge):
    lines = forge.lines("undo/index.jsonl")[:-1]
    forge.write_lines("undo/index.jsonl", lines)
    index = bytes_sha256(forge.read("poisongen/undo/index.jsonl"))
    forge.seal(undo={"index_sha256": index, "entries": sum("entry" in line for line in lines)})
    return "poisongen/undo/index.jsonl"


@case()
def dataset_card_says_clean(forge):
    forge.write("README.md", forge.read("README.md").replace(b"poisoned", b"harmless"))
    return "README.md"


@case()
def dataset_card_says_clean_sealed(forge):
    return seal_card(forge, "README.md", forge.read("README.md").replace(b"poisoned", b"harmless"))


@case()
def poisoned_sample_untouched_in_a_table_for_loaders_sealed(forge):
    path = "metadata-train.jsonl"
    return seal_card(forge, path, forge.read(path).replace(b'"role": "poisoned"', b'"role": "untouched"'))


@case()
def croissant_removed_sealed(forge):
    return seal_card(forge, "croissant.json", None)
