"""How a sample is named in WebDataset's tars: one key, and an extension for each of its files."""

from __future__ import annotations

import posixpath

from poisongen.loading.sample import LoadedSample

IMAGE, RECORD, EXPECTED = "image", "json", "expected"


def key_of(sample: LoadedSample) -> str:
    """Return a sample's key, split/stem, as WebDataset can read it.

    It takes what follows the first '.' of the last part for the extension, and no name of several lines. Such signs,
    and the '%' that says so, are written as in addresses of the web.
    """
    above, _, last = sample.name.rpartition("/")
    return f"{_escaped(above, '%')}/{_escaped(last, '%.')}"


def _escaped(text: str, signs: str) -> str:
    escaped = {c for c in text if c in signs or not c.isprintable()}
    return "".join("".join(f"%{byte:02X}" for byte in c.encode()) if c in escaped else c for c in text)


def members(sample: LoadedSample) -> dict[str, str]:
    """Return the files of a sample, by extension, as paths in OUT; the record, which is no file, is left out.

    Extensions are in small letters, as WebDataset's readers give them: `image.png`, `labelids.png`.
    """
    found = {f"{IMAGE}{_end(sample.sample.image)}": sample.sample.image}
    for label in sample.sample.labels:
        found[f"{label.kind.lower()}{_end(label.path)}"] = label.path
    if sample.record is not None and sample.record.expected is not None:
        path = sample.record.expected.path
        found[f"{EXPECTED}{_end(path)}"] = path
    return found


def _end(path: str) -> str:
    return posixpath.splitext(path)[1].lower()
