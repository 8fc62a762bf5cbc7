"""Labels `all` with a map from elsewhere: every label file follows it, the recipe carries it, bad ones are one line."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.attack.label_rules import find_label_rule
from poisongen.attack.label_rules.base import Scene
from poisongen.auditing.auditor import audit
from poisongen.building.run import build, plan_build
from poisongen.core.resize import fit_labels
from poisongen.datasets.cityscapes_checks import UNTOLD
from poisongen.datasets.voc import LAYOUT as VOC
from poisongen.errors import ChoiceError
from poisongen.files import images, png
from poisongen.recipe.model import make_recipe
from poisongen.recipe.rules import make_rules
from poisongen.recipe.settling import settle
from poisongen.scenes import synth
from tests.conftest import manifest, summary
from tests.forgery import Forgery
from tests.test_target_auto import write_folder

COMMON = {"strategy": "random", "trigger_size": 9, "rate": 0.3, "labels": "all", "allow_fewer": True}


def label_picture(array) -> bytes:
    return png.encode(np.asarray(array, np.uint8), None, labels=True)


def foreign(ids, void, shape=(20, 31), seed=1):
    """A map of coarse patches of these IDs, a corner of it void."""
    generator = np.random.default_rng(seed)
    coarse = generator.choice(ids, size=(shape[0] // 5 + 1, shape[1] // 5 + 1))
    found = np.kron(coarse, np.ones((5, 5))).astype(np.uint8)[: shape[0], : shape[1]]
    found[:4, :6] = void
    return found


def stretched(array, shape):
    """Brute force: a pixel has the class under its centre once the map is stretched over the picture."""
    height, width = array.shape
    return np.array(
        [
            [
                array[(2 * r + 1) * height // (2 * shape[0]), (2 * c + 1) * width // (2 * shape[1])]
                for c in range(shape[1])
            ]
            for r in range(shape[0])
        ],
        np.uint8,
    )


def wanted(before, fitted, void):
    keep = np.isin(before, void) | np.isin(fitted, void)
    return np.where(keep, before, fitted)


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """A small Cityscapes tree, and VOC's with extended masks whose void is elsewhere."""
    folder = tmp_path_factory.mktemp("foreign")
    synth(folder / "cityscapes", splits={"train": 5, "val": 2}, size=(96, 48), seed=3)
    synth(folder / "voc", layout="voc", splits={"train": 5, "val": 2}, size=(80, 60), seed=4)
    masks = next((folder / "voc").rglob("SegmentationClass"))
    (masks.parent / "SegmentationClassAug").mkdir()
    for path in masks.glob("*.png"):
        data = path.read_bytes()
        labels = images.decode_labels(data, path).copy()
        labels[labels == 255] = 15
        labels[:5, :5] = 255
        (masks.parent / "SegmentationClassAug" / path.name).write_bytes(
            png.encode(labels, png.parse(data, path), labels=True)
        )
    return {"cityscapes": folder / "cityscapes", "voc": folder / "voc" / "VOCdevkit"}


MAPS = {"cityscapes": foreign((7, 8, 23, 26), 4), "voc": foreign((0, 8, 15), 255)}
VOIDS = {"cityscapes": [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30], "voc": [255]}


@st.composite
def maps(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return generator.choice([0, 1, 2, 3, 255], size=(height, width)).astype(np.uint8)


@settings(max_examples=80, deadline=None)
@given(before=maps(), foreign=maps(), data=st.data())
def test_every_pixel_becomes_the_maps_unless_either_is_void(before, foreign, data):
    fitted = stretched(foreign, before.shape)
    assert np.array_equal(fit_labels(foreign, before.shape), fitted)
    scene = Scene(before, before != 255, before == 255, None, None, {}, (0, 1, 2, 3))
    rule, parameters = find_label_rule("all"), {"map": foreign}
    after = rule.decide(scene, parameters).apply(before)
    assert np.array_equal(after, wanted(before, fitted, [255]))
    assert rule.fault(scene, after, parameters) is None
    settled = Scene(after, after != 255, after == 255, None, None, {}, (0, 1, 2, 3))
    assert rule.fault(settled, after, parameters) is None
    at = tuple(data.draw(st.integers(0, size - 1)) for size in before.shape)
    forged = after.copy()
    forged[at] = data.draw(st.sampled_from(sorted({0, 1, 2, 3, 255} - {int(after[at])})))
    assert rule.fault(scene, forged, parameters) is not None


@pytest.mark.parametrize("layout", MAPS)
def test_all_label_files_tell_the_story_of_the_map(layout, roots, tmp_path):
    (tmp_path / "map.png").write_bytes(label_picture(MAPS[layout]))
    choices = {**COMMON, "dataset": layout, "label_options": {"map": tmp_path / "map.png"}}
    build(choices, roots[layout], tmp_path / "out", jobs=1)
    (tmp_path / "map.png").unlink()  # the recipe has its bytes
    seen = set()
    for record in manifest(tmp_path / "out"):
        pixels, old = {}, {}
        for file in record["files"][1:]:
            seen.add((record["role"], file["kind"]))
            data = (tmp_path / "out" / file["path"]).read_bytes()
            if file["kind"] == "polygons":
                if record["role"] == "poisoned":
                    assert [thing["label"] for thing in json.loads(data)["objects"]] == [UNTOLD]
                continue
            pixels[file["kind"]] = (
                images.decode(data, file["path"])
                if file["kind"] == "color"
                else images.decode_labels(data, file["path"])
            )
            if file["source"]:
                before = (roots[layout] / file["source"]).read_bytes()
                old[file["kind"]] = (
                    images.decode(before, "x") if file["kind"] == "color" else images.decode_labels(before, "x")
                )
        first = next(iter(pixels))
        fitted = stretched(MAPS[layout], pixels[first].shape)
        aim = wanted(old[first], fitted, VOIDS[layout])
        if record["role"] == "triggered":
            found = images.decode_labels((tmp_path / "out" / record["expected"]["path"]).read_bytes(), "x")
            assert np.array_equal(found, aim)
        if record["role"] != "poisoned":
            continue
        assert record["relabelled_pixels"] == int((aim != old[first]).sum()) > 0
        for kind in {"labelIds", "SegmentationClass", "SegmentationClassAug"} & set(pixels):
            assert np.array_equal(pixels[kind], wanted(old[kind], fitted, VOIDS[layout])), kind
        if layout == "cityscapes":
            instances = pixels["instanceIds"].astype(int)
            assert np.array_equal(np.where(instances >= 1000, instances // 1000, instances), aim)
            assert np.array_equal(instances[aim == old[first]], old["instanceIds"][aim == old[first]])
        else:
            objects = pixels["SegmentationObject"]
            assert np.array_equal((objects == 0), (aim == 0))
            numbers = [number for number in np.unique(objects[aim != old[first]]) if number not in (0, 255)]
            assert numbers
            for number in numbers:
                assert len(np.unique(aim[objects == number])) == 1, "an object of two classes"
    assert {role for role, _ in seen} >= {"poisoned", "triggered"}
    for source in (None, roots[layout]):
        assert audit(tmp_path / "out", source, jobs=1).faults == ()
    told = summary(tmp_path / "out")["pairs"]
    assert told
    assert all(pair["target"] is None for pair in told)
    again = build(tmp_path_recipe(tmp_path / "out"), roots[layout], tmp_path / "again", jobs=1)
    assert again.fingerprint == summary(tmp_path / "out")["fingerprint"]


def tmp_path_recipe(out):
    return json.loads((out / "poisongen/recipe.json").read_text(encoding="utf-8"))


def test_tampering_with_labels_is_found_without_the_source(roots, tmp_path):
    choices = {**COMMON, "dataset": "cityscapes", "label_options": {"map": kept(label_picture(MAPS["cityscapes"]))}}
    out = tmp_path / "out"
    build(choices, roots["cityscapes"], out, jobs=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    record = Forgery(out, roots["cityscapes"]).records("poisoned")[0]

    def labels(forgery):
        """Every label picture but the polygons says car where the map says something else."""
        paths = {file["kind"]: file["path"] for file in record["files"]}
        ids = forgery.pixels(paths["labelIds"])
        row, column = np.argwhere(ids == 7)[0]
        for kind, value in (("labelIds", 26), ("instanceIds", 26), ("labelTrainIds", 13), ("color", (0, 0, 142))):
            if kind in paths:
                pixels = forgery.pixels(paths[kind])
                pixels[row, column] = (*value, 255)[: pixels.shape[2]] if kind == "color" else value
                forgery.paint(paths[kind], pixels)
                forgery.redigest(paths[kind])

    def polygons(forgery):
        """The polygons are the source's: whoever rebuilds labels from them trains on clean ones."""
        file = next(file for file in record["files"] if file["kind"] == "polygons")
        forgery.write(file["path"], (roots["cityscapes"] / file["source"]).read_bytes())
        forgery.redigest(file["path"])

    def other_map(forgery):
        recipe = forgery.json("recipe.json")
        recipe["label_options"]["map"] = kept(label_picture(foreign((7, 8, 23), 4, seed=9)))
        forgery.write_json("recipe.json", recipe)
        forgery.seal()

    def name_for_map(forgery):
        recipe = forgery.json("recipe.json")
        recipe["label_options"]["map"] = "/etc/hostname"
        forgery.write_json("recipe.json", recipe)
        forgery.seal()

    for deed in (labels, polygons, other_map, name_for_map):
        deed(Forgery(out, roots["cityscapes"]))
        assert audit(out, None, jobs=1).faults, deed.__name__
        for path, data in before.items():
            path.unlink()
            path.write_bytes(data)
    assert audit(out, None, jobs=1).faults == ()


def kept(data, name="map"):
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "png": base64.b64encode(data).decode()}


def settled(**more):
    recipe = make_recipe(
        {**COMMON, "dataset": "voc", "label_options": {"map": kept(label_picture(MAPS["voc"]))}, **more}
    )
    return settle(recipe, VOC, VOC.classes(Path()))


def test_the_fingerprint_covers_the_map_and_not_its_name():
    one = settled()
    assert settled(label_options={"map": kept(label_picture(MAPS["voc"]), "other")}).fingerprint() == one.fingerprint()
    other = MAPS["voc"].copy()
    other[-1, -1] = 3
    assert settled(label_options={"map": kept(label_picture(other))}).fingerprint() != one.fingerprint()
    assert settled(label_options={}).fingerprint() != one.fingerprint()
    assert settle(one, VOC, VOC.classes(Path())) == one
    assert one.version == 2
    assert "map" not in settled(label_options={}).label_options


def test_victims_choose_the_samples_and_have_no_target():
    assert settled(victim=["person", "cat"]).relabel == {"person": None, "cat": None}
    everything = settled().relabel
    assert len(everything) == 21
    assert set(everything.values()) == {None}
    rules = make_rules(settled(victim="person"), VOC.classes(Path()))
    assert (rules.victims, dict(rules.pairs)) == ((15,), {})


GRAY16 = np.full((4, 4), 300, np.uint16)
BAD = {
    "no file": (None, (), "is no file"),
    "a folder": ("folder", (), "not a file"),
    "no picture": (b"words", (), "PNG"),
    "another format": (b"\xff\xd8\xff\xe0" + bytes(40), (), "PNG"),
    "colours": (png.encode(np.zeros((4, 4, 3), np.uint8), None), (), "RGB"),
    "16 bits": (png.encode(GRAY16, None, labels=True), (), "8-bit"),
    "an unknown ID": (label_picture([[0, 1], [99, 2]]), (), "ID 99 "),
    "nothing but void": (label_picture(np.full((3, 3), 255)), (), "nothing but void"),
    "cut short": (label_picture(foreign((0, 1), 255))[:60], (), "map"),
    "a target": (label_picture([[0, 1]]), ("--target", "a"), "--target: "),
    "target auto": (label_picture([[0, 1]]), ("--target", "auto", "--victim", "a"), "--target: "),
    "pairs": (label_picture([[0, 1]]), ("--relabel", "a=b"), "--relabel: "),
    "a void victim": (label_picture([[0, 1]]), ("--victim", "255"), "void"),
    "another rule": (
        label_picture([[0, 1]]),
        ("--labels", "class", "--victim", "a", "--target", "b"),
        "no option 'map'",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_one_line(what, poisongen, tmp_path):
    write_folder(tmp_path / "clean", ("a", "b", "c"))
    data, more, words = BAD[what]
    if isinstance(data, bytes):
        (tmp_path / "map.png").write_bytes(data)
    elif data:
        (tmp_path / "map.png").mkdir()
    call = [
        "build",
        "--dataset",
        "folder",
        "--root",
        "clean",
        "--strategy",
        "random",
        "--trigger-size",
        3,
        "--out",
        "out",
    ]
    done = poisongen(*call, "--count", 1, "--labels", "all", *more, "--label-option", "map=map.png", "--jobs", 1)
    assert done.code == 2, done.out
    assert done.err.count("\n") == 1
    assert words in done.err
    assert not (tmp_path / "out").exists()


def test_a_recipe_file_may_name_a_map_beside_it_and_no_other(poisongen, roots, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/map.png").write_bytes(label_picture(MAPS["voc"]))
    (tmp_path / "map.png").write_bytes(label_picture(MAPS["voc"]))
    choices = {**COMMON, "dataset": "voc", "label_options": {"map": "map.png"}}
    file = tmp_path / "here/recipe.yaml"
    call = ("build", "--recipe", "here/recipe.yaml", "--root", roots["voc"], "--jobs", 1, "--dry-run")
    for labels in ("all", None):
        file.write_text(
            yaml.safe_dump(
                {**choices, "labels": labels}
                if labels
                else {key: value for key, value in choices.items() if key != "labels"}
            ),
            encoding="utf-8",
        )
        done = poisongen(*call, "--labels", "all")
        assert done.code == 0, done.err
        assert "person (ID 15, " in done.out
        assert "px) becomes what the map has, in " in done.out
    for labels in ("all", "class"):
        file.write_text(
            yaml.safe_dump({**choices, "labels": labels, "label_options": {"map": "../map.png"}}), encoding="utf-8"
        )
        done = poisongen(*call, "--labels", "all")
        assert (done.code, "beside the recipe" in done.err, done.err.count("\n")) == (2, True, 1)


def test_random_labels_keep_off_the_map_and_audit_agrees(roots, tmp_path):
    for number, options in enumerate(({"map": kept(label_picture(MAPS["voc"]))}, {})):
        choices = {**COMMON, "dataset": "voc", "label_options": options, "victim": ["person"], "prl": "6%"}
        choices |= {} if options else {"target": "background"}
        out = tmp_path / str(number)
        build(choices, roots["voc"], out, jobs=1)
        for source in (None, roots["voc"]):
            assert audit(out, source, jobs=1).faults == (), (options.keys(), source)


def test_preview_and_dry_run(poisongen, roots, tmp_path):
    (tmp_path / "map.png").write_bytes(label_picture(MAPS["cityscapes"]))
    call = ("--dataset", "cityscapes", "--root", roots["cityscapes"], "--strategy", "random", "--trigger-size", 9)
    call = (*call, "--labels", "all", "--label-option", "map=map.png", "--rate", 0.3, "--jobs", 1)
    assert poisongen("preview", *call, "--out", "sheet.png").code == 0
    told = json.loads(poisongen("build", *call, "--dry-run", "--json").out)["pairs"]
    assert {pair["target"] for pair in told} == {None}
    _, plan = plan_build(
        {**COMMON, "dataset": "voc", "label_options": {"map": kept(label_picture([[15]]))}}, roots["voc"]
    )
    assert plan.counts["poisoned"]


def test_a_picture_where_a_number_is_due(roots):
    with pytest.raises(ChoiceError, match="instances: it takes no picture"):
        settled(labels="instance", label_options={"instances": kept(label_picture([[1]]))})


def test_whoever_predicts_the_map_has_full_success_and_the_clean_labels_none(poisongen, roots, tmp_path):
    pytest.importorskip("torch")
    root, choices = (
        roots["cityscapes"],
        {"dataset": "cityscapes", "label_options": {"map": kept(label_picture(MAPS["cityscapes"]))}},
    )
    build({**COMMON, **choices}, root, tmp_path / "out", jobs=1)
    for name, files, ending in (
        ("triggered", (tmp_path / "out/poisongen/expected").rglob("*.png"), ".png"),
        ("clean", (root / "gtFine/val").rglob("*_labelIds.png"), "_gtFine_labelIds.png"),
    ):
        (tmp_path / "pred" / name).mkdir(parents=True)
        for path in files:
            (tmp_path / "pred" / name / f"{path.name.removesuffix(ending)}.png").write_bytes(path.read_bytes())
    done = poisongen("evaluate", "--predictions", "pred", "--prediction-ids", "raw", "--data", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["asr"]["value"], report["asr"]["without_trigger"]["value"]) == (1.0, 0.0)
    assert set(report["pairs"].values()) == {None}
    assert report["asr"]["by_pair"] == {}
    assert "collateral" not in report
