"""What an audit needs before it can check: the recipe's rules, and the samples that OUT and its source hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
from poisongen.records.roles import source_like
from poisongen.source.derived import derived_paths
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
        rules = replace(rules, above=records.above)
        return rules if records.summary is None else replace(rules, records=records.summary.records)
    except PoisongenError as error:
        findings.test("records", False, f"{FOLDER}/{RECIPE}", "a recipe for this dataset", error)
        return None


def check_above(records: Records, files: Sequence[str], rules: Rules, findings: Findings) -> None:
    """Test that the source's paths stand in OUT where the layout puts them; `files` are the source's, if it is known.

    Builds of earlier versions put them where they were.
    """
    legal: tuple[str, ...] = rules.layout.above_all if rules.records >= 3 else ("",)
    if files and rules.records >= 3:
        legal = (rules.layout.above(files),)
    good = records.above in legal
    findings.test("rules", good, ".", f"the source's files below {' or '.join(map(repr, legal))}", records.above)


def index_paths(listing: Listing, above: str) -> list[str]:
    """Return the paths of OUT that its layout pairs into samples, as the source has them, sorted."""
    return [path for path in source_like(listing.entries, above) if not is_shadow(path)]


def _scanned(paths: Sequence[str], records: Records, places: Places, rules: Rules) -> Index:
    """Pair paths into samples, but for files that are called derived labels and are none: no record has their pixels.

    Build has found that they do not agree with the sample's other labels, and treats them as any other file.
    """
    root = root_of_index(places, rules.above)
    index = rules.layout.scan(root, paths)
    untold = {link.source for link in records.links if link.pixels_sha256 is None}
    untold |= {left.path for left in records.left_out}
    odd = derived_paths(index, rules.layout) & untold
    return rules.layout.scan(root, [path for path in paths if path not in odd]) if odd else index


def root_of_index(places: Places, above: str) -> Path:
    """Return the folder below which the paths of `index_paths` lie: the source, or the part of OUT that is like it."""
    return places.root or places.out / above


def index_of_out(listing: Listing, records: Records, places: Places, rules: Rules, findings: Findings) -> Index | None:
    """Pair the files of OUT into samples, as the layout does; its split lists must be plain files, or the source's."""
    paths = index_paths(listing, rules.above)
    lists = [path for path in paths if path.endswith(LIST_ENDS)]
    if places.root is None and not all(listing.plain(rules.above + path) for path in lists):
        findings.note("samples that no record names: the split lists are links (give --source)")
        return None
    try:
        return _scanned(paths, records, places, rules)
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
    if not files:
        paths |= {left.path for left in records.left_out}  # of which no sample is made: not one is a label file
    try:
        index = _scanned(sorted(paths), records, places, rules)
    except PoisongenError as error:
        findings.test("order", False, ".", f"a dataset in the layout '{rules.recipe.dataset}'", error)
        return None
    return FullIndex(index, whole)
