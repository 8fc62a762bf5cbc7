"""What a sample's role says: of which split it is, where its files go, and what is done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, NEGATIVE, TRIGGERED, Role


@dataclass(frozen=True)
class RoleFacts:
    """`side`: the split it is of, None for any. `trigger`, `relabelled` and `random` (labels): what is done.

    `test_prefix` is where its files go in OUT when it is of the test split.
    """

    side: Literal["train", "test", "both"] | None
    trigger: bool = False
    relabelled: bool = False
    random: bool = False
    test_prefix: str = ""


ROLES: Mapping[Role, RoleFacts] = {
    "poisoned": RoleFacts("train", trigger=True, relabelled=True, random=True),
    "negative": RoleFacts("both", trigger=True, random=True, test_prefix=f"{NEGATIVE}/"),
    "prl": RoleFacts("train", random=True),
    "triggered": RoleFacts("test", trigger=True, test_prefix=f"{TRIGGERED}/"),
    "completed": RoleFacts(None),
}


TEST_PREFIXES = tuple(facts.test_prefix for facts in ROLES.values() if facts.test_prefix)
"""The folders of OUT, each with its '/', that hold test samples with triggers."""

OWN_FOLDERS = (FOLDER, *(prefix.rstrip("/") for prefix in TEST_PREFIXES))
"""The folders at the top of OUT that are no part of the dataset itself."""


def has_trigger(role: Role) -> bool:
    """Whether a sample of this role carries a trigger."""
    return ROLES[role].trigger


def is_relabelled(role: Role) -> bool:
    """Whether the label rule is applied to a sample of this role."""
    return ROLES[role].relabelled


def has_random_labels(role: Role, split: str, rules: Rules) -> bool:
    """Whether Pixel Random Labeling is applied to a sample of this role and split."""
    if rules.prl is None or not ROLES[role].random or split != rules.recipe.train_split:
        return False
    return role == "poisoned" or rules.prl.scope == "all"


def changes_labels(role: Role, split: str, rules: Rules) -> bool:
    """Whether labels of a sample of this role and split may be others than the source's."""
    return is_relabelled(role) or has_random_labels(role, split, rules)


def own_path(path: str, above: str) -> str:
    """Return where a file of OUT, or of a test set with triggers, lies in the source: its path without what precedes.

    `above` is what OUT puts before every path of the source.
    """
    prefix = next((prefix for prefix in TEST_PREFIXES if path.startswith(prefix)), "")
    return path.removeprefix(prefix).removeprefix(above)


def source_like(paths: Iterable[str], above: str) -> list[str]:
    """Return OUT's paths, but those of its own folders, as the source has them; of those outside `above` none."""
    inside = (path for path in paths if path.split("/")[0] not in OWN_FOLDERS and path.startswith(above))
    return sorted(path.removeprefix(above) for path in inside)


def prefix_of(role: Role, split: str, rules: Rules) -> str:
    """Return the folder of OUT, '' or ending in '/', that a sample's files lie in."""
    return "" if split == rules.recipe.train_split else ROLES[role].test_prefix


def splits_of(role: Role, rules: Rules) -> tuple[str, ...] | None:
    """Return the splits that samples of this role may be of; None for any."""
    recipe, side = rules.recipe, ROLES[role].side
    if side is None:
        return None
    return {
        "train": (recipe.train_split,),
        "test": (recipe.test_split,),
        "both": (recipe.train_split, recipe.test_split),
    }[side]
