"""What a plan says where the dataset does not let it be: broken samples, splits and victims that are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from poisongen.building.survey import Surveyed
from poisongen.datasets.base import Index, Problem, Sample
from poisongen.errors import ChoiceError, DataError
from poisongen.recipe.rules import Rules
from poisongen.source.listing import dead_links
from poisongen.source.pairing import link_words

_MOST_NAMED = 12  # classes in one line


def check_split(index: Index, split: str, option: str, root: Path) -> None:
    """Refuse a split that has no samples; the error says why it has none, or which splits there are."""
    if index.samples.get(split):
        return
    known = ", ".join(sorted(name for name, samples in index.samples.items() if samples)) or "none"
    if faults := [problem for problem in index.problems if problem.split == split]:
        others = f"{known}, or none" if option == "--test-split" else known
        raise first_of(faults, root, f"mend it, or give another {option} ({others})")
    extra = " (or none, for no triggered set)" if option == "--test-split" else ""
    links = [f"; {path} is {link_words(target)}" for path, target in dead_links(root).items()]
    raise ChoiceError(f"{option}: the dataset has no split '{split}'; it has {known}{extra}{''.join(links[:1])}")


def classes_there(samples: Sequence[Sample], found: Mapping[str, Surveyed], rules: Rules) -> str:
    """Name the classes that the samples' label maps hold, the largest first, with ID and pixels."""
    counts: Counter[int] = Counter()
    for sample in samples:
        counts.update(found[sample.image].classes if sample.image in found else {})
    void, names = rules.classes.void, rules.classes.names
    there = [
        f"{number} '{names.get(number, '?')}'{' (void)' if number in void else ''} {pixels} px"
        for number, pixels in counts.most_common(_MOST_NAMED)
    ]
    more = [f"{len(counts) - _MOST_NAMED} more"] if len(counts) > _MOST_NAMED else []
    return ", ".join(there + more) or "nothing"


def first_of(problems: Sequence[Problem], root: Path, advice: str) -> DataError:
    """Return the error for a list of problems: the first of them, how many more there are, and what to do."""
    others = len(problems) - 1
    more = f" (and {others} more problem{'s' if others > 1 else ''})" if others else ""
    return DataError(root / problems[0].path, f"{problems[0].text}{more}; {advice}")


def advice_on(problems: Sequence[Problem], train: Sequence[Sample]) -> str:
    """Return what to do: --skip-bad helps where all that is bad are samples, and some of `train` remain."""
    if any(problem.traceless for problem in problems):
        return "put the file there, or remove the link"
    bad = {problem.sample for problem in problems}
    helps = "" not in bad and any(sample.name not in bad for sample in train)
    return "mend it, or go on without with --skip-bad" if helps else "mend it"
