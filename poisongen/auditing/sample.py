"""All checks of one record of the manifest that need its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.auditing.against_source import check_image, check_labels
from poisongen.auditing.companions import Content, Story, check_companions, check_written
from poisongen.auditing.faults import Findings
from poisongen.auditing.positions import check_placement, is_one_of
from poisongen.auditing.trigger import check_seen, check_trigger
from poisongen.auditing.turned import as_file_has_it, check_turn, upright_content
from poisongen.core.resize import resize_labels, scaled_size
from poisongen.errors import DataError
from poisongen.files.foreign import LARGEST_FILE, LinkNotFollowedError, Places, Refused, check_picture_size, read_out
from poisongen.files.images import decode, decode_labels, pixels_sha256
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FileRecord, SampleRecord, bytes_sha256

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SampleFacts:
    """What came of checking a record, and how many victim pixels its labels in OUT hold (None: not known)."""

    findings: Findings
    victims: int | None


def parse_file(data: bytes, kind: str, path: str, rules: Rules) -> Content:
    """Decode a file of a sample by its kind, and test that its values are legal. DataError."""
    label = rules.layout.kinds.get(kind)
    if label is not None and label.document:
        return Content(data, None)
    check_picture_size(data, path)
    content = Content(data, decode_labels(data, path) if label is not None and label.flat else decode(data, path))
    if label is not None and (fault := label.fault(content.pixels, rules.classes)):
        raise DataError(path, fault)
    return content


def _read_written(
    record: SampleRecord, file: FileRecord, places: Places, rules: Rules, findings: Findings
) -> Content | None:
    """Read one file of OUT and test its digests."""
    name = record.sample
    try:
        data = read_out(places, file.path, None if file.written else file.source)
    except LinkNotFollowedError:
        findings.note("links not followed (give --source)")
        return None
    except (Refused, OSError) as refused:
        findings.test("files", False, file.path, "a file", refused, name)
        return None
    digest = bytes_sha256(data)
    if not findings.test("files", digest == file.sha256, file.path, f"sha256 {file.sha256}", digest, name):
        return None
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
        kind: content.pixels
        for kind, content in contents.items()
        if kind in kinds and kinds[kind].semantic and content.pixels is not None
        if content.pixels.ndim == 2 and content.pixels.dtype == np.uint8
    }
    return maps if len({array.shape for array in maps.values()}) == 1 else {}


def victims_in(maps: Mapping[str, Array], rules: Rules) -> npt.NDArray[np.bool_]:
    """Tell which pixels are a victim in any of a sample's maps, (H, W) bool."""
    return np.asarray(np.any([is_one_of(labels, rules.victims) for labels in maps.values()], axis=0))


def _box_fits(record: SampleRecord, shape: tuple[int, int], rules: Rules, findings: Findings) -> bool:
    """Test that the box lies in the image less the margin."""
    if record.trigger is None:
        return True
    top, left, height, width = record.trigger.box
    margin = rules.placement.edge_margin
    inside = margin <= top <= shape[0] - margin - height and margin <= left <= shape[1] - margin - width
    sentence = f"a box inside {shape[1]}x{shape[0]} px less {margin}"
    fits = findings.test("rules", inside, record.files[0].path, sentence, record.trigger.box, record.sample)
    legal = (height, width) == (rules.placement.size,) * 2
    centred = record.trigger.center == (top + height // 2, left + width // 2)
    return fits and legal and centred


def check_sample(record: SampleRecord, places: Places, rules: Rules) -> SampleFacts:
    """Check the files of one record of the manifest, already found valid."""
    findings = Findings()
    written = {file.kind: _read_written(record, file, places, rules, findings) for file in record.files}
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
        if _box_fits(record, shape, rules, findings):
            check_turn(record, image.data, shape, findings)
            stored, turned = as_file_has_it(record, image.data, shape, rules)
            untold = check_trigger(stored, image.data, image.pixels, turned, findings)
            if untold and "image" not in before:
                findings.note(f"{untold} (give --source)")
            _check_place(record, shape, maps, story.old_maps, rules, findings)
            if "image" in before:
                check_image(stored, before["image"], image, turned, findings)
                check_seen(record, before["image"], image, rules, findings)
    if story.old_maps and maps:
        check_labels(story, rules, findings)
    known = maps and record.role != "poisoned"
    return SampleFacts(findings, int(victims_in(maps, rules).sum()) if known else None)


def _check_place(
    record: SampleRecord,
    shape: tuple[int, int],
    maps: Mapping[str, Array],
    before: Mapping[str, Array],
    rules: Rules,
    findings: Findings,
) -> None:
    """Check the trigger's place against the labels before relabelling: the source's, or OUT's where they are true."""
    true_labels = before or (maps if record.role == "triggered" else {})
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
    fewest = rules.recipe.min_victim_pixels if record.role == "poisoned" else 1
    enough = record.trigger is None or int(victims.sum()) >= fewest
    findings.test("placement", enough, record.files[0].path, f"at least {fewest} victim pixels", number, record.sample)
    check_placement(record, first, victims, rules, findings)
