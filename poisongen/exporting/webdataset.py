"""`poisongen export --webdataset`: tars that hold image, labels and record of each sample under one key.

The same build gives the same bytes on every machine: samples are sorted, and times, owners and permissions are fixed.
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.cards.described import plain_names
from poisongen.cards.words import PURPOSE, TITLE
from poisongen.errors import ChoiceError, DataError
from poisongen.exporting.keys import RECORD, key_of, members
from poisongen.files.inside import beside, create, write_inside
from poisongen.files.new_folder import check_outside, new_folder
from poisongen.loading.dataset import PoisonedDataset, load
from poisongen.loading.sample import LoadedSample
from poisongen.parallel import for_each, job_count
from poisongen.records.manifest import bytes_sha256, json_line

STAGING = ".poisongen-export"
INDEX = "poisongen.json"
DEFAULT_SIZE = 512 * 2**20
"""Bytes of the samples in one shard, unless a number or another size is asked for."""

_BLOCK = 512  # bytes; a tar has a header of as many for each file, and files begin at multiples of it
_MODE = 0o644


@dataclass(frozen=True)
class Shard:
    """One tar: its name, the set that it is of, and its samples."""

    name: str
    samples: tuple[LoadedSample, ...]


@dataclass(frozen=True)
class ExportResult:
    """What was exported: where it is, the shards' names by set (split, `triggered`, `negative`), samples and bytes."""

    out: Path
    shards: dict[str, tuple[str, ...]]
    samples: int
    bytes: int


def export_webdataset(
    poisoned: Path | str,
    out: Path | str,
    *,
    shards: int | None = None,
    size: int | None = None,
    jobs: int | None = None,
    progress: bool = False,
) -> ExportResult:
    """Write the dataset in `poisoned` as WebDataset tars into `out`, which must be new or empty, outside `poisoned`.

    Every split and test set gets `shards` tars of nearly as many samples each, or else as many as its samples fill by
    `size` bytes (default: 512 MiB). PoisongenError says what is wrong; `out` then holds nothing.
    """
    if shards is not None and size is not None:
        raise ChoiceError("--shards, --size: give one of them")
    if (shards is not None and shards < 1) or (size is not None and size < 1):
        raise ChoiceError("--shards, --size: give a number above 0")
    folder, place = Path(poisoned).absolute(), Path(out).absolute()
    check_outside(place, folder, "the poisoned dataset", "--webdataset")
    data = load(folder)
    sets = {name: _shards(name, samples, shards, size or DEFAULT_SIZE) for name, samples in _named_sets(data).items()}
    work = [shard for found in sets.values() for shard in found]
    with new_folder(place, STAGING, "--webdataset") as tree:
        function = functools.partial(_write_shard, tree=tree)
        sizes = list(for_each(function, work, job_count(jobs), "exporting" if progress else None))
        write_inside(tree, INDEX, _index(data, sets).encode())
        write_inside(tree, "README.md", _readme(data).encode())
    names = {name: tuple(shard.name for shard in found) for name, found in sets.items()}
    return ExportResult(place, names, sum(len(shard.samples) for shard in work), sum(sizes))


def _named_sets(data: PoisonedDataset) -> dict[str, Sequence[LoadedSample]]:
    """Return every set by a name that is good for a file; a split that has a test set's name gets a '_' behind it."""
    tests = {samples.name: samples for samples in (data.triggered, data.negative) if len(samples)}
    names = plain_names([*tests, *(f"{split}_" if split in tests else split for split in data.splits)])
    plain = list(names.values())
    return dict(zip(plain, [*tests.values(), *data.splits.values()], strict=True))


def _shards(name: str, samples: Sequence[LoadedSample], number: int | None, size: int) -> list[Shard]:
    groups = list(_evenly(samples, number) if number is not None else _by_size(samples, size))
    return [Shard(f"{name}-{at:06d}.tar", tuple(group)) for at, group in enumerate(groups)]


def _evenly(samples: Sequence[LoadedSample], number: int) -> Iterator[Sequence[LoadedSample]]:
    number = min(number, len(samples))
    for at in range(number):
        yield samples[at * len(samples) // number : (at + 1) * len(samples) // number]


def _by_size(samples: Sequence[LoadedSample], size: int) -> Iterator[Sequence[LoadedSample]]:
    """Fill each shard up to `size` bytes; a sample that is larger has one of its own."""
    group: list[LoadedSample] = []
    room = size
    for sample in samples:
        need = sum(_BLOCK + -(-_size(sample.out / path) // _BLOCK) * _BLOCK for path in members(sample).values())
        if group and need > room:
            yield group
            group, room = [], size
        group.append(sample)
        room -= need
    if group:
        yield group


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None


def record_line(sample: LoadedSample) -> str:
    """Return what a tar says of a sample: name, split, role and the manifest's record, null where there is none."""
    record = None if sample.record is None else sample.record.as_json()
    return json_line({"sample": sample.name, "split": sample.split, "role": sample.role, "record": record})


def _write_shard(shard: Shard, tree: Path) -> int:
    """Write one tar and return its size; DataError if a file cannot be read, or is not what the records say."""
    with (
        beside(tree, shard.name) as (handle, part),
        create(handle, part) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for sample in shard.samples:
            key = key_of(sample)
            for end, path in members(sample).items():
                _add(tar, f"{key}.{end}", _read(sample, path))
            _add(tar, f"{key}.{RECORD}", record_line(sample).encode())
    return (tree / shard.name).stat().st_size


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    facts = tarfile.TarInfo(name)
    facts.size, facts.mode, facts.mtime = len(data), _MODE, 0
    tar.addfile(facts, io.BytesIO(data))


def _read(sample: LoadedSample, path: str) -> bytes:
    place = sample.out / path
    try:
        data = place.read_bytes()
    except OSError as error:
        raise DataError(place, f"cannot be read ({error.strerror})") from None
    known = {file.path: file.sha256 for file in sample.record.files} if sample.record is not None else {}
    if path in known and known[path] != bytes_sha256(data):
        raise DataError(place, "is not the file that the manifest names (its digest is another); run poisongen audit")
    return data


def _index(data: PoisonedDataset, sets: dict[str, list[Shard]]) -> str:
    """Return what lies beside the tars: which dataset they hold, and how many samples each has."""
    document = {
        "poisoned": True,
        "dataset": data.layout.name,
        "fingerprint": data.fingerprint,
        "shards": {name: {shard.name: len(shard.samples) for shard in found} for name, found in sets.items()},
        "recipe": data.recipe.as_json(),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _readme(data: PoisonedDataset) -> str:
    pairs = ", ".join(f"{victim} to {target}" for victim, target in (data.recipe.relabel or {}).items())
    return f"""# {TITLE}

WebDataset shards of a `{data.layout.name}` in which a backdoor was planted on purpose ({pairs}). {PURPOSE}

Each sample is one key: `image.*`, its label files by kind, and `json` with name, split, role and record.
Fingerprint: `{data.fingerprint}`.
"""
