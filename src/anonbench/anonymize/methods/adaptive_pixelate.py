"""Mosaic whose cells grow with the share of the image that a person covers (LA3D).

Asres, Jiao and Omlin, 2024, arXiv 2410.18717; see `adaptive_blur`, whose ``r`` it is: cells of 4 r pixels, at most half
the box's side. Their published setting is alpha 1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.methods.adaptive_blur import LEVELS, scale_of
from anonbench.blocks import Strict
from anonbench.records import Region
from anonbench.windows import Window

CELL = 4
"""Side of a cell in pixels at r = 1."""


class AdaptivePixelate(Method):
    """Each cell is the mean colour of its pixels, background included; whole cells fill the region's box.

    The published code samples a cell (linear resizing) where this one takes its mean, and leaves boxes below 4 pixels
    as they are; here a cell has 2 pixels per axis at least wherever the box does.
    """

    class Parameters(Strict):
        """Parameters of `AdaptivePixelate`."""

        alpha: float = Field(1.0, gt=0, description="Factor on the cell's side; the publication's is 1.")

    levels: ClassVar[dict[str, dict[str, Any]]] = LEVELS

    brief: ClassVar[bool] = True

    def window(self, region: Region, width: int, height: int) -> Window:
        r = scale_of(region, width, height, self.parameters.alpha)
        x0, y0, x1, y1 = region.box
        return Window(region.box, note=(_cells(x1 - x0, r), _cells(y1 - y0, r)))

    def change(self, crop: Crop) -> np.ndarray:
        height, width = crop.pixels.shape[:2]
        means = cv2.resize(crop.pixels, crop.window.note, interpolation=cv2.INTER_AREA)
        return cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST)


def _cells(side: int, r: float) -> int:
    """Return how many cells fill a side of the box."""
    return max(1, side // max(2, min(int(CELL * r), side // 2)))
