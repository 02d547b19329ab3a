"""Crafted image files: each hides a secret somewhere, is damaged, or lies about itself."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

SECRET = b"Jane Doe, 7 Elm Street"
WIDTH, HEIGHT = 96, 64
BOX = (16, 16, 32, 32)
"""The person's x, y, width, height: on the borders of a JPEG's blocks, so that no other block changes."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class File:
    """A file that is handled."""

    data: bytes
    suffix: str = "jpg"
    orientation: int = 1
    labels_on: str = "upright"
    like: bytes = b""
    """A file that looks the same, where Pillow does not read this one."""
    background: bool = True
    """Whether Pillow shows the same picture: not of samples that it converts in another way."""

    @property
    def size(self) -> tuple[int, int]:
        """The annotated width and height."""
        return (HEIGHT, WIDTH) if self.labels_on == "upright" and self.orientation >= 5 else (WIDTH, HEIGHT)


def photograph(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return an image whose every part is unlike mid-grey, uint8 RGB."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 2, (height // 8, width // 8, 1), dtype=np.uint8) * 140 + 40
    tinted = coarse + rng.integers(0, 25, (height // 8, width // 8, 3), dtype=np.uint8)
    smooth = cv2.resize(tinted, (width, height), interpolation=cv2.INTER_NEAREST)
    return smooth + (np.indices((height, width)).sum(0) % 9).astype(np.uint8)[..., None]


RGB = photograph()
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)


def jpeg(mode: str = "RGB", pixels: np.ndarray = RGB, **options: Any) -> bytes:
    """Return a JPEG of Pillow's."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def saved(format: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return a file of another format."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    """Return a JPEG's marker segment."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def before(data: bytes, marker: bytes, more: bytes) -> bytes:
    """Put bytes before the first place where a marker stands."""
    at = data.index(marker)
    return data[:at] + more + data[at:]


def scans(data: bytes) -> list[tuple[int, int]]:
    """Return where each scan of a JPEG starts and where its coded data ends."""
    found, at = [], 2
    while data[at + 1] != 0xD9:
        marker, start, at = data[at + 1], at, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            while data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8)):
                at += 1
            found.append((start, at))
    return found


def exif(*entries: tuple[int, int, int, bytes], next_ifd: int = 0) -> bytes:
    """Return EXIF data of entries (tag, type, count, four bytes)."""
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"MM\0*" + struct.pack(">IH", 8, len(entries)) + body + struct.pack(">I", next_ifd)


def turned(orientation: int) -> bytes:
    """Return EXIF data of an orientation with a secret."""
    return exif((0x112, 3, 1, struct.pack(">H", orientation)), (0x13B, 2, len(SECRET), struct.pack(">I", 40))) + SECRET


def app1(tiff: bytes) -> bytes:
    """Return a JPEG's EXIF segment."""
    return segment(0xE1, b"Exif\0\0" + tiff)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG's chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a PNG's chunks."""
    at = len(PNG)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def header(depth: int, colour: int, width: int = WIDTH, height: int = HEIGHT, interlaced: int = 0) -> bytes:
    """Return a PNG's header chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def rows(samples: np.ndarray, depth: int) -> bytes:
    """Return samples (HxWxC) as a PNG filters them: not at all."""
    height = len(samples)
    if depth < 8:
        bits = np.unpackbits(samples.astype(np.uint8)[..., 0, None], axis=2)[..., 8 - depth :].reshape(height, -1)
        lines = np.packbits(bits, axis=1)
    else:
        lines = samples.astype(">u2" if depth == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    return b"".join(b"\0" + line.tobytes() for line in lines)


def png(samples: np.ndarray, depth: int, colour: int, *more: bytes, tail: bytes = b"", behind: bytes = b"") -> bytes:
    """Return a PNG; ``tail`` goes behind its compressed data, ``behind`` into it behind the last row."""
    data = zlib.compress(rows(samples, depth) + behind) + tail
    return PNG + header(depth, colour) + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def interlaced() -> bytes:
    """Return a PNG of Adam7's seven passes."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    raw = b"".join(rows(RGB[y::dy, x::dx], 8) for x, y, dx, dy in passes)
    data = chunk(b"IDAT", zlib.compress(raw + SECRET))
    return PNG + header(8, 2, interlaced=1) + data + chunk(b"IEND", b"")


def animated() -> bytes:
    """Return an APNG whose second frame is another picture: the secret, over and over."""
    hidden = np.resize(np.frombuffer(SECRET, np.uint8), RGB.shape)
    control = struct.pack(">IIIIHHBB", WIDTH, HEIGHT, 0, 0, 1, 1, 0, 0)
    plain = [chunk(kind, body) for kind, body in chunks(png(RGB, 8, 2))]
    frame = struct.pack(">I", 2) + zlib.compress(rows(hidden, 8))
    return PNG + b"".join(
        (plain[0], chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", struct.pack(">I", 0) + control), plain[1],
         chunk(b"fcTL", struct.pack(">I", 1) + control), chunk(b"fdAT", frame), plain[2])
    )  # fmt: skip


def under(alpha: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return colours with the secret wherever alpha is 0."""
    secret = np.resize(np.frombuffer(SECRET, np.uint8), colours.shape)
    return np.where(alpha[..., None] == 0, secret, colours)


ALPHA = np.full((HEIGHT, WIDTH), 255, np.uint8)
ALPHA[:, 56:] = 0
HALF = np.where(ALPHA == 0, 0, 128).astype(np.uint8)
PLAIN, PROGRESSIVE, RESTARTED = jpeg(), jpeg(progressive=True), jpeg(restart_marker_rows=1)
INK, FINE = jpeg("CMYK"), jpeg(subsampling="4:4:4")
NARROW = np.ascontiguousarray(RGB[:, :, :1] % 251)
KEYED = np.where(ALPHA[..., None] == 0, np.uint8(7), np.maximum(GREY, 8)[..., None])
INDEX = ((np.indices((HEIGHT, WIDTH)).sum(0) // 4) % 4)[..., None]
PALETTE = bytes(range(0, 60, 5))


def low(data: bytes) -> bytes:
    """Return a JPEG whose header says that it is 64 pixels high, its coded data holding rows below."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">H", HEIGHT) + data[at + 2 :]


def claiming(data: bytes, width: int, height: int, frame: bytes = b"\xff\xc0") -> bytes:
    """Return a JPEG whose header gives another size."""
    at = data.index(frame) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def without_height() -> bytes:
    """Return a JPEG whose height stands behind its scan (DNL)."""
    return claiming(PLAIN, WIDTH, 0)[:-2] + segment(0xDC, struct.pack(">H", HEIGHT)) + PLAIN[-2:]


def components(number: int) -> bytes:
    """Return a JPEG whose frame header has so many components."""
    start = PLAIN.index(b"\xff\xc0")
    end = start + 2 + int.from_bytes(PLAIN[start + 2 : start + 4], "big")
    body = PLAIN[start + 4 : start + 9] + bytes([number]) + b"\1\x11\0" * number
    return PLAIN[:start] + segment(0xC0, body) + PLAIN[end:]


def flood() -> bytes:
    """Return a JPEG whose last scan, of a few bytes, stands 500 times."""
    start, end = scans(PROGRESSIVE)[-1]
    return PROGRESSIVE[:end] + PROGRESSIVE[start:end] * 500 + PROGRESSIVE[end:]


RGB_HEADER = header(8, 2)
PLAIN_PNG = png(RGB, 8, 2)
TALL = jpeg(pixels=np.concatenate((RGB, RGB[::-1])))
TALL_RESTARTED = jpeg(pixels=np.concatenate((RGB, RGB[::-1])), restart_marker_rows=1)
PROFILE = b"ICC_PROFILE\0"


def app(number: int, body: bytes = SECRET, data: bytes = PLAIN) -> File:
    """Return a JPEG with an application segment."""
    return File(before(data, b"\xff\xdb", segment(0xE0 + number, body)))


def jpegs() -> Iterator[tuple[str, File]]:
    """Yield JPEGs that are handled."""
    yield "plain", File(PLAIN)
    yield "progressive", File(PROGRESSIVE)
    yield "grey", File(jpeg("L", comment=SECRET))
    yield "CMYK", File(INK, background=False)
    yield (
        "YCCK",
        File(
            before(INK.replace(b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2"), b"\xff\xdb", b""), background=False
        ),
    )
    yield "own tables", File(jpeg(qtables=[[3 + i for i in range(64)], [5 + i for i in range(64)]]))
    yield "RGB without YCbCr", File(jpeg(keep_rgb=True))
    for sampling in ("4:4:4", "4:2:2"):
        yield f"sampling {sampling}", File(jpeg(subsampling=sampling, comment=SECRET))
    yield "optimised tables", File(jpeg(optimize=True, comment=SECRET))
    yield "restart markers", File(RESTARTED)
    yield "comment", File(before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET)))
    yield "many comments", File(before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET) * 3000))
    for number in range(16):
        yield f"APP{number}", app(number)
    yield "APPn flood", File(before(PLAIN, b"\xff\xdb", segment(0xEB, SECRET * 2900) * 20))
    yield "JFIF thumbnail", File(PLAIN[:2] + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\4" + SECRET + b"!!") + PLAIN[20:])
    yield "JFXX thumbnail", app(0, b"JFXX\0\x10" + before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET)))
    yield "a name as JFIF resolution", File(PLAIN.replace(b"JFIF\0\1\1\0\0\1\0\1", b"JFIF\0\1\1\1Jane"))
    yield "a name in Adobe's flags", File(INK.replace(b"Adobe\0\x64\0\0\0\0", b"AdobeJaneDo"), background=False)
    yield "EXIF thumbnail", File(before(PLAIN, b"\xff\xdb", app1(exif(next_ifd=14) + PLAIN + SECRET)))
    yield (
        "EXIF that loops",
        File(before(PLAIN, b"\xff\xdb", app1(exif((0x8769, 4, 1, b"\0\0\0\x08"), next_ifd=8) + SECRET))),
    )
    yield "EXIF of 65535 entries", File(before(PLAIN, b"\xff\xdb", app1(b"MM\0*\0\0\0\x08\xff\xff" + SECRET * 100)))
    yield (
        "EXIF with a huge count",
        File(before(PLAIN, b"\xff\xdb", app1(exif((0x112, 3, 2**32 - 1, b"\0\0\0\x08")) + SECRET))),
    )
    yield "EXIF cut short", File(before(PLAIN, b"\xff\xdb", app1(b"MM\0*\0\0") + segment(0xFE, SECRET)))
    yield "EXIF orientation 9", File(before(PLAIN, b"\xff\xdb", app1(turned(9))))
    yield "GPS", File(before(PLAIN, b"\xff\xdb", app1(exif((0x8825, 4, 1, b"\0\0\0\x1a")) + SECRET)))
    yield "XMP", app(1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + SECRET)
    yield "extended XMP", app(1, b"http://ns.adobe.com/xmp/extension/\0" + SECRET * 40)
    yield "IPTC", app(13, b"Photoshop 3.0\08BIM\4\4\0\0\0\0" + SECRET)
    yield "JPEG XT", app(11, b"JP\0\1\0\0\0\1" + SECRET)
    yield "JUMBF", app(11, b"JP\0\1\0\0\0\1\0\0\0\x20jumb" + SECRET)
    second = before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET))
    yield "MPF with a second image", File(before(PLAIN, b"\xff\xdb", segment(0xE2, b"MPF\0MM\0*" + SECRET)) + second)
    yield "two concatenated", File(PLAIN + second)
    yield "data behind EOI", File(PLAIN + SECRET * 1000)
    yield "a video behind EOI", File(PLAIN + b"\0\0\0\x18ftypmp42" + SECRET)
    yield "a zip behind EOI", File(PLAIN + b"PK\3\4" + SECRET)
    yield "bytes between segments", File(before(PLAIN, b"\xff\xdb", SECRET))
    yield "fill bytes", File(before(PLAIN, b"\xff\xdb", b"\xff" * 5000) + SECRET)
    yield "DNL with the height", File(without_height(), like=PLAIN)
    yield "DNL with another height", File(PLAIN[:-2] + segment(0xDC, b"\0\x30" + SECRET) + PLAIN[-2:])
    yield "unused tables", File(before(PLAIN, b"\xff\xc0", segment(0xDB, b"\3" + SECRET.ljust(64))))
    yield "a tail in the scan", File(PLAIN[:-2] + SECRET + PLAIN[-2:])
    yield "a tail behind restart markers", File(RESTARTED[:-2] + (b"\xff\xd3" + SECRET) * 4 + RESTARTED[-2:])
    yield "a tail of restart markers", File(PLAIN[:-2] + b"\xff\xd0\xff\xd1\xff\xff\xd2" * 30 + PLAIN[-2:])
    yield "rows below the last", File(low(TALL))
    yield "rows below the last, restart markers", File(low(TALL_RESTARTED))
    tailed = PROGRESSIVE
    for _, end in reversed(scans(PROGRESSIVE)):
        tailed = tailed[:end] + SECRET + tailed[end:]
    yield "a tail in every progressive scan", File(tailed)
    yield "ICC that is a text", File(jpeg(icc_profile=SECRET * 10))
    ordered = [segment(0xE2, PROFILE + bytes((n, 2)) + SECRET * 20) for n in (2, 1)]
    yield "ICC out of order", File(before(PLAIN, b"\xff\xdb", b"".join(ordered)))
    yield "named .png", File(before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET)), "png")


def pngs() -> Iterator[tuple[str, File]]:
    """Yield PNGs that are handled."""

    def of(data: bytes, **more: Any) -> File:
        return File(data, "png", **{"like": PLAIN_PNG if RGB_HEADER in data else b"", **more})

    for kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"prVt", b"sPLT", b"hIST", b"bKGD", b"dSIG", b"caBX"):
        yield kind.decode(), of(png(RGB, 8, 2, chunk(kind, SECRET)))
    text = zlib.compress(SECRET * 10)
    yield "zTXt that is one", of(png(RGB, 8, 2, chunk(b"zTXt", b"Author\0\0" + text)))
    yield "iTXt that is one", of(png(RGB, 8, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text)))
    yield (
        "EXIF in a text",
        of(png(RGB, 8, 2, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n22\n" + SECRET.hex().encode()))),
    )
    yield "text bombs", of(png(RGB, 8, 2, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7_000_000), 9))] * 40))
    yield "chunk flood", of(png(RGB, 8, 2, *[chunk(b"tEXt", b"a\0" + SECRET)] * 5000))
    yield "empty IDATs", of(png(RGB, 8, 2)[:-12] + chunk(b"IDAT", b"") * 2000 + chunk(b"IEND", b""))
    yield "iCCP bomb", of(png(RGB, 8, 2, chunk(b"iCCP", b"Jane Doe\0\0" + zlib.compress(bytes(1 << 26), 9))))
    yield "iCCP with a text", of(png(RGB, 8, 2, chunk(b"iCCP", b"Jane Doe\0\0" + zlib.compress(SECRET * 20))))
    yield "names where numbers go", of(
        png(RGB, 8, 2, chunk(b"gAMA", b"Jane"), chunk(b"cHRM", SECRET.ljust(32)), chunk(b"pHYs", b"Jane Doe\1"),
            chunk(b"sBIT", b"Jan"), chunk(b"cICP", b"Jane"), chunk(b"sRGB", b"J"))
    )  # fmt: skip
    for number in (0, 1, 2**31 - 1, 2**32 - 1):
        yield f"gAMA {number}", of(png(RGB, 8, 2, chunk(b"gAMA", struct.pack(">I", number)), chunk(b"tEXt", SECRET)))
    yield "animation", of(animated())
    yield "bytes behind the compressed data", of(png(RGB, 8, 2, tail=SECRET))
    yield "bytes behind the last row", of(png(RGB, 8, 2, behind=SECRET * 50))
    yield "a bomb behind the last row", of(png(RGB, 8, 2, behind=bytes(1 << 26)))
    yield "an IDAT of its own", of(png(RGB, 8, 2)[:-12] + chunk(b"IDAT", SECRET) + chunk(b"IEND", b""))
    yield "bytes in IEND", of(png(RGB, 8, 2)[:-12] + chunk(b"IEND", SECRET))
    yield "bytes behind IEND", of(png(RGB, 8, 2) + SECRET)
    yield "an image behind IEND", of(png(RGB, 8, 2) + png(RGB[::-1], 8, 2, chunk(b"tEXt", SECRET)))
    yield "interlaced", of(interlaced())
    yield "RGBA", of(png(np.dstack((under(ALPHA, RGB), ALPHA)), 8, 6))
    yield "RGBA, half", of(png(np.dstack((under(HALF, RGB), HALF)), 8, 6), background=False)
    yield "grey and alpha", of(png(np.dstack((under(ALPHA, GREY[..., None]), ALPHA)), 8, 4))
    wide = under(ALPHA, RGB).astype(np.uint16) * 257
    yield "RGBA of 16 bits", of(png(np.dstack((wide, ALPHA.astype(np.uint16) * 257)), 16, 6), background=False)
    yield "16 bits", of(png(RGB.astype(np.uint16) * 257, 16, 2, chunk(b"tEXt", SECRET)), background=False)
    yield "grey of 16 bits", of(png(GREY[..., None].astype(np.uint16) * 257, 16, 0), background=False)
    for depth in (1, 2, 4):
        samples = GREY[..., None] >> (8 - depth)
        yield f"grey of {depth} bits", of(png(samples, depth, 0, chunk(b"tEXt", SECRET)), background=False)
    yield (
        "transparent colour",
        of(
            png(
                np.where(ALPHA[..., None] == 0, np.uint8(7), np.maximum(RGB, 8)), 8, 2, chunk(b"tRNS", b"\0\7\0\7\0\7")
            ),
            like=b"",
        ),
    )
    yield "transparent grey", of(png(KEYED, 8, 0, chunk(b"tRNS", b"\0\7")))
    yield "tRNS too long", of(png(RGB, 8, 2, chunk(b"tRNS", SECRET)), background=False)
    yield "palette", of(png(INDEX, 8, 3, chunk(b"PLTE", PALETTE), chunk(b"tEXt", SECRET)))
    yield "palette of 2 bits", of(png(INDEX, 2, 3, chunk(b"PLTE", PALETTE + SECRET + b"!!")))
    yield "palette with alpha", of(png(INDEX, 8, 3, chunk(b"PLTE", b"JaneDoe7Elm!"), chunk(b"tRNS", b"\0\0\0\0")))
    yield "palette of an RGB image", of(png(RGB, 8, 2, chunk(b"PLTE", SECRET.ljust(24))))
    yield "named .jpg", File(png(RGB, 8, 2, chunk(b"tEXt", SECRET)))


def orientations() -> Iterator[tuple[str, File]]:
    """Yield files of each orientation with labels on each frame."""
    for orientation in range(1, 9):
        for frame in ("upright", "stored"):
            name = f"orientation {orientation}, labels on the {frame} frame"
            data = before(FINE, b"\xff\xdb", app1(turned(orientation)))
            yield f"{name}, JPEG", File(data, "jpg", orientation, frame)
            data = png(RGB, 8, 2, chunk(b"eXIf", turned(orientation)))
            yield f"{name}, PNG", File(data, "png", orientation, frame)


HANDLED: dict[str, File] = {
    **{f"JPEG: {name}": file for name, file in jpegs()},
    **{f"PNG: {name}": file for name, file in pngs()},
    **dict(orientations()),
}


def cut(data: bytes, share: float) -> bytes:
    """Return the first part of a file."""
    return data[: int(len(data) * share)]


def svg() -> bytes:
    """Return a drawing."""
    return b"<svg xmlns='http://www.w3.org/2000/svg' width='96' height='64'><text>" + SECRET + b"</text></svg>"


def dds() -> bytes:
    """Return a file that makes Pillow raise what is no OSError."""
    return (
        b"DDS "
        + struct.pack("<7I", 124, 0x1007, HEIGHT, WIDTH, 0, 0, 0)
        + bytes(44)
        + struct.pack("<8I", 32, *[0] * 7)
        + bytes(999)
    )


def ico() -> bytes:
    """Return an icon that says 96x64 and holds a larger PNG."""
    large = PNG + header(1, 0, 12000, 12000) + chunk(b"IDAT", zlib.compress(bytes(1501 * 12000))) + chunk(b"IEND", b"")
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", WIDTH, HEIGHT, 0, 0, 1, 32, len(large), 22) + large


def eps() -> bytes:
    """Return a program for Ghostscript."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\n%%EndComments\nshowpage\n"


def heic() -> bytes:
    """Return the beginning of a HEIC file."""
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + SECRET * 50


NO_IMAGE, CUT = "no known image format", "cut short"
DAMAGED = "is not an image that can be decoded"
_HEAD = PLAIN.index(b"\xff\xda")
_SOF = PLAIN.index(b"\xff\xc0")
_BAD_CRC = bytearray(png(RGB, 8, 2))
_BAD_CRC[60] ^= 255
_IDAT = png(RGB, 8, 2)

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "JPEG: arithmetic coding": (PLAIN.replace(b"\xff\xc0", b"\xff\xc9"), "not Huffman-coded"),
    "JPEG: a restart marker missing": (RESTARTED.replace(b"\xff\xd1", b"\0\0"), "belong to no pixel"),
    "text": (SECRET * 40, NO_IMAGE),
    "zeros": (bytes(5000), NO_IMAGE),
    "SVG": (svg(), NO_IMAGE),
    "HTML, as a server says that it is not there": (b"<!DOCTYPE html><title>404</title>", NO_IMAGE),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", NO_IMAGE),
    "gzip": (b"\x1f\x8b\x08\0" + PLAIN, NO_IMAGE),
    "PDF": (b"%PDF-1.4\n" + PLAIN, NO_IMAGE),
    "HEIC": (heic(), NO_IMAGE),
    "EPS, which is a program": (eps(), NO_IMAGE),
    "DDS": (dds(), NO_IMAGE),
    "ICO with a larger image": (ico(), NO_IMAGE),
    "AVIF cut short": (cut(saved("AVIF"), 0.5), DAMAGED),
    "GIF cut short": (cut(saved("GIF"), 0.4), DAMAGED),
    "WebP cut short": (cut(saved("WEBP"), 0.5), DAMAGED),
    "TIFF cut short": (cut(saved("TIFF"), 0.5), DAMAGED),
    "BMP cut short": (cut(saved("BMP"), 0.5), DAMAGED),
    "TIFF whose directory loops": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", DAMAGED),
    "GIF of no pixels": (b"GIF89a\0\0\0\0\0\0\0;", DAMAGED),
    "BMP of 2^31 pixels": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "exceeds limit",
    ),
    "JPEG: bytes before SOI": (SECRET + PLAIN, NO_IMAGE),
    "JPEG: SOI alone": (b"\xff\xd8", NO_IMAGE),
    "JPEG: three bytes": (b"\xff\xd8\xff", CUT),
    "JPEG: SOI and EOI": (b"\xff\xd8\xff\xd9", "no frame header"),
    "JPEG: cut in APP0": (PLAIN[:10], CUT),
    "JPEG: cut in the tables": (PLAIN[:200], CUT),
    "JPEG: cut in the frame header": (PLAIN[: _SOF + 7], CUT),
    "JPEG: cut in the scan's header": (PLAIN[: _HEAD + 6], DAMAGED),
    "JPEG: cut at the first pixel": (PLAIN[: _HEAD + 14], DAMAGED),
    "JPEG: cut in the pixels": (cut(PLAIN, 0.7), DAMAGED),
    "JPEG: cut in the pixels, with EOI": (cut(PLAIN, 0.7) + b"\xff\xd9", DAMAGED),
    "JPEG: a progressive scan cut": (PROGRESSIVE[: scans(PROGRESSIVE)[0][0] + 20] + b"\xff\xd9", DAMAGED),
    "JPEG: progressive scans in disorder": (
        flood().replace(b"\xff\xda", b"\xff\xda", 1)[: len(PROGRESSIVE) + 20] + b"\xff\xd9",
        DAMAGED,
    ),
    "JPEG: a scan 500 times": (flood(), "has 51[0-9] scans, more than the limit of 200"),
    "JPEG: restart markers in disorder": (RESTARTED.replace(b"\xff\xd1", b"\xff\xd5"), DAMAGED),
    "JPEG: no quantisation table": (PLAIN.replace(b"\xff\xdb", b"\xff\xee"), DAMAGED),
    "JPEG: table of no bytes": (
        before(PLAIN, b"\xff\xc0", segment(0xDB, b""))[:_SOF] + b"\xff\xdb\0\0" + PLAIN[_SOF:],
        CUT,
    ),
    "JPEG: 12 bits": (PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), DAMAGED),
    "JPEG: lossless": (PLAIN.replace(b"\xff\xc0", b"\xff\xc3"), DAMAGED),
    "JPEG: hierarchical": (PLAIN.replace(b"\xff\xc0", b"\xff\xc5"), DAMAGED),
    "JPEG-LS": (PLAIN.replace(b"\xff\xc0", b"\xff\xf7"), "no frame header"),
    **{f"JPEG: {n} components": (components(n), DAMAGED) for n in (0, 2, 4, 5, 255)},
    "JPEG: sampling 0": (PLAIN.replace(b"\1\x22\0", b"\1\0\0"), DAMAGED),
    "JPEG: sampling 15": (PLAIN.replace(b"\1\x22\0", b"\1\xff\0"), DAMAGED),
    "JPEG: two frame headers": (before(PLAIN, b"\xff\xda", PLAIN[_SOF : _SOF + 19]), "frame header is damaged"),
    "JPEG: an image within": (before(PLAIN, b"\xff\xdb", PLAIN), "another image starts"),
    **{
        f"JPEG: JPG{n}": (before(PLAIN, b"\xff\xdb", segment(0xF0 + n, SECRET)), "broken data stream")
        for n in (0, 7, 13)
    },
    "JPEG: a second progression": (before(PLAIN, b"\xff\xc0", segment(0xDE, SECRET)), DAMAGED),
    "JPEG: reserved marker": (before(PLAIN, b"\xff\xc0", segment(0x02, SECRET)), DAMAGED),
    "JPEG: ICC with a part missing": (
        before(PLAIN, b"\xff\xdb", segment(0xE2, PROFILE + b"\2\2" + SECRET)),
        "bad ICC marker",
    ),
    "JPEG: ICC part 0 of 0": (before(PLAIN, b"\xff\xdb", segment(0xE2, PROFILE + b"\0\0" + SECRET)), "bad ICC marker"),
    "PNG: a second header": (_IDAT[:-12] + chunk(b"IHDR", SECRET[:13]) + _IDAT[-12:], DAMAGED),
    "JPEG: of 65500x65500": (claiming(PLAIN, 65500, 65500), "is 65500x65500 pixels, but annotated as 96x64"),
    "JPEG: of width 0": (claiming(PLAIN, 0, HEIGHT), "it has no pixels"),
    "JPEG: of height 0": (claiming(PLAIN, WIDTH, 0), "height is missing"),
    "JPEG: of height 0 in DNL": (
        claiming(PLAIN, WIDTH, 0)[:-2] + segment(0xDC, b"\0\0") + PLAIN[-2:],
        "it has no pixels",
    ),
    "JPEG: higher than its data": (claiming(TALL, WIDTH, 160), "is 96x160 pixels"),
    "PNG: signature alone": (PNG, CUT),
    "PNG: cut in the header": (_IDAT[:20], CUT),
    "PNG: cut in the data": (cut(_IDAT, 0.6), CUT),
    "PNG: without IEND": (_IDAT[:-12], CUT),
    "PNG: without IDAT": (PNG + header(8, 2) + chunk(b"IEND", b""), DAMAGED),
    "PNG: wrong checksum": (bytes(_BAD_CRC), "a checksum does not match"),
    "PNG: no header": (PNG + _IDAT[33:], "no header chunk"),
    "PNG: header of 12 bytes": (PNG + chunk(b"IHDR", bytes(12)) + chunk(b"IEND", b""), "no header chunk"),
    "PNG: a chunk of 2^32-1 bytes": (PNG + b"\xff\xff\xff\xffIHDR", CUT),
    "PNG: of width 0": (PNG + header(8, 2, 0, HEIGHT) + _IDAT[33:], "it has no pixels"),
    "PNG: of 2^31": (PNG + header(8, 2, 2**31, 2**31) + _IDAT[33:], "is 2147483648x2147483648"),
    "PNG: of 30000x30000": (
        PNG + header(1, 0, 30000, 30000) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + _IDAT[-12:],
        "is 30000x30000",
    ),
    "PNG: colour type 5": (PNG + header(8, 5) + _IDAT[33:], "header chunk is damaged"),
    "PNG: depth 3": (PNG + header(3, 0) + _IDAT[33:], "header chunk is damaged"),
    "PNG: interlace method 2": (PNG + header(8, 2, interlaced=2) + _IDAT[33:], "header chunk is damaged"),
    "PNG: fewer rows": (PNG + header(8, 2) + png(RGB[:40], 8, 2)[33:], DAMAGED),
    "PNG: data that is no deflate": (PNG + header(8, 2) + chunk(b"IDAT", SECRET) + _IDAT[-12:], DAMAGED),
    "PNG: palette missing": (PNG + header(8, 3) + png(INDEX, 8, 3)[33:], DAMAGED),
    "PNG: CgBI": (PNG + chunk(b"CgBI", b"\x50\0\x20\6") + _IDAT[8:], "no header chunk"),
}
"""Files that `annotate` refuses, and what it says of each, annotated as 96x64."""

OTHER_FORMATS: dict[str, tuple[bytes, str]] = {
    "GIF": (saved("GIF"), "GIF"),
    "GIF animation": (saved("GIF", save_all=True, append_images=[Image.fromarray(RGB[::-1])]), "GIF"),
    "TIFF": (saved("TIFF"), "TIFF"),
    "TIFF of two pages": (saved("TIFF", save_all=True, append_images=[Image.fromarray(RGB[::-1])]), "TIFF"),
    "WebP": (saved("WEBP"), "WEBP"),
    "WebP animation": (saved("WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1])]), "WEBP"),
    "BMP": (saved("BMP"), "BMP"),
    "PPM": (saved("PPM"), "PPM"),
    "AVIF": (saved("AVIF"), "AVIF"),
    "JPEG 2000": (saved("JPEG2000"), "JPEG2000"),
}
"""Files that are read and not written."""
