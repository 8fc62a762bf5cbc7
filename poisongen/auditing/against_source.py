"""A sample against its source: pixels differ in the box only, labels by relabelling and random labels only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.auditing.companions import Content, Story, check_follows
from poisongen.auditing.faults import Findings
from poisongen.auditing.positions import is_one_of
from poisongen.auditing.trigger import read_dct
from poisongen.core.draws import keyed_generator
from poisongen.core.labels import prl_pixel_count, random_labels
from poisongen.core.resize import scaled_size
from poisongen.core.trigger import blend
from poisongen.errors import DataError
from poisongen.files import images, jpeg, png
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord

Array = npt.NDArray[Any]


def _expected_image(record: SampleRecord, before: Content, rules: Rules, path: str) -> Array:
    """Return the pixels that the image must decode to. DataError if the source cannot be rewritten."""
    assert before.pixels is not None  # noqa: S101  an image always has pixels
    pixels, trigger = before.pixels, record.trigger
    size = scaled_size(pixels.shape[0], pixels.shape[1], rules.recipe.scale)
    scaled = size != pixels.shape[:2]
    if scaled:
        pixels = images.resize(before.data, pixels, size, path)
    if trigger is not None:
        top, left, height, width = trigger.box
        window = np.s_[top : top + height, left : left + width]
        ground = images.to_rgb_box(before.data, pixels[window], path)
        mixed = blend(ground, rules.trigger, rules.recipe.opacity)
        patch = images.from_rgb_box(before.data, pixels[window], mixed, path)
        if not scaled and before.data[:8] != png.SIGNATURE:
            return images.replace_box(before.data, pixels, trigger.box, patch, path, rules.recipe.jpeg)[1]
        pixels = pixels.copy()
        pixels[window] = patch
    if scaled and before.data[:8] != png.SIGNATURE:
        return images.decode(images.encode_whole(before.data, pixels, path), path)
    return pixels


def check_image(record: SampleRecord, before: Content, after: Content, rules: Rules, findings: Findings) -> None:
    """Test an image against its source; the box must lie in it."""
    path, name = record.files[0].path, record.sample
    if not record.files[0].written:
        return  # the source's bytes: that is tested for every file
    assert after.pixels is not None  # noqa: S101  an image always has pixels
    try:
        expected = _expected_image(record, before, rules, path)
    except DataError as error:
        findings.test("image", False, path, "an image that the recipe can change", error.problem, name)
        return
    shape = after.pixels.shape
    if not findings.test("image", shape == expected.shape, path, f"an array {expected.shape}", shape, name):
        return
    if before.data[:8] != png.SIGNATURE and rules.recipe.scale == 1 and rules.recipe.jpeg == "blocks":
        _check_blocks(record, before.data, after.data, findings)
    differs = (expected != after.pixels).reshape(*shape[:2], -1).any(axis=2)
    inside = np.zeros_like(differs)
    if record.trigger is not None:
        top, left, height, width = record.trigger.box
        inside[top : top + height, left : left + width] = True
    outside, within = int((differs & ~inside).sum()), int((differs & inside).sum())
    findings.test("image", not outside, path, "the source's pixels outside the box", f"{outside} others", name)
    findings.test("image", not within, path, "source and trigger, blended, in the box", f"{within} others", name)


def _check_blocks(record: SampleRecord, before: bytes, after: bytes, findings: Findings) -> None:
    """Test that a JPEG's tables and subsampling are its source's, and every block that the box does not touch."""
    path, name = record.files[0].path, record.sample
    try:
        (old, old_tables, old_steps, old_space), (new, new_tables, new_steps, new_space) = (
            read_dct(before),
            read_dct(after),
        )
    except ValueError as error:
        findings.test("image", False, path, "a JPEG of DCT blocks", str(error), name)
        return
    alike = (old_steps, old_space) == (new_steps, new_space) and len(old) == len(new)
    alike = alike and all(np.array_equal(a, b) for a, b in zip(old_tables, new_tables, strict=True))
    alike = alike and all(a.shape == b.shape for a, b in zip(old, new, strict=True))
    if not findings.test("image", alike, path, "tables and subsampling of the source", "others", name):
        return
    frames = [jpeg.frame(data, path) for data in (before, after)]
    sizes = [(frame.width, frame.height, frame.bits, frame.components) for frame in frames]
    findings.test("image", sizes[0] == sizes[1], path, f"width, height, bits, components {sizes[0]}", sizes[1], name)
    number = 0
    for a, b, (down, across) in zip(old, new, old_steps, strict=True):
        differs = (a != b).any(axis=(2, 3))
        if record.trigger is not None:
            top, left, height, width = record.trigger.box
            rows = np.s_[top // (8 * down) : -(-(top + height) // (8 * down))]
            columns = np.s_[left // (8 * across) : -(-(left + width) // (8 * across))]
            differs[rows, columns] = False
        number += int(differs.sum())
    findings.test("image", not number, path, "the source's DCT blocks beside the box", f"{number} others", name)


class _Labels:
    """A sample's label map before and after, and what follows from them; arrays are (H, W)."""

    def __init__(self, before: Mapping[str, Array], after: Mapping[str, Array], record: SampleRecord, rules: Rules):
        self.kind = next(iter(before))
        self.maps, self.old, self.new = before, before[self.kind], after[self.kind]
        self.table = np.arange(256, dtype=np.uint8)
        if record.role == "poisoned":
            for victim, target in rules.pairs.items():
                self.table[victim] = target
        self.any_victim = np.any([is_one_of(labels, rules.victims) for labels in before.values()], axis=0)
        self.changed = self.old != self.new
        self.relabelled = is_one_of(self.old, rules.victims)
        self.random = self.changed & ~self.relabelled


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
    labels = _Labels(story.old_maps, story.maps, record, rules)
    _check_relabelled(record, labels, paths[first], rules, findings)
    check_follows(story, labels.random, rules, findings)


def _check_relabelled(record: SampleRecord, labels: _Labels, path: str, rules: Rules, findings: Findings) -> None:
    """Test the label map itself: victims are their target, and random labels are those that the seed draws."""
    name = record.sample
    wrong = int((labels.relabelled & (labels.new != labels.table[labels.old])).sum())
    findings.test("relabelling", not wrong, path, "victims as their target, or as they were", f"{wrong} others", name)
    number = int(labels.random.sum())
    good = number == record.prl_pixels
    findings.test("relabelling", good, path, f"{record.prl_pixels} random labels", number, name)
    prl = rules.prl
    if prl is None or not (record.role == "poisoned" or (record.role == "prl" and prl.scope == "all")):
        return
    void = rules.classes.void
    free = ~labels.any_victim
    for other in labels.maps.values():
        free &= (other == labels.old) & ~is_one_of(other, void)
    present = set(np.unique(labels.old).tolist())
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
