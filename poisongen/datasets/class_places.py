"""Where the images and masks of a plain dataset lie, as its classes.yaml says.

Its paths may come from anybody. They are compared with the files that lie below the root and never opened as they
stand; what could lead out of the root is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poisongen.datasets.lists import LIST_ENDS
from poisongen.datasets.stems import IMAGE_ENDS, LABEL_ENDS
from poisongen.datasets.tree import IMAGE, Place

MASK = "mask"
KEYS = ("images", "masks", "lists", "pairs", "splits")
_FIELD = re.compile(r"\{([^{}]*)\}")
_LONGEST = 500  # characters; no path in such a file is longer
_SPLIT, _NAME = "{split}", "{name}"
_FORMS = {
    "images": "images: rgb/{split}/{name}.jpg",
    "masks": "masks: labels/{split}/{name}_mask.png",
    "lists": "lists: lists/{split}.txt",
    "pairs": "pairs: lists/{split}.txt",
    "splits": "splits: {train: training, val: validation}",
}


@dataclass(frozen=True)
class FolderPlaces:
    """What classes.yaml says of where files lie.

    `places` are the templates of images and masks; `lists` is the template (with its ending) of the files that name
    each split's samples, '' for none; `pairs` says that they name an image and a mask on each line instead. `names`
    maps the words that stand for splits in paths to the splits' names. `words` says which words do (a regular
    expression); `first` that only the first word of a list's line is the name.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    lists: str = ""
    pairs: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    words: str = r"[^/]+"
    first: bool = False

    @property
    def list_place(self) -> Place:
        """The template of the lists."""
        start, _, end = self.lists.rpartition(".")
        return Place(start, {"split": self.words}, (f".{end.lower()}",))


def parse_places(document: Mapping[str, Any]) -> FolderPlaces | None:
    """Return what a classes file says of places; None where it says nothing. ValueError tells what is wrong."""
    given = {key: document[key] for key in KEYS if document.get(key) is not None}
    if not given:
        return None
    names = _split_names(given.pop("splits", {}))
    for key, text in given.items():
        _check_path(key, text)
    lists = given.get("pairs") or given.get("lists") or ""
    if "pairs" in given and len(given) > 1:
        other = next(key for key in given if key != "pairs")
        raise ValueError(f"'pairs' names every image and mask; leave out '{other}'")
    for key in ("pairs", "lists"):
        if key in given:
            _check_fields(key, given[key], needed=(_SPLIT,), allowed=(_SPLIT,))
            if not given[key].lower().endswith(LIST_ENDS):
                raise ValueError(f"'{key}' must end in {' or '.join(LIST_ENDS)}; write {_FORMS[key]}")
    if "pairs" in given:
        return FolderPlaces({}, lists, True, names)
    split = "" if lists else f"{_SPLIT}/"
    usual = {"images": f"images/{split}{_NAME}", "masks": f"masks/{split}{_NAME}"}
    templates = {key: given.get(key, usual[key]) for key in usual}
    for key, template in templates.items():
        _check_fields(key, template, needed=(_NAME,), allowed=(_NAME,) if lists else (_NAME, _SPLIT))
    if (_SPLIT in templates["images"]) != (_SPLIT in templates["masks"]):
        raise ValueError("'images' and 'masks' must both have {split}, or neither")
    places = {IMAGE: _place(templates["images"], IMAGE_ENDS), MASK: _place(templates["masks"], LABEL_ENDS)}
    where, there = places[IMAGE], places[MASK]
    apart = bool(where.ends and there.ends) and not {*where.ends} & {*there.ends}
    if where.template == there.template and not apart:
        raise ValueError("'images' and 'masks' are the same files; tell them apart by folder, name or ending")
    return FolderPlaces(places, lists, False, names)


def _split_names(splits: Any) -> dict[str, str]:
    """Return the splits' names by the words of paths, from a mapping the other way round."""
    if not isinstance(splits, dict) or not all(
        isinstance(text, str) and text.strip() and not re.search(r"[/\\\x00-\x1f]", text)
        for pair in splits.items()
        for text in pair
    ):
        raise ValueError(f"'splits' gives each split the word that stands for it in paths; write {_FORMS['splits']}")
    names = {word: name for name, word in splits.items()}
    if len(names) != len(splits):
        raise ValueError("'splits' gives two splits the same word")
    return names


def _check_path(key: str, text: Any) -> None:
    """Refuse what is no path below the root."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"'{key}' is a path below the dataset's root; write {_FORMS[key]}")
    parts = text.split("/")
    if len(text) > _LONGEST or re.search(r"[\\\x00-\x1f]", text):
        raise ValueError(f"'{key}' is no path with '/'; write {_FORMS[key]}")
    if ".." in parts or "" in parts or "." in parts or re.match(r"[A-Za-z]:|~", text):
        raise ValueError(f"'{key}' is '{text}', which may lead out of the dataset; give a path below its root")


def _check_fields(key: str, template: str, needed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    words = [match[0] for match in _FIELD.finditer(template)]
    bare = _FIELD.sub("", template)
    if "{" in bare or "}" in bare or not {*words} <= {*allowed} or not {*needed} <= {*words}:
        optional = [word for word in allowed if word not in needed]
        may = f" and may have {' and '.join(optional)}" if optional else ""
        raise ValueError(f"'{key}' needs {' and '.join(needed)}{may}, and no other braces; write {_FORMS[key]}")
    if words.count(_NAME) > 1:
        raise ValueError(f"'{key}' has {_NAME} twice")


def _place(template: str, read: tuple[str, ...]) -> Place:
    """Return a template with its ending told apart; one that is not read is refused here, and not file by file."""
    start, dot, end = template.rpartition(".")
    if not dot or "/" in end or "}" in end:
        return Place(template)
    if end == "*":
        return Place(start)
    if f".{end.lower()}" not in read:
        raise ValueError(
            f"'{template}': poisongen reads {', '.join(read)} here; convert the files, or leave the ending out"
        )
    return Place(start, ends=(f".{end.lower()}",))
