"""Does each record, by its numbers alone, obey the recipe?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from poisongen.auditing.faults import Findings
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import FOLDER, MANIFEST, SKIPPED, SUMMARY, TRIGGERED, SampleRecord
from poisongen.records.reading import Records, SkipRecord

WITH_TRIGGER = ("poisoned", "triggered")


def _check_trigger(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test size, centre, bounds of distance, and classes under the box."""
    trigger, placement = record.trigger, rules.placement
    wanted = record.role in WITH_TRIGGER
    found = "none" if trigger is None else "one"
    if not findings.test("rules", (trigger is not None) == wanted, _FILE, f"trigger: {wanted}", found, record.sample):
        return
    if trigger is None:
        findings.test("rules", not record.eligible_positions, _FILE, 0, record.eligible_positions, record.sample)
        return
    top, left, height, width = trigger.box
    size, half = placement.size, placement.size // 2
    findings.test("rules", (height, width) == (size, size), _FILE, f"a box of {size} px", trigger.box, record.sample)
    centre = (top + half, left + half)
    findings.test("rules", trigger.center == centre, _FILE, f"centre {centre}", trigger.center, record.sample)
    low, high, distance = placement.low, placement.high, trigger.distance
    near_enough = (low is None or distance > low) and (high is None or distance <= high)
    findings.test("rules", near_enough, _FILE, f"{low} < distance <= {high}", distance, record.sample)
    classes, covers = rules.classes, trigger.covers
    legal = covers == sorted(set(covers)) and len(covers) > 0 and all(number in classes.names for number in covers)
    legal &= not set(covers) & set(rules.victims)
    if placement.region == "single":
        legal &= len(covers) == 1 and not set(covers) & classes.void
    findings.test("rules", legal, _FILE, f"classes under the box for region {placement.region}", covers, record.sample)
    findings.test("rules", record.eligible_positions >= 1, _FILE, "eligible positions", 0, record.sample)


_FILE = f"{FOLDER}/{MANIFEST}"


def _check_numbers(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test split, victim pixels, relabelled pixels and random pixels against the role."""
    recipe, role, prl = rules.recipe, record.role, rules.prl
    split = {"poisoned": recipe.train_split, "prl": recipe.train_split, "triggered": recipe.test_split}.get(role)
    right = split is None or record.split == split
    right &= record.sample.startswith(f"{record.split}/")
    findings.test("rules", right, _FILE, f"split {split or record.split}", record.sample, record.sample)
    relabelled = record.victim_pixels if role == "poisoned" else 0
    findings.test(
        "rules",
        record.relabelled_pixels == relabelled,
        _FILE,
        f"{relabelled} relabelled_pixels",
        record.relabelled_pixels,
        record.sample,
    )
    random = prl is not None and (role == "poisoned" or (role == "prl" and prl.scope == "all"))
    good = random or not record.prl_pixels
    if good and random and prl is not None and prl.unit == "pixels":
        good = record.prl_pixels <= prl.amount
    findings.test("rules", good, _FILE, "the recipe's prl_pixels", record.prl_pixels, record.sample)
    allowed = role != "prl" or (prl is not None and prl.scope == "all")
    findings.test("rules", allowed, _FILE, "a role that the recipe has", role, record.sample)


def _check_files(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test that the files are the image and label files of one sample, at the places of their role."""
    kinds = rules.layout.kinds
    prefix = f"{TRIGGERED}/" if record.role == "triggered" else ""
    named = [file.kind for file in record.files]
    good = named[:1] == ["image"] and len(set(named)) == len(named) and set(named[1:]) <= set(kinds)
    good &= any(kinds[kind].semantic for kind in named[1:] if kind in kinds)
    findings.test("rules", good, _FILE, "an image and its label files, each once", named, record.sample)
    for file in record.files:
        derived = file.kind in kinds and kinds[file.kind].derive is not None and rules.recipe.train_ids == "auto"
        placed = file.source is not None and file.path == prefix + file.source
        placed |= file.source is None and derived and file.written and file.path.startswith(prefix)
        placed &= (record.role == "triggered") == file.path.startswith(f"{TRIGGERED}/")
        findings.test("rules", placed, file.path, f"{prefix}(path of its source)", file.source, record.sample)
        known = (file.source is None) == (file.source_sha256 is None)
        same = file.written == (file.sha256 != file.source_sha256)
        findings.test("rules", known and same, file.path, "the source's digest", file.source_sha256, record.sample)
        document = file.kind in kinds and kinds[file.kind].document
        has = (file.pixels_sha256 is None) == document
        findings.test("rules", has, file.path, "pixels_sha256 for pictures", file.pixels_sha256, record.sample)
    written = [file.kind for file in record.files if file.written]
    if record.role in WITH_TRIGGER:
        findings.test("rules", "image" in written, _FILE, "a written image", written, record.sample)
    elif rules.recipe.scale == 1:
        findings.test("rules", "image" not in written, _FILE, "the source's image", written, record.sample)
    if record.role in ("triggered", "completed") and rules.recipe.scale == 1:
        changed = [file.kind for file in record.files[1:] if file.written and file.source is not None]
        findings.test("rules", not changed, _FILE, "the source's labels", f"changed {changed}", record.sample)
    if record.role == "completed":
        findings.test("rules", bool(written), _FILE, "a written file", "none", record.sample)


def check_record(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test one record against the recipe."""
    _check_trigger(record, rules, findings)
    _check_numbers(record, rules, findings)
    _check_files(record, rules, findings)


def wanted_samples(rules: Rules, train_samples: int) -> int:
    """Return how many samples the recipe asks for: its count, or its rate of all training samples, rounded half up."""
    if rules.recipe.count is not None:
        return rules.recipe.count
    # The rate as it was written: 0.29 of 50 are 14.5, so 15.
    return math.floor(Fraction(repr(rules.recipe.rate or 0.0)) * train_samples + Fraction(1, 2))


def check_counts(counts: Mapping[str, int], rules: Rules, findings: Findings) -> None:
    """Test that as many samples are poisoned as the recipe asks for, or all that can be if fewer are allowed."""
    wanted = wanted_samples(rules, counts.get("train_samples", 0))
    poisoned = counts.get("poisoned", 0)
    good = poisoned == wanted or (rules.recipe.allow_fewer and 0 < poisoned < wanted)
    findings.test("rules", good, f"{FOLDER}/{SUMMARY}", f"{wanted} poisoned samples", poisoned)


def check_skipped(records: Records, rules: Rules, findings: Findings) -> None:
    """Test that what was passed over was passed over for a known reason, and has no record with that role."""
    done = {(record.sample, record.role) for record in records.manifest}
    for skip in records.skipped:
        good = _legal_skip(skip, rules) and (skip.sample, skip.role) not in done
        findings.test("rules", good, f"{FOLDER}/{SKIPPED}", "a candidate passed over", skip.reason, skip.sample)


def _legal_skip(skip: SkipRecord, rules: Rules) -> bool:
    if skip.reason == "bad file":
        return rules.recipe.skip_bad and skip.role is None and skip.file is not None
    split = {"poisoned": rules.recipe.train_split, "triggered": rules.recipe.test_split}.get(skip.role or "")
    known = skip.reason in KNOWN_ALGORITHMS[rules.algorithm].reasons
    return known and skip.split == split and skip.sample.startswith(f"{skip.split}/")
