"""Images as bytes and as pixels: decode once, write back in kind, strip metadata without touching a pixel.

Pixels are uint8 HxWx3 in RGB everywhere, transparent ones as they show on black. A changed JPEG is written with its
own quantisation tables and chroma subsampling (policy ``source``), which moves the background, too, the more the better
the source's quality was, or as a PNG (``lossless``); a PNG stays PNG. Of the metadata only the colour profile survives,
without its texts.

Sizes are read from the header and checked before a pixel is decoded.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from anonbench import files
from anonbench.errors import AnonbenchError
from anonbench.images import jpeg, png
from anonbench.images.frames import choose, orientation_is_ambiguous, turned
from anonbench.images.jpeg import Jpeg
from anonbench.images.other import Other
from anonbench.images.png import Png
from anonbench.images.record import Decoded, Encoded, Frame, Header, Size, Stripped, undecodable, unwritable
from anonbench.records import LOSSLESS, MAX_PIXELS

__all__ = (
    "MAX_PIXELS",
    "Decoded",
    "Encoded",
    "Frame",
    "Header",
    "Size",
    "Stripped",
    "check_policy",
    "decode",
    "encode",
    "header",
    "orientation_is_ambiguous",
    "read_bytes",
    "read_rgb",
    "strip",
    "without_metadata",
)

_OF_NAMES = (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Why a file cannot be read whose name is wrong."""
_POLICY = re.compile(r"quality-(\d{1,3})")


def read_bytes(path: str | Path, sha256: str | None = None) -> bytes:
    """Return a file's bytes; raise AnonbenchError when it is missing, cannot be read, is empty or not of the hash."""
    shown = path if str(path).isprintable() else repr(str(path))
    try:
        data = files.read_bytes(path)
    except FileNotFoundError:
        raise AnonbenchError("no such image", file=shown, remedy="run the download stage again") from None
    except (OSError, ValueError) as error:  # a folder, a name that no file can have
        why = error.strerror if isinstance(error, OSError) else "no file can have this name"
        named = isinstance(error, ValueError) or error.errno in _OF_NAMES
        remedy = "correct the image's name in the annotations" if named else "check the disk and who may read the file"
        raise AnonbenchError(f"cannot be read ({why})", file=shown, remedy=remedy) from None
    if not data:
        undecodable(path, "it is empty")
    if sha256 is not None and files.sha256_bytes(data) != sha256:
        raise AnonbenchError(
            "was edited or damaged after it was written", file=shown, remedy="run the stage that wrote it again"
        )
    return data


def read_rgb(
    path: str | Path, size: Size | None = None, labels_on: Frame | None = None, sha256: str | None = None
) -> np.ndarray:
    """Return an image file's pixels, uint8 HxWx3 RGB, in the frame that its labels are on.

    Grey, palette, CMYK and 16-bit images are converted, transparent pixels come as they show on black. ``size`` (the
    annotated width and height) and ``labels_on`` are those of `decode`; an image of the annotated size is never too
    large, as `annotate` has let it pass. ``sha256`` is that of the file, where it is known. Raises AnonbenchError when
    the file is missing, empty, cut short, not an image or not of that hash, or its size is not the annotated one.
    """
    most = max(MAX_PIXELS, size[0] * size[1]) if size else MAX_PIXELS
    return decode(read_bytes(path, sha256), file=path, size=size, labels_on=labels_on, max_pixels=most).pixels


def header(data: bytes, *, file: str | Path | None = None) -> Header:
    """Return what a file's header says, no pixel decoded; raise AnonbenchError when it is not an image."""
    return _open(data, file).header


def decode(
    data: bytes,
    *,
    file: str | Path | None = None,
    size: Size | None = None,
    labels_on: Frame | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Decode an image's bytes.

    ``size`` is the annotated width and height, ``labels_on`` the frame that the labels were drawn on: ``upright``
    (EXIF orientation applied), ``stored``, or None to tell by ``size``: upright when that frame's size is the
    annotated one or none is given, else stored when that one's is. The pixels come in that frame. Raises
    AnonbenchError (naming ``file``), before any pixel is decoded, when the frame has another size than the
    annotated one or the image has more than ``max_pixels``; and when the data cannot be decoded in full.
    """
    image = _open(data, file)
    orientation = image.header.orientation
    upright = choose(image.header, size, labels_on, max_pixels, file)
    try:
        decoded = image.decode()
    except MemoryError:
        undecodable(file, "its {}x{} pixels do not fit into memory".format(*image.header.size))
    if orientation == 1:
        return decoded
    if not upright:
        note = f"EXIF orientation {orientation} ignored: the labels are in the stored frame"
        return replace(decoded, notes=(*decoded.notes, note))
    subsampling = decoded.subsampling
    if orientation >= 5:
        subsampling = {"422": "440", "440": "422"}.get(subsampling or "", subsampling)
    return replace(
        decoded,
        pixels=np.ascontiguousarray(turned(decoded.pixels, orientation)),
        subsampling=subsampling,
        notes=(*decoded.notes, f"EXIF orientation {orientation} applied"),
    )


def check_policy(policy: str) -> None:
    """Raise AnonbenchError unless ``policy`` is ``source``, ``lossless`` or ``quality-N`` with N from 1 to 100."""
    _quality(policy)


def encode(pixels: np.ndarray, source: Decoded, policy: str = "source", *, file: str | Path | None = None) -> Encoded:
    """Write pixels (uint8 HxWx3 RGB) in the kind of the image that they were decoded from, or as a PNG.

    ``policy``: ``source`` keeps a JPEG's quantisation tables and subsampling, ``quality-N`` takes libjpeg's
    tables at quality N and the source's subsampling, ``lossless`` writes a PNG of any format that is read; a PNG stays
    one under all. Grey stays grey. Raises AnonbenchError for a format that is not written (only JPEG and PNG are) or an
    unknown policy.
    """
    quality = _quality(policy)
    if source.format == "PNG":
        return png.encode(pixels, source)
    if policy == LOSSLESS:
        profile = jpeg.profile_of(source.profile) if source.format == "JPEG" else b""
        return png.encode(pixels, replace(source, profile=png.profile_chunk(profile)))
    if source.format != "JPEG":
        unwritable(source.format, file)
    return jpeg.encode(pixels, source, quality)


def strip(
    data: bytes,
    *,
    file: str | Path | None = None,
    size: Size | None = None,
    labels_on: Frame | None = None,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """Return the bytes that `without_metadata` returns."""
    return without_metadata(data, file=file, size=size, labels_on=labels_on, max_pixels=max_pixels).data


def without_metadata(
    data: bytes,
    *,
    file: str | Path | None = None,
    size: Size | None = None,
    labels_on: Frame | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Stripped:
    """Return a JPEG or PNG file's bytes without metadata; the pixels' coded data stays as it is.

    What stays is a list, and the file is written anew from it: what the pixels need, the numbers of the colour
    profile, the resolution (JFIF, without its thumbnail), Adobe's colour transform, and an EXIF orientation other than
    1 where the labels are on the upright frame. A PNG in which transparency hides colours is coded again, with its
    pixels as they show on black. The bytes are equal when there is nothing to drop. ``size``, ``labels_on`` and
    ``max_pixels`` are those of `decode`. Raises AnonbenchError as `decode` does, and for another format.
    """
    image = _open(data, file)
    upright = choose(image.header, size, labels_on, max_pixels, file)
    if isinstance(image, Other):
        unwritable(image.header.format, file)
    return image.strip(upright)


def _open(data: bytes, file: str | Path | None) -> Jpeg | Png | Other:
    """Take an image's bytes apart as far as its header."""
    if data.startswith(jpeg.SIGNATURE):
        return Jpeg(data, file)
    return Png(data, file) if data.startswith(png.SIGNATURE) else Other(data, file)


def _quality(policy: str) -> int | None:
    if policy in ("source", LOSSLESS):
        return None
    match = _POLICY.fullmatch(policy)
    if match is None or not 1 <= int(match[1]) <= 100:
        raise AnonbenchError(
            f"unknown encoder policy '{policy}'", remedy="use 'source', 'lossless' or 'quality-N' with N from 1 to 100"
        )
    return int(match[1])
