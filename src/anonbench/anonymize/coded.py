"""What the methods that are image formats share: a quality or a rate, what comes before coding, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import After, Changed, Crop
from anonbench.anonymize.rate_control import Rated, RateParameters, Scale, matched, setting_of
from anonbench.images import lossy
from anonbench.records import LOSSLESS, RegionKind

DEFAULT = 75.0
"""The quality, where neither it nor a rate is given."""


class CodedParameters(RateParameters, After):
    """Parameters of `Coded`."""

    setting = "quality"

    quality: float | None = Field(
        None,
        ge=0,
        le=lossy.HIGHEST,
        description="The format's quality, 75 unless a rate is given. Of one that is not whole, such as 30.4, the "
        "frames get the two next to it, here four in ten the higher one.",
    )
    shrink: int = Field(
        1, ge=1, le=64, description="Pixels of the frame per coded pixel, along each side; decoded frames are enlarged."
    )


class Coded(Rated):
    """Writes a frame in a lossy format and reads it again.

    One quality holds for a whole split, as of a codec that is in use, so a frame with much in it takes more bits than
    an empty one. A rate (``bpp``) is the mean of a split's frames (`rate_control`). It hides nobody by itself: a
    control, unless it comes after another variant.
    """

    format: ClassVar[str]

    Parameters: ClassVar[type[CodedParameters]] = CodedParameters

    levels: ClassVar[dict[str, dict[str, Any]]] = {f"q{quality}": {"quality": quality} for quality in (80, 40, 20, 10)}

    kinds: ClassVar[frozenset[RegionKind]] = frozenset((RegionKind.FRAME,))

    stores: ClassVar[str | None] = LOSSLESS

    codec: ClassVar[bool] = True

    anonymizes: ClassVar[bool] = False

    facts: ClassVar[Mapping[str, str]] = {
        "bits": "size of the coded file in bits",
        "picture_bits": "bits of it that code the picture: all but headers, tables and boxes",
        "bpp": "bits of the file per pixel of the frame",
        "quality": "the format's quality, a whole number",
    }

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        given = self.parameters
        self._quality: float | None = None if given.bpp is not None else given.quality
        if given.bpp is None and given.quality is None:
            self._quality = DEFAULT

    @classmethod
    def available(cls) -> str | None:
        return lossy.available(cls.format)

    def tune(self, crops: Sequence[Crop]) -> dict[str, Any]:
        """Find the quality at which some frames take the rate in the mean; return what was found.

        Raises AnonbenchError for a rate that the format does not reach at any quality, or not to 2 % with so few
        frames.
        """
        if not crops:
            self._quality = float(lossy.LOWEST[self.format])
            return {"images": 0}

        def rates(quality: int, step: int) -> np.ndarray:
            return np.array([self._rate(crop, len(self._encoded(crop, quality))) for crop in crops[::step]])

        scale = Scale(
            self.name, self.parameters.setting, lossy.LOWEST[self.format], lossy.HIGHEST,
            ("its lowest quality", "its highest"), "shrink the frames before they are coded",
        )  # fmt: skip
        self._quality, bpp = matched(scale, self.parameters.bpp, rates, crops)
        return {"images": len(crops), "quality": self._quality, "bpp": bpp}

    def change(self, crop: Crop) -> Changed:
        if self._quality is None:
            raise self.unmatched()
        quality = max(setting_of(self._quality, crop), lossy.LOWEST[self.format])
        data = self._encoded(crop, quality)
        pixels = lossy.decode(data)
        height, width = crop.pixels.shape[:2]
        if self.parameters.shrink > 1:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return Changed(
            pixels,
            {
                "bits": 8 * len(data),
                "picture_bits": 8 * lossy.picture_bytes(data, self.format),
                "bpp": round(self._rate(crop, len(data)), 6),
                "quality": quality,
            },
        )

    def weakness(self, crop: Crop) -> str | None:
        return "compressed, and nothing is hidden on purpose"

    def _encoded(self, crop: Crop, quality: int) -> bytes:
        pixels, factor = crop.pixels, self.parameters.shrink
        if factor > 1:
            height, width = pixels.shape[:2]
            size = max(1, round(width / factor)), max(1, round(height / factor))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return lossy.encode(pixels, self.format, quality)

    @staticmethod
    def _rate(crop: Crop, size: int) -> float:
        """Return the bits per pixel of a frame whose file has ``size`` bytes."""
        height, width = crop.pixels.shape[:2]
        return 8 * size / (height * width)
