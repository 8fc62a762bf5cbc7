"""Train IDs: a dataset's trained classes as 0..K-1, everything void as 255."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.datasets.base import ClassTable, table_lookup
from poisongen.errors import ChoiceError
from poisongen.victim.metrics import VOID


@dataclass(frozen=True)
class TrainClasses:
    """The classes that a model predicts: raw IDs and names, in the order of their train IDs.

    For Cityscapes these are the official 19 train IDs, since its trained classes ascend in both numberings.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def from_raw(self) -> npt.NDArray[np.uint8]:
        """A 256-entry array from raw IDs to train IDs, 255 for all others."""
        return np.asarray(table_lookup({raw: index for index, raw in enumerate(self.ids)}, np.uint8, missing=VOID))

    def index(self, name: str) -> int:
        """Return the train ID of a class by its name; ChoiceError if the model has no such class."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ChoiceError(f"the class '{name}' is not among those trained: {', '.join(self.names)}") from None

    def as_data(self) -> dict[str, Any]:
        """Return the table as plain data, for checkpoints."""
        return {"ids": list(self.ids), "names": list(self.names)}


def train_classes(table: ClassTable) -> TrainClasses:
    """Return the trained classes of a dataset."""
    return TrainClasses(table.trained, tuple(table.names[number] for number in table.trained))


def classes_from_data(data: Mapping[str, Any]) -> TrainClasses:
    """Return a table from a checkpoint's plain data; ValueError or KeyError where it is none."""
    ids, names = tuple(int(number) for number in data["ids"]), tuple(str(name) for name in data["names"])
    if not ids or len(ids) != len(names):
        raise ValueError("class IDs and names differ in number")
    return TrainClasses(ids, names)
