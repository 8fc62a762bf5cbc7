"""What a plan says where the dataset does not let it be: broken samples, splits and victims that are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from poisongen.building.surveyed import Surveyed
from poisongen.datasets.base import Index, Problem, Sample
from poisongen.errors import ChoiceError, DataError
from poisongen.printing import number_of
from poisongen.recipe.model import Recipe
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
        others = [name for name, samples in sorted(index.samples.items()) if samples]
        if option == "--test-split":
            others.append("or none")
        advice = f"mend it, or give another {option} ({', '.join(others)})" if others else "mend it"
        raise first_of(faults, root, advice)
    extra = " (or none, for no triggered set)" if option == "--test-split" else ""
    links = [f"; {path} is {link_words(target)}" for path, target in dead_links(root).items()]
    raise ChoiceError(f"{option}: the dataset has no split '{split}'; it has {known}{extra}{''.join(links[:1])}")


def check_disjoint(index: Index, recipe: Recipe) -> None:
    """Refuse splits that share samples: a poisoned one would stand in the clean test set, and spoil what it says."""
    train, test = (
        {sample.image for sample in index.samples[split]} for split in (recipe.train_split, recipe.test_split)
    )
    if shared := len(train & test):
        others = [name for name, samples in sorted(index.samples.items()) if samples]
        apart = [name for name in others if not train & {sample.image for sample in index.samples[name]}]
        raise ChoiceError(
            f"--train-split {recipe.train_split} and --test-split {recipe.test_split} share "
            f"{number_of(shared, 'image')}, and poisoned ones would stand in the clean test set; "
            f"give a --test-split that shares none "
            f"({', '.join([*apart, 'none'])}), or a --train-split without them"
        )


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


def too_few(
    samples: Sequence[Sample],
    candidates: int,
    wanted: int,
    possible: int,
    reasons: Mapping[str, int],
    found: Mapping[str, Surveyed],
    problems: Sequence[Problem],
    rules: Rules,
) -> ChoiceError:
    """Return the error for fewer possible samples than wanted: what is there, why no more, and what would help.

    `reasons` counts the candidates that were passed over, by reason; `problems` are those of bad samples.
    """
    recipe = rules.recipe
    victims = ", ".join(f"'{name}'" for name in recipe.relabel or ())
    conditions = f", and {' and '.join(recipe.only_if)}" if recipe.only_if else ""
    why = "".join(f"; {count} with {reason}" for reason, count in sorted(reasons.items()))
    bad = [problem for problem in problems if problem.split == recipe.train_split]
    number = len({problem.sample for problem in bad})
    if number:
        why += f"; {number} passed over as bad ({bad[0].path}: {bad[0].text})"
    helps = ["mend the bad files"] if number else []
    if number < len(samples):
        why += "" if candidates else f"; their labels hold {classes_there(samples, found, rules)}"
        helps = (["lower --rate or --count"] if possible else []) + [*helps, "change the placement or the victims"]
        helps += ["give --allow-fewer"] if possible and not recipe.allow_fewer else []
    advice = f"{', '.join(helps[:-1])}, or {helps[-1]}" if len(helps) > 1 else helps[0]
    return ChoiceError(
        f"{wanted} samples of '{recipe.train_split}' are to be poisoned, {possible} can be: of {len(samples)} "
        f"samples {candidates} have at least {recipe.min_victim_pixels} pixel of {victims}{conditions}{why}; {advice}"
    )


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
