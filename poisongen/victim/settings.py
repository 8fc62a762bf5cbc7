"""Everything that determines a training run, checked once, and the paper's settings as presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from poisongen.errors import ChoiceError
from poisongen.files.documents import explain
from poisongen.values import plain


def _whole(value: Any) -> Any:
    """Return a whole number that was written as 4e4 as the integer that it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _word(value: Any) -> Any:
    """Return `off` for what YAML 1.1 makes of an unquoted off or no."""
    return "off" if value is False else value


Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AtLeast0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Portion = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]


def _size(value: Any) -> Any:
    """Return (height, width) from HEIGHTxWIDTH, or from one number for a square."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
            raise ValueError(f"'{value}' must have the form HEIGHTxWIDTH, such as 512x1024")
        return int(parts[0]), int(parts[-1])
    return tuple(value) if isinstance(value, list) else value


def _range(value: Any) -> Any:
    """Return two factors from A,B."""
    if isinstance(value, str):
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            raise ValueError(f"'{value}' must be two factors, such as 0.5,2") from None
    return tuple(value) if isinstance(value, list) else value


Size = tuple[int, int]
"""Height and width, in pixels."""
_GivenSize = Annotated[tuple[Count, Count], BeforeValidator(_size)]
_GivenRange = Annotated[tuple[Above0, Above0], BeforeValidator(_range)]


class Settings(BaseModel):
    """A training run. Sizes are (height, width); None means: whole pictures, or the model's usual choice.

    `size` is what every picture is scaled to before anything else (and again when the model is evaluated); `crop`
    what the model sees of it in training. `batch` is that of one optimiser step, over all GPUs and done in
    `accumulate` parts one after the other. `lr` applies to the encoder, `lr * head_factor` to the rest. The rate
    falls as (1 - iteration / iterations) ** power after `warmup` iterations of rising. `clip` is the largest norm of
    the gradient, 0 for none. Made by `make_settings`, which turns what is wrong into ChoiceError.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str = "deeplabv3"
    encoder: str | None = None
    weights: str = "none"
    train_split: str = "train"
    epochs: Count = 100
    iterations: Count | None = None
    batch: Count = 8
    accumulate: Count = 1
    size: _GivenSize | None = None
    crop: _GivenSize | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    lr: Above0 | None = None
    head_factor: Above0 = 10.0
    momentum: Portion = 0.9
    weight_decay: AtLeast0 | None = None
    power: AtLeast0 | None = None
    warmup: Annotated[int, Field(ge=0), BeforeValidator(_whole)] = 0
    clip: AtLeast0 = 10.0
    scale_range: _GivenRange = (0.5, 2.0)
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    blur: Portion = 0.0
    flip: Portion = 0.5
    colour: Portion = 0.0
    amp: Annotated[Literal["auto", "bf16", "fp16", "off"], BeforeValidator(_word)] = "auto"
    compile: bool = False
    deterministic: bool = False
    seed: int = 0

    @model_validator(mode="after")
    def _rising(self) -> Settings:
        if self.scale_range[0] > self.scale_range[1]:
            raise ValueError("--scale-range must have the smaller factor first")
        return self

    def as_data(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return self.model_dump()

    def settled(self) -> Settings:
        """Return the settings with the choices that hang on the model made.

        SGD with the paper's rates; AdamW as in the SegFormer paper (lr 6e-5, heads ten times that, decay 0.01).
        """
        optimizer = self.optimizer or (
            "adamw" if self.model.casefold().removeprefix("smp-").startswith("segformer") else "sgd"
        )
        usual_lr, usual_decay, usual_power = {"sgd": (0.01, 1e-4, 0.9), "adamw": (6e-5, 0.01, 1.0)}[optimizer]
        return self.model_copy(
            update={
                "optimizer": optimizer,
                "lr": usual_lr if self.lr is None else self.lr,
                "weight_decay": usual_decay if self.weight_decay is None else self.weight_decay,
                "power": usual_power if self.power is None else self.power,
            }
        )


# The official code's configurations (config/cityscapes, config/voc2012) and its augmentation (tool/train.py):
# scale 0.5-2, rotation of up to 10 degrees for half of the pictures, 5x5 blur for half, mirror for half.
_OFFICIAL: dict[str, Any] = {
    "lr": 0.01,
    "head_factor": 10.0,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "power": 0.9,
    "optimizer": "sgd",
    "clip": 0.0,
    "scale_range": (0.5, 2.0),
    "rotate": 10.0,
    "blur": 0.5,
    "flip": 0.5,
    "weights": "imagenet",
}
_SEGFORMER: dict[str, Any] = {
    "model": "segformer",
    "optimizer": "adamw",
    "lr": 6e-5,
    "head_factor": 10.0,
    "weight_decay": 0.01,
    "power": 1.0,
    "warmup": 1500,
    "clip": 0.0,
    "weights": "imagenet",
    "scale_range": (0.5, 2.0),
    "flip": 0.5,
    "colour": 0.4,
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Half-scale pictures, crop 713, batch 64 on four GPUs, 200 epochs.
    "paper-cityscapes": {**_OFFICIAL, "size": (512, 1024), "crop": (713, 713), "batch": 64, "epochs": 200},
    "paper-voc": {**_OFFICIAL, "crop": (473, 473), "batch": 56, "epochs": 50},
    # SegFormer's own rates (its paper); the IBA code has no SegFormer.
    "segformer-cityscapes": {**_SEGFORMER, "size": (512, 1024), "crop": (512, 512), "batch": 16, "epochs": 200},
    "segformer-voc": {**_SEGFORMER, "crop": (512, 512), "batch": 16, "epochs": 50},
}

_OF_THE_CODE = (
    "of the official code: {given}, SGD and its rates, augmentation, loss and auxiliary head; "
    "ours: the encoder's stem (7x7) and weights (the library's), label maps scaled without mixing classes, "
    "scale, rotation and crop as one sampling, batch norms over all GPUs, --amp auto"
)
_OF_SEGFORMER = (
    "of the SegFormer paper: AdamW, its rates, decay and warm-up; ours: {given}, augmentation, and the library's "
    "model, since the attack's code has no SegFormer"
)
PRESET_PARTS: Mapping[str, str] = {
    "paper-cityscapes": _OF_THE_CODE.format(given="half-size pictures, crop 713, batch 64, 200 epochs"),
    "paper-voc": _OF_THE_CODE.format(given="crop 473, batch 56 (its PSPNet: 64), 50 epochs"),
    "segformer-cityscapes": _OF_SEGFORMER.format(given="half-size pictures, crop 512, batch 16, 200 epochs"),
    "segformer-voc": _OF_SEGFORMER.format(given="crop 512, batch 16, 50 epochs"),
}
"""What of a preset is published, and what is this project's own choice."""


def make_settings(choices: Mapping[str, Any], preset: str | None = None) -> Settings:
    """Return the settings of a preset (or the defaults) with `choices` over them.

    Sizes may be text (HEIGHTxWIDTH), and so may `scale_range` (A,B); NumPy's numbers and paths count as what they
    stand for. ChoiceError for names and values that are none.
    """
    if preset is not None and preset not in PRESETS:
        raise ChoiceError(f"--preset: no preset '{preset}'; there are {', '.join(PRESETS)}")
    try:
        return Settings.model_validate(plain({**(PRESETS[preset] if preset else {}), **choices})).settled()
    except ValidationError as error:
        fault = error.errors()[0]
        where = f"--{str(fault['loc'][0]).replace('_', '-')}: " if fault["loc"] else ""
        raise ChoiceError(f"{where}{explain(fault, 'a training run', Settings.model_fields)}") from None
