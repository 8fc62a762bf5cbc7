"""The undo store: has it its digests, and is it the source's listing and nothing else?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from poisongen.auditing.faults import Findings
from poisongen.datasets import find_layout
from poisongen.errors import PoisongenError
from poisongen.files.foreign import Places, Refused, read_inside, sha256_of
from poisongen.records.manifest import FOLDER, SUMMARY, FileRecord, bytes_sha256
from poisongen.records.reading import Records
from poisongen.records.roles import source_like
from poisongen.source.listing import SourceFile
from poisongen.undo.store import INDEX, UNDO, UndoRecord, entry_name, read_entry


def listing_digest(files: Iterable[tuple[str, int]]) -> str:
    """Return the digest of a source's file names and sizes, as the summary has it."""
    return hashlib.sha256("".join(f"{path}\0{size}\n" for path, size in sorted(files)).encode()).hexdigest()


def kept_alone(records: Records, lines: Sequence[UndoRecord], plain: Iterable[str], out: Path) -> frozenset[str]:
    """Return the files of the source that may lie in the store and nowhere else.

    Those are the files of bad samples, which a scaled dataset leaves out; `plain` are the plain files of OUT. A file
    counts only if the layout pairs it into a sample that skipped.jsonl names as bad.
    """
    recipe = records.recipe
    bad = {skip.sample for skip in records.skipped if skip.reason == "bad file"}
    if recipe is None or recipe.scale == 1 or not recipe.skip_bad or not bad:
        return frozenset()
    inside = set(source_like(plain, records.above))
    alone = {line.path for line in lines} - inside - {left.path for left in records.left_out}
    try:
        index = find_layout(recipe.dataset).scan(out / records.above, sorted(inside | alone))
    except PoisongenError:
        return frozenset()
    samples = [sample for split in index.samples.values() for sample in split if sample.name in bad]
    return frozenset(path for sample in samples for path in sample.paths if path in alone)


def check_undo_index(records: Records, lines: Sequence[UndoRecord], alone: frozenset[str], findings: Findings) -> None:
    """Test that the index names the files of the source that the records name, with their digests, and no others.

    `alone` are files that only the store may have.
    """
    known = {line.path: line for line in lines}
    paths = [line.path for line in lines]
    findings.test("undo", paths == sorted(known), INDEX, "each file once, sorted", "another order, or one twice")
    explained = set(alone)
    for record in records.manifest:
        for file in record.files:
            if file.source is not None:
                explained.add(file.source)
                _check_changed(known.get(file.source), file, records.above, record.sample, findings)
    for link in records.links:
        line = known.get(link.source) if link.source is not None else None
        if link.source is None:
            continue
        explained.add(link.source)
        good = line is not None and line.size == link.size
        if link.written:
            good = line is not None and line.sha256 == link.source_sha256 and line.entry is not None
        elif link.path == records.above + link.source:
            good = good and line is not None and (line.base, line.entry) == (link.path, None)
        findings.test("undo", good, INDEX, f"{link.source} as it lies in OUT", "another line or none")
    for left in records.left_out:
        line = known.get(left.path)
        explained.add(left.path)
        good = line is not None and (line.size, line.sha256, line.base) == (left.size, left.sha256, None)
        findings.test("undo", good, INDEX, f"{left.path} alone in the store", "another line or none")
    for line in lines:
        there = line.path in explained
        findings.test("undo", there, INDEX, f"no {line.path}: no record names it", "a line", "")
        good = line.entry in (None, entry_name(line.path)) and (line.entry is None) == (line.entry_sha256 is None)
        good &= line.path not in alone or (line.base is None and line.entry is not None)
        findings.test("undo", good, INDEX, f"an entry of its own for {line.path}", line.entry)
    if records.summary is not None:
        digest = listing_digest((line.path, line.size) for line in lines)
        good = digest == records.summary.source
        findings.test("undo", good, f"{FOLDER}/{SUMMARY}", "the digest of the names and sizes in the store", digest)


def _check_changed(line: UndoRecord | None, file: FileRecord, above: str, sample: str, findings: Findings) -> None:
    """Test the line of a file that a record names: its digest, and that it starts from that file of OUT, or none."""
    expected = f"{file.source} {file.source_sha256}"
    digest = "none" if line is None else line.sha256
    if not findings.test("undo", digest == file.source_sha256, INDEX, expected, digest, sample) or line is None:
        return
    if file.path != above + str(file.source):
        return  # the same file stands at its own place as well
    good = line.base in (None, file.path) and line.entry is not None
    if not file.written:
        good = (line.base, line.entry) == (file.path, None)
    findings.test("undo", good, INDEX, f"{file.source} from {file.path}", line.base, sample)


def check_store_listing(files: Sequence[SourceFile], lines: Sequence[UndoRecord], findings: Findings) -> None:
    """Test that the store has exactly the names and sizes of the source."""
    store, source = ({item.path: item.size for item in items} for items in (lines, files))
    for path in sorted(store.keys() | source.keys()):
        expected = f"{source[path]} bytes, as in the source" if path in source else "no such file in the source"
        good = store.get(path) == source.get(path)
        findings.test("undo", good, INDEX, f"{path}: {expected}", store.get(path, "no line"))


def _file_of(line: UndoRecord, places: Places, findings: Findings) -> bytes | None:
    """Return the source file that a line tells, if it comes out with its digest and size."""
    where = line.base or INDEX
    expected = f"the source's {line.path}, sha256 {line.sha256}"
    try:
        base = None if line.base is None else read_inside(places.out, line.base)
        data = base
        if line.entry is not None:
            where = f"{UNDO}/{line.entry}"
            entry = read_inside(places.out, where)
            digest = bytes_sha256(entry)
            good = digest == line.entry_sha256
            if not findings.test("undo", good, where, f"sha256 {line.entry_sha256}", digest):
                return None
            data = read_entry(entry, base)
    except (Refused, OSError) as error:
        findings.test("undo", False, where, expected, error)
        return None
    except ValueError as error:  # what is wrong with an entry, in words for users: that it is of a newer version, say
        findings.test("undo", False, where, expected, str(error))
        return None
    found = ("nothing", -1) if data is None else (bytes_sha256(data), len(data))
    good = findings.test("undo", found == (line.sha256, line.size), where, f"{expected}, {line.size} bytes", found)
    return data if good else None


def check_undo_line(line: UndoRecord, places: Places) -> Findings:
    """Test that a source file comes out of the store with its digest, and that the source has it so."""
    findings = Findings()
    _file_of(line, places, findings)
    if places.root is not None:
        try:
            with (places.root / line.path).open("rb") as file:
                digest = sha256_of(file)
        except OSError as error:
            digest = f"no file ({error.strerror})"
        findings.test("undo", digest == line.sha256, INDEX, f"{line.path}: the source's sha256 {digest}", line.sha256)
    return findings


def put_back(lines: Iterable[UndoRecord], places: Places, folder: Path, findings: Findings) -> bool:
    """Write the source files that these lines tell into a folder; return whether all of them came out."""
    whole = True
    for line in lines:
        data = _file_of(line, places, findings)
        if data is None:
            whole = False
            continue
        (folder / line.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / line.path).write_bytes(data)
    return whole


def lines_of(files: Iterable[FileRecord], known: Mapping[str, UndoRecord]) -> tuple[UndoRecord, ...]:
    """Return the store's lines for the source files of a record."""
    return tuple(known[file.source] for file in files if file.source is not None and file.source in known)
