"""Lists of the samples that are no suspects, in forms that trainers take."""

from __future__ import annotations

from collections.abc import Mapping

from poisongen.scanning.findings import Findings
from poisongen.scanning.reading import PASSED_OVER, SuspectSet
from poisongen.source.listing import list_files

CLEAN, CLEAN_FOLDER = "clean.txt", "clean"


def clean_lists(suspect: SuspectSet, findings: Findings) -> Mapping[str, bytes]:
    """Return list files of a split without its suspects, by their path beside the findings.

    `clean.txt` has one line for each sample, its image and its label map below the root (the form of semseg's lists);
    under `clean/` lie the lists that the layout itself has, to be put in the place of the dataset's own.
    """
    guilty = {one.sample for one in findings.suspects}
    kept = [sample for sample in suspect.samples if sample.name not in guilty]
    kinds = suspect.layout.kinds
    lines = []
    for sample in kept:
        label = next(label.path for label in sample.labels if kinds[label.kind].semantic)
        lines.append(f"{sample.image} {label}\n")
    files = {CLEAN: "".join(lines).encode()}
    if kept:
        paths = [file.path for file in list_files(suspect.root, without=PASSED_OVER)]
        own = suspect.layout.split_files(suspect.root, suspect.split, paths, kept)
        files |= {f"{CLEAN_FOLDER}/{path}": data for path, data in own.items()}
    return files
