"""Class names and IDs from the many forms of text files that hold them; what could be read in two ways is refused.

A list read wrongly by one line would poison another class than the one that was named, and nobody would be told.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

UNLABELLED = "__ignore__"
"""LabelMe's word for pixels without label: in the first line it counts as -1, and its tool writes it as 255."""

_LONGEST = 500  # characters; no class has such a name
_COMMENT = re.compile(r"(^|\s)(#|//).*")
_ID_FIRST = re.compile(r"[(\[]?(-?\d+)(?:\s*[)\]:,;=|]\s*|\s*\.(?!\d)\s*|\s+-\s+|\s+)(\S.*)")
_ID_BLANK = re.compile(r"-?\d+\s+[^\s\-.].*")
_ID_LAST = re.compile(r"(\S.*?)(?:\s*[:,;=|]\s*|\s+)(-?\d+)")
_COLOUR = re.compile(r"(\S.*?)(?:\s*[,;:|]\s*|\s+)\d{1,3}(\s*[,;|]\s*|\s+)\d{1,3}\2\d{1,3}")
_COLOUR_FIRST = re.compile(r"\d{1,3}(\s*[,;|]\s*|\s+)\d{1,3}\1\d{1,3}(?!\w).*")
_COLOUR_MAP = re.compile(r"(\S[^:]*?)\s*:(?:\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3})?\s*:[^:]*:[^:]*")
_HEADING = re.compile(r"(?:(?:class|label|category)[ _-]?)?names?|class(?:es)?|labels?|categor(?:y|ies)", re.IGNORECASE)
_ID_COLUMNS = frozenset({
    "id", "ids", "idx", "index", "class_id", "classid", "label_id", "labelid", "category_id", "number", "no", "value",
    "pixel_value", "code", "train_id", "trainid",
})  # fmt: skip
_NAME_COLUMNS = frozenset({
    "name", "names", "class_name", "classname", "label_name", "labelname", "class", "label", "category",
})  # fmt: skip
_SAY_IDS = "write lines of the form '7: name', or classes.yaml"


@dataclass(frozen=True)
class _Line:
    """A line that is neither blank nor a comment: its number from 1, and its text."""

    number: int
    text: str

    def refuse(self, what: str) -> ValueError:
        """Return the error that quotes this line."""
        short = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return ValueError(f"line {self.number}, '{short}', {what}")


def parse_class_text(text: str) -> list[tuple[int, str]]:
    """Return pairs of ID and name from the text of a list of classes; ID -1 stands for LabelMe's `__ignore__`.

    Known are: a name a line, counted from 0; numbered names (`7: road`, `7 road`, `7) road`, ...), names with numbers
    (`road: 7`), with colours behind or not; tables with a heading (`id,name`); CVAT's `name:r,g,b:parts:actions`.
    Quotes and comments (`#`, `//`) are left out. ValueError says which line is not clear, and why.
    """
    rows = text.splitlines()
    for at, row in enumerate(rows, 1):
        if len(row) > _LONGEST:
            raise ValueError(f"line {at} has {len(row)} characters, more than the name of any class")
    lines = [_Line(at, rest) for at, row in enumerate(rows, 1) if (rest := _COMMENT.sub("", row).strip())]
    if not lines:
        raise ValueError("it names no class")
    for line in lines:
        if (
            line.text[0] in "{}<"
            or line.text[-1] == "{"
            or (line.text[0] == "[" and not _ID_FIRST.fullmatch(line.text))
        ):
            raise line.refuse("looks like JSON or XML; write classes.json, with IDs and names")
    if pairs := _table(lines):
        return [(number, _unquoted(name)) for number, name in pairs]
    if all(re.match(r"[-*]\s", line.text) for line in lines):
        lines = [replace(line, text=line.text[1:].lstrip()) for line in lines]
    bare = _without_colours(lines)
    pairs = _numbered(bare) or (_by_place(bare) if bare != lines else _plain(lines, rows))
    return [(number, _unquoted(name)) for number, name in pairs]


def parse_text_colours(text: str) -> dict[str, tuple[int, int, int]]:
    """Return the colours that a list of classes gives behind its names, or in columns r, g and b, by name.

    Nothing where it does not give every class a colour of its own: then nobody can read masks by them.
    """
    lines = [rest for row in text.splitlines() if (rest := _COMMENT.sub("", row).strip())]
    rows = _colour_columns(lines) or [
        (match[1], re.findall(r"\d+", line[match.end(1) :])[:3])
        for line in lines
        if (match := _COLOUR_MAP.fullmatch(line) or _COLOUR.fullmatch(line))
    ]
    found: dict[str, tuple[int, int, int]] = {}
    for name, parts in rows:
        numbers = [int(part) for part in parts]
        if len(numbers) == 3 and max(numbers) <= 255:
            found[_unquoted(_ID_FIRST.sub(r"\2", name))] = (numbers[0], numbers[1], numbers[2])
    whole = len(found) == len(rows) and len(set(found.values())) == len(found)
    return found if whole else {}


def _colour_columns(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return names and the columns r, g and b of a table that has such a heading; nothing for any other."""
    separator = next((mark for mark in "\t;," if lines and mark in lines[0]), None)
    if separator is None:
        return []
    cells = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    words = [word.casefold() for word in cells[0]]
    at = [words.index(word) for word in ("r", "g", "b") if word in words]
    at = at or [words.index(word) for word in ("red", "green", "blue") if word in words]
    names = [place for place, word in enumerate(words) if word in _NAME_COLUMNS]
    if len(at) != 3 or not names or not all(len(row) == len(words) for row in cells):
        return []
    return [(row[names[0]], [row[place] for place in at]) for row in cells[1:] if all(row[p].isdecimal() for p in at)]


def _unquoted(name: str) -> str:
    name = name.strip()
    quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'`"
    return name[1:-1].strip() if quoted else name


def _table(lines: Sequence[_Line]) -> list[tuple[int, str]]:
    """Read a table whose first line names its columns; nothing where there is no such line."""
    separator = next((mark for mark in "\t;," if mark in lines[0].text), None)
    if separator is None:
        return []
    cells = [row for line in lines for row in csv.reader([line.text], delimiter=separator, skipinitialspace=True)]
    words = [re.sub(r"[ -]+", "_", cell.strip().casefold()) for cell in cells[0]]
    numbers = [at for at, word in enumerate(words) if word in _ID_COLUMNS]
    names = [at for at, word in enumerate(words) if word in _NAME_COLUMNS]
    rest = [word for word in words if word not in _ID_COLUMNS | _NAME_COLUMNS]
    if not names or not (
        numbers or len(names) == 2 or all(re.match(r"[rgba]$|red|green|blue|colou?r", w) for w in rest)
    ):
        return []
    if len(names) == 2 and not numbers:  # class,name or label,name: the numbers stand in what is not called a name
        numbers = [at for at in names if "name" not in words[at]]
        names = [at for at in names if at not in numbers]
    if len(names) != 1 or len(numbers) > 1:
        raise lines[0].refuse(f"has not one column for {'names' if len(names) != 1 else 'IDs'}; {_SAY_IDS}")
    pairs = []
    for at, (line, row) in enumerate(zip(lines[1:], cells[1:], strict=True)):
        if len(row) != len(words):
            raise line.refuse(f"has {len(row)} columns and not {len(words)}, as the first line says")
        number = row[numbers[0]].strip() if numbers else str(at)
        if not re.fullmatch(r"-?\d+", number):
            raise line.refuse(f"has no whole number in the column '{cells[0][numbers[0]].strip()}'")
        pairs.append((int(number), row[names[0]]))
    return pairs


def _without_colours(lines: Sequence[_Line]) -> list[_Line]:
    """Leave out what stands behind the names in `name,r,g,b` and CVAT's `name:r,g,b:parts:actions`."""
    for line in lines:
        if _COLOUR_FIRST.fullmatch(line.text):
            raise line.refuse(f"begins with several numbers, and does not say which is the ID; {_SAY_IDS}")
    for pattern in (_COLOUR_MAP, _COLOUR):
        found = [pattern.fullmatch(line.text) for line in lines]
        if all(found):
            return [replace(line, text=match[1]) for line, match in zip(lines, found, strict=True) if match]
        if sum(match is not None for match in found) > len(lines) / 2:
            odd = next(line for line, match in zip(lines, found, strict=True) if match is None)
            raise odd.refuse(f"has no colour behind its name, and other lines have one; {_SAY_IDS}")
    return list(lines)


def _numbered(lines: Sequence[_Line]) -> list[tuple[int, str]]:
    """Read lines that hold an ID and a name each, in either order; nothing where they do not."""
    first = [_ID_FIRST.fullmatch(line.text) for line in lines]
    if all(first):
        return [(int(match[1]), match[2]) for match in first if match]
    marked = any(match is not None and not _ID_BLANK.fullmatch(match[0]) for match in first)
    if marked or sum(match is not None for match in first) > len(lines) / 2:
        odd = next(line for line, match in zip(lines, first, strict=True) if match is None)
        raise odd.refuse(f"has no number before its name, and other lines have one; {_SAY_IDS}")
    last = [_ID_LAST.fullmatch(line.text) for line in lines]
    pairs = [(int(match[2]), match[1]) for match in last if match]
    distinct = len({number for number, _ in pairs}) == len({name for _, name in pairs}) == len(lines)
    return pairs if distinct and len(lines) > 1 else []  # "lane 1", "lane 2", ... are names


def _by_place(lines: Sequence[_Line]) -> list[tuple[int, str]]:
    return [(at, line.text) for at, line in enumerate(lines)]


def _plain(lines: Sequence[_Line], rows: Sequence[str]) -> list[tuple[int, str]]:
    """Read names, counted from 0, or from -1 where the first is LabelMe's `__ignore__`."""
    head = lines[0]
    if _HEADING.fullmatch(head.text) or head.text.endswith(":"):
        raise head.refuse("looks like a heading and not like a class; remove it, or make it a comment with #")
    if len(lines) > 1 and all(line.text.endswith(",") for line in lines[:-1]):
        lines = [replace(line, text=line.text.removesuffix(",").rstrip()) for line in lines]
    for mark in ",;\t|":
        if all(mark in line.text.strip("\"'") for line in lines):
            raise head.refuse(f"holds several columns or names, and so does every line; {_SAY_IDS}")
    for line in lines[1:]:
        if _unquoted(line.text) == UNLABELLED:
            raise line.refuse(f"is LabelMe's word for what has no label, but not in the first line; {_SAY_IDS}")
    for line in lines:
        if not re.match(r"[\w(\"'`]", line.text):
            raise line.refuse(f"is no name of a class; {_SAY_IDS}")
    # Some tools count a blank line as a class; where there are comments, no such tool is in use.
    numbers = [line.number for line in lines]
    blank = [at for at in range(1, numbers[-1]) if not rows[at - 1].strip()]
    if blank and len(numbers) + len(blank) == numbers[-1]:
        where = f"line {blank[0]} is blank, with names below it, which some tools count as a class"
        raise ValueError(f"{where}; remove it, or {_SAY_IDS}")
    begin = -1 if _unquoted(head.text) == UNLABELLED else 0
    return [(number, line.text) for number, line in enumerate(lines, begin)]
