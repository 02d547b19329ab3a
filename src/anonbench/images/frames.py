"""Which frame labels are drawn on, EXIF orientation, and the sizes that are checked before a pixel is decoded."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from anonbench.errors import AnonbenchError
from anonbench.images.record import Frame, Header, Size, undecodable

ORIENTATION = 0x0112
"""The EXIF tag."""

_UNDONE_BY = (0, 1, 2, 3, 4, 5, 8, 7, 6)


def choose(
    header: Header, size: Size | None, labels_on: Frame | None, max_pixels: int, file: str | Path | None
) -> bool:
    """Tell whether the labels are on the upright frame; raise AnonbenchError for a wrong or an excessive size."""
    upright, stored = header.upright, header.size
    if min(stored) < 1:
        undecodable(file, "it has no pixels")
    if size is not None and tuple(size) not in {"upright": (upright,), "stored": (stored,)}.get(
        labels_on or "", (upright, stored)
    ):
        _wrong_size(header, size, labels_on, file)
    pixels = stored[0] * stored[1]
    if pixels > max_pixels:
        raise AnonbenchError(
            f"has {stored[0]}x{stored[1]} = {pixels} pixels, more than the limit of {max_pixels}",
            file=file,
            remedy="scale it and its labels down or take it out of the annotations",
        )
    return labels_on == "upright" if labels_on else size is None or tuple(size) == upright


def _wrong_size(header: Header, size: Size, labels_on: Frame | None, file: str | Path | None) -> None:
    frames = {"upright": header.upright, "stored": header.size}
    width, height = frames[labels_on or "upright"]
    where, remedy = "", "fetch images and labels again, or correct the annotated width and height"
    if labels_on and header.upright != header.size:
        where = f" in its {labels_on} frame (EXIF orientation {header.orientation})"
        other = "stored" if labels_on == "upright" else "upright"
        if tuple(size) == frames[other]:
            remedy = (
                f"set labels_on: {other} if its labels were drawn on the {other} frame, or correct its annotated size"
            )
    raise AnonbenchError(
        f"is {width}x{height} pixels{where}, but annotated as {size[0]}x{size[1]}", file=file, remedy=remedy
    )


def orientation_is_ambiguous(header: Header, size: Size) -> bool:
    """Tell whether labels of this size (width, height) fit the stored and the upright frame, which differ.

    So it is for EXIF orientations 2 to 4, and for 5 to 8 of a square image: only whoever drew the labels knows
    which frame they are on (``labels_on``).
    """
    return header.orientation != 1 and header.size == header.upright == tuple(size)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of stored pixels in the upright frame, given the EXIF orientation (1..8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def turned_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of upright pixels in the stored frame, given the EXIF orientation (1..8)."""
    return turned(pixels, _UNDONE_BY[orientation])


def valid_orientation(value: object) -> int:
    """Return an orientation, 1 for anything but 1..8."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation (1..8) in EXIF data, 1 where there is none or it makes no sense."""
    exif = Image.Exif()
    try:
        exif.load(tiff)
        return valid_orientation(exif.get(ORIENTATION, 1))
    except Exception:  # Pillow raises whatever a malformed block leads it to
        return 1


def orientation_only(orientation: int) -> bytes:
    """Return EXIF data (TIFF structure) that holds an orientation and nothing else."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)
