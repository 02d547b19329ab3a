"""Changes nothing: the control that isolates what decoding and encoding alone do to a study."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from anonbench.anonymize.contract import Crop, Method
from anonbench.records import RegionKind


class Identity(Method):
    """Returns every crop as it is."""

    kinds: ClassVar[frozenset[RegionKind]] = frozenset(RegionKind)

    anonymizes: ClassVar[bool] = False

    brief: ClassVar[bool] = True

    def change(self, crop: Crop) -> np.ndarray:
        return crop.pixels
