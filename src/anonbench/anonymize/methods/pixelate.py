"""Shows the region as a mosaic of square cells, a fixed number of them along the subject."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.blocks import Strict
from anonbench.records import Region, RegionKind
from anonbench.windows import Window


class Pixelate(Method):
    """Each cell is the mean colour of its pixels, background included.

    A cell's side is the longer side of the person's or face's box divided by the number of cells, 2 pixels at
    least (one pixel per cell would change nothing). Cells start at the upper left corner of the region's box.
    """

    class Parameters(Strict):
        """Parameters of `Pixelate`."""

        face_cells: int = Field(8, ge=1, description="Cells along the longer side of a face's box.")
        body_cells: int = Field(16, ge=1, description="Cells along the longer side of a person's box.")

    levels: ClassVar[dict[str, dict[str, Any]]] = {
        "low": {"face_cells": 16, "body_cells": 32},
        "medium": {"face_cells": 8, "body_cells": 16},
        "high": {"face_cells": 4, "body_cells": 8},
    }

    brief: ClassVar[bool] = True

    def window(self, region: Region, width: int, height: int) -> Window:
        x0, y0, x1, y1 = region.box
        columns, rows, side = self._cells(region)
        return Window((x0, y0, max(x1, x0 + round(columns * side)), max(y1, y0 + round(rows * side))))

    def change(self, crop: Crop) -> np.ndarray:
        columns, rows, _ = self._cells(crop.region)
        height, width = crop.pixels.shape[:2]
        means = cv2.resize(crop.pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        return cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST)

    def _cells(self, region: Region) -> tuple[int, int, float]:
        """Return how many columns and rows of cells cover the region's box, and a cell's side in pixels."""
        face = region.kind is RegionKind.FACE
        count = self.parameters.face_cells if face else self.parameters.body_cells
        side = max(2.0, max(region.subject[2:]) / count)
        x0, y0, x1, y1 = region.box
        return math.ceil((x1 - x0) / side), math.ceil((y1 - y0) / side), side
