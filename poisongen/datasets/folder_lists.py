"""The lists of a plain dataset whose classes.yaml names them: a sample on each line, or an image with its mask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import Index, LabelFile, Problem, Sample
from poisongen.datasets.class_places import MASK, FolderPlaces
from poisongen.datasets.lists import LARGEST_LIST
from poisongen.datasets.stems import IMAGE_ENDS, LABEL_ENDS
from poisongen.errors import DataError
from poisongen.files.documents import read_text

_FLAT = ""  # the word of a split in a tree that has no folders for splits


def find_lists(files: Sequence[str], places: FolderPlaces) -> dict[str, str]:
    """Return the lists that there are: the path of each by its split's name."""
    place, found = places.list_place, {}
    for path in files:
        start, _, end = path.rpartition(".")
        match = place.pattern.fullmatch(start) if f".{end.lower()}" in place.ends else None
        if match:
            word = match.groupdict().get("split", "train")
            found[places.names.get(word, word)] = path
    return found


def _lines(root: Path, path: str) -> tuple[list[str], str | None]:
    """Return the lines of a list that say something, and what is wrong with it as a whole.

    A list is opened because a file of the dataset says so: one that is a link to somewhere else is not.
    """
    if not (root / path).resolve().is_relative_to(root.resolve()):
        return [], "a link that leads out of the dataset; put the list itself there"
    try:
        text = read_text(root / path, LARGEST_LIST)
    except DataError as error:
        return [], error.problem
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")], None


def _pair(line: str) -> tuple[str, str] | None:
    """Return the image and the mask that a line names; None where it does not name two files."""
    parts = line.split("\t") if "\t" in line else line.split(",") if "," in line else line.split()
    if len(parts) != 2 or not all(part.strip() for part in parts):
        return None
    image, mask = (part.strip().removeprefix("./") for part in parts)
    return image, mask


def _start(path: str) -> str:
    """Return a path without its ending."""
    return re.sub(r"\.[^./]*$", "", path)


def split_pairs(root: Path, files: Sequence[str], places: FolderPlaces) -> Index:
    """Return the samples that lists of pairs name. Only files below the root are ever meant.

    An image that stands in two lists with two masks, and a mask of two images, are problems: what is written for one
    sample would change another.
    """
    there, lists = frozenset(files), find_lists(files, places)
    if not lists:
        raise DataError(root, f"there is no {places.lists}, which the file of classes says names the pairs")
    samples: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    mask_of: dict[str, str] = {}
    image_of: dict[str, str] = {}
    for split, path in sorted(lists.items()):
        chosen: dict[str, Sample] = {}

        def complain(text: str, name: str = "", split: str = split, path: str = path) -> None:
            problems.append(Problem(split, name, path, text, only_if_used=True))

        lines, fault = _lines(root, path)
        if fault:
            complain(fault)
        for line in lines:
            pair = _pair(line)
            if pair is None:
                complain(f"'{_short(line)}' is not an image and a mask with a tab between")
                continue
            image, mask = pair
            stem = _start(image)
            name = f"{split}/{stem}"
            gone = next((one for one in pair if one not in there), None)
            if gone is not None:
                complain(f"names '{_short(gone)}', and there is no such file below the root", name)
            elif not image.lower().endswith(IMAGE_ENDS) or not mask.lower().endswith(LABEL_ENDS):
                complain("poisongen reads images as PNG or JPEG and masks as PNG only; convert them", name)
            elif mask_of.setdefault(image, mask) != mask or image_of.setdefault(mask, image) != image:
                problems.append(Problem(split, name, path, f"'{_short(line)}' goes against another pair of the lists"))
            elif stem in chosen:
                complain(f"names '{_short(image)}' twice", name)
            else:
                chosen[stem] = Sample(split, stem, image, (LabelFile(MASK, mask),))
        samples[split] = tuple(chosen[stem] for stem in sorted(chosen))
    return Index(samples, tuple(problems))


def split_names(root: Path, files: Sequence[str], places: FolderPlaces, whole: Index) -> Index:
    """Spread the samples of a tree without folders for splits over the splits whose lists name them."""
    lists = find_lists(files, places)
    if not lists:
        raise DataError(root, f"there is no {places.lists}, which the file of classes says names the samples")
    known = {name: sample for sample in whole.samples.get(_FLAT, ()) for name in _names(sample)}
    lacking = {problem.sample.partition("/")[2]: problem for problem in whole.problems if problem.only_if_used}
    samples: dict[str, tuple[Sample, ...]] = {}
    problems = [problem for problem in whole.problems if not problem.only_if_used]
    for split, path in sorted(lists.items()):
        lines, fault = _lines(root, path)
        problems += [Problem(split, "", path, fault, only_if_used=True)] if fault else []
        chosen: dict[str, Sample] = {}
        for line in lines:
            word = _word(line, places)
            sample = known.get(word)
            if sample is None:
                text = f"names '{_short(word)}', which has no image or no mask"
                problem = lacking.get(word) or lacking.get(_start(word)) or Problem(split, "", path, text, True)
                problems.append(replace(problem, split=split, sample=f"{split}/{word}"))
            elif sample.stem in chosen:
                problems.append(Problem(split, "", path, f"names '{_short(word)}' twice", only_if_used=True))
            else:
                chosen[sample.stem] = replace(sample, split=split)
        samples[split] = tuple(chosen[stem] for stem in sorted(chosen))
    return Index(samples, tuple(problems))


def _word(line: str, places: FolderPlaces) -> str:
    """Return what a line of a list calls its sample."""
    return (line.split(maxsplit=1)[0] if places.first else line.strip()).removeprefix("./")


def _names(sample: Sample) -> Iterator[str]:
    """Yield what a list may call a sample: its name, with the image's ending, and the image's whole path."""
    end = sample.image[len(_start(sample.image)) :]
    yield from dict.fromkeys((sample.stem, sample.stem + end, sample.image))


def copied_list(
    root: Path, split: str, files: Sequence[str], samples: Sequence[Sample], places: FolderPlaces
) -> Mapping[str, bytes]:
    """Return the list of a split that holds just these samples, in the words of the split's own list."""
    path = find_lists(files, places).get(split)
    if path is None:
        return {}
    images = {sample.image for sample in samples}
    words = {name for sample in samples for name in _names(sample)}
    kept = []
    for line in _lines(root, path)[0]:
        pair = _pair(line) if places.pairs else None
        if (pair is not None and pair[0] in images) or (not places.pairs and _word(line, places) in words):
            kept.append(line)
    return {path: "".join(f"{line}\n" for line in kept).encode()}


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
