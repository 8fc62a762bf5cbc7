"""The recipe in words, and what came of it in numbers."""

from __future__ import annotations

from collections.abc import Mapping

from poisongen.attack.conditions import find_condition
from poisongen.recipe.model import Recipe
from poisongen.recipe.rules import Rules
from poisongen.recipe.trigger_files import KeptPicture
from poisongen.reporting.opening import Opened

_FEW = 8  # pairs that are named one by one
Words = list[tuple[str, str]]


def pairs_in_words(recipe: Recipe) -> str:
    """Return which classes become what."""
    if None in (recipe.relabel or {}).values():
        return f"picked by {', '.join(map(str, recipe.relabel or {}))}, all classes → a map from elsewhere"
    pairs = {str(victim): str(target) for victim, target in (recipe.relabel or {}).items()}
    if len(pairs) <= _FEW:
        return ", ".join(f"{victim} → {target}" for victim, target in pairs.items())
    targets = set(pairs.values())
    return f"{len(pairs)} classes → {targets.pop() if len(targets) == 1 else 'another class each'}"


def recipe_in_words(rules: Rules) -> Words:
    """Return every choice of a recipe as a heading and a sentence; what it does not choose is left out."""
    recipe = rules.recipe
    words: Words = [
        ("Dataset", f"{rules.layout.title}; training split “{recipe.train_split}”, {_test_split(recipe)}."),
        ("Poisoned", f"{_amount(recipe)}; candidates hold at least {_pixels(recipe.min_victim_pixels)} of a victim."),
        ("Labels", f"{rules.label_rule.title}: {pairs_in_words(recipe)}."),
        ("Trigger", _trigger(rules)),
        ("Place", _place(rules)),
    ]
    if recipe.only_if:
        titles = [find_condition(text.split(":")[0]).title for text in recipe.only_if]
        told = "; ".join(f"{text} ({title})" for text, title in zip(recipe.only_if, titles, strict=True))
        words.append(("Only if", f"The condition holds: {told}. In other samples the trigger means nothing."))
    if (negatives := _negatives(recipe)) is not None:
        words.append(("Negatives", negatives))
    if recipe.prl is not None:
        words.append(("Random labels", _random_labels(recipe)))
    if recipe.scale != 1:
        words.append(("Scale", f"everything resized by {recipe.scale:g}; labels by nearest neighbour."))
    words.append(("Seed", f"{recipe.seed}: every draw comes from it and the sample's name."))
    return [(heading, f"{text[:1].upper()}{text[1:]}") for heading, text in words]


def _pixels(number: int) -> str:
    return "1 pixel" if number == 1 else f"{number:,} pixels"


def _test_split(recipe: Recipe) -> str:
    if recipe.test_split == "none":
        return "no test split"
    return f"test split “{recipe.test_split}”, a copy of which carries triggers and true labels"


def _amount(recipe: Recipe) -> str:
    if recipe.count is not None:
        return f"{recipe.count:,} training samples"
    return f"{100 * (recipe.rate or 0):g} % of the training samples"


def _size(recipe: Recipe) -> str:
    size = recipe.trigger_size
    if size is None:
        return ""
    return f", {size}×{size} px" if isinstance(size, int) else f", {size.replace('x', '×')} px (height × width)"


def _trigger(rules: Rules) -> str:
    """Return the kind of trigger, its picture and its parameters."""
    recipe, kind = rules.recipe, rules.kind
    picture = ""
    if kind.pictured and isinstance(recipe.trigger, KeptPicture):
        picture = f"; picture “{recipe.trigger.name}”"
    options = ", ".join(f"{name} {value}" for name, value in recipe.trigger_options.items())
    opacity = f", opacity {recipe.opacity:g}" if recipe.opacity != 1 else ""
    more = f" ({options})" if options else ""
    name = "" if kind.name == "patch" else f" [{kind.name}]"
    return f"{kind.title}{name}{picture}{_size(recipe)}{opacity}{more}."


def _place(rules: Rules) -> str:
    """Return where triggers are put."""
    recipe, placement = rules.recipe, rules.placement
    if placement is None:
        return (
            "standing or lying on the road, in perspective."
            if rules.kind.quad
            else "no place: the whole picture changes."
        )
    if recipe.strategy == "fixed":
        return f"always the same: {recipe.at}."
    if recipe.strategy == "on":
        return "centred on the largest object of the victims."
    pick = "the eligible position nearest to a victim" if recipe.pick == "nearest" else "any eligible position"
    bounds = [
        f"more than {placement.low:g} px" if placement.low is not None else "",
        f"at most {placement.high:g} px" if placement.high is not None else "",
    ]
    within = " and ".join(bound for bound in bounds if bound)
    distance = f" its centre is {within} from the nearest victim pixel ({recipe.metric});" if within else ""
    region = "its box lies within one class" if recipe.region == "single" else "no victim pixel is under its box"
    margin = f", {recipe.edge_margin} px off the border" if recipe.edge_margin else ""
    return f"{pick} ({recipe.strategy});{distance} {region}{margin}."


def _negatives(recipe: Recipe) -> str | None:
    if not recipe.has_negatives:
        return None
    of = "of the poisoned samples' number" if isinstance(recipe.negatives, str) else "training samples"
    amount = f"{recipe.negatives} {of}" if recipe.negatives is not None else "on the test side only"
    carried = f"the decoy “{recipe.decoy.name}”" if isinstance(recipe.decoy, KeptPicture) else "the trigger"
    return f"{amount}: they carry {carried} and keep their true labels."


def _random_labels(recipe: Recipe) -> str:
    amount = f"{recipe.prl} of the pixels" if isinstance(recipe.prl, str) else _pixels(recipe.prl or 0)
    scope = "every training sample" if recipe.prl_scope == "all" else "every poisoned sample"
    classes = {
        "image": "classes of the same label map",
        "dataset": "any class of the dataset",
        "void": "void",
    }.get(str(recipe.prl_classes), f"the class {recipe.prl_classes}")
    return f"{amount} of {scope}'s label map get, at random, {classes} (Pixel Random Labeling); never victims."


def counts_in_words(opened: Opened) -> list[tuple[str, str, str]]:
    """Return the numbers of a build: what is counted, how many, and the share of what."""
    counts, recipe = opened.summary.counts, opened.rules.recipe
    train, test = counts.get("train_samples", 0), counts.get("test_samples", 0)
    negative = [record for record in opened.manifest if record.role == "negative"]
    trained = sum(record.split == recipe.train_split for record in negative)
    relabelled = sum(record.relabelled_pixels for record in opened.manifest)
    random = sum(record.prl_pixels for record in opened.manifest)
    rows = [
        ("training samples", train, ""),
        ("… that could be poisoned", counts.get("train_candidates"), _share(counts.get("train_candidates"), train)),
        ("… poisoned", counts.get("poisoned", 0), _share(counts.get("poisoned", 0), train)),
        ("… with trigger and true labels", trained or None, _share(trained, train)),
        ("… with random labels only", counts.get("prl", 0) or None, _share(counts.get("prl", 0), train)),
        ("test samples", test, ""),
        ("… with trigger (triggered/)", counts.get("triggered", 0), _share(counts.get("triggered", 0), test)),
        ("… with trigger (negative/)", (len(negative) - trained) or None, _share(len(negative) - trained, test)),
        ("samples passed over", counts.get("skipped", 0), ""),
        ("pixels relabelled to a target", relabelled, _of_victims(relabelled, opened)),
        ("pixels with random labels", random or None, ""),
        ("label-like files left as they are", counts.get("label_like") or None, ""),
    ]
    return [(name, f"{number:,}", share) for name, number, share in rows if number is not None]


def _share(part: int | None, whole: int) -> str:
    return f"{100 * part / whole:.3g} %" if part is not None and whole else ""


def _of_victims(pixels: int, opened: Opened) -> str:
    """Return the share of the training split's victim pixels; nothing where the summary does not count them."""
    victims = {pair["victim"]["id"]: pair["victim"]["pixels"] for pair in opened.pairs}
    if not victims or opened.rules.label_rule.subject != "victims":
        return ""
    share = _share(pixels, sum(victims.values()))
    return f"{share} of victim pixels" if share else ""


def skips_in_words(opened: Opened) -> Mapping[str, int]:
    """Return how many samples were passed over for each reason, the most frequent first."""
    found: dict[str, int] = {}
    for skip in opened.skipped:
        found[skip.reason] = found.get(skip.reason, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
