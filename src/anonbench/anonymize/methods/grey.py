"""Takes the colours away: a baseline that hides what colour tells (skin, hair, clothes) and leaves all shapes."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np

from anonbench.anonymize.contract import Crop, Method
from anonbench.records import RegionKind


class Grey(Method):
    """Replaces each pixel by its luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), in all three channels.

    Works on frames. Who is in them is seen as before, but for colours.
    """

    kinds: ClassVar[frozenset[RegionKind]] = frozenset((RegionKind.FRAME,))

    brief: ClassVar[bool] = True

    def change(self, crop: Crop) -> np.ndarray:
        return cv2.cvtColor(cv2.cvtColor(crop.pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)

    def weakness(self, crop: Crop) -> str | None:
        return "nothing but colour is taken away"
