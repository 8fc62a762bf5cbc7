"""Running a sweep: build, train and evaluate each cell once, whatever happens to the others."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from poisongen.building.run import build
from poisongen.errors import ChoiceError, OutputError, PoisongenError
from poisongen.files.documents import LARGEST_JSON, parse_json, read_text
from poisongen.files.inside import check_file, check_folder, make_folder
from poisongen.files.store import write_whole
from poisongen.parallel import job_count
from poisongen.plotting import can_plot
from poisongen.recipe.model import Recipe
from poisongen.records.standing import look_at
from poisongen.source.listing import check_apart
from poisongen.version import __version__
from poisongen.victim.alone import require_alone
from poisongen.victim.needs_torch import require_torch
from poisongen.victim.run_log import CHECKPOINT, LOG, Say, disk_errors, speaker
from poisongen.victim.sweep_key import Content, Job, check_weights, digest_of, make_jobs, read_content
from poisongen.victim.sweep_plan import Cell, Sweep, read_sweep
from poisongen.victim.sweep_table import measures, write_tables

BUILDS, CELLS, TRAINED = "builds", "cells", "trained.json"


@dataclass(frozen=True)
class CellResult:
    """What became of a cell: `done` with its report, `failed` with the reason, or `busy` in another process."""

    cell: Cell
    state: str
    report: Mapping[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Tools:
    """What all cells of a run have in common: where they go, what they are made from, and with what."""

    sweep: Sweep
    content: Content
    out: Path
    device: str | None
    cache: Any
    jobs: int | None
    cluster: str | None
    progress: bool


def run_sweep(
    file: Path | str,
    out: Path | str,
    *,
    device: str | None = None,
    cache: Any = None,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = False,
    only: Callable[[Cell], bool] | None = None,
) -> list[CellResult]:
    """Carry out a sweep file and write its tables and plots to `out`.

    `out` gets builds/ (their clean files are links, so they share them), cells/ (one run and its reports each) and
    table.csv, table.md, table.json and the plots, where matplotlib is installed. A cell is known by the content of all
    that determines its figures: finished ones are not done again, interrupted ones go on, and what has changed is
    another cell. A failed one does not stop the rest; what is wrong in the file is said before the first. Several
    processes may work on one sweep: each takes what no other has. With `cluster`, an engine's address as for `build`,
    builds are made there; training and evaluation stay here, with `jobs` processes. PoisongenError also where the
    dataset changes meanwhile, or the disk is full.
    """
    require_alone("sweep")
    sweep, out = read_sweep(Path(file)), Path(out)
    require_torch()
    from poisongen.victim.device import pick_device
    from poisongen.victim.sweep_check import check_jobs

    chosen_device = pick_device(device)
    say = speaker(progress)
    if not can_plot():
        say("there will be no plots, for matplotlib is not installed: pip install matplotlib, and start again for them")
    content = read_content(sweep.dataset, sweep.root, job_count(jobs), progress)
    check_apart(content.root, out)
    planned = make_jobs(sweep, content)
    check_jobs(planned, chosen_device, cache)
    tools = _Tools(sweep, content, out, device, cache, jobs, cluster, progress)
    results: list[CellResult] = []
    chosen = [job for job in planned if only is None or only(job.cell)]
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _write(tools, planned, results)  # no table of another file stays while this one is worked on
    for number, job in enumerate(chosen, 1):
        content.check()
        check_weights([job])
        say(f"[{number}/{len(chosen)}] {job.cell.label}")
        results.append(_run_cell(tools, job, say))
        with disk_errors(out):
            _write(tools, planned, results)
    return results


def _write(tools: _Tools, planned: list[Job], results: list[CellResult]) -> None:
    """Write the tables of every finished cell, whichever process did it, and name this process's failures."""
    finished = [(job.cell, report) for job in planned if (report := _read_report(tools, job)) is not None]
    failures = [(result.cell, result.reason) for result in results if result.state == "failed"]
    write_tables(tools.sweep.keys, finished, failures, tools.out)


def _folder(tools: _Tools, job: Job) -> Path:
    return tools.out / CELLS / job.cell.label


def _report_path(tools: _Tools, job: Job) -> Path:
    return _folder(tools, job) / f"report-{digest_of(job.figured_by)[:12]}.json"


def _read_report(tools: _Tools, job: Job) -> dict[str, Any] | None:
    """Return a cell's report, None if there is none for all that determines its figures today."""
    report = _read_mapping(_report_path(tools, job))
    if report is None or report.get("key") != job.figured_by:
        return None
    try:
        measures(report)
    except (KeyError, TypeError, AttributeError):  # not as this module writes it
        return None
    return report


def _read_mapping(path: Path) -> dict[str, Any] | None:
    """Return a JSON object that this module wrote; None where there is none, or a damaged one."""
    try:
        document = parse_json(read_text(path, LARGEST_JSON)) if path.is_file() else None
    except (PoisongenError, ValueError, RecursionError, OSError):
        return None
    return document if isinstance(document, dict) else None


def _run_cell(tools: _Tools, job: Job, say: Say) -> CellResult:
    """Do a cell that no process has done or is doing, and say what became of it."""
    folder = _folder(tools, job)
    try:
        if (report := _read_report(tools, job)) is not None:
            return CellResult(job.cell, "done", report)
        make_folder(tools.out, f"{CELLS}/{job.cell.label}")  # no part of it a link to elsewhere
        check_file(folder, "lock")
        check_folder(folder, "run")
        with FileLock(folder / "lock", timeout=0):
            result = CellResult(job.cell, "done", _read_report(tools, job) or _do_cell(tools, job, folder))
    except Timeout:
        result = CellResult(job.cell, "busy", reason="(another process has it)")
    except PoisongenError as error:
        result = CellResult(job.cell, "failed", reason=str(error))
    except OSError as error:
        place = error.filename or folder
        result = CellResult(job.cell, "failed", reason=f"{place}: {error.strerror or error}")
    except Exception as error:  # one cell's fault, whatever it is, must not cost the others
        with contextlib.suppress(OSError):
            write_whole(folder / "traceback.txt", traceback.format_exc().encode())
        reason = f"{type(error).__name__}: {' '.join(str(error).split())} ({folder / 'traceback.txt'})"
        result = CellResult(job.cell, "failed", reason=reason)
    if result.state != "done":
        say(f"{job.cell.label}: {result.state} {result.reason}")
    return result


def _do_cell(tools: _Tools, job: Job, folder: Path) -> dict[str, Any]:
    """Build, train, evaluate; the report is written last, so that it says that the cell is finished."""
    from poisongen.victim.evaluation import evaluate

    own = None if job.own is None else _build(tools, job.own)
    tested = own if job.own == job.common and own is not None else _build(tools, job.common)
    trained = _train(tools, job, folder, own or tools.content.root)
    checkpoint = folder / "run" / CHECKPOINT
    options: dict[str, Any] = {"device": tools.device, "jobs": tools.jobs, "progress": tools.progress}
    report = {"key": dict(job.figured_by), "cell": dict(job.cell.shown), "seed": job.cell.seed, "training": trained}
    report["common"] = evaluate(checkpoint, tested, distances=tools.sweep.distances, **options)
    if own is None or own == tested:
        report["own"] = report["common"] if own is not None else None
    else:
        report["own"] = evaluate(checkpoint, own, **options)
    report["evaluated_on"] = _made_on(tools)
    tools.content.check()
    text = json.dumps(report, allow_nan=False)
    write_whole(_report_path(tools, job), text.encode())
    plain: dict[str, Any] = json.loads(text)
    return plain


def _train(tools: _Tools, job: Job, folder: Path, data: Path) -> dict[str, Any]:
    """Train a cell's model unless it has been; return what trained.json says of it."""
    done = _read_mapping(folder / TRAINED)
    if done is not None and done.get("key") == job.trained_by and (folder / "run" / CHECKPOINT).is_file():
        return done
    from poisongen.victim.training import train

    result = train(
        data,
        folder / "run",
        job.settings,
        layout=tools.sweep.dataset,
        resume=True,
        cache=tools.cache,
        device=tools.device,
        jobs=tools.jobs,
        progress=tools.progress,
    )
    tools.content.check()
    done = {
        "key": dict(job.trained_by),
        "last": dict(result.last) or _last_line(folder / "run" / LOG),
        "trained_on": _made_on(tools),
    }
    write_whole(folder / TRAINED, json.dumps(done, allow_nan=False).encode())
    return done


def _last_line(log: Path) -> dict[str, Any]:
    """Return a run's last epoch; nothing where the log is lost."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    last = parse_json(lines[-1]) if lines else {}
    return last if isinstance(last, dict) else {}


def _made_on(tools: _Tools) -> dict[str, str]:
    """Return what figures hang on that no key holds: device and versions."""
    import torch

    from poisongen.victim.device import describe, pick_device

    device, models = describe(pick_device(tools.device)), "segmentation-models-pytorch"
    versions = {"torch": torch.__version__, models: metadata.version(models), "poisongen": __version__}
    return {"device": device, **versions}


def _build(tools: _Tools, recipe: Recipe) -> Path:
    """Build a recipe from the dataset's present content once; return its folder."""
    name = f"{recipe.dataset}-{recipe.strategy}-{recipe.fingerprint()[:8]}-{tools.content.digest[:12]}"
    folder = tools.out / BUILDS / name
    make_folder(tools.out, BUILDS)
    check_folder(tools.out, f"{BUILDS}/{name}")
    check_file(tools.out, f"{BUILDS}/{name}.lock")
    work: dict[str, Any] = {"jobs": None if tools.cluster else tools.jobs, "cluster": tools.cluster}
    with FileLock(f"{folder}.lock"):
        try:
            build(recipe, tools.content.root, folder, **work, progress=tools.progress)
        except OutputError:
            if look_at(folder).kind != "finished":
                raise
            # Its content, which the name tells, is right: the source is younger than the build, or files are missing.
            build(recipe, tools.content.root, folder, **work, progress=tools.progress, force=True)
    return folder


def default_out(file: Path) -> Path:
    """Return runs/NAME for a sweep file NAME.yaml; ChoiceError if the file is not there."""
    if not file.is_file():
        raise ChoiceError(f"{file}: no such sweep file")
    return Path("runs") / file.stem
