"""PNG: chunks, pixels, and the list of what a stripped file keeps."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from anonbench.images import icc
from anonbench.images.frames import exif_orientation, orientation_only
from anonbench.images.record import FURTHER, Decoded, Encoded, Header, Stripped, undecodable
from anonbench.images.samples import eight_bit, grey, on_black

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {b"sRGB": (1,), b"gAMA": (4,), b"cHRM": (32,), b"cICP": (4,)}
_SMALL = {**_COLOUR, b"sBIT": (1, 2, 3, 4), b"pHYs": (9,)}
"""Chunks that are kept as they are, with the lengths that they may have: they hold a few numbers."""

_READ = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
"""Chunks that the pixels come from; OpenCV gets no others, as it would inflate texts and follow animations."""

_PROFILE_NAME = b"ICC Profile\0\0"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps between columns and rows, of the passes of an interlaced image."""

_NOTHING = np.zeros((0, 0), np.uint8)
_PIECE = 1 << 24
"""Bytes that are inflated at a time."""


class Chunk(NamedTuple):
    """A chunk: its four letters, all of its bytes, and its body."""

    kind: bytes
    raw: bytes
    body: bytes


class Png:
    """A PNG file taken apart; raises AnonbenchError when it is cut short or damaged."""

    def __init__(self, data: bytes, file: str | Path | None) -> None:
        self._data, self._file = data, file
        self._chunks = _chunks(data, file)
        width, height, self._depth, self._colour, *methods = struct.unpack(">IIBBBBB", self._chunks[0].body)
        self._interlaced = methods[2] == 1
        if self._depth not in _DEPTHS.get(self._colour, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
            undecodable(file, "its header chunk is damaged")
        key = next((part.body for part in self._chunks if part.kind == b"tRNS"), None)
        self._key = key if self._colour in (0, 2, 3) else None
        self._transparent = self._colour in (4, 6) or self._key is not None
        orientation = next((exif_orientation(part.body) for part in self._chunks if part.kind == b"eXIf"), 1)
        self.header = Header("PNG", (width, height), orientation)
        self._further = (FURTHER,) if any(part.kind == b"fdAT" for part in self._chunks) else ()

    def decode(self) -> Decoded:
        """Return the pixels in the stored frame, transparent ones as they show on black."""
        if self._depth == 16 or self._transparent:
            values, _ = self._shown()
            pixels = eight_bit(values) if values.dtype == np.uint16 else values
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)
        else:
            pixels = self._read(cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        notes = []
        if self._depth != 8 and self._colour != 3:
            notes.append(f"{self._depth}-bit samples written with 8 bits")
        if self._colour == 3:
            notes.append("palette written as RGB")
        if self._transparent:
            notes.append("transparent pixels shown on black")
        kept, lost = self._described((*_COLOUR, b"iCCP"))
        lost += self._further
        profile = b"".join(part.raw for part in kept)
        return Decoded(pixels, "PNG", self._colour in (0, 4), profile=profile, notes=(*notes, *lost))

    def strip(self, upright: bool) -> Stripped:
        """Return the file without anything that no pixel needs.

        ``upright`` keeps an orientation other than 1. The pixels' coded data stays unless something is hidden in
        it: colours under transparent pixels, bytes behind the last row.
        """
        shown, hides = self._shown() if self._transparent else (_NOTHING, False)
        kept, notes = self._described({*_SMALL, b"iCCP"} - ({b"sBIT"} if hides else set()))
        notes += self._further
        if hides:
            header, *image, end = _chunks(cv2.imencode(".png", shown)[1].tobytes(), None)
            notes = (*notes, "transparent pixels shown on black")
        else:
            header, *image, end = self._pixels()
        if upright and self.header.orientation != 1:
            kept.insert(0, _chunk(b"eXIf", orientation_only(self.header.orientation)))
        return Stripped(SIGNATURE + b"".join(part.raw for part in (header, *kept, *image, end)), notes)

    def _read(self, flags: int) -> np.ndarray:
        """Return what OpenCV reads; of an animation the still image."""
        data = self._data
        if not all(part.kind in _READ for part in self._chunks):
            data = SIGNATURE + b"".join(part.raw for part in self._chunks if part.kind in _READ)
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as error:
            undecodable(self._file, error.err)
        if pixels is None:
            undecodable(self._file, "its data is damaged")
        return pixels

    def _shown(self) -> tuple[np.ndarray, bool]:
        """Return the samples as they show on black, and whether any is transparent.

        They are uint8 or uint16, HxW of a grey image and else HxWx3 BGR.
        """
        values = self._read(cv2.IMREAD_UNCHANGED)
        alpha, full = None, np.iinfo(values.dtype).max
        if values.ndim == 3:
            if values.shape[2] == 4:
                alpha = values[..., 3]
            values = values[..., 0] if self._colour == 4 else values[..., :3]
        elif self._key is not None and len(self._key) == 2:  # OpenCV reads the transparent colour of RGB alone
            transparent = int.from_bytes(self._key, "big") & ((1 << self._depth) - 1)
            alpha = np.where(values == transparent * full // ((1 << self._depth) - 1), 0, full).astype(values.dtype)
        if alpha is None or alpha.min() == full:
            return np.ascontiguousarray(values), False
        return on_black(values, alpha), True

    def _described(self, kinds: Collection[bytes]) -> tuple[list[Chunk], tuple[str, ...]]:
        """Return the chunks of these kinds that are well formed, each kind once, and notes."""
        found: dict[bytes, Chunk] = {}
        notes: tuple[str, ...] = ()
        for part in self._chunks:
            if part.kind not in kinds or part.kind in found:
                continue
            if part.kind == b"iCCP":
                profile = _profile(part.body)
                clean = icc.plain(profile)
                if clean is None:
                    notes = (icc.DROPPED,)
                elif clean == profile and part.body.startswith(_PROFILE_NAME):
                    found[part.kind] = part
                else:
                    found[part.kind] = _profile_chunk(clean)
            elif len(part.body) in _SMALL[part.kind] and _sensible(part):
                found[part.kind] = part
        return list(found.values()), notes

    def _pixels(self) -> list[Chunk]:
        """Return the chunks that hold the pixels, without what lies behind the last row."""
        palette = [part for part in self._chunks if part.kind == b"PLTE" and self._colour == 3][:1]
        if palette and len(palette[0].body) > 3 << self._depth:
            palette = [_chunk(b"PLTE", palette[0].body[: 3 << self._depth])]
        data = [part for part in self._chunks if part.kind == b"IDAT"]
        stream = b"".join(part.body for part in data)
        used = self._stream_end(stream)
        if used is None:
            inflater = zlib.decompressobj()
            data = [_chunk(b"IDAT", zlib.compress(inflater.decompress(stream, self._bytes()), 6))]
        elif used < len(stream):
            data = [_chunk(b"IDAT", stream[:used])]
        return [self._chunks[0], *palette, *data, _chunk(b"IEND", b"")]

    def _stream_end(self, stream: bytes) -> int | None:
        """Return the length of the compressed stream, None when it holds more than the image's bytes."""
        inflater, left, total = zlib.decompressobj(), self._bytes(), len(stream)
        try:
            while left > 0 and not inflater.eof and stream:
                left -= len(inflater.decompress(stream, min(left, _PIECE)))
                stream = inflater.unconsumed_tail
            if not inflater.eof and inflater.decompress(stream, 1):
                return None
        except zlib.error as error:
            undecodable(self._file, error)
        if left > 0 or not inflater.eof:
            undecodable(self._file, "it is cut short")
        return total - len(inflater.unused_data)

    def _bytes(self) -> int:
        """Return the size of the inflated image: rows of samples, each behind the byte of its filter."""
        width, height = self.header.size
        bits = _CHANNELS[self._colour] * self._depth
        passes = _ADAM7 if self._interlaced else ((0, 0, 1, 1),)
        sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes)
        return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def encode(pixels: np.ndarray, source: Decoded) -> Encoded:
    """Write pixels (uint8 HxWx3 RGB) without loss, grey where the source was."""
    stored = grey(pixels) if source.grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".png", stored)[1].tobytes()
    end = len(SIGNATURE) + 25  # behind the header chunk
    return Encoded(data[:end] + source.profile + data[end:], "png")


def profile_chunk(profile: bytes) -> bytes:
    """Return the bytes of the chunk that holds a colour profile, b"" for none."""
    return _profile_chunk(profile).raw if profile else b""


def _profile_chunk(profile: bytes) -> Chunk:
    return _chunk(b"iCCP", _PROFILE_NAME + zlib.compress(profile, 9))


def _chunk(kind: bytes, body: bytes) -> Chunk:
    raw = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return Chunk(kind, raw, body)


def _chunks(data: bytes, file: str | Path | None) -> list[Chunk]:
    """Return a PNG's chunks; raise AnonbenchError when one is cut short or its checksum is wrong."""
    parts: list[Chunk] = []
    at = len(SIGNATURE)
    while not parts or parts[-1].kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        raw = data[at : at + 12 + length]
        if len(raw) < 12 + length:
            undecodable(file, "it is cut short")
        if zlib.crc32(raw[4:-4]) != int.from_bytes(raw[-4:], "big"):
            undecodable(file, "a checksum does not match")
        parts.append(Chunk(raw[4:8], raw, raw[8:-4]))
        at += 12 + length
    if parts[0].kind != b"IHDR" or len(parts[0].body) != 13:
        undecodable(file, "it has no header chunk")
    return parts


def _sensible(part: Chunk) -> bool:
    """Tell whether a chunk of the right length holds numbers of its kind, and not a text in their place."""
    body = part.body
    if part.kind in (b"gAMA", b"cHRM"):  # hundred thousandths: gammas up to 10, coordinates up to 2.6
        most = 1_000_000 if part.kind == b"gAMA" else 1 << 18
        return all(0 <= number <= most for (number,) in struct.iter_unpack(">I", body))
    if part.kind == b"pHYs":
        across, down, unit = struct.unpack(">IIB", body)
        return 0 < max(across, down) <= 4 * min(across, down) and max(across, down) < 1 << 20 and unit <= 1
    if part.kind == b"cICP":  # ITU-T H.273: primaries, transfer, matrix (0: RGB), full range
        return body[0] <= 22 and body[1] <= 18 and body[2] == 0 and body[3] <= 1
    return body[0] <= 3 if part.kind == b"sRGB" else all(1 <= bits <= 16 for bits in body)


def _profile(body: bytes) -> bytes:
    """Return the profile in an iCCP chunk (behind a name and a byte for the method), b"" when it is damaged."""
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(body[body.find(b"\0") + 2 :], icc.LARGEST)
    except zlib.error:
        return b""
    return profile if inflater.eof and not inflater.unused_data else b""
