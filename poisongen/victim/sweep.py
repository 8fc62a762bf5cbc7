"""Running a sweep: build, train and evaluate each cell once, whatever happens to the others."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from poisongen.builder import build, prepare
from poisongen.datasets import find_layout
from poisongen.documents import parse_json
from poisongen.errors import ChoiceError, PoisongenError
from poisongen.files.inside import check_file, check_folder, make_folder
from poisongen.files.store import write_whole
from poisongen.source import find_root
from poisongen.victim.needs_torch import require_torch
from poisongen.victim.run_log import disk_errors, speaker
from poisongen.victim.sweep_plan import Cell, Sweep, cell_settings, read_sweep
from poisongen.victim.sweep_table import write_tables

BUILDS, CELLS, REPORT = "builds", "cells", "report.json"


@dataclass(frozen=True)
class CellResult:
    """What became of a cell: `done` with its report, `failed` with the reason, or `busy` in another process."""

    cell: Cell
    state: str
    report: Mapping[str, Any] | None = None
    reason: str = ""


def run_sweep(
    file: Path | str,
    out: Path | str,
    *,
    device: str | None = None,
    cache: Any = None,
    jobs: int | None = None,
    progress: bool = False,
    only: Callable[[Cell], bool] | None = None,
) -> list[CellResult]:
    """Carry out a sweep file and write its tables and plots to `out`.

    `out` gets builds/ (their clean files are links, so they share them), cells/ (one run and one report each) and
    table.csv, table.md, table.json and the plots. Finished cells are not done again, interrupted ones go on, and a
    failed one does not stop the rest. Several processes may work on one sweep: each takes what no other has.
    """
    sweep, out = read_sweep(Path(file)), Path(out)
    require_torch()
    say = speaker(progress)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    results = []
    chosen = [cell for cell in sweep.cells if only is None or only(cell)]
    for number, cell in enumerate(chosen, 1):
        say(f"[{number}/{len(chosen)}] {cell.label}")
        result = _run_cell(sweep, cell, out, device, cache, jobs, progress)
        results.append(result)
        if result.state != "done":
            say(f"{cell.label}: {result.state} {result.reason}")
        write_tables(sweep.keys, _finished(sweep, out), _failures(results), out)
    return results


def _finished(sweep: Sweep, out: Path) -> list[tuple[Cell, Mapping[str, Any]]]:
    """Return every finished cell with its report, whichever process did it."""
    paths = {cell.label: out / CELLS / cell.label / REPORT for cell in sweep.cells}
    return [(cell, parse_json(paths[cell.label].read_text())) for cell in sweep.cells if paths[cell.label].is_file()]


def _failures(results: list[CellResult]) -> list[tuple[Cell, str]]:
    return [(result.cell, result.reason) for result in results if result.state == "failed"]


def _run_cell(
    sweep: Sweep, cell: Cell, out: Path, device: str | None, cache: Any, jobs: int | None, progress: bool
) -> CellResult:
    folder = out / CELLS / cell.label
    if (folder / REPORT).is_file():
        return CellResult(cell, "done", parse_json((folder / REPORT).read_text()))
    make_folder(out, f"{CELLS}/{cell.label}")  # no part of it a link to elsewhere
    check_file(folder, "lock")
    check_folder(folder, "run")
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return CellResult(cell, "busy", reason="(another process has it)")
    try:
        report = _do_cell(sweep, cell, out, folder, device, cache, jobs, progress)
    except PoisongenError as error:
        return CellResult(cell, "failed", reason=str(error))
    except Exception as error:  # one cell's fault, whatever it is, must not cost the others
        write_whole(folder / "traceback.txt", traceback.format_exc().encode())
        return CellResult(cell, "failed", reason=f"{type(error).__name__}: {error} ({folder / 'traceback.txt'})")
    finally:
        lock.release()
    return CellResult(cell, "done", report)


def _do_cell(
    sweep: Sweep,
    cell: Cell,
    out: Path,
    folder: Path,
    device: str | None,
    cache: Any,
    jobs: int | None,
    progress: bool,
) -> dict[str, Any]:
    """Build, train, evaluate; the report is written last, so that it says that the cell is finished."""
    from poisongen.victim.evaluation import evaluate
    from poisongen.victim.training import train

    own = None if cell.recipe is None else _build(sweep, cell.recipe, cell.seed, out, jobs, progress)
    common = None
    if sweep.test_on is not None or own is None:
        common = _build(sweep, _test_recipe(sweep, cell), cell.seed, out, jobs, progress)
    clean_root = find_root(find_layout(sweep.dataset), sweep.root)
    result = train(
        own or clean_root,
        folder / "run",
        cell_settings(cell),
        layout=sweep.dataset,
        resume=True,
        cache=cache,
        device=device,
        jobs=jobs,
        progress=progress,
    )
    tested = common or own
    assert tested is not None  # noqa: S101
    report = {"cell": dict(cell.shown), "seed": cell.seed, "training": dict(result.last)}
    report["common"] = evaluate(
        result.checkpoint, tested, distances=sweep.distances, device=device, jobs=jobs, progress=progress
    )
    if own is None or own == tested:
        report["own"] = report["common"] if own is not None else None
    else:
        report["own"] = evaluate(result.checkpoint, own, device=device, jobs=jobs, progress=progress)
    text = json.dumps(report, allow_nan=False)
    write_whole(folder / REPORT, text.encode())
    plain: dict[str, Any] = json.loads(text)
    return plain


def _test_recipe(sweep: Sweep, cell: Cell) -> dict[str, Any]:
    """Return the recipe of the build that every cell is tested on; without `test_on`, that of the first grid cell."""
    base = cell.recipe or next(other.recipe for other in sweep.cells if other.recipe is not None)
    if sweep.test_on is None:
        return dict(base)
    kept = {key: value for key, value in base.items() if key not in _PLACEMENT}
    return {key: value for key, value in {**kept, **sweep.test_on}.items() if value is not None}


_PLACEMENT = ("strategy", "pick", "min_distance", "max_distance", "prl")
"""What the common test build does not take from a cell: where triggers lie, and random training labels."""


def _build(sweep: Sweep, recipe: Mapping[str, Any], seed: int, out: Path, jobs: int | None, progress: bool) -> Path:
    """Build a recipe once; return its folder."""
    choices = {**recipe, "seed": seed}
    settled = prepare(choices, sweep.root).rules.recipe
    folder = out / BUILDS / f"{settled.dataset}-{settled.strategy}-{settled.fingerprint()[:8]}"
    make_folder(out, BUILDS)
    check_folder(out, f"{BUILDS}/{folder.name}")
    check_file(out, f"{BUILDS}/{folder.name}.lock")
    lock = FileLock(f"{folder}.lock")
    with lock:
        build(choices, sweep.root, folder, jobs=jobs, progress=progress)
    return folder


def default_out(file: Path) -> Path:
    """Return runs/NAME for a sweep file NAME.yaml; ChoiceError if the file is not there."""
    if not file.is_file():
        raise ChoiceError(f"{file}: no such sweep file")
    return Path("runs") / file.stem
