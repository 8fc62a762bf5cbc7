"""Files that look like labels of a sample although no layout names them: whoever trains on one sees its true label.

Tools and scripts put such files beside the official ones: other encodings, copies as arrays, panoptic maps, coarse
labels, archives that were unpacked. A file counts if its name is a sample's (`a.npy`, `a_gtFine_instanceTrainIds.png`,
`mask_a.png`), if it lies in a sample's folder (`a/mask.png`), or if it speaks of one inside (a COCO or panoptic JSON),
and nothing shows that it is something else.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from poisongen.datasets.base import Index, Sample
from poisongen.errors import DataError
from poisongen.files import png

Reader = Callable[[str, int], bytes | None]
"""Gives the first bytes of a file, up to a number of them; None if it cannot be read."""

_PICTURES = (
    ".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".jp2", ".jpg", ".jpeg",
    ".pnm", ".pbm", ".jxl", ".avif", ".heic", ".exr", ".pfm", ".psd", ".xcf", ".dcm",
)  # fmt: skip
_ARRAYS = (
    ".npy", ".npz", ".mat", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".hdf5", ".bin", ".raw", ".rle",
    ".hdf", ".nii", ".nrrd", ".mha", ".mhd", ".safetensors", ".msgpack", ".cache",
)  # fmt: skip
_DOCUMENTS = (".json", ".jsonl", ".ndjson", ".geojson", ".csv", ".tsv", ".txt", ".yaml", ".yml", ".svg", ".xml")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")  # one file each; what is packed is judged by the ending before
_CONTAINERS = (
    ".zip", ".tar", ".tgz", ".7z", ".rar", ".lmdb", ".mdb", ".tfrecord", ".tfrecords", ".parquet", ".arrow",
    ".feather", ".beton", ".sqlite", ".db",
)  # fmt: skip
# Words that name labels, words that may mean that a file is something else, and Cityscapes' own other packages.
_LABEL_WORDS = re.compile(
    r"label|mask|annot|seg|panoptic|instance|semantic|(?<![a-z])gt(?![a-z]{3})|gt(fine|coarse)|truth|trainid|class",
    re.IGNORECASE,
)
_OTHER_WORDS = re.compile(
    r"leftimg|rightimg|disparity|depth|flow|lidar|velodyne|radar|jpegimages|caption|saliency|feature|embedding|thumb"
    r"|preview",
    re.IGNORECASE,
)
_WORD = r"(?:labels?|masks?|annot(?:ation)?s?|seg(?:mentation)?|gt|truth|panoptic|instances?|semantic)"
_WORD_BEFORE = re.compile(rf"(?:{_WORD}[_.-]*)+", re.IGNORECASE)
_WORD_BEHIND = re.compile(rf"(?:[_. -]*{_WORD})+$", re.IGNORECASE)
_IMAGES_ALONE = re.compile(r"images?(?![a-z])|img|jpe?g|rgb", re.IGNORECASE)
_OTHER_PACKAGES = re.compile(
    r"(?:^|/)(?:camera|vehicle|timestamp|disparity|gtBbox3d|gtBboxCityPersons)/"
    r"|_(?:camera|vehicle|timestamp|disparity|gtBbox3d|gtBboxCityPersons)\."
)
_SHAPES = re.compile(
    rb'"(?:shapes|objects|segmentation|segments_info|polygons?|annotations|rle|labels?|masks?|regions|bitmap|poly2d)"\s*:'
    rb'|"(?:brush|polygon)labels"|<(?:polygon|mask|segm)[\s>]'
)
_OUTLINE = re.compile(rb"\s*\d+(?:[ \t]+\d*\.?\d+){6}")  # YOLO: a class and three points; a box has two
_FEW = 80  # distinct values; a label map has a class each, a photograph of any size hundreds
_LARGEST = 2**26  # bytes of a document that are searched, and of a picture that are decoded


def _prefixes(stem: str) -> Iterator[str]:
    """Yield a name and what is left of it before each '_', '-', '.' or blank, the longest first."""
    yield stem
    for at in range(len(stem) - 1, 0, -1):
        if stem[at] in "_-. ":
            yield stem[:at]


def _bare_names(stem: str) -> Iterator[str]:
    """Yield what a file's name may call a sample: itself, its beginnings, and it without words that name labels."""
    yield from _prefixes(stem)
    if before := _WORD_BEFORE.match(stem):
        yield from _prefixes(stem[before.end() :])
    if behind := _WORD_BEHIND.search(stem):
        yield stem[: behind.start()]


def _ending(path: str) -> str:
    """Return a file's ending in small letters; of one that is packed alone, the ending that it had before."""
    rest, end = posixpath.splitext(path)
    return posixpath.splitext(rest)[1].lower() or end.lower() if end.lower() in _PACKED else end.lower()


def _has_few_values(path: str, read: Reader) -> bool:
    """Whether a PNG has as few distinct values as a label map; so may have whatever else cannot be looked at."""
    data = read(path, _LARGEST)
    try:
        pixels = None if data is None else png.decode(data, path)
    except DataError:
        return True
    if pixels is None:
        return True
    flat = pixels.reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1)[:: max(1, pixels.shape[0] // 500)]
    return len(np.unique(flat, axis=0)) <= _FEW


def _may_be_label(path: str, label_folders: frozenset[str], read: Reader) -> bool:
    """Judge a file whose name is a sample's: by the words of its path, else by what it holds."""
    end = _ending(path)
    if end not in (*_PICTURES, *_ARRAYS, *_DOCUMENTS, *_CONTAINERS, *_PACKED, "") or _OTHER_PACKAGES.search(path):
        return False
    speaks, speaks_otherwise = _LABEL_WORDS.search(path), _OTHER_WORDS.search(path)
    if end == ".xml":  # boxes, as VOC's Annotations have them, are no map's labels
        return _SHAPES.search(read(path, _LARGEST) or b"") is not None
    if (speaks and not speaks_otherwise) or posixpath.dirname(path) in label_folders:
        return True
    if speaks_otherwise and not speaks:
        return False
    if end in _PICTURES:
        return end not in (".jpg", ".jpeg") and (end != ".png" or _has_few_values(path, read))
    if end == ".txt" and _OUTLINE.match(read(path, _LARGEST) or b""):
        return True
    if end in _DOCUMENTS:
        return _SHAPES.search(read(path, _LARGEST) or b"") is not None
    return end in _ARRAYS


def _speaks_of(data: bytes, stems: set[str]) -> bool:
    """Whether a document names one of the samples, with or without an ending or more words behind it."""
    words = re.finditer(rb"[^\s\"',:;/\\\[\]{}()]{1,255}", data)
    return any(prefix in stems for word in words for prefix in _prefixes(word[0].decode("utf-8", "replace")))


def label_like(
    paths: Sequence[str], index: Index, changed: Iterable[str], read: Reader, rewritten: Iterable[str] = ()
) -> list[str]:
    """Return the files, sorted, that look like labels of changed samples and that nothing rewrites.

    `paths` are all files of a dataset below its root, `index` their samples, `changed` the names of the samples
    whose labels are changed, `rewritten` the tables of labels that are changed with them. Files of any sample are none;
    nor are split lists, which hold names only.
    """
    by_stem: dict[str, list[Sample]] = {}
    own: set[str] = set(rewritten)
    for samples in index.samples.values():
        for sample in samples:
            by_stem.setdefault(posixpath.basename(sample.stem), []).append(sample)
            own.update(sample.paths)
    names = frozenset(changed)
    stems = {stem for stem, samples in by_stem.items() if any(sample.name in names for sample in samples)}
    if not stems:
        return []
    folders = frozenset(posixpath.dirname(path) for path in own)
    images = frozenset(posixpath.dirname(s.image) for samples in index.samples.values() for s in samples)
    found = []
    for path in paths:
        if path in own:
            continue
        stem = posixpath.splitext(posixpath.basename(path))[0]
        owner = next((name for name in _bare_names(stem) if name in by_stem), None) or _folder_of(path, by_stem)
        if owner is not None:
            mine = _whose(path, by_stem[owner])
            if any(sample.name in names for sample in mine) and _may_be_label(path, folders - images, read):
                found.append(path)
        elif _is_shared_label(path, stems, read):
            found.append(path)
    return sorted(found)


def _folder_of(path: str, by_stem: Mapping[str, object]) -> str | None:
    """Return the sample whose name a folder above has, where what lies in it is called a label: `a/masks/0.png`."""
    parts = path.split("/")
    for at in range(len(parts) - 2, -1, -1):
        owner = next((name for name in _bare_names(parts[at]) if name in by_stem), None)
        if owner is not None and _LABEL_WORDS.search("/".join(parts[at + 1 :])):
            return owner
    return None


def _whose(path: str, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples of one name that a file may belong to: those whose split stands in its path, or all."""
    parts = set(path.split("/")[:-1])
    inside = [sample for sample in samples if sample.split in parts]
    return inside or samples


def _is_shared_label(path: str, stems: set[str], read: Reader) -> bool:
    """Judge a file that is no sample's: a document that names changed samples, an array or archive of labels."""
    end, speaks = _ending(path), _LABEL_WORDS.search(path)
    if end in (*_CONTAINERS, *_ARRAYS):
        if speaks is None and end in _CONTAINERS:  # shards and downloads of a whole split hold its labels, too
            name = posixpath.basename(path)
            return "train" in name.lower() and not (_OTHER_WORDS.search(name) or _IMAGES_ALONE.search(name))
        return speaks is not None
    if end not in (".json", ".jsonl", ".ndjson", ".geojson", ".csv", ".xml") or "caption" in path.lower():
        return False
    data = read(path, _LARGEST) or b""
    return bool(_SHAPES.search(data) or (end == ".csv" and speaks)) and _speaks_of(data, stems)


def named_labels(paths: Iterable[str], index: Index) -> Iterator[str]:
    """Yield the label files of all samples, all documents, and what else may be labels by its name alone.

    Documents are small, and what scripts write anew in place are lists and tables as often as labels.
    """
    samples = [sample for samples in index.samples.values() for sample in samples]
    labels = {label.path for sample in samples for label in sample.labels}
    images = {sample.image for sample in samples}
    for path in paths:
        end = posixpath.splitext(path)[1].lower()
        may_be = end in (*_PICTURES, *_ARRAYS) and end not in (".jpg", ".jpeg") and path not in images
        may_be = may_be and bool(_LABEL_WORDS.search(path)) and not _OTHER_WORDS.search(path)
        if path in labels or end in _DOCUMENTS or may_be:
            yield path


def one_line(found: Sequence[str], number: int, left_out: int, shown: int = 3) -> str:
    """Return what build, dry-run and audit say of label-like files: their number, what comes of them, the first ones.

    Those that are not left out are tables of classes, and files in builds of earlier versions.
    """
    more = f" and {number - shown} more" if number > shown else ""
    fate = "are left out" if left_out else "stay as they are"
    if 0 < left_out < number:
        fate = f"{fate}, but for {number - left_out} that stay as they are"
    return f"{number} label-like files of poisoned samples {fate}: {', '.join(found[:shown])}{more}"
