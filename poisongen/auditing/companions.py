"""The label files of one sample: does each agree with the label map, and does each follow from the source's file?

What a kind of label file must look like is the layout's own knowledge (`LabelKind.check`). Here every kind is asked,
and none is passed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.auditing.annotations import check_annotations
from poisongen.auditing.faults import Findings
from poisongen.auditing.scene import Story, box_of, counts_in, is_one_of, scene_of
from poisongen.auditing.stamping import is_encoded_anew
from poisongen.core.labels import Relabelling
from poisongen.datasets.base import LabelKind
from poisongen.datasets.label_checks import LabelBefore, LabelNow, Wrong
from poisongen.printing import number_of
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FileRecord
from poisongen.records.roles import is_relabelled

Array = npt.NDArray[Any]

INHERITED = "label files that disagree with each other in the source itself, and so in OUT"
_PERHAPS = " (or the source's own files disagree; give --source)"


def _gone(story: Story, rules: Rules) -> frozenset[int]:
    """Return the classes that no map of this sample may hold any more."""
    ruled = is_relabelled(story.record.role)
    return rules.label_rule.gone(rules.pairs, rules.label_parameters) if ruled else frozenset()


def _now(story: Story, file: FileRecord, outlines: bool, rules: Rules) -> LabelNow:
    record, content = story.record, story.contents[file.kind]
    return LabelNow(
        kind=file.kind,
        data=content.data,
        pixels=content.pixels,
        maps=story.maps,
        written=file.written,
        gone=_gone(story, rules),
        random=record.prl_pixels,
        classes=rules.classes,
        outlines=outlines,
        alone=rules.records >= 3 and (rules.prl is None or rules.prl.scope != "all"),
    )


def _has_outlines(story: Story, rules: Rules) -> bool:
    """Tell whether labels changed to classes with outlines of their own: the rule says so of OUT's labels as well."""
    record = story.record
    if not is_relabelled(record.role) or not record.relabelled_pixels:
        return False
    scene = scene_of(story.maps, story.contents, box_of(record), rules)
    return rules.label_rule.settles and rules.label_rule.decide(scene, rules.label_parameters).outlines


def _inherited(story: Story, file: FileRecord, kind: LabelKind, rules: Rules) -> bool:
    """Tell whether the source's own file disagrees with the source's label map."""
    content = story.before.get(file.kind)
    if content is None or not story.comparable:
        return False
    ids = next(iter(story.old_maps.values()))
    if content.pixels is None and rules.recipe.scale != 1:
        return False  # a document of another size, which is brought to OUT's
    if content.pixels is not None and content.pixels.shape[:2] != ids.shape:
        return False
    now = LabelNow(
        kind=file.kind,
        data=content.data,
        pixels=content.pixels,
        maps=story.old_maps,
        written=False,
        gone=(),
        random=0,
        classes=rules.classes,
    )
    wrong = kind.check.agrees(now)
    return wrong is not None and wrong.inherited


def _check_agrees(
    story: Story, file: FileRecord, kind: LabelKind, outlines: bool, rules: Rules, known: bool, findings: Findings
) -> None:
    """Test a file against the label map; what the source's own files say otherwise is no fault of the build's."""
    wrong = kind.check.agrees(_now(story, file, outlines, rules))
    sample = story.record.sample
    if wrong is not None and wrong.inherited and file.source is not None:
        if _inherited(story, file, kind, rules):
            findings.note(INHERITED)
            return
        wrong = Wrong(wrong.expected, wrong.found if known else wrong.found + _PERHAPS)
    expected, found = ("", "") if wrong is None else (wrong.expected, wrong.found)
    findings.test("labels", wrong is None, file.path, expected, found, sample)


def check_companions(story: Story, rules: Rules, known: bool, findings: Findings) -> None:
    """Test that a sample's label files agree in size and content, and that no victim is left in a poisoned one.

    `known` says whether the source is given.
    """
    kinds, record = rules.layout.kinds, story.record
    paths = {file.kind: file.path for file in record.files}
    first = next(iter(story.maps))
    ids, name = story.maps[first], record.sample
    outlines = _has_outlines(story, rules)
    for file in record.files:
        content = story.contents.get(file.kind)
        if content is None:
            continue
        if content.pixels is not None:
            size = content.pixels.shape[:2]
            good = findings.test("labels", size == ids.shape, file.path, f"height and width {ids.shape}", size, name)
            if not good:
                continue
        if file.kind in kinds:
            _check_agrees(story, file, kinds[file.kind], outlines, rules, known, findings)
    if not is_relabelled(record.role):
        return
    targets, gone = set(rules.pairs.values()), _gone(story, rules)
    for kind, labels in story.maps.items():
        left = set(counts_in(labels)) & gone
        findings.test("labels", not left, paths[kind], "no victim pixel left", f"classes {sorted(left)}", name)
        _check_settled(story, kind, paths[kind], rules, findings)
    if targets:
        became = int(is_one_of(ids, targets).sum())
        enough = became >= record.relabelled_pixels
        findings.test(
            "labels", enough, paths[first], f"{number_of(record.relabelled_pixels, 'pixel')} relabelled", became, name
        )


def _check_settled(story: Story, kind: str, path: str, rules: Rules, findings: Findings) -> None:
    """Test that a poisoned map without random labels is one that the rule would leave as it is, if it makes such."""
    if not rules.label_rule.settles or story.record.prl_pixels:
        return
    found = story.maps[kind]
    scene = scene_of({kind: found}, {}, box_of(story.record), rules)
    fault = rules.label_rule.fault(scene, found, rules.label_parameters)
    sentence = f"labels by the rule '{rules.recipe.labels}'"
    findings.test("labels", fault is None, path, sentence, fault, story.record.sample)


def check_follows(
    story: Story, random: npt.NDArray[np.bool_], relabelling: Relabelling, rules: Rules, findings: Findings
) -> None:
    """Test every label file against what the source's file must have become; the story must be comparable.

    `random` tells which pixels of the label map have a random class, (H, W) bool; `relabelling` is the rule's decision.
    """
    kinds = rules.layout.kinds
    old_ids, ids = (next(iter(maps.values())) for maps in (story.old_maps, story.maps))
    for file in story.record.files[1:]:
        content, old = story.contents.get(file.kind), story.before.get(file.kind)
        if content is None or file.kind not in kinds or (old is None and file.source is not None):
            continue  # which is a fault already
        if content.pixels is not None and content.pixels.shape[:2] != ids.shape:
            continue
        before = LabelBefore(
            data=None if old is None else old.data,
            pixels=None if old is None else old.pixels,
            maps=story.old_maps,
            random=random,
            changed=old_ids != ids,
            scaled=rules.recipe.scale != 1,
            relabelling=relabelling,
        )
        wrong = kinds[file.kind].check.follows(_now(story, file, relabelling.outlines, rules), before)
        expected, found = ("", "") if wrong is None else (wrong.expected, wrong.found)
        findings.test("relabelling", wrong is None, file.path, expected, found, story.record.sample)


def check_written(story: Story, rules: Rules, findings: Findings) -> None:
    """Test what each file holds beside its picture, and that what is not written is the source's, byte for byte."""
    record = story.record
    one_scan = not is_encoded_anew(rules, record.trigger is not None)
    for file in record.files:
        content, old = story.contents.get(file.kind), story.before.get(file.kind)
        if content is None:
            continue
        if file.written and content.pixels is not None and not content.reencoded:
            source = None if old is None else old.data
            check_annotations(record.sample, file, content.data, content.pixels, source, one_scan, findings)
        if old is None:
            continue
        changed = content.pixels is None or not _same(content.pixels, old.pixels) or rules.recipe.scale != 1
        changed |= file.kind == "image" and record.trigger is not None
        if file.written:
            expected, found = "the source's own file, as nothing in it changes", "a file written anew"
            good = changed if content.pixels is not None else content.data != old.data
        else:
            expected, found, good = "the source's bytes", "others", content.reencoded or content.data == old.data
        findings.test("source", good, file.path, expected, found, record.sample)


def _same(one: Array, other: Array | None) -> bool:
    return other is not None and one.shape == other.shape and np.array_equal(one, other)
