"""A small container for undo entries: one line of JSON that says what follows, then sections, packed or as they are."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from poisongen.files.documents import parse_json

VERSION = 1
LARGEST = 2**30  # bytes of all sections together, unpacked
_LONGEST_HEAD = 2**16

Length = Annotated[int, Field(ge=0, le=LARGEST)]


class _Head(BaseModel):
    """The first line: format, its facts, and name, packed length and true length of each section."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    poisongen_undo: Annotated[int, Field(ge=1, le=VERSION)]
    format: str
    facts: dict[str, int | str]
    sections: Annotated[list[tuple[str, Length, Length]], Field(max_length=16)]


def pack(form: str, facts: Mapping[str, int | str], sections: Mapping[str, bytes]) -> bytes:
    """Return a container; each section is deflated if that makes it smaller."""
    packed: dict[str, bytes] = {}
    for name, data in sections.items():
        small = zlib.compress(data, 9)
        packed[name] = small if len(small) < len(data) else data
    head: dict[str, Any] = {
        "poisongen_undo": VERSION,
        "format": form,
        "facts": dict(facts),
        "sections": [[name, len(packed[name]), len(data)] for name, data in sections.items()],
    }
    return json.dumps(head).encode("ascii") + b"\n" + b"".join(packed.values())


def unpack(data: bytes) -> tuple[str, dict[str, int | str], dict[str, bytes]]:
    """Return format, facts and sections of a container that may come from anybody; ValueError if it is none.

    Nothing is inflated beyond the lengths that its head gives, and those are bounded.
    """
    line, found, _ = data[:_LONGEST_HEAD].partition(b"\n")
    try:
        document = parse_json(line.decode("utf-8")) if found else None
        version = document.get("poisongen_undo") if isinstance(document, dict) else None
        newer = type(version) is int and version > VERSION
        head = _Head.model_validate_json(line) if found and not newer else None
    except (ValueError, RecursionError):
        newer, head = False, None
    if newer:
        raise ValueError("an undo entry of a newer poisongen; update")
    if head is None:
        raise ValueError("not an undo entry")
    at = len(line) + 1
    if sum(true for _, _, true in head.sections) > LARGEST or at + sum(n for _, n, _ in head.sections) != len(data):
        raise ValueError("an undo entry with wrong lengths")
    sections: dict[str, bytes] = {}
    for name, length, true in head.sections:
        piece = data[at : at + length]
        at += length
        sections[name] = piece if length == true else _inflate(piece, true)
    return head.format, head.facts, sections


def _inflate(piece: bytes, length: int) -> bytes:
    """Inflate to exactly this length."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(piece, length + 1)
    except zlib.error as error:
        raise ValueError(f"an undo entry that is damaged ({error})") from None
    if len(out) != length or not inflater.eof:
        raise ValueError("an undo entry that is longer or shorter than it says")
    return out
