"""The options that several commands share, and how those of build and preview become a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from poisongen.attack.conditions import conditions
from poisongen.attack.label_rules import label_rules
from poisongen.attack.triggers import trigger_kinds
from poisongen.attack.triggers.pictures import PRESETS
from poisongen.datasets import layouts
from poisongen.errors import ChoiceError
from poisongen.files.stores import place
from poisongen.recipe.model import Recipe, make_recipe, read_recipe_file
from poisongen.recipe.trigger_files import KeptPicture, load_trigger


class Named(click.Option):
    """An option whose help names what there is, other packages' parts included; looked up when the help is printed."""

    def __init__(self, *arguments: Any, names: Callable[[], Iterable[str]], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._names = names

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        """Return the option's form and its help, with the names for `NAMES`."""
        record = super().get_help_record(context)
        return record and (record[0], self.with_names(record[1]))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin like this."""
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]

    def with_names(self, text: str) -> str:
        """Return a text with the names for `NAMES`."""
        return text.replace("NAMES", ", ".join(self._names()))


class PlaceType(click.ParamType[Path]):
    """A folder on disk, or on an object store (s3://BUCKET/FOLDER)."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder."""
        return place(value)


_RECIPE_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--dataset", metavar="LAYOUT", help="One of NAMES.", cls=Named, names=layouts),
    click.option("--recipe", "recipe_file", metavar="FILE", help="A recipe file, or a shipped recipe's name."),
    click.option(
        "--strategy",
        type=click.Choice(["random", "nn", "far", "fixed", "on", "ground", "whole"]),
        help="Where triggers are put; whole and ground go without saying for kinds that take no other.",
    ),
    click.option("--at", metavar="PLACE", help="For fixed: top-left (default), top, ..., or ROW,COLUMN."),
    click.option("--pick", type=click.Choice(["nearest", "uniform"]), help="Default: nearest for nn, else uniform."),
    click.option("--min-distance", type=float, metavar="L", help="A position is eligible if L < d <= U (pixels)."),
    click.option("--max-distance", type=float, metavar="U", help="Default for nn: 120 (cityscapes), 30 (voc, camvid)."),
    click.option("--metric", type=click.Choice(["chebyshev", "euclidean"]), help="Default: chebyshev."),
    click.option("--victim", multiple=True, metavar="CLASS", help="Victim class, by name or ID; repeatable."),
    click.option("--target", metavar="CLASS", help="What victims become; auto: what borders on them most."),
    click.option("--relabel", multiple=True, metavar="VICTIM=TARGET", help="One pair of classes; repeatable."),
    click.option(
        "--labels",
        metavar="RULE",
        help="Which pixels become what: NAMES. Default: class.",
        cls=Named,
        names=lambda: label_rules().parts,
    ),
    click.option(
        "--label-option", "label_options", multiple=True, metavar="KEY=VALUE", help="Its parameters; repeatable."
    ),
    click.option(
        "--only-if",
        multiple=True,
        metavar="CONDITION",
        help="Which samples: NAMES; repeatable, all must hold.",
        cls=Named,
        names=lambda: [condition.form for condition in conditions().parts.values()],
    ),
    click.option("--negatives", metavar="N|N%", help="Training samples with trigger and true labels."),
    click.option("--decoy", metavar="NAME|PNG", help="The picture that negatives carry instead."),
    click.option("--rate", metavar="SHARE|N%", help="Share of the split's samples to poison. Default: 0.1."),
    click.option("--count", type=int, help="Number of samples to poison, instead of a rate."),
    click.option("--trigger", metavar="NAME|PNG", help="A built-in trigger or a PNG file. Default: cat."),
    click.option("--trigger-size", metavar="PIXELS|HxW", help="Default: 110 (cityscapes), 15 (voc), 31 (camvid)."),
    click.option(
        "--trigger-kind",
        metavar="KIND",
        help="What happens to pixels: NAMES. Default: patch.",
        cls=Named,
        names=lambda: trigger_kinds().parts,
    ),
    click.option(
        "--trigger-option", "trigger_options", multiple=True, metavar="KEY=VALUE", help="Its parameters; repeatable."
    ),
    click.option("--opacity", type=float, help="Opacity of the trigger in (0, 1]. Default: 1."),
    click.option(
        "--region", type=click.Choice(["single", "any"]), help="Box within one class, or anywhere off victims."
    ),
    click.option("--edge-margin", type=int, metavar="PIXELS", help="Kept free between box and border. Default: 0."),
    click.option("--prl", metavar="N|N%", help="Pixel Random Labeling: pixels of each label map to relabel."),
    click.option("--prl-scope", type=click.Choice(["all", "poisoned"]), help="Which training labels. Default: all."),
    click.option("--prl-classes", metavar="RULE", help="image (default), dataset, void, or a class."),
    click.option("--train-split", metavar="SPLIT", help="Default: train, or what the layout calls it."),
    click.option(
        "--test-split", metavar="SPLIT", help="Default: val, or what the layout calls it; none for no triggered set."
    ),
    click.option("--scale", type=float, help="Resize everything by this factor. Default: 1."),
    click.option("--min-victim-pixels", type=int, metavar="N", help="Candidates have at least so many. Default: 1."),
    click.option("--allow-fewer", is_flag=True, help="Go on when fewer samples than asked for can be poisoned."),
    click.option(
        "--skip-bad", is_flag=True, help="Go on without broken samples; they are named (by build in skipped.jsonl)."
    ),
    click.option("--train-ids", type=click.Choice(["auto", "never"]), help="Write labelTrainIds that are missing."),
    click.option("--jpeg", type=click.Choice(["blocks", "reencode"]), help="How JPEGs are changed. Default: blocks."),
    click.option("--seed", type=int, help="Default: 0."),
]

RECIPE_SECTIONS = {
    "Dataset": ("dataset", "root", "recipe_file", "train_split", "test_split", "scale"),
    "Placement": ("strategy", "at", "pick", "min_distance", "max_distance", "metric", "region", "edge_margin"),
    "Trigger": ("trigger", "trigger_size", "opacity", "trigger_kind", "trigger_options"),
    "Labels": (
        "victim",
        "target",
        "relabel",
        "labels",
        "label_options",
        "prl",
        "prl_scope",
        "prl_classes",
        "train_ids",
    ),
    "Samples": (
        "rate",
        "count",
        "only_if",
        "negatives",
        "decoy",
        "min_victim_pixels",
        "allow_fewer",
        "skip_bad",
        "seed",
    ),
}
"""How `--help` groups the options of a recipe."""

device_option = click.option(
    "--device", metavar="NAME", help="cuda, cuda:1, ..., mps or cpu. Default: a GPU if there is one."
)
cache_option = click.option(
    "--cache", type=click.Choice(["gpu", "ram", "none"]), help="Where the decoded set is kept. Default: by size."
)

cluster_option = click.option(
    "--cluster", metavar="URL", help="Workers of an engine instead: dask://HOST:PORT, ray://HOST:PORT, ray://local."
)

_SHARED = [
    click.option("--root", type=PlaceType(), help="The clean dataset's folder."),
    click.option("--jobs", type=click.IntRange(min=1), help="Processes at work. Default: all cores."),
]


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that make up a recipe, and --root and --jobs."""
    for option in reversed((*_RECIPE_OPTIONS, *_SHARED)):
        command = option(command)
    return command


_NOT_OF_PLACES = frozenset({
    "pick", "rate", "count", "negatives", "decoy", "prl", "prl_scope", "prl_classes", "train_split", "test_split",
    "allow_fewer", "train_ids", "jpeg",
})  # fmt: skip


def placing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the recipe's options that say which samples can be poisoned, and where triggers go."""
    for option in reversed(_RECIPE_OPTIONS):
        command = option(command)
    kept: Any = command
    kept.__click_params__ = [one for one in kept.__click_params__ if one.name not in _NOT_OF_PLACES]
    return command


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    """Return the victim-target pairs of --relabel; ChoiceError if one is not VICTIM=TARGET or given twice."""
    pairs: dict[str, str] = {}
    for word in words:
        victim, equals, target = (part.strip() for part in word.partition("="))
        if not (victim and equals and target):
            raise ChoiceError(f"--relabel: '{word}' must have the form VICTIM=TARGET, such as car=road")
        if victim in pairs:
            raise ChoiceError(f"--relabel: the victim '{victim}' is named twice")
        pairs[victim] = target
    return pairs


def _picture(name: str) -> KeptPicture | str:
    """Return a trigger's picture; a built-in one by its name, which says how large it is unless it is told."""
    return name if name in PRESETS else load_trigger(name)


def _parameters(words: tuple[str, ...], flag: str) -> dict[str, str]:
    """Return the parameters of KEY=VALUE; ChoiceError if one has another form or stands twice."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (key and equals and value):
            raise ChoiceError(f"{flag}: '{word}' must have the form KEY=VALUE")
        if key in found:
            raise ChoiceError(f"{flag}: '{key}' is given twice")
        found[key] = value
    return found


def recipe_from_options(options: dict[str, Any]) -> Recipe:
    """Return the recipe that the options describe, over a recipe file if one is given. ChoiceError, DataError."""
    given, base, file = _choices(options)
    return make_recipe(given, base, file)


def recipe_choices(options: dict[str, Any]) -> Recipe | dict[str, Any]:
    """Return the choices that the options are; the recipe that they make, if they name a file."""
    given, base, file = _choices(options)
    return given if file is None else make_recipe(given, base, file)


def _choices(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None, str | None]:
    """Return the choices that were given as options, those of the recipe file, and the file's name."""
    file = options.pop("recipe_file")
    given = {name: value for name, value in options.items() if value is not None and value != () and value is not False}
    if "relabel" in given:
        given["relabel"] = _pairs(given["relabel"])
    if "victim" in given:
        given["victim"] = list(given["victim"])
    for name in ("trigger", "decoy"):
        if name in given:
            given[name] = _picture(given[name])
    for name, flag in (("label_options", "--label-option"), ("trigger_options", "--trigger-option")):
        if name in given:
            given[name] = _parameters(given[name], flag)
    if "only_if" in given:
        given["only_if"] = list(given["only_if"])
    if str(given.get("trigger_size", "")).isdecimal():
        given["trigger_size"] = int(given["trigger_size"])
    return given, read_recipe_file(file, given.get("dataset")) if file else None, file or None
