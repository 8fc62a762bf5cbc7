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

from poisongen.datasets import layouts
from poisongen.errors import ChoiceError, DataError
from poisongen.files.documents import explain, parse_yaml, read_document
from poisongen.recipe.trigger_files import TriggerPicture, load_trigger
from poisongen.values import pairs, plain, share

RECIPE_VERSION = 1

Class = Annotated[str | int, Field(union_mode="left_to_right")]
Length = Annotated[int, Field(ge=0, le=65536)]
Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    strategy: Literal["random", "nn", "far"]
    pick: Literal["nearest", "uniform"] | None = None
    min_distance: Distance | None = None
    max_distance: Distance | None = None
    metric: Literal["chebyshev", "euclidean"] = "chebyshev"
    relabel: Annotated[dict[Class, Class] | None, BeforeValidator(pairs)] = None
    victim: Class | list[Class] | None = None
    target: Class | None = None
    rate: Annotated[Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None, BeforeValidator(share)] = None
    count: Annotated[int, Field(ge=1)] | None = None
    trigger: TriggerPicture | str | None = None
    trigger_size: Annotated[int, Field(ge=1, le=4096)] | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _as_plain_data(cls, choices: Any) -> Any:
        return plain(choices)

    @field_validator("version")
    @classmethod
    def _known_version(cls, version: int) -> int:
        if version != RECIPE_VERSION:
            raise ValueError(_other_version(version))
        return version

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        if name not in layouts():
            raise ValueError(f"no layout '{name}'; there are {', '.join(layouts())}")
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
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as plain data, as recipe.json keeps it."""
        return self.model_dump(mode="json", exclude={"victim", "target"})

    def fingerprint(self) -> str:
        """Return the SHA-256 of what determines content: canonical JSON of the recipe, trigger by its digest.

        The trigger's name and the two permissions (allow_fewer, skip_bad) change no pixel and are left out.
        """
        plain = self.as_json()
        for key in ("allow_fewer", "skip_bad"):
            del plain[key]
        if isinstance(self.trigger, TriggerPicture):
            plain["trigger"] = self.trigger.sha256
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    folder = resources.files("poisongen.recipes")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_recipe_file(name: str, dataset: str | None = None) -> dict[str, Any]:
    """Return the choices of a recipe file, or of a shipped recipe by name, not yet checked.

    `iba-nni` is the recipe `iba-nni-cityscapes` or `iba-nni-voc`, whichever `dataset` says (else Cityscapes).
    A trigger file that the recipe names must lie beside it. ChoiceError or DataError if it cannot be read.
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
    trigger = document.get("trigger")
    if isinstance(trigger, str):
        document["trigger"] = load_trigger(trigger, folder=path.resolve().parent).model_dump()
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
    for key in ("dataset", "strategy"):
        if merged.get(key) is None:
            known = ", ".join(layouts()) if key == "dataset" else "random, nn, far"
            raise ChoiceError(f"--{key} is missing; give one of {known}, or a --recipe")
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        fault = error.errors()[0]
        key = str(fault["loc"][0]) if fault["loc"] else ""
        where = f"{source}: {key}" if source and key not in choices else f"--{key.replace('_', '-')}"
        problem = explain(fault, "a recipe", Recipe.model_fields)
        raise ChoiceError(f"{where if key else source or 'recipe'}: {problem}") from None
