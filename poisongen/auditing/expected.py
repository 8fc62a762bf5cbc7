"""The labels that the attacker wants of a triggered sample: is the file what the label rule makes of the true ones?"""

from __future__ import annotations

from poisongen.auditing.annotations import check_annotations
from poisongen.auditing.faults import Findings
from poisongen.auditing.scene import Story, box_of, scene_of
from poisongen.errors import DataError
from poisongen.files.foreign import Places, Refused, check_picture_size, read_out
from poisongen.files.images import decode_labels, pixels_sha256
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FileRecord, bytes_sha256


def check_expected(story: Story, places: Places, rules: Rules, findings: Findings) -> None:
    """Test the file of expected labels of a sample that has one: its digests, its form, and every pixel.

    The sample's labels are the true ones, so no source is needed.
    """
    record, told = story.record, story.record.expected
    if told is None:
        return
    name, path = record.sample, told.path
    try:
        data = read_out(places, path, None)
    except (Refused, OSError) as refused:
        findings.test("files", False, path, "a file", refused, name)
        return
    digest = bytes_sha256(data)
    if not findings.test("files", digest == told.sha256, path, f"sha256 {told.sha256}", digest, name):
        return
    try:
        check_picture_size(data, path)
        found = decode_labels(data, path)
    except DataError as error:
        findings.test("files", False, path, "a label map", error.problem, name)
        return
    digest = pixels_sha256(found)
    same = digest == told.pixels_sha256
    findings.test("files", same, path, f"pixels_sha256 {told.pixels_sha256}", digest, name)
    file = FileRecord(
        kind="expected",
        path=path,
        source=None,
        written=True,
        source_sha256=None,
        sha256=told.sha256,
        pixels_sha256=told.pixels_sha256,
    )
    check_annotations(name, file, data, found, None, False, findings)
    if not story.maps:
        return  # which is a fault already
    scene = scene_of(story.maps, story.contents, box_of(record), rules)
    fault: str | None = f"an array {found.shape} of {found.dtype}"
    if found.shape == scene.labels.shape and found.dtype == scene.labels.dtype:
        fault = rules.label_rule.fault(scene, found, rules.label_parameters)
    sentence = f"what the rule '{rules.recipe.labels}' makes of the true labels"
    findings.test("labels", fault is None, path, sentence, fault, name)
