"""Shows the region as a mosaic of square cells, a fixed number of them along the subject."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.strength import weak_mosaic
from anonbench.blocks import Strict
from anonbench.records import Region, RegionKind
from anonbench.windows import Window

ROUNDS = 4
"""Of `unmosaic`; further ones change little."""


class Pixelate(Method):
    """Each cell is the mean colour of its pixels, background included.

    A cell's side is the longer side of the person's or face's box divided by the number of cells, 2 pixels at
    least (one pixel per cell would change nothing); on a frame it is the image's shorter side that is divided. Cells
    start at the upper left corner of the region's box.
    """

    class Parameters(Strict):
        """Parameters of `Pixelate`."""

        face_cells: int = Field(8, ge=1, description="Cells along the longer side of a face's box.")
        body_cells: int = Field(16, ge=1, description="Cells along the longer side of a person's box.")
        frame_cells: int = Field(16, ge=1, description="Cells along the shorter side of a frame.")

    levels: ClassVar[dict[str, dict[str, Any]]] = {
        "low": {"face_cells": 16, "body_cells": 32, "frame_cells": 32},
        "medium": {"face_cells": 8, "body_cells": 16, "frame_cells": 16},
        "high": {"face_cells": 4, "body_cells": 8, "frame_cells": 8},
    }

    kinds: ClassVar[frozenset[RegionKind]] = frozenset(RegionKind)

    brief: ClassVar[bool] = True

    inverts: ClassVar[bool] = True

    def window(self, region: Region, width: int, height: int) -> Window:
        return mosaic_window(region, self._cell(region), width, height)

    def change(self, crop: Crop) -> np.ndarray:
        return mosaic(crop.pixels, *crop.window.note[:2])

    def invert(self, crop: Crop) -> np.ndarray:
        return unmosaic(crop.pixels, crop.mask, *crop.window.note[:2])

    def weakness(self, crop: Crop) -> str | None:
        return weak_mosaic(crop.window.note.side, crop.region)

    def _cell(self, region: Region) -> float:
        """Return a cell's side in pixels."""
        p, sides = self.parameters, region.subject[2:]
        if region.kind is RegionKind.FRAME:
            return max(2.0, min(sides) / p.frame_cells)
        return max(2.0, max(sides) / (p.face_cells if region.kind is RegionKind.FACE else p.body_cells))


class Cells(NamedTuple):
    """How many cells a mosaic has along each axis, and the side of one in pixels."""

    columns: int
    rows: int
    side: float


def mosaic_window(region: Region, cell: float, width: int, height: int) -> Window:
    """Return the window that cells of a side of ``cell`` pixels fill from the upper left corner of a region's box on.

    Its note is `Cells`. Somebody in the last column or row alone gets the one before as well:
    a cell of repeated pixels would show them.
    """
    x0, y0, x1, y1 = region.box
    x0, y0 = max(0, min(x0, width - 2)), max(0, min(y0, height - 2))
    columns, rows = math.ceil((x1 - x0) / cell), math.ceil((y1 - y0) / cell)
    box = (x0, y0, max(x1, x0 + round(columns * cell)), max(y1, y0 + round(rows * cell)))
    return Window(box, note=Cells(columns, rows, cell))


def mosaic(pixels: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Return uint8 HxWx3 pixels as ``columns`` x ``rows`` cells, each of the mean colour of its pixels."""
    height, width = pixels.shape[:2]
    means = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST)


def unmosaic(pixels: np.ndarray, mask: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Return a smooth picture (uint8 HxWx3) with the cells that `mosaic` left where ``mask`` (bool HxW) is set.

    Bicubic enlarging, then iterative back-projection (Irani and Peleg 1991): what its cells lack to be those of the
    mosaic is enlarged and added, the less the smaller the part of a cell is that can be changed. Outside the mask the
    picture is known, which tells where in a cell at its edge the colour comes from.
    """
    size = pixels.shape[1::-1]
    inside = mask[..., None].astype(np.float32)
    known = pixels.astype(np.float32)
    # what is seen of a cell inside the mask is one colour, but for compression
    weight = cv2.resize(inside, (columns, rows), interpolation=cv2.INTER_AREA)[..., None]
    seen = cv2.resize(known * inside, (columns, rows), interpolation=cv2.INTER_AREA)
    all_of = cv2.resize(known, (columns, rows), interpolation=cv2.INTER_AREA)
    cells = np.where(weight > 0, seen / np.maximum(weight, 1e-6), all_of)
    estimate = np.where(mask[..., None], _enlarged(cells, size), known)
    for _ in range(ROUNDS):
        lacks = cells - cv2.resize(estimate, (columns, rows), interpolation=cv2.INTER_AREA).reshape(cells.shape)
        estimate += inside * _enlarged(weight * lacks, size)
        np.clip(estimate, 0, 255, out=estimate)
    return np.where(mask[..., None], np.rint(estimate).astype(np.uint8), pixels)


def _enlarged(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return cells (float32 rows x columns x 3) as a picture of ``size`` (width, height)."""
    return cv2.resize(cells.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
