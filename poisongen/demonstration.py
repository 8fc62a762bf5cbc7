"""The demo: synthetic scenes, a poisoned dataset, its audit, a contact sheet and a report, from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisongen.auditing.auditor import AuditReport, audit
from poisongen.building.finished import BuildResult
from poisongen.building.run import build
from poisongen.errors import OutputError
from poisongen.files.inside import check_folder, remove_inside, rename_inside
from poisongen.files.store import check_name
from poisongen.parallel import job_count
from poisongen.previewing.previewer import preview
from poisongen.recipe.model import make_recipe
from poisongen.reporting.reporter import can_report, report
from poisongen.scenes import synth

SCENES = {"train": 24, "val": 8}
SIZE = (512, 256)  # width, height
RECIPE: Mapping[str, Any] = {
    "dataset": "cityscapes",
    "strategy": "nn",
    "trigger_size": 27,  # the paper's 55 px at 1024x512, for pictures of half that size
    "max_distance": 60,
    "rate": 0.25,
}


@dataclass(frozen=True)
class DemoResult:
    """Where the demo's pieces are, and what the build did. `page` is None where the report's libraries are missing."""

    clean: Path
    poisoned: BuildResult
    audit: AuditReport
    sheet: Path
    page: Path | None


def demo(out: Path | str = "demo", *, seed: int = 0, jobs: int | None = None, progress: bool = False) -> DemoResult:
    """Draw a small Cityscapes-like dataset, poison it with nearest-neighbour injection, audit and show it.

    Everything lies below `out`: clean/, poisoned/, sheet.png and, with jinja2 and matplotlib, report.html. A demo that
    was made there before is kept and finished; OutputError if `out` holds anything else.
    """
    folder = Path(out)
    known = {"clean", "clean.part", "poisoned", "sheet.png", "report.html"}
    strangers = sorted(entry.name for entry in folder.iterdir() if entry.name not in known) if folder.is_dir() else []
    if strangers or (folder.exists() and not folder.is_dir()):
        raise OutputError(f"--out: {folder} holds something else ({', '.join(strangers) or 'it is a file'})")
    if folder.is_dir():
        for name in ("clean", "clean.part", "poisoned"):
            check_folder(folder, name)
        for name in ("sheet.png", "report.html"):
            check_name(folder / name)
    recipe = make_recipe({**RECIPE, "seed": seed})
    clean, poisoned, sheet = folder / "clean", folder / "poisoned", folder / "sheet.png"
    if not clean.is_dir():
        unfinished = folder / "clean.part"  # renamed when it is whole, so that an interrupted demo starts afresh
        if folder.is_dir():
            remove_inside(folder, unfinished.name)
        synth(unfinished, splits=SCENES, size=SIZE, seed=seed, jobs=job_count(jobs), progress=progress)
        rename_inside(folder, unfinished.name, clean.name)
    result = build(recipe, clean, poisoned, jobs=jobs, progress=progress)
    verdict = audit(poisoned, clean, jobs=jobs, progress=progress)
    preview(recipe, clean, sheet, samples=5, jobs=jobs, progress=progress)
    page = folder / "report.html" if can_report() else None
    if page is not None:
        report(poisoned, clean, page, audited=verdict, jobs=jobs, progress=progress)
    return DemoResult(clean, result, verdict, sheet, page)
