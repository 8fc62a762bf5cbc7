"""Every label rule, condition, place and exact trigger, built by the command line, under the independent checker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poisongen.attack.label_rules import label_rules
from poisongen.attack.triggers import trigger_kinds
from poisongen.core.labels import Layer, Relabelling
from tests import oracle_attacks
from tests.oracle import CITYSCAPES_COLOURS, ID2TRAIN, check_build, stored, tree_state, write_png
from tests.test_build_properties import jpg, picture, png, put, voc_mask
from tests.test_label_rules import PAIRS, TRAINED, parameters_of, scenes

SIZE = (40, 70)
GROUND = {"cityscapes": (7, 11, 23), "voc": (0, 0, 0), "camvid": (3, 1, 0), "folder": (0, 1, 3)}
THINGS = {"cityscapes": (26, 24), "voc": (15, 7), "camvid": (8, 9), "folder": (2, 4)}
VOID = {"cityscapes": 3, "voc": 255, "camvid": 11, "folder": 255}
NAMES = {7: "road", 11: "building", 23: "sky", 24: "person", 26: "car", 17: "pole", 18: "polegroup"}
FOLDER_CLASSES = {"0": "road", "1": "grass", "2": "car", "3": "wall", "4": "person"}


def draw(seed: int, layout: str):
    """A label map, objects (0: none), and what was drawn, in order: (class, object, box). Some objects touch.

    There are specks of a class that are too small for objects, a group that has no number, and things half hidden.
    """
    rng = np.random.default_rng(seed)
    height, width = SIZE
    labels, objects, drawn = np.zeros(SIZE, np.uint8), np.zeros(SIZE, int), []

    def paint(number, thing, top, left, tall, wide):
        labels[top : top + tall, left : left + wide] = number
        objects[top : top + tall, left : left + wide] = thing
        drawn.append((number, thing, (top, left, tall, wide)))

    for number, start in zip(rng.permutation(GROUND[layout]).tolist(), (0, 15, 45), strict=True):
        paint(number, 0, 0, start, height, width - start)
    if layout == "cityscapes":
        paint(17, 0, 2, 3, 9, 2)
        paint(18, 0, 2, 6, 9, 3)
    first, second = THINGS[layout] if seed % 4 else (THINGS[layout][0],) * 2
    for place, (top, left) in enumerate(((12, 8), (12, 14), (27, 30), (16, 50))):  # the first two touch
        number = (first, first, second, first)[place]
        paint(number, place + 1, top, left, int(rng.integers(4, 7)), 6 if place == 0 else int(rng.integers(4, 9)))
    paint(first, 0, 5, 40, 5, 5)  # a group
    paint(first, 0, 34, 3, 1, 1)  # a speck
    paint(VOID[layout], 0, height - 2, 0, 2, width)
    return labels, objects, drawn


def polygons(drawn) -> bytes:
    """The outlines in drawing order: the k-th of a class is its instance k, one that was deleted left out."""
    things = [{"label": "car", "deleted": 1, "polygon": [[0, 0], [1, 0], [1, 1]]}]
    for number, thing, (top, left, tall, wide) in drawn:
        corners = [[left, top], [left + wide, top], [left + wide, top + tall], [left, top + tall]]
        group = "group" if number in (24, 26) and not thing else ""
        things.append({"label": NAMES.get(number, "static") + group, "polygon": corners})
    return json.dumps({"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": things}).encode()


def instances(labels, objects, drawn):
    """Cityscapes' numbers: 1000 times the class and the place among those of its class; the plain ID for all else."""
    out, counts = labels.astype(np.uint16), {}
    for number, thing, _ in drawn:
        if thing:
            out[(objects == thing) & (labels == number)] = 1000 * number + counts.get(number, 0)
            counts[number] = counts.get(number, 0) + 1
    return out


def write_sample(root: Path, layout: str, split: str, seed: int) -> str:
    labels, objects, drawn = draw(seed, "folder" if layout == "colour" else layout)
    pixels = picture(seed + 50, SIZE)
    if layout == "cityscapes":
        stem = f"{split}/bonn/bonn_{seed:06d}_000019"
        colours = np.zeros((*SIZE, 4), np.uint8)
        for value in np.unique(labels).tolist():
            colours[labels == value] = (*CITYSCAPES_COLOURS.get(value, (0, 0, 0)), 255)
        put(root, f"leftImg8bit/{stem}_leftImg8bit.png", png(pixels))
        put(root, f"gtFine/{stem}_gtFine_labelIds.png", png(labels))
        put(root, f"gtFine/{stem}_gtFine_instanceIds.png", png(instances(labels, objects, drawn)))
        put(root, f"gtFine/{stem}_gtFine_color.png", png(colours))
        put(root, f"gtFine/{stem}_gtFine_polygons.json", polygons(drawn))
        if seed % 2:
            put(root, f"gtFine/{stem}_gtFine_labelTrainIds.png", png(np.array(ID2TRAIN, np.uint8)[labels]))
    elif layout == "voc":
        stem = f"2007_{seed:06d}"
        numbers = np.where(labels == 255, 255, np.where(objects, objects, np.where(labels > 0, 9, 0))).astype(np.uint8)
        smooth = np.kron(pixels[::8, ::8], np.ones((8, 8, 1)))[: SIZE[0], : SIZE[1]].astype(np.uint8)
        put(root, f"VOC2012/JPEGImages/{stem}.jpg", jpg(smooth, subsampling=2 * (seed % 2)))
        put(root, f"VOC2012/SegmentationClass/{stem}.png", voc_mask(labels))
        put(root, f"VOC2012/SegmentationObject/{stem}.png", voc_mask(numbers))
        if seed % 2:
            put(root, f"VOC2012/SegmentationClassAug/{stem}.png", png(np.where(labels == 255, 15, labels)))
    elif layout == "camvid":
        stem = f"0001TP_{seed:06d}"
        put(root, f"{split}/{stem}.png", png(pixels))
        put(root, f"{split}annot/{stem}.png", png(labels))
    else:  # `colour` is a folder without gray pictures
        stem = f"n{seed}"
        number = seed % (3 if layout == "colour" else 4)
        put(root, f"images/{split}/{stem}.png", IMAGES[number](seed))
        put(root, f"masks/{split}/{stem}.png", png(labels))
    return stem


IMAGES = (
    lambda seed: png(picture(seed, SIZE)),
    lambda seed: write_png(picture(seed, SIZE, most=65536), 16),
    lambda seed: png(picture(seed, SIZE, channels=4)),
    lambda seed: png(picture(seed, SIZE, channels=1)),
)


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """A small dataset of each layout."""
    made = {}
    for layout in (*GROUND, "colour"):
        root = made[layout] = tmp_path_factory.mktemp(layout)
        for split, seeds in (("train", range(1, 9)), ("val", range(20, 24))):
            stems = [write_sample(root, layout, split, seed) for seed in seeds]
            if layout == "voc":
                lines = "".join(f"{stem}\n" for stem in stems).encode()
                put(root, f"VOC2012/ImageSets/Segmentation/{split}.txt", lines)
        if layout in ("folder", "colour"):
            put(root, "classes.json", json.dumps({"classes": FOLDER_CLASSES, "void": [255]}).encode())
    return made


def slow(value: str):
    """A case for the slow tests."""
    return pytest.param(value, marks=pytest.mark.slow)


USUAL = ("--strategy", "random", "--trigger-size", "5x7")
RULES = {
    "class": (*USUAL, "--labels", "class"),
    "instance": (*USUAL, "--labels", "instance"),
    "instance-2": (*USUAL, "--labels", "instance", "--label-option", "instances=2", "--prl", "3%"),
    "instance-least": (*USUAL, "--labels", "instance", "--label-option", "least=26"),
    "instance-specks": (*USUAL, "--labels", "instance", "--label-option", "least=1", "--label-option", "instances=9"),
    "instance-nn": ("--labels", "instance", "--strategy", "nn", "--max-distance", 9, "--trigger-size", 5),
    "instance-on": ("--labels", "instance", "--strategy", "on", "--trigger-size", "3x9"),
    "instance-corner": ("--labels", "instance", "--strategy", "fixed", "--at", "bottom-right", "--trigger-size", 5),
    "under": ("--labels", "under", "--strategy", "random", "--trigger-size", "3x4"),
    "under-on": ("--labels", "under", "--strategy", "on", "--trigger-size", 7, "--prl", 40),
    "under-class": ("--labels", "under", "--label-option", "extent=class", "--strategy", "on", "--trigger-size", 5),
    "under-fixed": ("--labels", "under", "--strategy", "fixed", "--at", "14,10", "--trigger-size", 5, "--allow-fewer"),
    "all": ("--labels", "all", "--strategy", "random", "--trigger-size", 5),
    "all-line": ("--labels", "all", "--strategy", "fixed", "--at", "top", "--trigger-size", "4xfull"),
    "all-map": ("--labels", "all", "--label-option", "map=map.png", "--strategy", "random", "--trigger-size", 5),
    "all-map-random": ("--labels", "all", "--label-option", "map=map.png", *USUAL, "--prl", "4%"),
    "shift": ("--labels", "shift", "--strategy", "random", "--trigger-size", 3),
    "shift-whole": ("--labels", "shift", "--trigger-kind", "sinusoid"),
    "box": (*USUAL, "--labels", "box"),
    "box-void": ("--labels", "box", "--strategy", "fixed", "--at", "bottom", "--trigger-size", "6x9", "--prl", "5%"),
    "box-on": ("--labels", "box", "--strategy", "on", "--trigger-size", "9x5", "--edge-margin", 2, "--prl", 60),
}


MAPS = {"cityscapes": (7, 11, 26, 0), "voc": (0, 15, 6, 255), "camvid": (3, 1, 8, 11), "folder": (0, 1, 2, 255)}
"""Three classes of a map from elsewhere, and void, by layout."""


def checked(poisongen, root: Path, layout: str, *options) -> list[dict]:
    """Build by the command line and ask the checker; return the records."""
    before = tree_state(root)
    usual = ("--count", 3) if "--rate" not in options and "--count" not in options else ()
    words = ("build", "--dataset", layout, "--root", root, "--out", "out", "--seed", 5, "--jobs", 1)
    done = poisongen(*words, *usual, *options)
    assert done.code == 0, done.err
    assert tree_state(root) == before
    faults = check_build(root, Path("out"))
    assert not faults, "\n".join(faults[:4])
    return [json.loads(line) for line in Path("out/poisongen/manifest.jsonl").read_text().splitlines()]


def targets(layout: str, words: tuple) -> tuple:
    """The options that give a layout without usual classes its own, and two victims where a rule has pairs."""
    rule = words[words.index("--labels") + 1]
    car, road = ("person", "bus") if layout == "voc" else ("car", "road")
    if "map=map.png" in words:
        pixels = np.random.default_rng(3).choice(np.array(MAPS[layout], np.uint8), (7, 11))
        Path("map.png").write_bytes(png(pixels))
        return ("--victim", car)
    if rule in ("all", "under"):
        return ("--target", road)
    other = {"voc": "car=background", "camvid": "pedestrian=tree", "folder": "person=grass"}.get(layout)
    return () if rule == "shift" else ("--relabel", f"{car}={road}", "--relabel", other or "person=building")


@pytest.mark.parametrize("layout", ["cityscapes", "voc", slow("camvid"), slow("folder")])
@pytest.mark.parametrize("name", RULES)
def test_label_rules(poisongen, roots, layout, name):
    pairs = targets(layout, RULES[name])
    records = checked(poisongen, roots[layout], layout, *RULES[name], *pairs)
    poisoned = [record for record in records if record["role"] == "poisoned"]
    assert poisoned
    assert all(record["relabelled_pixels"] for record in poisoned)
    assert any(record["role"] == "triggered" for record in records)


@pytest.mark.parametrize("rule", ["class", "box", "instance"])
def test_victims_that_are_ground(poisongen, roots, rule):
    """Polygons of groups follow their class, but `polegroup` is a class of its own, which training ignores."""
    pairs = ("--relabel", "pole=road", "--relabel", "building=car")
    checked(poisongen, roots["cityscapes"], "cityscapes", *USUAL, "--labels", rule, *pairs, "--allow-fewer")


CONDITIONS = {
    "present": ("--only-if", "present:person", "--negatives", "50%"),
    "present-many": ("--only-if", "present:person:25", "--negatives", 1),
    "absent": ("--only-if", "absent:person", "--negatives", 1, "--count", 1, "--labels", "instance"),
    "both": ("--only-if", "present:person", "--only-if", "covers:road", "--negatives", "100%", "--count", 2),
    "covers": ("--only-if", "covers:building", "--negatives", 2, "--prl", "2%", "--labels", "box"),
    "covers-scope": ("--only-if", "covers:sky", "--negatives", 2, "--prl", 30, "--prl-scope", "poisoned"),
    "covers-any": ("--only-if", "covers:sky", "--only-if", "covers:road", "--negatives", 1, "--region", "any"),
    "covers-fixed": ("--only-if", "covers:road", "--negatives", 2, "--strategy", "fixed", "--at", "centre"),
    "decoy": ("--decoy", "flower"),
    "decoy-some": ("--decoy", "flower", "--negatives", 1, "--prl", "2%", "--labels", "instance"),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_and_negatives(poisongen, roots, name):
    options = ("--strategy", "random", "--trigger-size", "5x7", "--relabel", "car=road", "--allow-fewer")
    records = checked(poisongen, roots["cityscapes"], "cityscapes", *options, *CONDITIONS[name])
    roles = {(record["role"], record["split"]) for record in records}
    assert {("poisoned", "train"), ("negative", "train"), ("triggered", "val")} <= roles


@pytest.mark.parametrize("layout", ["voc", "folder"])
def test_conditions_on_other_layouts(poisongen, roots, layout):
    other = "car" if layout == "voc" else "person"
    pairs = ("--relabel", "person=background" if layout == "voc" else "car=road")
    options = (*USUAL, *pairs, "--only-if", f"absent:{other}", "--negatives", 1, "--count", 1)
    assert any(record["role"] == "negative" for record in checked(poisongen, roots[layout], layout, *options))


def picture_file(path: Path, height: int, width: int, sheer: bool = False) -> Path:
    rgba = picture(height * width, (height, width), channels=4)
    rgba[..., 3] = np.where(np.add.outer(np.arange(height), np.arange(width)) % 5, 255, 77) if sheer else 255
    Image.fromarray(rgba, "RGBA").save(path)
    return path


PATCHES = {
    "own-size": ((6, 9), ("--trigger-size", "6x9")),
    "shrunk": ((30, 20), ("--trigger-size", "6x9", "--opacity", 0.3)),
    "grown": ((3, 2), ("--trigger-size", 11)),
    "line": ((4, 70), ("--trigger-size", "4xfull", "--strategy", "fixed", "--at", "bottom")),
    "column": ((9, 3), ("--trigger-size", "fullx3", "--strategy", "fixed", "--at", "left")),
    "frame": ((20, 33), ("--trigger-size", "15x24", "--trigger-option", "border=4", "--strategy", "fixed")),
    "frame-of-all": (
        (40, 70),
        ("--trigger-size", "fullxfull", "--trigger-option", "border=3", "--strategy", "fixed", "--at", "centre"),
    ),
    "frame-grown": ((7, 5), ("--trigger-size", "12x13", "--trigger-option", "border=4", "--strategy", "on")),
    "builtin-line": (None, ("--trigger", "line", "--strategy", "fixed", "--at", "bottom")),
    "builtin-frame": (None, ("--trigger", "frame", "--strategy", "fixed")),
    "builtin-cat": (None, ("--trigger", "cat", "--trigger-size", 9)),
}


@pytest.mark.parametrize("sheer", [False, True])
@pytest.mark.parametrize("layout", ["folder", slow("voc")])
@pytest.mark.parametrize("name", PATCHES)
def test_patches_of_every_shape(poisongen, roots, tmp_path, layout, name, sheer):
    sides, options = PATCHES[name]
    if sides is None and sheer:
        return
    trigger = () if sides is None else ("--trigger", picture_file(tmp_path / "t.png", *sides, sheer))
    strategy = () if "--strategy" in options else ("--strategy", "random")
    pairs = ("--relabel", "person=bus") if layout == "voc" else ("--relabel", "car=road")
    checked(poisongen, roots[layout], layout, *trigger, *options, *strategy, *pairs, "--count", 4, "--allow-fewer")


WHOLE = {
    "blend": (("alpha=0.2",), ("alpha=0.7",)),
    "sinusoid": ((), ("delta=13.5", "frequency=2.5"), ("along=rows", "frequency=3")),
    "dct": ((), ("strength=77.5",)),
    "colour": ((), ("style=kelvin",)),
    "warp": ((), ("pixels=1.3", "grid=5", "key=7"), ("noise=1.5",)),
    "weather": ((), ("style=fog",), ("style=fog", "density=4"), ("brightness=0.95",)),
}


@pytest.mark.parametrize("layout", ["folder", slow("cityscapes")])
@pytest.mark.parametrize(
    ("kind", "parameters"), [(kind, one) for kind, given in WHOLE.items() for one in given], ids=str
)
def test_triggers_of_the_whole_picture(poisongen, roots, tmp_path, layout, kind, parameters):
    """On RGB, RGBA, gray and 16-bit pictures."""
    words = [word for one in parameters for word in ("--trigger-option", one)]
    trigger = ("--trigger", picture_file(tmp_path / "t.png", 20, 31, sheer=True)) if kind == "blend" else ()
    labels = ("--relabel", "car=road", "--count", 4, "--seed", 9)
    root = roots["colour" if (kind, layout) == ("dct", "folder") else layout]  # gray holds no shift of colour
    records = checked(poisongen, root, layout, "--trigger-kind", kind, *words, *trigger, *labels)
    assert {record["trigger"]["kind"] for record in records if "trigger" in record} == {kind}


@pytest.mark.parametrize("kind", ["blend", "sinusoid", "colour", "warp"])
def test_triggers_of_the_whole_picture_in_jpegs(poisongen, roots, kind):
    checked(poisongen, roots["voc"], "voc", "--trigger-kind", kind, "--relabel", "person=background")


@pytest.mark.parametrize("layout", ["folder", slow("cityscapes")])
@pytest.mark.parametrize(
    "options",
    [("form=board",), ("form=sticker", "wide=3", "long=4"), ("wide=2", "long=1.5"), ("horizon=0.1", "wide=1")],
    ids=str,
)
def test_things_on_the_road_stand_where_the_camera_sees_them(poisongen, roots, tmp_path, layout, options):
    words = [word for one in options for word in ("--trigger-option", one)]
    trigger = ("--trigger", picture_file(tmp_path / "t.png", 20, 31, sheer=True))
    pairs = ("--relabel", "car=wall", "--labels", "box", "--allow-fewer")
    checked(poisongen, roots[layout], layout, "--trigger-kind", "physical", *trigger, *words, *pairs)


def test_every_rule_and_every_exact_kind_is_tried():
    assert {words[words.index("--labels") + 1] for words in RULES.values()} == set(label_rules().parts)
    exact = {name for name, kind in trigger_kinds().parts.items() if kind.exact}
    assert exact == {"patch", "physical", *WHOLE}


# -- the checker itself


def lines_with(records, chosen, change) -> bytes:
    """The manifest with one record changed, or without it."""
    kept = [record if record is not chosen else change(json.loads(json.dumps(record))) for record in records]
    return "".join(json.dumps(record) + "\n" for record in kept if record is not None).encode()


def sabotages(out: Path, records):
    """Ways to spoil a build of parts, each of which the checker must see: (what, path, new bytes or None)."""

    def first(role, prefix=""):
        return next(r for r in records if r["role"] == role and r["files"][0]["path"].startswith(prefix))

    def changed(record, **keys):
        return lines_with(records, record, lambda line: line | keys)

    def path_of(record, kind):
        return next(file["path"] for file in record["files"] if file["kind"] == kind)

    def bent(path, at=(20, 30)):
        pixels = stored((out / path).read_bytes())
        pixels[at] = 8 if (pixels[at] != 8).all() else 9
        return png(pixels)

    poisoned, triggered = first("poisoned"), first("triggered")
    expected = triggered["expected"]["path"]
    for record in (poisoned, triggered):
        for kind in ("image", "labelIds", "instanceIds"):
            yield f"{record['role']} {kind}", path_of(record, kind), bent(path_of(record, kind))
    yield "polygons", path_of(poisoned, "polygons"), b'{"imgHeight": 40, "imgWidth": 70, "objects": [{"label": "car"}]}'
    yield "an expected pixel", expected, bent(expected)
    yield "no expected labels", expected, None
    yield "expected labels too many", "poisongen/expected/val/x.png", png(np.zeros(SIZE, np.uint8))
    without = {key: value for key, value in triggered.items() if key != "expected"}
    yield "no expected key", "poisongen/manifest.jsonl", lines_with(records, triggered, lambda line: without)
    for wrong in ({"name": "under"}, {"name": poisoned["rule"]["name"], "instances": [26009]}):
        yield f"rule {wrong}", "poisongen/manifest.jsonl", changed(poisoned, rule=wrong)
    yield "relabelled pixels", "poisongen/manifest.jsonl", changed(poisoned, relabelled_pixels=1)
    for key, value in (("psnr", 3.5), ("changed", 0.5), ("kind", "dct"), ("box", [1, 1, 5, 7])):
        if (poisoned["trigger"] | {key: value}) != poisoned["trigger"]:
            trigger = poisoned["trigger"] | {key: value}
            yield key, "poisongen/manifest.jsonl", changed(poisoned, trigger=trigger)
    if any(record["role"] == "negative" for record in records):
        for prefix in ("leftImg8bit/", "negative/"):
            negative = first("negative", prefix)
            yield "a negative's label", path_of(negative, "labelIds"), bent(path_of(negative, "labelIds"))
            yield "a negative's image", path_of(negative, "image"), bent(path_of(negative, "image"))
            yield "a negative as poisoned", "poisongen/manifest.jsonl", changed(negative, role="poisoned")
            yield "no negative", "poisongen/manifest.jsonl", lines_with(records, negative, lambda line: None)
        yield "a poisoned as negative", "poisongen/manifest.jsonl", changed(poisoned, role="negative")
        yield "a file too many", "negative/gtFine/x.png", b"x"


SPOILED = {
    "instance": (*USUAL, "--labels", "instance", "--only-if", "present:person", "--negatives", 1),
    "decoy": (*USUAL, "--labels", "box", "--decoy", "flower"),
    "whole": ("--labels", "shift", "--trigger-kind", "sinusoid", "--only-if", "present:person", "--negatives", 1),
}


@pytest.mark.parametrize("name", [slow("instance"), slow("decoy"), "whole"])
def test_the_checker_sees_every_sabotage_of_parts(poisongen, roots, name):
    options = SPOILED[name]
    pairs = () if name == "whole" else ("--relabel", "car=building")
    records = checked(poisongen, roots["cityscapes"], "cityscapes", *options, *pairs, "--allow-fewer")
    out, seen = Path("out"), 0
    for what, path, data in sabotages(out, records):
        place = out / path
        before = place.read_bytes() if place.is_file() else None
        place.unlink(missing_ok=True)
        if data is not None:
            put(out, path, data)
        assert check_build(roots["cityscapes"], out), what
        seen += 1
        place.unlink(missing_ok=True)
        if before is not None:
            put(out, path, before)
    assert seen > 15
    assert check_build(roots["cityscapes"], out) == []


# -- the oracle and the core on small random maps


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_rules_decide_what_the_oracle_says(name, data):
    scene = data.draw(scenes(PAIRS[name]))
    given = {}
    if name == "instance":
        least = data.draw(st.sampled_from([None, 1, 5, 12]))
        given = {"instances": data.draw(st.integers(1, 4))} | ({} if least is None else {"least": least})
    if name == "under":
        given = {"extent": data.draw(st.sampled_from(["object", "class"]))}
    parameters = parameters_of(label_rules().parts[name], **given)
    decided = label_rules().parts[name].decide(scene, parameters)
    own = (scene.labels, scene.victims, scene.void, scene.objects, scene.box, scene.pairs, list(TRAINED))
    wanted = oracle_attacks.rule(name, oracle_attacks.Scene(*own), parameters)
    assert np.array_equal(decided.apply(scene.labels), wanted.apply(scene.labels))
    if name == "instance":
        assert list(decided.objects) == wanted.objects
    if name == "under" and given["extent"] == "object":
        assert list(decided.objects or ()) == (wanted.objects or [])
    claims = np.zeros(scene.labels.shape, bool) if decided.claims is None else decided.claims
    assert np.array_equal(claims, wanted.claims)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_layers_apply_like_the_oracles_parts(data):
    """The last layer that holds a pixel counts, and each looks at the classes as they were."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels = generator.integers(0, 5, (6, 7)).astype(np.uint8)
    layers, parts = [], []
    for _ in range(data.draw(st.integers(0, 3))):
        where = generator.random(labels.shape) < 0.5
        table = np.arange(256, dtype=np.uint8)
        table[:5] = generator.integers(0, 5, 5)
        layers.append(Layer(where, table))
        parts.append((where, {number: int(table[number]) for number in range(256)}))
    wanted = oracle_attacks.Ruling(parts, np.zeros(labels.shape, bool)).apply(labels)
    assert np.array_equal(Relabelling(tuple(layers)).apply(labels), wanted)
