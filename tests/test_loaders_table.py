"""docs/loaders.md has a row for every library whose tests are in tests/loaders, and says what they say."""

from __future__ import annotations

from tests.loaders import table

ROWS = table.rows_of(table.DOCUMENT.read_text(encoding="utf-8"))


def test_the_table_is_what_the_modules_say_but_for_versions():
    wanted = [table.row(module, "", table.RIGHT) for module in table.modules()]
    found = [f"| {library} |  | {' | '.join(rest)} |\n" for library, _, *rest in ROWS]
    assert found == wanted, "write the table anew: python -m tests.loaders.table"


def test_every_row_has_a_version_but_that_of_written_down_rules():
    assert all(row[1][:1].isdigit() for row in ROWS if "rules" not in row[0])


def test_every_module_says_library_what_it_is_given_and_what_it_shows():
    assert len(table.modules()) >= 10
    for module in table.modules():
        assert set(table.said_by(module)) == {"LIBRARY", "GIVEN", "RESULT"}, module.name
