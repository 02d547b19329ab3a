"""Gaussian blur whose strength follows the share of the image that a person covers (LA3D), and the face's own size.

Asres, Jiao and Omlin, "Low-latency video anonymization for crowd anomaly detection: privacy vs. performance", 2024,
arXiv 2410.18717: ``s`` is the whole per cent of the image that the mask covers, 1 at least; ``r = alpha max(ln s, 1)``;
the kernel has 13 r taps per axis, an odd number and at most half the box's side. Their published setting is alpha 1.

That is a strength in pixels, which the face outgrows in a larger photograph of the same scene. So the blur is here a
share of the face's own side at least; ``paper`` leaves that out.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.methods.blur import convolve, shrinkage, surroundings
from anonbench.anonymize.strength import face_of, weak_blur
from anonbench.blocks import Strict
from anonbench.records import Region
from anonbench.windows import Window

TAPS = 13
"""Taps of the kernel at r = 1."""
REACH = 3
"""Standard deviations at which the Gaussian is cut off, but under ``paper``."""


def scale_of(region: Region, width: int, height: int, alpha: float) -> float:
    """Return ``r = alpha max(ln s, 1)`` of a region in an image of width x height."""
    percent = max(1, 100 * int(np.count_nonzero(region.mask)) // (width * height))
    return alpha * max(math.log(percent), 1.0)


class AdaptiveBlur(Method):
    """Blur, stronger for people who fill more of the image, and never less than in proportion to the face.

    It is a Gaussian of the published kernel's standard deviation (of the axis along which it is larger) or of ``share``
    times the face's side, whichever is more, over the region with its surroundings. Under ``paper`` the published
    kernel blurs the region's box by itself with its border mirrored, as in the published code. Unlike there a kernel
    has 3 taps at least: one tap would leave small people as they are.
    """

    class Parameters(Strict):
        """Parameters of `AdaptiveBlur`; sigma is in pixels of the image."""

        alpha: float = Field(1.0, gt=0, description="Factor on the strength; the publication's is 1.")
        sigma: float = Field(10.0, gt=0, description="Sigma of the Gaussian, at r = 1 where it adapts.")
        adaptive_sigma: bool = Field(
            True, description="Whether sigma is multiplied by r; if not, little changes beyond some 50 taps."
        )
        share: float = Field(
            0.15,
            gt=0,
            le=1,
            description="Least standard deviation of the blur, in units of the face's side: the square root of the "
            "area of its box, in a region of a body half the shorter side of the person's box.",
        )
        paper: bool = Field(
            False,
            description="The published formula alone, without `share`: it leaves large faces of large photographs "
            "recognisable.",
        )

    levels: ClassVar[dict[str, dict[str, Any]]] = {
        "low": {"alpha": 1.0, "share": 0.15},
        "medium": {"alpha": 2.0, "share": 0.2},
        "high": {"alpha": 4.0, "share": 0.3},
    }
    """Alpha 1 is the publication's; its doubles and the shares are ours."""

    brief: ClassVar[bool] = True

    def window(self, region: Region, width: int, height: int) -> Window:
        r = scale_of(region, width, height, self.parameters.alpha)
        x0, y0, x1, y1 = region.box
        kernels = self._kernel(x1 - x0, r), self._kernel(y1 - y0, r)
        deviations = [_deviation(kernel) for kernel in kernels]
        if self.parameters.paper:
            return Window(region.box, note=(min(deviations), kernels))
        deviation = max(self.parameters.share * face_of(region), *deviations)
        ratio = shrinkage(deviation)
        margin = math.ceil(REACH * deviation) + ratio
        return Window(surroundings(region.box, margin, ratio, width, height), note=(deviation, None))

    def change(self, crop: Crop) -> np.ndarray:
        deviation, kernels = crop.window.note
        if kernels is not None:  # in float: OpenCV's 8-bit Gaussian is many times slower with large kernels
            return cv2.convertScaleAbs(cv2.sepFilter2D(crop.pixels.astype(np.float32), -1, *kernels))
        taps = np.arange(-math.ceil(REACH * deviation), math.ceil(REACH * deviation) + 1.0)
        weights = np.exp(-0.5 * (taps / deviation) ** 2)
        return convolve(crop.pixels, taps, weights / weights.sum(), shrinkage(deviation))

    def weakness(self, crop: Crop) -> str | None:
        return weak_blur(crop.window.note[0], crop.region)

    def _kernel(self, side: int, r: float) -> np.ndarray:
        """Return the kernel along a side of the box, an odd number of weights."""
        taps = max(3, min(int(TAPS * r), side // 2))
        taps -= 1 - taps % 2
        sigma = min(self.parameters.sigma * (r if self.parameters.adaptive_sigma else 1.0), taps)
        weights = np.exp(-0.5 * ((np.arange(taps) - (taps - 1) / 2) / sigma) ** 2)
        return weights / weights.sum()


def _deviation(kernel: np.ndarray) -> float:
    """Return the standard deviation in pixels of a kernel."""
    taps = np.arange(len(kernel)) - (len(kernel) - 1) / 2
    return math.sqrt(float((kernel * taps**2).sum()))
