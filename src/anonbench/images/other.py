"""Formats that are read and not written, by Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from anonbench.errors import in_one_line
from anonbench.images.frames import ORIENTATION, turned_back, valid_orientation
from anonbench.images.record import Decoded, Header, undecodable
from anonbench.images.samples import eight_bit, on_black

FORMATS = ("AVIF", "BMP", "GIF", "JPEG2000", "PPM", "TIFF", "WEBP")
"""Those of Pillow's formats that hold a photograph. Others start programs (EPS), or hold images of other sizes than
their header says (ICO, ICNS)."""


class Other:
    """An opened image of another format, pixels not decoded yet."""

    def __init__(self, data: bytes, file: str | Path | None) -> None:
        self._file = file
        try:
            self._image = Image.open(io.BytesIO(data), formats=FORMATS)
            if isinstance(self._image, TiffImagePlugin.TiffImageFile):  # Pillow turns them upright as it decodes
                orientation = valid_orientation(self._image.tag_v2.get(ORIENTATION, 1))
                size = self._image.size if orientation < 5 else self._image.size[::-1]
            else:
                orientation = valid_orientation(self._image.getexif().get(ORIENTATION, 1))
                size = self._image.size
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises whatever a malformed file leads it to
            undecodable(
                file, "no known image format" if isinstance(error, Image.UnidentifiedImageError) else in_one_line(error)
            )
        self.header = Header(self._image.format or "unknown", size, orientation)

    def decode(self) -> Decoded:
        """Return the pixels in the stored frame."""
        image = self._image
        _load(image, self._file)
        pixels, notes = rgb(image, self._file), ()
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            pixels = turned_back(pixels, self.header.orientation)
        if pixels.shape[1::-1] != self.header.size:
            undecodable(self._file, "it has more or fewer pixels than its header says")
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
        return Decoded(np.ascontiguousarray(pixels), self.header.format, grey, notes=notes)


def jpeg(data: bytes, file: str | Path | None) -> Image.Image:
    """Return a decoded JPEG whose size has been checked: `Image.open` has a limit of its own."""
    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:
        undecodable(file, in_one_line(error))
    _load(image, file)
    return image


def _load(image: Image.Image, file: str | Path | None) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        undecodable(file, in_one_line(error))


def rgb(image: Image.Image, file: str | Path | None) -> np.ndarray:
    """Return an image's pixels, uint8 HxWx3 RGB, as they show on black where some are transparent."""
    if image.mode.startswith("I;16"):
        return cv2.cvtColor(eight_bit(np.asarray(image).astype(np.uint16)), cv2.COLOR_GRAY2RGB)
    if image.mode in ("I", "F"):
        undecodable(file, f"its {image.mode} samples have no known range")
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
        return on_black(pixels[..., :3], pixels[..., 3])
    return np.array(image.convert("RGB"))
