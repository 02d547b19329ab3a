"""Whatever is no pixel goes: crafted files, each with a secret in another place."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms

from anonbench import images
from anonbench.errors import AnonbenchError
from anonbench.images import icc
from anonbench.images.record import FURTHER

SECRET = b"Jane Doe, 7 Elm Street"
PHOTOS = Path(os.environ.get("ANONBENCH_PHOTOS", Path(__file__).parents[2] / "shared" / "data" / "coco-people"))
HEIGHT, WIDTH = 62, 90
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def photograph() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph()).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def coded(data: bytes) -> np.ndarray:
    """Return a JPEG's samples as they are coded, no warning tolerated."""
    components = Image.open(io.BytesIO(data)).mode
    return simplejpeg.decode_jpeg(data, {"L": "GRAY", "CMYK": "CMYK"}.get(components, "RGB"))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def scans(data: bytes) -> list[int]:
    """Return where the coded data of each scan of a JPEG ends."""
    ends, at = [], 2
    while data[at + 1] != 0xD9:
        marker, at = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            while data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8)):
                at += 1
            ends.append(at)
    return ends


def before(data: bytes, marker: bytes, more: bytes) -> bytes:
    at = data.index(marker)
    return data[:at] + more + data[at:]


def table(marker: int, number: int) -> bytes:
    """Return a quantisation or Huffman table that spells the secret."""
    if marker == 0xDB:
        return segment(marker, bytes([number]) + SECRET.ljust(64, b"!"))
    counts = bytes([0] * 7 + [len(SECRET)] + [0] * 8)
    return segment(marker, bytes([number]) + counts + SECRET)


PLAIN, PROGRESSIVE, RESTARTED = jpeg(), jpeg(progressive=True), jpeg(restart_marker_rows=1)
JPEGS = {
    "comment": before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET)),
    **{f"APP{i}": before(PLAIN, b"\xff\xdb", segment(0xE0 + i, SECRET)) for i in range(16)},
    **{f"JPG{i}": before(PLAIN, b"\xff\xdb", segment(0xF0 + i, SECRET)) for i in range(14)},
    "JFIF extension": before(PLAIN, b"\xff\xdb", segment(0xE0, b"JFXX\0\x10" + SECRET)),
    "second JFIF": before(PLAIN, b"\xff\xdb", segment(0xE0, b"JFIF\0\1\1" + SECRET)),
    "JFIF's tail": PLAIN[:2] + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0" + SECRET) + PLAIN[20:],
    "Adobe's tail": before(jpeg("CMYK"), b"\xff\xdb", segment(0xEE, b"Adobe\0\x64\0\0\0\0\0" + SECRET)),
    "two Adobe segments": before(jpeg("CMYK"), b"\xff\xee", segment(0xEE, b"Adobe" + SECRET)),
    "unused DQT": before(PLAIN, b"\xff\xc0", table(0xDB, 3)),
    "overwritten DQT": before(PLAIN, b"\xff\xdb", table(0xDB, 0)),
    "DQT after the scan": PLAIN[:-2] + table(0xDB, 0) + PLAIN[-2:],
    "unused DHT": before(PLAIN, b"\xff\xda", table(0xC4, 0x13)),
    "overwritten DHT": before(PLAIN, b"\xff\xc4", table(0xC4, 0)),
    "DHT between scans": PROGRESSIVE[: scans(PROGRESSIVE)[2]] + table(0xC4, 3) + PROGRESSIVE[scans(PROGRESSIVE)[2] :],
    "DAC": before(PLAIN, b"\xff\xc4", segment(0xCC, SECRET)),
    "DNL": PLAIN[:-2] + segment(0xDC, b"\0\x3e" + SECRET) + PLAIN[-2:],
    "DHP": before(PLAIN, b"\xff\xc0", segment(0xDE, SECRET)),
    "EXP": before(PLAIN, b"\xff\xc0", segment(0xDF, SECRET)),
    "reserved": before(PLAIN, b"\xff\xc0", segment(0x02, SECRET)),
    "bytes before a segment": before(PLAIN, b"\xff\xdb", SECRET),
    "bytes behind SOI": PLAIN[:2] + b"\xff" + PLAIN[2:20] + SECRET + PLAIN[20:],
    "behind EOI": PLAIN + SECRET,
    "another image behind EOI": PLAIN + before(PLAIN, b"\xff\xdb", segment(0xFE, SECRET)),
    "behind the last pixel": PLAIN[:-2] + SECRET + PLAIN[-2:],
    "behind the last pixel, restart markers": RESTARTED[:-2] + SECRET + RESTARTED[-2:],
    "behind the last pixel, grey": jpeg("L")[:-2] + SECRET + jpeg("L")[-2:],
    "behind the last pixel, CMYK": jpeg("CMYK")[:-2] + SECRET + jpeg("CMYK")[-2:],
    **{
        f"behind scan {i}": PROGRESSIVE[:end] + SECRET + PROGRESSIVE[end:]
        for i, end in enumerate(scans(PROGRESSIVE), start=1)
    },
    "ICC": jpeg(icc_profile=SECRET * 10),
    "ICC of two segments": jpeg(icc_profile=SECRET * 4000),
}


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS.keys())
def test_jpeg(data: bytes) -> None:
    assert SECRET in data
    stripped = images.strip(data)
    assert SECRET not in stripped
    assert b"Jane" not in stripped
    assert images.strip(stripped) == stripped
    mode = Image.open(io.BytesIO(stripped)).mode
    expected = {"L": jpeg("L"), "CMYK": jpeg("CMYK")}.get(mode, PLAIN)
    assert (coded(stripped) == coded(expected)).all()


def test_what_every_scan_hides_goes_at_once() -> None:
    data = PROGRESSIVE
    for end in reversed(scans(PROGRESSIVE)):
        data = data[:end] + SECRET + data[end:]
    assert images.strip(data) == PROGRESSIVE


def test_a_file_that_does_not_start_as_an_image_is_none() -> None:
    for read in (images.strip, images.decode, images.header):
        with pytest.raises(AnonbenchError, match=r"a\.jpg: is not an image that can be decoded \(no known image"):
            read(SECRET + PLAIN, file="a.jpg")


REFUSED = {
    "bytes before a restart marker": before(RESTARTED, b"\xff\xd0", SECRET),
    "a baseline image coded twice": PLAIN[:-2] + PLAIN[PLAIN.index(b"\xff\xda") :],
    "a scan of another component": PLAIN[:-2] + segment(0xDA, b"\1\7\0\0\x3f\0") + SECRET + PLAIN[-2:],
    "two frame headers": before(PLAIN, b"\xff\xda", segment(0xC0, b"\x08" + SECRET)),
    "bytes in the frame header": PLAIN.replace(b"\xff\xc0\0\x11", b"\xff\xc0\0\x12"),
    "bytes in the scan's header": before(PLAIN, b"\xff\xda", segment(0xDA, b"\1\1\0\0\x3f\0" + SECRET)),
    "table cut short": before(PLAIN, b"\xff\xda", segment(0xDB, b"\1" + SECRET)),
    "long DRI": before(PLAIN, b"\xff\xda", segment(0xDD, b"\0\0" + SECRET)),
    "arithmetic coding": PLAIN.replace(b"\xff\xc0", b"\xff\xc9"),
    "an image within": before(PLAIN, b"\xff\xdb", PLAIN),
    "cut within the scan": PLAIN[: len(PLAIN) - 200] + PLAIN[-2:],
    "progressive, coded twice": PROGRESSIVE[:-2]
    + PROGRESSIVE[PROGRESSIVE.index(b"\xff\xda") : scans(PROGRESSIVE)[0]]
    + PROGRESSIVE[-2:],
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_may_hide_another_image_is_refused(data: bytes) -> None:
    with pytest.raises(AnonbenchError, match=r"^a\.jpg: is not an image that can be decoded \(.*\); fetch the file"):
        images.strip(data, file="a.jpg")


KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4:4:4": {"subsampling": "4:4:4", "quality": 100},
    "4:2:2": {"subsampling": "4:2:2"},
    "optimised tables": {"optimize": True},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
    "progressive with restart markers": {"progressive": True, "restart_marker_blocks": 3},
    "grey": {"mode": "L"},
    "grey, progressive": {"mode": "L", "progressive": True},
    "CMYK": {"mode": "CMYK"},
    "own tables": {"qtables": [[min(255, 3 + i // 2) for i in range(64)], [min(255, 5 + i) for i in range(64)]]},
    "RGB": {"keep_rgb": True},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_the_coded_pixels_stay(options: dict[str, Any]) -> None:
    data = jpeg(**options, exif=Image.Exif(), comment=SECRET)
    stripped = images.strip(data)
    assert (coded(stripped) == coded(data)).all()
    assert SECRET not in stripped
    clean = jpeg(**options)
    assert images.strip(clean) == clean


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no photographs here")
def test_the_coded_pixels_of_photographs_stay() -> None:
    paths = sorted(PHOTOS.glob("*/*.jpg"))
    with_segments = [path for path in paths if len(path.read_bytes().split(b"\xff\xdb")[0]) > 20]
    assert len(with_segments) >= 12
    for path in [*paths[:12], *with_segments[:12]]:
        data = path.read_bytes()
        stripped = images.strip(data)
        assert (coded(stripped) == coded(data)).all()
        assert len(stripped) <= len(data)


# PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, depth: int, colour: int, *chunks: bytes, tail: bytes = b"", more: bytes = b"") -> bytes:
    """Return a PNG of samples (HxWxC, unsigned); ``tail`` goes behind its compressed data, ``more`` into it."""
    height, width = samples.shape[:2]
    if depth < 8:
        bits = np.unpackbits(samples.astype(np.uint8)[..., 0, None], axis=2)[..., 8 - depth :].reshape(height, -1)
        rows = np.packbits(bits, axis=1)
    else:
        rows = samples.astype(">u2" if depth == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(raw + more) + tail)
    return SIGNATURE + header + b"".join(chunks) + data + chunk(b"IEND", b"")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


RGB = photograph()
PLAIN_PNG = png(RGB, 8, 2)
WIDE = RGB.astype(np.uint16) * 257
INDEX = (np.indices((HEIGHT, WIDTH)).sum(0) % 4)[..., None]
PALETTE = chunk(b"PLTE", bytes(range(12)))
PNGS = {
    **{kind.decode(): png(RGB, 8, 2, chunk(kind, SECRET)) for kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"prVt")},
    "tIME and an unknown critical chunk": png(RGB, 8, 2, chunk(b"tIME", SECRET[:7]), chunk(b"PRVT", SECRET)),
    **{kind.decode(): png(RGB, 8, 2, chunk(kind, SECRET)) for kind in (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs")},
    **{kind.decode(): png(RGB, 8, 2, chunk(kind, SECRET)) for kind in (b"sBIT", b"bKGD", b"sPLT", b"hIST", b"iCCP")},
    "palette of an RGB image": png(RGB, 8, 2, chunk(b"PLTE", SECRET.ljust(24))),
    "tRNS of an RGB image": png(RGB, 8, 2, chunk(b"tRNS", SECRET)),
    "palette beyond the indices": png(INDEX, 2, 3, chunk(b"PLTE", bytes(range(12)) + SECRET + b"!!")),
    "name of a profile": png(RGB, 8, 2, chunk(b"iCCP", SECRET + b"\0\0" + zlib.compress(bytes(200)))),
    "IDAT's tail": png(RGB, 8, 2, tail=SECRET),
    "IDAT's tail in a chunk of its own": PLAIN_PNG[:-12] + chunk(b"IDAT", SECRET) + PLAIN_PNG[-12:],
    "behind the last row": png(RGB, 8, 2, more=SECRET),
    "in IEND": PLAIN_PNG[:-12] + chunk(b"IEND", SECRET),
    "behind IEND": PLAIN_PNG + SECRET,
    "behind IDAT": PLAIN_PNG[:-12] + chunk(b"tEXt", SECRET) + PLAIN_PNG[-12:],
    "second header": PLAIN_PNG[:-12] + chunk(b"IHDR", SECRET[:13]) + PLAIN_PNG[-12:],
}


@pytest.mark.parametrize("data", PNGS.values(), ids=PNGS.keys())
def test_png(data: bytes) -> None:
    stripped = images.strip(data)
    inside = b"".join(body for _, body in chunks(stripped))
    idat = b"".join(body for kind, body in chunks(stripped) if kind == b"IDAT")
    for place in (stripped, inside, zlib.decompress(idat)):
        assert b"Jane" not in place
    inflater = zlib.decompressobj()
    inflater.decompress(idat)
    assert not inflater.unused_data
    assert images.strip(stripped) == stripped
    expected = np.asarray(Image.open(io.BytesIO(png(INDEX, 2, 3, PALETTE))).convert("RGB"))
    assert (
        images.decode(stripped).pixels == (expected if (b"PLTE", bytes(range(12))) in chunks(stripped) else RGB)
    ).all()


@pytest.mark.parametrize(
    ("short", "expected"), [(png(RGB[:-1], 8, 2), "cut short"), (png(RGB, 8, 2), "incorrect data check")]
)
def test_a_png_whose_data_is_no_good_is_refused(short: bytes, expected: str) -> None:
    if "check" in expected:
        body = next(body for kind, body in chunks(short) if kind == b"IDAT")
        data = short[:33] + chunk(b"IDAT", body[:-1] + bytes([body[-1] ^ 1])) + chunk(b"IEND", b"")
    else:
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
        data = SIGNATURE + chunk(b"IHDR", header) + short[33:]
    with pytest.raises(AnonbenchError, match=rf"^a\.png: is not an image that can be decoded \(.*{expected}"):
        images.strip(data, file="a.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_interlaced_pngs_are_measured_rightly(mode: str) -> None:
    """Pillow writes none, so OpenCV's reading of one that is put together here says whether the size is right."""
    for width in range(1, 18):
        pixels = RGB[: width + 3, :width]
        samples = np.asarray(Image.fromarray(pixels).convert({"P": "L", "1": "L"}.get(mode, mode)))
        samples = samples.reshape(*pixels.shape[:2], -1)
        depth, colour = {"RGB": (8, 2), "L": (8, 0), "P": (8, 0), "1": (1, 0)}[mode]
        raw = b""
        for x, y, dx, dy in (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ):
            part = samples[y::dy, x::dx]
            if part.size:
                rows = np.packbits(part[..., 0] > 127, axis=1) if depth == 1 else part.reshape(len(part), -1)
                raw += b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in rows)
        header = struct.pack(">IIBBBBB", width, width + 3, depth, colour, 0, 0, 1)
        data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
        expected = samples if depth == 8 else (samples > 127) * np.uint8(255)
        assert (images.decode(data).pixels == expected).all()
        assert images.strip(data) == data
        longer = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw + SECRET)) + chunk(b"IEND", b"")
        stripped = images.strip(longer)
        assert zlib.decompress(next(body for kind, body in chunks(stripped) if kind == b"IDAT")) == raw


# Transparency

ALPHA = np.zeros((HEIGHT, WIDTH), np.uint8)
ALPHA[:, WIDTH // 2 :] = 255
ALPHA[:10] = np.linspace(0, 255, WIDTH).astype(np.uint8)
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
KEYED = np.where(ALPHA[..., None] == 0, np.uint8(201), np.minimum(RGB, 200))
KEYED_GREY = np.where(ALPHA == 0, np.uint8(201), np.minimum(GREY, 200))[..., None]


def wide(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.uint16) * 257


TRANSPARENT = {
    "RGBA": (png(np.dstack([RGB, ALPHA]), 8, 6), RGB, ALPHA),
    "RGBA, 16 bits": (png(wide(np.dstack([RGB, ALPHA])), 16, 6), RGB, ALPHA),
    "grey with alpha": (png(np.dstack([GREY, ALPHA]), 8, 4), GREY[..., None], ALPHA),
    "grey with alpha, 16 bits": (png(wide(np.dstack([GREY, ALPHA])), 16, 4), GREY[..., None], ALPHA),
    "RGB key": (png(KEYED, 8, 2, chunk(b"tRNS", bytes([0, 201] * 3))), KEYED, 255 * (ALPHA > 0)),
    "RGB key, 16 bits": (png(wide(KEYED), 16, 2, chunk(b"tRNS", bytes([201] * 6))), KEYED, 255 * (ALPHA > 0)),
    "grey key": (png(KEYED_GREY, 8, 0, chunk(b"tRNS", b"\0\xc9")), KEYED_GREY, 255 * (ALPHA > 0)),
    "grey key, 16 bits": (png(wide(KEYED_GREY), 16, 0, chunk(b"tRNS", b"\xc9\xc9")), KEYED_GREY, 255 * (ALPHA > 0)),
    **{
        f"grey key, {depth} bits": (
            png(INDEX % 2**depth, depth, 0, chunk(b"tRNS", b"\0\1")),
            INDEX % 2**depth * (255 // (2**depth - 1)),
            255 * (INDEX[..., 0] % 2**depth != 1),
        )
        for depth in (1, 2, 4)
    },
    **{
        f"palette, {depth} bits": (
            png(INDEX, depth, 3, PALETTE, chunk(b"tRNS", b"\0\x80")),
            np.arange(12).reshape(4, 3)[INDEX[..., 0]],
            np.array([0, 128, 255, 255])[INDEX[..., 0]],
        )
        for depth in (2, 4, 8)
    },
}


@pytest.mark.parametrize(("data", "colours", "alpha"), TRANSPARENT.values(), ids=TRANSPARENT.keys())
def test_what_transparency_hides_does_not_come_back(
    data: bytes, colours: np.ndarray, alpha: np.ndarray, tmp_path: Path
) -> None:
    expected = np.broadcast_to(np.rint(colours * (alpha[..., None] / 255)), (HEIGHT, WIDTH, 3)).astype(int)
    decoded = images.decode(data)
    assert np.abs(decoded.pixels - expected).max() <= 1  # from 16 bits it is rounded twice
    assert (decoded.pixels[alpha == 0] == 0).all()
    assert (decoded.pixels[alpha == 255] == expected[alpha == 255]).all()
    assert "transparent pixels shown on black" in decoded.notes
    changed = images.encode(decoded.pixels, decoded).data
    stripped = images.without_metadata(data)
    assert stripped.notes == ("transparent pixels shown on black",)
    for written in (changed, stripped.data):
        path = tmp_path / "a.png"
        path.write_bytes(written)
        assert (images.read_rgb(path) == decoded.pixels).all()  # what is trained on is the same in all three
        with Image.open(path) as image:
            assert not image.has_transparency_data
    assert (cv2.imdecode(np.frombuffer(stripped.data, np.uint8), -1).dtype == np.uint16) == (data[24] == 16)
    assert images.strip(stripped.data) == stripped.data


def test_nothing_under_alpha_0_survives() -> None:
    """The audit's case: 60x80 pixels redacted by alpha 0 came back in the changed image, and stayed in the copied."""
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[1:61, 5:85] = 0
    data = png(np.dstack([RGB, alpha]), 8, 6)
    decoded = images.decode(data)
    for written in (images.encode(decoded.pixels, decoded).data, images.strip(data)):
        values = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.count_nonzero(values[1:61, 5:85, :3]) == 0
        assert (values[61:, :, 2::-1] == RGB[61:]).all()


def test_a_png_whose_alpha_hides_nothing_keeps_its_coded_data() -> None:
    data = png(np.dstack([RGB, np.full((HEIGHT, WIDTH), 255, np.uint8)]), 8, 6)
    assert images.strip(data) == data
    keyed = png(np.minimum(RGB, 200), 8, 2, chunk(b"tRNS", bytes([0, 201] * 3)))
    assert dict(chunks(images.strip(keyed))) == {k: v for k, v in chunks(keyed) if k != b"tRNS"}


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_transparent_png_keeps_its_orientation(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    exif = chunk(b"eXIf", tags.tobytes()[6:])
    data = png(np.dstack([RGB, ALPHA]), 8, 6, exif)
    assert (images.decode(images.strip(data)).pixels == images.decode(data).pixels).all()


@pytest.mark.parametrize("format", ["WEBP", "TIFF", "GIF"])
def test_transparency_of_other_formats_is_shown_on_black(format: str) -> None:
    image = Image.fromarray(np.dstack([RGB, ALPHA]))
    buffer = io.BytesIO()
    image.save(buffer, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    pixels = images.decode(buffer.getvalue()).pixels
    assert (pixels[20:, : WIDTH // 2] == 0).all()
    if format != "GIF":
        assert np.abs(pixels - np.rint(RGB * (ALPHA[..., None] / 255))).max() <= 1


def test_an_animated_png_shows_the_image_that_is_kept() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], default_image=True)
    assert (images.decode(buffer.getvalue()).pixels == RGB).all()
    stripped = images.strip(buffer.getvalue())
    assert {kind for kind, _ in chunks(stripped)} == {b"IHDR", b"IDAT", b"IEND"}
    assert (images.decode(stripped).pixels == RGB).all()
    assert images.decode(buffer.getvalue()).notes == images.without_metadata(buffer.getvalue()).notes == (FURTHER,)
    assert images.decode(stripped).notes == ()


def test_a_second_photograph_behind_the_first_is_left_out_and_said() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:], quality=95)
    data = buffer.getvalue()
    assert data.count(b"\xff\xd8\xff") == 2
    assert np.abs(images.decode(data).pixels.astype(int) - RGB).mean() < 20
    stripped = images.without_metadata(data)
    assert stripped.data.count(b"\xff\xd8\xff") == 1
    assert images.decode(data).notes == stripped.notes == (FURTHER,)
    assert images.decode(stripped.data).notes == ()


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (simplejpeg.encode_jpeg(RGB), True),  # no word of it in the first
        (struct.pack(">I", 24) + b"ftypmp42" + bytes(60), True),  # a moving photograph
        (bytes(7), False),
    ],
)
def test_what_lies_behind_a_photograph(behind: bytes, said: bool) -> None:
    data = simplejpeg.encode_jpeg(RGB) + behind
    assert images.decode(data).notes == images.without_metadata(data).notes == ((FURTHER,) if said else ())


def test_a_thumbnail_is_no_further_picture() -> None:
    small = simplejpeg.encode_jpeg(np.ascontiguousarray(RGB[::8, ::8]))
    body = b"Exif\0\0" + struct.pack(">2sHIHI", b"MM", 42, 8, 0, 0) + small
    data = simplejpeg.encode_jpeg(RGB)
    assert images.decode(data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + data[2:]).notes == ()


# Colour profiles


def lab(profile: bytes, mode: str) -> np.ndarray:
    """Return 4096 colours in Lab (L in 0..255, a and b with 128 in the middle)."""
    values = np.random.default_rng(0).integers(0, 256, (64, 64, len(mode)), dtype=np.uint8)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("LAB"), mode, "LAB", 1)
    converted = ImageCms.applyTransform(Image.fromarray(values[..., 0] if mode == "L" else values, mode), transform)
    found = np.array(converted).astype(int)
    found[..., 1:] = (found[..., 1:] + 128) % 256
    return found


def named(profile: bytes) -> bytes:
    """Return a profile with the secret in each of its texts and in its header."""
    (count,) = struct.unpack(">I", profile[128:132])
    tags = list(struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count]))
    text = b"text\0\0\0\0" + SECRET + b"\0\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(SECRET) + 1) + SECRET + bytes(79)
    bodies = {name: profile[start : start + length] for name, start, length in tags}
    bodies |= {b"desc": described, b"cprt": text, b"dmnd": described, b"targ": text, b"Jane": text}
    table, data = struct.pack(">I", len(bodies)), b""
    for name, body in bodies.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(bodies) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I", 128 + len(table) + len(data)) + b"Jane" + profile[8:48] + b"JaneDoe!" + profile[56:80]
    return (head + b"Jane").ljust(128, b"\0") + table + data


def by_curves(gamma: float, red: tuple[float, float, float], grey: bool = False) -> bytes:
    """Return an ICC profile (version 2) of primaries close to sRGB's and a gamma."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    xyz = {
        b"wtpt": (0.9642, 1.0, 0.8249),
        **({} if grey else {b"rXYZ": red, b"gXYZ": (0.38515, 0.71687, 0.09708), b"bXYZ": (0.14307, 0.06061, 0.7141)}),
    }
    bodies = {k: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in value)) for k, value in xyz.items()}
    bodies |= dict.fromkeys((b"kTRC",) if grey else (b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data = struct.pack(">I", len(bodies)), b""
    for name, body in bodies.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(bodies) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I4xI", 128 + len(table) + len(data), 0x02100000) + b"mntr" + (b"GRAY" if grey else b"RGB ")
    head += (
        b"XYZ "
        + struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
        + b"acsp"
        + bytes(28)
        + struct.pack(">3i", 63190, 65536, 54061)
    )
    return head.ljust(128, b"\0") + table + data


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROFILES = {
    "sRGB": (SRGB, "RGB", b"s\0R\0G\0B"),
    "gamma 1.8": (by_curves(1.8, (0.43607, 0.22249, 0.01392)), "RGB", b"RGB"),
    "other primaries": (by_curves(2.2, (0.5, 0.3, 0.01392)), "RGB", b"RGB"),
    "Adobe RGB's gamma alone": (by_curves(2.19921875, (0.43607, 0.22249, 0.01392)), "RGB", b"RGB"),
    "grey gamma 2.2": (by_curves(2.2, (0, 0, 0), grey=True), "L", b"g\0a\0m\0m\0a\0 \x002\0.\x002"),
    "grey gamma 1.7": (by_curves(1.7, (0, 0, 0), grey=True), "L", b"Grey"),
}


@pytest.mark.parametrize(("profile", "mode", "name"), PROFILES.values(), ids=PROFILES.keys())
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_profiles_keep_their_colours_and_no_text(profile: bytes, mode: str, name: bytes, format: str) -> None:
    told = named(profile)
    assert np.abs(lab(told, mode) - lab(profile, mode)).max() == 0
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(buffer, format, icc_profile=told)
    data = buffer.getvalue()
    decoded = images.decode(data)
    for written in (images.strip(data), images.encode(decoded.pixels, decoded).data):
        kept = Image.open(io.BytesIO(written)).info["icc_profile"]
        assert b"Jane" not in kept
        assert b"Jane" not in written
        assert name in kept
        assert np.abs(lab(kept, mode) - lab(profile, mode)).max() <= 1
        assert icc.plain(kept) == kept
    assert images.strip(images.strip(data)) == images.strip(data)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no photographs here")
def test_the_profiles_of_photographs_keep_their_colours() -> None:
    found = {Image.open(path).info.get("icc_profile") for path in PHOTOS.glob("*/*.jpg")} - {None}
    assert found
    for profile in found:
        mode = "L" if profile[16:20] == b"GRAY" else "RGB"
        kept = icc.plain(profile)
        assert kept is not None
        assert np.abs(lab(kept, mode) - lab(profile, mode)).max() <= 1
        assert icc.plain(kept) == kept
        assert len(kept) <= len(profile)


def test_a_large_profile_keeps_its_tables_in_several_segments() -> None:
    grid = np.random.default_rng(0).integers(0, 65536, (17**4 * 3,), dtype=np.uint16).astype(">u2").tobytes()
    ramp = np.linspace(0, 65535, 4).astype(">u2").tobytes()
    tag = b"mft2\0\0\0\0" + bytes((4, 3, 17, 0)) + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
    tag += struct.pack(">HH", 4, 4) + ramp * 4 + grid + ramp * 3
    for size in (len(tag), len(tag) - 1):
        head = struct.pack(">I4xI", 144 + size, 0x02100000) + b"prtrCMYKLab " + bytes(12) + b"acsp"
        profile = head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, size) + tag[:size] + SECRET
        data = jpeg("CMYK", icc_profile=profile)
        stripped = images.without_metadata(data)
        assert SECRET not in stripped.data
        kept = Image.open(io.BytesIO(stripped.data)).info.get("icc_profile", b"")
        assert (tag[12:] in kept) == (size == len(tag))
        assert bool(stripped.notes) == (size < len(tag))
        assert (coded(stripped.data) == coded(data)).all()


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        SECRET * 10,
        SRGB[:100],
        SRGB[:132],
        SRGB[:200],
        SRGB.replace(b"acsp", b"abcd"),
        SRGB.replace(b"mntrRGB ", b"linkRGB "),
        SRGB.replace(b"rTRC", b"xTRC"),
        SRGB[:128] + b"\xff" * 4 + SRGB[132:200] + bytes(300),
    ],
)
def test_a_profile_that_cannot_be_read_is_dropped_and_said_so(profile: bytes) -> None:
    assert icc.plain(profile) is None
    for data in (jpeg(icc_profile=profile), png(RGB, 8, 2, chunk(b"iCCP", b"name\0\0" + zlib.compress(profile)))):
        if profile or data[:1] != b"\xff":
            stripped = images.without_metadata(data)
            assert stripped.notes == (icc.DROPPED,)
            assert images.decode(data).notes == (icc.DROPPED,)
            assert "icc_profile" not in Image.open(io.BytesIO(stripped.data)).info


@pytest.mark.parametrize("order", [(2, 1), (1, 1), (1, 3), (1,)])
def test_the_parts_of_a_profile_are_put_together_by_number(order: tuple[int, ...]) -> None:
    halves = {1: SRGB[:300], 2: SRGB[300:], 3: SRGB[300:]}
    parts = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes((i, 2)) + halves[i]) for i in order)
    stripped = images.without_metadata(before(PLAIN, b"\xff\xdb", parts))
    kept = Image.open(io.BytesIO(stripped.data)).info.get("icc_profile")
    assert (kept == icc.plain(SRGB)) == (order == (2, 1))
    assert bool(stripped.notes) == (order != (2, 1))


def test_a_profile_that_inflates_without_end_is_dropped() -> None:
    data = png(RGB, 8, 2, chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB + bytes(20_000_000))))
    assert images.without_metadata(data).notes == (icc.DROPPED,)
