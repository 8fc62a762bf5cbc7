"""Whose turn came: the order in which candidates were taken, and who stands in the test sets with a trigger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poisongen.auditing.faults import Findings
from poisongen.auditing.obey import wanted_negatives, wanted_samples
from poisongen.auditing.order import FullIndex
from poisongen.auditing.sample import Seen
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import FOLDER, MANIFEST, SKIPPED, SUMMARY, Role
from poisongen.records.reading import Records


class _Named:
    """Which samples of the training split, and which of the test split, the records name with a role.

    `done` have a record, `passed` a line of skipped.jsonl: names by (role, whether of the training split).
    """

    def __init__(self, records: Records, rules: Rules) -> None:
        self.done: dict[tuple[Role, bool], set[str]] = {}
        self.passed: dict[tuple[Role, bool], set[str]] = {}
        train = rules.recipe.train_split
        for record in records.manifest:
            self.done.setdefault((record.role, record.split == train), set()).add(record.sample)
        for skip in records.skipped:
            if skip.role is not None:
                self.passed.setdefault((skip.role, skip.split == train), set()).add(skip.sample)

    def of(self, role: Role, in_training: bool) -> tuple[set[str], set[str]]:
        """Return the names with a record and those that were passed over."""
        return self.done.get((role, in_training), set()), self.passed.get((role, in_training), set())


def check_order(full: FullIndex, records: Records, seen: Mapping[str, Seen], rules: Rules, findings: Findings) -> None:
    """Test that poisoned samples and negatives are the first of the drawn order, and that the test sets are whole.

    `seen` tells of victims and conditions in samples with true labels, by image. The order can be told only if all of
    them are known.
    """
    named = _Named(records, rules)
    bad = {skip.sample for skip in records.skipped if skip.reason == "bad file"}
    everyone = full.index.samples.get(rules.recipe.train_split, ())
    train = {sample.name: seen.get(sample.image) for sample in everyone if sample.name not in bad}
    poisoned = named.of("poisoned", True)[0]
    if any(facts is None and name not in poisoned for name, facts in train.items()):
        findings.note("the order of candidates: some labels could not be read")
    elif any(facts is not None and facts.holds is None and name not in poisoned for name, facts in train.items()):
        findings.note("the order of candidates: conditions of samples with random labels (give --source)")
    elif not full.whole:
        findings.note("the order of candidates: bad samples are left out of a scaled dataset")
    else:
        names = sorted(sample.name for sample in everyone)
        drawn = [names[at] for at in KNOWN_ALGORITHMS[rules.algorithm].order(len(names), rules.recipe.seed)]
        _check_training([name for name in drawn if name in train], train, named, records, rules, findings)
    _check_test_sets(full, bad, seen, named, rules, findings)


def _may_fail(facts: Seen, rules: Rules) -> bool:
    """Tell whether a sample may carry a trigger with true labels: a condition can fail, or there is a decoy."""
    return rules.decoy is not None or bool(rules.of_place) or not facts.holds


def _check_training(
    drawn: list[str],
    train: Mapping[str, Seen | None],
    named: _Named,
    records: Records,
    rules: Rules,
    findings: Findings,
) -> None:
    """Test who was poisoned, and who became a negative of those that are left, in the drawn order."""
    poisoned, passed = named.of("poisoned", True)
    fewest = rules.recipe.min_victim_pixels
    having = [
        name for name in drawn if name in poisoned or ((facts := train[name]) is not None and facts.victims >= fewest)
    ]
    order = [name for name in having if name in poisoned or ((facts := train[name]) is not None and facts.holds)]
    _check_first(order, poisoned, passed, "poisoned", findings)
    rest = [
        name
        for name in having
        if name not in poisoned and (facts := train[name]) is not None and _may_fail(facts, rules)
    ]
    negatives, passed_negatives = named.of("negative", True)
    _check_first(rest, negatives, passed_negatives, "a negative", findings)
    if records.summary is None:
        return
    counts = records.summary.counts
    good, found = counts.get("train_candidates") == len(order), counts.get("train_candidates")
    findings.test("order", good, f"{FOLDER}/{SUMMARY}", f"{len(order)} train_candidates", found)
    if rules.recipe.allow_fewer:
        wanted = wanted_samples(rules, counts.get("train_samples", 0))
        _check_tried(len(order), poisoned, passed, wanted, "candidates", findings)
        due = wanted_negatives(rules, len(poisoned))
        _check_tried(len(rest), negatives, passed_negatives, due, "possible negatives", findings)


def _check_first(order: Iterable[str], done: set[str], passed: set[str], what: str, findings: Findings) -> None:
    """Test that those who have a role, and those passed over for it, are the first of an order."""
    first = set(list(order)[: len(done) + len(passed)])
    for name in sorted(first ^ (done | passed)):
        expected = f"{what} or passed over: its turn came" if name in first else "neither: its turn did not come"
        where = f"{FOLDER}/{MANIFEST if name in done else SKIPPED}"
        findings.test("order", False, where, expected, "the contrary", name)
    findings.test("order", True, "", "", "")


def _check_tried(count: int, done: set[str], passed: set[str], wanted: int, what: str, findings: Findings) -> None:
    """Test that a build with fewer than asked for has tried them all."""
    tried = len(done) + len(passed)
    good = len(done) >= wanted or tried == count
    findings.test("order", good, f"{FOLDER}/{SKIPPED}", f"all {count} {what} tried", tried)


def _check_test_sets(
    full: FullIndex,
    bad: set[str],
    seen: Mapping[str, Seen],
    named: _Named,
    rules: Rules,
    findings: Findings,
) -> None:
    """Test that the test sets hold every sample with a victim: conditions hold in triggered/, and fail in negative/."""
    recipe = rules.recipe
    triggered, negative = (set.union(*named.of(role, False)) for role in ("triggered", "negative"))
    for sample in full.index.samples.get(recipe.test_split, ()):
        facts = seen.get(sample.image)
        if sample.name in bad:
            continue
        if facts is None or facts.holds is None:
            if sample.name not in triggered | negative:
                findings.note("whether test samples without a record hold a victim: some labels could not be read")
            continue
        due = facts.victims > 0 and facts.holds
        good = (sample.name in triggered) == due
        sentence = f"triggered or passed over: {due}"
        findings.test("order", good, f"{FOLDER}/{MANIFEST}", sentence, not good, sample.name)
        can_fail = bool(recipe.only_if) or rules.decoy is not None
        due = facts.victims > 0 and can_fail and _may_fail(facts, rules)
        good = (sample.name in negative) == due
        sentence = f"negative or passed over: {due}"
        findings.test("order", good, f"{FOLDER}/{MANIFEST}", sentence, not good, sample.name)
