"""`poisongen build`: from a recipe and a clean dataset to a poisoned one, taken up where it was broken off."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from poisongen.building.early import Early
from poisongen.building.fill import early_work, fill
from poisongen.building.finished import BuildResult, already_there, lost_files, result_of, with_undo
from poisongen.building.plan import Plan, make_plan
from poisongen.building.prepared import Prepared, prepare
from poisongen.building.staging import Staging, open_staging
from poisongen.cluster import on_cluster
from poisongen.errors import ChoiceError, OutputError, PoisongenError
from poisongen.files.store import LinkMode
from poisongen.files.stores import StorePath, in_memory, place
from poisongen.parallel import job_count
from poisongen.recipe.model import Recipe
from poisongen.records.standing import read_summary
from poisongen.source.label_like import one_line
from poisongen.source.listing import check_apart


def default_out(recipe: Recipe) -> Path:
    """Return poisoned/DATASET-STRATEGY-FINGERPRINT8 of a settled recipe."""
    return Path("poisoned") / f"{recipe.dataset}-{recipe.strategy}-{recipe.fingerprint()[:8]}"


def plan_build(
    recipe: Recipe | Mapping[str, Any],
    root: Path | None = None,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    strict: bool = False,
    cache: bool = True,
    progress: bool = False,
) -> tuple[Prepared, Plan]:
    """Return what `build` would do, without writing anything (`--dry-run`)."""
    with on_cluster(cluster, jobs, root):
        prepared = prepare(recipe, root, job_count(jobs), progress, cache)
        return prepared, _plan(prepared, job_count(jobs), strict, progress)


def _plan(prepared: Prepared, jobs: int, strict: bool, progress: bool, early: Early | None = None) -> Plan:
    """Make the plan. ChoiceError if it is to be strict and label-like files would stay as they are."""
    layout = prepared.rules.layout
    plan = make_plan(layout, prepared.root, prepared.files, prepared.rules, jobs, progress, early, prepared.cache)
    _check_strict(strict, plan.label_like, plan.counts)
    return plan


def _check_strict(strict: bool, names: Sequence[str], counts: Mapping[str, int]) -> None:
    if strict and (number := counts.get("label_like", 0)):
        said = one_line(names, number, counts.get("left_out", 0))
        raise ChoiceError(f"--strict: {said}; move them out of the root, or go on without --strict")


def build(
    recipe: Recipe | Mapping[str, Any],
    root: Path | str | None = None,
    out: Path | str | None = None,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    link: LinkMode = "auto",
    undo: bool = False,
    force: bool = False,
    strict: bool = False,
    cache: bool = True,
    progress: bool = False,
) -> BuildResult:
    """Write a poisoned dataset from a clean one.

    `recipe` is a Recipe, or its choices as a mapping (keys as the options of `poisongen build`). `root` is the
    clean dataset, `out` the folder to write; both have the command's defaults. `jobs` processes work at once
    (default: all cores), or the workers of an engine at `cluster` (`dask://HOST:PORT`, `ray://HOST:PORT`,
    `ray://local`). `undo` keeps in OUT what `restore` needs to work without the source. `strict` makes an
    error of label-like files that nothing rewrites: else OUT goes without them. With `cache` labels that an earlier
    build of this user has read and that are as they were are not read again. An interrupted build is taken up
    where it stopped, and a finished one that has lost files gets them back. PoisongenError says what is wrong with
    recipe, source or output; OUT then holds nothing under a final name but what was there before.
    """
    if link not in get_args(LinkMode):
        raise ChoiceError(f"--link: '{link}' is none of {', '.join(get_args(LinkMode))}")
    if undo and link == "symlink":
        raise OutputError("--undo: with --link symlink OUT would not hold the unchanged files; use --link auto or copy")
    source = None if root is None else place(root)
    if in_memory(root, out) and cluster is not None:
        raise ChoiceError("--cluster: no other process sees memory://; give a store or a folder")
    with on_cluster(cluster, jobs, None if isinstance(source, StorePath) else source):
        workers = 1 if in_memory(root, out) else job_count(jobs)
        prepared = prepare(recipe, source, workers, progress, cache)
        return _build(prepared, out, workers, link, undo, force, strict, progress)


def _build(
    prepared: Prepared,
    out: Path | str | None,
    jobs: int,
    link: LinkMode,
    undo: bool,
    force: bool,
    strict: bool,
    progress: bool,
) -> BuildResult:
    settled = prepared.rules.recipe
    folder = default_out(settled) if out is None else place(out)
    check_apart(prepared.root, folder)
    if isinstance(folder, StorePath) and link in ("symlink", "hardlink"):
        raise OutputError(f"--link {link}: an object store has no links; use --link auto")
    recipe_sha256 = settled.fingerprint()
    done = already_there(folder, recipe_sha256, prepared.files, force)
    if done is not None:
        _check_strict(strict, done.label_like, done.counts)
        done = replace(with_undo(done) if undo else done, bordering=prepared.bordering)
        if not done.put_back:
            return done
        undo = "undo" in read_summary(folder)
    with _disk_errors(folder), open_staging(folder, recipe_sha256) as staging:
        afresh = staging.begin()
        if staging.ready:
            _plan(prepared, jobs, strict, progress)
        else:
            plan = _plan_and_begin(staging, afresh, prepared, link, jobs, strict, progress)
            fill(staging, prepared, plan, link, jobs, progress, undo)
        staging.publish()
    put_back = 0 if done is None else done.put_back
    result = replace(result_of(folder), put_back=put_back, bordering=prepared.bordering)
    if lost := lost_files(folder):
        raise OutputError(f"--out: {folder / lost[0]} is missing; give the same command again, it puts back what is")
    return with_undo(result) if undo else result


def _plan_and_begin(
    staging: Staging, afresh: bool, prepared: Prepared, link: LinkMode, jobs: int, strict: bool, progress: bool
) -> Plan:
    """Make the plan; what is all but sure is done on the occasion. Nothing stays of it where there can be no plan."""
    try:
        with early_work(staging, prepared, link) as early:
            return _plan(prepared, jobs, strict, progress, early)
    except PoisongenError:
        if afresh:
            staging.discard()
        raise


@contextlib.contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line; what was built so far stays for the same command."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the disk is full" if full else f"{error.filename or out}: {error.strerror}"
        raise OutputError(f"--out: {out}: {what}; make room and give the same command again, it goes on") from None
