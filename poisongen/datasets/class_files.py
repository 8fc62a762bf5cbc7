"""The file of classes of a plain folder dataset: classes.yaml, classes.json or classes.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from poisongen.datasets.base import ClassTable
from poisongen.datasets.class_text import UNLABELLED, parse_class_text
from poisongen.errors import DataError
from poisongen.files.documents import parse_yaml, read_text

CLASS_FILES = ("classes.yaml", "classes.yml", "classes.json", "classes.txt")
DEFAULT_VOID = 255
_OTHER_NAMES = (
    "labels.txt", "labelmap.txt", "label_map.txt", "classes.csv", "class_dict.csv", "labels.csv", "labelmap.csv",
    "class_names.txt", "names.txt", "obj.names", "data.yaml", "dataset.yaml", "labels.json", "label_colors.txt",
)  # fmt: skip
_VOID_NAMES = ("void", "ignore", "unlabeled", UNLABELLED)
# Names that a class with the ID 255 may have and still be void, which that ID is unless it has another name.
_VOID_AT_255 = (
    *_VOID_NAMES, "unlabelled", "ignored", "ignore label", "ignore_label", "border", "boundary", "edge", "contour",
    "don't care", "dontcare", "ambiguous",
)  # fmt: skip
_LARGEST = 2**20  # bytes
_FORM = (
    'expected {"classes": {"0": "road", ...}, "void": [255]}, a list of names, '
    "or, in classes.txt, one name (or one ID and name) for each line"
)


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, str) and value.strip().removeprefix("-").isdecimal())


def _pairs(classes: Any) -> list[tuple[int, str]]:
    """Return IDs and names from a list of names, a list of {id, name}, or a mapping in either direction."""
    if isinstance(classes, list) and all(isinstance(item, dict) for item in classes):
        pairs = [(item.get("id"), item.get("name")) for item in classes]
    elif isinstance(classes, list):
        pairs = list(enumerate(classes, -1 if classes[:1] == [UNLABELLED] else 0))
    elif isinstance(classes, dict) and all(_is_number(key) for key in classes):
        pairs = list(classes.items())
    elif isinstance(classes, dict):
        pairs = [(number, name) for name, number in classes.items()]
    else:
        pairs = []
    if not pairs or not all(_is_number(number) and isinstance(name, str) and name.strip() for number, name in pairs):
        raise ValueError(_FORM)
    return [(int(number), name.strip()) for number, name in pairs]


def _from_document(document: Any) -> tuple[list[tuple[int, str]], list[int] | None]:
    """Return IDs and names, and the void IDs if the file names them."""
    if isinstance(document, dict) and isinstance(document.get("names"), list | dict):  # data.yaml of Ultralytics
        pairs = _pairs(document["names"])
        if document.get("nc", len(pairs)) != len(pairs):
            raise ValueError(f"'nc' says {document['nc']} classes, 'names' has {len(pairs)}")
        return pairs, None
    if isinstance(document, dict) and isinstance(document.get("categories"), list):  # COCO
        return _pairs(document["categories"]), None
    if not isinstance(document, dict) or "classes" not in document:
        return _pairs(document), None
    if unknown := sorted(map(str, set(document) - {"classes", "void"})):
        raise ValueError(f"unknown key '{unknown[0]}'; {_FORM}")
    void = document.get("void")
    void = void if isinstance(void, list) or void is None else [void]
    if void is not None and not all(_is_number(number) for number in void):
        raise ValueError("void must be an ID or a list of IDs; [] is for a dataset that has none")
    return _pairs(document["classes"]), None if void is None else [int(number) for number in void]


def _default_void(names: dict[int, str], unlabelled: bool) -> list[int]:
    """Return the void IDs of a file that does not name them."""
    void = [number for number, name in names.items() if name in _VOID_NAMES]
    if unlabelled and DEFAULT_VOID not in names:
        return [*void, DEFAULT_VOID]
    named = names.get(DEFAULT_VOID)
    return void or ([DEFAULT_VOID] if named is None or named in _VOID_AT_255 else [])


def _check_pairs(pairs: Sequence[tuple[int, str]]) -> None:
    """Refuse IDs and names that stand there twice, and names that could be taken for another class's ID."""
    by_number: dict[int, str] = {}
    by_name: dict[str, int] = {}
    for number, name in pairs:
        if number in by_number:
            raise ValueError(f"two classes have the same ID, {number}: '{by_number[number]}' and '{name}'")
        if name.casefold() in by_name:
            first = by_name[name.casefold()]
            raise ValueError(f"every class needs a name of its own: '{name}' has the IDs {first} and {number}")
        if name.isdecimal() and int(name) != number:
            raise ValueError(f"the class with the ID {number} is called '{name}', which is a number; give it a name")
        by_number[number] = name
        by_name[name.casefold()] = number


def _find(root: Path) -> Path:
    """Return the class file's path; DataError, naming what is there in its stead, if there is none."""
    for name in CLASS_FILES:
        if (root / name).is_file():
            return root / name
        if (root / name).is_symlink():
            target = (root / name).readlink()
            raise DataError(root / name, f"a link to {target}, where nothing is; put the class file there")
    other = next((name for name in _OTHER_NAMES if (root / name).is_file()), None)
    hint = ""
    if other is not None:
        as_name = "classes.yaml" if other.endswith((".yaml", ".json")) else "classes.txt"
        hint = f"; if {other} is one, copy it to {as_name}"
    raise DataError(root / CLASS_FILES[0], f"this layout needs a file of classes ({', '.join(CLASS_FILES)}){hint}")


def read_classes(root: Path) -> ClassTable:
    """Read classes.yaml, classes.json or classes.txt of a dataset's root.

    IDs are 0..255. Void is what the file says; else the class named void, ignore or unlabeled; else the ID 255, if no
    class has it. DataError where the file is in no known form, or could be read in two ways.
    """
    path = _find(root)
    text = read_text(path, _LARGEST)
    try:
        pairs, void = (parse_class_text(text), None) if path.suffix == ".txt" else _from_document(parse_yaml(text))
        _check_pairs(pairs)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(path, " ".join(str(error).split()) or _FORM) from None
    names = dict(pairs)
    unlabelled = names.get(-1) == UNLABELLED
    if unlabelled:
        del names[-1]
    folded = {number: name.casefold() for number, name in names.items()}
    if void is None:
        void = _default_void(folded, unlabelled)
    if not all(0 <= number <= 255 for number in (*names, *void)):
        raise DataError(path, "class IDs must lie in 0..255")
    if not set(names) - set(void):
        raise DataError(path, "at least one class must not be void")
    for number in void:
        names.setdefault(number, "void" if "void" not in folded.values() else f"void {number}")
    return ClassTable(names=names, void=frozenset(void), void_id=void[0] if void else None)
