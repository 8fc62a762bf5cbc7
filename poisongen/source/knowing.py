"""What reading a dataset's files takes where there is no recipe: its layout and its classes."""

from __future__ import annotations

from dataclasses import dataclass

from poisongen.datasets.base import ClassTable, Layout


@dataclass(frozen=True)
class Known:
    """A dataset's layout and classes; a recipe's rules have both as well."""

    layout: Layout
    classes: ClassTable
