"""The undo store: has it its digests, and does it cover the whole source?"""

from __future__ import annotations

from collections.abc import Sequence

from poisongen.checks.faults import Findings
from poisongen.checks.folder import Places, Refused, read_inside
from poisongen.checks.records import Records
from poisongen.manifest import bytes_sha256
from poisongen.undo import INDEX, UNDO, UndoRecord, read_entry


def check_undo_index(records: Records, lines: Sequence[UndoRecord], findings: Findings) -> None:
    """Test that the index names every file of the source that the records name, with its digest."""
    known = {line.path: line for line in lines}
    findings.test("undo", len(known) == len(lines), INDEX, "each file once", f"{len(lines) - len(known)} twice")
    for record in records.samples():
        for file in record.files:
            if file.source is not None:
                digest = known[file.source].sha256 if file.source in known else "none"
                good = digest == file.source_sha256
                findings.test("undo", good, INDEX, f"{file.source} {file.source_sha256}", digest, record.sample)
    for link in records.links:
        if link.path == link.source:
            line = known.get(link.source)
            good = line is not None and (line.base, line.entry, line.size) == (link.path, None, link.size)
            findings.test("undo", good, INDEX, f"{link.source} as it lies in OUT", "another line or none")


def check_undo_line(line: UndoRecord, places: Places) -> Findings:
    """Test that a source file comes out of the store with its digest."""
    findings, where = Findings(), line.base or INDEX
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
                return findings
            data = read_entry(entry, base)
        digest = "nothing" if data is None else bytes_sha256(data)
        findings.test("undo", digest == line.sha256, where, expected, digest)
    except (Refused, ValueError, OSError) as error:
        findings.test("undo", False, where, expected, error)
    return findings
