"""A PNG file told by another of the same picture: what differs, and how its stream was filtered and deflated.

PNG encoders build on zlib. With a file's row filters and zlib's four parameters its stream comes out again to the
byte; where that does not succeed there is no delta, and the caller keeps the file whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from poisongen.errors import DataError
from poisongen.files import png
from poisongen.files.png_filters import filtered, row_bytes
from poisongen.undo.packed import pack

Array = npt.NDArray[Any]
Facts = dict[str, int | str]

FORMAT = "png"
_PIECE = 2**17  # bytes; the first tell most wrong parameters apart


def _idat(data: bytes) -> tuple[int, int, list[int]] | None:
    """Return where the IDAT chunks begin and end, and their sizes; None if they do not stand together."""
    at, begin, end = 8, 0, 0
    sizes: list[int] = []
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            if sizes and at != end:
                return None
            begin = begin if sizes else at
            sizes.append(length)
            end = at + 12 + length
        at += 12 + length
    return (begin, end, sizes) if sizes else None


def _parameters(head: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (level, memory, strategy), those first that the stream's two-byte head makes likely.

    Several can give one stream. Which of them is found must follow from the file alone, and not from what the process
    has seen before: an entry has the same bytes however the work was shared.
    """
    likely = {0: (1, 0), 1: (5, 4, 3, 2), 2: (6,), 3: (9, 8, 7)}[head[1] >> 6]
    for levels, strategies in ((likely, (0, 1)), (range(1, 10), (3, 2, 4)), (range(10), (0, 1))):
        for strategy in strategies:
            for level in levels:
                yield from ((level, memory, strategy) for memory in (8, 9))


def _deflated(raw: bytes, level: int, window: int, memory: int, strategy: int) -> bytes:
    """Deflate without zlib's head and sum."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    # At level 0 the blocks depend on the pieces in which the bytes come.
    return deflater.compress(raw[:_PIECE]) + deflater.compress(raw[_PIECE:]) + deflater.flush()


def _deflates_to(raw: bytes, body: bytes, level: int, window: int, memory: int, strategy: int) -> bool:
    """Tell whether `_deflated` gives `body`; give up at the first byte that departs from it."""
    if level == 0:
        return _deflated(raw, level, window, memory, strategy) == body
    deflater = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    done = 0
    for at in range(0, len(raw), _PIECE):
        piece = deflater.compress(raw[at : at + _PIECE])
        if not body.startswith(piece, done):
            return False
        done += len(piece)
    return body[done:] == deflater.flush()


def _find_parameters(raw: bytes, stream: bytes) -> Facts | None:
    """Return the parameters with which zlib makes this stream of `raw`; None if there are none."""
    said = max(9, (stream[0] >> 4) + 8)
    body = stream[2:-4]
    for window in dict.fromkeys((said, 15)):
        tried = set()
        for known in _parameters(stream):
            if known in tried:
                continue
            tried.add(known)
            level, memory, strategy = known
            if _deflates_to(raw, body, level, window, memory, strategy):
                return {"level": level, "memory": memory, "strategy": strategy, "window": window}
    return None


def _inflated(png_facts: png.Png, stream: bytes) -> Array | None:
    """Return the stream's filtered rows with their filters, (H, 1 + bytes); None if they are not all there is."""
    row = -(-png_facts.width * png_facts.channels * png_facts.bit_depth // 8)
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(stream, png_facts.height * (1 + row) + 1)
    except zlib.error:
        return None
    if not inflater.eof or inflater.unused_data or len(raw) != png_facts.height * (1 + row):
        return None
    return np.frombuffer(raw, np.uint8).reshape(png_facts.height, 1 + row)


def make(source: bytes, new: bytes) -> bytes | None:
    """Return what is needed to get `source` back from `new`, or None where that cannot be told shortly.

    Both are PNG files of one size, bit depth and colour type. DataError if one of them cannot be decoded.
    """
    old_facts, new_facts = png.parse(source, "source"), png.parse(new, "new")
    place = _idat(source)
    if old_facts.interlaced or new_facts.interlaced or place is None or not _same_kind(old_facts, new_facts):
        return None
    begin, end, sizes = place
    stream = b"".join(payload for kind, payload in old_facts.chunks if kind == b"IDAT")
    raw = _inflated(old_facts, stream)
    if raw is None or raw[:, 0].max() > 4:
        return None
    old, now = (row_bytes(png.decode(data, "picture"), old_facts.bit_depth) for data in (source, new))
    step = max(1, old_facts.channels * old_facts.bit_depth // 8)
    if not np.array_equal(filtered(old, raw[:, 0], step), raw):
        return None
    facts = _find_parameters(raw.tobytes(), stream)
    if facts is None:
        return None
    differs = old != now
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    top, bottom, left, right = (
        (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1) if rows.size else (0, 0, 0, 0)
    )
    window = np.s_[top:bottom, left:right]
    flat, steep = old[window] ^ now[window], _differences(old[window], step)
    how = min((len(zlib.compress(content.tobytes(), 6)), name) for name, content in (("xor", flat), ("left", steep)))
    facts |= {"top": top, "bottom": bottom, "left": left, "right": right, "how": how[1], "zlib": zlib.ZLIB_VERSION}
    sections = {
        "head": source[:begin] + stream[:2],
        "tail": source[end:],
        "sizes": np.asarray(sizes, dtype="<u4").tobytes(),
        "filters": raw[:, 0].tobytes(),
        "content": (flat if how[1] == "xor" else steep).tobytes(),
    }
    return pack(FORMAT, facts, sections)


def _same_kind(one: png.Png, other: png.Png) -> bool:
    return (one.width, one.height, one.bit_depth, one.colour_type) == (
        other.width,
        other.height,
        other.bit_depth,
        other.colour_type,
    )


def _differences(rows: Array, step: int) -> Array:
    """Return each byte less that of the pixel to its left."""
    out = rows.copy()
    out[:, step:] -= rows[:, :-step]
    return out


def _sums(rows: Array, step: int) -> Array:
    """The inverse of `_differences`."""
    out = rows.copy()
    for first in range(step):
        out[:, first::step] = np.cumsum(rows[:, first::step], axis=1, dtype=np.uint64).astype(np.uint8)
    return out


def apply(facts: Facts, sections: dict[str, bytes], new: bytes) -> bytes:
    """Return the source that `make` saw. ValueError if the entry does not fit; its caller checks the digest."""
    try:
        picture = png.parse(new, "new")
        rows = row_bytes(png.decode(new, "new"), picture.bit_depth)
    except DataError as error:
        raise ValueError(error.problem) from None
    step = max(1, picture.channels * picture.bit_depth // 8)
    numbers = [facts.get(key) for key in ("top", "bottom", "left", "right")]
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError("an entry without a box")
    top, bottom, left, right = (int(number) for number in numbers if number is not None)
    if not (0 <= top <= bottom <= rows.shape[0] and 0 <= left <= right <= rows.shape[1]):
        raise ValueError("a box outside the picture")
    shape = (bottom - top, right - left)
    content = np.frombuffer(sections["content"], np.uint8)
    filters = np.frombuffer(sections["filters"], np.uint8)
    if content.size != shape[0] * shape[1] or filters.size != rows.shape[0] or (filters > 4).any():
        raise ValueError("an entry of another picture")
    window = np.s_[top:bottom, left:right]
    content = content.reshape(shape)
    rows[window] = rows[window] ^ content if facts.get("how") == "xor" else _sums(content, step)
    raw = filtered(rows, filters, step).tobytes()
    level, window_bits, memory, strategy = (int(facts[key]) for key in ("level", "window", "memory", "strategy"))
    body = _deflated(raw, level, window_bits, memory, strategy)
    stream = sections["head"][-2:] + body + zlib.adler32(raw).to_bytes(4, "big")
    sizes = np.frombuffer(sections["sizes"], dtype="<u4")
    if int(sizes.sum(dtype=np.uint64)) != len(stream):
        raise ValueError(f"zlib {zlib.ZLIB_RUNTIME_VERSION} deflates otherwise than {facts.get('zlib')} did")
    out, at = [sections["head"][:-2]], 0
    for size in sizes.tolist():
        payload = stream[at : at + size]
        at += size
        out += [struct.pack(">I", size), b"IDAT", payload, struct.pack(">I", zlib.crc32(b"IDAT" + payload))]
    return b"".join((*out, sections["tail"]))
