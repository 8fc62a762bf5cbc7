"""Draw the pictures of docs/attacks.md, and print what each trigger changes: every label rule and kind on one scene.

    python docs/make_pictures.py

The scene is a synthetic one of 2048x1024 px. Pictures go into docs/images/attacks, below 60 kB each.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from poisongen.building.run import plan_build
from poisongen.building.sample import do_task
from poisongen.scenes import synth

OUT = Path(__file__).parent / "images/attacks"
SEED = 11
WIDTH, GAP, LARGEST = 480, 6, 60_000
# Of these, what changed is shown in a part of the picture, twice as large.
CENTRE = np.s_[560 : 560 + WIDTH // 4, 1300 : 1300 + WIDTH // 2]
CLOSE = ("kind-warp", "kind-dct")

PATCH: Mapping[str, Any] = {"strategy": "random", "relabel": {"car": "road"}}
WHOLE: Mapping[str, Any] = {"strategy": "whole", "relabel": {"car": "road"}}
THINGS = ["person", "rider", "car", "truck", "bus", "bicycle"]

RULES: Mapping[str, Mapping[str, Any]] = {
    "class": {**PATCH, "labels": "class"},
    "instance": {**PATCH, "labels": "instance", "strategy": "nn", "seed": 2},
    "under": {"strategy": "on", "labels": "under", "victim": THINGS, "target": "road"},
    "all": {"strategy": "fixed", "at": "top", "trigger": "line", "labels": "all", "target": "road"},
    "shift": {"strategy": "whole", "trigger_kind": "wavelet", "trigger": "flower", "labels": "shift"},
    "box": {**PATCH, "labels": "box", "strategy": "on"},
}
"""A build for each label rule."""

KINDS: Mapping[str, Mapping[str, Any]] = {
    "patch": PATCH,
    "patch-line": {**PATCH, "strategy": "fixed", "at": "top", "trigger": "line"},
    "patch-frame": {**PATCH, "strategy": "fixed", "trigger": "frame", "region": "any"},
    "blend": {**WHOLE, "trigger_kind": "blend"},
    "sinusoid": {**WHOLE, "trigger_kind": "sinusoid"},
    "warp": {**WHOLE, "trigger_kind": "warp"},
    "fourier": {**WHOLE, "trigger_kind": "fourier", "trigger": "flower"},
    "wavelet": {**WHOLE, "trigger_kind": "wavelet", "trigger": "flower"},
    "dct": {**WHOLE, "trigger_kind": "dct"},
    "colour-gotham": {**WHOLE, "trigger_kind": "colour"},
    "colour-kelvin": {**WHOLE, "trigger_kind": "colour", "trigger_options": {"style": "kelvin"}},
    "weather-rain": {**WHOLE, "trigger_kind": "weather"},
    "weather-fog": {**WHOLE, "trigger_kind": "weather", "trigger_options": {"style": "fog"}},
    "physical-board": {**PATCH, "strategy": "ground", "trigger_kind": "physical", "trigger": "sign"},
    "physical-sticker": {
        **PATCH,
        "strategy": "ground",
        "trigger_kind": "physical",
        "trigger": "sign",
        "trigger_options": {"form": "sticker", "wide": 1.0, "long": 2.0},
    },
}
"""A build for each kind of trigger, and for its forms that look different."""


def main() -> None:
    """Draw everything."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clean"
        synth(root, splits={"train": 1, "val": 0}, size=(2048, 1024), seed=SEED)
        for name, choices in RULES.items():
            draw(f"rule-{name}", choices, root, with_labels=True)
        for name, choices in KINDS.items():
            draw(f"kind-{name}", choices, root, with_labels=False)


def draw(name: str, choices: Mapping[str, Any], root: Path, with_labels: bool) -> None:
    """Do one sample of a build in memory and draw it; print what its trigger changed."""
    recipe = {"dataset": "cityscapes", "count": 1, "test_split": "none", **choices}
    prepared, plan = plan_build(recipe, root, jobs=1)
    task = next(task for task in plan.tasks if task.role == "poisoned")
    outcome = do_task(task, prepared.root, prepared.rules)
    new = {file.kind: outcome.contents.get(file.path) for file in outcome.record.files}
    before, after = opened((root / task.sample.image).read_bytes()), opened(new["image"])
    if with_labels:
        (old_labels,) = [root / label.path for label in task.sample.labels if label.kind == "color"]
        panels = [after, opened(old_labels.read_bytes()), opened(new["color"])]
    else:
        change = after.astype(np.int16) - before
        if name in CLOSE:
            change = change[CENTRE].repeat(2, axis=0).repeat(2, axis=1)
        strength = np.percentile(np.abs(change[change != 0]), 98)
        panels = [after, np.clip(128 + change * (120 / strength), 0, 255).astype(np.uint8)]
    size = save(OUT / f"{name}.jpg", panels)
    trigger = outcome.record.trigger
    print(f"{name:24} psnr {trigger.psnr:6.2f} dB, changed {trigger.changed:7.2%}, {size} bytes")


def opened(data: bytes) -> np.ndarray:
    """Decode a picture as RGB."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def save(path: Path, panels: list[np.ndarray]) -> int:
    """Write pictures side by side, reduced, as good as 60 kB allow; return the number of bytes."""
    height = WIDTH * panels[0].shape[0] // panels[0].shape[1]
    sheet = Image.new("RGB", (len(panels) * (WIDTH + GAP) - GAP, height), "white")
    for at, panel in enumerate(panels):
        sheet.paste(Image.fromarray(panel).resize((WIDTH, height), Image.Resampling.BOX), (at * (WIDTH + GAP), 0))
    for quality in range(88, 20, -4):
        out = io.BytesIO()
        sheet.save(out, "JPEG", quality=quality, optimize=True, subsampling=0)
        if len(out.getvalue()) < LARGEST:
            break
    path.write_bytes(out.getvalue())
    return len(out.getvalue())


if __name__ == "__main__":
    main()
