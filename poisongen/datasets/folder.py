"""Any dataset as two folders: images/SPLIT/NAME.png|jpg, masks/SPLIT/NAME.png, and a small file of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import (
    Defaults,
    Index,
    LabelKind,
    Layout,
    Problem,
    Sample,
    id_fault,
    rewrite_ids,
)
from poisongen.datasets.class_files import CLASS_FILES, read_classes
from poisongen.datasets.label_checks import MAP_CHECK
from poisongen.datasets.lists import read_split_list
from poisongen.datasets.pairs import pair_folders
from poisongen.errors import DataError


def _scan(root: Path, files: Sequence[str]) -> Index:
    """Pair images/SPLIT with masks/SPLIT; without folders for splits, follow SPLIT.txt, or take all as train.

    Whether a text file of the root is a list of a split or a note shows only if that split is used.
    """
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
