"""Gaussian blur whose strength follows the share of the image that a person covers (LA3D).

Asres, Jiao and Omlin, "Low-latency video anonymization for crowd anomaly detection: privacy vs. performance", 2024,
arXiv 2410.18717: ``s`` is the whole per cent of the image that the mask covers, 1 at least; ``r = alpha max(ln s, 1)``;
the kernel has 13 r taps per axis, an odd number and at most half the box's side. Their published setting is alpha 1.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.blocks import Strict
from anonbench.records import Region
from anonbench.windows import Window

TAPS = 13
"""Taps of the kernel at r = 1."""
LEVELS = {"low": {"alpha": 1.0}, "medium": {"alpha": 2.0}, "high": {"alpha": 4.0}}
"""Alpha 1 is the publication's; its doubles are ours."""


def scale_of(region: Region, width: int, height: int, alpha: float) -> float:
    """Return ``r = alpha max(ln s, 1)`` of a region in an image of width x height."""
    percent = max(1, 100 * int(np.count_nonzero(region.mask)) // (width * height))
    return alpha * max(math.log(percent), 1.0)


class AdaptiveBlur(Method):
    """Blur of the region's box by itself, stronger for people who fill more of the image.

    The box's border is mirrored, as in the published code. Unlike there a kernel has 3 taps at least: one tap would
    leave small people as they are.
    """

    class Parameters(Strict):
        """Parameters of `AdaptiveBlur`; sigma is in pixels of the image."""

        alpha: float = Field(1.0, gt=0, description="Factor on the strength; the publication's is 1.")
        sigma: float = Field(10.0, gt=0, description="Sigma of the Gaussian, at r = 1 where it adapts.")
        adaptive_sigma: bool = Field(
            True, description="Whether sigma is multiplied by r; if not, little changes beyond some 50 taps."
        )

    levels: ClassVar[dict[str, dict[str, Any]]] = LEVELS

    brief: ClassVar[bool] = True

    def window(self, region: Region, width: int, height: int) -> Window:
        r = scale_of(region, width, height, self.parameters.alpha)
        x0, y0, x1, y1 = region.box
        return Window(region.box, note=(self._kernel(x1 - x0, r), self._kernel(y1 - y0, r)))

    def change(self, crop: Crop) -> np.ndarray:
        across, down = crop.window.note  # in float: OpenCV's 8-bit Gaussian is many times slower with large kernels
        return cv2.convertScaleAbs(cv2.sepFilter2D(crop.pixels.astype(np.float32), -1, across, down))

    def _kernel(self, side: int, r: float) -> np.ndarray:
        """Return the kernel along a side of the box, an odd number of weights."""
        taps = max(3, min(int(TAPS * r), side // 2))
        taps -= 1 - taps % 2
        sigma = min(self.parameters.sigma * (r if self.parameters.adaptive_sigma else 1.0), taps)
        weights = np.exp(-0.5 * ((np.arange(taps) - (taps - 1) / 2) / sigma) ** 2)
        return weights / weights.sum()
