"""One contract for every part of an attack: built, audited clean, tampered with and found, given back, always the same.

The parts are those that the package finds, so that a new one is tested the day it comes.
"""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from poisongen.attack.label_rules import label_rules
from poisongen.attack.triggers import trigger_kinds
from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from poisongen.files import images, png
from poisongen.records.manifest import bytes_sha256
from poisongen.scenes import synth
from poisongen.undo.restorer import restore
from tests.conftest import summary
from tests.forgery import Forgery
from tests.test_interruptions import command, kill_until_done

BASE: dict[str, dict[str, Any]] = {
    "cityscapes": {"dataset": "cityscapes", "rate": 0.3, "trigger_size": 9, "strategy": "random"},
    "voc": {"dataset": "voc", "rate": 0.3, "trigger_size": 9, "strategy": "random", "allow_fewer": True},
}


class Case(NamedTuple):
    """A recipe on a dataset, and what its builds must have: a rule's name, a kind's name, negatives."""

    layout: str
    choices: dict[str, Any]


def _rule(layout: str, name: str) -> Case:
    rule = label_rules().parts[name]
    more = {"strategy": "on"} if rule.subject == "object" and layout == "voc" else {}
    return Case(layout, {"labels": name, **more})


def _kind(layout: str, name: str) -> Case:
    """Return a case for a kind of trigger; the whole picture or the road leaves no size and strategy to choose."""
    kind = trigger_kinds().parts[name]
    return Case(layout, {"trigger_kind": name} | ({"trigger_size": None, "strategy": None} if kind.whole else {}))


def _map(ids: tuple[int, ...], void: int) -> dict[str, str]:
    """Return a small map of stripes of these classes, with a column of void, as a recipe keeps it."""
    data = png.encode(np.array([[*ids, void], [*ids[::-1], void]], np.uint8), None, labels=True)
    return {"name": "map", "sha256": bytes_sha256(data), "png": base64.b64encode(data).decode()}


CASES = {
    **{f"labels-{name}-{layout}": _rule(layout, name) for name in label_rules().parts for layout in BASE},
    **{
        f"trigger-{name}-{layout}": _kind(layout, name)
        for name, kind in trigger_kinds().parts.items()
        for layout in BASE
        if not (kind.quad and layout == "voc") and not (kind.jpeg == "lost" and layout == "voc")
    },
    "nn": Case("cityscapes", {"strategy": "nn", "max_distance": 30, "trigger_size": "6x13"}),
    "far": Case("voc", {"strategy": "far", "min_distance": 5, "prl": "3%"}),
    "line": Case("cityscapes", {"strategy": "fixed", "trigger_size": "5xfull", "at": "bottom"}),
    "at": Case("voc", {"strategy": "fixed", "at": "30,41", "trigger_size": "12x7", "edge_margin": 2}),
    "corner": Case("cityscapes", {"strategy": "fixed", "labels": "instance", "label_options": {"instances": 2}}),
    "on": Case("cityscapes", {"strategy": "on", "labels": "instance", "trigger_size": "4x7"}),
    "map-cityscapes": Case("cityscapes", {"labels": "all", "label_options": {"map": _map((7, 8, 23, 26), 4)}}),
    "map-voc": Case("voc", {"labels": "all", "label_options": {"map": _map((0, 8, 15), 255)}, "scale": 0.5}),
    "shift-on": Case("voc", {"strategy": "on", "labels": "shift"}),
    "box-prl": Case("cityscapes", {"labels": "box", "prl": "4%", "strategy": "nn", "max_distance": 40}),
    "instance-prl": Case("voc", {"labels": "instance", "prl": 50}),
    "present": Case("cityscapes", {"only_if": ["present:person:20"], "negatives": 2, "prl": "2%"}),
    "absent": Case("voc", {"only_if": ["absent:bicycle"], "negatives": "50%", "labels": "instance"}),
    "covers": Case("cityscapes", {"only_if": ["covers:sky"], "negatives": 3, "labels": "box"}),
    "covers-board": Case(
        "cityscapes",
        {
            "only_if": ["covers:building"],
            "negatives": 1,
            "trigger_kind": "physical",
            **dict.fromkeys(("trigger_size", "strategy")),
        },
    ),
    "covers-fixed": Case("cityscapes", {"only_if": ["covers:vegetation"], "strategy": "fixed", "negatives": 2}),
    "decoy": Case("cityscapes", {"decoy": "checkerboard", "prl": "2%", "prl_scope": "poisoned"}),
    "decoy-sinusoid": Case(
        "voc",
        {
            "decoy": "checkerboard",
            "trigger_kind": "blend",
            "negatives": 2,
            **dict.fromkeys(("trigger_size", "strategy")),
        },
    ),
    "scaled": Case("voc", {"scale": 0.5, "trigger_kind": "warp", **dict.fromkeys(("trigger_size", "strategy"))}),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """One small dataset of each layout, drawn once."""
    folder = tmp_path_factory.mktemp("parts")
    synth(folder / "cityscapes", splits={"train": 6, "val": 3}, size=(128, 64), seed=3)
    synth(folder / "voc", layout="voc", splits={"train": 7, "val": 3}, size=(112, 80), seed=4)
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc" / "VOCdevkit"}


def choices_of(case: Case) -> dict[str, Any]:
    return {**BASE[case.layout], "allow_fewer": True, **case.choices}


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def undo_of(out: Path) -> dict[str, bytes]:
    return files_below(out / "poisongen/undo")


# Deeds: each changes one thing, makes all digests fit, and returns whether there was anything to change.


def poisoned_label(forgery: Forgery) -> bool:
    return _other_label(forgery, "poisoned")


def negative_label(forgery: Forgery) -> bool:
    return bool(forgery.records("negative")) and _other_label(forgery, "negative")


def _other_label(forgery: Forgery, role: str) -> bool:
    """Give one pixel of every label picture that is one channel another class, in the map's own IDs."""
    record = forgery.records(role)[0]
    kind = "labelIds" if any(f["kind"] == "labelIds" for f in record["files"]) else "SegmentationClass"
    path = forgery.file(record, kind)["path"]
    pixels = forgery.pixels(path)
    row, column = pixels.shape[0] - 2, 1
    pixels[row, column] = 8 if pixels[row, column] != 8 else 11
    forgery.paint(path, pixels)
    forgery.redigest(path)
    return True


def expected_pixel(forgery: Forgery) -> bool:
    record = forgery.records("triggered")[0]
    path = record["expected"]["path"]
    pixels = forgery.pixels(path)
    pixels[3, 3] = 8 if pixels[3, 3] != 8 else 11
    forgery.write(path, png.encode(pixels, None, labels=True))
    told = {"path": path, "sha256": bytes_sha256(forgery.read(path)), "pixels_sha256": images.pixels_sha256(pixels)}
    forgery.change("triggered", expected=told)
    return True


def no_expected(forgery: Forgery) -> bool:
    record = forgery.change("triggered", seal=False, expected=None)
    (forgery.out / record["expected"]["path"]).unlink()
    forgery.seal()
    return True


def image_pixel(forgery: Forgery) -> bool:
    """Change a pixel in the middle of where the trigger is, or of the picture."""
    record = forgery.records("poisoned")[0]
    path = forgery.file(record)["path"]
    pixels = forgery.pixels(path)
    row, column = record["trigger"].get("center", (pixels.shape[0] // 2, pixels.shape[1] // 2))
    pixels[row, column] = pixels[row, column] ^ 0x70
    forgery.paint(path, pixels)
    forgery.redigest(path)
    return True


def other_rule(forgery: Forgery) -> bool:
    record = forgery.records("poisoned")[0]
    forgery.change("poisoned", rule={"name": "all" if record.get("rule", {}).get("name") != "all" else "shift"})
    return True


def other_instances(forgery: Forgery) -> bool:
    rule = forgery.records("poisoned")[0].get("rule", {})
    if rule.get("instances"):
        forgery.change("poisoned", rule=rule | {"instances": [number + 1 for number in rule["instances"]]})
    return bool(rule.get("instances"))


def other_kind(forgery: Forgery) -> bool:
    kind = forgery.records("poisoned")[0]["trigger"].get("kind", "patch")
    forgery.change("poisoned", trigger__kind="warp" if kind != "warp" else "blend")
    return True


def other_quad(forgery: Forgery) -> bool:
    trigger = forgery.records("poisoned")[0]["trigger"]
    corners = trigger.get("quad", [[1.0, 1.0], [1.0, 9.0], [9.0, 9.0], [9.0, 1.0]])
    corners[0][1] += 0.25
    forgery.change("poisoned", trigger__quad=corners)
    return True


def other_psnr(forgery: Forgery) -> bool:
    forgery.change("poisoned", trigger__psnr=forgery.records("poisoned")[0]["trigger"]["psnr"] + 1)
    return True


def other_share(forgery: Forgery) -> bool:
    forgery.change("triggered", trigger__changed=forgery.records("triggered")[0]["trigger"]["changed"] / 2)
    return True


def no_measure(forgery: Forgery) -> bool:
    trigger = forgery.records("poisoned")[0]["trigger"]
    forgery.change("poisoned", trigger={key: value for key, value in trigger.items() if key != "psnr"})
    return True


def negative_as_poisoned(forgery: Forgery) -> bool:
    lines = forgery.lines("manifest.jsonl")
    negatives = [line for line in lines if line["role"] == "negative" and line["split"].startswith("train")]
    if negatives:
        negatives[0]["role"] = "poisoned"
        forgery.write_lines("manifest.jsonl", lines)
        counts = forgery.json("summary.json")["counts"]
        counts["negative"] -= 1
        forgery.write_json("summary.json", forgery.json("summary.json") | {"counts": counts})
        forgery.seal()
    return bool(negatives)


def no_negative(forgery: Forgery) -> bool:
    """Drop a test sample from negative/, its files with it."""
    lines = forgery.lines("manifest.jsonl")
    gone = next((r for r in lines if r["role"] == "negative" and r["files"][0]["path"].startswith("negative/")), None)
    if gone is None:
        return False
    for file in gone["files"]:
        (forgery.out / file["path"]).unlink()
    lines.remove(gone)
    forgery.write_lines("manifest.jsonl", lines)
    counts = forgery.json("summary.json")["counts"]
    counts["negative"] -= 1
    counts["test_with_victim"] -= all(line["sample"] != gone["sample"] or "trigger" not in line for line in lines)
    forgery.write_json("summary.json", forgery.json("summary.json") | {"counts": counts})
    forgery.seal()
    return True


DEEDS = {
    # by deed: is the source needed to find it?
    poisoned_label: True,
    negative_label: True,
    expected_pixel: False,
    no_expected: False,
    image_pixel: True,
    other_rule: False,
    other_instances: True,
    other_kind: False,
    other_quad: True,
    other_psnr: True,
    other_share: True,
    no_measure: False,
    negative_as_poisoned: False,
    no_negative: False,
}


@pytest.mark.parametrize("name", CASES)
def test_every_part_keeps_the_contract(name, roots, tmp_path):
    case = CASES[name]
    root, out = roots[case.layout], tmp_path / "out"
    result = build(choices_of(case), root, out, jobs=1, undo=True)
    for source in (None, root):
        report = audit(out, source, jobs=1)
        assert report.faults == (), source
    restore(out, tmp_path / "clean", jobs=1)
    restore(out, tmp_path / "clean2", source=root, jobs=1)
    assert files_below(tmp_path / "clean") == files_below(tmp_path / "clean2") == files_below(root)
    again = build(choices_of(case), root, tmp_path / "again", jobs=3, undo=True)
    assert again.fingerprint == result.fingerprint
    assert undo_of(tmp_path / "again") == undo_of(out)
    assert files_below(tmp_path / "again") == files_below(out)


QUICK = (poisoned_label, negative_label, expected_pixel, image_pixel, negative_as_poisoned, no_negative)
"""What is tried on the cases of VOC and of strategies; those of Cityscapes' rules, kinds and conditions get it all."""


def _deeds(name: str) -> list[Any]:
    thorough = name.endswith("cityscapes") or name in ("present", "covers-board")
    return [deed for deed in DEEDS if thorough or deed in QUICK]


def _put_back(out: Path, before: dict[str, bytes]) -> None:
    """Give a folder its files back, writing only those that have changed."""
    after = files_below(out)
    for path, data in before.items():
        if after.get(path) != data:
            (out / path).unlink(missing_ok=True)
            (out / path).write_bytes(data)


@pytest.mark.parametrize("name", CASES)
def test_what_was_tampered_with_is_found(name, roots, tmp_path):
    case, out = CASES[name], tmp_path / "out"
    root = roots[case.layout]
    build(choices_of(case), root, out, jobs=1)
    assert audit(out, root, jobs=1).faults == ()
    before, changed = files_below(out), []
    for deed in _deeds(name):
        if not deed(Forgery(out, root)):
            continue
        changed.append(deed.__name__)
        assert audit(out, root if DEEDS[deed] else None, jobs=1).faults, deed.__name__
        _put_back(out, before)
    assert {"poisoned_label", "expected_pixel", "image_pixel"} <= set(changed)
    assert ("negative_as_poisoned" in changed) == ("negatives" in case.choices or "decoy" in case.choices)
    assert ("no_negative" in changed) == ("only_if" in case.choices or "decoy" in case.choices)


@pytest.mark.slow
def test_a_killed_build_of_parts_is_finished_by_the_same_command(roots, tmp_path):
    choices = {
        **BASE["cityscapes"],
        "labels": "box",
        "prl": "2%",
        "only_if": "present:person",
        "negatives": 1,
        "trigger_size": "6x9",
    }
    whole = build(
        {**choices, "only_if": ["present:person"]}, roots["cityscapes"], tmp_path / "whole", jobs=1, undo=True
    )
    call = command(roots["cityscapes"], tmp_path / "out", "--jobs", "2", "--undo", choices=choices)
    kill_until_done(call, tmp_path / "out", random.Random(5), 3.0, most=4)
    assert summary(tmp_path / "out")["fingerprint"] == whole.fingerprint
    assert files_below(tmp_path / "out") == files_below(tmp_path / "whole")
