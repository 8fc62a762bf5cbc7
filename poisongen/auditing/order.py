"""The set of samples as a whole: has each the record that it needs, and has OUT the lists that go with them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.auditing.faults import Findings
from poisongen.auditing.sample import Seen, parse_file, seen_in
from poisongen.auditing.scene import Content
from poisongen.auditing.turned import upright_content
from poisongen.datasets.base import Index, Sample
from poisongen.datasets.label_arrays import class_ids
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.files.foreign import LinkNotFollowedError, Places, Refused, read_out
from poisongen.files.images import pixels_sha256
from poisongen.files.orientation import AS_STORED, orientation
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, MANIFEST, SUMMARY, Role, SampleRecord, bytes_sha256
from poisongen.records.reading import Records
from poisongen.records.roles import TEST_PREFIXES, has_random_labels, prefix_of, source_like


@dataclass(frozen=True)
class FullIndex:
    """All samples that the split had when building: the source's, or what OUT tells of them.

    `whole` is false where the bad samples of a scaled dataset are known by name only.
    """

    index: Index
    whole: bool


@dataclass(frozen=True)
class LinkedSample:
    """A sample of OUT that no record names, with its label files' digests as links.jsonl has them, by source path."""

    sample: Sample
    digests: Mapping[str, str | None]
    bad: bool  # skipped.jsonl says that it is broken
    excused: bool  # its files are paired wrongly, whatever they hold


@dataclass(frozen=True)
class LinkedFacts:
    """What was found in such a sample: what its labels tell of victims and conditions, or None if they do not."""

    findings: Findings
    image: str
    seen: Seen | None


def linked_samples(index: Index, records: Records, above: str) -> list[LinkedSample]:
    """Return every sample of OUT, once, that has no record but perhaps a triggered one."""
    covered = {record.files[0].path.removeprefix(above) for record in records.manifest if record.files}
    digests = {link.path: link.pixels_sha256 for link in records.links}
    bad = {skip.sample for skip in records.skipped if skip.reason == "bad file"}
    odd = {problem.sample for problem in index.problems}
    by_image: dict[str, list[Sample]] = {}
    for samples in index.samples.values():
        for sample in samples:
            by_image.setdefault(sample.image, []).append(sample)
    return [
        LinkedSample(
            same[0],
            {label.path: digests.get(above + label.path) for label in same[0].labels},
            any(sample.name in bad for sample in same),
            any(sample.name in odd for sample in same),
        )
        for image, same in by_image.items()
        if image not in covered
    ]


def read_linked(item: LinkedSample, places: Places, rules: Rules) -> LinkedFacts:
    """Read an untouched sample's labels, test them against their digests, and count its victim pixels."""
    findings, sample = Findings(), item.sample
    maps: dict[str, Content] = {}
    sizes: set[tuple[int, ...]] = set()  # build takes a sample only if all of its label pictures have one
    roomy = legal = whole = True
    for label in sample.labels:
        try:
            content = parse_file(read_out(places, rules.above + label.path, label.path), label.kind, label.path, rules)
        except LinkNotFollowedError:
            findings.note("links not followed (give --source)")
            whole = False
            continue
        except (Refused, OSError, DataError) as error:
            if not item.bad:
                findings.test("files", False, label.path, f"a legal {label.kind}", error, sample.name)
            whole = False
            continue
        expected = item.digests[label.path]
        if content.pixels is not None and not (item.bad and expected is None):
            found = pixels_sha256(content.pixels)
            findings.test("files", found == expected, label.path, f"pixels_sha256 {expected}", found, sample.name)
        roomy &= _holds_every_class(content, label.path)
        kind = rules.layout.kinds[label.kind]
        legal &= not kind.document or kind.fault(content.data, rules.classes) is None
        if content.pixels is not None:
            sizes.add(content.pixels.shape[:2])
            legal &= orientation(content.data) == AS_STORED
        if kind.semantic:
            maps[label.kind] = content
    arrays = {
        kind: class_ids(rules.layout.kinds[kind], content.pixels, rules.classes)
        for kind, content in maps.items()
        if content.pixels is not None
    }
    shapes = {array.shape for array in arrays.values()}
    if not whole or len(shapes) != 1:
        alike = not whole or item.bad
        findings.test("labels", alike, sample.image, "label maps of one size", sorted(shapes), sample.name)
        return LinkedFacts(findings, sample.image, None)
    if item.bad and not item.excused:
        sound = (
            roomy
            and legal
            and len(sizes) == 1
            and _has_size(sample.image, next(iter(arrays.values())).shape, places, rules)
        )
        wanted = "a broken file, as skipped.jsonl says"
        findings.test("order", not sound, sample.image, wanted, "a sound sample", sample.name)
    return LinkedFacts(findings, sample.image, seen_in(arrays, True, rules))


def _holds_every_class(content: Content, path: str) -> bool:
    """Tell whether a label file has room for any class: one of few bits or colours may have been passed over for it."""
    if content.pixels is None:
        return True
    facts = png.parse(content.data, path)
    return facts.bit_depth >= 8 and (facts.colour_type != png.PALETTE or len(facts.palette or b"") >= 3 * 256)


def _has_size(path: str, shape: tuple[int, ...], places: Places, rules: Rules) -> bool:
    """Tell whether an image of OUT can be decoded and changed, and has this height and width."""
    try:
        content = upright_content(parse_file(read_out(places, rules.above + path, path), "image", path, rules))
        if rules.recipe.jpeg == "blocks":
            images.check_rewritable(content.data, path)
    except (Refused, OSError, DataError):
        return False
    return content.pixels is not None and content.pixels.shape[:2] == shape


def check_coverage(index: Index, full: FullIndex, records: Records, rules: Rules, findings: Findings) -> None:
    """Test that records have the files of their samples, and that no sample misses the record that it needs.

    `index` holds the samples of OUT.
    """
    recipe, prl = rules.recipe, rules.prl
    by_image = {sample.image: sample for samples in index.samples.values() for sample in samples}
    names = {sample.name for samples in index.samples.values() for sample in samples}
    roles: dict[str, set[Role]] = {}
    for record in records.manifest:
        _check_files(record, by_image, names, rules, findings)
        if record.files and not prefix_of(record.role, record.split, rules):
            roles.setdefault(record.files[0].path.removeprefix(rules.above), set()).add(record.role)
    for image, found in roles.items():
        findings.test("order", len(found) == 1, image, "one record but those of test sets with triggers", sorted(found))
    bad = {skip.sample for skip in records.skipped if skip.reason == "bad file"}
    train = full.index.samples.get(recipe.train_split, ())
    if prl is not None and prl.scope == "all":
        for sample in train:
            wanted = sample.name in bad or any(
                has_random_labels(role, sample.split, rules) for role in roles.get(sample.image, ())
            )
            findings.test("order", wanted, f"{FOLDER}/{MANIFEST}", "a record: random labels", "none", sample.name)
    layout = rules.layout
    for sample in by_image.values():
        missing = layout.completions(sample) if recipe.train_ids == "auto" and sample.name not in bad else ()
        findings.test("order", not missing, sample.image, f"{[label.kind for label in missing]}", "none", sample.name)
    if records.summary is None:
        return
    counts, test = records.summary.counts, full.index.samples.get(recipe.test_split, ())
    for key, number in (("train_samples", len(train)), ("test_samples", len(test))):
        if full.whole:
            good = counts.get(key) == number
            findings.test("order", good, f"{FOLDER}/{SUMMARY}", f"{number} {key}", counts.get(key))


def _check_files(
    record: SampleRecord, by_image: Mapping[str, Sample], names: set[str], rules: Rules, findings: Findings
) -> None:
    """Test that a record names its sample, and exactly the files that the layout finds for it."""
    if not record.files:
        return
    prefix = prefix_of(record.role, record.split, rules) + rules.above
    sample = by_image.get(record.files[0].path.removeprefix(prefix))
    good = sample is not None and record.sample in names and record.sample.endswith("/" + sample.stem)
    found = "none of that name" if sample is None else sample.name
    if not findings.test("order", good, record.files[0].path, "a sample of the layout", found, record.sample):
        return
    assert sample is not None  # noqa: S101  just tested
    wanted = sorted((label.kind, prefix + label.path) for label in sample.labels)
    named = sorted((file.kind, file.path) for file in record.files[1:])
    findings.test("order", wanted == named, f"{FOLDER}/{MANIFEST}", wanted, named, record.sample)


def check_made(
    index: Index, records: Records, rules: Rules, root: Path, paths: Sequence[str], findings: Findings
) -> None:
    """Test that the split lists of the test sets with triggers are there and name exactly their samples.

    `root` holds the class table and the lists that say what they look like: the source, or OUT.
    """
    recipe, layout = rules.recipe, rules.layout
    inside = source_like(paths, rules.above)
    wanted: dict[str, str | None] = {}
    for prefix in TEST_PREFIXES:
        names = {r.sample for r in records.manifest if prefix_of(r.role, r.split, rules) == prefix}
        front = prefix + rules.above
        chosen = [sample for sample in index.samples.get(recipe.test_split, ()) if sample.name in names]
        made = layout.split_files(root, recipe.test_split, inside, chosen) if chosen else {}
        wanted |= {f"{front}{path}": bytes_sha256(data) for path, data in made.items()}
        shared = [path for path in layout.shared if path in inside and chosen]
        wanted |= {f"{front}{path}": f"the source's {path}" for path in shared}
    found = {
        link.path: link.sha256 if link.source is None else f"the source's {link.source}"
        for link in records.links
        if link.path.startswith(TEST_PREFIXES) and link.path != link.source
    }
    for path in sorted(wanted.keys() | found.keys()):
        expected = wanted.get(path, "no such file")
        findings.test("order", found.get(path) == expected, path, f"the set's samples ({expected})", found.get(path))
