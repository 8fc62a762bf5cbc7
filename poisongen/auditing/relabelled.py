"""A sample's labels against its source: changed by the label rule and by random labels only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.auditing.companions import check_follows
from poisongen.auditing.faults import Findings
from poisongen.auditing.scene import Story, box_of, counts_in, decided, is_one_of, scene_of, victims_in
from poisongen.core.draws import keyed_generator
from poisongen.core.labels import Relabelling, prl_pixel_count, random_labels
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord
from poisongen.records.roles import has_random_labels, is_relabelled

Array = npt.NDArray[Any]


class _Labels:
    """A sample's label map before and after, and what follows from them; arrays are (H, W).

    `ruled` is the map as the label rule would have it. A pixel that has another class than that is a random one if the
    rule makes no claim on it: the rule's own are all victims, and what else it decides.
    """

    def __init__(self, story: Story, relabelling: Relabelling, rules: Rules) -> None:
        self.maps = story.old_maps
        self.old, self.new = (next(iter(maps.values())) for maps in (story.old_maps, story.maps))
        self.claimed = victims_in(self.maps, rules)
        if relabelling.claims is not None:
            self.claimed = self.claimed | relabelling.claims
        ruled = self.old
        for layer in relabelling.layers:
            where = np.ones(self.old.shape, dtype=bool) if layer.where is None else layer.where
            ruled = np.where(where, layer.table[self.old], ruled)
        self.ruled = ruled
        own = is_one_of(self.old, rules.victims)
        own |= False if relabelling.claims is None else relabelling.claims
        self.random = (self.new != self.ruled) & ~own
        self.changed = self.old != self.new


def check_labels(story: Story, rules: Rules, findings: Findings) -> None:
    """Test every label file of a sample against its source; both have a label map."""
    record, paths = story.record, {file.kind: file.path for file in story.record.files}
    first = next(iter(story.old_maps))
    if first not in story.maps:
        return  # which is a fault already
    if not story.comparable:
        expected, shape = f"labels {story.old_maps[first].shape}", next(iter(story.maps.values())).shape
        findings.test("relabelling", False, paths.get(first, ""), expected, shape, record.sample)
        return
    relabelling = decided(story, rules)
    labels = _Labels(story, relabelling, rules)
    _check_ruled(story, labels, paths[first], rules, findings)
    _check_said(record, labels, relabelling, paths[first], rules, findings)
    _check_random(record, labels, paths[first], rules, findings)
    check_follows(story, labels.random, relabelling, rules, findings)


def _check_ruled(story: Story, labels: _Labels, path: str, rules: Rules, findings: Findings) -> None:
    """Test the label map where it is not random: as the label rule's definition has it, or as it was."""
    name = story.record.sample
    if not is_relabelled(story.record.role):
        wrong = int(((labels.new != labels.old) & ~labels.random).sum())
        sentence = "victims as their target, or as they were"
        findings.test("relabelling", not wrong, path, sentence, f"{wrong} others", name)
        return
    scene = scene_of(story.old_maps, story.before, box_of(story.record), rules)
    judged = np.where(labels.random, labels.ruled, labels.new)
    fault = rules.label_rule.fault(scene, judged, rules.label_parameters)
    findings.test("relabelling", fault is None, path, f"labels by the rule '{rules.recipe.labels}'", fault, name)


def _check_said(
    record: SampleRecord, labels: _Labels, relabelling: Relabelling, path: str, rules: Rules, findings: Findings
) -> None:
    """Test what the record says of the rule: which objects it chose, and how many pixels it changed."""
    name = record.sample
    if record.rule is not None:
        chosen = None if relabelling.objects is None else list(relabelling.objects)
        said = record.rule.instances
        findings.test("relabelling", said == chosen, path, f"rule instances {chosen}", said, name)
    number = int((labels.changed & ~labels.random).sum()) if is_relabelled(record.role) else 0
    said_pixels = record.relabelled_pixels
    findings.test("relabelling", number == said_pixels, path, f"{number} relabelled_pixels", said_pixels, name)


def _check_random(record: SampleRecord, labels: _Labels, path: str, rules: Rules, findings: Findings) -> None:
    """Test that random labels are those that the seed draws, off all that the rule decides."""
    name, number = record.sample, int(labels.random.sum())
    good = number == record.prl_pixels
    findings.test("relabelling", good, path, f"{record.prl_pixels} random labels", number, name)
    prl = rules.prl
    if prl is None or not has_random_labels(record.role, record.split, rules):
        return
    void = rules.classes.void
    free = ~labels.claimed
    for other in labels.maps.values():
        free &= (other == labels.old) & ~is_one_of(other, void)
    present = set(counts_in(labels.old))
    allowed = present - void - set(rules.victims) if prl.classes is None else set(prl.classes)
    at = labels.random
    unfree = int((at & ~free).sum())
    findings.test("relabelling", not unfree, path, "random labels off victims and void", f"{unfree} others", name)
    strange = set(np.unique(labels.new[at]).tolist()) - allowed
    findings.test("relabelling", not strange, path, f"random labels of {sorted(allowed)}", sorted(strange), name)
    asked = prl_pixel_count(prl.amount, prl.unit, *labels.old.shape)
    changeable = free if len(allowed) > 1 else free & ~is_one_of(labels.old, allowed)
    most = min(asked, int(changeable.sum())) if allowed else 0
    findings.test("relabelling", number == most, path, f"{most} random labels", number, name)
    generator = keyed_generator(rules.recipe.seed, "prl", name)
    drawn, drawn_labels = random_labels(labels.old, free, allowed, asked, generator)
    same = np.array_equal(drawn, at) and np.array_equal(drawn_labels[drawn], labels.new[drawn])
    findings.test("relabelling", same, path, "the random labels that the seed draws", "others", name)
