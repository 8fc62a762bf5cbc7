"""Poisoned datasets for semantic segmentation: the Influencer Backdoor Attack, offline and recorded.

Everything that the command line does is a function here: `build`, `plan_build`, `audit`, `restore`, `preview`,
`report`, `stats`, `scan`, `export_webdataset`, `synth`, `demo`, `train`, `evaluate`, `run_sweep`; `load` reads what was
built, and `make_recipe` and `make_settings` are for the choices that they take. They are loaded when they are first
used; those that need torch say so if it is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from poisongen.version import __version__

if TYPE_CHECKING:
    from poisongen.auditing.auditor import AuditReport, audit
    from poisongen.building.finished import BuildResult
    from poisongen.building.run import build, plan_build
    from poisongen.demonstration import demo
    from poisongen.errors import ChoiceError, DataError, OutputError, PoisongenError
    from poisongen.exporting.webdataset import ExportResult, export_webdataset
    from poisongen.loading.dataset import PoisonedDataset, load
    from poisongen.previewing.previewer import preview
    from poisongen.recipe.model import Recipe, make_recipe, read_recipe_file
    from poisongen.reporting.reporter import ReportResult, report
    from poisongen.scanning.findings import Findings
    from poisongen.scanning.scanner import ScanResult, scan
    from poisongen.scenes import synth
    from poisongen.statistics.statistician import DatasetStats, stats
    from poisongen.undo.restorer import RestoreResult, restore
    from poisongen.victim.evaluation import evaluate
    from poisongen.victim.run import TrainResult
    from poisongen.victim.settings import make_settings
    from poisongen.victim.sweep import CellResult, run_sweep
    from poisongen.victim.training import train

HOME = {
    "AuditReport": "auditing.auditor",
    "BuildResult": "building.finished",
    "CellResult": "victim.sweep",
    "ChoiceError": "errors",
    "DataError": "errors",
    "DatasetStats": "statistics.statistician",
    "ExportResult": "exporting.webdataset",
    "Findings": "scanning.findings",
    "OutputError": "errors",
    "PoisonedDataset": "loading.dataset",
    "PoisongenError": "errors",
    "Recipe": "recipe.model",
    "ReportResult": "reporting.reporter",
    "RestoreResult": "undo.restorer",
    "ScanResult": "scanning.scanner",
    "TrainResult": "victim.run",
    "audit": "auditing.auditor",
    "build": "building.run",
    "demo": "demonstration",
    "evaluate": "victim.evaluation",
    "export_webdataset": "exporting.webdataset",
    "load": "loading.dataset",
    "make_recipe": "recipe.model",
    "make_settings": "victim.settings",
    "plan_build": "building.run",
    "preview": "previewing.previewer",
    "read_recipe_file": "recipe.model",
    "report": "reporting.reporter",
    "restore": "undo.restorer",
    "run_sweep": "victim.sweep",
    "scan": "scanning.scanner",
    "stats": "statistics.statistician",
    "synth": "scenes",
    "train": "victim.training",
}
_NEED_TORCH = ("victim.run", "victim.training")

__all__ = [
    "AuditReport",
    "BuildResult",
    "CellResult",
    "ChoiceError",
    "DataError",
    "DatasetStats",
    "ExportResult",
    "Findings",
    "OutputError",
    "PoisonedDataset",
    "PoisongenError",
    "Recipe",
    "ReportResult",
    "RestoreResult",
    "ScanResult",
    "TrainResult",
    "__version__",
    "audit",
    "build",
    "demo",
    "evaluate",
    "export_webdataset",
    "load",
    "make_recipe",
    "make_settings",
    "plan_build",
    "preview",
    "read_recipe_file",
    "report",
    "restore",
    "run_sweep",
    "scan",
    "stats",
    "synth",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use, so that importing the package stays quick."""
    if name not in HOME:
        raise AttributeError(f"module 'poisongen' has no attribute '{name}'")
    if HOME[name] in _NEED_TORCH:
        importlib.import_module("poisongen.victim.needs_torch").require_torch()
    value = getattr(importlib.import_module(f"poisongen.{HOME[name]}"), name)
    globals()[name] = value
    return value
