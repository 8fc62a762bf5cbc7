"""The records of a poisoned dataset beside each other: order, duplicates, counts and fingerprints."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from poisongen.auditing.faults import Findings
from poisongen.records.manifest import (
    EXPECTED,
    FOLDER,
    LEFT_OUT,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    SampleRecord,
    fingerprint,
    record_key,
)
from poisongen.records.reading import Records, SkipRecord, name_of
from poisongen.records.roles import TEST_PREFIXES


def check_agreement(records: Records, findings: Findings) -> None:
    """Test that summary, recipe, manifest, links and skipped agree: order, duplicates, counts, fingerprints."""
    _check_order(records, findings)
    summary, recipe = records.summary, records.recipe
    if summary is None:
        return
    said: dict[str, object] = {"dataset": summary.dataset, "strategy": summary.strategy}
    if recipe is not None:
        is_so: dict[str, object] = {"dataset": recipe.dataset, "strategy": recipe.strategy}
        for key, value in is_so.items():
            findings.test("records", said[key] == value, name_of(SUMMARY), f"{key} {value}", said[key])
        own = recipe.fingerprint()
        findings.test("records", own == summary.recipe_sha256, name_of(RECIPE), summary.recipe_sha256, own)
        if records.complete:
            samples = (record.model_dump() for record in records.manifest)
            links = (link.model_dump() for link in records.links)
            content = fingerprint(own, samples, links, summary.algorithm)
            findings.test(
                "records",
                content == summary.fingerprint,
                name_of(SUMMARY),
                f"fingerprint {content}",
                summary.fingerprint,
            )
    if records.complete:
        _check_counts(summary.counts, records, findings)


def _check_order(records: Records, findings: Findings) -> None:
    """Test that the records are sorted, and that no sample, no path and no source stands twice."""
    last: tuple[str, str] | None = None
    paths: set[str] = set()

    def once(path: str, file: str) -> None:
        reserved = path.split("/", 1)[0] == FOLDER
        findings.test("records", path not in paths and not reserved, path, "one record, outside poisongen/", file)
        paths.add(path)

    for record in records.manifest:
        key = record_key(record.model_dump(include={"sample", "role"}))
        if last is not None:
            sentence = "sorted by sample and role, each once"
            findings.test("records", last < key, name_of(MANIFEST), sentence, f"{key} after {last}", record.sample)
        last = key
        for file in record.files:
            once(file.path, f"named again in {MANIFEST}")
        if record.expected is not None:
            own = record.expected.path == f"{EXPECTED}/{record.sample}.png"
            path = f"{EXPECTED}/{record.sample}.png"
            findings.test("records", own, record.expected.path, path, record.expected.path, record.sample)
    for number, link in enumerate(records.links):
        once(link.path, f"named again in {LINKS}")
        if number:
            before = records.links[number - 1].path
            findings.test(
                "records", before < link.path, name_of(LINKS), "sorted by path", f"{link.path} after {before}"
            )
        place = f"{records.above}{link.source}"
        good = link.source is not None and link.path in (place, *(f"{prefix}{place}" for prefix in TEST_PREFIXES))
        good |= link.source is None and link.path.startswith(TEST_PREFIXES) and link.sha256 is not None
        where = " or ".join(TEST_PREFIXES)
        findings.test("records", good, link.path, f"a link to its own path, or a list of {where}", f"{link.source}")
    apart = [left.path for left in records.left_out]
    findings.test("records", apart == sorted(set(apart)), name_of(LEFT_OUT), "sorted by path, each once", "otherwise")
    both = {link.source for link in records.links if link.source in set(apart)}
    findings.test("records", not both, name_of(LEFT_OUT), "files that OUT does not have", sorted(both)[:3])
    order = [(skip.sample, skip.role or "", skip.file or "") for skip in records.skipped]
    findings.test("records", order == sorted(order), name_of(SKIPPED), "sorted by sample", "another order")


def _check_counts(counts: Mapping[str, int], records: Records, findings: Findings) -> None:
    """Test the summary's counts that the records alone can tell."""
    recipe = records.recipe
    roles: dict[str, int] = dict.fromkeys(("poisoned", "prl", "triggered", "completed"), 0)
    if recipe is not None and (recipe.only_if or recipe.decoy is not None):
        roles["negative"] = 0
    with_victim: set[str] = set()
    named: Iterator[SampleRecord | SkipRecord] = itertools.chain(records.manifest, records.skipped)
    for one in named:
        if isinstance(one, SampleRecord):
            roles[one.role] = roles.get(one.role, 0) + 1
        if one.role == "triggered" or (
            one.role == "negative" and recipe is not None and one.split == recipe.test_split
        ):
            with_victim.add(one.sample)
    own = roles | {"skipped": len(records.skipped), "test_with_victim": len(with_victim)}
    for key, number in own.items():
        found = counts.get(key, "none")
        findings.test("records", found == number, name_of(SUMMARY), f"{number} {key}", found)
