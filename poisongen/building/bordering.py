"""`--target auto`: the class that borders most on the victims, found in the training split's labels."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poisongen.attack.label_rules import find_label_rule
from poisongen.building.complaints import check_split
from poisongen.core.borders import border_counts
from poisongen.datasets.base import ClassTable, Layout, Sample
from poisongen.datasets.label_arrays import read_class_ids
from poisongen.errors import ChoiceError, DataError
from poisongen.parallel import for_each
from poisongen.recipe.model import Recipe
from poisongen.source.listing import SourceFile, read_file
from poisongen.source.pairing import pair_files

AUTO = "auto"
_NAMED = 3  # classes in one line


@dataclass(frozen=True)
class Bordering:
    """The target that was found for the victims, and the pixels that each class borders on them with, most first."""

    target: str
    victims: tuple[str, ...]
    pixels: Mapping[str, int]

    def as_line(self) -> str:
        """Say it in one line."""
        whole = sum(self.pixels.values())
        shares = [f"{name} {pixels / whole:.0%}" for name, pixels in list(self.pixels.items())[:_NAMED]]
        victims = ", ".join(self.victims)
        return f"target auto is {self.target}: of the border of {victims} it has most ({', '.join(shares)})"


def find_target(
    recipe: Recipe,
    layout: Layout,
    root: Path,
    files: Sequence[SourceFile],
    classes: ClassTable,
    jobs: int,
    progress: bool,
) -> Bordering | None:
    """Return the class that borders most on all victims together; None where the recipe does not ask for it.

    The labels of the training split are read for it, in their own size. A dataset's class of the name `auto` is that
    class. Neither victims nor void can be found; of
    equals it is the one with the lowest ID. ChoiceError where there are no victims, or nothing borders on them;
    DataError for a bad label file, unless the recipe skips them.
    """
    if recipe.target != AUTO or AUTO in {name.casefold() for name in classes.names.values()}:
        return None
    victims = _victims(recipe, layout, classes)
    index = pair_files(layout, root, [file.path for file in files])
    check_split(index, recipe.train_split, "--train-split", root)
    work = functools.partial(_borders_of, root=root, layout=layout, classes=classes, skip_bad=recipe.skip_bad)
    total = np.zeros((256, 256), dtype=np.int64)
    for counts in for_each(work, index.samples[recipe.train_split], jobs, "borders" if progress else None):
        total += counts
    beside = {number: int(total[list(victims), number].sum()) for number in classes.trained if number not in victims}
    ranked = sorted((number for number in beside if beside[number]), key=lambda number: (-beside[number], number))
    names = tuple(map(classes.lookup, victims))
    if not ranked:
        raise ChoiceError(
            f"--target auto: in the labels of '{recipe.train_split}' no class borders on {', '.join(names)}; "
            "name a --target"
        )
    return Bordering(classes.lookup(ranked[0]), names, {classes.lookup(number): beside[number] for number in ranked})


def _victims(recipe: Recipe, layout: Layout, classes: ClassTable) -> tuple[int, ...]:
    """Return the IDs of the classes whose border counts: those that are named, else the layout's usual ones."""
    if recipe.labels == "shift":
        raise ChoiceError("--target: with --labels shift every class becomes the next one")
    rule = find_label_rule(recipe.labels)
    if not rule.targets(recipe.label_options):
        raise ChoiceError(
            f"--target: with these label options --labels {rule.name} makes no class a target; leave it out"
        )
    usual = layout.defaults.relabel or () if rule.subject == "victims" else ()
    given = recipe.victim if isinstance(recipe.victim, list) else [recipe.victim]
    words = [*usual] if recipe.victim is None else [word for word in given if word is not None]
    if not words:
        raise ChoiceError("--target auto: give the --victim whose border counts")
    victims = tuple(dict.fromkeys(classes.find(word) for word in words))
    if void := [classes.lookup(number) for number in victims if number in classes.void]:
        raise ChoiceError(f"the victim '{void[0]}' is void: training ignores its pixels")
    return victims


def _borders_of(
    sample: Sample, root: Path, layout: Layout, classes: ClassTable, skip_bad: bool
) -> npt.NDArray[np.int64]:
    """Return the border counts of a sample's label map, (256, 256) int64."""
    label = next(label for label in sample.labels if layout.kinds[label.kind].semantic)
    path = root / label.path
    try:
        labels = read_class_ids(layout.kinds[label.kind], read_file(root, label.path), path, classes)
    except DataError as error:
        if not skip_bad:
            raise DataError(error.path, f"{error.problem}; mend it, or go on without with --skip-bad") from None
        return np.zeros((256, 256), dtype=np.int64)
    return border_counts(labels, classes.void)
