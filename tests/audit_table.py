"""The table of docs/audit.md: what an audit finds of every case of tampering. `python -m tests.audit_table` writes it.

Each case is done to a fresh copy of a good build, which is then audited without and with its source.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from poisongen.auditing.auditor import audit
from tests.conftest import draw_cityscapes, draw_voc
from tests.forgery import CASES, Forgery

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "audit.md"
BEGIN, END = "<!-- cases: begin -->\n", "<!-- cases: end -->\n"
HEAD = "| what was done | digests made to fit | found without the source | found with it |\n|---|---|---|---|\n"
NOT_FOUND = "no"


def words(name: str) -> tuple[str, str]:
    """Return a case's name as words, with its build's where that tells something, and whether the forger sealed."""
    build_name = CASES[name][0]
    where = "" if build_name == "cityscapes" else f" ({build_name})"
    told = name.removesuffix("_sealed").replace("_", " ").replace("jpeg", "JPEG").replace("png", "PNG")
    return told + where, "yes" if name.endswith("_sealed") else ""


def found_by(out: Path, root: Path | None, named: str) -> list[str]:
    """Return the names of the checks that found a fault, those first that name the file."""
    faults = audit(out, root, jobs=1).faults
    checks = [fault.check for fault in faults if named in fault.file or named in fault.sample]
    return list(dict.fromkeys((*checks, *(fault.check for fault in faults))))


def row(name: str, good: Path, root: Path, folder: Path) -> str:
    """Do a case to a copy of its build and return its line of the table.

    Few builds keep an undo store, so that its checks count only where it is the store that was tampered with.
    """
    _, _, deed, own_source = CASES[name]
    out = shutil.copytree(good, folder / "out")
    source = shutil.copytree(root, folder / "source") if own_source else root
    named = deed(Forgery(out, source))
    alone, known = found_by(out, None, named), found_by(out, source, named)
    if known != ["undo"] and not name.startswith("undo_"):
        alone, known = ([check for check in checks if check != "undo"] for checks in (alone, known))
    cells = (*words(name), *(", ".join(checks) or NOT_FOUND for checks in (alone, known)))
    return f"| {' | '.join(cells)} |\n"


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the table's rows in a text."""
    table = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].removeprefix(HEAD)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def main() -> None:
    """Make the builds, do every case, and write the table into the document."""
    from tests.test_tampering import make_builds

    lines = []
    with tempfile.TemporaryDirectory(prefix="poisongen-") as temporary:
        folder = Path(temporary)
        (folder / "builds").mkdir()
        builds = make_builds(folder / "builds", draw_cityscapes(folder), draw_voc(folder))
        for number, name in enumerate(sorted(CASES)):
            place = folder / str(number)
            place.mkdir()
            lines.append(row(name, *builds[CASES[name][0]], place))
            shutil.rmtree(place)
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    DOCUMENT.write_text(text[:begin] + HEAD + "".join(lines) + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
