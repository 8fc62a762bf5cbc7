"""Digests of files: what a model was made from, told by content and not by name."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from poisongen.errors import DataError


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal; DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None


def files_sha256(root: Path, paths: Sequence[str], jobs: int, progress: bool) -> list[str]:
    """Return the digests of files below a folder, in their order, read by threads (hashing releases the lock)."""
    bar = tqdm(total=len(paths), desc="digesting", file=sys.stderr, leave=False, disable=None if progress else True)
    found = []
    with ThreadPoolExecutor(jobs) as pool, bar:
        for digest in pool.map(lambda path: file_sha256(root / path), paths):
            found.append(digest)
            bar.update()
    return found


def content_sha256(root: Path, paths: Sequence[str], jobs: int, progress: bool) -> str:
    """Return one digest of files below a folder: their names, in this order, and their content."""
    digests = files_sha256(root, paths, jobs, progress)
    lines = "".join(f"{path}\0{digest}\n" for path, digest in zip(paths, digests, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()
