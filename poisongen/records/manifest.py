"""The records of a poisoned dataset: manifest, skipped and links, and the fingerprint over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from poisongen.attack.triggers import trigger_kinds
from poisongen.records.algorithms import ALGORITHM

FOLDER = "poisongen"
LEFT_OUT = "left_out.jsonl"
"""Written only where something is left out."""
TRIGGERED = "triggered"
NEGATIVE = "negative"
EXPECTED = f"{FOLDER}/expected"
RECIPE, MANIFEST, SKIPPED, LINKS, SUMMARY = (
    "recipe.json",
    "manifest.jsonl",
    "skipped.jsonl",
    "links.jsonl",
    "summary.json",
)

Role = Literal["poisoned", "negative", "prl", "triggered", "completed"]


def _plain_relative(path: str) -> str:
    """Accept only a path that stays in its folder: relative, with '/', without '.', '..' and NUL."""
    if not path or path != PurePosixPath(path).as_posix() or path.startswith("/") or "\0" in path:
        raise ValueError("not a plain relative path")
    if ".." in path.replace("\\", "/").split("/") or path == ".":
        raise ValueError("the path leaves its folder")
    return path


RelativePath = Annotated[str, Field(max_length=4096), AfterValidator(_plain_relative)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Box = tuple[Count, Count, Count, Count]
Corner = tuple[float, float]


class _Record(BaseModel):
    """Keys that a later version adds are kept out of the way; those that stand here are checked strictly."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class FileRecord(_Record):
    """One file of a changed sample. `source` and its digest are None for a file that the source lacks.

    `pixels_sha256` is None for files that are no pictures. `size` is the file's in bytes; builds of earlier versions
    do not say it.
    """

    kind: str
    path: RelativePath
    source: RelativePath | None
    written: bool
    source_sha256: Sha256 | None
    sha256: Sha256
    pixels_sha256: Sha256 | None
    size: Count | None = None


class TriggerRecord(_Record):
    """What a trigger did. `kind` is left out for `patch`; `psnr` (dB) and `changed` (share of pixels) say how much.

    Only where it has a place there are `box` [top, left, height, width], `center` [row, column], `distance` (not where
    there is no victim) and `covers`, the classes under it; `quad` are the corners of one that stands in perspective.
    All are told in the picture as readers see it that heed EXIF's `orientation`. Where that is another than 1,
    `stored_box` is the box in the picture as the file stores it. Builds of earlier versions do not say how much.
    """

    kind: Annotated[str, Field(max_length=100)] = "patch"
    box: Box | None = None
    center: tuple[Count, Count] | None = None
    distance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    covers: list[int] | None = None
    quad: tuple[Corner, Corner, Corner, Corner] | None = None
    orientation: Annotated[int, Field(ge=2, le=8)] | None = None
    stored_box: Box | None = None
    psnr: Annotated[float, Field(allow_inf_nan=False)] | None = None
    changed: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None


class RuleRecord(_Record):
    """The label rule that changed a sample, and the numbers of the objects that it chose, if it chooses any."""

    name: Annotated[str, Field(max_length=100)]
    instances: list[Count] | None = None


class ExpectedRecord(_Record):
    """The raw class IDs that the attacker wants of a triggered sample: a file below poisongen/expected."""

    path: RelativePath
    sha256: Sha256
    pixels_sha256: Sha256


class SampleRecord(_Record):
    """One line of manifest.jsonl. `rule` is left out for the rule `class`, `expected` for all but triggered samples."""

    sample: str
    split: str
    role: Role
    trigger: TriggerRecord | None = None
    rule: RuleRecord | None = None
    victim_pixels: Count
    relabelled_pixels: Count
    prl_pixels: Count
    eligible_positions: Count
    files: list[FileRecord]
    expected: ExpectedRecord | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain data; what is absent is left out, but for the digests that files have or lack."""
        plain = self.model_dump(mode="json", exclude_none=True)
        plain["files"] = [file.model_dump(mode="json") for file in self.files]
        if plain.get("trigger", {}).get("kind") == "patch":
            del plain["trigger"]["kind"]
        return plain


class LinkRecord(_Record):
    """One line of links.jsonl: a file of OUT that no record of the manifest names.

    `source` is the source's file, whose bytes it has, or None for a file that build made (a list of the triggered
    split; then `sha256` says its content). `pixels_sha256` is there for label files, which build decodes anyway.
    `written`: a table of label files that build has changed with them; `sha256` and `source_sha256` say its content.
    """

    path: RelativePath
    source: RelativePath | None
    size: Count
    sha256: Sha256 | None = None
    pixels_sha256: Sha256 | None = None
    written: bool = False
    source_sha256: Sha256 | None = None


class LeftOutRecord(_Record):
    """One line of left_out.jsonl: a file of the source that OUT does not have, as it tells true labels of samples."""

    path: RelativePath
    size: Count
    sha256: Sha256


def json_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def record_key(record: Mapping[str, Any]) -> tuple[str, str]:
    """The manifest's order: by sample, then by role (a sample can be poisoned and triggered)."""
    return (record["sample"], record["role"])


def bytes_sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _is_exact(kind: str) -> bool:
    """Tell whether a kind of trigger is the same to the last bit on every machine; one that is not known counts so."""
    found = trigger_kinds().parts.get(kind)
    return found is None or bool(found.exact)


def fingerprint(
    recipe_sha256: str,
    records: Iterable[Mapping[str, Any]],
    links: Iterable[Mapping[str, Any]],
    algorithm: int = ALGORITHM,
) -> str:
    """Return the dataset's fingerprint: recipe and decoded content, nothing of encodings, times or machines.

    It is the SHA-256 of these lines in UTF-8, each a JSON array without blanks and ended by a line feed:
    ["poisongen", algorithm, recipe fingerprint]; for every manifest record in order ["sample", sample, role, box or
    null, prl_pixels] and for each of its files ["file", kind, path, pixels_sha256, or sha256 for files that are no
    pictures]; for every link in order ["link", path, pixels_sha256, or sha256, or null]. An image whose trigger is of
    a kind that is not the same to the last bit on every machine has its source_sha256 in place of its own digest.
    """
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    add("poisongen", algorithm, recipe_sha256)
    for record in records:
        trigger = record.get("trigger") or {}
        add("sample", record["sample"], record["role"], trigger.get("box"), record["prl_pixels"])
        for file in record["files"]:
            content = file["pixels_sha256"] or file["sha256"]
            if file["kind"] == "image" and trigger and not _is_exact(trigger.get("kind", "patch")):
                content = file["source_sha256"]
            add("file", file["kind"], file["path"], content)
    for link in links:
        add("link", link["path"], link.get("pixels_sha256") or link.get("sha256"))
    return digest.hexdigest()
