"""The recipe: every choice that determines a poisoned dataset, checked once, at the door."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from poisongen.attack.triggers import find_trigger_kind
from poisongen.datasets import layouts, no_layout
from poisongen.errors import ChoiceError, DataError
from poisongen.files.documents import explain, parse_yaml, read_document
from poisongen.recipe.label_pictures import load_beside
from poisongen.recipe.trigger_files import KeptPicture, builtin_triggers, load_trigger
from poisongen.values import pairs, plain, share

RECIPE_VERSION = 2
"""The newest version. A recipe's own is the lowest that knows all of its choices: 1 for those of the first version."""

Class = Annotated[str | int, Field(union_mode="left_to_right")]
Length = Annotated[int, Field(ge=0, le=65536)]
Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PLACES = ("top-left", "top", "top-right", "left", "centre", "right", "bottom-left", "bottom", "bottom-right")
Options = dict[str, int | float | str]
LabelOptions = dict[str, int | float | str | KeptPicture]
SINCE_2 = ("labels", "label_options", "only_if", "negatives", "decoy", "trigger_kind", "trigger_options", "at")
"""The choices that version 1 did not know: those that stand at their defaults are neither written nor digested."""


def _other_version(version: int) -> str:
    newer = "written by a newer poisongen; update" if version > RECIPE_VERSION else "unknown"
    return f"recipe version {version} is {newer} (this one reads version {RECIPE_VERSION})"


def is_newer(document: Mapping[str, Any]) -> bool:
    """Tell whether choices come from a newer poisongen: whatever else they hold cannot be judged then."""
    version = document.get("version")
    return type(version) is int and version > RECIPE_VERSION


class Recipe(BaseModel):
    """What is to be done to a clean dataset. What is None is filled in by `rules.settle`.

    The fields are the options of `poisongen build`, with `_` for `-`; the contract's table says what each means.
    Wrong types, unknown keys and values out of range raise ChoiceError by way of `make_recipe`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = RECIPE_VERSION
    dataset: str
    strategy: Literal["random", "nn", "far", "fixed", "on", "ground", "whole"]
    pick: Literal["nearest", "uniform"] | None = None
    min_distance: Distance | None = None
    max_distance: Distance | None = None
    metric: Literal["chebyshev", "euclidean"] = "chebyshev"
    relabel: Annotated[dict[Class, Class | None] | None, BeforeValidator(pairs)] = None
    victim: Class | list[Class] | None = None
    target: Class | None = None
    rate: Annotated[Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None, BeforeValidator(share)] = None
    count: Annotated[int, Field(ge=1)] | None = None
    trigger: KeptPicture | str | None = None
    trigger_size: Annotated[int, Field(ge=1, le=4096)] | str | None = None
    opacity: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    region: Literal["single", "any"] = "single"
    edge_margin: Length = 0
    prl: int | str | None = None
    prl_scope: Literal["all", "poisoned"] = "all"
    prl_classes: Class = "image"
    train_split: Annotated[str, Field(min_length=1)] = "train"
    test_split: Annotated[str, Field(min_length=1)] = "val"
    scale: Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)] = 1.0
    min_victim_pixels: Annotated[int, Field(ge=1)] = 1
    allow_fewer: bool = False
    skip_bad: bool = False
    train_ids: Literal["auto", "never"] = "auto"
    jpeg: Literal["blocks", "reencode"] = "blocks"
    seed: int = 0
    labels: str = "class"
    label_options: LabelOptions = Field(default_factory=dict)
    only_if: list[str] = Field(default_factory=list)
    negatives: int | str | None = None
    decoy: KeptPicture | str | None = None
    trigger_kind: str = "patch"
    trigger_options: Options = Field(default_factory=dict)
    at: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_plain_data(cls, choices: Any) -> Any:
        return plain(choices)

    @field_validator("version")
    @classmethod
    def _known_version(cls, version: int) -> int:
        if not 1 <= version <= RECIPE_VERSION:
            raise ValueError(_other_version(version))
        return version

    @field_validator("trigger_size")
    @classmethod
    def _side_or_sides(cls, size: int | str | None) -> int | str | None:
        """Return the size as a side, or as HEIGHTxWIDTH, either of which may be `full`."""
        if not isinstance(size, str):
            return size
        sides = size.strip().lower().split("x")
        if len(sides) != 2 or not all(
            side == "full" or (side.isdecimal() and 1 <= int(side) <= 4096) for side in sides
        ):
            raise ValueError(f"'{size}' is neither a side nor HEIGHTxWIDTH, such as 8x64 (up to 4096, or `full`)")
        plain_sides = [side if side == "full" else str(int(side)) for side in sides]
        square = plain_sides[0] == plain_sides[1] and plain_sides[0] != "full"
        return int(plain_sides[0]) if square else "x".join(plain_sides)

    @field_validator("at")
    @classmethod
    def _named_place(cls, place: str | None) -> str | None:
        """Return a place as a name, or as ROW,COLUMN of the box's centre."""
        if place is None:
            return None
        word = place.strip().lower().replace("center", "centre")
        if word in PLACES:
            return word
        match = re.fullmatch(r"(\d{1,5})\s*,\s*(\d{1,5})", word)
        if match is None:
            raise ValueError(f"'{place}' is neither a place ({', '.join(PLACES)}) nor ROW,COLUMN")
        return f"{int(match[1])},{int(match[2])}"

    @field_validator("negatives")
    @classmethod
    def _number_or_percentage(cls, amount: int | str | None) -> int | str | None:
        """Return how many negatives: a number, or a percentage of the poisoned samples such as '100%'; 0 is none."""
        if amount is None:
            return None
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(amount))
        if match is None or (not match[2] and "." in match[1]):
            raise ValueError(f"'{amount}' is neither a number of samples nor a percentage such as 100%")
        return f"{float(match[1]):g}%" if match[2] else int(match[1]) or None

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        if name not in layouts():
            raise ValueError(no_layout(name))
        return name

    @field_validator("prl")
    @classmethod
    def _pixels_or_percentage(cls, amount: int | str | None) -> int | str | None:
        """Return the amount as a number of pixels or as a percentage such as '27%'; 0 means off."""
        if amount is None:
            return None
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(amount))
        if match is None or (not match[2] and "." in match[1]):
            raise ValueError(f"'{amount}' is neither a number of pixels nor a percentage such as 27%")
        if match[2]:
            if not 0 < float(match[1]) <= 100:
                raise ValueError(f"{match[1]}% is not a share of the label map; give more than 0% and at most 100%")
            return f"{float(match[1]):g}%"
        return int(match[1]) or None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.rate is not None and self.count is not None:
            raise ValueError("give a rate or a count, not both")
        if self.relabel is not None and (self.victim is not None or self.target is not None):
            raise ValueError("give relabel, or victim and target, not both")
        if self.relabel is not None and not self.relabel:
            raise ValueError("relabel names no pair")
        if self.negatives is not None and not self.only_if and self.decoy is None:
            raise ValueError("negatives need a condition that fails for them (only_if), or a decoy that they carry")
        if self.decoy is not None and self.only_if:
            raise ValueError("give a decoy or conditions, not both: with a decoy the conditions do not matter")
        return self

    @property
    def lowest_version(self) -> int:
        """The lowest version that knows all of this recipe's choices."""
        first = self.strategy in ("random", "nn", "far") and not isinstance(self.trigger_size, str)
        return 1 if first and not self._younger() else 2

    @property
    def has_negatives(self) -> bool:
        """Whether some samples carry a trigger and keep true labels, in training or in a test set of their own."""
        return bool(self.only_if) or self.decoy is not None

    def _younger(self) -> set[str]:
        """Return the choices of version 2 that do not stand at their defaults."""
        fields = type(self).model_fields
        return {name for name in SINCE_2 if getattr(self, name) != fields[name].get_default(call_default_factory=True)}

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as plain data, as recipe.json keeps it."""
        unused = set(SINCE_2) - self._younger()
        return self.model_dump(mode="json", exclude={"victim", "target", *unused})

    def fingerprint(self) -> str:
        """Return the SHA-256 of what determines content: canonical JSON of the recipe, pictures by their digests.

        A picture's name and the two permissions (allow_fewer, skip_bad) change no pixel and are left out.
        """
        plain = self.as_json()
        for key in ("allow_fewer", "skip_bad"):
            del plain[key]
        for key in ("trigger", "decoy"):
            if isinstance(picture := getattr(self, key), KeptPicture):
                plain[key] = picture.sha256
        for name, value in self.label_options.items():
            if isinstance(value, KeptPicture):
                plain["label_options"][name] = value.sha256
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    folder = resources.files("poisongen.recipes")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def recipe_titles() -> dict[str, str]:
    """Return what each shipped recipe says of itself in the comment that is its first line, by name."""
    folder = resources.files("poisongen.recipes")
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in shipped_recipes()}
    return {name: text.partition("\n")[0].removeprefix("#").strip() for name, text in texts.items()}


def read_recipe_file(name: str, dataset: str | None = None) -> dict[str, Any]:
    """Return the choices of a recipe file, or of a shipped recipe by name, not yet checked.

    `iba-nni` is the recipe `iba-nni-cityscapes` or `iba-nni-voc`, whichever `dataset` says (else Cityscapes).
    A trigger or label picture that the recipe names must lie beside it; a built-in trigger stays a name. ChoiceError or
    DataError if it cannot be read.
    """
    shipped = shipped_recipes()
    for candidate in (name, f"{name}-{dataset or 'cityscapes'}"):
        if candidate in shipped:
            text = (resources.files("poisongen.recipes") / f"{candidate}.yaml").read_text(encoding="utf-8")
            choices: dict[str, Any] = parse_yaml(text)
            return choices
    path = Path(name)
    if not path.exists():
        near = [known for known in shipped if known.startswith(name)]
        raise ChoiceError(
            f"--recipe: '{name}' is neither a file nor a shipped recipe"
            + (f" for {dataset}" if near else "")
            + f" ({', '.join(near or shipped)})"
        )
    document = read_document(path)
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise DataError(path, "a recipe is a mapping of option names to values")
    if is_newer(document):
        raise DataError(path, _other_version(document["version"]))
    for key in ("trigger", "decoy"):
        picture = document.get(key)
        if isinstance(picture, str) and picture not in builtin_triggers():  # whose names say more than their pixels
            document[key] = load_trigger(picture, folder=path.resolve().parent).model_dump()
    if isinstance(document.get("label_options"), dict):
        document["label_options"] = load_beside(document["label_options"], path.resolve().parent)
    return document


_EXCLUSIVE = (({"rate"}, {"count"}), ({"relabel"}, {"victim", "target"}))


def make_recipe(choices: Mapping[str, Any], base: Mapping[str, Any] | None = None, source: str | None = None) -> Recipe:
    """Check choices and return the recipe. `choices` win over `base`, which came from the recipe file `source`.

    ChoiceError names the option, or the file and key, and says what is wrong with it.
    """
    merged = dict(base or {})
    for one, other in _EXCLUSIVE:
        for given, replaced in ((one, other), (other, one)):
            if given & choices.keys():
                merged = {key: value for key, value in merged.items() if key not in replaced}
    merged |= choices
    if is_newer(merged):
        raise ChoiceError(f"{source or 'recipe'}: {_other_version(merged['version'])}")
    if merged.get("strategy") is None and isinstance(merged.get("trigger_kind"), str):
        kind = find_trigger_kind(merged["trigger_kind"])
        merged |= {"strategy": "ground" if kind.quad else "whole"} if kind.whole else {}
    for key in ("dataset", "strategy"):
        if merged.get(key) is None:
            known = ", ".join(layouts()) if key == "dataset" else "random, nn, far, fixed, on"
            raise ChoiceError(f"--{key} is missing; give one of {known}, or a --recipe")
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        fault = error.errors()[0]
        key = str(fault["loc"][0]) if fault["loc"] else ""
        where = f"{source}: {key}" if source and key not in choices else f"--{key.replace('_', '-')}"
        problem = explain(fault, "a recipe", Recipe.model_fields)
        raise ChoiceError(f"{where if key else source or 'recipe'}: {problem}") from None
