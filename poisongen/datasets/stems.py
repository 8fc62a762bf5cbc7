"""The files of a folder by their names without ending: those that are read, twins, and pictures of other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

IMAGE_ENDS = (".png", ".jpg", ".jpeg")
LABEL_ENDS = (".png",)
_OTHER_PICTURES = (
    ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".j2k", ".jxl", ".avif", ".heic", ".heif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".exr", ".hdr", ".tga", ".svg", ".psd", ".dng", ".jfif", ".npy", ".npz", ".mat",
)  # fmt: skip
_OTHER_LABELS = (*_OTHER_PICTURES, ".jpg", ".jpeg", ".json", ".xml", ".txt")


@dataclass(frozen=True)
class Stems:
    """A folder's files by name without ending. Endings are compared without case.

    `files` are those that poisongen reads; `twins` tells, where a name has several of them, which others there are;
    `other` are pictures (or labels) in a format that it does not read, and `reads` says what it does.
    """

    files: dict[str, str]
    twins: dict[str, str]
    other: dict[str, str]
    reads: str

    def hint(self, stem: str) -> str:
        """Return what to add to 'is missing' where the file is there, but in another format; else ''."""
        return f": {self.other[stem]} is there, but {self.reads}; convert it" if stem in self.other else ""

    def add(self, stem: str, path: str, *, read: bool) -> None:
        """Add a file under its name without ending; `read` says whether its format is read."""
        if not read:
            self.other.setdefault(stem, path)
        elif stem in self.files:
            self.twins.setdefault(stem, path)
        else:
            self.files[stem] = path


def new_stems(labels: bool, ends: tuple[str, ...] = ()) -> Stems:
    """Return no files yet, of labels or of images; with `ends` only files with these endings are meant."""
    if ends:
        return Stems({}, {}, {}, f"only {' and '.join(ends)} are asked for here")
    reads = "poisongen reads label maps as PNG only" if labels else "poisongen reads images as PNG or JPEG only"
    return Stems({}, {}, {}, reads)


def kept_ends(labels: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the endings of labels (or images) that are read, and those of formats that are not."""
    return (LABEL_ENDS, _OTHER_LABELS) if labels else (IMAGE_ENDS, _OTHER_PICTURES)


def find_stems(files: Sequence[str], folder: str, *, labels: bool = False, deep: bool = True) -> Stems:
    """Sort the files of a folder, with `deep` those of the folders below as well; `files` is sorted."""
    ends, others = kept_ends(labels)
    found = new_stems(labels)
    for path in files:
        if not path.startswith(folder + "/"):
            continue
        name, lower = path[len(folder) + 1 :], path.lower()
        if "/" in name and not deep:
            continue
        stem = name.rpartition(".")[0]
        if lower.endswith((*ends, *others)):
            found.add(stem, path, read=lower.endswith(ends))
    return found
