"""What the methods that are image formats share: a quality or a rate, what comes before coding, and what it took."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from anonbench.anonymize.contract import After, Changed, Crop, Method
from anonbench.distortion import WITHIN
from anonbench.errors import AnonbenchError
from anonbench.images import lossy
from anonbench.records import LOSSLESS, RegionKind

FEW = 16
"""About so many frames are looked at first."""
DEFAULT = 75.0
"""The quality, where neither it nor a rate is given."""


class CodedParameters(After):
    """Parameters of `Coded`."""

    quality: float | None = Field(
        None,
        ge=0,
        le=lossy.HIGHEST,
        description="The format's quality, 75 unless a rate is given. Of one that is not whole, such as 30.4, the "
        "frames get the two next to it, here four in ten the higher one.",
    )
    bpp: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Instead of a quality: bits per pixel that the frames of a split are to take in the mean, which is "
        "searched for, to 2 %.",
    )
    shrink: int = Field(
        1, ge=1, le=64, description="Pixels of the frame per coded pixel, along each side; decoded frames are enlarged."
    )
    sample: int = Field(
        256,
        ge=1,
        description="Frames of a split, at even distances, in which a rate is searched for; all if it has fewer.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.quality is not None and self.bpp is not None:
            raise ValueError("quality and bpp exclude each other; remove one of them")
        return self


class Coded(Method):
    """Writes a frame in a lossy format and reads it again.

    One quality holds for a whole split, as of a codec that is in use, so a frame with much in it takes more bits than
    an empty one. A rate (``bpp``) is the mean of a split's frames: a rate that each frame had to meet would give the
    crowded ones, which are what detectors are judged on, the worst quality. It hides nobody by itself: a control,
    unless it comes after another variant.
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

    @property
    def sample(self) -> int:  # type: ignore[override]
        """Frames of the split that a rate is searched for in; none for a quality."""
        return self.parameters.sample if self.parameters.bpp is not None else 0

    def tune(self, crops: Sequence[Crop]) -> dict[str, Any]:
        """Find the quality at which some frames take the rate in the mean; return what was found.

        Raises AnonbenchError for a rate that the format does not reach at any quality, or not to 2 % with so few
        frames.
        """
        if not crops:
            self._quality = float(lossy.LOWEST[self.format])
            return {"images": 0}
        target: float = self.parameters.bpp

        @functools.cache
        def rates(quality: int, step: int = 1) -> np.ndarray:
            return np.array([self._rate(crop, len(self._encoded(crop, quality))) for crop in crops[::step]])

        low, high = self._around(target, rates, max(1, len(crops) // FEW))
        draws = np.array([_draw(crop) for crop in crops])
        order = np.argsort(draws, kind="stable")
        more = np.cumsum((rates(high) - rates(low))[order])
        means = (rates(low).sum() + np.concatenate([[0.0], more])) / len(crops)  # with so many at the higher quality
        many = int(np.argmin(np.abs(means - target)))
        if abs(means[many] / target - 1) > WITHIN:
            near = sorted(means, key=lambda mean: abs(mean - target))[:2]
            raise AnonbenchError(
                f"{self.format} cannot be matched to {target:g} bits per pixel within {WITHIN:.0%} on "
                f"{len(crops)} frames: "
                f"the nearest rates are {' and '.join(f'{mean:.4f}' for mean in sorted(near))}",
                entry=f"method {self.name} bpp",
                remedy="ask for one of them, name a quality, or take more images",
            )
        ends = [0.0, *draws[order], 1.0]
        share = 1.0 if many == len(crops) else 0.0 if many == 0 else (ends[many] + ends[many + 1]) / 2
        self._quality = float(low + share)
        return {"images": len(crops), "quality": self._quality, "bpp": round(float(means[many]), 6)}

    def _around(self, target: float, rates: Callable[..., np.ndarray], step: int) -> tuple[int, int]:
        """Return two neighbouring qualities between which frames take a rate in the mean: found in every ``step``-th of
        them, then corrected in all, since slow encoders take most of a search's time."""
        lowest, highest = lossy.LOWEST[self.format], lossy.HIGHEST
        low, high = lowest, highest
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if rates(middle, step).mean() <= target else (low, middle)
        while low > lowest and rates(low).mean() > target:
            low -= 1
        while low + 1 < highest and rates(low + 1).mean() <= target:
            low += 1
        if not rates(low).mean() <= target <= rates(low + 1).mean():
            least, most = (float(rates(quality).mean()) for quality in (lowest, highest))
            more = ", or shrink the frames before they are coded" if target < least else ""
            raise AnonbenchError(
                f"{self.format} cannot reach {target:g} bits per pixel: the {len(rates(low))} frames that were tried "
                f"take {least:.3f} at its lowest quality and {most:.3f} at its highest",
                entry=f"method {self.name} bpp",
                remedy=f"ask for a rate between them{more}",
            )
        return low, low + 1

    def change(self, crop: Crop) -> Changed:
        if self._quality is None:
            raise AnonbenchError(
                "a rate is that of a whole split, and this is one frame",
                entry=f"method {self.name} bpp",
                remedy="name a quality instead",
            )
        whole = math.floor(self._quality)
        quality = max(whole + int(_draw(crop) < self._quality - whole), lossy.LOWEST[self.format])
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


def _draw(crop: Crop) -> float:
    """Return a frame's number in 0..1 that decides between two qualities."""
    return float(crop.generator().random())
