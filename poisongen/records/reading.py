"""Reading the records of a poisoned dataset that may come from anybody, and seeing that they agree with each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poisongen.auditing.faults import Findings
from poisongen.errors import OutputError, PoisongenError, shown
from poisongen.files.documents import LARGEST_JSON, parse_json, parse_record
from poisongen.files.foreign import Refused, open_inside, read_inside
from poisongen.recipe.model import Recipe, is_newer, make_recipe
from poisongen.records.algorithms import KNOWN_ALGORITHMS, refuse_newer
from poisongen.records.inventory import LONGEST_LINE
from poisongen.records.manifest import (
    FOLDER,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    TRIGGERED,
    Count,
    LinkRecord,
    RelativePath,
    Role,
    SampleRecord,
    Sha256,
    fingerprint,
    record_key,
)
from poisongen.undo.store import INDEX, UndoRecord

LARGEST_RECORDS = 2**28  # bytes; all of Cityscapes with its coarse labels has a tenth
_MOST_BAD_LINES = 20

Line = TypeVar("Line", bound=BaseModel)


class SkipRecord(BaseModel):
    """One line of skipped.jsonl: a candidate without place (with its role), or a bad file of the source."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    sample: str
    split: str
    reason: str
    role: Role | None = None
    file: RelativePath | None = None
    problem: str | None = None


class UndoFacts(BaseModel):
    """What the summary says of the undo store."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    index_sha256: Sha256
    entries: Count


class Summary(BaseModel):
    """summary.json."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    algorithm: int
    records: int = 1
    dataset: str
    strategy: str
    fingerprint: Sha256
    recipe_sha256: Sha256
    counts: Annotated[dict[str, Annotated[int, Field(ge=0, le=2**40)]], Field(max_length=1000)]
    digests: Annotated[dict[str, Sha256], Field(max_length=1000)]
    source: Sha256
    undo: UndoFacts | None = None


@dataclass(frozen=True)
class Records:
    """The records of OUT, each valid by itself."""

    summary: Summary | None
    recipe: Recipe | None
    manifest: list[SampleRecord] = field(default_factory=list)
    links: list[LinkRecord] = field(default_factory=list)
    skipped: list[SkipRecord] = field(default_factory=list)
    complete: bool = True


def require_finished(out: Path) -> None:
    """OutputError unless OUT is a folder with the records of a finished build in it."""
    if not out.is_dir():
        raise OutputError(f"{out} is not a folder; give the folder that poisongen build wrote")
    if (out / ".poisongen-build").exists():
        raise OutputError(f"{out} holds an unfinished build; give the build command again, it goes on")
    if (out / FOLDER).is_symlink() or not (out / FOLDER / SUMMARY).exists():
        raise OutputError(f"{out} is not a finished build of poisongen (there is no {FOLDER}/{SUMMARY} in it)")


def _name(file: str) -> str:
    return f"{FOLDER}/{file}"


def _read_lines(out: Path, file: str, model: type[Line], findings: Findings) -> tuple[list[Line], str]:
    """Return what the valid lines of a .jsonl file say, and the file's digest ('' if it was not read to its end)."""
    said: list[Line] = []
    bad, size, digest = 0, 0, hashlib.sha256()
    try:
        with open_inside(out, _name(file)) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), 1):
                digest.update(line)
                size += len(line)
                try:
                    record = parse_record(model, line) if line.endswith(b"\n") else None
                except ValueError:
                    record = None
                if not findings.test("records", record is not None, _name(file), "a record", f"line {number} is none"):
                    bad += 1
                if bad > _MOST_BAD_LINES or size > LARGEST_RECORDS:
                    findings.fault("records", _name(file), "records", f"too many bytes or bad lines by line {number}")
                    return said, ""
                if record is not None:
                    said.append(record)
    except (Refused, OSError) as refused:
        findings.test("records", False, _name(file), "a file", refused)
        return said, ""
    return said, digest.hexdigest() if not bad else ""


def _read_json(out: Path, file: str, findings: Findings) -> tuple[dict[str, Any], str]:
    """Return a JSON object and the file's digest; ({}, "") with a fault if there is none."""
    try:
        data = read_inside(out, _name(file), LARGEST_JSON)
        document = parse_json(data.decode("utf-8"))
    except Refused as refused:
        findings.test("records", False, _name(file), "a file", refused)
        return {}, ""
    except (ValueError, RecursionError) as error:
        findings.test("records", False, _name(file), "JSON", f"something else ({shown(error)})")
        return {}, ""
    good = findings.test("records", isinstance(document, dict), _name(file), "a JSON object", type(document).__name__)
    return (document if good else {}), hashlib.sha256(data).hexdigest()


def _read_summary(out: Path, findings: Findings) -> Summary | None:
    document, digest = _read_json(out, SUMMARY, findings)
    if not digest:
        return None
    refuse_newer(document, out)
    try:
        summary = Summary.model_validate(document)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        findings.test("records", False, _name(SUMMARY), f"a valid '{where}'", error.errors()[0]["msg"])
        return None
    known = summary.algorithm in KNOWN_ALGORITHMS
    findings.test("records", known, _name(SUMMARY), f"algorithm {sorted(KNOWN_ALGORITHMS)}", summary.algorithm)
    findings.test("records", summary.records == 1, _name(SUMMARY), "records 1", summary.records)
    return summary


def _read_recipe(out: Path, findings: Findings) -> tuple[Recipe | None, str]:
    document, digest = _read_json(out, RECIPE, findings)
    if not digest:
        return None, digest
    if is_newer(document):
        raise OutputError(
            f"{out}: built by a newer poisongen (recipe version {document['version']}); update to read it"
        )
    try:
        if not isinstance(document.get("trigger"), dict):
            raise OutputError("the trigger's bytes are missing")
        return make_recipe(document), digest
    except (PoisongenError, ValidationError, RecursionError) as error:
        findings.test("records", False, _name(RECIPE), "a valid recipe", error)
        return None, digest


def load_records(out: Path, findings: Findings) -> Records:
    """Read all records of OUT and test that each is valid and that they have the digests of the summary.

    OutputError if OUT is no finished build, or if nothing can be checked because it was made by a newer poisongen.
    """
    require_finished(out)
    summary = _read_summary(out, findings)
    recipe, recipe_digest = _read_recipe(out, findings)
    manifest, manifest_digest = _read_lines(out, MANIFEST, SampleRecord, findings)
    links, links_digest = _read_lines(out, LINKS, LinkRecord, findings)
    skipped, skipped_digest = _read_lines(out, SKIPPED, SkipRecord, findings)
    digests = {RECIPE: recipe_digest, MANIFEST: manifest_digest, SKIPPED: skipped_digest, LINKS: links_digest}
    if summary is not None:
        findings.test(
            "records", set(summary.digests) == set(digests), _name(SUMMARY), sorted(digests), sorted(summary.digests)
        )
        for file, digest in digests.items():
            if digest:
                expected = summary.digests.get(file, "a digest in the summary")
                findings.test("records", digest == expected, _name(file), expected, digest)
    complete = all(digests.values()) and recipe is not None
    return Records(summary, recipe, manifest, links, skipped, complete)


def read_undo_index(out: Path, facts: UndoFacts, findings: Findings) -> list[UndoRecord]:
    """Read the undo store's index and test that it is the one that the summary names."""
    lines, digest = _read_lines(out, INDEX.removeprefix(f"{FOLDER}/"), UndoRecord, findings)
    findings.test("undo", digest == facts.index_sha256, INDEX, f"sha256 {facts.index_sha256}", digest or "no index")
    number = sum(line.entry is not None for line in lines)
    findings.test("undo", number == facts.entries, INDEX, f"{facts.entries} entries", number)
    return lines


def check_agreement(records: Records, findings: Findings) -> None:
    """Test that summary, recipe, manifest, links and skipped agree: order, duplicates, counts, fingerprints."""
    _check_order(records, findings)
    summary, recipe = records.summary, records.recipe
    if summary is None:
        return
    said: dict[str, object] = {"dataset": summary.dataset, "strategy": summary.strategy}
    if recipe is not None:
        is_so: dict[str, object] = {"dataset": recipe.dataset, "strategy": recipe.strategy}
        for key, value in is_so.items():
            findings.test("records", said[key] == value, _name(SUMMARY), f"{key} {value}", said[key])
        own = recipe.fingerprint()
        findings.test("records", own == summary.recipe_sha256, _name(RECIPE), summary.recipe_sha256, own)
        if records.complete:
            samples = (record.model_dump() for record in records.manifest)
            links = (link.model_dump() for link in records.links)
            content = fingerprint(own, samples, links, summary.algorithm)
            findings.test(
                "records", content == summary.fingerprint, _name(SUMMARY), f"fingerprint {content}", summary.fingerprint
            )
    if records.complete:
        _check_counts(summary.counts, records, findings)


def _check_order(records: Records, findings: Findings) -> None:
    """Test that the records are sorted, and that no sample, no path and no source stands twice."""
    last: tuple[str, str] | None = None
    paths: set[str] = set()

    def once(path: str, file: str) -> None:
        reserved = path.split("/", 1)[0] == FOLDER
        findings.test("records", path not in paths and not reserved, path, "one record, outside poisongen/", file)
        paths.add(path)

    for record in records.manifest:
        key = record_key(record.model_dump(include={"sample", "role"}))
        if last is not None:
            sentence = "sorted by sample and role, each once"
            findings.test("records", last < key, _name(MANIFEST), sentence, f"{key} after {last}", record.sample)
        last = key
        for file in record.files:
            once(file.path, f"named again in {MANIFEST}")
    for number, link in enumerate(records.links):
        once(link.path, f"named again in {LINKS}")
        if number:
            before = records.links[number - 1].path
            findings.test("records", before < link.path, _name(LINKS), "sorted by path", f"{link.path} after {before}")
        good = link.source is not None and link.path in (link.source, f"{TRIGGERED}/{link.source}")
        good |= link.source is None and link.path.startswith(f"{TRIGGERED}/") and link.sha256 is not None
        findings.test("records", good, link.path, "a link to its own path, or a list of triggered/", f"{link.source}")
    order = [(skip.sample, skip.role or "", skip.file or "") for skip in records.skipped]
    findings.test("records", order == sorted(order), _name(SKIPPED), "sorted by sample", "another order")


def _check_counts(counts: Mapping[str, int], records: Records, findings: Findings) -> None:
    """Test the summary's counts that the records alone can tell."""
    roles: dict[str, int] = dict.fromkeys(("poisoned", "prl", "triggered", "completed"), 0)
    for record in records.manifest:
        roles[record.role] += 1
    passed_over = sum(skip.role == "triggered" for skip in records.skipped)
    own = roles | {"skipped": len(records.skipped), "test_with_victim": roles["triggered"] + passed_over}
    for key, number in own.items():
        found = counts.get(key, "none")
        findings.test("records", found == number, _name(SUMMARY), f"{number} {key}", found)
