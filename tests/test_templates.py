"""Templates of paths: what they match, what they fill in, and that nothing that anybody writes there breaks them."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poisongen.datasets.class_places import KEYS, parse_places
from poisongen.datasets.tree import IMAGE, Place, pair_tree, sort_files

WORD = st.text(alphabet="abz019_-. ([+*?^$|\\", min_size=1, max_size=8).filter(lambda text: text.strip("."))
PLAIN = st.text(alphabet="abz019_-", min_size=1, max_size=6)


@given(before=WORD, behind=WORD, split=PLAIN, name=st.lists(PLAIN, min_size=1, max_size=3).map("/".join))
def test_what_is_filled_in_is_found_again(before, behind, split, name):
    place = Place(f"{before}/{{split}}/x{before}{{name}}{behind}")
    path = place.fill(split, name) + ".png"
    found = sort_files([path], {IMAGE: place})
    assert {word: stems.files for word, stems in found[IMAGE].items()} == {split: {name: path}}


@given(split=PLAIN, middle=st.sampled_from(["fog", "night"]), name=PLAIN)
def test_further_fields_are_part_of_the_name(split, middle, name):
    place = Place("a/{part}/{split}/{name}_x", {"part": "fog|night"})
    path = place.fill(split, f"{middle}/{name}") + ".png"
    assert path == f"a/{middle}/{split}/{name}_x.png"
    assert sort_files([path], {IMAGE: place})[IMAGE][split].files == {f"{middle}/{name}": path}
    assert not sort_files([path.replace(middle, "sun")], {IMAGE: place})[IMAGE]


@pytest.mark.parametrize(
    ("images", "masks", "files", "samples"),
    [
        ("{split}/{name}", "{split}/{name}_mask", ["t/a.png", "t/a_mask.png"], ["a"]),
        ("{split}/{name}_rgb", "{split}/{name}", ["t/a_rgb.jpg", "t/a.png"], ["a"]),
        ("{split}/{name}_rgb", "{split}/{name}", ["t/a_rgb.png", "t/a.png"], ["a"]),
        ("{split}/i/{name}", "{split}/m/{name}", ["t/i/b/a.png", "t/m/b/a.png"], ["b/a"]),
        ("{name}/{split}/i", "{name}/{split}/m", ["x/y/t/i.png", "x/y/t/m.png"], ["x/y"]),
        ("{split}/{split}_{name}", "m/{split}/{name}", ["t/t_a.png", "m/t/a.png", "t/u_a.png"], ["a"]),
    ],
)
def test_the_template_that_says_more_is_meant(images, masks, files, samples):
    places = {IMAGE: Place(images), "mask": Place(masks)}
    index = pair_tree(sort_files(sorted(files), places), places, "mask")
    assert [sample.stem for sample in index.samples["t"]] == samples
    assert not index.problems


def test_twins_and_other_formats_are_told():
    places = {IMAGE: Place("i/{split}/{name}"), "mask": Place("m/{split}/{name}")}
    files = ["i/t/a.JPG", "i/t/a.png", "i/t/b.tif", "m/t/a.png", "m/t/b.png", "m/t/c.bmp", "i/t/c.png"]
    index = pair_tree(sort_files(sorted(files), places), places, "mask")
    texts = sorted(problem.text for problem in index.problems)
    assert [sample.stem for sample in index.samples["t"]] == ["a"]
    assert len(texts) == 3
    assert "i/t/c.png" in {problem.path for problem in index.problems}
    assert any("two samples of one name: i/t/a.JPG" in text for text in texts)
    assert any("label without image (i/t/b.*): i/t/b.tif is there" in text for text in texts)
    assert any("image without label (m/t/c.png): m/t/c.bmp is there" in text for text in texts)


def test_an_ending_that_was_not_asked_for_is_told():
    places = {IMAGE: Place("i/{split}/{name}", ends=(".png",)), "mask": Place("m/{split}/{name}", ends=(".png",))}
    index = pair_tree(sort_files(["i/t/a.jpg", "m/t/a.png"], places), places, "mask")
    assert [problem.text for problem in index.problems] == [
        "label without image (i/t/a.*): i/t/a.jpg is there, but only .png are asked for here; convert it"
    ]


def test_kinds_in_one_folder_are_told_by_their_endings():
    places = {IMAGE: Place("{split}/{name}", ends=(".jpg",)), "mask": Place("{split}/{name}", ends=(".png",))}
    index = pair_tree(sort_files(["t/a.jpg", "t/a.png"], places), places, "mask")
    assert [sample.paths for sample in index.samples["t"]] == [("t/a.jpg", "t/a.png")]
    assert not index.problems


PATHS = ["{split}", "{name}", "a/{split}/{name}.png", "{split}.txt", "..", "/etc/{name}", "{", "{}", "a/{name}"]
ANYTHING = st.sampled_from([*PATHS, None, True, 7, 1.5, [], ["a"], {}, {"train": "x"}, {1: 2}]) | st.text(max_size=20)


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING))
def test_whatever_stands_there_is_read_or_refused(document):
    try:
        places = parse_places(document)
    except ValueError:
        return
    if places is None:
        return
    for template in (*(place.template for place in places.places.values()), places.lists):
        assert not template.startswith("/")
        assert ".." not in template.split("/")


@given(st.text(max_size=60))
def test_any_text_for_a_path(text):
    try:
        places = parse_places(yaml.safe_load(yaml.safe_dump({"images": text})))
    except ValueError:
        return
    assert places is not None
    assert places.places[IMAGE].pattern.fullmatch(places.places[IMAGE].fill("train", "a"))
