"""A look at what a recipe would do, without writing a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PosixPath
from typing import Any

from poisongen.building.run import plan_build
from poisongen.errors import ChoiceError, OutputError
from poisongen.files.store import check_name
from poisongen.previewing.sheet import choose_tasks, save_sheet
from poisongen.recipe.model import Recipe
from poisongen.source.listing import check_apart

_NAMED = 3  # pairs of classes that a title has room for


class Sheet(PosixPath):
    """The path of a contact sheet; Jupyter shows the picture that lies there."""

    def _repr_png_(self) -> bytes:
        return self.read_bytes()


def preview(
    recipe: Recipe | Mapping[str, Any],
    root: Path | str | None = None,
    out: Path | str = "preview.png",
    *,
    samples: int = 4,
    jobs: int | None = None,
    progress: bool = False,
) -> Sheet:
    """Draw one PNG contact sheet of what `build` would do with the same recipe, and return its path.

    In Jupyter what is returned shows itself.

    Shown are samples that the build would really change: image and labels before and after, the trigger's box, and
    the line to the nearest victim pixel. PoisongenError as in `build`; `out` must not lie in the clean dataset.
    """
    path = Path(out)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise ChoiceError(f"--out: {path} must be the name of a PNG file, such as preview.png")
    check_name(path)
    prepared, plan = plan_build(recipe, None if root is None else Path(root), jobs=jobs, progress=progress)
    check_apart(prepared.root, path)
    settled = prepared.rules.recipe
    relabel = settled.relabel or {}
    targets = ["a map" if target is None else str(target) for target in relabel.values()]
    pairs = ", ".join(f"{victim} to {target}" for victim, target in zip(relabel, targets, strict=True))
    if len(relabel) > _NAMED:
        pairs = f"{len(relabel)} classes, each to another" if len(set(targets)) > 1 else ""
        pairs = pairs or f"{len(relabel)} classes to {targets[0]}"
    pairs += "" if settled.labels == "class" else f" ({settled.labels})"
    strategy = settled.strategy if settled.trigger_kind == "patch" else f"{settled.trigger_kind}, {settled.strategy}"
    title = f"poisongen preview: {settled.dataset}, {strategy}, {pairs}, seed {settled.seed}"
    try:
        save_sheet(choose_tasks(plan.tasks, samples), prepared.root, prepared.rules, path, title)
    except OSError as error:
        raise OutputError(f"--out: {path} cannot be written ({error.strerror})") from None
    return Sheet(path)
