"""Checkpoints: tensors and plain data, written whole, read without running code."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from poisongen.errors import ChoiceError, DataError, PoisongenError
from poisongen.files.store import write_whole
from poisongen.victim.classes import TrainClasses, classes_from_data
from poisongen.victim.model_names import OWN
from poisongen.victim.models import ModelSpec, spec_from_data
from poisongen.victim.run_log import CHECKPOINT
from poisongen.victim.weights import UNREADABLE, load_plain, not_finite

FORMAT = "poisongen checkpoint 2"
FORMATS = ("poisongen checkpoint 1", FORMAT)
"""What can be read. In format 1 `deeplabv3` and `segformer` were the library's, `pspnet` is not built any more."""
NAME = CHECKPOINT
LARGEST_SIZE = 2**28  # pixels that pictures may be scaled to: more than any picture has


@dataclass(frozen=True)
class Checkpoint:
    """A model in training: what it is, what it was trained on, its weights, and all that going on needs.

    `settings` are the run's Settings as plain data, `data` says on what it was trained (folder, fingerprint), `size`
    is the height and width that pictures are scaled to. `optimizer` and `scaler` (of fp16, else empty) are state
    dictionaries.
    """

    layout: str
    classes: TrainClasses
    spec: ModelSpec
    size: tuple[int, int] | None
    settings: dict[str, Any]
    data: dict[str, Any]
    iteration: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a file that stands at `path` is whole at any time."""
    content = {
        "format": FORMAT,
        "layout": checkpoint.layout,
        "classes": checkpoint.classes.as_data(),
        "spec": checkpoint.spec.as_data(),
        "size": checkpoint.size,
        "settings": checkpoint.settings,
        "data": checkpoint.data,
        "iteration": checkpoint.iteration,
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "scaler": checkpoint.scaler,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU; ChoiceError or DataError if there is none, or it is another program's."""
    if path.is_dir():
        path = path / NAME
    if not path.is_file():
        raise ChoiceError(f"{path}: no such checkpoint; give a file, or the folder that poisongen train wrote")
    try:
        content = load_plain(path)
    except UNREADABLE as error:
        first = str(error).strip().partition("\n")[0][:120]
        raise DataError(path, f"not a checkpoint of poisongen ({first})") from None
    if not isinstance(content, dict) or content.get("format") not in FORMATS:
        raise DataError(path, f"not a checkpoint of this poisongen (its format is not '{FORMAT}')")
    try:
        return Checkpoint(
            layout=str(content["layout"]),
            classes=classes_from_data(content["classes"]),
            spec=_spec(path, content),
            size=_size(content["size"]),
            settings=_plain(content["settings"]),
            data=_plain(content["data"]),
            iteration=_count(content["iteration"], 0),
            model=dict(content["model"]),
            optimizer=dict(content["optimizer"]),
            scaler=dict(content.get("scaler", {})),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(path, f"a damaged checkpoint ({type(error).__name__}: {error})") from None


def _size(value: Any) -> tuple[int, int] | None:
    """Return the height and width that pictures are scaled to. ValueError for what no picture has."""
    if value is None:
        return None
    height, width = (_count(side, 1) for side in value)
    if height * width > LARGEST_SIZE:
        raise ValueError(f"pictures of {height}x{width}")
    return height, width


def _count(value: Any, least: int) -> int:
    """Return a whole number; ValueError if it is smaller than `least`."""
    count = int(value)
    if count < least:
        raise ValueError(f"{count} is less than {least}")
    return count


def _plain(value: Any) -> dict[str, Any]:
    """Return a mapping of plain data, as a report can hold it. TypeError or ValueError for any other."""
    content = dict(value)
    json.dumps(content, allow_nan=False)
    return content


def _spec(path: Path, content: Mapping[str, Any]) -> ModelSpec:
    """Return what model a checkpoint's weights are, by the names that this version has for models."""
    spec = spec_from_data(content["spec"])
    if content["format"] == FORMAT or spec.name not in OWN:
        return spec
    if spec.name == "pspnet":
        raise DataError(path, "holds the PSPNet of an earlier version, which is not built any more; train it again")
    return replace(spec, name=f"smp-{spec.name}")


def load_weights(model: torch.nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Put a checkpoint's weights into a model; DataError if they are another model's, or not finite."""
    try:
        model.load_state_dict(checkpoint.model)
    except (RuntimeError, KeyError, AttributeError) as error:
        lines = str(error).strip().splitlines()
        detail = " ".join(lines[1].split())[:140] if len(lines) > 1 else str(error)[:140]
        raise DataError(
            path, f"its weights do not fit {checkpoint.spec} with {len(checkpoint.classes)} classes ({detail})"
        ) from None

    if broken := not_finite(model.state_dict()):
        raise DataError(
            path,
            f"{len(broken)} of its tensors hold numbers that are not finite ({broken[0]}, ...): its training diverged; "
            "train again with a lower --lr, or --clip",
        )


def require_finite(logits: torch.Tensor) -> None:
    """Refuse a model's answer that is no number anywhere: its best class would be class 0. PoisongenError.

    `logits` are (B, K, H, W). The largest of each pixel is looked at: it is NaN if any of them is.
    """
    if not bool(torch.isfinite(logits.amax(dim=1)).all()):
        raise PoisongenError(
            "the model answers with numbers that are not finite, so there is no best class; evaluate with --amp off, "
            "and if that does not help, train again with a lower --lr"
        )
