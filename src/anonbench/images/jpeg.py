"""JPEG: segments, pixels, and the list of what a stripped file keeps.

Sections and tables are those of ITU-T T.81, the standard.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from anonbench.images import icc, other
from anonbench.images.frames import exif_orientation, orientation_only
from anonbench.images.record import FURTHER, Decoded, Encoded, Header, Stripped, undecodable
from anonbench.images.samples import grey

SIGNATURE = b"\xff\xd8\xff"
_SOI, _EOI, _SOS, _DQT, _DHT, _DRI, _DNL = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xDC
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_RESTARTS = re.compile(rb"(?:\xff+[\xd0-\xd7]?)+\Z")
_MOST_SCANS = 200
"""Scans of a file that is decoded. Encoders write ten or so; each one costs a pass over all of the image, and may be a
few bytes long."""
_FILM = re.compile(rb".{0,64}?ftyp", re.DOTALL)
"""How the film of a moving photograph begins."""
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}


class Segment(NamedTuple):
    """A marker segment: where it starts (its marker) and ends in the file, and its body; a scan ends with its data."""

    marker: int
    start: int
    end: int
    body: bytes


class Jpeg:
    """A JPEG file taken apart up to its first scan; raises AnonbenchError when its header is no good."""

    def __init__(self, data: bytes, file: str | Path | None) -> None:
        self._data, self._file = data, file
        self._segments = _segments(data, file)
        self._frame = _frame(self._segments, file)
        height, width = struct.unpack(">HH", self._frame.body[1:5])
        if not height:  # left to a segment behind the first scan (B.2.5), which libjpeg does not read
            height = self._defined_height()
            at = self._frame.start + 5
            self._data = data[:at] + struct.pack(">H", height) + data[at + 2 :]
            self._segments = _segments(self._data, file)
            self._frame = _frame(self._segments, file)
        if self._data.count(b"\xff\xda") > _MOST_SCANS:
            scans = sum(segment.marker == _SOS for segment in _segments(self._data, file, whole=True))
            if scans > _MOST_SCANS:
                undecodable(file, f"it has {scans} scans, more than the limit of {_MOST_SCANS}")
        exif = (s.body[6:] for s in self._segments if s.marker == 0xE1 and s.body.startswith(b"Exif\0\0"))
        self.header = Header("JPEG", (width, height), next((exif_orientation(tiff) for tiff in exif), 1))
        coded = self._segments[-1].end  # what follows has neither of these two
        film = _FILM.match(data, data.find(b"\xff\xd9", coded) + 2)
        self._further = (FURTHER,) if film or data.rfind(SIGNATURE) > coded else ()

    def _defined_height(self) -> int:
        segments = _segments(self._data, self._file, whole=True)
        first = next((i for i, segment in enumerate(segments) if segment.marker == _SOS), len(segments))
        behind = segments[first + 1 : first + 2]
        if not behind or behind[0].marker != _DNL or len(behind[0].body) != 2:
            undecodable(self._file, "its height is missing, in the header and after the first scan")
        return int.from_bytes(behind[0].body, "big")

    def decode(self) -> Decoded:
        """Return the pixels in the stored frame."""
        frame = self._frame.body
        components = frame[5]
        sampling = [divmod(frame[7 + 3 * i], 16) for i in range(components)]
        subsampling = None
        if components == 3 and sampling[1] == sampling[2] == (1, 1):
            subsampling = _SUBSAMPLING.get((sampling[0][0], sampling[0][1]))
        tables = _tables(self._segments, frame) or _tables(_segments(self._data, self._file, whole=True), frame)
        notes: list[str] = []
        if components in (1, 3):
            pixels, recovered = self._pixels()
            profile, lost = self._profile()
            notes.extend(lost)
            if recovered:
                notes.append("bytes between JPEG segments ignored")
        else:
            pixels, profile, subsampling = other.rgb(other.jpeg(self._data, self._file), self._file), b"", "444"
            tables = tables[:2]
            notes.append("CMYK written as RGB, its colour profile dropped")
        if subsampling is None and components != 1:
            notes.append("unusual chroma subsampling written as 4:4:4")
        notes += self._further
        return Decoded(pixels, "JPEG", components == 1, tables, subsampling, profile, tuple(notes))

    def _pixels(self) -> tuple[np.ndarray, bool]:
        """Return RGB pixels, and whether libjpeg had to skip bytes that do not belong to the image."""
        one = self._frame.body[5] == 1
        try:
            pixels = simplejpeg.decode_jpeg(self._data, "GRAY" if one else "RGB")
        except ValueError as error:
            # Strict decoding also refuses harmless bytes between segments, and samplings without a name.
            # A file that is cut short must not pass as one: libjpeg would fill it with grey.
            if "extraneous" not in str(error) and "subsampling" not in str(error):
                undecodable(self._file, error)
            return other.rgb(other.jpeg(self._data, self._file), self._file), "extraneous" in str(error)
        return (cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if one else pixels), False

    def _profile(self) -> tuple[bytes, tuple[str, ...]]:
        """Return the colour profile's segments, written anew, and notes."""
        parts = [s.body[12:] for s in self._segments if _kind(s) == "ICC"]
        if not parts:
            return b"", ()
        parts.sort(key=lambda part: part[0] if part else 0)
        whole = [part[0] for part in parts if len(part) > 2] == list(range(1, len(parts) + 1))
        profile = icc.plain(b"".join(part[2:] for part in parts)) if whole else None
        if profile is None:
            return b"", (icc.DROPPED,)
        size = 65533 - 14
        pieces = [profile[start : start + size] for start in range(0, len(profile), size)]
        bodies = (
            b"ICC_PROFILE\0" + bytes((number, len(pieces))) + piece for number, piece in enumerate(pieces, start=1)
        )
        return b"".join(_segment(0xE2, body) for body in bodies), ()

    def strip(self, upright: bool) -> Stripped:
        """Return the file without anything that no pixel needs.

        ``upright`` keeps an orientation other than 1. The pixels' coded data stays as it is, up to its end.
        """
        profile, notes = self._profile()
        exif = b""
        if upright and self.header.orientation != 1:
            exif = _segment(0xE1, b"Exif\0\0" + orientation_only(self.header.orientation))
        segments = _segments(self._data, self._file, whole=True)
        live = _live(segments, self._file)
        kinds = [_kind(segment) for segment in segments]
        last_adobe = len(kinds) - 1 - kinds[::-1].index("Adobe") if "Adobe" in kinds else None  # the one that holds
        head, kept = b"", []
        for index, (kind, segment) in enumerate(zip(kinds, segments, strict=True)):
            if kind == "JFIF":
                head = head or _segment(0xE0, _resolution(segment.body) + b"\0\0")
            elif kind == "ICC":
                kept.append(profile)
                profile = b""
            elif index == last_adobe:
                kept.append(_segment(0xEE, b"Adobe\0\x64" + bytes(4) + segment.body[11:12]))
            elif segment.marker in (_DQT, _DHT, _DRI):
                entries = [segment.body[start:end] for _, start, end in _entries(segment) if (index, start) in live]
                kept.append(_segment(segment.marker, b"".join(entries)) if entries else b"")
            elif segment.marker == self._frame.marker:
                kept.append(self._data[segment.start : segment.end])
            elif segment.marker == _SOS:
                kept.append(_RESTARTS.sub(b"", self._data[segment.start : segment.end]))  # markers without data
        data = b"".join((b"\xff\xd8", head, exif, *kept, b"\xff\xd9"))
        return Stripped(_without_tails(data, self._frame.body[5], self._file), (*notes, *self._further))


def profile_of(segments: bytes) -> bytes:
    """Return the colour profile in the segments that `Jpeg.decode` makes of one, b"" for none."""
    profile, at = b"", 0
    while at < len(segments):
        end = at + 2 + int.from_bytes(segments[at + 2 : at + 4], "big")
        profile += segments[at + 18 : end]  # behind marker, length, "ICC_PROFILE\0", number and count
        at = end
    return profile


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def _segments(data: bytes, file: str | Path | None, whole: bool = False) -> list[Segment]:
    """Return a JPEG's segments up to its first scan, or with ``whole`` to its end; bytes between them are no part."""
    found: list[Segment] = []
    at = 2
    while True:
        match = _MARKER.search(data, at)
        if match is None:
            undecodable(file, "it is cut short")
        start = match.start()
        marker, at = data[start + 1], start + 2
        if marker == _EOI or (marker == _SOS and not whole):
            return found
        if marker in _ALONE:
            continue
        if marker == _SOI:
            undecodable(file, "another image starts inside it")
        end = at + int.from_bytes(data[at : at + 2], "big")
        if not at + 2 <= end <= len(data):
            undecodable(file, "it is cut short")
        body = data[at + 2 : end]
        if marker == _SOS:
            following = _AFTER_SCAN.search(data, end)
            if following is None:
                undecodable(file, "it is cut short")
            end = following.start()
        found.append(Segment(marker, start, end, body))
        at = end


def _frame(segments: list[Segment], file: str | Path | None) -> Segment:
    """Return the frame header (SOF): coding, size and components."""
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if not frames:
        undecodable(file, "it has no frame header")
    body = frames[0].body
    if len(frames) > 1 or len(body) < 6 or len(body) != 6 + 3 * body[5]:
        undecodable(file, "its frame header is damaged")
    return frames[0]


def _kind(segment: Segment) -> str:
    """Return the name of an application segment that is read, "" for any other segment."""
    marker, body = segment.marker, segment.body
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return "JFIF"
    if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
        return "ICC"
    if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
        return "Adobe"
    return ""


def _resolution(jfif: bytes) -> bytes:
    """Return a JFIF segment's first twelve bytes: version, and resolution where it can be one."""
    unit, across, down = struct.unpack(">BHH", jfif[7:12])
    sensible = unit <= 2 and 0 < max(across, down) <= min(4 * max(min(across, down), 1), 12_000)
    version = jfif[5:7] if jfif[5] == 1 and jfif[6] <= 2 else b"\1\1"
    return b"JFIF\0" + version + (jfif[7:12] if sensible else b"\0\0\1\0\1")


def _entries(segment: Segment) -> Iterator[tuple[int, int, int]]:
    """Yield the tables in a DQT, DHT or DRI segment: class and number, first and last byte in the body."""
    body, at = segment.body, 0
    if segment.marker == _DRI:
        yield 0, 0, len(body)
        return
    while at < len(body):
        if segment.marker == _DQT:
            end = at + 1 + (128 if body[at] >> 4 else 64)
            number = body[at] & 15
        else:
            end, number = at + 17 + sum(body[at + 1 : at + 17]), body[at]
        yield number, at, end
        at = end


def _live(segments: list[Segment], file: str | Path | None) -> set[tuple[int, int]]:
    """Return which tables a scan uses, as (index of the segment, position in its body).

    Raises AnonbenchError where a table or a scan's header is damaged, or what one scan coded is coded again: the
    earlier image would stay in the file unseen.
    """
    frame = _frame(segments, file)
    if frame.marker not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        undecodable(file, f"it is not Huffman-coded (frame marker {frame.marker:#x})")
    quantisation = {frame.body[6 + 3 * i]: frame.body[8 + 3 * i] for i in range(frame.body[5])}
    current: dict[tuple[int, int], tuple[int, int]] = {}
    live: set[tuple[int, int]] = set()
    coded: set[tuple[int, int]] = set()
    for index, segment in enumerate(segments):
        if segment.marker in (_DQT, _DHT, _DRI):
            for number, start, end in _entries(segment):
                if end > len(segment.body) or (segment.marker == _DRI and end != 2):
                    undecodable(file, "a table is damaged")
                current[segment.marker, number] = (index, start)
        elif segment.marker == _SOS:
            body = segment.body
            count = body[0] if body else 0
            if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
                undecodable(file, "the header of a scan is damaged")
            used = {(_DRI, 0)}
            first, last, earlier = body[-3], body[-2], body[-1] >> 4
            for component, tables in zip(body[1:-3:2], body[2:-3:2], strict=True):
                if frame.marker != _PROGRESSIVE:
                    cells = {(component, 0)}
                    used |= {(_DHT, tables >> 4), (_DHT, 16 + (tables & 15))}
                else:
                    cells = {(component, cell) for cell in range(first, last + 1)} if not earlier else set()
                    if first:
                        used.add((_DHT, 16 + (tables & 15)))
                    elif not earlier:
                        used.add((_DHT, tables >> 4))
                if component not in quantisation or cells & coded:
                    undecodable(file, "a scan codes something that is not in the image, or was coded before")
                if component not in {known for known, _ in coded}:
                    used.add((_DQT, quantisation[component]))
                coded |= cells
            live |= {current[key] for key in used if key in current}
    return live


def _without_tails(data: bytes, components: int, file: str | Path | None) -> bytes:
    """Return a stripped file without what lies between the last pixel of a scan and the next marker.

    libjpeg tells of such bytes when it decodes, if there are more than the seven that it may have read ahead; it reads
    the whole file here, but makes an eighth of its width and height of it. Samplings without a name are not decoded.
    Raises AnonbenchError for a file whose pixels are not all there, and for such bytes before a restart marker.
    """
    why = _complaint(data, components)
    start = 0
    while why and "extraneous" in why:
        scan = next((s for s in _segments(data, file, whole=True) if s.marker == _SOS and s.start >= start), None)
        if scan is None:
            undecodable(file, "its coded data has bytes that belong to no pixel")
        end = _scan_end(data, scan, components)
        data, start = data[:end] + data[scan.end :], end
        why = _complaint(data, components)
    if why and "subsampling" not in why:
        undecodable(file, why)
    return data


def _scan_end(data: bytes, scan: Segment, components: int) -> int:
    """Return where a scan's coded data ends, no scan before it having a tail: cut shorter, libjpeg misses some."""
    low, high = scan.start + 4 + len(scan.body), scan.end
    while low < high:
        middle = (low + high) // 2
        why = _complaint(data[:middle] + data[scan.end :], components)
        if why and "extraneous" not in why:
            low = middle + 1
        else:
            high = middle
    return high


def _complaint(data: bytes, components: int) -> str:
    """Return the first thing that libjpeg does not like about a file, "" for none."""
    try:
        simplejpeg.decode_jpeg(data, "CMYK" if components == 4 else "GRAY", True, True, 1, 1, 8)
    except ValueError as error:
        return str(error)
    return ""


def _tables(segments: list[Segment], frame: bytes) -> tuple[tuple[int, ...], ...]:
    """Return the quantisation tables (64 numbers, zigzag order) of the components, () when one is missing."""
    tables: dict[int, tuple[int, ...]] = {}
    for segment in segments:
        if segment.marker == _DQT:
            for number, start, end in _entries(segment):
                raw = segment.body[start + 1 : end]
                if end <= len(segment.body):
                    tables[number] = struct.unpack(">64H" if len(raw) == 128 else "64B", raw)
    used = [tables.get(frame[8 + 3 * i]) for i in range(frame[5])]
    if None in used:
        return ()
    while len(used) > 1 and used[-1] == used[-2]:
        used.pop()
    return tuple(table for table in used if table is not None)


def encode(pixels: np.ndarray, source: Decoded, quality: int | None) -> Encoded:
    """Write pixels (uint8 HxWx3 RGB) at libjpeg's quality, None for the source's own tables; grey stays grey."""
    name = _label(source)
    if quality is not None:
        return Encoded(_simple(pixels, source, quality), f"jpeg quality {quality} {name}")
    quality = _standard_quality().get((source.grey, source.tables)) if source.grey or source.subsampling else None
    if quality is not None:
        return Encoded(_simple(pixels, source, quality), f"jpeg source q{quality} {name}")
    return _with_tables(pixels, source)


@functools.cache
def _standard_quality() -> dict[tuple[bool, tuple[tuple[int, ...], ...]], int]:
    """Return the quality at which libjpeg writes given tables, by (grey, tables), read from files that it wrote."""
    found = {}
    flat = np.zeros((8, 8, 3), np.uint8)
    for quality in range(100, 0, -1):
        for pixels, space, sampling in ((flat, "RGB", "444"), (flat[..., :1].copy(), "GRAY", "Gray")):
            data = simplejpeg.encode_jpeg(pixels, quality, space, sampling)
            segments = _segments(data, None)
            found[sampling == "Gray", _tables(segments, _frame(segments, None).body)] = quality
    return found


def _label(source: Decoded) -> str:
    return "grey" if source.grey else ":".join(source.subsampling or "444")


def _with_profile(data: bytes, profile: bytes) -> bytes:
    """Put profile segments behind the JFIF segment that a file starts with."""
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + profile + data[end:] if profile else data


def _simple(pixels: np.ndarray, source: Decoded, quality: int) -> bytes:
    if source.grey:
        data = simplejpeg.encode_jpeg(grey(pixels)[..., None], quality, "GRAY", "Gray")
    else:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", source.subsampling or "444")
    return _with_profile(data, source.profile)


_ZIGZAG = tuple(
    int(i)
    for i in np.argsort([(r + c) * 64 + (r if (r + c) % 2 else c) for r in range(8) for c in range(8)], kind="stable")
)
"""Row-major position of each zigzag position."""


def _with_tables(pixels: np.ndarray, source: Decoded) -> Encoded:
    """Write with tables that are not libjpeg's own at any quality; Pillow takes them in row-major order."""
    if not source.tables:
        return Encoded(_simple(pixels, source, 95), f"jpeg quality 95 {_label(source)} (no source tables)")
    tables = []
    for zigzag in source.tables:
        table = [0] * 64
        for position, value in zip(_ZIGZAG, zigzag, strict=True):
            table[position] = value
        tables.append(table)
    name = _label(source) if source.grey or source.subsampling in ("444", "422", "420") else "4:4:4"
    buffer = io.BytesIO()
    image = Image.fromarray(grey(pixels) if source.grey else pixels)
    image.save(buffer, "JPEG", qtables=tables, **({} if source.grey else {"subsampling": name}))
    return Encoded(_with_profile(buffer.getvalue(), source.profile), f"jpeg source tables {name} (pillow)")
