"""Build the documentation's site: pages as they lie in the repository, and the reference of the Python functions.

    python docs/make_site.py [--out FOLDER]        needs the extra `docs`; what mkdocs warns of is an error

Pages are gathered in build/pages under their own paths, so that links between them work here as they do in the
repository. Files that are neither pages nor pictures are linked as they are.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import poisongen

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"
_FOLDERS = ("docs", "triggers", "benchmarks")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_INTERFACES = (
    "core.placement",
    "core.labels",
    "core.trigger",
    "core.borders",
    "core.distance",
    "datasets.base",
    "attack.label_rules.base",
    "attack.triggers.base",
    "attack.conditions.base",
)


def sources() -> list[Path]:
    """Return the pages of the repository."""
    return sorted([*ROOT.glob("*.md"), *(page for folder in _FOLDERS for page in (ROOT / folder).glob("*.md"))])


def linked(page: Path) -> Iterator[Path]:
    """Yield the files that a page links to or shows and that are no pages."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if path.is_file() and path.suffix != ".md" and path.is_relative_to(ROOT):
            yield path


def api() -> str:
    """Return the page of the Python functions: what `import poisongen` gives, and what parts and the core are."""
    lines = ["# Python functions", "", f"{(poisongen.__doc__ or '').strip()}", ""]
    for name in (name for name in poisongen.__all__ if not name.startswith("_")):
        lines += [f"::: poisongen.{poisongen.HOME[name]}.{name}", ""]
    lines += ["## The core, and what parts are made of", ""]
    for module in _INTERFACES:
        lines += [f"::: poisongen.{module}", "    options:", "      show_root_full_path: true", ""]
    return "\n".join(lines)


def gather() -> None:
    """Put all pages, and what they show, into build/pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for page in sources():
        for path in (page, *linked(page)):
            place = PAGES / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    (PAGES / "docs" / "api.md").write_text(api(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    gather()
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(parser.parse_args().out.absolute())]
    sys.exit(subprocess.run(call, cwd=ROOT, check=False).returncode)  # noqa: S603  our own words
