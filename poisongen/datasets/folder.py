"""Any dataset with a small file of classes: images/SPLIT and masks/SPLIT, or what that file says of where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import (
    Defaults,
    Index,
    LabelKind,
    Layout,
    Problem,
    Sample,
)
from poisongen.datasets.class_files import CLASS_FILES, read_classes, read_places
from poisongen.datasets.class_places import MASK, FolderPlaces
from poisongen.datasets.colour_maps import COLOUR_MAP_CHECK, ids_of_map, map_fault, rewrite_map
from poisongen.datasets.folder_lists import copied_list, split_names, split_pairs
from poisongen.datasets.lists import read_split_list
from poisongen.datasets.pairs import pair_folders
from poisongen.datasets.tree import IMAGE, pair_tree, sort_files
from poisongen.errors import DataError


def _scan(root: Path, files: Sequence[str]) -> Index:
    """Pair images/SPLIT with masks/SPLIT; without folders for splits, follow SPLIT.txt, or take all as train.

    Whether a text file of the root is a list of a split or a note shows only if that split is used. Where the classes
    file says where images and masks lie, that is what counts.
    """
    if (places := read_places(root)) is not None:
        return _scan_places(root, files, places)
    inside = [path for path in files if path.startswith("images/")]
    splits = {path.split("/")[1] for path in inside if path.count("/") >= 2}
    if splits:
        return pair_folders(files, {split: (f"images/{split}", f"masks/{split}") for split in splits}, kind="mask")
    if not inside:
        raise DataError(root, "there is no folder images/ with pictures; this layout is images/ and masks/")
    index = pair_folders(files, {"train": ("images", "masks")}, kind="mask")
    lists = [path for path in files if "/" not in path and path.endswith(".txt") and path not in CLASS_FILES]
    return _split_by_lists(root, lists, index) if lists else index


def _scan_places(root: Path, files: Sequence[str], places: FolderPlaces) -> Index:
    """Pair images and masks by the templates of the classes file, or by the lists that it names."""
    if places.pairs:
        return split_pairs(root, files, places)
    index = pair_tree(sort_files(files, places.places), places.places, MASK, places.names)
    if not index.samples:
        template = places.places[IMAGE].template
        raise DataError(root, f"there is no picture at {template}, where the file of classes says that images lie")
    if places.lists:
        return split_names(root, files, places, index)
    if "" in index.samples:  # neither folders nor lists: all of it is for training
        named = tuple(replace(sample, split="train") for sample in index.samples[""])
        problems = tuple(replace(one, split="train", sample=f"train{one.sample}") for one in index.problems)
        return Index({"train": named}, problems)
    return index


def _split_by_lists(root: Path, lists: Sequence[str], index: Index) -> Index:
    """Spread the samples of a flat folder over the splits that its lists name."""
    by_stem = {sample.stem: sample for sample in index.samples["train"]}
    lacking = {problem.sample.partition("/")[2]: problem for problem in index.problems if problem.only_if_used}
    samples: dict[str, tuple[Sample, ...]] = {}
    problems = [problem for problem in index.problems if not problem.only_if_used]
    for path in lists:
        split = path.removesuffix(".txt")
        stems, faults = read_split_list(root, path)
        problems += [Problem(split, "", path, fault, only_if_used=True) for fault in faults]
        for stem in stems:
            if stem not in by_stem:
                unpaired = Problem(split, "", path, f"names '{stem}', which has no image or no mask", only_if_used=True)
                problems.append(replace(lacking.get(stem, unpaired), split=split, sample=f"{split}/{stem}"))
        samples[split] = tuple(replace(by_stem[stem], split=split) for stem in sorted(stems) if stem in by_stem)
    if not any(samples.values()) and "train" not in samples:  # notes and licences, but no list of samples
        samples["train"] = index.samples["train"]
        problems += lacking.values()
    return Index(samples, tuple(problems))


def _split_files(root: Path, split: str, files: Sequence[str], samples: Sequence[Sample]) -> Mapping[str, bytes]:
    """The list of a split of a flat folder that holds just these samples; none where splits are folders."""
    if (places := read_places(root)) is not None:
        return copied_list(root, split, files, samples, places) if places.lists else {}
    if f"{split}.txt" not in files or any(sample.image.count("/") > 1 for sample in samples):
        return {}
    return {f"{split}.txt": "".join(f"{sample.stem}\n" for sample in samples).encode()}


LAYOUT = Layout(
    name="folder",
    title="any dataset as images/SPLIT and masks/SPLIT, or laid out as its classes.yaml says",
    how_to_get="lay it out as images/SPLIT/NAME.png, masks/SPLIT/NAME.png and classes.yaml",
    environment=None,
    usual_root=None,
    defaults=Defaults(trigger_size=None, max_distance=None, relabel=None),
    kinds={
        "mask": LabelKind(fault=map_fault, rewrite=rewrite_map, check=COLOUR_MAP_CHECK, semantic=True, ids=ids_of_map)
    },
    classes=read_classes,
    scan=_scan,
    shared=CLASS_FILES,
    split_files=_split_files,
    needs="classes.yaml, .json or .txt; images/SPLIT/NAME.png or .jpg and masks/SPLIT/NAME.png, or images/ and masks/ "
    "with SPLIT.txt, or what classes.yaml says (images, masks, lists, pairs, splits)",
)
