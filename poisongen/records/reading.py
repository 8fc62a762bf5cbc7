"""Reading the records of a poisoned dataset that may come from anybody."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poisongen.attack.label_rules import label_rules
from poisongen.auditing.faults import Findings
from poisongen.errors import OutputError, PoisongenError, shown
from poisongen.files.documents import LARGEST_JSON, parse_json, parse_record
from poisongen.files.foreign import Refused, open_inside, read_inside
from poisongen.recipe.label_pictures import picture_options
from poisongen.recipe.model import Recipe, is_newer, make_recipe
from poisongen.records.algorithms import KNOWN_ALGORITHMS, RECORDS, refuse_newer
from poisongen.records.inventory import LONGEST_LINE
from poisongen.records.manifest import (
    FOLDER,
    LEFT_OUT,
    LINKS,
    MANIFEST,
    NEGATIVE,
    RECIPE,
    SKIPPED,
    SUMMARY,
    TRIGGERED,
    CardFacts,
    Count,
    FileRecord,
    LeftOutRecord,
    LinkRecord,
    RelativePath,
    Role,
    SampleRecord,
    Sha256,
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
    cards: CardFacts | None = None


@dataclass(frozen=True)
class Records:
    """The records of OUT, each valid by itself. `above` is what OUT puts before every path of the source."""

    summary: Summary | None
    recipe: Recipe | None
    manifest: list[SampleRecord] = field(default_factory=list)
    links: list[LinkRecord] = field(default_factory=list)
    skipped: list[SkipRecord] = field(default_factory=list)
    complete: bool = True
    left_out: list[LeftOutRecord] = field(default_factory=list)
    above: str = ""


def require_finished(out: Path) -> None:
    """OutputError unless OUT is a folder with the records of a finished build in it."""
    if not out.is_dir():
        raise OutputError(f"{out} is not a folder; give the folder that poisongen build wrote")
    if (out / ".poisongen-build").exists():
        raise OutputError(f"{out} holds an unfinished build; give the build command again, it goes on")
    if (out / FOLDER).is_symlink() or not (out / FOLDER / SUMMARY).exists():
        raise OutputError(f"{out} is not a finished build of poisongen (there is no {FOLDER}/{SUMMARY} in it)")


def name_of(file: str) -> str:
    """Return the path, below OUT, of one of the records."""
    return f"{FOLDER}/{file}"


def _read_lines(out: Path, file: str, model: type[Line], findings: Findings) -> tuple[list[Line], str]:
    """Return what the valid lines of a .jsonl file say, and the file's digest ('' if it was not read to its end)."""
    said: list[Line] = []
    bad, size, digest = 0, 0, hashlib.sha256()
    try:
        with open_inside(out, name_of(file)) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), 1):
                digest.update(line)
                size += len(line)
                try:
                    record = parse_record(model, line) if line.endswith(b"\n") else None
                except ValueError:
                    record = None
                if not findings.test(
                    "records", record is not None, name_of(file), "a record", f"line {number} is none"
                ):
                    bad += 1
                if bad > _MOST_BAD_LINES or size > LARGEST_RECORDS:
                    findings.fault("records", name_of(file), "records", f"too many bytes or bad lines by line {number}")
                    return said, ""
                if record is not None:
                    said.append(record)
    except (Refused, OSError) as refused:
        findings.test("records", False, name_of(file), "a file", refused)
        return said, ""
    return said, digest.hexdigest() if not bad else ""


def _read_json(out: Path, file: str, findings: Findings) -> tuple[dict[str, Any], str]:
    """Return a JSON object and the file's digest; ({}, "") with a fault if there is none."""
    try:
        data = read_inside(out, name_of(file), LARGEST_JSON)
        document = parse_json(data.decode("utf-8"))
    except Refused as refused:
        findings.test("records", False, name_of(file), "a file", refused)
        return {}, ""
    except (ValueError, RecursionError) as error:
        findings.test("records", False, name_of(file), "JSON", f"something else ({shown(error)})")
        return {}, ""
    good = findings.test("records", isinstance(document, dict), name_of(file), "a JSON object", type(document).__name__)
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
        findings.test("records", False, name_of(SUMMARY), f"a valid '{where}'", error.errors()[0]["msg"])
        return None
    known = summary.algorithm in KNOWN_ALGORITHMS
    findings.test("records", known, name_of(SUMMARY), f"algorithm {sorted(KNOWN_ALGORITHMS)}", summary.algorithm)
    understood = 1 <= summary.records <= RECORDS
    findings.test("records", understood, name_of(SUMMARY), f"records 1 to {RECORDS}", summary.records)
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
        for key in ("trigger", "decoy"):  # a name would be looked up as a file of this machine
            if not isinstance(document.get(key), dict) and (key == "trigger" or document.get(key) is not None):
                raise OutputError(f"the {key}'s bytes are missing")
        _require_label_pictures(document)
        return make_recipe(document), digest
    except (PoisongenError, ValidationError, RecursionError) as error:
        findings.test("records", False, name_of(RECIPE), "a valid recipe", error)
        return None, digest


def _require_label_pictures(document: Mapping[str, Any]) -> None:
    """OutputError where a label picture is a name: it would be looked up as a file of this machine."""
    rule, options = label_rules().parts.get(str(document.get("labels"))), document.get("label_options")
    if rule is None or not isinstance(options, dict):
        return
    for name in picture_options(rule):
        if not isinstance(options.get(name, {}), dict):
            raise OutputError(f"the bytes of the label option '{name}' are missing")


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
    left_out: list[LeftOutRecord] = []
    digests = {RECIPE: recipe_digest, MANIFEST: manifest_digest, SKIPPED: skipped_digest, LINKS: links_digest}
    if summary is not None and LEFT_OUT in summary.digests:
        left_out, digests[LEFT_OUT] = _read_lines(out, LEFT_OUT, LeftOutRecord, findings)
    if summary is not None:
        findings.test(
            "records", set(summary.digests) == set(digests), name_of(SUMMARY), sorted(digests), sorted(summary.digests)
        )
        for file, digest in digests.items():
            if digest:
                expected = summary.digests.get(file, "a digest in the summary")
                findings.test("records", digest == expected, name_of(file), expected, digest)
    complete = all(digests.values()) and recipe is not None
    return Records(summary, recipe, manifest, links, skipped, complete, left_out, above_of(manifest, links))


def above_of(manifest: Iterable[SampleRecord], links: Iterable[LinkRecord]) -> str:
    """Return what stands before the source's path in OUT, by the first file that lies in no test set."""
    files = (file for record in manifest for file in record.files)
    ones: Iterator[FileRecord | LinkRecord] = itertools.chain(files, links)
    for one in ones:
        if one.source is not None and not one.path.startswith((f"{TRIGGERED}/", f"{NEGATIVE}/")):
            return one.path.removesuffix(one.source) if one.path.endswith(f"/{one.source}") else ""
    return ""


def sound_records(out: Path) -> Records:
    """Read all records of OUT; OutputError for the first that is not valid, or if OUT is no finished build."""
    findings = Findings()
    records = load_records(out, findings)
    if findings.faults or records.summary is None or records.recipe is None:
        fault = findings.faults[0]
        raise OutputError(
            f"{out / fault.file}: expected {fault.expected}, found {fault.found}; run poisongen audit on it"
        )
    return records


def read_undo_index(out: Path, facts: UndoFacts, findings: Findings) -> list[UndoRecord]:
    """Read the undo store's index and test that it is the one that the summary names."""
    lines, digest = _read_lines(out, INDEX.removeprefix(f"{FOLDER}/"), UndoRecord, findings)
    findings.test("undo", digest == facts.index_sha256, INDEX, f"sha256 {facts.index_sha256}", digest or "no index")
    number = sum(line.entry is not None for line in lines)
    findings.test("undo", number == facts.entries, INDEX, f"{facts.entries} entries", number)
    return lines
