"""Does each record, by its numbers alone, obey the recipe?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from poisongen.attack.triggers.road import quad_box
from poisongen.auditing.faults import Findings
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import FOLDER, MANIFEST, SKIPPED, SUMMARY, SampleRecord, TriggerRecord
from poisongen.records.reading import Records, SkipRecord
from poisongen.records.roles import (
    TEST_PREFIXES,
    changes_labels,
    has_random_labels,
    has_trigger,
    is_relabelled,
    prefix_of,
    splits_of,
)

_FILE = f"{FOLDER}/{MANIFEST}"


def _check_trigger(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test that a trigger is there where the role has one, of the recipe's kind, placed if the kind has a place."""
    trigger, name = record.trigger, record.sample
    wanted, found = has_trigger(record.role), "none" if record.trigger is None else "one"
    if not findings.test("rules", (trigger is not None) == wanted, _FILE, f"trigger: {wanted}", found, name):
        return
    if trigger is None:
        findings.test("rules", not record.eligible_positions, _FILE, 0, record.eligible_positions, name)
        return
    kind = rules.kind
    findings.test("rules", trigger.kind == kind.name, _FILE, f"a trigger of the kind {kind.name}", trigger.kind, name)
    measured = trigger.psnr is not None and trigger.changed is not None
    findings.test("rules", measured or rules.records < 2, _FILE, "psnr and changed of a trigger", "none", name)
    standing = trigger.quad is not None
    findings.test("rules", standing == (kind.quad is not None), _FILE, "corners of what stands there", standing, name)
    place = (trigger.box, trigger.center, trigger.covers)
    if rules.placement is None and kind.quad is None:
        none = (*place, trigger.distance, trigger.stored_box) == (None,) * 5 and not record.eligible_positions
        findings.test("rules", none, _FILE, "no place: the trigger changes the whole picture", place, name)
        return
    if findings.test("rules", None not in place, _FILE, "box, center and covers of a trigger", place, name):
        _check_box(record, trigger, rules, findings)
        findings.test("rules", record.eligible_positions >= 1, _FILE, "eligible positions", 0, name)


def _check_box(record: SampleRecord, trigger: TriggerRecord, rules: Rules, findings: Findings) -> None:
    """Test a trigger's size, centre, corners, bounds of distance, and the classes under the box."""
    name, placement, box = record.sample, rules.placement, trigger.box
    assert box is not None and trigger.covers is not None  # noqa: S101, PT018  the caller has seen to it
    top, left, height, width = box
    centre = (top + height // 2, left + width // 2)
    findings.test("rules", trigger.center == centre, _FILE, f"centre {centre}", trigger.center, name)
    if trigger.quad is not None:
        held = quad_box(trigger.quad) if all(map(math.isfinite, sum(trigger.quad, ()))) else None
        findings.test("rules", held == box, _FILE, f"the box of the corners, {held}", box, name)
    sides = (None, None) if placement is None else (placement.height, placement.width)
    low, high = (None, None) if placement is None else (placement.low, placement.high)
    same = all(wanted in (None, side) for wanted, side in zip(sides, (height, width), strict=True))
    findings.test("rules", same and height > 0 < width, _FILE, f"a box of {sides} px", box, name)
    distance = trigger.distance
    near_enough = distance is not None and (low is None or distance > low) and (high is None or distance <= high)
    findings.test("rules", near_enough, _FILE, f"{low} < distance <= {high}", distance, name)
    covers, sentence = trigger.covers, "classes under the box that the recipe allows"
    findings.test("rules", _may_cover(record, covers, rules), _FILE, sentence, covers, name)


def _may_cover(record: SampleRecord, covers: list[int], rules: Rules) -> bool:
    """Tell whether a box may lie on these classes: legal ones, each once, that ground, region and conditions allow."""
    classes, placement, victims = rules.classes, rules.placement, set(rules.victims)
    if covers != sorted(set(covers)) or not covers or any(number not in classes.names for number in covers):
        return False
    if record.role != "negative" and not set(rules.of_place) <= set(covers):
        return False
    if placement is None:
        return not victims & set(covers)  # what stands on the road
    if placement.mode != "free":
        return True
    if placement.ground == "off" and victims & set(covers):
        return False
    if placement.ground == "on" and not victims & set(covers):
        return False
    one_class = placement.region == "single" or placement.ground != "off"
    return not one_class or (len(covers) == 1 and not set(covers) & classes.void)


def _check_numbers(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test split, victim pixels, relabelled pixels and random pixels against the role."""
    recipe, role, prl = rules.recipe, record.role, rules.prl
    splits = splits_of(role, rules)
    right = splits is None or record.split in splits
    right &= record.sample.startswith(f"{record.split}/")
    findings.test("rules", right, _FILE, f"split {splits or record.split}", record.sample, record.sample)
    relabelled = record.victim_pixels if is_relabelled(role) else 0
    if not is_relabelled(role) or recipe.labels == "class":  # of other rules the labels tell
        findings.test(
            "rules",
            record.relabelled_pixels == relabelled,
            _FILE,
            f"{relabelled} relabelled_pixels",
            record.relabelled_pixels,
            record.sample,
        )
    named = None if record.rule is None else record.rule.name
    wanted = recipe.labels if is_relabelled(role) and recipe.labels != "class" else None
    findings.test("rules", named == wanted, _FILE, f"rule: {wanted}", named, record.sample)
    has = record.expected is not None
    due = role == "triggered" and rules.records >= 2  # builds of earlier versions wrote none
    findings.test("rules", has == due, _FILE, f"expected labels: {due}", has, record.sample)
    random = has_random_labels(role, record.split, rules)
    good = random or not record.prl_pixels
    if good and random and prl is not None and prl.unit == "pixels":
        good = record.prl_pixels <= prl.amount
    findings.test("rules", good, _FILE, "the recipe's prl_pixels", record.prl_pixels, record.sample)
    allowed = role != "prl" or (prl is not None and prl.scope == "all")
    allowed &= role != "negative" or bool(recipe.only_if) or recipe.decoy is not None
    findings.test("rules", allowed, _FILE, "a role that the recipe has", role, record.sample)


def _check_files(record: SampleRecord, rules: Rules, findings: Findings) -> None:
    """Test that the files are the image and label files of one sample, at the places of their role."""
    kinds = rules.layout.kinds
    prefix = prefix_of(record.role, record.split, rules)
    named = [file.kind for file in record.files]
    good = named[:1] == ["image"] and len(set(named)) == len(named) and set(named[1:]) <= set(kinds)
    good &= any(kinds[kind].semantic for kind in named[1:] if kind in kinds)
    findings.test("rules", good, _FILE, "an image and its label files, each once", named, record.sample)
    for file in record.files:
        derived = file.kind in kinds and kinds[file.kind].derive is not None and rules.recipe.train_ids == "auto"
        placed = file.source is not None and file.path == prefix + rules.above + file.source
        placed |= file.source is None and derived and file.written and file.path.startswith(prefix + rules.above)
        placed &= bool(prefix) == file.path.startswith(TEST_PREFIXES)
        findings.test(
            "rules", placed, file.path, f"{prefix}{rules.above}(path of its source)", file.source, record.sample
        )
        known = (file.source is None) == (file.source_sha256 is None)
        same = file.written == (file.sha256 != file.source_sha256)
        findings.test("rules", known and same, file.path, "the source's digest", file.source_sha256, record.sample)
        document = file.kind in kinds and kinds[file.kind].document
        has = (file.pixels_sha256 is None) == document
        findings.test("rules", has, file.path, "pixels_sha256 for pictures", file.pixels_sha256, record.sample)
    written = [file.kind for file in record.files if file.written]
    if has_trigger(record.role):
        findings.test("rules", "image" in written, _FILE, "a written image", written, record.sample)
    elif rules.recipe.scale == 1:
        findings.test("rules", "image" not in written, _FILE, "the source's image", written, record.sample)
    if not changes_labels(record.role, record.split, rules) and rules.recipe.scale == 1:
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


def wanted_negatives(rules: Rules, poisoned: int) -> int:
    """Return how many training samples are to be negatives: a number or a share of the poisoned, rounded half up.

    Where the recipe does not say, they are as many as the poisoned with a decoy, and none without.
    """
    amount = rules.recipe.negatives
    if amount is None:
        return poisoned if rules.decoy is not None else 0
    if isinstance(amount, int):
        return amount
    return math.floor(Fraction(amount.rstrip("%")) / 100 * poisoned + Fraction(1, 2))


def check_counts(counts: Mapping[str, int], negatives: int, rules: Rules, findings: Findings) -> None:
    """Test that as many samples are poisoned as the recipe asks for, or all that can be if fewer are allowed.

    `negatives` are the training samples with a trigger and true labels: the same holds for them.
    """
    due = wanted_negatives(rules, counts.get("poisoned", 0))
    enough = negatives == due or (rules.recipe.allow_fewer and negatives < due)
    findings.test("rules", enough, f"{FOLDER}/{SUMMARY}", f"{due} negatives in training", negatives)
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
    if skip.role is None or not has_trigger(skip.role):
        return False
    known = skip.reason in KNOWN_ALGORITHMS[rules.algorithm].reasons
    known &= skip.split in (splits_of(skip.role, rules) or ())
    return known and skip.sample.startswith(f"{skip.split}/")
