"""The table of docs/loaders.md: libraries, versions, results. `python -m tests.loaders.table` writes it.

It runs the tests of every library, which must be installed (`make test-loaders` does that).
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "loaders.md"
BEGIN, END = "<!-- loaders: begin -->\n", "<!-- loaders: end -->\n"
HEAD = "| library | version | given | right as it is | what the test compares |\n|---|---|---|---|---|\n"
RIGHT, WRONG = "yes", "**no**"


def modules() -> list[Path]:
    """Return the modules of tests, one for each library."""
    return sorted(Path(__file__).parent.glob("test_*.py"))


def said_by(module: Path) -> dict[str, str]:
    """Return LIBRARY, GIVEN and RESULT of a module, read without importing it: its library may be missing."""
    found: dict[str, str] = {}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            names = [one.id for one in getattr(target, "elts", [target]) if isinstance(one, ast.Name)]
            if {"LIBRARY", "RESULT"} & set(names):
                values = ast.literal_eval(node.value)
                found |= dict(zip(names, values if isinstance(values, tuple) else (values,), strict=True))
    return found


def row(module: Path, version: str, result: str) -> str:
    """Return a module's line of the table."""
    said = said_by(module)
    return f"| {said['LIBRARY']} | {version} | {said['GIVEN']} | {result} | {said['RESULT']} |\n"


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the table's rows in a text."""
    table = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].removeprefix(HEAD)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def _version(library: str) -> str:
    try:
        return metadata.version(library.split(maxsplit=1)[0])
    except metadata.PackageNotFoundError:
        return "not installed"


def main() -> int:
    """Run every module's tests, write the table into the document, and return how many failed."""
    lines, wrong = [], 0
    for module in modules():
        call = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", str(module)]
        done = subprocess.run(call, cwd=ROOT, env=os.environ | {"POISONGEN_NEEDS_LOADERS": "1"}, check=False)
        wrong += done.returncode != 0
        library = said_by(module)["LIBRARY"]
        lines.append(row(module, _version(library), WRONG if done.returncode else RIGHT))
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    DOCUMENT.write_text(text[:begin] + HEAD + "".join(lines) + text[end:], encoding="utf-8")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
