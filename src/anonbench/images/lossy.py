"""Photographs in a lossy format at a quality: what the codecs of a study write, and how much of it is the picture.

JPEG by libjpeg-turbo with Huffman tables made for the image, WebP by libwebp, AVIF by libaom at speed 6 on one thread;
all with chroma at half the resolution (4:2:0), as their encoders do by default, and by Pillow, whose wheels hold them.
The same pixels give the same bytes. JPEG XL is in no locked package.
"""

from __future__ import annotations

import io
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageFile, features

from anonbench import images
from anonbench.errors import AnonbenchError, nearest

FORMATS = ("jpeg", "webp", "avif")
LOWEST = {"jpeg": 1, "webp": 0, "avif": 0}
HIGHEST = 100
"""Qualities are whole numbers up to this, from `LOWEST`; one format's mean nothing in another."""
LARGEST = {"jpeg": 65_500, "webp": 16_383, "avif": 32_768}
"""Pixels along a side; libavif writes more than it reads."""

_SETTINGS: dict[str, dict[str, Any]] = {
    "jpeg": {"subsampling": "4:2:0", "optimize": True},
    "webp": {"method": 4},
    "avif": {"subsampling": "4:2:0", "speed": 6, "max_threads": 1, "autotiling": False, "codec": "aom"},
}
_NAMES = {"jpeg": "jpg"}
"""What Pillow calls a format among its features, where it is another name."""
_UNIT = 16 * 16 * 3
"""Bytes that 16x16 pixels of a JPEG have room for: those of the pixels, of which noise takes half at most."""
_HEADERS = 1 << 16
_growing = threading.Lock()


def available(format: str) -> str | None:
    """Return what keeps a format from being written here, None if nothing does."""
    there = features.check(_NAMES.get(format, format))
    return None if there else f"the installed Pillow cannot write {format}"


def encode(pixels: np.ndarray, format: str, quality: int) -> bytes:
    """Return pixels (uint8 HxWx3 RGB) as a file; raise AnonbenchError for what the format cannot hold.

    The file holds no metadata. ``quality`` is whole, from `LOWEST` to `HIGHEST`.
    """
    if format not in FORMATS:
        raise AnonbenchError(f"unknown format '{format}'{nearest(format, FORMATS)}")
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST[format]:
        raise AnonbenchError(
            f"is {width}x{height} pixels, and {format} holds no more than {LARGEST[format]} along a side",
            remedy="choose another format, or shrink",
        )
    if format == "jpeg":
        _make_room(-(-height // 16) * -(-width // 16) * _UNIT + _HEADERS)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format.upper(), quality=quality, **_SETTINGS[format])
    return buffer.getvalue()


def _make_room(size: int) -> None:
    """Let Pillow's buffers hold ``size`` bytes.

    A JPEG with Huffman tables of its own is written in one go. Pillow gives it a byte or two per pixel, by its quality,
    which noise and narrow pictures exceed.
    """
    with _growing:
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, size)


def decode(data: bytes) -> np.ndarray:
    """Return the pixels of a file that `encode` wrote, uint8 HxWx3 RGB; they have fitted into memory before."""
    return images.decode(data, max_pixels=sys.maxsize).pixels


def picture_bytes(data: bytes, format: str) -> int:
    """Return how many bytes of a file that `encode` wrote code the picture itself.

    All but headers, tables and boxes: the scans of a JPEG (ITU-T T.81 B.1.1), the payload of the chunk ``VP8 ``
    of a WebP (RFC 9649), that of the box ``mdat`` of an AVIF (ISO/IEC 14496-12).
    """
    parts = {"jpeg": _scans, "webp": _chunks, "avif": _boxes}[format](data)
    return sum(size for name, size in parts if name in (b"scan", b"VP8 ", b"mdat"))


def _scans(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the scans of a JPEG: all from the end of a scan's header to the next marker that is none of restarts."""
    at = 2
    while at < len(data) - 1 and data[at + 1] != 0xD9:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        at += 2 + length
        if marker != 0xDA:
            continue
        end = at
        while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
            end += 1
        yield b"scan", end - at
        at = end


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 12
    while at < len(data):
        (size,) = struct.unpack("<I", data[at + 4 : at + 8])
        yield data[at : at + 4], size
        at += 8 + size + size % 2


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        header = 8
        if size == 1:
            (size,), header = struct.unpack(">Q", data[at + 8 : at + 16]), 16
        size = size or len(data) - at
        yield data[at + 4 : at + 8], size - header
        at += size
