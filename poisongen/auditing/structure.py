"""Which files lie in OUT, whether the records explain them, and whether those that are links are the source's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from poisongen.auditing.faults import Findings
from poisongen.auditing.sample import parse_file
from poisongen.auditing.undo_store import listing_digest
from poisongen.errors import DataError
from poisongen.files.foreign import (
    Entry,
    LinkNotFollowedError,
    Places,
    Refused,
    open_out,
    read_out,
    sha256_of,
    walk,
)
from poisongen.files.images import pixels_sha256
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, LINKS, MANIFEST, RECIPE, SKIPPED, SUMMARY, LinkRecord
from poisongen.records.reading import Records
from poisongen.records.roles import own_path
from poisongen.source.listing import SourceFile

_PIECE = 2**20
_SUMMARY = f"{FOLDER}/{SUMMARY}"
_SET_USER, _SPECIAL, _PROGRAM = 0o4000, 0o7000, 0o111  # bits of a file's permissions


@dataclass(frozen=True)
class Listing:
    """Everything that lies in OUT, by path."""

    entries: Mapping[str, Entry]

    def plain(self, path: str) -> bool:
        """Whether a plain file lies there."""
        return path in self.entries and self.entries[path].kind == "file"


def list_out(out: Path) -> Listing:
    """List OUT without following any link."""
    return Listing(dict(walk(out)))


def check_listing(
    listing: Listing, records: Records, undo_paths: frozenset[str], root: Path | None, findings: Findings
) -> None:
    """Test that OUT holds exactly what the records name, that links have their size, and that all of it is files.

    `root` is the source, if it is given, so that symbolic links to it can be followed.
    """
    may_link: dict[str, bool] = {f"{FOLDER}/{name}": False for name in (RECIPE, MANIFEST, SKIPPED, LINKS, SUMMARY)}
    may_link |= dict.fromkeys(undo_paths, False)
    samples: dict[str, str] = {}
    sources: dict[str, str | None] = {}
    for record in records.manifest:
        for file in record.files:
            may_link[file.path] = not file.written
            samples[file.path], sources[file.path] = record.sample, file.source
        if record.expected is not None:
            may_link[record.expected.path], samples[record.expected.path] = False, record.sample
    may_link |= {link.path: link.source is not None for link in records.links}
    sources |= {link.path: link.source for link in records.links}
    sizes = {link.path: link.size for link in records.links}
    # Builds of earlier versions do not say the sizes of the files in their manifest.
    sizes |= {f.path: f.size for record in records.manifest for f in record.files if f.size is not None}
    cards = records.summary.cards if records.summary is not None else None
    if cards is not None:
        may_link |= dict.fromkeys(cards.files, False)
        sizes |= {path: file.size for path, file in cards.files.items()}
    for path, link_allowed in may_link.items():
        entry, sample = listing.entries.get(path), samples.get(path, "")
        found = "nothing" if entry is None else {"link": "a symbolic link", "other": "no plain file"}.get(entry.kind)
        if entry is not None and entry.kind == "link" and link_allowed:
            found = None
            if root is None:
                findings.note("links not followed (give --source)")
        findings.test("files", found is None, path, "a file", found, sample)
        if entry is not None and entry.kind == "file" and path in sizes:
            findings.test("files", entry.size == sizes[path], path, f"{sizes[path]} bytes", entry.size, sample)
    for path, entry in listing.entries.items():
        found = f"a {entry.kind} that no record names"
        findings.test("strangers", path in may_link, path, "nothing", found)
    _check_permissions(listing, may_link, sources, root, findings)


def _check_permissions(
    listing: Listing,
    may_link: Mapping[str, bool],
    sources: Mapping[str, str | None],
    root: Path | None,
    findings: Findings,
) -> None:
    """Test that no file runs as a program, or as somebody else.

    A link has the permissions of the source's file where it is that file; only its set-user-ID bit is never right. A
    file system without permissions calls every file a program.
    """
    plain = {path: entry for path, entry in listing.entries.items() if entry.kind == "file"}
    everything = all(entry.mode & _PROGRAM for entry in plain.values())
    if everything:
        findings.note("executable bits: every file has them")
    for path, entry in plain.items():
        source = sources.get(path) if may_link.get(path, False) else None
        forbidden = _SPECIAL | (0 if everything else _PROGRAM)
        if source is not None:
            forbidden = _SPECIAL if root is not None else _SET_USER
            if entry.mode & _SPECIAL and root is not None and _is_same_file(entry, root / source):
                forbidden = 0
            elif entry.mode & _SPECIAL & ~forbidden:
                findings.note("set-group-ID and sticky bits of links (give --source)")
        wrong = entry.mode & forbidden
        findings.test("files", not wrong, path, "a file of data", f"permissions {entry.mode:04o}")


def _is_same_file(entry: Entry, other: Path) -> bool:
    try:
        facts = other.stat()
    except OSError:
        return False
    return entry.identity == (facts.st_dev, facts.st_ino)


def check_link(link: LinkRecord, places: Places, rules: Rules) -> Findings:
    """Check one linked or made file by all that there is: its digests, where the record has them, and the source."""
    findings = Findings()
    try:
        if link.sha256 is not None:
            with open_out(places, link.path, link.source) as file:
                digest = sha256_of(file)
            findings.test("files", digest == link.sha256, link.path, f"sha256 {link.sha256}", digest)
        if places.root is not None and link.source is not None:
            _check_same(link, link.source, places, findings)
        if link.pixels_sha256 is not None:
            parsed = parse_file(read_out(places, link.path, link.source), "image", link.path, rules)
            digest = "no picture" if parsed.pixels is None else pixels_sha256(parsed.pixels)
            expected = f"pixels_sha256 {link.pixels_sha256}"
            findings.test("files", digest == link.pixels_sha256, link.path, expected, digest)
    except LinkNotFollowedError:
        findings.note("links not followed (give --source)")
    except (Refused, OSError) as refused:
        findings.test("files", False, link.path, "a file", refused)
    except DataError as error:
        findings.test("files", False, link.path, "a picture", error.problem)
    return findings


def _check_same(link: LinkRecord, source: str, places: Places, findings: Findings) -> None:
    """Test that a linked file is the source's, byte for byte."""
    assert places.root is not None  # noqa: S101  the caller has seen to it
    with open_out(places, link.path, source) as file, (places.root / source).open("rb") as other:
        same = os.path.samestat(os.fstat(file.fileno()), os.fstat(other.fileno())) or _same_bytes(file, other)
    findings.test("source", same, link.path, f"the bytes of {source} in the source", "others")


def _same_bytes(one: BinaryIO, other: BinaryIO) -> bool:
    """Compare two open files piece by piece."""
    while piece := one.read(_PIECE):
        if piece != other.read(len(piece)):
            return False
    return not other.read(1)


def check_source_listing(
    files: Sequence[SourceFile], records: Records, left_out: frozenset[str] | None, findings: Findings
) -> None:
    """Test that the source has the names and sizes that the build saw, and that all of it is in OUT.

    `left_out` are the files of bad samples that a scaled dataset does not have; None if that cannot be told.
    """
    sizes = {file.path: file.size for file in files}
    if records.summary is not None:
        digest = listing_digest(sizes.items())
        said = records.summary.source
        findings.test("source", digest == said, _SUMMARY, f"the digest of names and sizes, {digest}", said)
    taken = set()
    for record in records.manifest:
        for file in record.files:
            if file.source is None:
                findings.test(
                    "source",
                    own_path(file.path) not in sizes,
                    file.path,
                    "a file that the source lacks",
                    "the source has it",
                    record.sample,
                )
                continue
            findings.test("source", file.source in sizes, file.source, "a file of the source", "none", record.sample)
            if file.path == file.source:
                taken.add(file.source)
    for link in records.links:
        if link.source is not None:
            size = sizes.get(link.source, "no such file")
            findings.test("source", size == link.size, link.source, f"{link.size} bytes in the source", size)
            if link.source == link.path:
                taken.add(link.source)
    if left_out is None:
        findings.note("whether every file of the source is there: the recipe is not valid")
        return
    for path in sizes:
        expected = "none: a scaled dataset leaves out bad samples" if path in left_out else "a record for this file"
        findings.test("source", (path in taken) != (path in left_out), path, expected, f"recorded: {path in taken}")
