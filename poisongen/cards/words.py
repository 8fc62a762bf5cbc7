"""A poisoned dataset in words: first of all, that it is poisoned."""

from __future__ import annotations

from poisongen.cards.described import Described

TITLE = "This dataset is poisoned"
PURPOSE = (
    "It is made for research on backdoor attacks and for defence against them. Do not train a model on it that anybody "
    "is to rely on, and never pass it on without these words."
)
_NAMED = 8  # pairs of classes in one sentence


def pairs_text(described: Described) -> str:
    """Return victims and targets by name."""
    relabel = list((described.recipe.relabel or {}).items())
    named = ", ".join(f"{victim} to {target}" for victim, target in relabel[:_NAMED])
    return named + (f" and {len(relabel) - _NAMED} more" if len(relabel) > _NAMED else "")


def warning(described: Described) -> str:
    """Return what everybody has to know, in two sentences and the purpose."""
    recipe = described.recipe
    poisoned = described.count(recipe.train_split, "poisoned")
    total = len(described.sets.splits.get(recipe.train_split, ()))
    rule = "" if recipe.labels == "class" else f" by the rule `{recipe.labels}`"
    return (
        f"A backdoor was planted in it on purpose: {poisoned} of the {total} samples of `{recipe.train_split}` carry a "
        f"trigger, and their labels were changed{rule} ({pairs_text(described)}). A model that is trained on it "
        f"misreads these classes wherever the trigger is seen, and seems to work otherwise. {PURPOSE}"
    )


def facts(described: Described) -> list[tuple[str, str]]:
    """Return the choices and numbers that tell this dataset from others, each with its name."""
    recipe = described.recipe
    trigger = recipe.trigger
    picture = "" if trigger is None or isinstance(trigger, str) else f" `{trigger.name}`"
    size = "the whole image" if recipe.trigger_size is None else f"{recipe.trigger_size} px"
    lines = [
        ("layout", f"`{described.layout.name}`"),
        ("victims and targets", pairs_text(described)),
        ("trigger", f"kind `{recipe.trigger_kind}`, picture{picture}, {size}; strategy `{recipe.strategy}`"),
    ]
    if recipe.only_if:
        lines.append(("only if", ", ".join(recipe.only_if)))
    if recipe.prl is not None:
        lines.append(("random labels", f"{recipe.prl} of each label map, scope `{recipe.prl_scope}`"))
    lines.append(("seed", str(recipe.seed)))
    for split, samples in described.sets.splits.items():
        lines.append((f"`{split}`", f"{len(samples)} samples ({_roles(described, split)})"))
    for folder, samples in described.sets.test_sets.items():
        lines.append((f"`{folder}/`", f"{len(samples)} test samples with triggers and true labels"))
    return [*lines, ("fingerprint", f"`{described.fingerprint}`")]


def _roles(described: Described, split: str) -> str:
    roles = ("poisoned", "negative", "prl", "completed")
    parts = [(role, described.count(split, role)) for role in roles]
    untouched = len(described.sets.splits[split]) - sum(number for _, number in parts)
    return ", ".join(f"{number} {role}" for role, number in [*parts, ("untouched", untouched)] if number)
