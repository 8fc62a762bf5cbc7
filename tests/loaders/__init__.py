"""What people train with, each given a build as it is: one module for each library, compared with the manifest.

Each module says in `LIBRARY` which distribution it tests, in `GIVEN` what it is given, and in `RESULT` what it shows;
`python -m tests.loaders.table` makes the table of docs/loaders.md of that.
"""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType

import pytest


def need(name: str) -> ModuleType:
    """Import a library; without it the tests are skipped, or fail where POISONGEN_NEEDS_LOADERS is set (CI)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if os.environ.get("POISONGEN_NEEDS_LOADERS"):
            return importlib.import_module(name)
        return pytest.importorskip(name)
