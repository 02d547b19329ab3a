"""Paints the region in one colour; the published study's "constant" is mid-grey."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.blocks import Strict

Level = Annotated[int, Field(ge=0, le=255)]


class MaskOut(Method):
    """One colour, no trace of the original but the region's outline."""

    class Parameters(Strict):
        """Parameters of `MaskOut`."""

        value: Level = Field(128, description="Grey level of the region.")
        colour: tuple[Level, Level, Level] | None = Field(
            None, description="Red, green, blue of the region, instead of the grey level."
        )

    brief: ClassVar[bool] = True

    def change(self, crop: Crop) -> np.ndarray:
        return np.full_like(crop.pixels, self.parameters.colour or self.parameters.value)
