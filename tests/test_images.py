"""Reading, writing and stripping of images."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from anonbench import images
from anonbench.errors import AnonbenchError
from anonbench.images import icc, jpeg

HEIGHT, WIDTH = 62, 90
PROFILE = icc.plain(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
TABLES = [[min(255, 3 + i // 2) for i in range(64)], [min(255, 5 + i) for i in range(64)]]
LUMINANCE = Image.open(io.BytesIO(simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8), 75))).quantization[0]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def saved(pixels: np.ndarray, format: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation: int | None = None) -> bytes:
    tags = Image.Exif()
    tags[0x010F] = "Camera maker"
    if orientation:
        tags[0x0112] = orientation
    tags.get_ifd(0x8825)[1] = "N"
    return tags.tobytes()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


JPEGS: dict[str, dict[str, Any]] = {
    **{
        f"quality {q} {s}": {"quality": q, "subsampling": s}
        for q in (30, 75, 96, 100)
        for s in ("4:4:4", "4:2:2", "4:2:0")
    },
    "grey": {"mode": "L", "quality": 85},
    "progressive": {"quality": 90, "progressive": True},
    "own tables": {"qtables": TABLES, "subsampling": "4:2:2"},
    "one table": {"qtables": TABLES[:1], "subsampling": "4:2:0"},
    "luminance table for colour": {"qtables": [LUMINANCE], "subsampling": "4:2:0"},
    "grey own table": {"mode": "L", "qtables": TABLES[:1]},
    "restart markers": {"quality": 90, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS.keys())
def test_jpeg_is_written_as_it_came(pixels: np.ndarray, options: dict[str, Any]) -> None:
    data = saved(pixels, icc_profile=PROFILE, comment=b"hello", exif=exif(), **options)
    decoded = images.decode(data)
    assert (decoded.pixels == pillow(data)).all()
    assert decoded.notes == ()
    encoded = images.encode(decoded.pixels, decoded)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(encoded.data))
    assert after.quantization == before.quantization
    assert after.mode == before.mode
    assert [part[1:3] for part in after.layer] == [part[1:3] for part in before.layer]
    assert after.info["icc_profile"] == PROFILE
    assert not after.getexif()
    assert "comment" not in after.info
    again = images.decode(encoded.data)
    assert np.abs(again.pixels.astype(int) - decoded.pixels).mean() < (1.0 if "4:4:4" in str(options) else 4.0)
    assert ("pillow" in encoded.encoder) == ("table" in str(options))


@pytest.mark.parametrize("subsampling", ["440", "411"])
def test_rare_subsampling(pixels: np.ndarray, subsampling: str) -> None:
    data = simplejpeg.encode_jpeg(pixels, 90, "RGB", subsampling)
    encoded = images.encode(pixels, images.decode(data))
    assert simplejpeg.decode_jpeg_header(encoded.data)[3] == subsampling
    assert encoded.encoder == f"jpeg source q90 {':'.join(subsampling)}"


def test_quality_policy(pixels: np.ndarray) -> None:
    decoded = images.decode(saved(pixels, quality=60, subsampling="4:2:2"))
    encoded = images.encode(pixels, decoded, "quality-95")
    assert encoded.encoder == "jpeg quality 95 4:2:2"
    expected = Image.open(io.BytesIO(saved(pixels, quality=95))).quantization
    assert Image.open(io.BytesIO(encoded.data)).quantization == expected
    png = images.decode(saved(pixels, "PNG"))
    assert (images.decode(images.encode(pixels, png, "quality-50").data).pixels == pixels).all()


@pytest.mark.parametrize("policy", ["", "quality-0", "quality-101", "quality", "loss-less"])
def test_unknown_policy(policy: str) -> None:
    with pytest.raises(AnonbenchError, match="unknown encoder policy"):
        images.check_policy(policy)


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS.keys())
def test_a_lossless_copy_of_a_jpeg_has_its_pixels_and_colours_and_nothing_else(
    pixels: np.ndarray, options: dict[str, Any]
) -> None:
    data = saved(pixels, icc_profile=PROFILE, comment=b"hello", exif=exif(), **options)
    decoded = images.decode(data)
    encoded = images.encode(decoded.pixels, decoded, "lossless")
    assert encoded.encoder == "png"
    after = Image.open(io.BytesIO(encoded.data))
    assert (after.format, after.mode) == ("PNG", Image.open(io.BytesIO(data)).mode)
    assert (np.asarray(after.convert("RGB")) == decoded.pixels).all()
    assert after.info["icc_profile"] == PROFILE
    assert set(after.info) == {"icc_profile"}
    assert images.strip(encoded.data) == encoded.data, "nothing is left to be stripped"
    assert images.decode(encoded.data).profile


@pytest.mark.parametrize("format", ["WEBP", "BMP", "GIF", "TIFF"])
def test_whatever_is_read_is_stored_losslessly(pixels: np.ndarray, format: str) -> None:
    decoded = images.decode(saved(pixels, format))
    encoded = images.encode(decoded.pixels, decoded, "lossless", file="a.x")
    assert (images.decode(encoded.data).pixels == decoded.pixels).all()


def test_a_long_profile_survives_in_one_chunk() -> None:
    body = bytes(range(256)) * 600
    segments = b"".join(
        jpeg._segment(0xE2, b"ICC_PROFILE\0" + bytes((n, 3)) + body[start : start + 65519])
        for n, start in enumerate(range(0, len(body), 65519), start=1)
    )
    assert jpeg.profile_of(segments) == body
    assert jpeg.profile_of(b"") == b""


def test_cmyk_becomes_rgb(pixels: np.ndarray) -> None:
    data = saved(pixels, mode="CMYK", quality=95, icc_profile=b"profile of an ink")
    decoded = images.decode(data)
    assert np.abs(decoded.pixels.astype(int) - pixels).mean() < 2
    encoded = images.encode(decoded.pixels, decoded)
    assert Image.open(io.BytesIO(encoded.data)).mode == "RGB"
    assert b"profile of an ink" not in encoded.data
    assert "CMYK" in decoded.notes[0]


PNGS: dict[str, dict[str, Any]] = {
    "RGB": {},
    "grey": {"mode": "L"},
    "black and white": {"mode": "1"},
    "alpha": {"mode": "RGBA"},
    "grey alpha": {"mode": "LA"},
    "palette": {"mode": "P"},
}


@pytest.mark.parametrize("options", PNGS.values(), ids=PNGS.keys())
def test_png_is_lossless(pixels: np.ndarray, options: dict[str, Any]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    data = saved(pixels, "PNG", icc_profile=PROFILE, pnginfo=info, exif=exif(), **options)
    decoded = images.decode(data)
    assert (decoded.pixels == pillow(data)).all()
    encoded = images.encode(decoded.pixels, decoded)
    after = Image.open(io.BytesIO(encoded.data))
    assert (np.asarray(after.convert("RGB")) == decoded.pixels).all()
    assert after.mode == ("L" if options.get("mode") in ("L", "1", "LA") else "RGB")
    assert after.info["icc_profile"] == PROFILE
    assert not after.getexif()
    assert "Author" not in after.info
    assert bool(decoded.notes) == (options.get("mode") not in (None, "L"))


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4)])
def test_sixteen_bits(shape: tuple[int, ...]) -> None:
    wide = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    data = cv2.imencode(".png", wide)[1].tobytes()
    decoded = images.decode(data)
    eight = np.rint(wide / 257).astype(np.uint8)
    if shape[-1] == 4:
        eight = np.rint(np.rint(wide / 65535 * wide[..., 3:]) / 257).astype(np.uint8)
    expected = np.dstack([eight] * 3) if eight.ndim == 2 else eight[..., 2::-1]
    assert (decoded.pixels == expected).all()
    assert "16-bit" in decoded.notes[0]
    if len(shape) == 2:
        assert (images.decode(cv2.imencode(".tiff", wide)[1].tobytes()).pixels == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_orientation(pixels: np.ndarray, orientation: int, format: str) -> None:
    data = saved(pixels, format, exif=exif(orientation), **({"subsampling": "4:2:2"} if format == "JPEG" else {}))
    upright = pillow(data)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    decoded = images.decode(data)
    assert (decoded.pixels == upright).all()
    after = Image.open(io.BytesIO(images.encode(decoded.pixels, decoded).data))
    assert after.size == upright.shape[1::-1]
    assert not after.getexif()

    turned = orientation >= 5
    assert (images.decode(data, size=(HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT)).pixels == upright).all()
    if turned:
        kept = images.decode(data, size=(WIDTH, HEIGHT))
        assert (kept.pixels == stored).all()
        assert f"orientation {orientation} ignored" in kept.notes[-1]
    with pytest.raises(AnonbenchError, match="but annotated as 7x9"):
        images.decode(data, size=(7, 9))

    stripped = images.strip(data, size=upright.shape[1::-1])
    assert b"Camera" not in stripped
    assert (pillow(stripped) == upright).all()
    assert images.strip(stripped) == stripped
    if turned:  # labels in the stored frame: no reader may turn the image
        assert (pillow(images.strip(data, size=(WIDTH, HEIGHT))) == stored).all()


def test_square_is_upright(pixels: np.ndarray) -> None:
    data = saved(pixels[:60, :60], exif=exif(6))
    assert (images.decode(data, size=(60, 60)).pixels == pillow(data)).all()


def test_strip_drops_everything_but_pixels_and_colour(pixels: np.ndarray) -> None:
    data = saved(pixels, icc_profile=PROFILE, comment=b"secret", exif=exif(), xmp=b"<secret/>")
    thumbnail = b"JFIF\0\1\1\0\0\1\0\1\1\1" + b"abc"
    jfif = 4 + int.from_bytes(data[4:6], "big")
    data = data[:2] + b"\xff\xe0" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + data[jfif:]
    iptc = b"\xff\xed\x00\x0asecret!!"
    data = data[:2] + iptc + data[2:] + b"secret second image"
    stripped = images.strip(data)
    for word in (b"secret", b"Camera", b"Exif", b"abc"):
        assert word not in stripped
    assert Image.open(io.BytesIO(stripped)).info["icc_profile"] == PROFILE
    assert (pillow(stripped) == pillow(data)).all()
    assert images.strip(stripped) == stripped


def test_strip_png(pixels: np.ndarray) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "secret")
    info.add_itxt("Title", "secret")
    info.add_text("Long", "secret" * 50, zip=True)
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "PNG", pnginfo=info, exif=exif(), save_all=True, append_images=frames[1:], icc_profile=PROFILE
    )
    stripped = images.strip(buffer.getvalue() + b"secret")
    kinds = []
    at = 8
    while at < len(stripped):
        length = int.from_bytes(stripped[at : at + 4], "big")
        kinds.append(stripped[at + 4 : at + 8])
        at += 12 + length
    assert set(kinds) <= {b"IHDR", b"iCCP", b"IDAT", b"IEND"}
    assert (pillow(stripped) == pixels).all()
    assert images.strip(stripped) == stripped


@pytest.mark.parametrize("progressive", [False, True])
def test_plain_files_stay_byte_for_byte(pixels: np.ndarray, progressive: bool) -> None:
    for data in (
        saved(pixels, icc_profile=PROFILE, progressive=progressive),
        saved(pixels, "PNG", icc_profile=PROFILE),
        saved(pixels, mode="CMYK"),
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
    ):
        assert images.strip(data) == data


def png_with_short_data() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(91 * 10))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_damaged_files_are_named(pixels: np.ndarray, tmp_path: Path) -> None:
    jpeg, png = saved(pixels, quality=90), saved(pixels, "PNG")
    progressive = saved(pixels, quality=90, progressive=True)
    damaged = {
        "empty": b"",
        "text": b"not an image",
        "jpeg cut": jpeg[: len(jpeg) // 2],
        "jpeg without its last bytes": jpeg[:-2],
        "jpeg cut and closed": jpeg[: len(jpeg) // 2] + b"\xff\xd9",
        "jpeg cut in its header": jpeg[:100],
        "progressive cut": progressive[: len(progressive) // 2],
        "jpeg start": jpeg[:3],
        "jpeg without scan": jpeg[:2] + b"\xff\xd9",
        "jpeg overwritten": jpeg[:700] + b"\xff\x33" + jpeg[702:],
        "png cut": png[: len(png) // 2],
        "png without its end": png[:-12],
        "png bit flipped": png[:200] + bytes([png[200] ^ 1]) + png[201:],
        "png short": png_with_short_data(),
        "png start": png[:8],
        "webp cut": saved(pixels, "WEBP")[:300],
    }
    for name, data in damaged.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(data)
        with pytest.raises(AnonbenchError, match="is not an image that can be decoded") as error:
            images.read_rgb(path)
        assert error.value.file == path, name
        assert error.value.remedy
    for name in ("jpeg cut", "jpeg without its last bytes", "png cut", "text"):
        with pytest.raises(AnonbenchError):
            images.strip(damaged[name])
    with pytest.raises(AnonbenchError, match="no such image"):
        images.read_rgb(tmp_path / "none.jpg")


def test_a_path_that_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for name in (".", "x\0y.jpg", "\ud800.jpg", "\udcff.jpg", "x" * 300, "a.png/"):
        expected = "no such image" if name == "\udcff.jpg" else r"cannot be read \(.*\); correct the image's name"
        with pytest.raises(AnonbenchError, match=rf": {expected}") as error:
            images.read_rgb(f"{tmp_path}/{name}")
        assert str(error.value).isprintable()


def test_bytes_that_belong_to_nothing_are_tolerated(pixels: np.ndarray) -> None:
    jpeg = saved(pixels, quality=90)
    for data in (jpeg[:-2] + b"\0\0\0\0" + jpeg[-2:], jpeg[:20] + b"\0\0" + jpeg[20:]):
        assert (images.decode(data).pixels == images.decode(jpeg).pixels).all()


@pytest.mark.parametrize("format", ["WEBP", "BMP", "GIF", "TIFF"])
def test_other_formats_are_read_and_not_written(pixels: np.ndarray, format: str) -> None:
    data = saved(pixels, format)
    decoded = images.decode(data)
    assert (decoded.pixels == pillow(data)).all()
    for write in (lambda: images.encode(decoded.pixels, decoded, file="a.x"), lambda: images.strip(data, file="a.x")):
        with pytest.raises(AnonbenchError, match=rf"a.x: is a {format} image.*convert"):
            write()
