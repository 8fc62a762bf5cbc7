"""The report: what stands in the page is what the build holds, whatever the build is, and nothing else is written."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from poisongen.auditing.auditor import audit
from poisongen.building.run import build
from poisongen.datasets.base import Sample
from poisongen.recipe.model import read_recipe_file, shipped_recipes
from poisongen.records.algorithms import RECORDS
from poisongen.records.manifest import SampleRecord
from poisongen.records.reading import SkipRecord
from poisongen.reporting import gallery
from poisongen.reporting.choosing import SHOWN_ROLES, choose, choose_of_role, choose_skipped, quotas
from poisongen.reporting.figures import make_plots
from poisongen.reporting.opening import open_build
from poisongen.reporting.page import make_page
from poisongen.reporting.reporter import can_report, report
from poisongen.reporting.thumbnails import LARGEST_SIDE, labels_uri, photo_uri
from poisongen.scenes import synth
from tests.conftest import SMALL_CITYSCAPES, manifest, summary, tree_digest
from tests.page import HOSTILE, Page, hostile_dataset
from tests.test_parts_contract import CASES, choices_of

LARGEST_PAGE = 15_000_000
QUICK_CASES = ("labels-shift-voc", "trigger-warp-cityscapes", "trigger-physical-cityscapes", "decoy", "scaled")


def labels_of(root: Path, record: dict, side: str) -> np.ndarray:
    """Return a record's label map from its file in OUT (`path`) or in the source."""
    kinds = ("labelIds", "SegmentationClass")
    file = next(file for file in record["files"] if file["kind"] in kinds)
    return np.asarray(Image.open(root / file[side]))


def image_of(root: Path, record: dict, side: str) -> np.ndarray:
    file = next(file for file in record["files"] if file["kind"] == "image")
    return np.asarray(Image.open(root / file[side]).convert("RGB"))


def check_page(path: Path) -> Page:
    """Check what must hold of every page, and return it."""
    assert path.stat().st_size < LARGEST_PAGE
    page = Page(path)
    assert page.text().index("This dataset is poisoned.") < page.text().index("The recipe in words")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)  # no handlers: all behaviour is in the one script
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("data:image/", "#")), value
                assert not value.startswith("#") or value[1:] in ids
        assert tag not in ("link", "iframe", "object", "embed", "base", "math"), tag
    assert [one for one in page.all("img") if not one.get("alt")] == []
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv")]
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/)\w", re.sub(r"base64,[\w+/=]*", "", page.source))
    return page


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    synth(folder / "cityscapes", splits={"train": 8, "val": 4}, size=(160, 80), seed=3)
    synth(folder / "voc", layout="voc", splits={"train": 8, "val": 4}, size=(112, 80), seed=4)
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc/VOCdevkit"}


@pytest.fixture(scope="module")
def built(scenes, tmp_path_factory):
    """A build with random labels and an undo store, shared by the tests that only read it."""
    out = tmp_path_factory.mktemp("built") / "out"
    recipe = {
        "dataset": "cityscapes",
        "strategy": "nn",
        "trigger_size": 9,
        "max_distance": 30,
        "rate": 0.4,
        "prl": "3%",
    }
    build(recipe, scenes["cityscapes"], out, jobs=1, undo=True)
    return out


def without_undo(out: Path, place: Path) -> Path:
    """Return a copy of a build without its undo store, as a build without --undo would be."""
    shutil.copytree(out, place)
    shutil.rmtree(place / "poisongen/undo")
    path = place / "poisongen/summary.json"
    path.write_text(json.dumps({key: value for key, value in summary(place).items() if key != "undo"}) + "\n")
    return place


@pytest.mark.parametrize("by", ["source", "undo"])
def test_labels_in_the_page_are_those_of_the_dataset_before_and_after(by, built, scenes, tmp_path):
    root = scenes["cityscapes"]
    result = report(built, root if by == "source" else None, tmp_path / "report.html", jobs=1)
    page = check_page(tmp_path / "report.html")
    records = [record for record in manifest(built) if record["role"] in SHOWN_ROLES]
    assert {record["role"] for record in records} == {"poisoned", "triggered", "prl"}
    assert result.samples == len(records)
    for record in records:
        name, role = record["sample"], record["role"]
        true, now = labels_of(root, record, "source"), labels_of(built, record, "path")
        if role == "triggered":
            wanted = np.asarray(Image.open(built / record["expected"]["path"]))
            shown = {"true": true, "wanted by the attacker": wanted}
        else:
            shown = {"before": true, "after": now}
        for word, labels in shown.items():
            assert np.array_equal(page.picture(f"{name} ({role}): labels, {word}"), labels), (name, word)
        for word, image in (("before", image_of(root, record, "source")), ("after", image_of(built, record, "path"))):
            found = page.picture(f"{name} ({role}): image, {word}").astype(int)
            assert np.abs(found - image).mean() < 4, (name, word)
    assert "not known" not in page.text("p").replace("what it cannot know", "")
    assert page.text().count("Clean:") == 1
    assert summary(built)["fingerprint"] in page.text()


def test_without_source_and_undo_it_shows_what_it_can_and_says_so(built, tmp_path):
    out = without_undo(built, tmp_path / "out")
    report(out, None, tmp_path / "report.html", jobs=1)
    page = check_page(tmp_path / "report.html")
    for record in manifest(out):
        if record["role"] == "poisoned":
            assert f"{record['sample']} ({record['role']}): labels, after" in page.pictures
            assert f"{record['sample']} ({record['role']}): labels, before" not in page.pictures
            assert f"{record['sample']} ({record['role']}): image, before" not in page.pictures
        if record["role"] == "triggered":  # OUT has it without trigger as well
            assert f"{record['sample']} ({record['role']}): image, before" in page.pictures
    assert "Without the source (--source)" in page.text()
    assert "image before: not known without the source" in page.text()
    assert "not known" in page.text("p")


def test_the_trigger_and_its_distance_are_drawn_where_the_record_says(built, scenes, tmp_path):
    root = scenes["cityscapes"]
    report(built, root, tmp_path / "report.html", jobs=1, audited=False)
    page = check_page(tmp_path / "report.html")
    polygons = {attributes["points"] for attributes in page.all("polygon")}
    lines = page.all("line")
    for record in manifest(built):
        if "trigger" not in record:
            continue
        top, left, tall, wide = record["trigger"]["box"]
        corners = ((left, top), (left + wide, top), (left + wide, top + tall), (left, top + tall))
        assert " ".join(f"{x},{y}" for x, y in corners) in polygons
        row, column = record["trigger"]["center"]
        own = [one for one in lines if (float(one["y1"]), float(one["x1"])) == (row + 0.5, column + 0.5)]
        labels = labels_of(root, record, "source")
        assert any(labels[int(float(one["y2"])), int(float(one["x2"]))] == 26 for one in own)  # a car
        far = {max(abs(float(one["x2"]) - column - 0.5), abs(float(one["y2"]) - row - 0.5)) for one in own}
        assert record["trigger"]["distance"] in far


def test_random_labels_are_told_from_the_rule_s(built, scenes):
    opened = open_build(built, scenes["cityscapes"])
    cards = gallery.make_cards(choose(opened.manifest, 500), opened, {}, 1, False)
    records = {(record["role"], record["sample"]): record for record in manifest(built)}
    told = [card for card in cards if card.random is not None]
    assert {card.role for card in told} == {"poisoned", "prl"}
    for card in told:
        record = records[card.role, card.sample]
        true, now = labels_of(scenes["cityscapes"], record, "source"), labels_of(built, record, "path")
        changed = (true != now) & (true != 26)
        if card.role == "poisoned":
            top, left, tall, wide = record["trigger"]["box"]
            changed[top : top + tall, left : left + wide] = False
        else:
            assert changed.sum() == record["prl_pixels"]
        assert np.array_equal(np.bincount(now[changed], minlength=256), card.random)
        before, after = (np.bincount(labels.ravel(), minlength=256) for labels in (true, now))
        assert np.array_equal(card.pixels, (before, after))


def test_the_command_line(poisongen, cityscapes, tmp_path):
    assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out", "--jobs", 1).code == 0
    done = poisongen("report", "out", "--source", cityscapes, "--jobs", 1)
    assert done.code == 0, done.err
    assert done.out.startswith("report.html: ")
    assert "audit: no faults" in done.out
    assert done.err == ""
    more = poisongen("report", "out", "--out", "a/b/page.htm", "--samples", 2, "--no-audit", "--jobs", 1, "--json")
    facts = json.loads(more.out)
    assert facts == {
        "page": "a/b/page.htm",
        "bytes": (tmp_path / "a/b/page.htm").stat().st_size,
        "samples": 2,
        "faults": None,
    }
    page = check_page(tmp_path / "a/b/page.htm")
    assert len(page.all("article")) == 2
    assert "Not audited." in page.text()
    quick = poisongen("report", "out", "--quick", "--jobs", 1)
    assert quick.code == 0
    assert "quick audit of" in check_page(tmp_path / "report.html").text()


def test_it_writes_nothing_but_the_page(poisongen, cityscapes, tmp_path, monkeypatch):
    assert poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out", "--jobs", 1).code == 0
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    before = {folder: tree_digest(folder) for folder in (tmp_path / "out", cityscapes, home)}
    there = set(tmp_path.iterdir())
    assert poisongen("report", "out", "--source", "cityscapes", "--out", "page.html", "--jobs", 2).code == 0
    assert {folder: tree_digest(folder) for folder in before} == before
    assert set(tmp_path.iterdir()) - there == {tmp_path / "page.html"}
    assert audit(tmp_path / "out", cityscapes, jobs=1).clean


@pytest.mark.slow
def test_a_first_import_of_matplotlib_leaves_no_cache(built, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MPL"))}
    call = [
        sys.executable,
        "-m",
        "poisongen",
        "report",
        built,
        "--out",
        tmp_path / "r.html",
        "--no-audit",
        "--samples",
        "1",
    ]
    done = subprocess.run(call, env=environment | {"HOME": str(home)}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path for path in home.rglob("*") if "matplotlib" in str(path)] == []


def test_the_same_build_gives_the_same_page(built, scenes, tmp_path):
    pages = []
    for number, jobs in enumerate((1, 2)):
        report(built, scenes["cityscapes"], tmp_path / f"{number}.html", jobs=jobs)
        pages.append((tmp_path / f"{number}.html").read_bytes())
    assert pages[0] == pages[1]


# What `--out` may not be, with how it comes to stand there; given the folder of the test.
PLACES = {
    "in the poisoned dataset": ("out/report.html", lambda t: None),
    "deep in the poisoned dataset": ("out/poisongen/x/report.html", lambda t: None),
    "in the source": ("cityscapes/report.html", lambda t: None),
    "in the source by another way": ("way/report.html", lambda t: (t / "way").symlink_to(t / "cityscapes")),
    "no page's name": ("report.png", lambda t: None),
    "a folder": ("report.html", lambda t: (t / "report.html").mkdir()),
    "a link": ("report.html", lambda t: (t / "report.html").symlink_to(t / "cityscapes/elsewhere")),
    "a pipe": ("report.html", lambda t: os.mkfifo(t / "report.html")),
    "below a file": ("file/report.html", lambda t: (t / "file").write_text("mine")),
}


@pytest.mark.parametrize("case", PLACES)
def test_where_no_page_may_go(case, poisongen, cityscapes, built, tmp_path):
    shutil.copytree(built, tmp_path / "out")
    place, prepare = PLACES[case]
    prepare(tmp_path)
    before = tree_digest(tmp_path / "out"), tree_digest(cityscapes)
    done = poisongen("report", "out", "--source", "cityscapes", "--out", place, "--no-audit", "--jobs", 1)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, ""), done.err
    assert (tree_digest(tmp_path / "out"), tree_digest(cityscapes)) == before


def edit_line(out: Path, name: str, change) -> None:
    path = out / "poisongen" / name
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([change(lines[0]), *lines[1:]]) + "\n", encoding="utf-8")


DAMAGES = {
    "no records": lambda o: shutil.rmtree(o / "poisongen"),
    "no summary": lambda o: (o / "poisongen/summary.json").unlink(),
    "a summary that is none": lambda o: (o / "poisongen/summary.json").write_text("[" * 100_000),
    "a summary of a newer version": lambda o: edit_line(
        o, "summary.json", lambda s: s.replace(f'"records": {RECORDS}', '"records": 99')
    ),
    "a recipe that is none": lambda o: (o / "poisongen/recipe.json").write_text("{}"),
    "no manifest": lambda o: (o / "poisongen/manifest.jsonl").unlink(),
    "a cut line": lambda o: edit_line(o, "manifest.jsonl", lambda s: s[: len(s) // 2]),
    "a path that leads out": lambda o: edit_line(
        o, "manifest.jsonl", lambda s: s.replace('"path": "', '"path": "../', 1)
    ),
    "a sample without files": lambda o: edit_line(
        o, "manifest.jsonl", lambda s: json.dumps({**json.loads(s), "files": []})
    ),
    "the manifest is a link": lambda o: (
        (o / "poisongen/manifest.jsonl").rename(o / "moved"),
        (o / "poisongen/manifest.jsonl").symlink_to(o / "moved"),
    ),
    "the manifest is a pipe": lambda o: (
        (o / "poisongen/manifest.jsonl").unlink(),
        os.mkfifo(o / "poisongen/manifest.jsonl"),
    ),
    "an unfinished build": lambda o: (o / ".poisongen-build").mkdir(),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_build_that_cannot_be_read_is_one_line(case, poisongen, built, tmp_path):
    shutil.copytree(built, tmp_path / "out")
    DAMAGES[case](tmp_path / "out")
    done = poisongen("report", "out", "--jobs", 1)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, ""), done.err
    assert not (tmp_path / "report.html").exists()


def test_no_build_no_source_no_samples(poisongen, built, cityscapes):
    for call in (
        ("report", cityscapes),
        ("report", "nowhere"),
        ("report", built, "--source", "nowhere"),
        ("report", built, "--samples", 0),
        ("report", built, "--samples", 501),
    ):
        done = poisongen(*call)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err


def test_pictures_that_are_gone_or_broken_are_named_and_audit_s_faults_shown(built, scenes, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    poisoned = [record for record in manifest(out) if record["role"] == "poisoned"]
    paths = [[file["path"] for file in record["files"]] for record in poisoned]
    (out / paths[0][0]).unlink()
    (out / paths[1][0]).write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 60)
    (out / paths[1][1]).write_bytes(b"<svg onload=alert(1)>")
    (out / paths[2][0]).unlink()
    (out / paths[2][0]).symlink_to("/etc/hostname")
    result = report(out, None, tmp_path / "report.html", jobs=1)
    assert result.audit.fault_count > 3
    page = check_page(tmp_path / "report.html")
    assert "Faulty:" in page.text()
    assert "no such file" in page.text()
    assert result.samples == len(page.all("article"))
    for record in poisoned[:3]:
        assert f"{record['sample']} ({record['role']}): image, after" not in page.pictures
    source = tmp_path / "other"
    shutil.copytree(scenes["cityscapes"], source)
    file = next(file for file in poisoned[3 % len(poisoned)]["files"] if file["kind"] == "image")
    (source / file["source"]).write_bytes((source / poisoned[0]["files"][0]["source"]).read_bytes())
    report(built, source, tmp_path / "second.html", jobs=1, audited=False)
    assert ("not the file that the build was made from" in check_page(tmp_path / "second.html").text()) == (
        file["source"] != poisoned[0]["files"][0]["source"]
    )


def test_names_that_are_markup_are_text(tmp_path):
    root = hostile_dataset(tmp_path / "clean")
    trigger = tmp_path / "<b onmouseover=alert(3)>.png"
    Image.fromarray(np.full((9, 9, 3), (255, 0, 255), np.uint8)).save(trigger)
    recipe = {
        "dataset": "folder",
        "strategy": "random",
        "relabel": {"$\\frac{a}{b}$ {{ 7 * 7 }}": HOSTILE},
        "trigger": str(trigger),
        "trigger_size": 5,
        "rate": 0.5,
        "prl": 20,
    }
    build(recipe, root, tmp_path / "out", jobs=1)
    report(tmp_path / "out", root, tmp_path / "report.html", jobs=1)
    page = check_page(tmp_path / "report.html")
    assert HOSTILE in page.text()
    assert "{{ 7 * 7 }}" in page.text()
    assert "<b onmouseover=alert(3)>" in page.text()
    assert [alt for alt in page.pictures if "<svg onload=alert(" in alt]
    assert len(page.all("script")) == 1
    assert "<script>alert" not in page.source
    assert not [one for one in page.all("img") if one["src"] == "x"]


def test_records_with_absurd_numbers_and_long_names_make_a_page(built, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    path = out / "poisongen/manifest.jsonl"
    records = manifest(out)
    for record in records:
        if "trigger" in record:
            record["trigger"] |= {"box": [2**50, 2**53, 2**53, 1], "center": [2**53, 2**53], "distance": 1e300}
            record["trigger"] |= {"quad": [[1e300, -1e300]] * 4, "psnr": -1e300, "covers": [10**9] * 50}
        record |= {"victim_pixels": 2**53, "prl_pixels": 2**53, "sample": record["sample"] + "\u202e\0x" + "y" * 10_000}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = report(out, None, tmp_path / "report.html", jobs=1)
    assert not result.audit.clean
    page = check_page(tmp_path / "report.html")
    assert "y" * 300 not in page.source
    assert "\u202e" not in page.source
    assert "\0" not in page.source


def test_ten_thousand_records_are_quick_and_only_the_chosen_are_read(built, monkeypatch, tmp_path):
    opened = open_build(built, None)
    records = []
    for number in range(10_000):
        record = opened.manifest[number % len(opened.manifest)]
        trigger = record.trigger and record.trigger.model_copy(update={"distance": 1.0 + number})
        update = {"sample": f"{record.sample}-{number:05}", "trigger": trigger, "victim_pixels": 1 + number}
        records.append(record.model_copy(update=update))
    opened = dataclasses.replace(opened, manifest=records)
    read = []
    look = gallery.look_at_sample

    def counted(record, opened):
        read.append(record.sample)
        return look(record, opened)

    monkeypatch.setattr(gallery, "look_at_sample", counted)
    begun = time.process_time()
    cases = choose(opened.manifest, 24)
    cards = gallery.make_cards(cases, opened, {}, 1, False)
    text = make_page(opened, cards, make_plots(opened, cards), None, None)
    assert time.process_time() - begun < 20
    assert sorted(read) == sorted(case.record.sample for case in cases)
    assert len(read) == 24
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = check_page(tmp_path / "page.html")
    assert text.count("<tr data-role=") == 2000
    assert "8,000 more stand in poisongen/manifest.jsonl" in page.text()
    assert (tmp_path / "page.html").stat().st_size < 3_000_000


@pytest.mark.parametrize("cards", [1, 24, 500])
def test_pictures_that_do_not_compress_stay_within_the_page(cards):
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 256, (1024, 2048, 3), np.uint8)
    labels = generator.integers(0, 19, (1024, 2048), np.uint8)
    colours = generator.integers(0, 256, (256, 3), np.uint8)
    most = gallery.BUDGET // (7 * cards)
    uris = [photo_uri(photo, most), labels_uri(labels, colours, most)]
    assert all(uri is None or len(uri) <= most for uri in uris)
    assert all(uris)  # even the last of 500 is shown, if small
    assert 7 * cards * max(map(len, uris)) < LARGEST_PAGE - 4_000_000


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=25, deadline=None)
def test_thumbnails_keep_shape_and_classes(height, width):
    labels = np.add.outer(np.arange(height) // 50, np.arange(width) // 50).astype(np.uint8) % 30
    colours = np.arange(768, dtype=np.uint32).astype(np.uint8).reshape(256, 3)
    data = labels_uri(labels, colours, 10**9).split(",")[1]
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert set(np.unique(found)) <= set(np.unique(labels))  # never interpolated
    assert max(found.shape) == min(max(height, width), LARGEST_SIDE)
    if max(height, width) <= LARGEST_SIDE:
        assert np.array_equal(found, labels)


def record_of(number: int, role: str, distance: float | None, pixels: int) -> SampleRecord:
    trigger = None if role == "prl" else {"distance": distance} if distance is not None else {}
    return SampleRecord.model_validate(
        {
            "sample": f"train/{number:04}",
            "split": "train",
            "role": role,
            "trigger": trigger,
            "victim_pixels": pixels,
            "relabelled_pixels": 0,
            "prl_pixels": 0,
            "eligible_positions": 0,
            "files": [],
        }
    )


DRAWN = st.lists(
    st.tuples(st.sampled_from(SHOWN_ROLES), st.none() | st.integers(0, 9).map(float), st.integers(0, 9)), max_size=40
)


@given(DRAWN, st.integers(1, 60))
def test_the_chosen_are_the_extremes_and_some_of_every_role(drawn, number):
    records = [record_of(n, *one) for n, one in enumerate(drawn)]
    cases = choose(records, number)
    assert len(cases) == min(number, len(records))
    assert len({case.record.sample for case in cases}) == len(cases)
    roles = [case.record.role for case in cases]
    assert roles == sorted(roles, key=SHOWN_ROLES.index)
    if number >= len(SHOWN_ROLES):
        assert set(roles) == {record.role for record in records}
    values = {
        "nearest": (lambda r: r.trigger.distance if r.trigger else None, min),
        "farthest": (lambda r: r.trigger.distance if r.trigger else None, max),
        "smallest victim": (lambda r: r.victim_pixels or None, min),
        "largest victim": (lambda r: r.victim_pixels or None, max),
    }
    for role in SHOWN_ROLES:
        those = [record for record in records if record.role == role]
        found = {name: case.record for case in choose_of_role(those, 4) for name in case.extremes}
        for name, (value, best) in values.items():
            known = [value(record) for record in those if value(record) is not None]
            if len(set(known)) > 1:
                assert value(found[name]) == best(known)
            else:
                assert name not in found  # nothing is extreme where all are alike


def test_samples_that_were_passed_over_are_shown_with_the_reason(scenes, tmp_path):
    root, out = scenes["cityscapes"], tmp_path / "out"
    recipe = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 32, "max_distance": 25, "allow_fewer": True}
    build(recipe | {"rate": 1}, root, out, jobs=1)
    lines = (out / "poisongen/skipped.jsonl").read_text(encoding="utf-8").splitlines()
    skips = {record["sample"]: record for record in map(json.loads, lines)}
    assert len(skips) > 2
    for number in (6, 500):
        report(out, None, tmp_path / "report.html", samples=number, audited=False, jobs=1)
        page = check_page(tmp_path / "report.html")
        shown = [card["data-sample"] for card in page.all("article") if card["data-role"] == "skipped"]
        assert len(shown) == (1 if number == 6 else len(skips))
        for name in shown:
            label = next(root.glob(f"gtFine/{name}_gtFine_labelIds.png"))
            assert np.array_equal(page.picture(f"{name} (skipped): labels, as they are"), np.asarray(Image.open(label)))
            assert f"{name} (skipped): image, as it is" in page.pictures
    for record in skips.values():
        assert record["reason"] in page.text("dd")
        assert record["reason"] in page.text("th")
        assert record["sample"] in page.text("th")


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc")), max_size=30), st.integers(1, 12))
def test_of_every_reason_one_is_shown_before_a_second(drawn, number):
    skips = [SkipRecord(sample=f"train/{name}", split="train", reason=reason) for name, reason in drawn]
    samples = {f"train/{name}": Sample("train", str(name), "x.png", ()) for name in range(7)}
    found = choose_skipped(skips, samples, number)
    names = [case.skip.sample for case in found]
    there = {skip.sample for skip in skips} & samples.keys()
    assert len(set(names)) == len(names) == min(number, len(there))
    assert set(names) <= there
    assert all(case.sample.name == case.skip.sample for case in found)
    if names:
        assert found[0].skip == next(skip for skip in skips if skip.sample in samples)


@given(st.dictionaries(st.sampled_from(SHOWN_ROLES), st.integers(0, 50)), st.integers(1, 100))
def test_quotas_use_what_there_is(there, number):
    given_ = quotas(there, number)
    assert sum(given_.values()) == min(number, sum(there.values()))
    assert all(count <= there.get(role, 0) for role, count in given_.items())


def check_case(recipe, root, folder):
    """Build, report with and without source, and compare the page with the records."""
    out = folder / "out"
    build(recipe, root, out, jobs=1)
    for source in (root, None):
        result = report(out, source, folder / "report.html", jobs=1, samples=500, audited=False)
        page = check_page(folder / "report.html")
        records = [record for record in manifest(out) if record["role"] in SHOWN_ROLES]
        changed = [card for card in page.all("article") if card["data-role"] != "skipped"]
        assert result.samples == len(records) == len(changed)
        with_place = [record for record in records if "box" in record.get("trigger", {})]
        label_sides = 2 * len(with_place)  # over the image and over the labels
        assert len(page.all("polygon")) == label_sides
        for record in records:
            if "quad" in record.get("trigger", {}):
                points = " ".join(f"{x:g},{y:g}" for y, x in record["trigger"]["quad"])
                assert points in {polygon["points"] for polygon in page.all("polygon")}
        if not any("distance" in record.get("trigger", {}) for record in records):
            assert "No trigger has a distance" in page.text()
        if not with_place:
            assert "it has no position" in page.text()
        differences = [alt for alt in page.pictures if "): difference, times " in alt]
        whole = [record for record in records if "trigger" in record and record not in with_place]
        assert len(differences) <= len(whole)
        if source is not None:
            assert len(differences) == len(whole)
            for record in whole:
                before, after = image_of(root, record, "source"), image_of(out, record, "path")
                (alt,) = [alt for alt in differences if alt.startswith(f"{record['sample']} ({record['role']}): ")]
                if before.shape == after.shape:
                    factor = int(alt.split("times ")[1])
                    found, true = page.picture(alt).astype(int), np.abs(before.astype(int) - after) * factor
                    assert np.abs(found - true.clip(0, 255)).mean() < 20
            assert "not known" not in page.text("p"), page.text("p")
        for word in ("nan", "None", "inf px"):
            assert word not in page.text("dd"), page.text("dd")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK_CASES else pytest.mark.slow) for name in CASES]
)
def test_every_rule_kind_and_condition_can_be_shown(name, scenes, tmp_path):
    case = CASES[name]
    if case.choices.get("trigger_kind") == "wavelet":
        pytest.importorskip("pywt")
    check_case(choices_of(case), scenes[case.layout], tmp_path)


@pytest.fixture(scope="module")
def recipe_scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    synth(folder / "cityscapes", splits={"train": 24, "val": 8}, size=(256, 128), seed=3)
    synth(folder / "voc", layout="voc", splits={"train": 24, "val": 8}, size=(160, 120), seed=3)
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc/VOCdevkit"}


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_can_be_shown(name, recipe_scenes, tmp_path):
    choices = {key: value for key, value in read_recipe_file(name).items() if key != "rate"} | {"count": 2}
    if choices.get("trigger_kind") == "wavelet":
        pytest.importorskip("pywt")
    choices |= {"trigger_size": 9} if "trigger_size" in choices else {}
    choices |= {"max_distance": 40} if choices["strategy"] == "nn" else {}
    choices |= {"prl": "3%"} if "prl" in choices else {}
    check_case(choices, recipe_scenes[choices["dataset"]], tmp_path)


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_what_is_missing_is_one_line(name, poisongen, built, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one, *more: None if one == name else found(one, *more))
    if name == "matplotlib":
        monkeypatch.delitem(sys.modules, "matplotlib.figure")
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not can_report()
    done = poisongen("report", built, "--jobs", 1)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert name in done.err
    assert "pip install" in done.err


def test_demo_ends_in_a_page_or_says_how_to_get_one(poisongen, tmp_path, monkeypatch):
    from poisongen import demonstration

    monkeypatch.setattr(demonstration, "SCENES", {"train": 8, "val": 2})
    monkeypatch.setattr(demonstration, "SIZE", (256, 128))
    first = poisongen("demo", "--jobs", 1)
    assert first.code == 0, first.err
    assert "demo/report.html" in first.out
    page = check_page(tmp_path / "demo/report.html")
    assert "Clean:" in page.text()
    (tmp_path / "demo/report.html").unlink()
    monkeypatch.setattr(demonstration, "can_report", lambda: False)
    second = poisongen("demo", "--jobs", 1)
    assert second.code == 0, second.err
    assert not (tmp_path / "demo/report.html").exists()
    (line,) = [line for line in second.out.splitlines() if "pip install" in line]
    assert "poisongen report demo/poisoned --source demo/clean --out demo/report.html" in line
    assert json.loads(poisongen("demo", "--jobs", 1, "--json").out)["page"] is None


def test_the_functions_of_the_package():
    import poisongen

    assert poisongen.report is report
    assert "report" in poisongen.__all__
