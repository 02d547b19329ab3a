"""What an image's header says is checked before a pixel is decoded; which frame labels are on."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from anonbench import images
from anonbench.errors import AnonbenchError
from anonbench.images.frames import turned, turned_back


def coarse(width: int, height: int) -> np.ndarray:
    cells = np.random.default_rng(width).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


def saved(pixels: np.ndarray, format: str, orientation: int | None = None, **options: Any) -> bytes:
    if orientation:
        tags = Image.Exif()
        tags[0x0112] = orientation
        options["exif"] = tags.tobytes()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, data: bytes) -> bytes:
    """Return an 8-bit grey PNG with the given compressed data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def claiming(jpeg: bytes, width: int, height: int) -> bytes:
    """Return a JPEG whose frame header says another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    return {
        "PNG": png(30_000, 30_000, zlib.compress(bytes(1 << 20))),
        "JPEG": claiming(saved(np.zeros((8, 8, 3), np.uint8), "JPEG"), 65_500, 65_500),
        "BMP": struct.pack("<2sIII", b"BM", 154, 0, 54)
        + struct.pack("<IiiHHIIIIII", 40, 30_000, 30_000, 1, 24, 0, 100, 0, 0, 0, 0)
        + bytes(100),
    }


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was decoded")

    for name in ("simplejpeg.decode_jpeg", "cv2.imdecode", "PIL.ImageFile.ImageFile.load", "zlib.decompressobj"):
        monkeypatch.setattr(name, fail)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP"])
@pytest.mark.usefixtures("no_decoder")
def test_an_enormous_image_is_refused_before_it_is_decoded(bombs: dict[str, bytes], format: str) -> None:
    width = {"PNG": 30_000, "JPEG": 65_500, "BMP": 30_000}[format]
    why = f"has {width}x{width} = {width * width} pixels, more than the limit of 178956970; scale it"
    if format == "BMP":  # Pillow has a limit of its own, the same one
        why = rf"\({width * width} pixels\) exceeds limit of 178956970"
    for read in (images.decode, images.strip):
        with pytest.raises(AnonbenchError, match=rf"^bomb\.img: .*{why}"):
            read(bombs[format], file="bomb.img")
        with pytest.raises(AnonbenchError, match=r"^bomb\.img: "):
            read(bombs[format], file="bomb.img", size=(640, 480))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.usefixtures("no_decoder")
def test_a_size_that_is_not_the_annotated_one_is_refused_before_decoding(bombs: dict[str, bytes], format: str) -> None:
    width = {"PNG": 30_000, "JPEG": 65_500}[format]
    with pytest.raises(AnonbenchError, match=f"is {width}x{width} pixels, but annotated as 640x480; fetch"):
        images.decode(bombs[format], size=(640, 480), max_pixels=10**12)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_limit_counts_pixels(format: str) -> None:
    data = saved(coarse(90, 62), format)
    assert images.decode(data, size=(90, 62), max_pixels=90 * 62).pixels.shape == (62, 90, 3)
    with pytest.raises(AnonbenchError, match="has 90x62 = 5580 pixels, more than the limit of 5579; scale"):
        images.decode(data, size=(90, 62), max_pixels=90 * 62 - 1)
    if format in ("PNG", "JPEG"):
        assert images.strip(data, max_pixels=90 * 62)
        with pytest.raises(AnonbenchError, match="more than the limit of 5579"):
            images.strip(data, max_pixels=90 * 62 - 1)


@pytest.mark.filterwarnings("error")
def test_a_limit_above_pillows_holds_for_what_we_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    pixels = coarse(90, 62)
    cmyk = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG")
    for data in (saved(pixels, "JPEG"), saved(pixels, "PNG"), cmyk.getvalue()):
        assert images.decode(data).pixels.shape == (62, 90, 3)
    with pytest.raises(AnonbenchError, match="decompression bomb"):
        images.decode(saved(pixels, "WEBP"))


def test_more_data_than_pixels_is_not_inflated() -> None:
    packer = zlib.compressobj(9)
    flood = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    data = png(30, 20, flood)
    tracemalloc.start()
    assert images.decode(data).pixels.shape == (20, 30, 3)
    stripped = images.strip(data)
    assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    tracemalloc.stop()
    assert len(stripped) < 200
    assert (images.decode(stripped).pixels == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_header(format: str, orientation: int) -> None:
    header = images.header(saved(coarse(90, 62), format, orientation))
    assert header == images.Header(format, (90, 62), orientation)
    assert header.upright == ((90, 62) if orientation < 5 else (62, 90))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.usefixtures("no_decoder")
def test_header_decodes_no_pixel(format: str) -> None:
    assert images.header(saved(coarse(90, 62), format)).size == (90, 62)


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"])
def test_header_of_no_image_names_the_file(data: bytes) -> None:
    with pytest.raises(AnonbenchError, match=r"^a\.jpg: is not an image that can be decoded"):
        images.header(data, file="a.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_labels_on(format: str, orientation: int, square: bool) -> None:
    width, height = (62, 62) if square else (90, 62)
    pixels = coarse(width, height)
    data = saved(pixels, format, orientation)
    stored = images.decode(saved(pixels, format)).pixels
    upright = turned(stored, orientation)
    assert (turned_back(upright, orientation) == stored).all()
    for frame, expected in (("upright", upright), ("stored", stored)):
        size = expected.shape[1::-1]
        found = images.decode(data, size=size, labels_on=frame)
        assert (found.pixels == expected).all()
        assert (images.decode(data, labels_on=frame).pixels == expected).all()
        if orientation > 1:
            assert f"orientation {orientation} {'applied' if frame == 'upright' else 'ignored'}" in found.notes[-1]
        if format != "TIFF":  # no reader may turn the image another way
            stripped = images.strip(data, size=size, labels_on=frame)
            assert (images.decode(stripped, size=size).pixels == expected).all()
        if size != expected.shape[:2] and orientation >= 5:
            other = "stored" if frame == "upright" else "upright"
            with pytest.raises(
                AnonbenchError,
                match=rf"is {size[0]}x{size[1]} pixels in its {frame} frame \(EXIF orientation {orientation}\), "
                rf"but annotated as {size[1]}x{size[0]}; set labels_on: {other} if",
            ):
                images.decode(data, size=size[::-1], labels_on=frame)
        with pytest.raises(AnonbenchError, match="but annotated as 7x9"):
            images.decode(data, size=(7, 9), labels_on=frame)
    ambiguous = orientation > 1 and (square or orientation < 5)
    header = images.header(data)
    assert images.orientation_is_ambiguous(header, (width, height)) == ambiguous
    assert not images.orientation_is_ambiguous(header, (7, 9))
    if ambiguous:  # nothing said: as most tools show it
        assert (images.decode(data, size=(width, height)).pixels == upright).all()


def test_read_rgb_takes_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(coarse(62, 62), "PNG", 3))
    stored = images.read_rgb(path, (62, 62), labels_on="stored")
    assert (stored == coarse(62, 62)).all()
    assert (images.read_rgb(path, (62, 62)) == stored[::-1, ::-1]).all()


def with_dnl(jpeg: bytes, height: int) -> bytes:
    """Return a baseline JPEG whose height stands behind its scan (T.81, B.2.5)."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + b"\0\0" + jpeg[at + 2 : -2] + b"\xff\xdc\0\4" + struct.pack(">H", height) + jpeg[-2:]


def test_a_height_behind_the_scan() -> None:
    plain = saved(coarse(90, 62), "JPEG")
    data = with_dnl(plain, 62)
    assert images.header(data).size == (90, 62)
    assert (images.decode(data, size=(90, 62)).pixels == images.decode(plain).pixels).all()
    assert images.strip(data, size=(90, 62)) == images.strip(plain)
    with pytest.raises(AnonbenchError, match="has 90x65000 = 5850000 pixels"):
        images.decode(with_dnl(plain, 65_000), max_pixels=10**6)
    for useless in (data.replace(b"\xff\xdc\0\4", b"\xff\xfe\0\4"), with_dnl(plain, 0)):
        with pytest.raises(AnonbenchError, match=r"a\.jpg: is not an image that can be decoded"):
            images.header(useless, file="a.jpg") and images.decode(useless, file="a.jpg")
    unused = plain[:-2] + b"\xff\xdc\0\4\0\x10" + plain[-2:]
    assert images.header(unused).size == (90, 62)
    assert images.strip(unused) == images.strip(plain)


def test_sizes_that_memory_does_not_hold_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("simplejpeg.decode_jpeg", fail)
    with pytest.raises(AnonbenchError, match=r"a\.jpg: .*90x62 pixels do not fit into memory"):
        images.decode(saved(coarse(90, 62), "JPEG"), file="a.jpg")
