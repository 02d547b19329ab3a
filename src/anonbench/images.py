"""Images as bytes and as pixels: decode once, write back in kind, strip metadata without touching a pixel.

Pixels are uint8 HxWx3 in RGB everywhere. A changed JPEG is written with its own quantisation tables and
chroma subsampling (policy ``source``), which leaves the background within one level of what it was; a PNG
stays PNG. Of the metadata only the colour profile survives.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from anonbench import files
from anonbench.errors import AnonbenchError

Size = tuple[int, int]
"""Width, height in pixels."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_COLOUR_CHUNKS = frozenset((b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"))
_PIXEL_CHUNKS = _COLOUR_CHUNKS | {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT", b"bKGD", b"pHYs"}
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}
_POLICY = re.compile(r"quality-(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image's pixels and what is needed to write them back in kind.

    ``pixels`` is uint8 HxWx3 RGB in the frame that the labels refer to. ``format`` is ``JPEG``, ``PNG`` or
    Pillow's name of another one. ``tables`` are a JPEG's quantisation tables by component (64 numbers each,
    zigzag order; the last one holds for the components after it), ``subsampling`` is its chroma subsampling
    (``"420"``; None for grey or one that has no name). ``profile`` holds the raw segments or chunks that
    describe the colours. ``notes`` says what writing the image back will lose.
    """

    pixels: np.ndarray = field(repr=False)
    format: str
    grey: bool = False
    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: str | None = None
    profile: bytes = field(default=b"", repr=False)
    notes: tuple[str, ...] = ()


class Encoded(NamedTuple):
    """A file's bytes, and how they were written: ``jpeg source q96 4:2:0``, ``png``, ..."""

    data: bytes
    encoder: str


class _Part(NamedTuple):
    """A JPEG segment (``kind`` is its marker) or PNG chunk (its four letters); ``raw`` is all of it."""

    kind: int | bytes
    raw: bytes
    body: bytes


def read_rgb(path: str | Path, size: Size | None = None) -> np.ndarray:
    """Return an image file's pixels, uint8 HxWx3 RGB, with its EXIF orientation applied.

    Grey, palette, CMYK and 16-bit images are converted, alpha is dropped. ``size`` is the annotated width and
    height: labels that were drawn on the stored frame of a rotated image get the stored frame. Raises
    AnonbenchError when the file is missing, empty, cut short or not an image, or its size is not the
    annotated one.
    """
    return decode(read_bytes(path), file=path, size=size).pixels


def read_bytes(path: str | Path) -> bytes:
    """Return a file's bytes; raise AnonbenchError when it is missing or empty."""
    try:
        data = files.read_bytes(path)
    except FileNotFoundError:
        raise AnonbenchError("no such image", file=path, remedy="run the download stage again") from None
    if not data:
        _undecodable(path, "it is empty")
    return data


def decode(data: bytes, *, file: str | Path | None = None, size: Size | None = None) -> Decoded:
    """Decode an image's bytes.

    ``size`` is the annotated width and height: the pixels come in the upright frame (EXIF orientation
    applied) when its size is the annotated one or none is given, else in the stored frame when that one's is.
    Raises AnonbenchError (naming ``file``) when the data cannot be decoded in full or neither frame has the
    annotated size.
    """
    if data.startswith(_JPEG):
        decoded, orientation = _decode_jpeg(data, file)
    elif data.startswith(_PNG):
        decoded, orientation = _decode_png(data, file)
    else:
        decoded, orientation = _decode_other(data, file)
    height, width = decoded.pixels.shape[:2]
    if not _is_upright(orientation, (width, height), size, file):
        return _replace(decoded, note=f"EXIF orientation {orientation} ignored: the labels are in the stored frame")
    if orientation == 1:
        return decoded
    subsampling = decoded.subsampling
    if orientation >= 5:
        subsampling = {"422": "440", "440": "422"}.get(subsampling or "", subsampling)
    pixels = np.ascontiguousarray(_upright(decoded.pixels, orientation))
    return _replace(decoded, note=f"EXIF orientation {orientation} applied", pixels=pixels, subsampling=subsampling)


def check_policy(policy: str) -> None:
    """Raise AnonbenchError unless ``policy`` is ``source`` or ``quality-N`` with N from 1 to 100."""
    _quality(policy)


def encode(pixels: np.ndarray, source: Decoded, policy: str = "source", *, file: str | Path | None = None) -> Encoded:
    """Write pixels (uint8 HxWx3 RGB) in the kind of the image that they were decoded from.

    ``policy``: ``source`` keeps a JPEG's quantisation tables and subsampling, ``quality-N`` takes libjpeg's
    tables at quality N and the source's subsampling; PNG is lossless under both. Grey stays grey. Raises
    AnonbenchError for a format that is not written (only JPEG and PNG are) or an unknown policy.
    """
    quality = _quality(policy)
    if source.format == "PNG":
        return _encode_png(pixels, source)
    if source.format != "JPEG":
        _unwritable(source.format, file)
    name = _label(source)
    if quality is not None:
        return Encoded(_simple_jpeg(pixels, source, quality), f"jpeg quality {quality} {name}")
    quality = _standard_quality().get((source.grey, source.tables)) if source.grey or source.subsampling else None
    if quality is not None:
        return Encoded(_simple_jpeg(pixels, source, quality), f"jpeg source q{quality} {name}")
    return _pillow_jpeg(pixels, source)


def strip(data: bytes, *, file: str | Path | None = None, size: Size | None = None) -> bytes:
    """Return a JPEG or PNG file's bytes without metadata; the pixels' coded data stays as it is.

    What stays: colour profile, JFIF (without its thumbnail), Adobe's colour transform, and an EXIF
    orientation other than 1 where the labels (``size``) refer to the upright frame. Returns equal bytes when
    there is nothing to drop. Raises AnonbenchError for another format, a file that is cut short, or a size
    that is not the annotated one.
    """
    if data.startswith(_JPEG):
        return _strip_jpeg(data, file, size)
    if data.startswith(_PNG):
        return _strip_png(data, file, size)
    return _unwritable(_pillow_open(data, file).format or "unknown", file)


def _undecodable(file: str | Path | None, why: object) -> NoReturn:
    raise AnonbenchError(
        f"is not an image that can be decoded ({why})",
        file=file,
        remedy="fetch the file again or take it out of the annotations",
    )


def _unwritable(format: str, file: str | Path | None) -> NoReturn:
    raise AnonbenchError(
        f"is a {format} image, and only JPEG and PNG are written",
        file=file,
        remedy="convert the data set to PNG first",
    )


def _replace(decoded: Decoded, note: str, **changes: object) -> Decoded:
    values = {name: getattr(decoded, name) for name in Decoded.__slots__}
    return Decoded(**{**values, **changes, "notes": (*decoded.notes, note)})


# Orientation


def _is_upright(orientation: int, stored: Size, size: Size | None, file: str | Path | None) -> bool:
    upright = stored if orientation < 5 else stored[::-1]
    if size is None or tuple(size) == upright:
        return True
    if tuple(size) == stored:
        return False
    raise AnonbenchError(
        f"is {upright[0]}x{upright[1]} pixels, but annotated as {size[0]}x{size[1]}",
        file=file,
        remedy="fetch images and labels again, or mend the annotated width and height",
    )


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1..8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _exif_orientation(tiff: bytes) -> int:
    """Return the orientation (1..8) in EXIF data, 1 where there is none or it makes no sense."""
    exif = Image.Exif()
    try:
        exif.load(tiff)
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever a malformed block leads it to
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _orientation_only(orientation: int) -> bytes:
    """Return EXIF data (TIFF structure) that holds an orientation and nothing else."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


# JPEG


def _segments(data: bytes, file: str | Path | None, whole: bool = False) -> list[_Part]:
    """Return a JPEG's segments up to its first scan, or with ``whole`` to its end (scans with their data)."""
    parts: list[_Part] = []
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff" or data[at : at + 1] not in (b"\xff", b""):
            at += 1  # fill bytes and, as libjpeg does, bytes that belong to nothing
        if at + 4 > len(data) and data[at : at + 2] != b"\xff\xd9":
            _undecodable(file, "it is cut short")
        marker = data[at + 1]
        if marker == 0xD9:
            return [*parts, _Part(marker, b"\xff\xd9", b"")]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if marker == 0xDA:
            if not whole:
                return parts
            following = _AFTER_SCAN.search(data, end)
            if following is None:
                _undecodable(file, "it is cut short")
            end = following.start()
        parts.append(_Part(marker, data[at:end], body))
        at = end


def _frame(parts: list[_Part], file: str | Path | None) -> bytes:
    """Return the body of the frame header (SOF)."""
    for part in parts:
        if part.kind in _FRAME_MARKERS and len(part.body) >= 9:
            return part.body
    _undecodable(file, "it has no frame header")


def _frame_size(frame: bytes) -> Size:
    height, width = struct.unpack(">HH", frame[1:5])
    return width, height


def _jpeg_orientation(parts: list[_Part]) -> int:
    for part in parts:
        if part.kind == 0xE1 and part.body.startswith(b"Exif\0\0"):
            return _exif_orientation(part.body[6:])
    return 1


def _is_profile(part: _Part) -> bool:
    return part.kind == 0xE2 and part.body.startswith(b"ICC_PROFILE\0")


def _tables(parts: list[_Part], frame: bytes) -> tuple[tuple[int, ...], ...]:
    """Return the quantisation tables (64 numbers, zigzag order) of the components, () when one is missing."""
    tables: dict[int, tuple[int, ...]] = {}
    for part in parts:
        if part.kind != 0xDB:
            continue
        at = 0
        while at < len(part.body):
            wide, number = divmod(part.body[at], 16)
            length = 128 if wide else 64
            raw = part.body[at + 1 : at + 1 + length]
            if len(raw) == length:
                tables[number] = struct.unpack(">64H" if wide else "64B", raw)
            at += 1 + length
    used = [tables.get(frame[8 + 3 * i]) for i in range(frame[5])]
    if None in used:
        return ()
    while len(used) > 1 and used[-1] == used[-2]:
        used.pop()
    return tuple(table for table in used if table is not None)


def _decode_jpeg(data: bytes, file: str | Path | None) -> tuple[Decoded, int]:
    parts = _segments(data, file)
    frame = _frame(parts, file)
    components = frame[5]
    if len(frame) < 6 + 3 * components:
        _undecodable(file, "its frame header is damaged")
    sampling = [divmod(frame[7 + 3 * i], 16) for i in range(components)]
    subsampling = None
    if components == 3 and sampling[1] == sampling[2] == (1, 1):
        subsampling = _SUBSAMPLING.get((sampling[0][0], sampling[0][1]))
    tables = _tables(parts, frame) or _tables(_segments(data, file, whole=True), frame)
    profile = b"".join(part.raw for part in parts if _is_profile(part))
    notes = []
    grey = components == 1
    if components in (1, 3):
        pixels, recovered = _jpeg_pixels(data, grey, file)
        if recovered:
            notes.append("bytes between JPEG segments ignored")
    else:
        pixels, profile, subsampling = _pillow_rgb(_pillow_open(data, file), file), b"", "444"
        tables = tables[:2]
        notes.append("CMYK written as RGB, its colour profile dropped")
    if subsampling is None and not grey:
        notes.append("unusual chroma subsampling written as 4:4:4")
    decoded = Decoded(pixels, "JPEG", grey, tables, subsampling, profile, tuple(notes))
    return decoded, _jpeg_orientation(parts)


def _jpeg_pixels(data: bytes, grey: bool, file: str | Path | None) -> tuple[np.ndarray, bool]:
    """Return RGB pixels, and whether libjpeg had to skip bytes that do not belong to the image."""
    try:
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except ValueError as error:
        # Strict decoding also refuses harmless bytes between segments, and samplings without a name.
        # A file that is cut short must not pass as one: libjpeg would fill it with grey.
        if "extraneous" not in str(error) and "subsampling" not in str(error):
            _undecodable(file, error)
        return _pillow_rgb(_pillow_open(data, file), file), "extraneous" in str(error)
    return (cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if grey else pixels), False


def _quality(policy: str) -> int | None:
    if policy == "source":
        return None
    match = _POLICY.fullmatch(policy)
    if match is None or not 1 <= int(match[1]) <= 100:
        raise AnonbenchError(
            f"unknown encoder policy '{policy}'", remedy="use 'source' or 'quality-N' with N from 1 to 100"
        )
    return int(match[1])


@functools.cache
def _standard_quality() -> dict[tuple[bool, tuple[tuple[int, ...], ...]], int]:
    """Return the quality at which libjpeg writes given tables, by (grey, tables), read from files that it wrote."""
    found = {}
    flat = np.zeros((8, 8, 3), np.uint8)
    for quality in range(100, 0, -1):
        for pixels, space, sampling in ((flat, "RGB", "444"), (flat[..., :1].copy(), "GRAY", "Gray")):
            data = simplejpeg.encode_jpeg(pixels, quality, space, sampling)
            parts = _segments(data, None)
            found[sampling == "Gray", _tables(parts, _frame(parts, None))] = quality
    return found


def _label(source: Decoded) -> str:
    return "grey" if source.grey else ":".join(source.subsampling or "444")


def _grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # exact where the three are equal


def _with_profile(data: bytes, profile: bytes) -> bytes:
    """Put profile segments behind the JFIF segment that a file starts with."""
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + profile + data[end:] if profile else data


def _simple_jpeg(pixels: np.ndarray, source: Decoded, quality: int) -> bytes:
    if source.grey:
        data = simplejpeg.encode_jpeg(_grey(pixels)[..., None], quality, "GRAY", "Gray")
    else:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", source.subsampling or "444")
    return _with_profile(data, source.profile)


_ZIGZAG = tuple(
    int(i)
    for i in np.argsort([(r + c) * 64 + (r if (r + c) % 2 else c) for r in range(8) for c in range(8)], kind="stable")
)
"""Row-major position of each zigzag position."""


def _pillow_jpeg(pixels: np.ndarray, source: Decoded) -> Encoded:
    """Write with tables that are not libjpeg's own at any quality; Pillow takes them in row-major order."""
    if not source.tables:
        return Encoded(_simple_jpeg(pixels, source, 95), f"jpeg quality 95 {_label(source)} (no source tables)")
    tables = []
    for zigzag in source.tables:
        table = [0] * 64
        for position, value in zip(_ZIGZAG, zigzag, strict=True):
            table[position] = value
        tables.append(table)
    name = _label(source) if source.grey or source.subsampling in ("444", "422", "420") else "4:4:4"
    buffer = io.BytesIO()
    image = Image.fromarray(_grey(pixels) if source.grey else pixels)
    image.save(buffer, "JPEG", qtables=tables, **({} if source.grey else {"subsampling": name}))
    return Encoded(_with_profile(buffer.getvalue(), source.profile), f"jpeg source tables {name} (pillow)")


def _strip_jpeg(data: bytes, file: str | Path | None, size: Size | None) -> bytes:
    parts = _segments(data, file, whole=True)
    orientation = _jpeg_orientation(parts)
    kept = [_JPEG[:2]]
    if orientation != 1 and _is_upright(orientation, _frame_size(_frame(parts, file)), size, file):
        exif = b"Exif\0\0" + _orientation_only(orientation)
        kept.append(struct.pack(">BBH", 0xFF, 0xE1, 2 + len(exif)) + exif)
    elif orientation == 1:
        _is_upright(1, _frame_size(_frame(parts, file)), size, file)
    for part in parts:
        kind = part.kind
        if kind == 0xE0 and part.body.startswith(b"JFIF\0") and len(part.body) >= 14:
            jfif = part.raw if len(part.body) == 14 else b"\xff\xe0\0\x10" + part.body[:12] + b"\0\0"
            kept.insert(1, jfif)  # JFIF stands before EXIF
        elif kind not in _METADATA or _is_profile(part) or (kind == 0xEE and part.body.startswith(b"Adobe")):
            kept.append(part.raw)
    return b"".join(kept)


# PNG


def _chunks(data: bytes, file: str | Path | None) -> list[_Part]:
    """Return a PNG's chunks; raise AnonbenchError when one is cut short or its checksum is wrong."""
    parts: list[_Part] = []
    at = len(_PNG)
    while not parts or parts[-1].kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        raw = data[at : at + 12 + length]
        if len(raw) < 12 + length:
            _undecodable(file, "it is cut short")
        if zlib.crc32(raw[4:-4]) != int.from_bytes(raw[-4:], "big"):
            _undecodable(file, "a checksum does not match")
        parts.append(_Part(raw[4:8], raw, raw[8:-4]))
        at += 12 + length
    if parts[0].kind != b"IHDR" or len(parts[0].body) != 13:
        _undecodable(file, "it has no header chunk")
    return parts


def _png_orientation(parts: list[_Part]) -> int:
    return next((_exif_orientation(part.body) for part in parts if part.kind == b"eXIf"), 1)


def _decode_png(data: bytes, file: str | Path | None) -> tuple[Decoded, int]:
    parts = _chunks(data, file)
    depth, colour = parts[0].body[8:10]
    grey = colour in (0, 4)
    buffer = np.frombuffer(data, np.uint8)
    try:
        if depth == 16:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        else:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        _undecodable(file, error.err)
    if pixels is None:
        _undecodable(file, "its data is damaged")
    notes = []
    if depth == 16:
        pixels = _eight_bit(pixels)
        if pixels.ndim == 2:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
        else:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2RGB)
    if depth != 8 and colour != 3:
        notes.append(f"{depth}-bit samples written with 8 bits")
    if colour == 3:
        notes.append("palette written as RGB")
    if colour in (4, 6) or any(part.kind == b"tRNS" for part in parts):
        notes.append("alpha dropped")
    profile = b"".join(part.raw for part in parts if part.kind in _COLOUR_CHUNKS)
    return Decoded(pixels, "PNG", grey, profile=profile, notes=tuple(notes)), _png_orientation(parts)


def _encode_png(pixels: np.ndarray, source: Decoded) -> Encoded:
    stored = _grey(pixels) if source.grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".png", stored)[1].tobytes()
    end = len(_PNG) + 25  # behind the header chunk
    return Encoded(data[:end] + source.profile + data[end:], "png")


def _strip_png(data: bytes, file: str | Path | None, size: Size | None) -> bytes:
    parts = _chunks(data, file)
    orientation = _png_orientation(parts)
    width, height = struct.unpack(">II", parts[0].body[:8])
    kept = [_PNG, *(part.raw for part in parts if part.kind in _PIXEL_CHUNKS)]
    if _is_upright(orientation, (width, height), size, file) and orientation != 1:
        chunk = b"eXIf" + _orientation_only(orientation)
        kept.insert(2, struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return b"".join(kept)


# Everything else


def _eight_bit(values: np.ndarray) -> np.ndarray:
    """Scale uint16 samples to uint8, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _pillow_open(data: bytes, file: str | Path | None) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        why = "no known image format" if isinstance(error, Image.UnidentifiedImageError) else error
        _undecodable(file, why)
    return image


def _pillow_rgb(image: Image.Image, file: str | Path | None) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return cv2.cvtColor(_eight_bit(np.asarray(image).astype(np.uint16)), cv2.COLOR_GRAY2RGB)
    if image.mode in ("I", "F"):
        _undecodable(file, f"its {image.mode} samples have no known range")
    return np.array(image.convert("RGB"))


def _decode_other(data: bytes, file: str | Path | None) -> tuple[Decoded, int]:
    image = _pillow_open(data, file)
    orientation = image.getexif().get(_ORIENTATION, 1)
    grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
    decoded = Decoded(_pillow_rgb(image, file), image.format or "unknown", grey)
    return decoded, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
