"""Tampering where one evidence stood for another: skips, undo stores, links with their own digests, unseen triggers."""

from __future__ import annotations

import base64
import io
import json
import os
import zlib

import numpy as np
from PIL import Image

from poisongen.auditing.undo_store import listing_digest
from poisongen.files import png
from poisongen.files.images import pixels_sha256
from poisongen.records.manifest import bytes_sha256, json_line
from poisongen.undo.packed import pack
from poisongen.undo.store import entry_name
from tests.forgery import MANIFEST, RECIPE, SUMMARY, case

SKIPPED, LINKS, INDEX = "poisongen/skipped.jsonl", "poisongen/links.jsonl", "poisongen/undo/index.jsonl"


def skip_lines(forge, *lines):
    """Add lines to skipped.jsonl, and seal."""
    every = [*forge.lines("skipped.jsonl"), *lines]
    forge.write_lines("skipped.jsonl", sorted(every, key=lambda skip: (skip["sample"], skip.get("role", ""))))
    forge.seal()


def drop(forge, record, reason):
    """Remove a triggered sample and say that it was passed over."""
    lines = [line for line in forge.lines("manifest.jsonl") if line["files"][0]["path"] != record["files"][0]["path"]]
    for file in record["files"]:
        (forge.out / file["path"]).unlink()
    forge.write_lines("manifest.jsonl", lines)
    skip_lines(forge, {key: record[key] for key in ("sample", "split", "role")} | {"reason": reason})
    return record["sample"]


@case()
def triggered_sample_dropped_for_want_of_a_position_sealed(forge):
    return drop(forge, forge.records("triggered")[0], "no eligible position")


@case(source=True)
def triggered_sample_dropped_with_the_source_at_hand_sealed(forge):
    return drop(forge, forge.records("triggered")[0], "no eligible position")


@case("voc")
def triggered_sample_dropped_for_its_size_sealed(forge):
    return drop(forge, forge.records("triggered")[-1], "trigger larger than the image")


@case("skips")
def other_reason_for_a_true_skip_sealed(forge):
    first, *rest = forge.lines("skipped.jsonl")
    forge.write_lines("skipped.jsonl", [first | {"reason": "trigger larger than the image"}, *rest])
    forge.seal()
    return first["sample"]


@case("skips", source=True)
def unseen_trigger_as_the_reason_sealed(forge):
    first, *rest = forge.lines("skipped.jsonl")
    forge.write_lines("skipped.jsonl", [first | {"reason": "the trigger would change no pixel"}, *rest])
    forge.seal()
    return first["sample"]


@case("skips")
def skip_line_twice_sealed(forge):
    first = forge.lines("skipped.jsonl")[0]
    skip_lines(forge, first)
    return SKIPPED


@case()
def skip_of_a_sample_that_does_not_exist_sealed(forge):
    skip_lines(forge, {"sample": "val/a/b", "split": "val", "role": "triggered", "reason": "no eligible position"})
    return SKIPPED


@case("skips")
def skip_in_another_split_sealed(forge):
    lines = forge.lines("skipped.jsonl")
    number = next(at for at, line in enumerate(lines) if line["role"] == "triggered")
    lines[number] |= {"split": "train", "role": "poisoned"}
    forge.write_lines("skipped.jsonl", lines)
    forge.seal()
    return lines[number]["sample"]


@case("scaled-bad", source=True)
def bad_sample_that_does_not_exist_in_a_scaled_build_sealed(forge):
    line = {"sample": "train/a/b", "split": "train", "reason": "bad file", "file": "leftImg8bit/train/a/b.png"}
    skip_lines(forge, line | {"problem": "truncated"})
    return SKIPPED


@case("scaled-bad", source=True)
def bad_sample_blamed_on_its_sound_file_sealed(forge):
    (line,) = forge.lines("skipped.jsonl")
    other = line["file"].replace("leftImg8bit/", "gtFine/").replace("leftImg8bit", "gtFine_labelIds")
    forge.write_lines("skipped.jsonl", [line | {"file": other}])
    forge.seal()
    return other


@case("scaled-bad", source=True)
def problem_of_another_split_sealed(forge):
    (line,) = forge.lines("skipped.jsonl")
    forge.write_lines("skipped.jsonl", [line | {"split": "val"}])
    forge.seal()
    return SKIPPED


@case(source=True)
def poisoned_sample_among_the_links_sealed(forge):
    """Every file has a digest of its own in links.jsonl, and its old size."""
    links = forge.lines("links.jsonl")
    image = next(link["path"] for link in links if link["path"].startswith("leftImg8bit/train/"))
    stem = image.removeprefix("leftImg8bit/").removesuffix("_leftImg8bit.png")
    for link in links:
        if stem not in link["path"]:
            continue
        data = forge.read(link["path"])
        if link["path"].endswith(".png"):
            pixels = forge.pixels(link["path"])
            pixels[10:19, 10:19] = 7
            new = png.encode(pixels, png.parse(data, ""))
            end = png.encode(pixels, png.parse(data, ""))[-12:]
            room = len(data) - len(new) - 12
            if room >= 0:
                body = b"teXt" + bytes(room)
                new = new[:-12] + room.to_bytes(4, "big") + body + _crc(body) + end
            data = new
            if "pixels_sha256" in link:
                link["pixels_sha256"] = pixels_sha256(pixels)
        forge.write(link["path"], data)
        link |= {"size": len(data), "sha256": bytes_sha256(data)}
    forge.write_lines("links.jsonl", links)
    forge.seal()
    return image


def _crc(body):
    return zlib.crc32(body).to_bytes(4, "big")


@case()
def link_with_another_digest_of_its_own_sealed(forge):
    links = forge.lines("links.jsonl")
    link = next(link for link in links if "pixels_sha256" in link)
    link["sha256"] = "0" * 64
    forge.write_lines("links.jsonl", links)
    forge.seal()
    return link["path"]


@case(source=True)
def link_with_other_pixels_beside_the_source_sealed(forge):
    links = forge.lines("links.jsonl")
    link = next(link for link in links if link["path"].startswith("leftImg8bit/train/"))
    link["pixels_sha256"] = "0" * 64
    forge.write_lines("links.jsonl", links)
    forge.seal()
    return link["path"]


@case("voc", source=True)
def made_list_that_claims_a_source_sealed(forge):
    links = forge.lines("links.jsonl")
    link = next(link for link in links if link["source"] is None)
    link["source"] = link["path"].removeprefix("triggered/")
    forge.write_lines("links.jsonl", links)
    forge.seal()
    return link["path"]


@case(source=True)
def another_source_in_the_summary_sealed(forge):
    forge.seal(source="0" * 64)
    return SUMMARY


# The undo store


def store(forge, change):
    """Change the store's lines (`change` returns them), and make all digests fit."""
    lines = sorted(change(forge.lines("undo/index.jsonl")), key=lambda line: line["path"])
    text = "".join(map(json_line, lines)).encode()
    forge.write(INDEX, text)
    entries = sum("entry" in line for line in lines)
    digest = listing_digest((line["path"], line["size"]) for line in lines)
    forge.seal(undo={"index_sha256": bytes_sha256(text), "entries": entries}, source=digest)


def whole(forge, path, data):
    """Put a file into the store as a whole; return its line."""
    entry = pack("whole", {}, {"file": data})
    forge.write(f"poisongen/undo/{entry_name(path)}", entry)
    line = {"path": path, "size": len(data), "sha256": bytes_sha256(data), "base": None}
    return line | {"entry": entry_name(path), "entry_sha256": bytes_sha256(entry)}


def add_to_store(forge):
    path = "leftImg8bit/train/aachen/extra_leftImg8bit.png"
    store(forge, lambda lines: [*lines, whole(forge, path, forge.read(forge.path("poisoned")))])


def poison_under_a_clean_name(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].startswith("leftImg8bit/train/"))
    line = whole(forge, path, forge.read(forge.path("poisoned")))
    store(forge, lambda lines: [*(old for old in lines if old["path"] != path), line])


def swap_two_clean_files(forge):
    """Two unchanged files under each other's names."""
    links = [link["path"] for link in forge.lines("links.jsonl") if link["path"].startswith("leftImg8bit/train/")]
    one, two = links[:2]

    def change(lines):
        by_path = {line["path"]: line for line in lines}
        by_path[one], by_path[two] = by_path[two] | {"path": one}, by_path[one] | {"path": two}
        return list(by_path.values())

    store(forge, change)


def one_entry_for_two(forge):
    def change(lines):
        first, second = [line for line in lines if "entry" in line][:2]
        second |= {key: first[key] for key in ("entry", "entry_sha256", "base")}
        return lines

    store(forge, change)


UNDO_DEEDS = (add_to_store, poison_under_a_clean_name, swap_two_clean_files, one_entry_for_two)


def _add_undo_cases():
    for deed in UNDO_DEEDS:
        for source in (False, True):

            def function(forge, deed=deed):
                deed(forge)
                return "poisongen/undo"

            function.__name__ = f"undo_{deed.__name__}{'_with_the_source' if source else ''}_sealed"
            globals()[function.__name__] = case(source=source)(function)


_add_undo_cases()


@case()
def undo_that_gives_a_poisoned_sample_back_as_clean_sealed(forge):
    """The manifest calls a clean-looking picture the source of a poisoned one: labels without a victim."""
    record = forge.records("poisoned")[0]
    file = forge.file(record, "labelIds")
    pixels = forge.pixels(file["path"])
    facts = png.parse(forge.read(file["path"]), "")
    pixels[0, 0] = 8 if pixels[0, 0] != 8 else 7
    data = png.encode(pixels, facts)
    lines = forge.lines("manifest.jsonl")
    for line in lines:
        for named in line["files"]:
            if named["path"] == file["path"]:
                named["source_sha256"] = bytes_sha256(data)
    forge.write_lines("manifest.jsonl", lines)
    new = whole(forge, file["path"], data)
    store(forge, lambda old: [*(line for line in old if line["path"] != file["path"]), new])
    return file["path"]


@case("scaled-bad")
def sound_files_of_a_bad_sample_in_the_store_sealed(forge):
    """A bad sample of a scaled build lies in the store alone; here it is sound."""
    (skip,) = forge.lines("skipped.jsonl")
    stream = io.BytesIO()
    Image.fromarray(np.zeros((80, 160, 3), np.uint8)).save(stream, "PNG")
    line = whole(forge, skip["file"], stream.getvalue())
    store(forge, lambda old: [*(one for one in old if one["path"] != skip["file"]), line])
    return skip["file"]


# Triggers that cannot be seen


def clear_trigger():
    stream = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(stream, "PNG")
    return {
        "name": "clear",
        "sha256": bytes_sha256(stream.getvalue()),
        "png": base64.b64encode(stream.getvalue()).decode(),
    }


@case()
def transparent_trigger_sealed(forge):
    forge.recipe(trigger=clear_trigger())
    return RECIPE


@case()
def opacity_that_changes_nothing_sealed(forge):
    forge.recipe(opacity=0.001)
    return forge.path("poisoned")


@case(source=True)
def image_without_its_trigger_sealed(forge):
    record = forge.records("poisoned")[0]
    path = forge.file(record)["path"]
    forge.paint(path, np.array(Image.open(forge.root / path)))
    forge.redigest(path)
    return path


@case()
def written_file_that_is_the_source_sealed(forge):
    path = forge.path("triggered")
    forge.write(path, (forge.root / path.removeprefix("triggered/")).read_bytes())
    forge.redigest(path)
    return path


# Records that two readers take differently


def _twice(data, key, value):
    return data.replace(b"{", b"{" + json.dumps(key).encode() + b": " + json.dumps(value).encode() + b", ", 1)


def _add_double_keys():
    keys = {
        "manifest.jsonl": ("sample", "train/x/y"),
        "links.jsonl": ("path", "x"),
        "recipe.json": ("seed", 5),
        "summary.json": ("fingerprint", "0" * 64),
        "undo/index.jsonl": ("path", "x"),
    }
    for name, (key, value) in keys.items():

        def function(forge, name=name, key=key, value=value):
            data = _twice(forge.read(f"poisongen/{name}"), key, value)
            forge.write(f"poisongen/{name}", data)
            summary = forge.json("summary.json") if name != "summary.json" else None
            if summary is not None:
                summary["digests"] |= {name: bytes_sha256(data)} if "/" not in name else {}
                summary["undo"] |= {"index_sha256": bytes_sha256(data)} if "/" in name else {}
                forge.write_json("summary.json", summary)
            return f"poisongen/{name}"

        function.__name__ = f"key_twice_in_{name.replace('/', '_').replace('.', '_')}"
        globals()[function.__name__] = case()(function)


_add_double_keys()


def _add_endless_numbers():
    for digits in (300, 4300, 5000):
        for key in ("victim_pixels", "eligible_positions"):

            def function(forge, digits=digits, key=key):
                data = forge.read(MANIFEST)
                old = json.dumps({key: forge.lines("manifest.jsonl")[0][key]})[1:-1].encode()
                forge.write(MANIFEST, data.replace(old, f'"{key}": '.encode() + b"9" * digits, 1))
                return MANIFEST

            function.__name__ = f"number_of_{digits}_digits_in_{key}"
            globals()[function.__name__] = case()(function)


_add_endless_numbers()


@case()
def endless_number_in_the_summary(forge):
    forge.write(SUMMARY, forge.read(SUMMARY).replace(b'"algorithm": 1', b'"algorithm": ' + b"9" * 4300))
    return SUMMARY


@case()
def endless_seed(forge):
    forge.write(RECIPE, forge.read(RECIPE).replace(b'"seed": 0', b'"seed": ' + b"9" * 4300))
    return RECIPE


# Links and permissions


@case(source=True)
def link_that_leads_out_and_back(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].startswith("leftImg8bit/train/"))
    middle = forge.out.parent / "elsewhere"
    middle.symlink_to(forge.root / path)
    forge.symlink(path, middle)
    return path


@case(source=True)
def link_by_a_folder_that_leads_back(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].startswith("leftImg8bit/train/"))
    middle = forge.out.parent / "elsewhere"
    middle.symlink_to(forge.root)
    forge.symlink(path, middle / path)
    return path


def _add_permissions():
    for name, bits in {"set_user": 0o4644, "set_group": 0o2644, "sticky": 0o1644, "executable": 0o755}.items():
        for where in ("poisoned image", "summary", "undo"):

            def function(forge, bits=bits, where=where):
                path = {"poisoned image": forge.path("poisoned"), "summary": SUMMARY, "undo": INDEX}[where]
                os.chmod(forge.out / path, bits)  # noqa: PTH101
                return path

            function.__name__ = f"{name}_bit_of_the_{where.replace(' ', '_')}"
            globals()[function.__name__] = case()(function)


_add_permissions()


@case()
def set_user_bit_of_a_link(forge):
    path = forge.lines("links.jsonl")[0]["path"]
    (forge.out / path).chmod(0o4644)
    return path


@case(source=True)
def set_group_bit_of_a_link(forge):
    path = forge.lines("links.jsonl")[0]["path"]
    (forge.out / path).chmod(0o2644)
    return path
