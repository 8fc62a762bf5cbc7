"""Whether a checkpoint is the run's that is to go on: the same model, settings and data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from poisongen.errors import ChoiceError, DataError
from poisongen.records.manifest import FOLDER, SUMMARY
from poisongen.records.standing import read_summary
from poisongen.victim.checkpoint import Checkpoint
from poisongen.victim.plan import Plan
from poisongen.victim.settings import Settings


def trained_on(plan: Plan) -> dict[str, Any]:
    """Return what a run is trained on, as plain data."""
    root = plan.folder.root
    built = (root / FOLDER / SUMMARY).is_file()
    return {
        "folder": str(root),
        "fingerprint": str(read_summary(root)["fingerprint"]) if built else "",
        "split": plan.settings.train_split,
        "pictures": len(plan.source.samples),
        "content": plan.content,
    }


def check_same_run(found: Checkpoint, plan: Plan, out: Path, checkpoint: Path) -> None:
    """Compare a checkpoint with what was asked for. ChoiceError names the first difference, DataError damage."""
    if found.spec != plan.spec or found.classes != plan.classes:
        raise ChoiceError(
            f"--resume: {checkpoint} is {found.spec} with {len(found.classes)} classes, asked for is "
            f"{plan.spec} with {len(plan.classes)}"
        )
    # A setting that is younger than the checkpoint was at its default.
    had = {name: field.default for name, field in Settings.model_fields.items()} | found.settings
    for name, value in plan.settings.as_data().items():
        if name in ("model", "encoder"):  # one model, however its name is spelled
            continue
        if _plain(had[name]) != _plain(value):
            raise ChoiceError(
                f"--resume: the run in {out} has {name} {had[name]}, not {value}; "
                "give the same settings, or start another run"
            )
    data = trained_on(plan)
    if any(found.data.get(key, data[key]) != data[key] for key in ("fingerprint", "pictures", "content")):
        raise ChoiceError(
            f"--resume: the run in {out} was trained on another dataset ({found.data.get('folder')}, as it was then); "
            "give that one, or start another run"
        )
    if found.iteration > plan.iterations:
        raise DataError(checkpoint, f"a damaged checkpoint: it holds {found.iteration} iterations of {plan.iterations}")


def _plain(value: Any) -> Any:
    """Return settings as JSON keeps them, so that tuples and lists compare."""
    return json.loads(json.dumps(value))
