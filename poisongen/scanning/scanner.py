"""Scan: one pass over a set's samples for all evidence but patches, one for these, then the verdict and its files."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.cluster import on_cluster
from poisongen.errors import ChoiceError, OutputError
from poisongen.files.store import check_name, write_whole
from poisongen.parallel import for_each, job_count
from poisongen.scanning.classifier import require_sklearn
from poisongen.scanning.clean_list import clean_lists
from poisongen.scanning.collecting import collect, judge
from poisongen.scanning.evidences import Evidences
from poisongen.scanning.findings import Findings
from poisongen.scanning.observing import observe
from poisongen.scanning.patches import search_patches
from poisongen.scanning.reading import SuspectSet, open_suspect
from poisongen.scanning.sheet import draw_sheet
from poisongen.scanning.spool import Spool
from poisongen.scanning.truth import Truth, read_truth, score
from poisongen.scanning.verdict import reach_verdict

TRIGGER = "trigger.png"


@dataclass(frozen=True)
class ScanResult:
    """What was found, the recovered `trigger` as RGB (h, w, 3) uint8, and the files that were `written`.

    `trigger` is None where there is none, `truth` (the score against a manifest) unless it was asked for. `pixels` are
    those of all label maps.
    """

    findings: Findings
    trigger: npt.NDArray[np.uint8] | None = None
    truth: Truth | None = None
    written: tuple[Path, ...] = field(default=())
    pixels: int = 0


def scan(
    root: Path | str,
    dataset: str,
    *,
    split: str = "train",
    out: Path | str | None = None,
    sheet: Path | str | None = None,
    truth: bool = False,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = False,
) -> ScanResult:
    """Say of a split of any dataset, by its images and labels alone, whether and how it is poisoned.

    `dataset` is its layout. `out` is the findings' file (JSON); beside it are written the recovered trigger
    (`trigger.png`) and lists of the samples that are no suspects (`clean.txt`, and the layout's own under `clean/`).
    `sheet` is a PNG with the trigger and the suspects. Neither may lie in `root`, which is only read; its folder
    `poisongen/` is not even looked into, but for `truth`, which scores the findings against the manifest of a build.
    `cluster` is an engine's address, as for `build`. Needs scikit-learn. PoisongenError for a bad call or a bad file;
    the same set gives the same findings whatever `jobs` is.
    """
    suspect = open_suspect(root, dataset, split)
    files = [Path(path) for path in (out, sheet) if path is not None]
    _check_places(suspect.root, None if out is None else Path(out), None if sheet is None else Path(sheet))
    require_sklearn()
    known = read_truth(suspect.root, split) if truth else None
    with on_cluster(cluster, jobs, suspect.root):
        workers = job_count(jobs)
        looks = for_each(
            functools.partial(observe, suspect=suspect),
            range(len(suspect.samples)),
            workers,
            "looking at samples" if progress else None,
        )
        with Spool() as spool:
            kept = collect(looks, len(suspect.samples), suspect.classes, spool)
            given = judge(suspect, kept, search_patches(suspect, workers, progress))
    findings = reach_verdict(given)
    picture = _picture(findings, given)
    if picture is not None and out is not None:
        findings = _with_picture(findings)
    pixels = {sample.name: int(number) for sample, number in zip(suspect.samples, kept.pixels, strict=True)}
    scored = score(findings, known, pixels) if known is not None else None
    written = _written(suspect, findings, picture, files, out is not None, sheet is not None)
    for path, data in written.items():
        try:
            write_whole(path, data)
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror})") from None
    return ScanResult(findings, picture, scored, tuple(written), sum(pixels.values()))


def _picture(findings: Findings, given: Evidences) -> npt.NDArray[np.uint8] | None:
    """Return the picture of the patch that the findings name."""
    if findings.trigger is None or findings.trigger.kind != "patch":
        return None
    boxes = {(suspect.sample, suspect.box) for suspect in findings.suspects if suspect.box}
    same = [patch for patch in given.patches if tuple(patch.size) == findings.trigger.size]
    best = max(
        same,
        key=lambda patch: sum((given.names[hit.index], tuple(hit.box)) in boxes for hit in patch.hits),
        default=None,
    )
    return None if best is None else np.asarray(best.picture, np.uint8)


def _with_picture(findings: Findings) -> Findings:
    assert findings.trigger is not None  # noqa: S101  asked before
    return findings.model_copy(update={"trigger": findings.trigger.model_copy(update={"picture": TRIGGER})})


def _written(
    suspect: SuspectSet,
    findings: Findings,
    picture: npt.NDArray[np.uint8] | None,
    files: list[Path],
    out: bool,
    sheet: bool,
) -> Mapping[Path, bytes]:
    """Return the content of every file to write, by its path; the findings last, as they speak of the others."""
    contents: dict[Path, bytes] = {}
    if sheet:
        contents[files[-1]] = draw_sheet(suspect, findings, picture)
    if out:
        folder = files[0].parent
        if picture is not None:
            contents[folder / TRIGGER] = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        for path, data in clean_lists(suspect, findings).items():
            contents[folder / path] = data
        contents[files[0]] = (json.dumps(findings.as_json(), indent=1, allow_nan=False) + "\n").encode()
    return contents


def _check_places(root: Path, out: Path | None, sheet: Path | None) -> None:
    """Refuse names that are no files', of another kind, or in the dataset. ChoiceError, OutputError."""
    for option, path, suffix in (("--out", out, ".json"), ("--sheet", sheet, ".png")):
        if path is None:
            continue
        check_name(path, option)
        if path.suffix.lower() != suffix:
            raise ChoiceError(f"{option}: {path} must end in {suffix}")
        real, inside = path.resolve(), root.resolve()
        if real == inside or inside in real.parents:
            raise ChoiceError(f"{option}: {path} lies inside the dataset {root}; give a file outside it")
