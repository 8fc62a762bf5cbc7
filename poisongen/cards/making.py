"""Making the cards: which files there are, where each lies, and what each holds. Pure: records in, bytes out.

A name that the dataset itself has is never taken: its README.md stays, and ours goes into poisongen/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from poisongen.cards.croissant import croissant
from poisongen.cards.described import Described, Table, table_bytes, tables
from poisongen.cards.readme import card, front_matter
from poisongen.cards.ultralytics import data_yaml
from poisongen.datasets.base import ClassTable, Layout
from poisongen.recipe.model import Recipe
from poisongen.records.manifest import FOLDER, LinkRecord, SampleRecord
from poisongen.records.samples import sample_sets

CARDS = 1
"""The version of what the cards hold; grows whenever the same records give other bytes than before."""

README, CROISSANT, DATA, SETTINGS = "README.md", "croissant.json", "data.yaml", ".huggingface.yaml"


OWN_README = f"{FOLDER}/{README}"
"""Where the card lies if the dataset has a README.md of its own."""


def make_cards(
    layout: Layout,
    classes: ClassTable,
    root: Path,
    above: str,
    recipe: Recipe,
    records: Sequence[SampleRecord],
    links: Sequence[LinkRecord],
    bad: Sequence[str],
    fingerprint: str,
) -> dict[str, bytes]:
    """Return every card by its path in OUT. `root` is where the split lists are read: the source, or its place in OUT.

    `above` is what OUT puts before every path of the source; `bad` names broken samples.
    """
    paths = {file.path for record in records for file in record.files} | {link.path for link in links}
    sets = sample_sets(layout, root, above, recipe, records, links, bad)
    return cards_of(Described(recipe, layout, classes, sets, fingerprint, tuple(sorted(paths))))


def cards_of(described: Described) -> dict[str, bytes]:
    """Return every card of a dataset by its path in OUT, sorted."""
    found = tables(described)
    contents = {table.path: table_bytes(table, described.layout) for table in found}
    made: dict[str, bytes] = dict(contents)
    for folder in dict.fromkeys(("", *(table.folder for table in found))):
        made |= _of_folder(described, [table for table in found if table.folder == folder], folder)
    at_home = described.free("", CROISSANT)
    made[CROISSANT if at_home else f"{FOLDER}/{CROISSANT}"] = croissant(
        described, found, contents, "" if at_home else "../"
    )
    return dict(sorted(made.items()))


def _of_folder(described: Described, own: Sequence[Table], folder: str) -> Mapping[str, bytes]:
    """Return README.md and data.yaml of the dataset ('') or of a test set.

    Where the dataset has a README.md of its own, what Hugging Face reads in ours goes into a file that it reads, too.
    """
    made: dict[str, bytes] = {}
    if described.free(folder, README):
        made[folder + README] = card(described, own, folder)
    else:
        made[OWN_README] = card(described, own, folder, with_front_matter=False)
        made[folder + SETTINGS] = front_matter(described, own).encode()
    data = data_yaml(described, folder)
    if data is not None and described.free(folder, DATA):
        made[folder + DATA] = data
    return made
