"""The command lines that the pages show: found in code blocks and between backticks, each with its page and line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "triggers/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "commands.md"  # written from the code; its examples are those of --help, which test_help calls
)
_FENCE = re.compile(r" {0,8}```(\w*)\s*$")
_INLINE = re.compile(r"`((?:python -m )?poisongen [^`]+)`")
_LANGUAGES = ("", "sh", "bash", "shell", "console", "text")


@dataclass(frozen=True)
class Line:
    """A line of a block of code on a page (lines that end in a backslash are joined), or words between backticks."""

    page: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


@dataclass(frozen=True)
class Block:
    """A block of code that is in no language, or in that of a shell."""

    lines: tuple[Line, ...]


def _joined(page: str, rows: list[tuple[int, str]]) -> Block:
    """Return a block of rows, without the comments and what goes on joined."""
    lines: list[Line] = []
    goes_on = False
    for number, row in rows:
        text = row.strip()
        if goes_on:
            last = lines.pop()
            lines.append(Line(page, last.number, f"{last.text} {text.removesuffix(chr(92)).strip()}"))
        elif text and not text.startswith("#"):
            lines.append(Line(page, number, text.removesuffix("\\").strip()))
        else:
            continue
        goes_on = text.endswith("\\")
    return Block(tuple(lines))


def blocks() -> list[Block]:
    """Return every block of code of every page, fenced or indented by four, but those in another language."""
    found = []
    for page in PAGES:
        name, rows, fence, before = page.relative_to(ROOT).as_posix(), [], None, ""
        in_list = False
        for number, row in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if match := _FENCE.match(row):
                if fence is None:
                    fence, rows = match[1], []
                else:
                    found += [_joined(name, rows)] if fence in _LANGUAGES and rows else []
                    fence, rows = None, []
                before = row
                continue
            if fence is not None:
                rows.append((number, row))
                continue
            if row.strip() and not row.startswith(" "):
                in_list = bool(re.match(r"(-|\d+\.) ", row))
            depth = 8 if in_list else 4
            if row.startswith(" " * depth) and (rows or not before.strip()):
                rows.append((number, row))
            elif rows and row.strip():
                found.append(_joined(name, rows))
                rows = []
            before = row
        found += [_joined(name, rows)] if rows else []
    return [block for block in found if block.lines]


def inline() -> list[Line]:
    """Return what stands between backticks, in the pages' running text, and begins as a call of poisongen."""
    return [
        Line(page.relative_to(ROOT).as_posix(), number, words)
        for page in PAGES
        for number, row in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for words in _INLINE.findall(row)
    ]
