"""Shows how each pixel differs from its surroundings: a baseline that hides how bright even skin and clothes are, too.

The normalisation is that of local contrast (Jarrett et al., "What is the best multi-stage architecture for object
recognition?", ICCV 2009), over a square where they have a Gaussian.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.blocks import Strict
from anonbench.records import RegionKind

AROUND = 0.075
"""Side of the square, unless given, as a share of the frame's shorter side."""
FLAT = 12.75
"""Standard deviation below which a square counts as flat, of 255: noise is not enlarged beyond that."""
ROWS = 64
"""Rows that are worked on at a time."""
SHOWN = 51.0
"""How far from mid-grey a difference of one standard deviation is shown, of 255."""


class Contrast(Method):
    """Replaces each pixel by how many standard deviations its luma lies above or below the mean of those around it.

    The luma is that of `grey`, the deviation that of the same square, as far as it lies in the frame; the result is
    127.5 + 51 (luma - mean) / max(deviation, 12.75), rounded, within 0..255, in all three channels. Colours are gone,
    and of what is larger than the square and even it is not told how bright it is. Told are shapes, which of two sides
    of an edge is the brighter one, and, where hardly anything differs (a deviation below 12.75), by how much it does:
    texture that is the stronger the brighter something is still tells that. Works on frames.
    """

    class Parameters(Strict):
        """Parameters of `Contrast`."""

        around: float = Field(
            AROUND, gt=0, le=1, description="Side of the square around a pixel, as a share of the frame's shorter side."
        )

    kinds: ClassVar[frozenset[RegionKind]] = frozenset((RegionKind.FRAME,))

    def change(self, crop: Crop) -> np.ndarray:
        luma = cv2.cvtColor(crop.pixels, cv2.COLOR_RGB2GRAY)
        side, shown = side_of(self.parameters.around, *luma.shape), np.empty_like(luma)
        for top in range(0, len(luma), ROWS):  # the numbers of all rows at once would fill gigabytes
            first, last = max(0, top - side // 2), top + ROWS + side // 2
            seen = 127.5 + SHOWN * standing(luma[first:last], side)[top - first :][:ROWS]
            shown[top : top + ROWS] = np.floor(seen.clip(0, 255) + 0.5)
        return cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB)

    def weakness(self, crop: Crop) -> str | None:
        return "nothing but colour and the brightness of what is even is taken away"


def side_of(around: float, height: int, width: int) -> int:
    """Return the side of the square in pixels, odd and 3 at least, as a share of a frame's shorter side."""
    return max(3, 2 * int(around * min(height, width) / 2) + 1)


def standing(luma: np.ndarray, side: int) -> np.ndarray:
    """Return by how many standard deviations each pixel of uint8 (H, W) differs from its square's mean: float64 (H, W).

    A square has an odd ``side`` and is cut off at the border; its deviation counts as `FLAT` at least. What is divided
    is sums of whole numbers, so that every processor gets the same.
    """
    reach = side // 2
    counts = (np.minimum(np.arange(n) + reach + 1, n) - np.maximum(np.arange(n) - reach, 0) for n in luma.shape)
    count = np.outer(*counts).astype(np.float64)
    # whole numbers below 2**53, so that sums are exact whatever their order
    total, squares = (
        of(luma, cv2.CV_64F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for of in (cv2.boxFilter, cv2.sqrBoxFilter)
    )
    # so are these, for squares of up to some 600 x 600 pixels
    spread = np.sqrt(np.maximum(count * squares - total * total, 0))
    found: np.ndarray = (count * luma - total) / np.maximum(spread, FLAT * count)
    return found
