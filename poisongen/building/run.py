"""Carrying out a plan: files, workers, resuming, and the records of what was done."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import platform
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from poisongen.building.bordering import Bordering, find_target
from poisongen.building.plan import Plan, make_plan
from poisongen.building.sample import Task, do_task
from poisongen.building.staging import Staging, check_only_ours, open_staging
from poisongen.datasets import find_layout
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.files.store import LinkMode
from poisongen.parallel import for_each, job_count
from poisongen.recipe.model import Recipe, make_recipe
from poisongen.recipe.rules import Rules, make_rules
from poisongen.recipe.settling import settle
from poisongen.records.algorithms import ALGORITHM, RECORDS
from poisongen.records.inventory import written_sizes
from poisongen.records.manifest import (
    FOLDER,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    bytes_sha256,
    fingerprint,
    json_line,
)
from poisongen.records.standing import look_at, read_summary
from poisongen.source.label_like import one_line
from poisongen.source.listing import SourceFile, check_apart, find_root, list_files
from poisongen.undo.store import INDEX, write_undo
from poisongen.version import __version__

_NAMED = 10  # label-like files that the summary names; it counts all


@dataclass(frozen=True)
class Prepared:
    """A recipe settled for a dataset on disk: its root, its files, the rules, and how `--target auto` was found."""

    root: Path
    files: tuple[SourceFile, ...]
    rules: Rules
    bordering: Bordering | None = None


@dataclass(frozen=True)
class BuildResult:
    """What a build did: where it is, its fingerprint and counts, and whether it had been finished before.

    `pairs` are the summary's victims and targets, each with `id`, `name`, `pixels` and `samples` of the training
    split; `label_like` the first of the files that look like labels of changed samples and stay as they are.
    `put_back` is the number of files that a finished build had lost, and has again. `bordering` is how the target was
    found, where that was asked for.
    """

    out: Path
    fingerprint: str
    counts: Mapping[str, int]
    already_built: bool
    pairs: Sequence[Mapping[str, Mapping[str, Any]]] = ()
    label_like: Sequence[str] = ()
    put_back: int = 0
    bordering: Bordering | None = None


def prepare(recipe: Recipe | Mapping[str, Any], root: Path | None, jobs: int = 1, progress: bool = False) -> Prepared:
    """Check a recipe against the dataset at `root` (or where its layout is usually found).

    Labels are read only for `--target auto`, by `jobs` processes.
    """
    recipe = recipe if isinstance(recipe, Recipe) else make_recipe(recipe)
    layout = find_layout(recipe.dataset)
    found_root = find_root(layout, root).absolute()  # workers may live in another folder
    files = list_files(found_root)
    if not files:
        raise DataError(found_root, f"the folder is empty; {layout.how_to_get}")
    classes = layout.classes(found_root)
    bordering = find_target(recipe, layout, found_root, files, classes, jobs, progress)
    if bordering is not None:
        recipe = recipe.model_copy(update={"target": bordering.target})
    return Prepared(found_root, tuple(files), make_rules(settle(recipe, layout, classes), classes), bordering)


def default_out(recipe: Recipe) -> Path:
    """Return poisoned/DATASET-STRATEGY-FINGERPRINT8 of a settled recipe."""
    return Path("poisoned") / f"{recipe.dataset}-{recipe.strategy}-{recipe.fingerprint()[:8]}"


def plan_build(
    recipe: Recipe | Mapping[str, Any],
    root: Path | None = None,
    *,
    jobs: int | None = None,
    strict: bool = False,
    progress: bool = False,
) -> tuple[Prepared, Plan]:
    """Return what `build` would do, without writing anything (`--dry-run`)."""
    prepared = prepare(recipe, root, job_count(jobs), progress)
    return prepared, _plan(prepared, job_count(jobs), strict, progress)


def _plan(prepared: Prepared, jobs: int, strict: bool, progress: bool) -> Plan:
    """Make the plan. ChoiceError if it is to be strict and label-like files would stay as they are."""
    layout = prepared.rules.layout
    plan = make_plan(layout, prepared.root, prepared.files, prepared.rules, jobs, progress)
    _check_strict(strict, plan.label_like, len(plan.label_like))
    return plan


def _check_strict(strict: bool, names: Sequence[str], number: int) -> None:
    if strict and number:
        raise ChoiceError(f"--strict: {one_line(names, number)}; move them out of the root, or go on without --strict")


def build(
    recipe: Recipe | Mapping[str, Any],
    root: Path | str | None = None,
    out: Path | str | None = None,
    *,
    jobs: int | None = None,
    link: LinkMode = "auto",
    undo: bool = False,
    force: bool = False,
    strict: bool = False,
    progress: bool = False,
) -> BuildResult:
    """Write a poisoned dataset from a clean one.

    `recipe` is a Recipe, or its choices as a mapping (keys as the options of `poisongen build`). `root` is the clean
    dataset, `out` the folder to write; both have the command's defaults. `jobs` processes work at once (default:
    all cores). `undo` keeps in OUT what `restore` needs to work without the source. `strict` makes an error of
    label-like files that would stay as they are. An interrupted build is taken up where it stopped, and a finished one
    that has lost files gets them back. PoisongenError says what is wrong with recipe, source or output; OUT then holds
    nothing under a final name but what was there before.
    """
    if undo and link == "symlink":
        raise OutputError("--undo: with --link symlink OUT would not hold the unchanged files; use --link auto or copy")
    prepared = prepare(recipe, None if root is None else Path(root), job_count(jobs), progress)
    settled = prepared.rules.recipe
    folder = default_out(settled) if out is None else Path(out)
    check_apart(prepared.root, folder)
    recipe_sha256 = settled.fingerprint()
    done = _already_there(folder, recipe_sha256, prepared, force)
    if done is not None:
        _check_strict(strict, done.label_like, done.counts.get("label_like", 0))
        done = replace(_with_undo(done) if undo else done, bordering=prepared.bordering)
        if not done.put_back:
            return done
        undo = "undo" in read_summary(folder)
    if not force and look_at(folder).kind == "unfinished":
        with open_staging(folder, recipe_sha256):
            pass  # another build at work is found before the long reading begins
    plan = _plan(prepared, job_count(jobs), strict, progress)
    with _disk_errors(folder), open_staging(folder, recipe_sha256) as staging:
        staging.begin()
        if not staging.ready:
            _fill(staging, prepared, plan, link, job_count(jobs), progress, undo)
        staging.publish()
    put_back = 0 if done is None else done.put_back
    result = replace(_result(folder), put_back=put_back, bordering=prepared.bordering)
    if lost := _lost(folder):
        raise OutputError(f"--out: {folder / lost[0]} is missing; give the same command again, it puts back what is")
    return _with_undo(result) if undo else result


def _with_undo(result: BuildResult) -> BuildResult:
    """Return the result of a build with an undo store; OutputError if it was (nearly) finished without one."""
    if "undo" not in read_summary(result.out):
        raise OutputError(f"--undo: {result.out} was built without an undo store; build it again with --force")
    return result


def _already_there(out: Path, recipe_sha256: str, prepared: Prepared, force: bool) -> BuildResult | None:
    """Return the finished build that stands in OUT if it is this one; OutputError if OUT is not free.

    Its `put_back` says how many files it has lost.
    """
    standing = look_at(out)
    if standing.kind == "foreign":
        raise OutputError(f"--out: {out} holds files that poisongen did not write ({standing.example}); choose another")
    if standing.kind == "finished" and not force:
        summary = standing.summary or {}
        if standing.recipe_sha256 == recipe_sha256 and _is_built_from(out, prepared.files, summary):
            lost = _lost(out)
            if lost:
                check_only_ours(out)  # found before the long reading begins
            return replace(_result(out), already_built=True, put_back=len(lost))
        other = "source" if standing.recipe_sha256 == recipe_sha256 else "recipe"
        raise OutputError(f"--out: {out} holds the build of another {other}; choose another folder, or --force")
    if standing.kind == "finished":
        check_only_ours(out)
    if standing.kind == "unfinished" and standing.recipe_sha256 not in ("", recipe_sha256) and not force:
        raise OutputError(
            f"--out: {out} holds an unfinished build of another recipe; finish it with its own command, or --force"
        )
    return None


def _result(out: Path) -> BuildResult:
    summary = read_summary(out)
    pairs, like = summary.get("pairs", []), summary.get("label_like", [])  # builds of older versions have none
    return BuildResult(out, summary["fingerprint"], summary["counts"], False, pairs, like)


def _lost(out: Path) -> list[str]:
    """Return the files of a finished build that are not there; OutputError for one of another size than it had."""
    lost = []
    try:
        sizes = written_sizes(out)
    except OutputError as error:
        raise OutputError(f"{error}; the build's records are damaged: move {out} away and build again") from None
    if "undo" in read_summary(out):
        sizes.setdefault(INDEX, None)
    for path, size in sorted(sizes.items()):
        try:
            facts = (out / path).stat()  # a link counts as what it leads to
        except (FileNotFoundError, NotADirectoryError):
            lost.append(path)
            continue
        if not stat.S_ISREG(facts.st_mode) or size not in (None, facts.st_size):
            what = f"has {facts.st_size} bytes, not {size}" if stat.S_ISREG(facts.st_mode) else "is no file any more"
            raise OutputError(f"--out: {out / path} {what}; remove it and give the same command again, or give --force")
    return lost


def _source_listing(files: Sequence[SourceFile]) -> str:
    """Return a digest of the source's file names and sizes."""
    return hashlib.sha256("".join(f"{file.path}\0{file.size}\n" for file in files).encode()).hexdigest()


def _is_built_from(out: Path, files: Sequence[SourceFile], summary: Mapping[str, Any]) -> bool:
    """Tell whether a finished build is of these files: the same names and sizes, none changed after it was built."""
    built = (out / FOLDER / SUMMARY).stat().st_mtime_ns
    return summary.get("source") == _source_listing(files) and all(file.changed <= built for file in files)


@contextlib.contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line; what was built so far stays for the same command."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the disk is full" if full else f"{error.filename or out}: {error.strerror}"
        raise OutputError(f"--out: {out}: {what}; make room and give the same command again, it goes on") from None


def _fill(
    staging: Staging, prepared: Prepared, plan: Plan, link: LinkMode, jobs: int, progress: bool, undo: bool
) -> None:
    """Do every task, make every link and write the records; the tree is complete afterwards."""
    stamps = {file.path: [file.size, file.changed] for file in prepared.files}
    try:
        records = _do_tasks(staging, prepared, plan, link, jobs, progress, stamps)
        links = _make_links(staging, prepared, plan, link, progress)
        if list_files(prepared.root) != list(prepared.files):
            raise OutputError(
                f"{prepared.root}: the source has changed while it was read; give the same command again, it goes on"
            )
    except DataError:
        staging.discard()
        raise
    written = {file["path"] for record in records for file in record["files"]} | {entry["path"] for entry in links}
    written |= {record["expected"]["path"] for record in records if "expected" in record}
    staging.drop_unknown(written)
    kept = write_undo(staging.tree, prepared.root, records, links, prepared.files, jobs, progress) if undo else None
    _write_records(staging, prepared, plan, records, links, kept)


def _work(task: Task, root: Path, rules: Rules, tree: Path, link: LinkMode) -> dict[str, Any]:
    """Do one task in a worker: its new files are written, its unchanged ones linked. Return its record."""
    staging = Staging.at_tree(tree)
    outcome = do_task(task, root, rules)
    for path, data in outcome.contents.items():
        staging.write(path, data)
    for file in outcome.record.files:
        if not file.written and file.source is not None:
            staging.link(root / file.source, file.path, link)
    return outcome.record.as_json()


def _task_key(task: Task) -> tuple[str, str]:
    return task.sample.name, task.role


def _do_tasks(
    staging: Staging,
    prepared: Prepared,
    plan: Plan,
    link: LinkMode,
    jobs: int,
    progress: bool,
    stamps: Mapping[str, list[int]],
) -> list[dict[str, Any]]:
    """Do the tasks that the journal does not know as done from these very source files; return all records.

    What the journal knows must still lie in the tree.
    """
    wanted = {_task_key(task): task for task in plan.tasks}
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for record, entry in staging.journal():
        key = (record.sample, record.role)
        task = wanted.get(key)
        if task and entry["stamps"] == {path: stamps[path] for path in task.sample.paths} and staging.holds(record):
            kept[key] = entry
    todo = [task for key, task in wanted.items() if key not in kept]
    work = functools.partial(_work, root=prepared.root, rules=prepared.rules, tree=staging.tree, link=link)
    records: dict[tuple[str, str], dict[str, Any]] = {key: entry["record"] for key, entry in kept.items()}
    with staging.journal_writer(list(kept.values())) as add:
        for task, made in zip(todo, for_each(work, todo, jobs, "poisoning" if progress else None), strict=True):
            add({"record": made, "stamps": {path: stamps[path] for path in task.sample.paths}})
            records[_task_key(task)] = made
    return [records[key] for key in wanted]


def _make_links(
    staging: Staging, prepared: Prepared, plan: Plan, link: LinkMode, progress: bool
) -> list[dict[str, Any]]:
    """Link every file that no task has, write the few files that build makes, and return their records."""
    entries: list[dict[str, Any]] = []
    work = functools.partial(_link_one, staging=staging, root=prepared.root, mode=link)
    for _ in for_each(work, plan.links, 1, "linking" if progress else None):
        pass
    for item in plan.links:
        entry: dict[str, Any] = {"path": item.path, "source": item.source, "size": item.size}
        entries.append(entry | ({"pixels_sha256": item.pixels_sha256} if item.pixels_sha256 else {}))
    for path, data in plan.made.items():
        staging.write(path, data)
        entries.append({"path": path, "source": None, "size": len(data), "sha256": bytes_sha256(data)})
    return sorted(entries, key=lambda entry: entry["path"])


def _link_one(item: Any, staging: Staging, root: Path, mode: LinkMode) -> None:
    staging.link(root / item.source, item.path, mode)


def _write_records(
    staging: Staging,
    prepared: Prepared,
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    undo: Mapping[str, Any] | None,
) -> None:
    """Write recipe, manifest, skipped, links and, over them all, the summary; `undo` is what it says of the store."""
    recipe = prepared.rules.recipe
    texts = {
        RECIPE: json_line(recipe.as_json()),
        MANIFEST: "".join(map(json_line, records)),
        SKIPPED: "".join(map(json_line, plan.skipped)),
        LINKS: "".join(map(json_line, links)),
    }
    for name, text in texts.items():
        staging.write(f"{FOLDER}/{name}", text.encode())
    packages = ("numpy", "opencv-python-headless", "pillow", "scipy", "jpeglib")
    summary = {
        "poisongen": __version__,
        "algorithm": ALGORITHM,
        "records": RECORDS,
        "dataset": recipe.dataset,
        "strategy": recipe.strategy,
        "fingerprint": fingerprint(recipe.fingerprint(), records, links),
        "recipe_sha256": recipe.fingerprint(),
        "counts": dict(plan.counts),
        "digests": {name: bytes_sha256(text.encode()) for name, text in texts.items()},
        "pairs": [{"victim": asdict(victim), "target": asdict(target)} for victim, target in plan.pairs],
        "label_like": list(plan.label_like[:_NAMED]),
        "source": _source_listing(prepared.files),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in packages},
    }
    summary |= {} if undo is None else {"undo": dict(undo)}
    staging.write(f"{FOLDER}/{SUMMARY}", json_line(summary).encode())
