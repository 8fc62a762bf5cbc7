"""What lies in OUT beside the build, and is allowed to: caches and settings that trainers add."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from poisongen.auditing.faults import Findings
from poisongen.auditing.structure import Listing
from poisongen.datasets.base import Sample
from poisongen.errors import PoisongenError
from poisongen.files.foreign import Places
from poisongen.recipe.rules import Rules
from poisongen.records.roles import TEST_PREFIXES, source_like
from poisongen.source.shadow import is_shadow


def set_aside(listing: Listing, named: Collection[str], patterns: Sequence[str]) -> tuple[Listing, list[str]]:
    """Return the listing without the files that a pattern allows, and these, sorted.

    A pattern is compared with the whole path below OUT, as `fnmatch` does it: `*` stands for any letters, '/' too. What
    records name is never set aside, nor what is no plain file.
    """
    allowed = [
        path
        for path, entry in listing.entries.items()
        if path not in named and entry.kind == "file" and any(fnmatch.fnmatchcase(path, text) for text in patterns)
    ]
    apart = set(allowed)
    return Listing({path: entry for path, entry in listing.entries.items() if path not in apart}), sorted(allowed)


def check_additions(listing: Listing, allowed: Sequence[str], places: Places, rules: Rules, findings: Findings) -> None:
    """Test that no allowed file gives OUT, or a test set of it, a sample that it had not: a trainer would learn it."""
    for prefix in ("", *TEST_PREFIXES):
        new = [path for path in _below(allowed, prefix, rules.above) if not is_shadow(path)]
        if not new:
            continue
        old = [path for path in _below(listing.entries, prefix, rules.above) if not is_shadow(path)]
        root = places.root if places.root is not None and not prefix else places.out / prefix / rules.above
        try:
            known = {sample.image for sample in _samples(old, root, rules)}
            more = [sample for sample in _samples(sorted({*old, *new}), root, rules) if sample.image not in known]
        except PoisongenError as error:
            findings.test("strangers", False, prefix or ".", "files that leave the dataset what it is", error)
            continue
        for sample in more:
            path = prefix + rules.above + sample.image
            findings.test("strangers", False, path, "no new sample, whatever is allowed", sample.name, sample.name)


def _below(paths: Collection[str], prefix: str, above: str) -> list[str]:
    """Return the paths of the dataset, or of one of its test sets, as the source has them."""
    if not prefix:
        return source_like(paths, above)
    return source_like((path.removeprefix(prefix) for path in paths if path.startswith(prefix)), above)


def _samples(paths: Sequence[str], root: Path, rules: Rules) -> Iterator[Sample]:
    for samples in rules.layout.scan(root, paths).samples.values():
        yield from samples
