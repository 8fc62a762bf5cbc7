"""Pairing a dataset's files into samples, with a word on links that lead nowhere where a sample needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from poisongen.datasets.base import Index, Layout, Problem
from poisongen.errors import DataError
from poisongen.source import dead_links


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
    """Compare the index with the one that there would be if every link led somewhere."""
    whole = layout.scan(root, sorted({*paths, *dead}))
    sound = {sample.name for samples in index.samples.values() for sample in samples}
    named = [
        Problem(sample.split, sample.name, path, link_words(dead[path]), only_if_used=True)
        for samples in whole.samples.values()
        for sample in samples
        if sample.name not in sound
        for path in sample.paths
        if path in dead
    ]
    named += [
        replace(problem, text=link_words(dead[problem.path]), only_if_used=True)
        for problem in whole.problems
        if not problem.sample and problem.path in dead
    ]
    others = set(whole.problems)
    kept = [_with_folder_named(problem, dead) for problem in index.problems if problem in others]
    return Index(index.samples, (*kept, *named))


def _with_folder_named(problem: Problem, dead: Mapping[str, str]) -> Problem:
    """Say so where the file that a problem misses would lie below a link to nothing."""
    for path, target in dead.items():
        if f"({path}/" in problem.text:
            return replace(problem, text=f"{problem.text}; {path} is {link_words(target)}", only_if_used=True)
    return problem
