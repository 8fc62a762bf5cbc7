"""Poisoned datasets for semantic segmentation: the Influencer Backdoor Attack, offline and recorded.

Everything that the command line does is a function here: `build`, `plan_build`, `audit`, `restore`, `preview`,
`synth`, `demo`, and `make_recipe` for the choices that they take. They are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poisongen.auditor import AuditReport, audit
    from poisongen.builder import BuildResult, build, plan_build
    from poisongen.demonstration import demo
    from poisongen.errors import ChoiceError, DataError, OutputError, PoisongenError
    from poisongen.previewer import preview
    from poisongen.recipe import Recipe, make_recipe, read_recipe_file
    from poisongen.restorer import RestoreResult, restore
    from poisongen.scenes import synth

__version__ = "0.1.0"

_HOME = {
    "AuditReport": "auditor",
    "BuildResult": "builder",
    "ChoiceError": "errors",
    "DataError": "errors",
    "OutputError": "errors",
    "PoisongenError": "errors",
    "Recipe": "recipe",
    "RestoreResult": "restorer",
    "audit": "auditor",
    "build": "builder",
    "demo": "demonstration",
    "make_recipe": "recipe",
    "plan_build": "builder",
    "preview": "previewer",
    "read_recipe_file": "recipe",
    "restore": "restorer",
    "synth": "scenes",
}

__all__ = [
    "AuditReport",
    "BuildResult",
    "ChoiceError",
    "DataError",
    "OutputError",
    "PoisongenError",
    "Recipe",
    "RestoreResult",
    "audit",
    "build",
    "demo",
    "make_recipe",
    "plan_build",
    "preview",
    "read_recipe_file",
    "restore",
    "synth",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use, so that importing the package stays quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'poisongen' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"poisongen.{_HOME[name]}"), name)
    globals()[name] = value
    return value
