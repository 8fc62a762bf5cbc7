"""The set of samples as a whole: coverage, and the order in which candidates were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poisongen.auditing.companions import Content
from poisongen.auditing.faults import Findings
from poisongen.auditing.obey import wanted_samples
from poisongen.auditing.sample import parse_file, victims_in
from poisongen.auditing.turned import upright_content
from poisongen.datasets.base import Index, Sample
from poisongen.errors import DataError
from poisongen.files import images, png
from poisongen.files.foreign import LinkNotFollowedError, Places, Refused, read_out
from poisongen.files.images import pixels_sha256
from poisongen.files.orientation import AS_STORED, orientation
from poisongen.recipe.rules import Rules
from poisongen.records.algorithms import KNOWN_ALGORITHMS
from poisongen.records.manifest import FOLDER, MANIFEST, SKIPPED, SUMMARY, TRIGGERED, SampleRecord, bytes_sha256
from poisongen.records.reading import Records


@dataclass(frozen=True)
class FullIndex:
    """All samples that the split had when building: the source's, or what OUT tells of them.

    `whole` is false where the bad samples of a scaled dataset are known by name only.
    """

    index: Index
    whole: bool


@dataclass(frozen=True)
class LinkedSample:
    """A sample of OUT that no record names, with its label files' digests as links.jsonl has them, by path."""

    sample: Sample
    digests: Mapping[str, str | None]
    bad: bool  # skipped.jsonl says that it is broken
    excused: bool  # its files are paired wrongly, whatever they hold


@dataclass(frozen=True)
class LinkedFacts:
    """What was found in such a sample: its victim pixels, or None if they are not known."""

    findings: Findings
    image: str
    victims: int | None


def linked_samples(index: Index, records: Records) -> list[LinkedSample]:
    """Return every sample of OUT, once, that has no record but perhaps a triggered one."""
    covered = {record.files[0].path for record in records.manifest if record.files}
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
            {label.path: digests.get(label.path) for label in same[0].labels},
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
            content = parse_file(read_out(places, label.path, label.path), label.kind, label.path, rules)
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
    arrays = {kind: content.pixels for kind, content in maps.items() if content.pixels is not None}
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
    return LinkedFacts(findings, sample.image, int(victims_in(arrays, rules).sum()))


def _holds_every_class(content: Content, path: str) -> bool:
    """Tell whether a label file has room for any class: one of few bits or colours may have been passed over for it."""
    if content.pixels is None:
        return True
    facts = png.parse(content.data, path)
    return facts.bit_depth >= 8 and (facts.colour_type != png.PALETTE or len(facts.palette or b"") >= 3 * 256)


def _has_size(path: str, shape: tuple[int, ...], places: Places, rules: Rules) -> bool:
    """Tell whether an image of OUT can be decoded and changed, and has this height and width."""
    try:
        content = upright_content(parse_file(read_out(places, path, path), "image", path, rules))
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
    roles: dict[str, set[str]] = {}
    for record in records.manifest:
        _check_files(record, by_image, names, findings)
        if record.role != "triggered" and record.files:
            roles.setdefault(record.files[0].path, set()).add(record.role)
    for image, found in roles.items():
        findings.test("order", len(found) == 1, image, "one record but a triggered one", sorted(found))
    bad = {skip.sample for skip in records.skipped if skip.reason == "bad file"}
    train = full.index.samples.get(recipe.train_split, ())
    if prl is not None and prl.scope == "all":
        for sample in train:
            wanted = sample.name in bad or bool(roles.get(sample.image, set()) & {"poisoned", "prl"})
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


def _check_files(record: SampleRecord, by_image: Mapping[str, Sample], names: set[str], findings: Findings) -> None:
    """Test that a record names its sample, and exactly the files that the layout finds for it."""
    if not record.files:
        return
    prefix = f"{TRIGGERED}/" if record.role == "triggered" else ""
    sample = by_image.get(record.files[0].path.removeprefix(prefix))
    good = sample is not None and record.sample in names and record.sample.endswith("/" + sample.stem)
    found = "none of that name" if sample is None else sample.name
    if not findings.test("order", good, record.files[0].path, "a sample of the layout", found, record.sample):
        return
    assert sample is not None  # noqa: S101  just tested
    wanted = sorted((label.kind, prefix + label.path) for label in sample.labels)
    named = sorted((file.kind, file.path) for file in record.files[1:])
    findings.test("order", wanted == named, f"{FOLDER}/{MANIFEST}", wanted, named, record.sample)


def check_made(index: Index, records: Records, rules: Rules, paths: Sequence[str], findings: Findings) -> None:
    """Test that the split lists of triggered/ are there and name exactly the triggered samples."""
    recipe = rules.recipe
    names = {record.sample for record in records.manifest if record.role == "triggered"}
    triggered = [sample for sample in index.samples.get(recipe.test_split, ()) if sample.name in names]
    inside = sorted(path for path in paths if path.split("/")[0] not in (FOLDER, TRIGGERED))
    layout = rules.layout
    made = layout.split_files(recipe.test_split, inside, triggered) if triggered else {}
    wanted: dict[str, str | None] = {f"{TRIGGERED}/{path}": bytes_sha256(data) for path, data in made.items()}
    shared = [path for path in layout.shared if path in inside and triggered]
    wanted |= {f"{TRIGGERED}/{path}": f"the source's {path}" for path in shared}
    found = {
        link.path: link.sha256 if link.source is None else f"the source's {link.source}"
        for link in records.links
        if link.path.startswith(f"{TRIGGERED}/")
    }
    for path in sorted(wanted.keys() | found.keys()):
        expected = wanted.get(path, "no such file")
        findings.test(
            "order", found.get(path) == expected, path, f"the triggered samples ({expected})", found.get(path)
        )


def check_order(
    full: FullIndex, records: Records, victims: Mapping[str, int], rules: Rules, findings: Findings
) -> None:
    """Test that the poisoned samples are the first of the drawn order, and that every test sample with a victim shows.

    `victims` are the victim pixels of untouched samples and of those with random labels, by image. The order can be
    told only if all of them are known.
    """
    recipe = rules.recipe
    poisoned = {record.sample for record in records.manifest if record.role == "poisoned"}
    passed = {skip.sample for skip in records.skipped if skip.role == "poisoned"}
    bad = {skip.sample for skip in records.skipped if skip.reason == "bad file"}
    everyone = full.index.samples.get(recipe.train_split, ())
    train = {s.name: s.image for s in everyone if s.name not in bad}
    test = [s for s in full.index.samples.get(recipe.test_split, ()) if s.name not in bad]
    if any(image not in victims and name not in poisoned for name, image in train.items()):
        findings.note("the order of candidates: some labels could not be read")
    elif not full.whole:
        findings.note("the order of candidates: bad samples are left out of a scaled dataset")
    else:
        names = sorted(sample.name for sample in everyone)
        drawn = (names[at] for at in KNOWN_ALGORITHMS[rules.algorithm].order(len(names), recipe.seed))
        order = [
            name
            for name in drawn
            if name in train and (name in poisoned or victims[train[name]] >= recipe.min_victim_pixels)
        ]
        first = set(order[: len(poisoned) + len(passed)])
        for name in sorted(first ^ (poisoned | passed)):
            expected = "poisoned or passed over: its turn came" if name in first else "neither: its turn did not come"
            where = f"{FOLDER}/{MANIFEST if name in poisoned else SKIPPED}"
            findings.test("order", False, where, expected, "the contrary", name)
        findings.test("order", True, "", "", "")
        _check_candidates(records, len(order), poisoned, passed, rules, findings)
    triggered = {record.sample for record in records.manifest if record.role == "triggered"}
    triggered |= {skip.sample for skip in records.skipped if skip.role == "triggered"}
    for sample in test:
        number = victims.get(sample.image)
        if number is not None:
            good = (sample.name in triggered) == bool(number)
            sentence = f"triggered or passed over: {bool(number)}"
            findings.test("order", good, f"{FOLDER}/{MANIFEST}", sentence, not good, sample.name)
        elif sample.name not in triggered:
            findings.note("whether test samples without a record hold a victim: some labels could not be read")


def _check_candidates(
    records: Records, candidates: int, poisoned: set[str], passed: set[str], rules: Rules, findings: Findings
) -> None:
    """Test the number of candidates, and that a build with fewer than asked for has tried them all."""
    if records.summary is None:
        return
    counts = records.summary.counts
    good = counts.get("train_candidates") == candidates
    found = counts.get("train_candidates")
    findings.test("order", good, f"{FOLDER}/{SUMMARY}", f"{candidates} train_candidates", found)
    if rules.recipe.allow_fewer:
        tried, wanted = len(poisoned) + len(passed), wanted_samples(rules, counts.get("train_samples", 0))
        good = len(poisoned) >= wanted or tried == candidates
        findings.test("order", good, f"{FOLDER}/{SKIPPED}", f"all {candidates} candidates tried", tried)
