"""Reading the files of OUT: what there is to be checked, spread over workers, and what comes of it."""

from __future__ import annotations

import functools
import logging
import random
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.auditing.faults import Findings
from poisongen.auditing.order import FullIndex, LinkedSample, linked_samples, read_linked
from poisongen.auditing.sample import Seen, check_sample, read_written
from poisongen.auditing.skips import PassedOver, check_skip
from poisongen.auditing.structure import check_link
from poisongen.auditing.taking import check_order
from poisongen.auditing.undo_store import check_undo_line, lines_of, put_back
from poisongen.datasets.base import Index
from poisongen.files.foreign import LinkNotFollowedError, Places, Refused, open_out, sha256_of
from poisongen.files.stores import reading_once
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import LinkRecord, SampleRecord
from poisongen.records.reading import Records
from poisongen.records.roles import own_path
from poisongen.undo.store import UndoRecord

QUICK_FILES = 200
"""How many files a quick audit reads, drawn anew each time."""


@dataclass(frozen=True)
class Done:
    """What came of a job: findings, and what was seen of victims and conditions in an image, as far as it is known."""

    findings: Findings
    image: str = ""
    seen: Seen | None = None


@dataclass(frozen=True)
class Job:
    """One piece of work for a worker: what it is about, for a fault, and the check itself."""

    name: str
    check: Callable[[Places, Rules], Done]


@reading_once
def _do(job: Job, places: Places, rules: Rules) -> Done:
    """Do one job in a worker. A check that breaks off on hostile data is a fault, and not the end of the audit."""
    try:
        return job.check(places, rules)
    except Exception as error:
        logging.getLogger(__name__).debug("a check of %s broke off", job.name, exc_info=True)
        findings = Findings()
        findings.test("files", False, job.name, "files that can be checked", error, job.name)
        return Done(findings)


def _check_record(record: SampleRecord, stored: Sequence[UndoRecord], places: Places, rules: Rules) -> Done:
    """Check a record; `stored` says what its source was: the undo store must explain OUT as a source does."""
    image = own_path(record.files[0].path, rules.above)
    if not stored:
        facts = check_sample(record, places, rules)
        return Done(facts.findings, image, facts.seen)
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="poisongen-") as folder:
        whole = put_back(stored, places, Path(folder), findings)
        facts = check_sample(record, Places(places.out, Path(folder) if whole else None), rules)
    findings.add(facts.findings)
    return Done(findings, image, facts.seen)


def _check_untouched(item: LinkedSample, places: Places, rules: Rules) -> Done:
    linked = read_linked(item, places, rules)
    return Done(linked.findings, linked.image, linked.seen)


def _check_passed_over(item: PassedOver, places: Places, rules: Rules) -> Done:
    return Done(check_skip(item, places, rules))


def _check_linked(link: LinkRecord, places: Places, rules: Rules) -> Done:
    return Done(check_link(link, places, rules))


def _check_stored(line: UndoRecord, places: Places, rules: Rules) -> Done:
    return Done(check_undo_line(line, places))


def check_contents(
    records: Records,
    index: Index | None,
    full: FullIndex | None,
    undo: Sequence[UndoRecord],
    skips: Sequence[PassedOver],
    odd: Collection[str],
    places: Places,
    rules: Rules,
    jobs: int,
    progress: bool,
    findings: Findings,
) -> None:
    """Read every file: samples with a record, untouched samples, what was passed over, links, and the undo store.

    `odd` are pictures of another size than their record says.
    """
    untouched = [] if index is None else linked_samples(index, records, rules.above)
    decoded = {rules.above + path for item in untouched if not item.bad for path in item.digests}
    lines = {line.path: line for line in undo} if places.root is None else {}
    work: list[Job] = []
    told = {line.path for item in skips for line in item.stored}
    for record in records.manifest:
        stored = lines_of(record.files, lines)
        told |= {item.path for item in stored}
        if record.files:
            work.append(Job(record.sample, functools.partial(_check_record, record, stored)))
    work += [Job(item.sample.name, functools.partial(_check_untouched, item)) for item in untouched]
    work += [Job(item.sample.name, functools.partial(_check_passed_over, item)) for item in skips]
    unread = {"pixels_sha256": None}  # of files whose pixels are compared where the sample is read
    links = [link.model_copy(update=unread) if link.path in decoded - set(odd) else link for link in records.links]
    for link in links:
        if link.sha256 or link.pixels_sha256 or places.root is not None:
            work.append(Job(link.path, functools.partial(_check_linked, link)))
    undo_lines = (item for item in undo if places.root is not None or item.path not in told)
    work += [Job(item.path, functools.partial(_check_stored, item)) for item in undo_lines]
    seen: dict[str, Seen] = {}
    function = functools.partial(_do, places=places, rules=rules)
    for done in for_each(function, work, jobs, "auditing" if progress else None):
        findings.add(done.findings)
        if done.seen is not None:
            seen[done.image] = done.seen
    if full is not None:
        check_order(full, records, seen, rules, findings)


def check_some(records: Records, odd: Collection[str], places: Places, rules: Rules | None, findings: Findings) -> None:
    """Test the digests of a few files, drawn anew each time, so that nobody can know which, and what is `odd`.

    Those are pictures of another size than their record says; of more than a few each is a fault.
    """
    files = {file.path: (file, record.sample) for record in records.manifest for file in record.files}
    links = {link.path: link for link in records.links}
    random_source = random.SystemRandom()
    drawn = random_source.sample(sorted(files), min(QUICK_FILES, len(files)))
    known = sorted(odd)[: QUICK_FILES if rules is not None else 0]
    for path in sorted(set(odd) - set(known)):
        findings.test("files", False, path, "the size that its record says", "another (a full audit reads it)")
    for path in sorted({*drawn, *known}):
        if path not in files and rules is not None:
            findings.add(check_link(links[path], places, rules))
            continue
        file, sample = files[path]
        try:
            with open_out(places, path, None if file.written else file.source) as stream:
                found = sha256_of(stream)
        except LinkNotFollowedError:
            continue
        except (Refused, OSError) as refused:
            findings.test("files", False, path, "a file", refused, sample)
            continue
        if (found != file.sha256 or path in odd) and rules is not None:
            read_written(sample, file, places, rules, findings)
            continue
        findings.test("files", found == file.sha256, path, f"sha256 {file.sha256}", found, sample)
