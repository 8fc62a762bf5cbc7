"""docs/audit.md's table has every case of tampering, and says of each what its test says."""

from __future__ import annotations

from tests import audit_table, test_tampering
from tests.forgery import CASES

ROWS = audit_table.rows_of(audit_table.DOCUMENT.read_text(encoding="utf-8"))


def test_the_table_has_every_case():
    assert test_tampering.CASES is CASES
    names = [list(audit_table.words(name)) for name in sorted(CASES)]
    assert [row[:2] for row in ROWS] == names, "write the table anew: python -m tests.audit_table"


def test_the_table_says_what_the_tests_say():
    for name, (_, _, alone, known) in zip(sorted(CASES), ROWS, strict=True):
        needs_source = CASES[name][1]
        assert known != audit_table.NOT_FOUND, name
        assert needs_source or alone != audit_table.NOT_FOUND, name


def test_a_row_is_made_by_an_audit(builds, tmp_path):
    for name in ("orientation_of_a_poisoned_jpeg_sealed", "polygon_key_twice_sealed", "source_file_gone"):
        (tmp_path / name).mkdir()
        good, root = builds[CASES[name][0]]
        cells = audit_table.rows_of(
            audit_table.BEGIN + audit_table.row(name, good, root, tmp_path / name) + audit_table.END
        )
        assert cells[0] == ROWS[sorted(CASES).index(name)]


builds = test_tampering.builds
