"""Pairing a dataset's files into samples, with a word on links that lead nowhere where a sample needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import Index, Layout, Problem
from poisongen.errors import DataError
from poisongen.source.listing import dead_links


def link_words(target: str) -> str:
    """Return what is wrong with a link to nothing."""
    return f"a link to {target}, where nothing is"


def pair_files(layout: Layout, root: Path, paths: Sequence[str]) -> Index:
    """Pair the files below the root (`paths`, from `list_files`) as the layout does.

    Links to nothing are no files. Where a sample or a list would need one, it is a problem that names the link, and
    that matters if the split is used. DataError where the folder is no such dataset.
    """
    dead = dead_links(root)
    try:
        index = layout.scan(root, paths)
    except DataError as error:
        if not dead:
            raise
        path, target = next(iter(dead.items()))
        raise DataError(error.path, f"{error.problem} ({path} is {link_words(target)})") from None
    return _with_links_named(layout, root, paths, index, dead) if dead else index


def _with_links_named(layout: Layout, root: Path, paths: Sequence[str], index: Index, dead: Mapping[str, str]) -> Index:
    """Compare the index with the one that there would be if every link led somewhere.

    A problem stays what it is in a copy of the files, in which the links are not; only its words name the link.
    """
    whole = layout.scan(root, sorted({*paths, *dead}))
    needed = {
        (sample.split, sample.name): path
        for samples in whole.samples.values()
        for sample in samples
        for path in reversed(sample.paths)
        if path in dead
    }
    others = set(whole.problems)
    problems = []
    for problem in index.problems:
        by_folder = next((path for path in dead if f"({path}/" in problem.text), "")
        path = needed.get((problem.split, problem.sample), "") if problem not in others else by_folder
        if path:
            text = f"{problem.text}; {path} is {link_words(dead[path])}"
            problem = replace(problem, text=text, dead_link=path)  # noqa: PLW2901
        problems.append(problem)
    known = {(problem.split, problem.sample) for problem in index.problems}
    known |= {(sample.split, sample.name) for samples in index.samples.values() for sample in samples}
    lists = {(problem.split, ""): problem.path for problem in others if not problem.sample and problem.path in dead}
    problems += [
        Problem(split, name, path, link_words(dead[path]), only_if_used=True, dead_link=path, traceless=True)
        for (split, name), path in (needed | lists).items()
        if (split, name) not in known
    ]
    return Index(index.samples, tuple(problems))
