"""What a dataset layout is: classes, samples, label files and how each kind of label file is rewritten."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.core.labels import Change, class_counts, class_mask, lay_over
from poisongen.datasets.label_checks import LabelCheck
from poisongen.errors import ChoiceError
from poisongen.printing import number_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ClassTable:
    """A dataset's classes: `names` maps every legal raw ID to its name, `void` are the IDs that training ignores.

    `void_id` is the one that is written where a pixel is to become void, None where the dataset has no void.
    `colours` (RGB) serve pictures only.
    """

    names: Mapping[int, str]
    void: frozenset[int]
    void_id: int | None
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def trained(self) -> tuple[int, ...]:
        """The IDs of the classes that training uses, ascending."""
        return tuple(sorted(set(self.names) - self.void))

    def find(self, name: str | int) -> int:
        """Return the raw ID of a class given by name or ID; ChoiceError with the nearest names if there is none."""
        text = str(name).strip()
        by_name = {known.casefold(): number for number, known in self.names.items()}
        if text.casefold() in by_name:
            return by_name[text.casefold()]
        if text.isdecimal() and int(text) in self.names:
            return int(text)
        near = difflib.get_close_matches(text.casefold(), list(by_name), n=3)
        known = ", ".join(self.names[number] for number in self.trained)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the classes are {known}"
        raise ChoiceError(f"no class '{text}' in this dataset; {hint}")

    def lookup(self, number: int) -> str:
        """Return a class's name by its raw ID."""
        return self.names[number]


@dataclass(frozen=True)
class LabelFile:
    """One label file of a sample: its kind (the file's own word) and its path below the root, with '/'."""

    kind: str
    path: str


@dataclass(frozen=True)
class Sample:
    """One image with all of its label files, named split/stem. Paths are below the root, with '/'."""

    split: str
    stem: str
    image: str
    labels: tuple[LabelFile, ...]

    @property
    def name(self) -> str:
        """The sample's name in manifests: split/stem."""
        return f"{self.split}/{self.stem}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The image's path and those of all label files."""
        return (self.image, *(label.path for label in self.labels))


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file, found before any pixel work. `split` is where it belongs, '' if unknown.

    `only_if_used` marks what matters only if the split is built from (test images without labels, say). `dead_link` is
    the path of the link to nothing that is behind it; `traceless` if without its links nothing speaks of the sample.
    """

    split: str
    sample: str
    path: str
    text: str
    only_if_used: bool = False
    dead_link: str = ""
    traceless: bool = False


@dataclass(frozen=True)
class Index:
    """The samples of every split, sorted by name, and what was found wrong while pairing files."""

    samples: Mapping[str, tuple[Sample, ...]]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class LabelKind:
    """How one kind of label file is checked, rewritten and, where the source lacks it, derived.

    `fault(array, classes)` returns what is wrong with a decoded label file, or None. `rewrite(array, change,
    classes)` returns the file's new array, equal to the old one wherever the change says nothing. `check` is how audit
    judges the file: it is written by the kind's definition, without `rewrite`, and no kind goes without. `semantic`
    marks kinds that hold raw class IDs; a sample's first semantic file is its label map. `derive(ids, classes)`
    makes the file from the label map. `flat` is false for pictures with colour channels. `objects(array)` numbers the
    objects that the file tells apart, (H, W) int32, 0 for none. `ids(array, classes)` reads the raw class IDs from a
    semantic kind that may code them otherwise (by colours), None where the array is the map. For kinds that are no
    picture (`document` true), fault and rewrite work on the file's bytes, and `resize(bytes, width, height)` scales it.
    `derived` are files that scripts make of the others: one that does not agree with them is something else by that
    name, and no label file.
    """

    fault: Callable[[Any, ClassTable], str | None]
    rewrite: Callable[[Any, Change, ClassTable], Any]
    check: LabelCheck
    semantic: bool = False
    derive: Callable[[Array, ClassTable], Array] | None = None
    document: bool = False
    flat: bool = True
    objects: Callable[[Array], Array] | None = None
    resize: Callable[[bytes, int, int], bytes] | None = None
    ids: Callable[[Array, ClassTable], Array] | None = None
    derived: bool = False


@dataclass(frozen=True)
class LabelTable:
    """A file that tells of the label files of many samples, and follows from them: a panoptic JSON, say.

    `path` is below the root, `split` that of its samples, `kind` that of the label file of each; `name_of(sample)` is
    what it calls a sample's. `names(data)` are those that it holds, None where it is no such table.
    `tell(array)` is what it says of one decoded label file, as plain JSON; `rewrite(data, told)` returns the table with
    what is told of some names in place of what stood there, None where a name is to be no part of it any more.
    `fault(data, source, now)` is audit's: what is wrong with OUT's table, by the definition and without `tell`; `now`
    are the label files of the names that were changed, None for those without, and `source` the source's table, if it
    is known.
    """

    path: str
    split: str
    kind: str
    name_of: Callable[[Sample], str]
    names: Callable[[bytes], frozenset[str] | None]
    tell: Callable[[Array], Any]
    rewrite: Callable[[bytes, Mapping[str, Any]], bytes]
    fault: Callable[[bytes, bytes | None, Mapping[str, Array | None]], str | None]


@dataclass(frozen=True)
class Defaults:
    """What a layout's builds use unless told otherwise; None: the user has to give it."""

    trigger_size: int | None
    max_distance: float | None
    relabel: Mapping[str, str] | None
    train_split: str = "train"
    test_split: str = "val"


@dataclass(frozen=True)
class Layout:
    """One way of laying a dataset out on disk. A new layout is one module of this package with a `LAYOUT`.

    `scan(root, files)` pairs the given relative paths (all files below the root, sorted) into samples; it raises
    DataError where the folder is no such dataset. `classes(root)` reads the class table. `completions(sample)`
    names label files that build writes where the source has none. `split_files(root, split, files, samples)` returns
    further files that a copy of a split with just these samples needs to stand on its own (split lists).
    `shared` are files of the root that every such copy needs. `environment` and `usual_root` are where the dataset
    is looked for. `needs` says in words which files there must be, and which others are rewritten with them.
    `tables(files)` are the files of the root that follow from the label files of many samples. `above(files)` is what
    OUT puts before every path of the source, '' or ending in '/': one of `above_all`.
    """

    name: str
    title: str
    how_to_get: str
    environment: str | None
    usual_root: str | None
    defaults: Defaults
    kinds: Mapping[str, LabelKind]
    classes: Callable[[Path], ClassTable]
    scan: Callable[[Path, Sequence[str]], Index]
    shared: tuple[str, ...] = ()
    completions: Callable[[Sample], tuple[LabelFile, ...]] = lambda sample: ()
    split_files: Callable[[Path, str, Sequence[str], Sequence[Sample]], Mapping[str, bytes]] = lambda *_: {}
    needs: str = ""
    tables: Callable[[Sequence[str]], Sequence[LabelTable]] = lambda files: ()
    above: Callable[[Sequence[str]], str] = lambda files: ""
    above_all: tuple[str, ...] = ("",)


def id_fault(array: Array, legal: Sequence[int] | frozenset[int], what: str) -> str | None:
    """Return what is wrong with a map of 8-bit IDs: its type, or the first ID that is not legal."""
    if array.dtype != np.uint8:
        bits = array.dtype.itemsize * 8
        return f"a label map must be 8-bit, this one is {bits}-bit; save its class IDs with 8 bits for each pixel"
    counts = class_counts(array)
    for number in np.flatnonzero(counts):
        if int(number) not in legal:
            begin = f"; that table begins at {min(legal)}, give 0 a line as well" if number == 0 else ""
            return f"ID {number} is outside the table of {what} ({number_of(int(counts[number]), 'pixel')}){begin}"
    return None


def rewrite_ids(array: Array, change: Change, classes: ClassTable) -> Array:
    """Rewrite a map of raw class IDs: random pixels as decided, all else as the label rule has it for this map."""
    out = change.relabelling.apply(array)
    if change.random.any():
        out = np.asarray(lay_over(out, change.after, change.random), np.uint8)
    return out


def table_lookup(table: Mapping[int, int], dtype: npt.DTypeLike, missing: int = 0) -> Array:
    """Return a 256-entry array that maps raw IDs to other numbers; unknown IDs map to `missing`."""
    out = np.full(256, missing, dtype=dtype)
    for number, value in table.items():
        out[number] = value
    return out


def victim_mask(maps: Sequence[Array], victims: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Tell which pixels are a victim in any of a sample's semantic maps, (H, W) bool."""
    mask = class_mask(maps[0], victims)
    for other in maps[1:]:
        mask |= class_mask(other, victims)
    return mask
