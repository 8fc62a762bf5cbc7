"""The file of classes of a plain folder dataset: classes.yaml, classes.json or classes.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from poisongen.datasets.base import ClassTable
from poisongen.datasets.class_places import KEYS, FolderPlaces, parse_places
from poisongen.datasets.class_text import UNLABELLED, parse_class_text, parse_text_colours
from poisongen.errors import DataError
from poisongen.files.documents import parse_yaml, read_text

CLASS_FILES = ("classes.yaml", "classes.yml", "classes.json", "classes.txt")
DEFAULT_VOID = 255
Colour = tuple[int, int, int]
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


@dataclass(frozen=True)
class _Said:
    """What a file says of classes: IDs and names, the void IDs or names if it gives them, and colours by name."""

    pairs: list[tuple[int, str]]
    void: list[int | str] | None = None
    colours: Mapping[str, Colour] = field(default_factory=dict)


def _from_document(document: Any) -> _Said:
    """Return what a YAML or JSON file says of classes."""
    if isinstance(document, dict) and isinstance(document.get("names"), list | dict):  # data.yaml of Ultralytics
        pairs = _pairs(document["names"])
        if document.get("nc", len(pairs)) != len(pairs):
            raise ValueError(f"'nc' says {document['nc']} classes, 'names' has {len(pairs)}")
        return _Said(_shifted(pairs, document, document["names"]), _void(document), _colours(document.get("colours")))
    if isinstance(document, dict) and isinstance(document.get("categories"), list):  # COCO
        return _Said(_pairs(document["categories"]))
    if not isinstance(document, dict) or "classes" not in document:
        return _Said(_pairs(document))
    if unknown := sorted(map(str, set(document) - {"classes", "void", "offset", "colours", *KEYS})):
        raise ValueError(f"unknown key '{unknown[0]}'; {_FORM}")
    classes, colours = document["classes"], document.get("colours")
    if isinstance(classes, dict) and classes and all(isinstance(value, list) for value in classes.values()):
        if colours is not None:
            raise ValueError("'classes' and 'colours' both give colours; leave one out")
        classes, colours = [*classes], classes
    return _Said(_shifted(_pairs(classes), document, classes), _void(document), _colours(colours))


def _from_text(text: str) -> _Said:
    """Return what a text file says of classes; colours only where every class has one."""
    pairs, colours = parse_class_text(text), parse_text_colours(text)
    return _Said(pairs, None, colours if set(colours) == {name for _, name in pairs} else {})


def _void(document: Mapping[str, Any]) -> list[int | str] | None:
    void = document.get("void")
    if void is None:
        return None
    values = void if isinstance(void, list) else [void]
    if not all(_is_number(value) or (isinstance(value, str) and value.strip()) for value in values):
        raise ValueError("void must be an ID or a list of IDs (or names); [] is for a dataset that has none")
    return [int(value) if _is_number(value) else value.strip() for value in values]


def _shifted(pairs: list[tuple[int, str]], document: Mapping[str, Any], classes: Any) -> list[tuple[int, str]]:
    """Count classes from `offset`, where they are counted at all."""
    offset = document.get("offset", 0)
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset <= 255:
        raise ValueError("'offset' is the ID of the first class of a list, 0 to 255")
    if offset and not (isinstance(classes, list) and all(isinstance(item, str) for item in classes)):
        raise ValueError("'offset' goes with a list of names; these classes have IDs of their own")
    return [(number + offset, name) for number, name in pairs]


def _colours(colours: Any) -> dict[str, Colour]:
    """Return colours by the classes' names."""
    if colours is None:
        return {}
    if not isinstance(colours, dict):
        raise ValueError("'colours' gives each class a colour: {road: [128, 64, 128], ...}")
    found: dict[str, Colour] = {}
    for name, colour in colours.items():
        whole = isinstance(colour, list) and all(type(value) is int and 0 <= value <= 255 for value in colour)
        if not whole or len(colour) != 3:
            raise ValueError(f"the colour of '{name}' must be three numbers, 0 to 255: [128, 64, 128]")
        found[str(name)] = (colour[0], colour[1], colour[2])
    if len(set(found.values())) != len(found):
        twice = next(name for name, colour in found.items() if [*found.values()].count(colour) > 1)
        raise ValueError(f"another class has the colour of '{twice}'; masks could not tell them apart")
    return found


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


def _read(root: Path) -> tuple[Path, str]:
    path = _find(root)
    return path, read_text(path, _LARGEST)


def read_places(root: Path) -> FolderPlaces | None:
    """Return where the classes file of a root says that images and masks lie; None where it says nothing. DataError."""
    path, text = _read(root)
    if path.suffix == ".txt":
        return None
    try:
        document = parse_yaml(text)
        told = isinstance(document, dict) and ("classes" in document or isinstance(document.get("names"), list | dict))
        return parse_places(document) if told else None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(path, " ".join(str(error).split()) or _FORM) from None


def _void_ids(void: Sequence[int | str], names: Mapping[int, str]) -> list[int]:
    """Return the IDs of what a file calls void, by ID or by name."""
    by_name = {name.casefold(): number for number, name in names.items()}
    unknown = next((word for word in void if isinstance(word, str) and word.casefold() not in by_name), None)
    if unknown is not None:
        raise ValueError(f"void names '{unknown}', which is no class of this file")
    return [by_name[word.casefold()] if isinstance(word, str) else word for word in void]


def _table(said: _Said) -> ClassTable:
    """Return the table of classes; ValueError where what the file says does not make one."""
    _check_pairs(said.pairs)
    names = dict(said.pairs)
    unlabelled = names.get(-1) == UNLABELLED
    if unlabelled:
        del names[-1]
    folded = {number: name.casefold() for number, name in names.items()}
    void = _default_void(folded, unlabelled) if said.void is None else _void_ids(said.void, names)
    if not all(0 <= number <= 255 for number in (*names, *void)):
        raise ValueError("class IDs must lie in 0..255")
    if not set(names) - set(void):
        raise ValueError("at least one class must not be void")
    by_name = {name.casefold(): number for number, name in names.items()}
    if strange := next((name for name in said.colours if name.casefold() not in by_name), None):
        raise ValueError(f"'{strange}' has a colour and is no class")
    for number in void:
        names.setdefault(number, "void" if "void" not in folded.values() else f"void {number}")
    colours = {by_name[name.casefold()]: colour for name, colour in said.colours.items()}
    shown = [number for number in void if number in colours]  # that can be written into masks in colours
    void_id = next(iter((*shown, *void)), None)
    return ClassTable(names=names, void=frozenset(void), void_id=void_id, colours=colours)


def read_classes(root: Path) -> ClassTable:
    """Read classes.yaml, classes.json or classes.txt of a dataset's root.

    IDs are 0..255. Void is what the file says; else the class named void, ignore or unlabeled; else the ID 255, if no
    class has it. DataError where the file is in no known form, or could be read in two ways.
    """
    path, text = _read(root)
    try:
        return _table(_from_text(text) if path.suffix == ".txt" else _from_document(parse_yaml(text)))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(path, " ".join(str(error).split()) or _FORM) from None
