"""Cityscapes' files: leftImg8bit/SPLIT/CITY/*.png with gtFine/SPLIT/CITY/*_gtFine_{labelIds,...}.

What the official scripts derive may lie there as well: instanceTrainIds, and gtFine/cityscapes_panoptic_SPLIT.

The two folders may also lie as their zips unpack in folders of their own: leftImg8bit_trainvaltest/leftImg8bit/...
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from poisongen.datasets.base import Index, LabelFile, Problem, Sample
from poisongen.datasets.cityscapes_derived import panoptic_files
from poisongen.errors import DataError

_IMAGE_FOLDER, _LABEL_FOLDER = "leftImg8bit", "gtFine"
_IMAGE_MARK, _LABEL_MARK = "_leftImg8bit", "_gtFine_"
_LABEL_ENDS = {
    "labelIds": ".png",
    "labelTrainIds": ".png",
    "instanceIds": ".png",
    "instanceTrainIds": ".png",
    "color": ".png",
    "polygons": ".json",
}


def _label_path(split: str, stem: str, kind: str, above: str = "") -> str:
    return f"{above}{_LABEL_FOLDER}/{split}/{stem}{_LABEL_MARK}{kind}{_LABEL_ENDS[kind]}"


class _Found(NamedTuple):
    """A file in one of the two trees: the folder above the tree ('' or ending in '/'), and the path's parts below."""

    above: str
    split: str
    city: str
    name: str
    path: str


def _tree(files: Sequence[str], folder: str) -> list[_Found]:
    """Return the files of a tree in the root itself; if there are none, of those in folders named after their zip."""
    pattern = re.compile(rf"((?:{folder}_[^/]*/)?){folder}/([^/]+)/([^/]+)/([^/]+)")
    matches = [match for path in files if (match := pattern.fullmatch(path))]
    found = [_Found(match[1], match[2], match[3], match[4], match[0]) for match in matches]
    own = [file for file in found if not file.above]
    return own or found


def _hint(there: Mapping[tuple[str, str], str], key: tuple[str, str]) -> str:
    """Return what to add to 'is missing' where the file is there, but in another format; else ''."""
    reads = "poisongen reads Cityscapes' pictures as PNG only; convert it"
    return f": {there[key]} is there, but {reads}" if key in there else ""


def scan(root: Path, files: Sequence[str]) -> Index:
    """Pair images and label files by name."""
    images: dict[tuple[str, str], str] = {}
    others: dict[tuple[str, str], str] = {}
    other_labels: dict[tuple[str, str], str] = {}
    labels: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    problems: list[Problem] = []

    def add(found: dict[Any, str], key: Any, file: _Found, stem: str) -> None:
        if key in found:
            text = f"two files of one sample: {found[key]} is there as well"
            problems.append(Problem(file.split, f"{file.split}/{stem}", file.path, text))
        else:
            found[key] = file.path

    for file in _tree(files, _IMAGE_FOLDER):
        start, end = posixpath.splitext(file.name)
        if start.endswith(_IMAGE_MARK):
            stem = f"{file.city}/{start.removesuffix(_IMAGE_MARK)}"
            if end.lower() == ".png":
                add(images, (file.split, stem), file, stem)
            else:
                others[file.split, stem] = file.path
    above = ""
    for file in _tree(files, _LABEL_FOLDER):
        start, end = posixpath.splitext(file.name)
        stem, mark, kind = start.rpartition(_LABEL_MARK)
        stem = f"{file.city}/{stem}"
        if mark and _LABEL_ENDS.get(kind) == end.lower():
            above = file.above
            add(labels[file.split, stem], kind, file, stem)
        elif mark and kind == "labelIds":
            other_labels[file.split, stem] = file.path
    if not images:
        there = _hint(others, next(iter(others))) if others else f"; give the folder that holds {_IMAGE_FOLDER}"
        raise DataError(root, f"no Cityscapes here: there is no {_IMAGE_FOLDER}/SPLIT/CITY/*{_IMAGE_MARK}.png{there}")
    panoptic = panoptic_files(files)
    bare = Counter((split, posixpath.basename(stem)) for split, stem in images)
    samples: dict[str, list[Sample]] = defaultdict(list)
    for split, stem in sorted(images.keys() | labels.keys()):
        name, kinds = f"{split}/{stem}", labels.get((split, stem), {})
        image = images.get((split, stem))
        if image is None:
            wanted = f"{_IMAGE_FOLDER}/{split}/{stem}{_IMAGE_MARK}.png"
            text = f"label without image ({wanted}){_hint(others, (split, stem))}"
            problems.append(Problem(split, name, next(iter(kinds.values())), text, only_if_used=True))
        elif "labelIds" not in kinds:
            wanted = _label_path(split, stem, "labelIds", above)
            text = f"image without label ({wanted}){_hint(other_labels, (split, stem))}"
            problems.append(Problem(split, name, image, text, only_if_used=True))
        else:
            files_of = tuple(LabelFile(kind, kinds[kind]) for kind in _LABEL_ENDS if kind in kinds)
            key = (split, posixpath.basename(stem))  # panoptic maps lie in one folder, so that names must be unique
            maps = panoptic.get(key, {}) if bare[key] == 1 else {}
            files_of += tuple(LabelFile(kind, path) for kind, path in sorted(maps.items()))
            samples[split].append(Sample(split, stem, image, files_of))
    return Index({split: tuple(chosen) for split, chosen in samples.items()}, tuple(problems))


def completions(sample: Sample) -> tuple[LabelFile, ...]:
    """Return labelTrainIds, beside the sample's labelIds, where the source has none."""
    if any(label.kind == "labelTrainIds" for label in sample.labels):
        return ()
    above = sample.labels[0].path.rpartition(f"{_LABEL_FOLDER}/{sample.split}/")[0]
    return (LabelFile("labelTrainIds", _label_path(sample.split, sample.stem, "labelTrainIds", above)),)
