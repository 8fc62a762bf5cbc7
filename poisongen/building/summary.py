"""Writing the records of a build: recipe, manifest, skipped, links and, over them all, the summary."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from poisongen.building.finished import source_listing
from poisongen.building.plan import Plan
from poisongen.building.prepared import Prepared
from poisongen.building.staging import Staging
from poisongen.records.algorithms import ALGORITHM, RECORDS
from poisongen.records.manifest import (
    FOLDER,
    LEFT_OUT,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    bytes_sha256,
    fingerprint,
    json_line,
)
from poisongen.version import __version__

_NAMED = 10  # label-like files that the summary names; it counts all


def _left_out(root: Path, path: str) -> dict[str, Any]:
    """Return the line of left_out.jsonl for a file of the source."""
    with (root / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"path": path, "size": file.tell(), "sha256": digest}


def write_records(
    staging: Staging,
    prepared: Prepared,
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    undo: Mapping[str, Any] | None,
) -> None:
    """Write recipe, manifest, skipped, links and, over them all, the summary; `undo` is what it says of the store."""
    recipe = prepared.rules.recipe
    texts = {
        RECIPE: json_line(recipe.as_json()),
        MANIFEST: "".join(map(json_line, records)),
        SKIPPED: "".join(map(json_line, plan.skipped)),
        LINKS: "".join(map(json_line, links)),
    }
    if plan.left_out:
        texts[LEFT_OUT] = "".join(json_line(_left_out(prepared.root, path)) for path in plan.left_out)
    for name, text in texts.items():
        staging.write(f"{FOLDER}/{name}", text.encode())
    packages = ("numpy", "opencv-python-headless", "pillow", "scipy", "jpeglib")
    summary = {
        "poisongen": __version__,
        "algorithm": ALGORITHM,
        "records": RECORDS,
        "dataset": recipe.dataset,
        "strategy": recipe.strategy,
        "fingerprint": fingerprint(recipe.fingerprint(), records, links),
        "recipe_sha256": recipe.fingerprint(),
        "counts": dict(plan.counts),
        "digests": {name: bytes_sha256(text.encode()) for name, text in texts.items()},
        "pairs": [{"victim": asdict(victim), "target": asdict(target)} for victim, target in plan.pairs],
        "label_like": list(plan.label_like[:_NAMED]),
        "source": source_listing(prepared.files),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in packages},
    }
    summary |= {} if undo is None else {"undo": dict(undo)}
    staging.write(f"{FOLDER}/{SUMMARY}", json_line(summary).encode())
