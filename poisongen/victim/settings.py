"""Everything that determines a training run, and the paper's settings as presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from poisongen.errors import ChoiceError

Size = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """A training run. Sizes are (height, width); None means: whole pictures, or the model's usual choice.

    `size` is what every picture is scaled to before anything else (and again when the model is evaluated); `crop`
    what the model sees of it in training. `lr` applies to the encoder, `lr * head_factor` to the rest. The rate
    falls as (1 - iteration / iterations) ** power after `warmup` iterations of rising. `clip` is the largest norm of
    the gradient, 0 for none.
    """

    model: str = "deeplabv3"
    encoder: str | None = None
    weights: str = "none"
    train_split: str = "train"
    epochs: int = 100
    iterations: int | None = None
    batch: int = 8
    size: Size | None = None
    crop: Size | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    lr: float | None = None
    head_factor: float = 10.0
    momentum: float = 0.9
    weight_decay: float | None = None
    power: float | None = None
    warmup: int = 0
    clip: float = 10.0
    scale: tuple[float, float] = (0.5, 2.0)
    rotate: float = 0.0
    blur: float = 0.0
    flip: float = 0.5
    colour: float = 0.0
    amp: Literal["auto", "bf16", "off"] = "auto"
    compile: bool = False
    deterministic: bool = False
    seed: int = 0

    def as_data(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self)

    def settled(self) -> Settings:
        """Return the settings with the choices that hang on the model made; ChoiceError if they are not possible.

        SGD with the paper's rates; AdamW as in the SegFormer paper (lr 6e-5, heads ten times that, decay 0.01).
        """
        optimizer = self.optimizer or ("adamw" if self.model.casefold().startswith("segformer") else "sgd")
        usual_lr, usual_decay, usual_power = {"sgd": (0.01, 1e-4, 0.9), "adamw": (6e-5, 0.01, 1.0)}[optimizer]
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ChoiceError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ChoiceError(f"--scale-range must be two factors above 0, the smaller first, not {self.scale}")
        return replace(
            self,
            optimizer=optimizer,
            lr=usual_lr if self.lr is None else self.lr,
            weight_decay=usual_decay if self.weight_decay is None else self.weight_decay,
            power=usual_power if self.power is None else self.power,
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
    "scale": (0.5, 2.0),
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
    "scale": (0.5, 2.0),
    "flip": 0.5,
    "colour": 0.4,
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Half-scale pictures, crop 713, batch 64 on four GPUs, 200 epochs.
    "paper-cityscapes": {**_OFFICIAL, "size": (512, 1024), "crop": (713, 713), "batch": 64, "epochs": 200},
    "paper-voc": {**_OFFICIAL, "crop": (473, 473), "batch": 56, "epochs": 50},
    # SegFormer's own rates (its paper); the IBA code has no SegFormer, so crop and epochs are those above.
    "segformer-cityscapes": {**_SEGFORMER, "size": (512, 1024), "crop": (512, 512), "batch": 16, "epochs": 200},
    "segformer-voc": {**_SEGFORMER, "crop": (512, 512), "batch": 16, "epochs": 50},
}


def make_settings(choices: Mapping[str, Any], preset: str | None = None) -> Settings:
    """Return the settings of a preset (or the defaults) with `choices` over them; ChoiceError for unknown names."""
    if preset is not None and preset not in PRESETS:
        raise ChoiceError(f"--preset: no preset '{preset}'; there are {', '.join(PRESETS)}")
    known = {field.name for field in fields(Settings)}
    if unknown := sorted(set(choices) - known):
        raise ChoiceError(f"train: unknown setting '{unknown[0]}'; there are {', '.join(sorted(known))}")
    return Settings(**{**(PRESETS[preset] if preset else {}), **choices}).settled()


def parse_size(text: str, option: str) -> Size:
    """Return (height, width) from HEIGHTxWIDTH, or one number for a square; ChoiceError if it is neither."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ChoiceError(f"{option}: '{text}' must have the form HEIGHTxWIDTH, such as 512x1024")
    return int(parts[0]), int(parts[-1])
