"""The cells of all samples in a temporary file: of a set of any size, few bytes a sample stay in memory."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from poisongen.scanning.cells import KINDS, Cells


class Spool(Sequence[Cells]):
    """A sequence of grids that grows at its end. Its file has no name, and is gone when the context is left."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed at the spool's own end
        self._ends = array("q", [0])
        self._columns = array("H")

    def add(self, cells: Cells) -> None:
        """Put a grid at the end."""
        data = np.ascontiguousarray(np.dstack([cells.looks, cells.classes])).tobytes()
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))
        self._columns.append(cells.classes.shape[1])

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._columns)

    @overload
    def __getitem__(self, at: int) -> Cells: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Cells]: ...
    def __getitem__(self, at: int | slice) -> Cells | Sequence[Cells]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        self._file.flush()
        start, end = self._ends[place], self._ends[place + 1]
        data = np.frombuffer(os.pread(self._file.fileno(), end - start, start), np.uint8)
        grid = data.reshape(-1, self._columns[place], KINDS + 1)
        return Cells(grid[..., :KINDS], np.ascontiguousarray(grid[..., KINDS]))

    def __iter__(self) -> Iterator[Cells]:
        return (self[at] for at in range(len(self)))
