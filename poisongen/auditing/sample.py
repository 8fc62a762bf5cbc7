"""All checks of one record of the manifest that need its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.attack.triggers.road import quad_box
from poisongen.auditing.against_source import check_image
from poisongen.auditing.annotations import is_only_reencoded
from poisongen.auditing.companions import check_companions, check_written
from poisongen.auditing.expected import check_expected
from poisongen.auditing.faults import Findings
from poisongen.auditing.places import check_placement
from poisongen.auditing.relabelled import check_labels
from poisongen.auditing.scene import Content, Story, counts_in, is_one_of, victims_in
from poisongen.auditing.trigger import check_trigger
from poisongen.auditing.turned import check_turn, upright_content
from poisongen.core.resize import resize_labels, scaled_size
from poisongen.datasets.label_arrays import class_ids, decode_label_file
from poisongen.errors import DataError
from poisongen.files.foreign import LARGEST_FILE, LinkNotFollowedError, Places, Refused, check_picture_size, read_out
from poisongen.files.images import decode, pixels_sha256
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FileRecord, SampleRecord, bytes_sha256
from poisongen.records.roles import changes_labels, is_relabelled

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Seen:
    """A sample's victim pixels, and whether the conditions hold that its class counts decide (None: not known)."""

    victims: int
    holds: bool | None


@dataclass(frozen=True)
class SampleFacts:
    """What came of checking a record, and what its true labels tell of victims and conditions (None: not known)."""

    findings: Findings
    seen: Seen | None


def parse_file(data: bytes, kind: str, path: str, rules: Rules) -> Content:
    """Decode a file of a sample by its kind, and test that its values are legal. DataError."""
    label = rules.layout.kinds.get(kind)
    if label is not None and label.document:
        return Content(data, None)
    check_picture_size(data, path)
    content = Content(data, decode(data, path) if label is None else decode_label_file(label, data, path))
    if label is not None and (fault := label.fault(content.pixels, rules.classes)):
        raise DataError(path, fault)
    return content


def read_written(name: str, file: FileRecord, places: Places, rules: Rules, findings: Findings) -> Content | None:
    """Read one file of OUT, of the sample of that name, and test its digests."""
    try:
        data = read_out(places, file.path, None if file.written else file.source)
    except LinkNotFollowedError:
        findings.note("links not followed (give --source)")
        return None
    except (Refused, OSError) as refused:
        findings.test("files", False, file.path, "a file", refused, name)
        return None
    digest = bytes_sha256(data)
    if digest != file.sha256 and (content := _reencoded(data, file, places, rules)) is not None:
        findings.reencoded.add(file.path)
        return content
    if not findings.test("files", digest == file.sha256, file.path, f"sha256 {file.sha256}", digest, name):
        return None
    findings.test("files", file.size in (None, len(data)), file.path, f"{file.size} bytes", len(data), name)
    try:
        content = parse_file(data, file.kind, file.path, rules)
    except DataError as error:
        findings.test("files", False, file.path, f"a legal {file.kind}", error.problem, name)
        return None
    if content.pixels is not None:
        digest = pixels_sha256(content.pixels)
        good = digest == file.pixels_sha256
        findings.test("files", good, file.path, f"pixels_sha256 {file.pixels_sha256}", digest, name)
    return content


def _reencoded(data: bytes, file: FileRecord, places: Places, rules: Rules) -> Content | None:
    """Return a picture that has other bytes than its record says, and nothing but the same pixels; else None."""
    if file.pixels_sha256 is None:
        return None
    try:
        content = parse_file(data, file.kind, file.path, rules)
        before = None
        if places.root is not None and file.source is not None:
            with (places.root / file.source).open("rb") as stream:
                before = stream.read(LARGEST_FILE)
    except (DataError, OSError):
        return None
    if content.pixels is None or pixels_sha256(content.pixels) != file.pixels_sha256:
        return None
    return Content(data, content.pixels, True) if is_only_reencoded(data, before, rules.classes, file.path) else None


def _read_source(
    record: SampleRecord, file: FileRecord, places: Places, rules: Rules, written: Content | None, findings: Findings
) -> Content | None:
    """Read one file of the source and test its digest; labels are brought to the written size.

    `written` is the file of OUT, which need not be decoded again where it has the same bytes.
    """
    name = record.sample
    if file.source is None or places.root is None:
        return None
    try:
        with (places.root / file.source).open("rb") as stream:
            data = stream.read(LARGEST_FILE)
    except OSError as error:
        findings.test("source", False, file.source, "a file of the source", error.strerror, name)
        return None
    digest = bytes_sha256(data)
    good = digest == file.source_sha256
    if not findings.test("source", good, file.source, f"source sha256 {file.source_sha256}", digest, name):
        return None
    if written is not None and written.data == data and rules.recipe.scale == 1:
        return written
    try:
        content = parse_file(data, file.kind, file.source, rules)
    except DataError as error:
        findings.test("source", False, file.source, f"a legal {file.kind} in the source", error.problem, name)
        return None
    if content.pixels is None or rules.recipe.scale == 1 or file.kind == "image":
        return content
    size = scaled_size(content.pixels.shape[0], content.pixels.shape[1], rules.recipe.scale)
    return Content(data, resize_labels(content.pixels, size))


def _semantic(contents: Mapping[str, Content], rules: Rules) -> dict[str, Array]:
    """Return the maps of raw class IDs, the label map first, if they have one size."""
    kinds = rules.layout.kinds
    maps = {
        kind: class_ids(kinds[kind], content.pixels, rules.classes)
        for kind, content in contents.items()
        if kind in kinds and kinds[kind].semantic and content.pixels is not None
        if (content.pixels.ndim == 2 or kinds[kind].ids is not None) and content.pixels.dtype == np.uint8
    }
    return maps if len({array.shape for array in maps.values()}) == 1 else {}


def _trigger_fits(record: SampleRecord, shape: tuple[int, int], rules: Rules, findings: Findings) -> bool:
    """Test that the trigger's place, where its kind has one, lies in the image less the margin."""
    trigger = record.trigger
    if trigger is None or (rules.placement is None and rules.kind.quad is None):
        return trigger is None or (trigger.box, trigger.quad) == (None, None)
    if trigger.box is None:
        return False  # which is a fault already
    top, left, height, width = trigger.box
    margin = 0 if rules.placement is None else rules.placement.edge_margin
    inside = margin <= top <= shape[0] - margin - height and margin <= left <= shape[1] - margin - width
    sentence = f"a box inside {shape[1]}x{shape[0]} px less {margin}"
    fits = findings.test("rules", inside, record.files[0].path, sentence, trigger.box, record.sample)
    sides = (height, width) if rules.placement is None else rules.placement.sides(shape)
    sentence = f"a box of {sides[0]}x{sides[1]} px"
    legal = findings.test("rules", (height, width) == sides, record.files[0].path, sentence, trigger.box, record.sample)
    standing = rules.kind.quad is None or (trigger.quad is not None and quad_box(trigger.quad) == trigger.box)
    centred = trigger.center == (top + height // 2, left + width // 2)
    return fits and legal and standing and centred


def check_sample(record: SampleRecord, places: Places, rules: Rules) -> SampleFacts:
    """Check the files of one record of the manifest, already found valid."""
    findings = Findings()
    written = {file.kind: read_written(record.sample, file, places, rules, findings) for file in record.files}
    contents = {kind: content for kind, content in written.items() if content is not None}
    before: dict[str, Content] = {}
    if places.root is not None:
        sources = {
            file.kind: _read_source(record, file, places, rules, written[file.kind], findings) for file in record.files
        }
        before = {kind: content for kind, content in sources.items() if content is not None}
    image = contents.get("image")
    seen = contents | ({} if image is None else {"image": upright_content(image)})
    story = Story(record, seen, _semantic(contents, rules), before, _semantic(before, rules))
    maps = story.maps
    if maps:
        check_companions(story, rules, places.root is not None, findings)
    elif len(contents) == len(record.files):
        findings.test("labels", False, record.files[-1].path, "label maps of one size", "none", record.sample)
    check_written(story, rules, findings)
    if image is not None and image.pixels is not None:
        height, width = np.asarray(seen["image"].pixels).shape[:2]
        shape = (int(height), int(width))
        if _trigger_fits(record, shape, rules, findings):
            check_turn(record, image.data, shape, findings)
            untold = check_trigger(record, image.data, image.pixels, rules, findings)
            if untold and "image" not in before:
                findings.note(f"{untold} (give --source)")
            _check_place(record, shape, maps, story.old_maps, rules, findings)
            if "image" in before:
                check_image(record, before["image"], image, rules, findings)
    if story.old_maps and maps:
        check_labels(story, rules, findings)
    check_expected(story, places, rules, findings)
    return SampleFacts(findings, _seen(record, maps, story.old_maps, rules))


def _seen(record: SampleRecord, maps: Mapping[str, Array], before: Mapping[str, Array], rules: Rules) -> Seen | None:
    """Return what the labels tell of victims and conditions: the true ones, or OUT's where victims are as they were."""
    if before:
        return seen_in(before, True, rules)
    if not maps or is_relabelled(record.role):
        return None
    return seen_in(maps, not changes_labels(record.role, record.split, rules), rules)


def seen_in(maps: Mapping[str, Array], true: bool, rules: Rules) -> Seen:
    """Count victims in a sample's maps, and see whether the conditions hold that its class counts decide.

    `true`: no label is random, so that the counts are those of the source.
    """
    known = true or not rules.conditions
    holds = rules.holds(counts_in(next(iter(maps.values()))), None) if known else None
    return Seen(int(victims_in(maps, rules).sum()), holds)


def _check_place(
    record: SampleRecord,
    shape: tuple[int, int],
    maps: Mapping[str, Array],
    before: Mapping[str, Array],
    rules: Rules,
    findings: Findings,
) -> None:
    """Check the trigger's place against the labels before relabelling: the source's, or OUT's where they are true."""
    true_labels = before or ({} if changes_labels(record.role, record.split, rules) else maps)
    if not true_labels:
        if record.trigger is not None:
            findings.note("distance and eligible positions of poisoned samples (give --source)")
        return
    first = next(iter(true_labels.values()))
    if first.shape != shape:
        return
    victims = victims_in(true_labels, rules)
    number = int(is_one_of(first, rules.victims).sum())
    good = number == record.victim_pixels
    findings.test(
        "placement", good, record.files[0].path, f"{number} victim pixels", record.victim_pixels, record.sample
    )
    fewest = fewest_victims(record.split, rules)
    enough = record.trigger is None or int(victims.sum()) >= fewest
    findings.test("placement", enough, record.files[0].path, f"at least {fewest} victim pixels", number, record.sample)
    check_placement(record, first, victims, rules, findings)


def fewest_victims(split: str, rules: Rules) -> int:
    """Return how many victim pixels a sample of this split has at least that carries a trigger."""
    return rules.recipe.min_victim_pixels if split == rules.recipe.train_split else 1
