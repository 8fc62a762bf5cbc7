"""Recipes and records from anybody: whatever they hold, the readers give an answer or one clear error."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from poisongen.datasets import find_layout
from poisongen.errors import PoisongenError
from poisongen.recipe.model import Recipe, make_recipe, read_recipe_file
from poisongen.recipe.rules import make_rules
from poisongen.recipe.settling import settle
from poisongen.records.inventory import records
from poisongen.records.manifest import LinkRecord, SampleRecord

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from([*Recipe.model_fields]) | st.text(max_size=10)
bounded = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def settled(choices):
    recipe = make_recipe(choices)
    layout = find_layout(recipe.dataset)
    if recipe.dataset != "folder":
        classes = layout.classes(None)
        make_rules(settle(recipe, layout, classes), classes)


def complaint(function):
    """Return what a user would be told; anything but a PoisongenError comes out as it is."""
    try:
        function()
    except PoisongenError as error:
        return str(error)
    return ""


@given(st.dictionaries(keys, values, max_size=5), st.booleans())
@example({"victim": [], "target": "road"}, True)
@example({"relabel": {"car": None}}, True)
@example({"trigger": {"name": "x", "sha256": "0" * 64, "png": "!"}}, True)
@example({"trigger": "../../etc/passwd"}, True)
@example({"version": 10**30}, True)
@bounded
def test_recipes_of_any_shape(choices, complete):
    base = {"dataset": "cityscapes", "strategy": "nn"} if complete else {}
    said = complaint(lambda: settled({**base, **choices}))
    assert "\n" not in said
    assert len(said) < 3000


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"{" * 5000)
@example(b"[" * 100_000)
@example(b'{"dataset": "voc", "strategy": "nn", "rate": 1e999}')
@example(b"a: &a [*a]")
@example(b"!!python/object/apply:os.system ['true']")
@bounded
def test_recipe_files_of_any_bytes(tmp_path, data):
    for name in ("recipe.json", "recipe.yaml"):
        path = tmp_path / name
        path.write_bytes(data)
        assert "\n" not in complaint(lambda path=path: settled(read_recipe_file(str(path))))


@given(st.binary(max_size=400), st.dictionaries(st.sampled_from(["sample", "files", "path", "size", "role"]), values))
@example(b"\xff\xfe", {})
@example(b"[" * 100_000, {})
@example(b"", {"path": "../../x", "size": 1, "source": None})
@bounded
def test_records_of_any_bytes(tmp_path, data, document):
    path = tmp_path / "records.jsonl"
    path.write_bytes(data + b"\n" + json.dumps(document).encode())
    for model in (SampleRecord, LinkRecord):
        with pytest.raises(PoisongenError, match=r"records\.jsonl"):
            list(records(path, model))
