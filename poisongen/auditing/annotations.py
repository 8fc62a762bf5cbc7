"""A picture file taken apart: the picture's own data, and everything else, which must be the source's or nothing.

Decoders pass over most of what is not pixels; trainers and viewers need not: an orientation turns the picture, a
profile or a palette recolours it, and what stands after its end travels with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.auditing.faults import Findings
from poisongen.datasets.base import ClassTable
from poisongen.errors import DataError
from poisongen.files import png
from poisongen.files.orientation import orientation
from poisongen.files.png_codecs import DamagedError, inflated_length
from poisongen.files.quiet import quiet
from poisongen.records.manifest import FileRecord

_SOI, _EOI, _SOS, _DQT, _DHT, _DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)  # in coded data, what is no stuffed byte and no restart


@dataclass(frozen=True)
class Parts:
    """What a file holds. `picture` describes how its samples are stored: format and depth, colours or frame.

    `annotations` are the chunks or segments that are no picture data, in their order, as (name, content); "IDAT" with
    nothing in it stands where a PNG's data lies. `surplus` says in words what no sound writer leaves in a file: bytes
    that belong to nothing, another order of rows, coefficients coded twice, tables that nothing uses. `progressive` is
    a JPEG whose coefficients come in many scans.
    """

    picture: tuple[str, ...]
    annotations: tuple[tuple[str, bytes], ...]
    surplus: tuple[str, ...]
    progressive: bool = False


def take_apart(data: bytes, name: object, surplus: bool = True) -> Parts:
    """Take apart a PNG or JPEG file that can be decoded. DataError if its structure cannot be told.

    Without `surplus` nobody asks what a PNG's picture data hold beyond the picture.
    """
    return _png_parts(data, name, surplus) if data[:8] == png.SIGNATURE else _jpeg_parts(data)


def _png_parts(data: bytes, name: object, inflate: bool) -> Parts:
    facts = png.parse(data, name)
    surplus = ["rows in interlaced order"] if facts.interlaced else []
    end = 8 + 25 + sum(12 + len(payload) for _, payload in facts.chunks)
    last = int.from_bytes(data[end : end + 4], "big")
    if last:
        surplus.append(f"{last} bytes in its IEND chunk")
    if after := len(data) - (end + 12 + last):
        surplus.append(f"{after} bytes after its end")
    first = next((at for at, (kind, _) in enumerate(facts.chunks) if kind == b"IDAT"), len(facts.chunks))
    annotations = [
        (kind.decode("latin-1"), b"" if kind == b"IDAT" else payload)
        for at, (kind, payload) in enumerate(facts.chunks)
        if kind != b"IDAT" or at == first
    ]
    if inflate and not facts.interlaced:
        stream = b"".join(payload for kind, payload in facts.chunks if kind == b"IDAT")
        surplus += _surplus_of_stream(facts, stream)
    picture = ("PNG", f"{facts.bit_depth} bits", f"colour type {facts.colour_type}")
    return Parts(picture, tuple(annotations), tuple(surplus))


def _surplus_of_stream(facts: png.Png, stream: bytes) -> list[str]:
    """Inflate a PNG's picture data, and say what it holds beyond the rows."""
    wanted = facts.height * (1 + -(-facts.width * facts.channels * facts.bit_depth // 8))
    try:
        got, after = inflated_length(stream, wanted + 1)
    except DamagedError:
        return ["picture data that cannot be inflated"]
    surplus = ["more rows than it has"] if got > wanted else []
    return [*surplus, f"{after} bytes in IDAT after the picture"] if after else surplus


@dataclass(frozen=True)
class _Segment:
    """One marker of a JPEG with its payload; `skipped` bytes before it belong to nothing."""

    marker: int
    payload: bytes
    skipped: int


def _walk(data: bytes) -> Iterator[_Segment | int]:
    """Yield a JPEG's segments to its end, and then how many bytes follow; -1 if there is no end."""
    at, in_scan = 2, False
    while found := _MARKER.search(data, at):
        skipped = 0 if in_scan else found.start() - at
        skipped += found.end() - found.start() - 2
        marker, at = data[found.end() - 1], found.end()
        if marker == _EOI:
            yield _Segment(marker, b"", skipped)
            yield len(data) - at
            return
        length = 0 if marker in (0x01, _SOI) else int.from_bytes(data[at : at + 2], "big")
        yield _Segment(marker, data[at + 2 : at + length], skipped)
        at, in_scan = at + length, marker == _SOS
    yield -1


def _jpeg_parts(data: bytes) -> Parts:
    annotations: list[tuple[str, bytes]] = []
    surplus: list[str] = []
    picture: tuple[str, ...] = ("JPEG",)
    scans: list[bytes] = []
    tables, frame, progressive = _Tables(), b"", False
    for segment in _walk(data):
        if isinstance(segment, int):
            what = f"{segment} bytes after its end" if segment > 0 else "a picture without end"
            surplus += [what] if segment else []
            break
        marker, payload = segment.marker, segment.payload
        surplus += [f"{segment.skipped} bytes between its segments"] if segment.skipped else []
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            word = "COM" if marker == 0xFE else f"APP{marker - 0xE0}"
            annotations += [] if scans else [(word, payload)]
            surplus += [f"a segment {word} within its picture"] if scans else []
        elif marker in _FRAMES:
            frame, progressive = payload, marker in _PROGRESSIVE
            picture += (f"{payload[0] if payload else 0} bits", f"{payload[5] if len(payload) > 5 else 0} components")
            tables.use_quantisation(payload[6:])
        elif marker == _SOS:
            scans.append(payload)
            tables.use_huffman(payload, progressive)
        elif marker in (_DQT, _DHT):
            tables.define(marker, payload)
        elif marker == _DRI:
            surplus.append("restart intervals, which build does not write")
        elif marker != _EOI:
            surplus.append(f"a segment 0x{marker:02X} that no picture needs")
    surplus += [f"{len(scans)} scans"] if len(scans) > 1 and not progressive else []
    surplus += ["a scan of what an earlier scan holds"] if _coded_twice(scans, frame, progressive) else []
    surplus += ["a table that nothing uses"] if tables.unused() else []
    return Parts(picture, tuple(annotations), tuple(surplus), progressive)


class _Tables:
    """Which of a JPEG's tables are used. Slots are (marker, destination); a table may be defined anew after its use."""

    def __init__(self) -> None:
        self._waiting: set[tuple[int, int]] = set()
        self._replaced = False
        self._quantisation: set[int] = set()

    def define(self, marker: int, payload: bytes) -> None:
        """Take in a segment of tables."""
        at = 0
        while at < len(payload):
            head = payload[at]
            slot = (marker, head & 15 if marker == _DQT else head)
            self._replaced |= slot in self._waiting
            self._waiting.add(slot)
            at += 1 + (64 << (head >> 4 & 1) if marker == _DQT else 16 + sum(payload[at + 1 : at + 17]))

    def use_quantisation(self, components: bytes) -> None:
        """Take in the frame's components: three bytes each, the last of them the table's number."""
        self._quantisation |= set(components[2::3])

    def use_huffman(self, scan: bytes, progressive: bool) -> None:
        """Take in a scan's header: a component's tables, of which a progressive scan uses one kind only."""
        count = scan[0] if scan else 0
        start, high = (scan[1 + 2 * count], scan[3 + 2 * count] >> 4) if len(scan) >= 4 + 2 * count else (0, 0)
        for both in scan[2 : 2 + 2 * count : 2]:
            if not progressive or (start == 0 and high == 0):
                self._waiting.discard((_DHT, both >> 4))
            if not progressive or start > 0:
                self._waiting.discard((_DHT, 16 | (both & 15)))
        self._waiting -= {(_DQT, number) for number in self._quantisation}

    def unused(self) -> bool:
        """Whether a table was defined that no scan has used."""
        return self._replaced or bool(self._waiting)


def _coded_twice(scans: Sequence[bytes], frame: bytes, progressive: bool) -> bool:
    """Tell whether a scan holds what an earlier one holds: a component, or, if progressive, the bits of coefficients.

    Decoders take the last one, and those that stop early the first.
    """
    bits: dict[tuple[int, int], int] = {}  # the lowest bit that is known of each coefficient of a component
    for scan in scans:
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:
            return True
        start, end, both = scan[1 + 2 * count : 4 + 2 * count]
        high, low = both >> 4, both & 15
        band = range(start, min(end, 63) + 1) if progressive else range(1)
        for component in scan[1 : 1 + 2 * count : 2]:
            for coefficient in band:
                known = bits.get((component, coefficient))
                if (known is not None) if not progressive or not high else (known != high or low != high - 1):
                    return True
                bits[component, coefficient] = low
    return not scans or not frame


def _hears_surplus(data: bytes) -> bool:
    """Tell whether libjpeg speaks of bytes that belong to no block: only decoding a scan shows where it ends."""
    with quiet() as said:
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION)
        return "extraneous bytes" in said().lower()


def _derived_picture(pixels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return how samples are stored in a file that build derives: plainly, gray or in colour."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    colour = {1: png.GRAY, 2: png.GRAY_ALPHA, 3: png.RGB, 4: png.RGBA}.get(channels, png.PALETTE)
    return ("PNG", f"{8 * pixels.dtype.itemsize} bits", f"colour type {colour}")


def _first_difference(wanted: Sequence[tuple[str, bytes]], found: Sequence[tuple[str, bytes]]) -> str:
    """Name the first annotation that is not what it should be."""
    for (word, content), (other, others_content) in zip(wanted, found, strict=False):
        if word != other:
            return f"{other} in place of {word}"
        if content != others_content:
            return f"another {word}"
    longer = found if len(found) > len(wanted) else wanted
    return f"{longer[min(len(wanted), len(found))][0]} {'more' if longer is found else 'missing'}"


def is_only_reencoded(data: bytes, original: bytes | None, classes: ClassTable, name: object) -> bool:
    """Tell whether a picture whose pixels are right holds nothing that the original had not.

    It may have lost what stood beside the picture, but for what turns it. Where the original is not known, nothing is
    allowed but the palette of the dataset's own colours, and the plain head of a JPEG.
    """
    try:
        parts = take_apart(data, name)
        before = None if original is None else take_apart(original, name)
    except DataError:
        return False
    if parts.surplus or (parts.picture[0] == "JPEG" and _hears_surplus(data)):
        return False
    if before is not None:
        alike = original is not None and orientation(data) == orientation(original)
        return alike and parts.picture == before.picture and all(one in before.annotations for one in parts.annotations)
    own = b"".join(bytes(classes.colours.get(number, (0, 0, 0))) for number in range(256))
    return all(
        word == "IDAT" or (word == "PLTE" and own.startswith(body)) or (word == "APP0" and _is_plain_head(body))
        for word, body in parts.annotations
    )


def _is_plain_head(body: bytes) -> bool:
    return len(body) == 14 and body.startswith(b"JFIF\0") and not any(body[12:])


def check_annotations(
    sample: str,
    file: FileRecord,
    data: bytes,
    pixels: npt.NDArray[Any],
    source: bytes | None,
    one_scan: bool,
    findings: Findings,
) -> None:
    """Test that a written picture holds nothing but its picture and what the source's file has beside it.

    `pixels` is what the file decodes to, `source` the source's file, None where it is not known or there is none.
    `one_scan`: a JPEG holds one scan, whatever its source holds.
    """
    path = file.path
    try:
        parts = take_apart(data, path)
        before = None if source is None else take_apart(source, path, surplus=False)
    except DataError as error:
        findings.test("annotations", False, path, "a file that can be taken apart", error.problem, sample)
        return
    surplus = [*parts.surplus]
    if parts.picture[0] == "JPEG" and _hears_surplus(data):
        surplus.append("bytes in its scan after the picture")
    if parts.progressive and (one_scan or (before is not None and not before.progressive)):
        surplus.append("many scans where build writes one")
    findings.test("annotations", not surplus, path, "a picture and nothing else", "; ".join(surplus), sample)
    if file.source is None:
        before = Parts(_derived_picture(pixels), (("IDAT", b""),), ())
    if before is None:
        return
    whose, wanted, others = "plain" if file.source is None else "the source's", before.picture, before.annotations
    same = findings.test("annotations", parts.picture == wanted, path, f"{whose}: {wanted}", parts.picture, sample)
    if same and parts.annotations != others:
        what = "no chunk beside the picture" if file.source is None else "the source's chunks and segments"
        findings.fault("annotations", path, what, _first_difference(others, parts.annotations), sample)
