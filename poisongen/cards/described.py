"""What the cards tell of a poisoned dataset: recipe, classes, samples and records, and which names are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from poisongen.datasets.base import ClassTable, Layout
from poisongen.recipe.model import Recipe
from poisongen.records.manifest import json_line
from poisongen.records.samples import RecordedSample, SampleSets, label_map_path


@dataclass(frozen=True)
class Described:
    """A poisoned dataset as its records tell it. `paths` are all files that they name, whosever they are."""

    recipe: Recipe
    layout: Layout
    classes: ClassTable
    sets: SampleSets
    fingerprint: str
    paths: tuple[str, ...]

    def count(self, split: str, role: str) -> int:
        """Return how many samples of a split have a role."""
        return sum(one.record is not None and one.record.role == role for one in self.sets.splits.get(split, ()))

    def free(self, folder: str, name: str) -> bool:
        """Whether nothing of the dataset has this name in `folder` ('' or ending in '/'), on any file system."""
        wanted = (folder + name).casefold()
        return not any(path == wanted or path.startswith(f"{wanted}/") for path in map(str.casefold, self.paths))


@dataclass(frozen=True)
class Table:
    """The samples of one split as one .jsonl file, `path` in OUT; the files that its lines name lie below `folder`.

    `name` is the split's, of letters, digits and '_' only, as Hugging Face wants it. `title` says what it holds.
    """

    folder: str
    name: str
    title: str
    path: str
    samples: tuple[RecordedSample, ...]

    @property
    def file_name(self) -> str:
        """The table's name in its folder."""
        return self.path.removeprefix(self.folder)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return a name of letters, digits and '_' for each, no two the same."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"\W", "_", name)
        while plain in found.values():
            plain += "_"
        found[name] = plain
    return found


def tables(described: Described) -> list[Table]:
    """Return the tables of a dataset: one for each split, one for each test set with triggers."""
    found = []
    names = plain_names(described.sets.splits)
    for split, samples in described.sets.splits.items():
        found.append(_table(described, "", names[split], f"the split `{split}`", samples))
    for test_set, samples in described.sets.test_sets.items():
        name = plain_names([described.recipe.test_split])[described.recipe.test_split]
        what = f"test samples with triggers and true labels, from `{test_set}/`"
        found.append(_table(described, f"{test_set}/", name, what, samples))
    return found


def _table(described: Described, folder: str, name: str, title: str, samples: Sequence[RecordedSample]) -> Table:
    file_name = f"metadata-{name}.jsonl"
    while not described.free(folder, file_name):
        file_name = f"poisongen-{file_name}"
    return Table(folder, name, title, folder + file_name, tuple(samples))


def row(one: RecordedSample, layout: Layout, folder: str) -> Mapping[str, str]:
    """Return a sample as one line of its table; every value is a text, so that all tables have one schema.

    `record` is the manifest's line as JSON, `null` for a sample that build left as it was.
    """
    return {
        "file_name": one.sample.image.removeprefix(folder),
        "label_file_name": label_map_path(one.sample, layout).removeprefix(folder),
        "sample": one.sample.name,
        "split": one.sample.split,
        "role": role_word(one),
        "record": "null" if one.record is None else json_line(one.record.as_json()).rstrip("\n"),
    }


def role_word(one: RecordedSample) -> str:
    """Return a sample's role, `untouched` where build left it as it was."""
    return "untouched" if one.record is None else one.record.role


def table_bytes(table: Table, layout: Layout) -> bytes:
    """Return the content of a table: a JSON object on each line."""
    return "".join(json_line(row(one, layout, table.folder)) for one in table.samples).encode()
