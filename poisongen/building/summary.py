"""Writing the records of a build: recipe, manifest, skipped, links and, over them all, the summary."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from poisongen.building.finished import source_listing
from poisongen.building.plan import Plan
from poisongen.building.prepared import Prepared
from poisongen.building.selection import pairs_as_data
from poisongen.building.staging import Staging
from poisongen.cards.making import CARDS, make_cards
from poisongen.records.algorithms import ALGORITHM, RECORDS
from poisongen.records.manifest import (
    FOLDER,
    LEFT_OUT,
    LINKS,
    MANIFEST,
    RECIPE,
    SKIPPED,
    SUMMARY,
    LinkRecord,
    SampleRecord,
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
    summary: dict[str, Any] = {
        "poisongen": __version__,
        "algorithm": ALGORITHM,
        "records": RECORDS,
        "dataset": recipe.dataset,
        "strategy": recipe.strategy,
        "fingerprint": fingerprint(recipe.fingerprint(), records, links),
        "recipe_sha256": recipe.fingerprint(),
        "counts": dict(plan.counts),
        "digests": {name: bytes_sha256(text.encode()) for name, text in texts.items()},
        "pairs": pairs_as_data(plan.pairs),
        "label_like": list(plan.label_like[:_NAMED]),
        "source": source_listing(prepared.files),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in packages},
    }
    summary["cards"] = _write_cards(staging, prepared, plan, records, links, summary["fingerprint"])
    summary |= {} if undo is None else {"undo": dict(undo)}
    staging.write(f"{FOLDER}/{SUMMARY}", json_line(summary).encode())


def _write_cards(
    staging: Staging,
    prepared: Prepared,
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    content: str,
) -> dict[str, Any]:
    """Write the cards and return what the summary says of them; `content` is the dataset's fingerprint."""
    rules = prepared.rules
    cards = make_cards(
        rules.layout,
        rules.classes,
        prepared.root,
        rules.above,
        rules.recipe,
        [SampleRecord.model_validate_json(json_line(record)) for record in records],
        [LinkRecord.model_validate_json(json_line(link)) for link in links],
        [skip["sample"] for skip in plan.skipped if "file" in skip],
        content,
    )
    for path, data in cards.items():
        staging.write(path, data)
    files = {path: {"size": len(data), "sha256": bytes_sha256(data)} for path, data in cards.items()}
    return {"version": CARDS, "files": files}
