"""Mosaic whose cells grow with the share of the image that a person covers (LA3D), and with the face's own size.

Asres, Jiao and Omlin, 2024, arXiv 2410.18717; see `adaptive_blur`, whose ``r`` it is: cells of 4 r pixels, at most half
the box's side. Their published setting is alpha 1. Here a cell is a share of the face's own side at least, so that a
larger photograph of the same scene shows no more of it; ``paper`` leaves that out.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.methods.adaptive_blur import scale_of
from anonbench.anonymize.methods.pixelate import mosaic, mosaic_window
from anonbench.anonymize.strength import face_of, weak_mosaic
from anonbench.blocks import Strict
from anonbench.records import Region
from anonbench.windows import Window

CELL = 4
"""Side of a cell in pixels at r = 1."""


class AdaptivePixelate(Method):
    """Each cell is the mean colour of its pixels, background included.

    Cells are square, as large as the published formula makes them (along the axis where they are larger), ``share``
    times the face's side or 2 pixels, whichever is most, and start at the upper left corner of the region's box. Under
    ``paper`` whole cells of the published size fill the box. The published code samples a cell (linear resizing) where
    this one takes its mean, and leaves boxes below 4 pixels as they are; here a cell has 2 pixels per axis at least
    wherever the box does.
    """

    class Parameters(Strict):
        """Parameters of `AdaptivePixelate`."""

        alpha: float = Field(1.0, gt=0, description="Factor on the cell's side; the publication's is 1.")
        share: float = Field(
            0.25,
            gt=0,
            le=1,
            description="Least side of a cell, in units of the face's side: the square root of the area of its box, "
            "in a region of a body half the shorter side of the person's box.",
        )
        paper: bool = Field(
            False,
            description="The published formula alone, without `share`: it leaves large faces of large photographs "
            "recognisable.",
        )

    levels: ClassVar[dict[str, dict[str, Any]]] = {
        "low": {"alpha": 1.0, "share": 0.25},
        "medium": {"alpha": 2.0, "share": 0.33},
        "high": {"alpha": 4.0, "share": 0.5},
    }
    """Alpha 1 is the publication's; its doubles and the shares are ours."""

    brief: ClassVar[bool] = True

    def window(self, region: Region, width: int, height: int) -> Window:
        r = scale_of(region, width, height, self.parameters.alpha)
        x0, y0, x1, y1 = region.box
        counts = _cells(x1 - x0, r), _cells(y1 - y0, r)
        if self.parameters.paper:
            return Window(region.box, note=counts)
        published = max((x1 - x0) / counts[0], (y1 - y0) / counts[1])
        return mosaic_window(region, max(2.0, published, self.parameters.share * face_of(region)), width, height)

    def change(self, crop: Crop) -> np.ndarray:
        return mosaic(crop.pixels, *crop.window.note[:2])

    def weakness(self, crop: Crop) -> str | None:
        (columns, rows), (x0, y0, x1, y1) = crop.window.note[:2], crop.window.box
        cells = [side / count for side, count in ((x1 - x0, columns), (y1 - y0, rows)) if count > 1]
        return weak_mosaic(min(cells), crop.region) if cells else None


def _cells(side: int, r: float) -> int:
    """Return how many published cells fill a side of the box."""
    return max(1, side // max(2, min(int(CELL * r), side // 2)))
