"""What an audit needs before it can check: the recipe's rules, and the samples that OUT and its source hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from poisongen.auditing.faults import Findings
from poisongen.auditing.order import FullIndex
from poisongen.auditing.skips import BAD
from poisongen.auditing.structure import Listing
from poisongen.datasets import find_layout
from poisongen.datasets.base import Index
from poisongen.datasets.lists import LIST_ENDS
from poisongen.errors import PoisongenError
from poisongen.files.foreign import Places
from poisongen.recipe.rules import Rules, make_rules
from poisongen.recipe.settling import settle
from poisongen.records.algorithms import ALGORITHM, KNOWN_ALGORITHMS
from poisongen.records.manifest import FOLDER, RECIPE
from poisongen.records.reading import Records
from poisongen.records.roles import OWN_FOLDERS
from poisongen.source.listing import SourceFile
from poisongen.source.shadow import is_shadow
from poisongen.undo.store import UndoRecord


def audit_rules(records: Records, listing: Listing, places: Places, findings: Findings) -> Rules | None:
    """Return the rules of the recipe; None, with a fault or a note, if it cannot be used."""
    if records.recipe is None:
        findings.note("anything that needs the recipe: it is not valid")
        return None
    layout = find_layout(records.recipe.dataset)
    tables = [path for path in listing.entries if path.startswith("classes.")]
    if places.root is None and not all(listing.plain(path) for path in tables):
        findings.note("anything that needs the table of classes: it is a link (give --source)")
        return None
    try:
        classes = layout.classes(places.root or places.out)
        settled = settle(records.recipe, layout, classes)
        same = settled == records.recipe
        findings.test("records", same, f"{FOLDER}/{RECIPE}", "every default filled in", "a recipe with open choices")
        algorithm = ALGORITHM if records.summary is None else records.summary.algorithm
        rules = make_rules(settled, classes, algorithm if algorithm in KNOWN_ALGORITHMS else ALGORITHM)
        return rules if records.summary is None else replace(rules, records=records.summary.records)
    except PoisongenError as error:
        findings.test("records", False, f"{FOLDER}/{RECIPE}", "a recipe for this dataset", error)
        return None


def index_paths(listing: Listing) -> list[str]:
    """Return the paths of OUT that its layout pairs into samples, sorted."""
    return sorted(path for path in listing.entries if path.split("/")[0] not in OWN_FOLDERS and not is_shadow(path))


def index_of_out(listing: Listing, places: Places, rules: Rules, findings: Findings) -> Index | None:
    """Pair the files of OUT into samples, as the layout does; its split lists must be plain files, or the source's."""
    paths = index_paths(listing)
    lists = [path for path in paths if path.endswith(LIST_ENDS)]
    if places.root is None and not all(listing.plain(path) for path in lists):
        findings.note("samples that no record names: the split lists are links (give --source)")
        return None
    try:
        return rules.layout.scan(places.root or places.out, paths)
    except PoisongenError as error:
        findings.test("order", False, ".", f"a dataset in the layout '{rules.recipe.dataset}'", error)
        return None


def full_index(
    records: Records,
    files: Sequence[SourceFile],
    inside: Sequence[str],
    undo: Sequence[UndoRecord],
    places: Places,
    rules: Rules,
    findings: Findings,
) -> FullIndex | None:
    """Pair all files that the source had: `files`, or without it those `inside` OUT and those of the undo store."""
    bad = any(skip.reason == BAD for skip in records.skipped)
    whole = places.root is not None or rules.recipe.scale == 1 or not bad or bool(undo)
    paths = {file.path for file in files} or {*inside, *(line.path for line in undo)}
    try:
        index = rules.layout.scan(places.root or places.out, sorted(paths))
    except PoisongenError as error:
        findings.test("order", False, ".", f"a dataset in the layout '{rules.recipe.dataset}'", error)
        return None
    return FullIndex(index, whole)
