"""The parts of a JPEG file: its segments, its frame header, and the coded picture that follows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from poisongen.errors import DataError

SOI, EOI, SOS, COM = b"\xff\xd8", 0xD9, 0xDA, 0xFE
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")


@dataclass(frozen=True)
class Frame:
    """What a JPEG's frame header says: size, bits of a sample, number of components, and the frame's marker."""

    width: int
    height: int
    bits: int
    components: int
    marker: int


@dataclass(frozen=True)
class Segment:
    """A marker with its payload: the bytes from `start` to `end` of the file."""

    marker: int
    start: int
    end: int


@dataclass(frozen=True)
class Part:
    """A whole segment, `marker` and `data`, and behind the head of a scan its `intervals` of coded data.

    Between two intervals stands a restart marker, in the order of their numbers.
    """

    marker: int
    data: bytes
    intervals: tuple[bytes, ...] = ()

    def joined(self) -> bytes:
        """Return the part as a file has it."""
        out = [self.data]
        for number, interval in enumerate(self.intervals):
            out += [b"" if number == 0 else bytes([0xFF, 0xD0 + (number - 1) % 8]), interval]
        return b"".join(out)


def _next_segment(data: bytes, at: int, name: object) -> Segment | None:
    """Return the segment that begins at `at` or behind it, as decoders find it; None if there is no marker left.

    Whatever stands before a marker is passed over: fill bytes, and bytes that belong to nothing.
    """
    while (found := _MARKER.search(data, at)) is not None:
        marker, start = found[1][0], found.start()
        if marker in _WITHOUT_LENGTH:
            at = start + 2
            continue
        if marker == EOI:
            return Segment(marker, start, start + 2)
        if start + 4 > len(data):
            return None
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if end < start + 4:
            raise DataError(name, "damaged JPEG: it holds no picture")
        return Segment(marker, start, end)
    return None


def segments(data: bytes, name: object) -> tuple[list[Segment], int]:
    """Return the segments before the first scan, and where that scan's own segment begins. DataError."""
    if data[:2] != SOI:
        raise DataError(name, "not a JPEG file")
    found: list[Segment] = []
    at = 2
    while (segment := _next_segment(data, at, name)) is not None:
        if segment.marker == SOS:
            return found, segment.start
        if segment.marker == EOI:
            raise DataError(name, "damaged JPEG: it holds no picture")
        found.append(segment)
        at = segment.end
    raise DataError(name, "truncated JPEG: the file ends before its picture begins")


def frame(data: bytes, name: object) -> Frame:
    """Read the frame header from (at least) a JPEG's bytes before its first scan. DataError."""
    for segment in segments(data, name)[0]:
        if segment.marker in FRAMES:
            payload = data[segment.start + 4 : segment.end]
            if len(payload) < 6:
                break
            height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
            if not height or not width:
                raise DataError(name, "damaged JPEG: its header gives no size")
            return Frame(width, height, payload[0], payload[5], segment.marker)
    raise DataError(name, "damaged JPEG: it has no frame header")


def parts(data: bytes, name: object) -> list[Part]:
    """Return all parts of a JPEG file up to its end marker, without what stands between them.

    DataError if there is no picture or no end marker behind it: then nobody knows whether the picture is whole.
    """
    head, _ = segments(data, name)
    found = [Part(segment.marker, data[segment.start : segment.end]) for segment in head]
    at = head[-1].end if head else 2
    while (segment := _next_segment(data, at, name)) is not None:
        if segment.marker == EOI:
            return found
        if segment.end > len(data):
            break
        at = segment.end
        intervals: tuple[bytes, ...] = ()
        if segment.marker == SOS:
            end = _END_OF_SCAN.search(data, at)
            if end is None:
                break
            coded, at = data[at : end.start()], end.start()
            intervals = tuple(_RESTART.split(coded.rstrip(b"\xff")))
        found.append(Part(segment.marker, data[segment.start : segment.end], intervals))
    raise DataError(name, "truncated JPEG: the file ends within its picture")


def is_annotation(marker: int) -> bool:
    """Tell whether a segment is an application's or a comment: decoders need none of them but for the colours."""
    return 0xE0 <= marker <= 0xEF or marker == COM
