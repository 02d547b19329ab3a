"""What the formats share: the records of an image, and the errors of one that is no good."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

import numpy as np

from anonbench.errors import AnonbenchError

Size = tuple[int, int]
"""Width, height in pixels."""

Frame = Literal["upright", "stored"]
"""The frame that labels were drawn on: with the EXIF orientation applied, or as the pixels are stored."""

FURTHER = "further pictures in the file left out"
"""Note of an animation, and of a photograph with another one, or a film, behind it."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's header says: its format (``JPEG``, ``PNG`` or Pillow's name), stored size, orientation (1..8)."""

    format: str
    size: Size
    orientation: int = 1

    @property
    def upright(self) -> Size:
        """Width and height with the EXIF orientation applied."""
        return self.size if self.orientation < 5 else self.size[::-1]


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image's pixels and what is needed to write them back in kind.

    ``pixels`` is uint8 HxWx3 RGB in the frame that the labels refer to. ``format`` is ``JPEG``, ``PNG`` or
    Pillow's name of another one. ``tables`` are a JPEG's quantisation tables by component (64 numbers each,
    zigzag order; the last one holds for the components after it), ``subsampling`` is its chroma subsampling
    (``"420"``; None for grey or one that has no name). ``profile`` holds the segments or chunks that
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


class Stripped(NamedTuple):
    """A file's bytes without metadata, and notes of what it lost besides."""

    data: bytes
    notes: tuple[str, ...]


def undecodable(file: str | Path | None, why: object) -> NoReturn:
    """Raise the error of a file that is no whole image."""
    raise AnonbenchError(
        f"is not an image that can be decoded ({why})",
        file=file,
        remedy="fetch the file again or take it out of the annotations",
    )


def unwritable(format: str, file: str | Path | None) -> NoReturn:
    """Raise the error of a format that is only read."""
    raise AnonbenchError(
        f"is a {format} image, and only JPEG and PNG are written",
        file=file,
        remedy="convert the data set to PNG first",
    )
