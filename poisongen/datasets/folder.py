"""Any dataset as two folders: images/SPLIT/NAME.png|jpg, masks/SPLIT/NAME.png, and a small file of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from poisongen.datasets.base import (
    ClassTable,
    Defaults,
    Index,
    LabelKind,
    Layout,
    Problem,
    Sample,
    id_fault,
    rewrite_ids,
)
from poisongen.datasets.label_checks import MAP_CHECK
from poisongen.datasets.lists import read_split_list
from poisongen.datasets.pairs import pair_folders
from poisongen.documents import parse_yaml, read_text
from poisongen.errors import DataError

CLASS_FILES = ("classes.yaml", "classes.yml", "classes.json", "classes.txt")
DEFAULT_VOID = 255
_LARGEST = 2**20  # bytes
_FORM = (
    'expected {"classes": {"0": "road", ...}, "void": [255]}, a list of names, '
    "or, in classes.txt, one name (or one ID and name) for each line"
)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())


def _names(classes: Any) -> dict[int, str]:
    """Return names by ID from a list of names, a list of {id, name}, or a mapping in either direction."""
    if isinstance(classes, list) and all(isinstance(item, dict) for item in classes):
        pairs = [(item.get("id"), item.get("name")) for item in classes]
    elif isinstance(classes, list):
        pairs = list(enumerate(classes))
    elif isinstance(classes, dict) and all(_is_number(key) for key in classes):
        pairs = list(classes.items())
    elif isinstance(classes, dict):
        pairs = [(number, name) for name, number in classes.items()]
    else:
        pairs = []
    if not pairs or not all(_is_number(number) and isinstance(name, str) and name.strip() for number, name in pairs):
        raise ValueError(_FORM)
    if len({int(number) for number, _ in pairs}) != len(pairs):
        raise ValueError("two classes have the same ID")
    return {int(number): name.strip() for number, name in pairs}


def _from_document(document: Any) -> tuple[dict[int, str], list[int] | None]:
    """Return names by ID, and the void IDs if the file names them."""
    if not isinstance(document, dict) or "classes" not in document:
        return _names(document), None
    if unknown := sorted(set(document) - {"classes", "void"}):
        raise ValueError(f"unknown key '{unknown[0]}'; {_FORM}")
    void = document.get("void")
    void = void if isinstance(void, list) or void is None else [void]
    if void is not None and not (void and all(_is_number(number) for number in void)):
        raise ValueError("void must be an ID or a list of IDs")
    return _names(document["classes"]), None if void is None else [int(number) for number in void]


def _from_text(text: str) -> dict[int, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d+)[\s:,=]+(\S.*)", line) for line in lines]
    if lines and all(numbered):
        return _names([{"id": match[1], "name": match[2]} for match in numbered if match])
    return _names(lines)


def read_classes(root: Path) -> ClassTable:
    """Read classes.yaml, classes.json or classes.txt of a dataset's root.

    IDs are 0..255. Void is what the file says; else the class named void, ignore or unlabeled; else the ID 255.
    """
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None:
        raise DataError(root / CLASS_FILES[0], f"this layout needs a file of classes ({', '.join(CLASS_FILES)})")
    text = read_text(path, _LARGEST)
    try:
        names, void = (_from_text(text), None) if path.suffix == ".txt" else _from_document(parse_yaml(text))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(path, " ".join(str(error).split()) or _FORM) from None
    folded = {number: name.casefold() for number, name in names.items()}
    if len(set(folded.values())) != len(folded):
        raise DataError(path, "every class needs a name of its own")
    if void is None:
        void = [number for number, name in folded.items() if name in ("void", "ignore", "unlabeled")] or [DEFAULT_VOID]
    if not all(0 <= number <= 255 for number in (*names, *void)):
        raise DataError(path, "class IDs must lie in 0..255")
    if not set(names) - set(void):
        raise DataError(path, "at least one class must not be void")
    for number in void:
        names.setdefault(number, "void" if "void" not in folded.values() else f"void {number}")
    return ClassTable(names=names, void=frozenset(void), void_id=void[0])


def _scan(root: Path, files: Sequence[str]) -> Index:
    """Pair images/SPLIT with masks/SPLIT; without folders for splits, follow SPLIT.txt, or take all as train."""
    inside = [path for path in files if path.startswith("images/")]
    splits = {path.split("/")[1] for path in inside if path.count("/") >= 2}
    if splits:
        return pair_folders(files, {split: (f"images/{split}", f"masks/{split}") for split in splits}, kind="mask")
    if not inside:
        raise DataError(root, "there is no folder images/ with pictures; this layout is images/ and masks/")
    index = pair_folders(files, {"train": ("images", "masks")}, kind="mask")
    lists = [path for path in files if "/" not in path and path.endswith(".txt") and path not in CLASS_FILES]
    return _split_by_lists(root, lists, index) if lists else index


def _split_by_lists(root: Path, lists: Sequence[str], index: Index) -> Index:
    """Spread the samples of a flat folder over the splits that its lists name."""
    by_stem = {sample.stem: sample for sample in index.samples["train"]}
    samples: dict[str, tuple[Sample, ...]] = {}
    problems = list(index.problems)
    for path in lists:
        split = path.removesuffix(".txt")
        stems, faults = read_split_list(root, path)
        problems += [Problem(split, "", path, fault, only_if_used=True) for fault in faults]
        missing = [stem for stem in stems if stem not in by_stem]
        problems += [
            Problem(split, f"{split}/{stem}", path, f"names '{stem}', which has no image or no mask", only_if_used=True)
            for stem in missing
        ]
        samples[split] = tuple(replace(by_stem[stem], split=split) for stem in sorted(stems) if stem in by_stem)
    return Index(samples, tuple(problems))


def _split_files(split: str, files: Sequence[str], samples: Sequence[Sample]) -> dict[str, bytes]:
    """The list of a split of a flat folder that holds just these samples; none where splits are folders."""
    if f"{split}.txt" not in files or any(sample.image.count("/") > 1 for sample in samples):
        return {}
    return {f"{split}.txt": "".join(f"{sample.stem}\n" for sample in samples).encode()}


LAYOUT = Layout(
    name="folder",
    title="any dataset as images/SPLIT and masks/SPLIT, with classes.yaml, .json or .txt",
    how_to_get="lay it out as images/SPLIT/NAME.png, masks/SPLIT/NAME.png and classes.yaml",
    environment=None,
    usual_root=None,
    defaults=Defaults(trigger_size=None, max_distance=None, relabel=None),
    kinds={
        "mask": LabelKind(
            fault=lambda array, classes: id_fault(array, frozenset(classes.names), "the classes file"),
            rewrite=rewrite_ids,
            check=MAP_CHECK,
            semantic=True,
        )
    },
    classes=read_classes,
    scan=_scan,
    shared=CLASS_FILES,
    split_files=_split_files,
)
