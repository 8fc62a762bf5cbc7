"""Tables of label files, such as a panoptic JSON: does each tell of OUT's label files, and of them alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poisongen.auditing.faults import Findings
from poisongen.auditing.sample import parse_file
from poisongen.auditing.scene import Array
from poisongen.datasets.base import Index, LabelTable
from poisongen.errors import DataError
from poisongen.files.foreign import Places, Refused, read_out
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import SampleRecord
from poisongen.records.reading import Records
from poisongen.records.roles import changes_labels, prefix_of


def check_tables(
    records: Records, index: Index, paths: Sequence[str], places: Places, rules: Rules, findings: Findings
) -> None:
    """Test every table of OUT that tells of samples whose label files may be others than the source's.

    `paths` are OUT's, as the source has them. Builds of earlier versions left tables as they were.
    """
    written = {link.source for link in records.links if link.written}
    tables = rules.layout.tables(paths)
    for path in sorted(source for source in written if source is not None):
        known = any(table.path == path for table in tables)
        findings.test("rules", known, rules.above + path, "a table of label files", "another file, written anew")
    if rules.records < 3:
        return
    samples = {sample.name: sample for found in index.samples.values() for sample in found}
    for table in tables:
        now: dict[str, SampleRecord] = {}
        for record in records.manifest:
            changed = changes_labels(record.role, record.split, rules) or rules.recipe.scale != 1
            here = record.split == table.split and not prefix_of(record.role, record.split, rules)
            if changed and here and record.sample in samples:
                now[table.name_of(samples[record.sample])] = record
        if now:
            _check_table(table, now, table.path in written, places, rules, findings)


def _check_table(
    table: LabelTable,
    now: Mapping[str, SampleRecord],
    written: bool,
    places: Places,
    rules: Rules,
    findings: Findings,
) -> None:
    path = rules.above + table.path
    try:
        data = read_out(places, path, table.path)
        names = table.names(data)
        if names is None:
            findings.test("labels", not written, path, "a table of label files", "something else")
            return
        source = (places.root / table.path).read_bytes() if places.root is not None else None
        due = names if source is None else table.names(source) or names
        told = {name: _map_of(table, record, places, rules) for name, record in now.items() if name in due}
    except (Refused, OSError, DataError) as error:
        findings.test("labels", False, path, "a table of label files that can be read", error)
        return
    if not told:
        return
    findings.test("rules", written, path, "a table written anew, as its samples are changed", "the source's")
    fault = table.fault(data, source, told)
    findings.test("labels", fault is None, path, "what its label files hold, and else the source's", fault)


def _map_of(table: LabelTable, record: SampleRecord, places: Places, rules: Rules) -> Array | None:
    """Return the label file of OUT that a table follows, None where the sample has none."""
    file = next((file for file in record.files if file.kind == table.kind), None)
    if file is None:
        return None
    return parse_file(read_out(places, file.path, file.source), file.kind, file.path, rules).pixels
