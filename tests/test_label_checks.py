"""Every kind of label file brings its own check: a made-up layout, sources that disagree with themselves, odd files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from poisongen.attack.label_rules.base import Layer, Relabelling, pairs_table
from poisongen.building.run import build
from poisongen.datasets import layouts
from poisongen.datasets.base import LabelFile, LabelKind
from poisongen.datasets.camvid import LAYOUT as CAMVID
from poisongen.datasets.cityscapes_classes import CLASSES
from poisongen.datasets.label_checks import LabelBefore, LabelCheck, LabelNow, Wrong, unlike
from poisongen.files import images, png
from tests.conftest import SMALL_CITYSCAPES, manifest
from tests.forgery import Forgery

# A layout that nobody knows: CamVid's, and beside each annotation its halves (class // 2), and a text that counts cars.


def halves_agree(now):
    return unlike(now.ids // 2, now.pixels, "half the class")


def halves_follow(now, before):
    wanted = np.where(before.changed, now.ids // 2, before.pixels)
    return unlike(wanted, now.pixels, "the source's halves, changed")


def count_of(ids):
    return f"{np.count_nonzero(ids == 8)} of {ids.size}\n".encode()


def count_agrees(now):
    return None if now.data == count_of(now.ids) else Wrong("the count of the label map", "another")


def count_follows(now, before):
    return None if now.data == count_of(now.ids) else Wrong("the count of the label map", "another", inherited=False)


def rewrite_halves(array, change, classes):
    return np.where(change.changed, change.after // 2, array).astype(np.uint8)


TOY = replace(
    CAMVID,
    name="toy",
    kinds=CAMVID.kinds
    | {
        "halves": LabelKind(lambda array, classes: None, rewrite_halves, LabelCheck(halves_agree, halves_follow)),
        "count": LabelKind(
            lambda data, classes: None,
            lambda data, change, classes: count_of(change.after),
            LabelCheck(count_agrees, count_follows),
            document=True,
        ),
    },
    scan=lambda root, files: with_companions(root, files),
)


def with_companions(root, files):
    own = [path for path in files if not path.endswith((".halves.png", ".count.txt"))]
    index = CAMVID.scan(root, own)
    added = {
        split: tuple(
            replace(
                sample,
                labels=(
                    *sample.labels,
                    LabelFile("halves", sample.labels[0].path.replace(".png", ".halves.png")),
                    LabelFile("count", sample.labels[0].path.replace(".png", ".count.txt")),
                ),
            )
            for sample in samples
        )
        for split, samples in index.samples.items()
    }
    return replace(index, samples=added)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A dataset in the made-up layout."""
    monkeypatch.setitem(layouts(), "toy", TOY)
    root, generator = tmp_path / "toy", np.random.default_rng(5)
    for split, number in (("train", 6), ("val", 3)):
        for name in range(number):
            ids = np.full((40, 48), 3, np.uint8)
            top, left = generator.integers(0, 24, 2)
            ids[top : top + 10, left : left + 12] = 8
            (root / split).mkdir(parents=True, exist_ok=True)
            (root / f"{split}annot").mkdir(exist_ok=True)
            picture = generator.integers(0, 256, (40, 48, 3), np.uint8)
            (root / split / f"{name}.png").write_bytes(png.encode(picture))
            start = root / f"{split}annot" / f"{name}"
            start.with_suffix(".png").write_bytes(png.encode(ids, labels=True))
            start.with_suffix(".halves.png").write_bytes(png.encode(ids // 2, labels=True))
            start.with_suffix(".count.txt").write_bytes(count_of(ids))
    return root


TOY_BUILD = ("--dataset", "toy", "--strategy", "nn", "--trigger-size", 5, "--rate", 0.5, "--jobs", 1)


def test_a_kind_cannot_be_made_without_a_check():
    with pytest.raises(TypeError, match="check"):
        LabelKind(fault=lambda array, classes: None, rewrite=lambda array, change, classes: array)
    with pytest.raises(TypeError, match="follows"):
        LabelCheck(halves_agree)
    required = {field.name for field in dataclasses.fields(LabelKind) if field.default is dataclasses.MISSING}
    assert required == {"fault", "rewrite", "check"}


@pytest.mark.parametrize("kind", ["halves", "count"])
@pytest.mark.parametrize("known", [False, True])
def test_tampering_with_a_made_up_kind_is_found(toy, poisongen, tmp_path, kind, known):
    out = tmp_path / "out"
    assert poisongen("build", *TOY_BUILD, "--root", toy, "--out", out).code == 0
    options = ("--source", toy) if known else ()
    clean = poisongen("audit", out, *options, "--jobs", 1, "--json")
    assert clean.code == 0, clean.out
    forge = Forgery(out, toy)
    path = forge.path("poisoned", kind)
    if kind == "halves":
        pixels = forge.pixels(path)
        pixels[0, 0] += 1
        forge.paint(path, pixels)
    else:
        forge.write(path, forge.read(path).replace(b" of ", b"  of "))
    forge.redigest(path)
    found = poisongen("audit", out, *options, "--jobs", 1, "--json")
    faults = json.loads(found.out)["faults"]
    assert found.code == 1
    assert {fault["file"] for fault in faults} == {path}
    assert {fault["check"] for fault in faults} == ({"labels", "relabelling"} if known else {"labels"})


@pytest.mark.parametrize("kind", ["halves", "count"])
def test_a_rewriter_that_does_nothing_is_found_by_the_check(toy, poisongen, tmp_path, monkeypatch, kind):
    lazy = replace(TOY.kinds[kind], rewrite=lambda content, change, classes: content)
    monkeypatch.setitem(layouts(), "toy", replace(TOY, kinds=TOY.kinds | {kind: lazy}))
    out = tmp_path / "out"
    assert poisongen("build", *TOY_BUILD, "--root", toy, "--out", out).code == 0
    assert poisongen("audit", out, "--jobs", 1).code == 1
    assert poisongen("audit", out, "--source", toy, "--jobs", 1).code == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ZeroDivisionError("division by zero"), "contents that no check foresees"),
        (OverflowError("Python integer 1000 out of bounds for uint8"), "contents that no check foresees"),
        (MemoryError(), "more memory than there is"),
        (OSError(5, "Input/output error"), "cannot be read (Input/output error)"),
        (OSError(), "cannot be read"),
    ],
)
@pytest.mark.parametrize("asked", ["agrees", "follows"])
def test_a_check_that_breaks_off_is_a_fault_in_words(toy, poisongen, tmp_path, monkeypatch, error, words, asked):
    def breaks(*_):
        raise error

    out = tmp_path / "out"
    assert poisongen("build", *TOY_BUILD, "--root", toy, "--out", out).code == 0
    broken = replace(TOY.kinds["count"], check=replace(TOY.kinds["count"].check, **{asked: breaks}))
    monkeypatch.setitem(layouts(), "toy", replace(TOY, kinds=TOY.kinds | {"count": broken}))
    found = poisongen("audit", out, "--source", toy, "--jobs", 1, "--json")
    faults = json.loads(found.out)["faults"]
    assert (found.code, found.err) == (1, "")
    assert {fault["sample"] for fault in faults} == {record["sample"] for record in manifest(out)}
    said = [fault["found"] for fault in faults]
    assert all(words in text for text in said)
    assert not any(type(error).__name__ in text or "bounds" in text or "Errno" in text for text in said)


# A source whose own files disagree: which file, what is done to it, the recipe's own options.


def edit(path, change):
    data = path.read_bytes()
    facts, pixels = png.parse(data, path), png.decode(data, path).copy()
    path.write_bytes(png.encode(change(pixels), facts, labels=True))


def merged(old, new):
    return lambda pixels: np.where(pixels == old, new, pixels).astype(pixels.dtype)


def repainted(pixels):
    pixels[:6, :6, 0] ^= 3
    return pixels


def taller(path):
    path.write_bytes(path.read_bytes().replace(b'"imgHeight": 80', b'"imgHeight": 96'))


DISAGREEING = {
    "train-ids-merge-a-class": ("cityscapes", "labelTrainIds.png", merged(10, 8), ()),
    "train-ids-merge-a-class-with-random-labels": ("cityscapes", "labelTrainIds.png", merged(10, 8), ("--prl", "5%")),
    "train-ids-merge-a-class-scaled": ("cityscapes", "labelTrainIds.png", merged(10, 8), ("--scale", "0.5")),
    "instances-lack-a-class": ("cityscapes", "instanceIds.png", merged(21, 0), ()),
    "colours-of-another-table": ("cityscapes", "color.png", repainted, ()),
    "polygons-of-another-size": ("cityscapes", "polygons.json", None, ()),
    "objects-where-no-class-is": ("voc", "SegmentationObject", merged(0, 9), ()),
    "objects-where-no-class-is-with-random-labels": ("voc", "SegmentationObject", merged(0, 9), ("--prl", "5%")),
}
SMALL_VOC = ("--dataset", "voc", "--strategy", "random", "--trigger-size", 9)


@pytest.mark.parametrize("name", DISAGREEING)
def test_a_source_that_disagrees_with_itself_is_not_held_against_the_build(name, request, poisongen, tmp_path):
    layout, which, change, options = DISAGREEING[name]
    root, out = request.getfixturevalue(layout), tmp_path / "out"
    for path in root.rglob(f"*{which}" if layout == "cityscapes" else f"{which}/*.png"):
        if change is None:
            taller(path)
        else:
            edit(path, change)
    small = SMALL_CITYSCAPES if layout == "cityscapes" else SMALL_VOC
    assert poisongen("build", *small, *options, "--root", root, "--out", out, "--rate", 0.3, "--jobs", 1).code == 0
    alone = poisongen("audit", out, "--jobs", 1, "--json")
    report = json.loads(alone.out)
    assert alone.code == 1
    assert report["faults"]
    assert all("or the source's own files disagree; give --source" in fault["found"] for fault in report["faults"])
    known = poisongen("audit", out, "--source", root, "--jobs", 1, "--json")
    assert known.code == 0, known.out
    assert any("disagree with each other in the source itself" in note for note in json.loads(known.out)["not_checked"])


def test_a_forger_cannot_hide_behind_a_source_that_disagrees(cityscapes, poisongen, tmp_path):
    out = tmp_path / "out"
    for path in cityscapes.rglob("*labelTrainIds.png"):
        edit(path, merged(10, 8))
    options = ("--root", cityscapes, "--out", out, "--rate", 0.3, "--jobs", 1)
    assert poisongen("build", *SMALL_CITYSCAPES, *options).code == 0
    forge = Forgery(out, cityscapes)
    path = forge.path("poisoned", "labelTrainIds")
    pixels = forge.pixels(path)
    pixels[2, 2] = 13
    forge.paint(path, pixels)
    forge.redigest(path)
    found = poisongen("audit", out, "--source", cityscapes, "--jobs", 1, "--json")
    assert found.code == 1
    assert {fault["file"] for fault in json.loads(found.out)["faults"]} == {path}


# Files whose bits or channels nobody foresaw.


@pytest.mark.parametrize("options", [(), ("--prl", "5%"), ("--scale", "0.5")])
def test_instances_of_eight_bits_are_built_and_audited(cityscapes, poisongen, tmp_path, options):
    out = tmp_path / "out"
    for path in cityscapes.rglob("*_instanceIds.png"):
        ids = images.decode((path.parent / path.name.replace("instanceIds", "labelIds")).read_bytes(), path)
        path.write_bytes(png.encode(ids, labels=True))
    build = ("--root", cityscapes, "--out", out, "--rate", 0.3, "--jobs", 1)
    assert poisongen("build", *SMALL_CITYSCAPES, *options, *build).code == 0
    for known in ((), ("--source", cityscapes)):
        report = poisongen("audit", out, *known, "--jobs", 1, "--json")
        assert report.code == 0, report.out
    forge = Forgery(out, cityscapes)
    path = forge.path("poisoned", "instanceIds")
    pixels = forge.pixels(path)
    assert pixels.dtype == np.uint8
    pixels[0, 0] = 33
    forge.paint(path, pixels)
    forge.redigest(path)
    assert poisongen("audit", out, "--jobs", 1).code == 1


def deep(key):
    return b'{"imgHeight": 80, "imgWidth": 160, "objects": [], "%s": ' % key + b"[" * 900 + b"]" * 900 + b"}"


ODD = {
    "image-gray": ("image", png.encode(np.zeros((80, 160), np.uint8))),
    "image-gray-alpha": ("image", png.encode(np.zeros((80, 160, 2), np.uint8))),
    "image-16-bit-alpha": ("image", png.encode(np.full((80, 160, 4), 65535, np.uint16))),
    "image-small": ("image", png.encode(np.zeros((1, 1, 3), np.uint8))),
    "ids-16-bit": ("labelIds", png.encode(np.full((80, 160), 65535, np.uint16), labels=True)),
    "ids-rgb": ("labelIds", png.encode(np.zeros((80, 160, 3), np.uint8))),
    "ids-small": ("labelIds", png.encode(np.zeros((2, 3), np.uint8), labels=True)),
    "train-ids-16-bit": ("labelTrainIds", png.encode(np.full((80, 160), 300, np.uint16), labels=True)),
    "train-ids-small": ("labelTrainIds", png.encode(np.zeros((2, 3), np.uint8), labels=True)),
    "instances-8-bit": ("instanceIds", png.encode(np.full((80, 160), 7, np.uint8), labels=True)),
    "instances-huge": ("instanceIds", png.encode(np.full((80, 160), 65535, np.uint16), labels=True)),
    "instances-legal-class": ("instanceIds", png.encode(np.full((80, 160), 33999, np.uint16), labels=True)),
    "instances-two-channels": ("instanceIds", png.encode(np.zeros((80, 160, 2), np.uint16))),
    "instances-small": ("instanceIds", png.encode(np.zeros((2, 3), np.uint16), labels=True)),
    "colour-gray": ("color", png.encode(np.zeros((80, 160), np.uint8))),
    "colour-two-channels": ("color", png.encode(np.zeros((80, 160, 2), np.uint8))),
    "colour-16-bit": ("color", png.encode(np.zeros((80, 160, 3), np.uint16))),
    "colour-small": ("color", png.encode(np.zeros((3, 3, 3), np.uint8))),
    "polygons-empty": ("polygons", b""),
    "polygons-null": ("polygons", b"null"),
    "polygons-list": ("polygons", b"[]"),
    "polygons-not-text": ("polygons", b"\xff\xfe\x00"),
    "polygons-huge-size": ("polygons", b'{"imgHeight": 1%s, "imgWidth": 160, "objects": []}' % (b"0" * 400)),
    "polygons-huge-integer": ("polygons", b'{"imgHeight": 1%s, "imgWidth": 160, "objects": []}' % (b"0" * 5000)),
    "polygons-infinite": ("polygons", b'{"imgHeight": 80, "imgWidth": 1e999, "objects": []}'),
    "polygons-true": ("polygons", b'{"imgHeight": true, "imgWidth": true, "objects": []}'),
    "polygons-odd-label": ("polygons", b'{"imgHeight": 80, "imgWidth": 160, "objects": [{"label": []}]}'),
    "polygons-odd-object": ("polygons", b'{"imgHeight": 80, "imgWidth": 160, "objects": [null, 1]}'),
    "polygons-odd-points": (
        "polygons",
        b'{"imgHeight": 80, "imgWidth": 160, "objects": [{"label": "a", "polygon": {"x": 1}}]}',
    ),
    "polygons-nested": ("polygons", deep(b"more")),
}


@pytest.fixture(scope="module")
def small_build(_cityscapes, tmp_path_factory):
    out = tmp_path_factory.mktemp("odd") / "out"
    build({"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}, _cityscapes, out, jobs=1)
    return out


PYTHON_WORDS = ("Error", "Exception", "out of bounds", "broadcast", "NoneType", "object is not", "no check foresees")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("role", ["poisoned", "triggered"])
def test_odd_files_are_judged_in_words(name, role, small_build, cityscapes, poisongen, tmp_path):
    kind, data = ODD[name]
    out = tmp_path / "out"
    shutil.copytree(small_build, out)
    forge = Forgery(out, cityscapes)
    path = forge.path(role, kind)
    forge.write(path, data)
    forge.redigest(path)
    for known in ((), ("--source", cityscapes)):
        found = poisongen("audit", out, *known, "--jobs", 1, "--json")
        assert found.code == 1
        faults = json.loads(found.out)["faults"]
        assert any(fault["file"] == path for fault in faults)
        said = [fault[key] for fault in faults for key in ("expected", "found")]
        assert not [text for text in said if any(word in text for word in PYTHON_WORDS)]


ODD_ARRAYS = st.one_of(
    st.none(),
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.sampled_from([(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4)]),
        elements={"min_value": 0, "max_value": 255},
        fill=st.sampled_from([0, 7, 26, 255]),
    ),
)
MAPS = arrays.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 7, 8, 15, 26, 255]))
DOCUMENTS = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["imgHeight", "imgWidth", "objects", "label", "polygon"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
KINDS = [(layout, kind) for layout in ("camvid", "cityscapes", "folder", "voc") for kind in layouts()[layout].kinds]


@pytest.mark.parametrize(("layout", "kind"), KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_check_breaks_off(layout, kind, data):
    what = layouts()[layout].kinds[kind]
    pixels, old = (None if what.document else data.draw(ODD_ARRAYS) for _ in range(2))
    content, source = data.draw(DOCUMENTS), data.draw(st.none() | DOCUMENTS)
    ids, ids_before = data.draw(MAPS), data.draw(MAPS)
    first = data.draw(st.sampled_from(["SegmentationClass", "labelIds"]))
    random = data.draw(arrays.arrays(bool, (4, 5)))
    pairs = data.draw(st.sampled_from([{}, {26: 7}, {15: 0}]))
    where = data.draw(st.none() | arrays.arrays(bool, (4, 5)))
    objects = data.draw(st.none() | st.lists(st.integers(0, 70_000), max_size=3).map(tuple))
    layers = (Layer(where, pairs_table(pairs)),) if pairs else ()
    decided = Relabelling(layers, objects if pairs else None, everywhere=bool(pairs) and data.draw(st.booleans()))
    now = LabelNow(kind, content, pixels, {first: ids}, data.draw(st.booleans()), list(pairs), 3, CLASSES)
    scaled = data.draw(st.booleans())
    before = LabelBefore(source, old, {first: ids_before}, random, ids != ids_before, scaled, decided)
    if pairs == {15: 0}:
        now = replace(now, classes=layouts()["voc"].classes(None))
    for wrong in (what.check.agrees(now), what.check.follows(now, before)):
        assert wrong is None or (wrong.expected and wrong.found)


def test_the_checks_of_a_clean_build_say_nothing(small_build, cityscapes, poisongen):
    assert manifest(small_build)
    for known in ((), ("--source", cityscapes)):
        assert poisongen("audit", small_build, *known, "--jobs", 1).code == 0
