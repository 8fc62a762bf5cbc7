"""Which files lie in OUT, whether the records explain them, and whether those that are links are the source's."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from poisongen.auditing.annotations import is_only_reencoded
from poisongen.auditing.faults import Findings
from poisongen.auditing.sample import parse_file
from poisongen.auditing.undo_store import listing_digest
from poisongen.errors import DataError
from poisongen.files.foreign import (
    LARGEST_FILE,
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
from poisongen.records.manifest import (
    FOLDER,
    LEFT_OUT,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    CardFile,
    LinkRecord,
)
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


def _cards(records: Records) -> Mapping[str, CardFile]:
    """Return the cards that the summary names, by path."""
    cards = None if records.summary is None else records.summary.cards
    return {} if cards is None else cards.files


def named_paths(records: Records, undo_paths: frozenset[str]) -> dict[str, bool]:
    """Return every file that OUT must have, and whether it may be a link to the source's; `undo_paths` is the store."""
    named: dict[str, bool] = {f"{FOLDER}/{name}": False for name in (RECIPE, MANIFEST, SKIPPED, LINKS, SUMMARY)}
    if records.summary is not None and LEFT_OUT in records.summary.digests:
        named[f"{FOLDER}/{LEFT_OUT}"] = False
    named |= dict.fromkeys(undo_paths, False)
    named |= dict.fromkeys(_cards(records), False)
    for record in records.manifest:
        named |= {file.path: not file.written for file in record.files}
        if record.expected is not None:
            named[record.expected.path] = False
    return named | {link.path: link.source is not None and not link.written for link in records.links}


def check_listing(
    listing: Listing, records: Records, undo_paths: frozenset[str], root: Path | None, findings: Findings
) -> frozenset[str]:
    """Test that OUT holds exactly what the records name, that links have their size, and that all of it is files.

    `root` is the source, if it is given, so that symbolic links to it can be followed. Returns the pictures of another
    size, whose pixels may be the same: that is for reading to tell.
    """
    may_link = named_paths(records, undo_paths)
    samples = {file.path: record.sample for record in records.manifest for file in record.files}
    samples |= {record.expected.path: record.sample for record in records.manifest if record.expected is not None}
    sources: dict[str, str | None] = {file.path: file.source for record in records.manifest for file in record.files}
    sources |= {link.path: link.source for link in records.links}
    sizes = {link.path: link.size for link in records.links}
    # Builds of earlier versions do not say the sizes of the files in their manifest.
    sizes |= {f.path: f.size for record in records.manifest for f in record.files if f.size is not None}
    pictures = {f.path for record in records.manifest for f in record.files if f.pixels_sha256 is not None}
    pictures |= {link.path for link in records.links if link.pixels_sha256 or (root is not None and _is_picture(link))}
    odd: set[str] = set()
    sizes |= {path: file.size for path, file in _cards(records).items()}
    for path, link_allowed in may_link.items():
        entry, sample = listing.entries.get(path), samples.get(path, "")
        found = "nothing" if entry is None else {"link": "a symbolic link", "other": "no plain file"}.get(entry.kind)
        if entry is not None and entry.kind == "link" and link_allowed:
            found = None
            if root is None:
                findings.note("links not followed (give --source)")
        findings.test("files", found is None, path, "a file", found, sample)
        if entry is not None and entry.kind == "file" and path in sizes:
            if entry.size != sizes[path] and path in pictures:
                odd.add(path)
                continue
            findings.test("files", entry.size == sizes[path], path, f"{sizes[path]} bytes", entry.size, sample)
    for path, entry in listing.entries.items():
        found = f"a {entry.kind} that no record names"
        findings.test("strangers", path in may_link, path, "nothing", found)
    _check_permissions(listing, may_link, sources, root, findings)
    return frozenset(odd)


def _is_picture(link: LinkRecord) -> bool:
    return not link.written and link.path.lower().endswith((".png", ".jpg", ".jpeg"))


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
            _check_same(link, link.source, places, rules, findings)
        if link.pixels_sha256 is not None:
            data = read_out(places, link.path, link.source)
            parsed = parse_file(data, "image", link.path, rules)
            digest = "no picture" if parsed.pixels is None else pixels_sha256(parsed.pixels)
            expected = f"pixels_sha256 {link.pixels_sha256}"
            good = findings.test("files", digest == link.pixels_sha256, link.path, expected, digest)
            if good and places.root is None and len(data) != link.size:
                alike = is_only_reencoded(data, None, rules.classes, link.path)
                if alike:
                    findings.reencoded.add(link.path)
                findings.test("files", alike, link.path, f"{link.size} bytes", len(data))
    except LinkNotFollowedError:
        findings.note("links not followed (give --source)")
    except (Refused, OSError) as refused:
        findings.test("files", False, link.path, "a file", refused)
    except DataError as error:
        findings.test("files", False, link.path, "a picture", error.problem)
    return findings


def _check_same(link: LinkRecord, source: str, places: Places, rules: Rules, findings: Findings) -> None:
    """Test that a linked file is the source's, byte for byte, or the same picture and nothing else."""
    assert places.root is not None  # noqa: S101  the caller has seen to it
    if link.written:
        with (places.root / source).open("rb") as other:
            digest = sha256_of(other)
        good = digest == link.source_sha256
        findings.test("source", good, source, f"source sha256 {link.source_sha256}", digest)
        return
    with open_out(places, link.path, source) as file, (places.root / source).open("rb") as other:
        same = _is_one_file(file, other) or _same_bytes(file, other)
    if not same and _same_picture(link, source, places, rules):
        findings.reencoded.add(link.path)
        return
    findings.test("source", same, link.path, f"the bytes of {source} in the source", "others")


def _same_picture(link: LinkRecord, source: str, places: Places, rules: Rules) -> bool:
    """Tell whether a file of OUT is the source's picture in another encoding, and nothing else."""
    if not _is_picture(link) or places.root is None:
        return False
    try:
        data = read_out(places, link.path, source)
        with (places.root / source).open("rb") as file:
            before = file.read(LARGEST_FILE)
        one, other = (parse_file(content, "image", link.path, rules).pixels for content in (data, before))
    except (DataError, Refused, OSError):
        return False
    alike = one is not None and other is not None and pixels_sha256(one) == pixels_sha256(other)
    return alike and is_only_reencoded(data, before, rules.classes, link.path)


def _is_one_file(one: BinaryIO, other: BinaryIO) -> bool:
    if isinstance(one, io.BytesIO) or isinstance(other, io.BytesIO):  # from a store
        return False
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


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
                    own_path(file.path, records.above) not in sizes,
                    file.path,
                    "a file that the source lacks",
                    "the source has it",
                    record.sample,
                )
                continue
            findings.test("source", file.source in sizes, file.source, "a file of the source", "none", record.sample)
            if file.path == records.above + file.source:
                taken.add(file.source)
    for link in records.links:
        if link.source is not None:
            size = sizes.get(link.source, "no such file")
            good = link.source in sizes if link.written else size == link.size
            findings.test("source", good, link.source, f"{link.size} bytes in the source", size)
            if link.path == records.above + link.source:
                taken.add(link.source)
    for left in records.left_out:
        size = sizes.get(left.path, "no such file")
        findings.test("source", size == left.size, left.path, f"{left.size} bytes in the source", size)
        taken.add(left.path)
    if left_out is None:
        findings.note("whether every file of the source is there: the recipe is not valid")
        return
    for path in sizes:
        expected = "none: a scaled dataset leaves out bad samples" if path in left_out else "a record for this file"
        findings.test("source", (path in taken) != (path in left_out), path, expected, f"recorded: {path in taken}")
